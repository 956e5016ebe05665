"""The admin of people's lists and roles, and of the attempts to refresh the lists."""

from typing import Any

from django.contrib import admin
from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from accounts import snowflakes
from accounts.admin.kit import DISCORD, PEOPLE, SERVERS, PersonRowsAdmin, rows_link
from accounts.models import User
from accounts.names import first_visible
from guilds.admin.people import PersonActionsMixin
from guilds.admin.records import RecordAdmin, RunningAdmin
from guilds.models import BotGuild, GuildListVerification, GuildMember, RefreshLease, UserGuildMembership


@admin.register(GuildListVerification)
class GuildListVerificationAdmin(RecordAdmin, PersonActionsMixin, PersonRowsAdmin):
    section = PEOPLE
    related_link = _("list")
    list_display = ("who", "state", "why", "next_attempt", "age", "related_links", "failure_streak")
    fieldsets = (
        (None, {"fields": ("user", "state", "age", "verified_at", "refresh_after", "last_read_at", "related_links")}),
        (_("Last attempt"), {"fields": ("why", "failure_streak", "next_attempt", "not_before", "lease_until")}),
        (_("Last change"), {"fields": ("changed_at", "joined_count", "left_count")}),
        (_("Versions"), {"fields": ("generation", "version")}),
    )
    readonly_fields = (*RecordAdmin.readonly_fields, "related_links")

    def people(self, queryset: QuerySet[Any]) -> QuerySet[User]:
        return User.objects.filter(guild_list_verification__in=queryset)


@admin.register(GuildMember)
class GuildMemberAdmin(RecordAdmin, PersonRowsAdmin):
    """People's roles, by person and server. The roles are ids: their names are in the server's directory."""

    section = SERVERS
    related_link = _("roles")
    list_display = ("who", "server", "is_member", "state", "why", "next_attempt", "age", "related_links")
    search_help_text = _("Start of a person's name, or the Discord ID of a person or server")
    fieldsets = (
        (None, {"fields": ("user", "server", "state", "age", "verified_at", "refresh_after", "last_read_at")}),
        (_("Stored answer"), {"fields": ("is_member", "roles", "nick", "joined_at", "timed_out_until", "pending")}),
        (_("Last attempt"), {"fields": ("why", "failure_streak", "next_attempt", "not_before", "lease_until")}),
        (_("Versions"), {"fields": ("generation", "changed_at", "related_links")}),
    )
    readonly_fields = (*RecordAdmin.readonly_fields, "server", "related_links")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        listed = UserGuildMembership.objects.filter(user=OuterRef("user"), guild_id=OuterRef("guild_id"))
        of_the_bot = BotGuild.objects.filter(pk=OuterRef("guild_id"))
        name = Coalesce(Subquery(listed.values("name")), Subquery(of_the_bot.values("name")))
        rows: QuerySet[Any] = super().get_queryset(request).annotate(guild_name=name)
        return rows

    def matching(self, term: str) -> Q:
        guild_id = snowflakes.parse(term)
        return super().matching(term) | (Q() if guild_id is None else Q(guild_id=guild_id))

    @admin.display(description=_("server"), ordering="guild_id")
    def server(self, row: Any) -> str:
        """The server's name, if the person's list or the bot's has it, and its id, linked to its stored members."""
        words = str(row.guild_id)
        if row.guild_name is not None:
            words = format_html("<bdi>{}</bdi> ({})", first_visible(row.guild_name, "–"), row.guild_id)
        return rows_link(GuildMember, words, guild_id=row.guild_id)


@admin.register(RefreshLease)
class RefreshLeaseAdmin(RunningAdmin, PersonRowsAdmin):
    section = DISCORD
    list_display = ("who", "overdue", "ends_in", "since", "related_links")
    fields = readonly_fields = ("user", "generation", "since", "lease_until", "ends_in", "overdue", "related_links")
