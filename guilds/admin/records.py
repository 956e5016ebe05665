"""Admin pages for tables of records: the columns and filters that follow from what every record has.

A record's table gets them by `RecordAdmin`, its proxy for running attempts by `RunningAdmin`.
"""

from datetime import timedelta
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.timesince import timesince
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.admin.discord import LIMITS
from accounts.admin.kit import AnyModelAdmin, Words, moment, wait_in_words
from accounts.clock import Now, database_now
from guilds.engine.freshness import Reason, Tier, tier
from guilds.operations.status import tiers

TIERS: dict[str, Words] = {
    Tier.FRESH: _("fresh"),
    Tier.DUE: _("due"),
    Tier.STALE: _("stale"),
    Tier.EXPIRED: _("expired"),
    Tier.NONE: _("never verified"),
}
REASONS: dict[str, Words] = {
    **LIMITS,
    Reason.RATE_LIMITED: _("rate limited"),
    Reason.UNAVAILABLE: _("unavailable"),
    Reason.BRAKE: _("brake"),
    Reason.BUSY: _("busy"),
    Reason.IN_PROGRESS: _("in progress"),
    Reason.RECONNECT_REQUIRED: _("must sign in again"),
    Reason.MISSING_SCOPE: _("missing scope"),
}


class FreshnessFilter(admin.SimpleListFilter):
    """By the record's tier, in the database's time; `path` leads from the listed rows to the record."""

    title, parameter_name = _("freshness"), "freshness"
    path = ""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Words]]:
        # A record that is due is still fresh.
        return [(kind.value, TIERS[kind]) for kind in Tier if kind is not Tier.DUE]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        bounds = {str(kind): where for kind, where in tiers(database_now(), self.path).items()}
        bounds[Tier.FRESH] |= bounds.pop(Tier.DUE)
        where = bounds.get(self.value() or "")
        return queryset.filter(where) if where else queryset


class ReasonFilter(admin.SimpleListFilter):
    """By why the last attempt failed. Django's own filter would look through all rows for the values there are."""

    title, parameter_name = _("reason"), "reason"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Words]]:
        return [(reason.value, REASONS[reason]) for reason in Reason]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(reason=self.value()) if self.value() else queryset


class TimedAdmin(AnyModelAdmin):
    """Rows with the database's present moment as `now`."""

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request).annotate(now=Now())
        return rows


class RecordAdmin(TimedAdmin):
    """What a record holds (state, age) and what stands in the way of the next attempt (reason, next attempt)."""

    list_filter = (FreshnessFilter, ReasonFilter)
    readonly_fields: ClassVar[tuple[str, ...]] = ("state", "why", "age", "next_attempt")

    @admin.display(description=_("state"), ordering="verified_at")
    def state(self, row: Any) -> str:
        if row.reason and Reason(row.reason).is_refusal:
            return gettext("refused")
        return str(TIERS[tier(row, row.now, row.resource.windows())])

    @admin.display(description=_("reason"))
    def why(self, row: Any) -> str:
        return str(REASONS[row.reason]) if row.reason else "–"

    @admin.display(description=_("age"), ordering="verified_at")
    def age(self, row: Any) -> str:
        return timesince(row.verified_at, row.now, depth=1) if row.verified_at else "–"

    @admin.display(description=_("next attempt"), ordering="not_before")
    def next_attempt(self, row: Any) -> str:
        return moment(row.not_before) if row.not_before and row.not_before > row.now else gettext("when read")


class RunningAdmin(TimedAdmin):
    """The attempts that are running now, and those that never ended; for a proxy of a record's model."""

    ordering = ("lease_until",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).filter(lease_until__isnull=False)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        words = gettext("Overdue: its process died or hangs; the next read of that person takes over.")
        return super().changelist_view(request, {"note": words, **(extra_context or {})})

    @admin.display(description=_("since"), ordering="lease_until")
    def since(self, row: Any) -> str:
        return moment(row.lease_until - row.resource.windows().lease)

    @admin.display(description=_("ends in"), ordering="lease_until")
    def ends_in(self, row: Any) -> str:
        left = row.lease_until - row.now
        return wait_in_words(left) if left > timedelta(0) else gettext("%(time)s ago") % {"time": wait_in_words(-left)}

    @admin.display(description=_("overdue"), boolean=True)
    def overdue(self, row: Any) -> bool:
        return bool(row.lease_until <= row.now)
