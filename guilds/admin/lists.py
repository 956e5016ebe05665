"""The admin of people's lists and roles, and of the attempts to refresh the lists."""

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.utils.translation import gettext_lazy as _

from accounts import snowflakes
from accounts.admin.kit import DISCORD, PEOPLE, SERVERS, PersonRowsAdmin, rows_link
from accounts.models import User
from guilds.admin.people import PersonActionsMixin
from guilds.admin.records import RecordAdmin, RunningAdmin
from guilds.models import GuildListVerification, GuildMember, RefreshLease


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
    list_display = ("who", "server_id", "is_member", "state", "why", "next_attempt", "age", "related_links")
    search_help_text = _("Start of a person's name, or the Discord ID of a person or server")
    fieldsets = (
        (None, {"fields": ("user", "server_id", "state", "age", "verified_at", "refresh_after", "last_read_at")}),
        (_("Stored answer"), {"fields": ("is_member", "roles", "nick", "joined_at", "timed_out_until", "pending")}),
        (_("Last attempt"), {"fields": ("why", "failure_streak", "next_attempt", "not_before", "lease_until")}),
        (_("Versions"), {"fields": ("generation", "changed_at", "related_links")}),
    )
    readonly_fields = (*RecordAdmin.readonly_fields, "server_id", "related_links")

    def matching(self, term: str) -> Q:
        guild_id = snowflakes.parse(term)
        return super().matching(term) | (Q() if guild_id is None else Q(guild_id=guild_id))

    @admin.display(description=_("server"), ordering="guild_id")
    def server_id(self, row: GuildMember) -> str:
        """Link to all members of the server that are stored."""
        return rows_link(GuildMember, str(row.guild_id), guild_id=row.guild_id)


@admin.register(RefreshLease)
class RefreshLeaseAdmin(RunningAdmin, PersonRowsAdmin):
    section = DISCORD
    list_display = ("who", "overdue", "ends_in", "since", "related_links")
    fields = readonly_fields = ("user", "generation", "since", "lease_until", "ends_in", "overdue", "related_links")
