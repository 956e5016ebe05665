"""Admin classes for records: the columns and filters that all records have in common.

Use `RecordAdmin` for a record's model and `RunningAdmin` for its proxy with running attempts.
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
from accounts.admin.kit import AnyModelAdmin, Words, moment, state_in_words, wait_in_words
from accounts.clock import Now, database_now
from accounts.limits import is_leased
from guilds.engine.freshness import Reason, Tier, tier, wait_end
from guilds.engine.records import OF_THE_GATE, Record

TIER_KINDS = {Tier.FRESH: "good", Tier.DUE: "good", Tier.STALE: "fair", Tier.EXPIRED: "bad", Tier.NONE: "none"}
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
    Reason.UNUSABLE: _("unexpected reply"),
    Reason.SITE_REFUSED: _("site credentials rejected"),
    Reason.BRAKE: _("brake"),
    Reason.BUSY: _("busy"),
    Reason.DATABASE: _("database refuses"),
    Reason.IN_PROGRESS: _("in progress"),
    Reason.RECONNECT_REQUIRED: _("must sign in again"),
    Reason.MISSING_SCOPE: _("missing scope"),
    Reason.BOT_ABSENT: _("bot not in the server"),
    Reason.MISCONFIGURED: _("site misconfigured"),
}


class FreshnessFilter(admin.SimpleListFilter):
    """Filter by the record's state, which is its tier by the database's time, unless Discord refused the person.

    For lists of other rows, set `record` to the record's model and `path` to the lookup from a row to it.
    """

    title, parameter_name = _("state"), "freshness"
    record: type[Record] | None = None
    path = ""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Words]]:
        # A record that is due is still fresh.
        return [*((kind.value, TIERS[kind]) for kind in Tier if kind is not Tier.DUE), ("refused", _("refused"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        record: type[Record] = self.record or queryset.model
        states = record.states(database_now(), self.path)
        states[Tier.FRESH] |= states.pop(Tier.DUE)
        where = states.get(self.value() or "")
        return queryset.filter(where) if where else queryset


class ReasonFilter(admin.SimpleListFilter):
    """Filter by why the last attempt failed. Django's own filter would scan all rows for the existing values."""

    title, parameter_name = _("reason"), "reason"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Words]]:
        return [(reason.value, REASONS[reason]) for reason in Reason]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(reason=self.value()) if self.value() else queryset


class TimedAdmin(AnyModelAdmin):
    """Annotates rows with the database's current time as `now`."""

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request).annotate(now=Now())
        return rows


class RecordAdmin(TimedAdmin):
    """Columns for a record's state and age, and for what delays the next attempt (reason, next attempt)."""

    list_filter = (FreshnessFilter, ReasonFilter)
    readonly_fields: ClassVar[tuple[str, ...]] = ("state", "why", "age", "next_attempt")

    @admin.display(description=_("state"), ordering="verified_at")
    def state(self, row: Any) -> str:
        if row.is_refused:
            return state_in_words("bad", gettext("refused"))
        found = tier(row, row.now, row.resource.windows())
        return state_in_words(TIER_KINDS[found], TIERS[found])

    @admin.display(description=_("reason"), ordering="reason")
    def why(self, row: Any) -> str:
        return str(REASONS[row.reason]) if row.reason else "–"

    @admin.display(description=_("age"), ordering="verified_at")
    def age(self, row: Any) -> str:
        return timesince(row.verified_at, row.now, depth=1) if row.verified_at else "–"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request).annotate(**OF_THE_GATE)
        return rows

    @admin.display(description=_("next attempt"), ordering="not_before")
    def next_attempt(self, row: Any) -> str:
        until = wait_end(row, row.now)
        return moment(until) if until else gettext("on next visit")


class RunningAdmin(TimedAdmin):
    """Attempts that are running, and those whose process died. For a proxy of a record's model."""

    ordering = ("lease_until",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).filter(lease_until__isnull=False)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        words = gettext("Overdue: the process died or is stuck. The person's next visit starts a new refresh.")
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
        return not is_leased(row.lease_until, row.now, row.resource.windows().lease)
