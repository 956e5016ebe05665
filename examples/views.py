"""Pages behind each of the doors: a person's list, one server's page, and what only those who manage it may do."""

from datetime import timedelta
from typing import Any

from django.contrib import messages
from django.forms import modelform_factory
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods
from django.views.generic import TemplateView
from rest_framework.response import Response

from guilds.decorators import GuildRequiredMixin, guild_list_required, guild_required
from guilds.middleware import GuildListRequest, GuildRequest
from guilds.permissions import GuildAPIRequest, InGuild, ThrottledFirst

from .models import Traffic, WelcomeMessage

WelcomeForm = modelform_factory(WelcomeMessage, fields=["text"])


@require_GET
@guild_list_required
def index(request: GuildListRequest) -> HttpResponse:
    """The servers that the person may manage."""
    return render(request, "examples/index.html", {"guild_list": request.guild_list})


class Server(GuildRequiredMixin, TemplateView):
    """What any member sees of a server: its message, and who came and left."""

    template_name = "examples/server.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        guild = self.request.guild
        days = Traffic.objects.filter(guild_id=guild.guild_id)[:30]
        return super().get_context_data(guild=guild, message=message_of(guild.guild_id), days=days, **kwargs)


@require_http_methods(["GET", "POST"])
@guild_required("manage_guild")
def edit(request: GuildRequest, guild_id: int) -> HttpResponse:
    if request.method == "POST":
        return save(request, guild_id=guild_id)
    form = WelcomeForm(instance=message_of(guild_id))
    return render(request, "examples/edit.html", {"form": form, "guild": request.guild})


@guild_required("manage_guild", max_age=timedelta(minutes=5))
def save(request: GuildRequest, guild_id: int) -> HttpResponse:
    form = WelcomeForm(request.POST, instance=message_of(guild_id))
    if not form.is_valid():
        return render(request, "examples/edit.html", {"form": form, "guild": request.guild}, status=400)
    form.save()
    messages.success(request, f"{request.guild.name} has a new welcome message.")
    return redirect("examples:server", guild_id)


class Message(ThrottledFirst):
    """The message for programs of the server's members."""

    permission_classes = (InGuild,)
    token_scope = "guilds:read"  # what a program's token has to be allowed

    def get(self, request: GuildAPIRequest, guild_id: int) -> Response:
        return Response({"server": request.guild.name, "text": message_of(guild_id).text})


def message_of(guild_id: int) -> WelcomeMessage:
    return WelcomeMessage.objects.filter(pk=guild_id).first() or WelcomeMessage(guild_id=guild_id)
