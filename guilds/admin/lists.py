"""People's lists, and the attempts to refresh them."""

from datetime import datetime, timedelta
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.timesince import timesince

from accounts.admin import ELSEWHERE, AboutPeople, in_words, rows_link
from accounts.clock import Now, database_now
from accounts.models import User
from guilds.admin.people import ActsOnPeople
from guilds.freshness import Reason, Tier, tier
from guilds.models import GuildListVerification, RefreshLease
from guilds.refresh import windows


class FreshnessFilter(admin.SimpleListFilter):
    """By the tier of the list, in the database's time."""

    title = "freshness"
    parameter_name = "freshness"
    path = ""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("fresh", "fresh"), ("stale", "stale"), ("expired", "expired"), ("none", "never verified")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        now, bounds = database_now(), windows()
        moment = f"{self.path}verified_at"
        match self.value():
            case "fresh":
                return queryset.filter(**{f"{moment}__gt": now - bounds.fresh})
            case "stale":
                return queryset.filter(**{f"{moment}__lte": now - bounds.fresh, f"{moment}__gt": now - bounds.stale})
            case "expired":
                return queryset.filter(**{f"{moment}__lte": now - bounds.stale})
            case "none":
                return queryset.filter(**{f"{moment}__isnull": True})
        return queryset


class ReasonFilter(admin.SimpleListFilter):
    """By why the last attempt failed. Django's own filter would look through all rows for the values there are."""

    title = parameter_name = "reason"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(reason.value, reason.value.replace("_", " ")) for reason in Reason]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(reason=self.value()) if self.value() else queryset


@admin.register(GuildListVerification)
class GuildListVerificationAdmin(ActsOnPeople, AboutPeople):
    list_display = ("user", "state", "age", "reason", "next_attempt", "failure_streak", "last_read_at", "elsewhere")
    list_filter = (FreshnessFilter, ReasonFilter)
    fieldsets = (
        (None, {"fields": ("user", "state", "age", "verified_at", "refresh_after", "last_read_at", "elsewhere")}),
        ("The last attempt", {"fields": ("reason", "failure_streak", "next_attempt", "not_before", "lease_until")}),
        ("The last change", {"fields": ("changed_at", "joined_count", "left_count")}),
        ("Versions", {"fields": ("generation", "list_version")}),
    )
    readonly_fields = ("state", "age", "next_attempt", "elsewhere")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request).select_related("user").annotate(now=Now())
        return rows

    def people(self, queryset: QuerySet[Any]) -> QuerySet[User]:
        return User.objects.filter(guild_list_verification__in=queryset)

    @admin.display(ordering="verified_at")
    def state(self, row: Any) -> str:
        if row.reason and Reason(row.reason).is_refusal:
            return "refused"
        kind = tier(row, row.now, windows())
        return "never verified" if kind is Tier.NONE else str(kind)

    @admin.display(ordering="verified_at")
    def age(self, row: Any) -> str:
        return timesince(row.verified_at, row.now) if row.verified_at else "–"

    @admin.display(ordering="not_before")
    def next_attempt(self, row: Any) -> datetime | str:
        return row.not_before if row.not_before and row.not_before > row.now else "when read"


@admin.register(RefreshLease)
class RefreshLeaseAdmin(AboutPeople):
    """Who is being asked for right now, and whose attempt was never ended."""

    list_display = ("user", "generation", "since", "ends_in", "overdue", "elsewhere")
    fields = readonly_fields = (
        "user",
        "generation",
        "since",
        "lease_until",
        "ends_in",
        "overdue",
        "reason",
        "elsewhere",
    )
    ordering = ("lease_until",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        claimed: QuerySet[Any] = super().get_queryset(request).filter(lease_until__isnull=False)
        rows: QuerySet[Any] = claimed.select_related("user").annotate(now=Now())
        return rows

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        words = "Overdue: its process died or hangs; the next read of that person takes over."
        return super().changelist_view(request, {"subtitle": words, **(extra_context or {})})

    @admin.display(ordering="lease_until")
    def since(self, row: Any) -> datetime:
        moment: datetime = row.lease_until - windows().lease
        return moment

    @admin.display(ordering="lease_until")
    def ends_in(self, row: Any) -> str:
        left = row.lease_until - row.now
        return in_words(left) if left > timedelta(0) else f"{in_words(-left)} ago"

    @admin.display(boolean=True)
    def overdue(self, row: Any) -> bool:
        return bool(row.lease_until <= row.now)


ELSEWHERE[GuildListVerification] = lambda user_id: rows_link(GuildListVerification, "list", user_id=user_id)
