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


@guild_required("manage_guild", bot=True)  # only where the bot is
def reaction_roles(request: GuildRequest, guild_id: int) -> HttpResponse:
    return render(request, "reaction_roles.html", {"guild": request.guild})


@guild_required  # any member
def leaderboard(request: GuildRequest, guild_id: int) -> HttpResponse:
    return HttpResponse(request.guild.name)


@guild_list_required  # the list alone
def overview(request: GuildListRequest) -> HttpResponse:
    return HttpResponse(", ".join(guild.name for guild in request.guild_list.manageable))
