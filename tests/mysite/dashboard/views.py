"""The pages of the dashboard."""

from datetime import timedelta
from typing import Any

from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST
from django.views.generic import ListView

from guilds.decorators import GuildRequiredMixin, guild_required
from guilds.middleware import GuildRequest

from .forms import DelegateForm, SettingsForm
from .models import Delegate, Entry, Score, ServerSettings
from .rules import owns, reads_log

RECENT = timedelta(minutes=5)


@require_http_methods(["GET", "POST"])
@guild_required("manage_guild", write_max_age=RECENT)
def settings(request: GuildRequest, guild_id: int) -> HttpResponse:
    form = SettingsForm(request.POST or None, instance=ServerSettings.of(guild_id))
    if form.is_valid():
        form.save()
        messages.success(request, _("The settings have been saved."))
        return redirect("dashboard:settings", guild_id)
    return render(request, "dashboard/settings.html", {"form": form}, status=400 if form.is_bound else 200)


class Leaderboard(GuildRequiredMixin, ListView[Score]):
    """The members' points, for all members."""

    template_name = "dashboard/leaderboard.html"
    paginate_by = 50

    def get_queryset(self) -> QuerySet[Score]:
        return Score.objects.filter(guild_id=self.request.guild.guild_id)


class Log(GuildRequiredMixin, ListView[Entry]):
    """Who joined, left, or lost the right to manage the server."""

    rule = reads_log
    template_name = "dashboard/log.html"
    paginate_by = 50

    def get_queryset(self) -> QuerySet[Entry]:
        return Entry.objects.filter(guild_id=self.request.guild.guild_id).select_related("person")


@require_http_methods(["GET", "POST"])
@guild_required(rule=owns, write_max_age=RECENT)
def delegates(request: GuildRequest, guild_id: int) -> HttpResponse:
    form = DelegateForm(guild_id, request.POST or None)
    if form.is_valid():
        form.save()
        return redirect("dashboard:delegates", guild_id)
    there = Delegate.objects.filter(guild_id=guild_id).select_related("person")
    context: dict[str, Any] = {"form": form, "delegates": there}
    return render(request, "dashboard/delegates.html", context, status=400 if form.is_bound else 200)


@require_POST
@guild_required(rule=owns, write_max_age=RECENT)
def remove_delegate(request: GuildRequest, guild_id: int, pk: int) -> HttpResponse:
    Delegate.objects.filter(guild_id=guild_id, pk=pk).delete()
    return redirect("dashboard:delegates", guild_id)
