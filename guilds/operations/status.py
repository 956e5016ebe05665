"""How the site stands with Discord: the facts, read from the database. `report` puts them into words.

Counted in SQL, in the database's time. Looking never asks Discord.
"""

import math
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.db.models import Count, F, Min, Q

from accounts import brake, gate
from accounts.limits import Gate, Priority
from accounts.models import DiscordRefusal
from guilds.engine.freshness import Reason, Tier
from guilds.models import GuildListVerification
from guilds.resources.guild_list import GUILD_LIST

LATEST = 5
REFUSED = [reason for reason in Reason if reason.is_refusal]


@dataclass(frozen=True, slots=True)
class GateStatus:
    """`open`, `shut`, or `probing`: the time is over, and the next call is the one that tests it."""

    state: str
    reason: str | None
    until: datetime | None
    streak: int


@dataclass(frozen=True, slots=True)
class BudgetStatus:
    """How many requests a second may go, and how many the send clock is ahead by."""

    rate: int
    backlog: int
    backlog_seconds: float

    @property
    def is_used_up(self) -> bool:
        """Whether only people without a list can send: the clock is ahead by more than others tolerate."""
        return self.backlog_seconds > Priority.STALE.value.total_seconds()


@dataclass(frozen=True, slots=True)
class Lease:
    user_id: int
    username: str
    generation: int
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class LeaseStatus:
    """`live` refreshes run; `overdue` ones were not ended in time, because their process died or hangs."""

    live: int
    overdue: int
    oldest: Lease | None


@dataclass(frozen=True, slots=True)
class ListStatus:
    """How many people's lists are in which state; each is counted once, refused before all else."""

    total: int
    fresh: int
    due: int
    stale: int
    expired: int
    never_verified: int
    refused: int
    last_verified_at: datetime | None


@dataclass(frozen=True, slots=True)
class Failure:
    """How many people's last attempt failed for `reason`; `waiting` of them may not be asked for before a moment,
    the first at `next_attempt_at`. `recent` ended no earlier than the last list that Discord gave anybody."""

    reason: str
    people: int
    waiting: int
    recent: int
    next_attempt_at: datetime | None

    @property
    def is_refusal(self) -> bool:
        return self.reason in REFUSED


@dataclass(frozen=True, slots=True)
class Refusal:
    at: datetime
    status: int
    reason: str


@dataclass(frozen=True, slots=True)
class Status:
    now: datetime
    gate: GateStatus
    brake: brake.BrakeStatus
    budget: BudgetStatus
    leases: LeaseStatus
    lists: ListStatus
    failures: tuple[Failure, ...]
    latest_refusals: tuple[Refusal, ...]

    @property
    def silent(self) -> int:
        """For how many people Discord gave no usable answer, with no list for anybody since."""
        return sum(failure.recent for failure in self.failures if failure.reason == Reason.UNAVAILABLE)


def read() -> Status:
    state, now = gate.read()
    lists, live, overdue = _lists(now)
    return Status(
        now=now,
        gate=_gate(state, now),
        brake=brake.read(now),
        budget=_budget(state, now),
        leases=LeaseStatus(live, overdue, _oldest_lease(now) if live else None),
        lists=lists,
        failures=_failures(now, lists.last_verified_at),
        latest_refusals=tuple(
            Refusal(*row)
            for row in DiscordRefusal.objects.order_by("-at").values_list("at", "status", "reason")[:LATEST]
        ),
    )


def _gate(state: Gate, now: datetime) -> GateStatus:
    if not state.streak:
        return GateStatus("open", None, None, 0)
    return GateStatus("shut" if state.shut_until(now) else "probing", state.reason, state.until, state.streak)


def _budget(state: Gate, now: datetime) -> BudgetStatus:
    ahead = state.ahead(now).total_seconds()
    rate = settings.DISCORD_SEND_RATE
    return BudgetStatus(rate, math.ceil(round(ahead * rate, 3)), round(ahead, 3))


def tiers(now: datetime, path: str = "") -> dict[Tier, Q]:
    """The bounds of `freshness.tier`, for filtering and counting in SQL.

    `path` is the lookup prefix from the rows that are queried to the record, such as "user__guild_list_verification__".
    """
    windows = GUILD_LIST.windows()

    def where(column: str, value: datetime | None) -> Q:
        return Q(**{f"{path}{column}": value})

    fresh, not_fresh = where("verified_at__gt", now - windows.fresh), where("verified_at__lte", now - windows.fresh)
    served, expired = where("verified_at__gt", now - windows.stale), where("verified_at__lte", now - windows.stale)
    return {
        Tier.FRESH: fresh & (where("refresh_after", None) | where("refresh_after__gt", now)),
        Tier.DUE: fresh & where("refresh_after__lte", now),
        Tier.STALE: served & not_fresh,
        Tier.EXPIRED: expired,
        Tier.NONE: where("verified_at", None),
    }


def _lists(now: datetime) -> tuple[ListStatus, int, int]:
    """The lists by state, the live leases and the overdue ones: all of it in one pass."""
    refused = Q(reason__in=REFUSED)
    by_tier = {str(kind): Count("pk", filter=bounds & ~refused) for kind, bounds in tiers(now).items()}
    counts = GuildListVerification.objects.aggregate(
        **by_tier,
        total=Count("pk"),
        refused=Count("pk", filter=refused),
        live=Count("pk", filter=Q(lease_until__gt=now)),
        overdue=Count("pk", filter=Q(lease_until__lte=now)),
    )
    last = GuildListVerification.objects.order_by(F("verified_at").desc(nulls_last=True))
    live, overdue = counts.pop("live"), counts.pop("overdue")
    never = counts.pop(str(Tier.NONE))
    last_verified_at = last.values_list("verified_at", flat=True).first()
    return ListStatus(**counts, never_verified=never, last_verified_at=last_verified_at), live, overdue


def _oldest_lease(now: datetime) -> Lease | None:
    rows = GuildListVerification.objects.filter(lease_until__gt=now).select_related("user").order_by("lease_until")
    row = rows.first()
    if row is None or row.lease_until is None:
        return None
    since = row.lease_until - GUILD_LIST.windows().lease
    return Lease(row.pk, row.user.display_name, row.generation, since, row.lease_until)


def _failures(now: datetime, last_verified_at: datetime | None) -> tuple[Failure, ...]:
    waiting = Q(not_before__gt=now)
    recent = Q(not_before__gt=last_verified_at) if last_verified_at else Q(not_before__isnull=False)
    rows = (
        GuildListVerification.objects.exclude(reason="")
        .values("reason")
        .annotate(
            people=Count("pk"),
            waiting=Count("pk", filter=waiting),
            recent=Count("pk", filter=recent),
            next_attempt_at=Min("not_before", filter=waiting),
        )
        .order_by("-waiting", "-people", "reason")
    )
    return tuple(Failure(**row) for row in rows)
