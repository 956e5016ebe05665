from datetime import timedelta

from django.http import HttpResponse
from django.shortcuts import redirect, render

from guilds.decorators import guild_list_required, guild_required
from guilds.middleware import GuildListRequest, GuildRequest


@guild_required("manage_guild")  # request.guild is the person's membership
def welcome_message(request: GuildRequest, guild_id: int) -> HttpResponse:
    return render(request, "welcome_message.html", {"guild": request.guild})


@guild_required("manage_guild", max_age=timedelta(minutes=5))  # asks Discord first if the list is older
def delete_everything(request: GuildRequest, guild_id: int) -> HttpResponse:
    return redirect("guilds:picker")


@guild_required("manage_guild", write_max_age=timedelta(minutes=5))  # the same, but only for POST and the like
def settings(request: GuildRequest, guild_id: int) -> HttpResponse:
    return render(request, "settings.html", {"guild": request.guild})


@guild_required(role=(41771983423143936, 41771983423143937))  # people with one of these roles, and the owner
def staff_room(request: GuildRequest, guild_id: int) -> HttpResponse:
    return render(request, "staff_room.html", {"nick": request.guild.member.nick})


@guild_required("manage_guild", bot=True)  # only where the bot is
def reaction_roles(request: GuildRequest, guild_id: int) -> HttpResponse:
    return render(request, "reaction_roles.html", {"guild": request.guild})


@guild_required  # any member
def leaderboard(request: GuildRequest, guild_id: int) -> HttpResponse:
    return HttpResponse(request.guild, content_type="text/plain")


@guild_list_required  # the list alone
def overview(request: GuildListRequest) -> HttpResponse:
    return HttpResponse(", ".join(map(str, request.guild_list.manageable)), content_type="text/plain")
