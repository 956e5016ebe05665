"""The rule that decides what a reader gets, from the record and the time. Pure functions, no I/O.

    age of the list      tier      served   Discord asked
    ─────────────────────────────────────────────────────────────────────────────
    < refresh_after      fresh     yes      no
    < 1 h                due       yes      in the background
    < 24 h               stale     yes      yes; waited for no longer than the soft wait
    ≥ 24 h               expired   no       yes; waited for within the budget
    never verified       none      no       yes; waited for within the budget

Bounds are half-open: a list is stale at exactly 1 h and expired at exactly 24 h. A reader that requires a list verified
since a given time also waits within the budget, and gets that list or an error.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum, StrEnum
from typing import Protocol

from accounts.limits import LEASE_MARGIN, MIN_SILENCE, Priority, Reason, is_leased

__all__ = [
    "MAX_SKEW",
    "Decision",
    "Order",
    "Reason",
    "RecordState",
    "Tier",
    "Wait",
    "Windows",
    "decide",
    "order",
    "refresh_moment",
    "retry_pause",
    "soft_wait_left",
    "tier",
    "wait_end",
]

# How far the clocks of the site and of its bot can differ, also if both are set by NTP.
MAX_SKEW = timedelta(seconds=5)


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
    silent_at: datetime | None
    # Of the gate: read with the record.
    silent_since: datetime | None
    recovered_at: datetime | None
    probe_after: datetime | None


@dataclass(frozen=True, slots=True)
class Windows:
    """The durations of the policy."""

    fresh: timedelta
    stale: timedelta
    soft_wait: timedelta
    lease: timedelta

    @property
    def budget(self) -> timedelta:
        """How long one attempt may take, retries included. The rest of its lease is for storing the outcome."""
        return self.lease - LEASE_MARGIN


@dataclass(frozen=True, slots=True)
class Decision:
    """The action for one reader.

    `serve`: the stored list may be served. `ask`: a refresh is needed and the record allows it. `claim`: in addition,
    no refresh is running, so this reader should start one. `reason`: why Discord isn't asked, or IN_PROGRESS. `until`:
    when Discord can be asked again, or when the running refresh must end. `probes`: the record's own wait isn't over,
    and it may be claimed only if no other reader or sweep is testing whether Discord's silence is over.
    """

    tier: Tier
    serve: bool
    ask: bool
    claim: bool
    wait: Wait
    reason: Reason | None
    until: datetime | None
    probes: bool = False

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


class Order(Enum):
    """Whether news came before or after an answer: `UNCLEAR` if clocks that differ can't tell."""

    LATER = "later"
    UNCLEAR = "unclear"
    EARLIER = "earlier"


def order(at: datetime, verified_at: datetime | None) -> Order:
    """Return whether news that arrived at `at` is later than the answer to the request of `verified_at`.

    Of two events, the later one is later by the bot's clock too, so that a moment after the answer's needs no margin.
    """
    if verified_at is None or at > verified_at:
        return Order.LATER
    return Order.UNCLEAR if at > verified_at - MAX_SKEW else Order.EARLIER


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
    """Decide what a reader of `record` gets at `now`.

    `wanted_since` requires a list verified at that time or later. The rule doesn't know whether a refresh can start:
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
    if waits_until := wait_end(record, now):
        if not _may_probe(record, now):
            return wanted.not_now(reason or Reason.BUSY, waits_until)
        wanted = replace(wanted, probes=True)
    if record.lease_until and is_leased(record.lease_until, now, windows.lease):
        return wanted.under_way(record.lease_until)
    return wanted


def wait_end(record: RecordState, now: datetime) -> datetime | None:
    """Until when the record's own wait forbids asking; None if nothing does.

    A wait that Discord's silence caused ends once Discord has given anyone a good answer again. What Discord named is
    waited for. `Record.pausing` is the same in SQL.
    """
    if record.not_before is None or record.not_before <= now:
        return None
    silent_at = record.silent_at if record.reason == Reason.UNAVAILABLE else None
    if silent_at and record.recovered_at and silent_at < record.recovered_at:
        return None
    return record.not_before


def _may_probe(record: RecordState, now: datetime) -> bool:
    """Whether a record that waits because Discord was silent may be asked for, to find out whether it still is.

    Never sooner than the shortest pause after the record's own failure.
    """
    if record.reason != Reason.UNAVAILABLE or record.silent_at is None or record.silent_since is None:
        return False
    return now - record.silent_at >= MIN_SILENCE and (record.probe_after is None or record.probe_after <= now)


def _wait(kind: Tier, serve: bool) -> Wait:
    if not serve:
        return Wait.BUDGET
    return Wait.NONE if kind is Tier.DUE else Wait.SOFT


def soft_wait_left(lease_until: datetime | None, now: datetime, windows: Windows) -> timedelta:
    """Return the rest of the soft wait, which is measured from the start of the refresh, not of the read."""
    if lease_until is None:
        return timedelta(0)
    started = lease_until - windows.lease
    return max(started + windows.soft_wait - now, timedelta(0))


def retry_pause(streak: int, retry_after: float | None, jitter: float) -> timedelta:
    """Return the back-off after a failure with `streak` consecutive failures before it.

    It is 30 s, doubled with each failure up to 15 min, times `jitter` in [1, 1.25]; or `retry_after` seconds, if
    longer.
    """
    doubled: timedelta = timedelta(seconds=30) * 2 ** min(streak, 10)
    backoff = min(doubled, timedelta(minutes=15)) * jitter
    return max(backoff, timedelta(seconds=retry_after or 0))


def refresh_moment(verified_at: datetime, windows: Windows, refresh_at: float, jitter: float) -> datetime:
    """Return when a list becomes due: after the share `refresh_at` of the fresh window, times `jitter` in [0.9, 1.1].

    The result is stored with the list. Jitter keeps lists that were verified together from becoming due together.
    """
    return verified_at + windows.fresh * min(refresh_at * jitter, 1.0)
