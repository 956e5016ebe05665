"""People's lists, and the attempts to refresh them."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _

from accounts.admin.kit import PersonRowsAdmin
from accounts.models import User
from guilds.admin.people import PersonActionsMixin
from guilds.admin.records import RecordAdmin, RunningAdmin
from guilds.models import GuildListVerification, RefreshLease


@admin.register(GuildListVerification)
class GuildListVerificationAdmin(RecordAdmin, PersonActionsMixin, PersonRowsAdmin):
    related_link = _("list")
    list_display = ("user", "state", "why", "next_attempt", "age", "related_links", "failure_streak", "last_read_at")
    fieldsets = (
        (None, {"fields": ("user", "state", "age", "verified_at", "refresh_after", "last_read_at", "related_links")}),
        (_("The last attempt"), {"fields": ("why", "failure_streak", "next_attempt", "not_before", "lease_until")}),
        (_("The last change"), {"fields": ("changed_at", "joined_count", "left_count")}),
        (_("Versions"), {"fields": ("generation", "version")}),
    )
    readonly_fields = (*RecordAdmin.readonly_fields, "related_links")

    def people(self, queryset: QuerySet[Any]) -> QuerySet[User]:
        return User.objects.filter(guild_list_verification__in=queryset)


@admin.register(RefreshLease)
class RefreshLeaseAdmin(RunningAdmin, PersonRowsAdmin):
    list_display = ("user", "overdue", "ends_in", "since", "related_links")
    fields = readonly_fields = ("user", "generation", "since", "lease_until", "ends_in", "overdue", "related_links")
