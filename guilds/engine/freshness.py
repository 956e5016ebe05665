"""The rule: what a reader gets, from the record and the time. Pure functions, no I/O.

    age of the list      tier      served   Discord asked
    ─────────────────────────────────────────────────────────────────────────────
    < refresh_after      fresh     yes      no
    < 1 h                due       yes      in the background
    < 24 h               stale     yes      yes; waited for no longer than the soft wait
    ≥ 24 h               expired   no       yes; waited for within the budget
    never verified       none      no       yes; waited for within the budget

Bounds are half-open: a list is stale at exactly 1 h and expired at exactly 24 h. A reader who demands a list verified
since a given moment waits within the budget too, and gets that list or an error.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum, StrEnum
from typing import Protocol

from accounts.limits import Priority, Reason

__all__ = [
    "Decision",
    "Reason",
    "RecordState",
    "Tier",
    "Wait",
    "Windows",
    "decide",
    "refresh_moment",
    "retry_pause",
    "soft_wait_left",
    "tier",
]


class Tier(StrEnum):
    FRESH = "fresh"
    DUE = "due"
    STALE = "stale"
    EXPIRED = "expired"
    NONE = "none"


class Wait(Enum):
    """How long a reader waits for a refresh."""

    NONE = "none"
    SOFT = "soft"
    BUDGET = "budget"


class RecordState(Protocol):
    """The columns of a record that the rule reads."""

    verified_at: datetime | None
    refresh_after: datetime | None
    not_before: datetime | None
    reason: str
    lease_until: datetime | None


@dataclass(frozen=True, slots=True)
class Windows:
    """The durations of the policy."""

    fresh: timedelta
    stale: timedelta
    soft_wait: timedelta
    lease: timedelta


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do for one reader.

    `serve`: the stored list may be served. `ask`: a refresh is wanted and the record allows it; `claim`: and no refresh
    is running, so this reader should start one. `reason`: why Discord isn't asked, or IN_PROGRESS; `until`: when it can
    be asked again, or when the running refresh must end.
    """

    tier: Tier
    serve: bool
    ask: bool
    claim: bool
    wait: Wait
    reason: Reason | None
    until: datetime | None

    @property
    def priority(self) -> Priority:
        return {Tier.NONE: Priority.COLD, Tier.EXPIRED: Priority.COLD, Tier.DUE: Priority.DUE}.get(
            self.tier, Priority.STALE
        )

    def not_now(self, reason: Reason, until: datetime) -> "Decision":
        """The decision if no refresh may start before `until`."""
        return replace(self, ask=False, claim=False, wait=Wait.NONE, reason=reason, until=until)

    def under_way(self, until: datetime) -> "Decision":
        """The decision once a refresh is running whose lease ends at `until`."""
        return replace(self, claim=False, reason=Reason.IN_PROGRESS, until=until)


def tier(record: RecordState, now: datetime, windows: Windows) -> Tier:
    if record.verified_at is None:
        return Tier.NONE
    age = now - record.verified_at
    if age >= windows.stale:
        return Tier.EXPIRED
    if age >= windows.fresh:
        return Tier.STALE
    return Tier.DUE if record.refresh_after and now >= record.refresh_after else Tier.FRESH


def decide(record: RecordState, now: datetime, windows: Windows, *, wanted_since: datetime | None = None) -> Decision:
    """What a reader at `now` gets of `record`.

    `wanted_since` demands a list verified at that moment or later. The rule doesn't know whether a refresh can start:
    callers that want to claim check the gate first and turn its refusal into `Decision.not_now`.
    """
    kind = tier(record, now, windows)
    reason = Reason(record.reason) if record.reason else None
    if reason and reason.is_refusal:
        return Decision(kind, serve=False, ask=False, claim=False, wait=Wait.NONE, reason=reason, until=None)

    satisfied = wanted_since is None or (record.verified_at is not None and record.verified_at >= wanted_since)
    serve = satisfied and kind in (Tier.FRESH, Tier.DUE, Tier.STALE)
    if serve and kind is Tier.FRESH:
        return Decision(
            kind, serve=True, ask=False, claim=False, wait=Wait.NONE, reason=None, until=record.refresh_after
        )

    wanted = Decision(kind, serve, ask=True, claim=True, wait=_wait(kind, serve), reason=reason, until=now)
    if record.not_before and record.not_before > now:
        return wanted.not_now(reason or Reason.BUSY, record.not_before)
    if record.lease_until and record.lease_until > now:
        return wanted.under_way(record.lease_until)
    return wanted


def _wait(kind: Tier, serve: bool) -> Wait:
    if not serve:
        return Wait.BUDGET
    return Wait.NONE if kind is Tier.DUE else Wait.SOFT


def soft_wait_left(lease_until: datetime | None, now: datetime, windows: Windows) -> timedelta:
    """What is left of the soft wait, which counts from the start of the refresh, not of the read."""
    if lease_until is None:
        return timedelta(0)
    started = lease_until - windows.lease
    return max(started + windows.soft_wait - now, timedelta(0))


def retry_pause(streak: int, retry_after: float | None, jitter: float) -> timedelta:
    """How long nobody asks after a failure that `streak` others preceded.

    30 s, doubled with each failure up to 15 min, times `jitter` of [1, 1.25]; or what Discord said, if that is longer.
    """
    doubled: timedelta = timedelta(seconds=30) * 2 ** min(streak, 10)
    backoff = min(doubled, timedelta(minutes=15)) * jitter
    return max(backoff, timedelta(seconds=retry_after or 0))


def refresh_moment(verified_at: datetime, windows: Windows, refresh_at: float, jitter: float) -> datetime:
    """When a list verified at `verified_at` becomes due: `refresh_at` of fresh, times `jitter` of [0.9, 1.1].

    The jitter is fixed with the list, so that lists imported together don't come due together.
    """
    return verified_at + windows.fresh * min(refresh_at * jitter, 1.0)
