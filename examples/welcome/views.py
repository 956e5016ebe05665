"""The page on which those who manage a server write its welcome message."""

from datetime import timedelta

from django.contrib import messages
from django.forms import modelform_factory
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from guilds.decorators import guild_required
from guilds.middleware import GuildRequest

from .models import WelcomeMessage

WelcomeForm = modelform_factory(WelcomeMessage, fields=["text"])


@require_GET
@guild_required("manage_guild")
def edit(request: GuildRequest, guild_id: int) -> HttpResponse:
    form = WelcomeForm(instance=message_of(guild_id))
    return render(request, "welcome/edit.html", {"form": form, "guild": request.guild})


@require_POST
@guild_required("manage_guild", max_age=timedelta(minutes=5))
def save(request: GuildRequest, guild_id: int) -> HttpResponse:
    form = WelcomeForm(request.POST, instance=message_of(guild_id))
    if not form.is_valid():
        return render(request, "welcome/edit.html", {"form": form, "guild": request.guild}, status=400)
    form.save()
    messages.success(request, f"{request.guild.name} has a new welcome message.")
    return redirect("welcome:edit", guild_id)


def message_of(guild_id: int) -> WelcomeMessage:
    return WelcomeMessage.objects.filter(pk=guild_id).first() or WelcomeMessage(guild_id=guild_id)
