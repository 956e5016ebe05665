"""Example pages for each decorator: a person's list, a server's page, and a form for its managers."""

from datetime import timedelta
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods
from django.views.generic import TemplateView
from rest_framework.response import Response

from guilds.decorators import GuildRequiredMixin, guild_list_required, guild_required
from guilds.middleware import GuildListRequest, GuildRequest
from guilds.permissions import GuildAPIRequest, InGuild, ThrottledFirst

from .forms import WelcomeForm
from .models import Traffic, WelcomeMessage


@require_GET
@guild_list_required
def index(request: GuildListRequest) -> HttpResponse:
    """The servers that the person may manage."""
    return render(request, "examples/index.html", {"guild_list": request.guild_list})


class Server(GuildRequiredMixin, TemplateView):
    """A server's page for all members: its message, and how many people joined and left."""

    template_name = "examples/server.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        guild = self.request.guild
        days = Traffic.objects.filter(guild_id=guild.guild_id)[:30]
        return super().get_context_data(guild=guild, message=message_of(guild.guild_id), days=days, **kwargs)


@require_http_methods(["GET", "POST"])
@guild_required("manage_guild", write_max_age=timedelta(minutes=5))
def edit(request: GuildRequest, guild_id: int) -> HttpResponse:
    form = WelcomeForm(request.POST or None, instance=message_of(guild_id))
    if form.is_valid():
        form.save()
        messages.success(request, _("%(server)s has a new welcome message.") % {"server": request.guild})
        return redirect("examples:server", guild_id)
    status = 400 if form.is_bound else 200
    return render(request, "examples/edit.html", {"form": form, "guild": request.guild}, status=status)


@require_GET
@guild_required("manage_guild", bot="send_messages")  # only where the bot is and can send messages
def preview(request: GuildRequest, guild_id: int) -> HttpResponse:
    """The message as the bot would post it."""
    return render(request, "examples/preview.html", {"guild": request.guild, "message": message_of(guild_id)})


def role_of(request: GuildRequest) -> int | None:
    """The role that the managers chose in the form; before that, the owner alone may enter."""
    return message_of(request.guild.guild_id).role_id


@require_GET
@guild_required(role=role_of)
def lounge(request: GuildRequest, guild_id: int) -> HttpResponse:
    """A page for the people with one role."""
    return render(request, "examples/lounge.html", {"guild": request.guild})


class Message(ThrottledFirst):
    """The message as JSON, for programs of the server's members."""

    permission_classes = (InGuild,)
    token_scope = "guilds:read"  # the scope that a program's token needs

    def get(self, request: GuildAPIRequest, guild_id: int) -> Response:
        return Response({"server": request.guild.name, "text": message_of(guild_id).text})


def message_of(guild_id: int) -> WelcomeMessage:
    return WelcomeMessage.objects.filter(pk=guild_id).first() or WelcomeMessage(guild_id=guild_id)
