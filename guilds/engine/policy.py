"""The policy: what a reader gets from a resource, and when a request to Discord is started.

`read` waits for Discord if necessary; `look` never does. Both return a `Reading`, from which `Served.of` makes the
answer to serve, or raises `NoAnswer`.
"""

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Generic, Self

import structlog
from django.db import Error

from accounts import background, gate
from accounts.bookkeeping import bookkeeper
from accounts.database import is_unavailable, lock_timeout
from accounts.limits import is_leased
from accounts.tokens import discord_client
from guilds.engine import freshness, refresh, waiting
from guilds.engine.freshness import Decision, Reason, Tier, Wait
from guilds.engine.metrics import ReadOutcome
from guilds.engine.records import Record
from guilds.engine.refusal import NoAnswer
from guilds.engine.resource import R, Resource

logger = structlog.get_logger(__name__)

# Seconds between two log lines about a stale answer for the same record and reason. The metrics count every one.
LOG_AGAIN_AFTER = 60.0
# How long a reader is told to wait if no thread is free for a refresh.
BUSY_PAUSE = timedelta(seconds=2)
# How long a reader that can be served the stored list waits for a lock to start a refresh.
CLAIM_LOCK_SECONDS = 0.25
LAST_READ_RESOLUTION = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Reading(Generic[R]):
    """A record and the decision about it at `now`.

    `found` is its tier before any refresh; `waited` says whether the reader waited for a refresh.
    """

    record: R
    decision: Decision
    now: datetime
    found: Tier
    waited: bool = False


@dataclass(frozen=True, kw_only=True)
class Served:
    """The freshness of an answer that is served, which Discord verified at `verified_at`.

    `freshness` is "fresh" or "stale"; `age` is the answer's age when the record was read. `reason` says why a stale
    answer isn't more recent, `next_attempt_at` when Discord will be asked next, `is_asking` whether a request is
    running. `waited_from` is the tier found by a reader that then waited for Discord; None if it didn't wait.
    `changed_at` is the last time that an answer differed from the previous one.
    """

    verified_at: datetime
    age: timedelta
    freshness: str
    reason: Reason | None
    next_attempt_at: datetime | None
    is_asking: bool = False
    waited_from: Tier | None = None
    changed_at: datetime | None = None

    @property
    def is_stale(self) -> bool:
        return self.freshness != "fresh"

    @classmethod
    def of_record(cls, record: Record, now: datetime, **answer: Any) -> Self | None:
        """Return the stored answer with the fields `answer`, whatever its age, so that it may also be "expired".

        It is None without one, and if Discord refused to give it again. `reason` and `next_attempt_at` are None.
        """
        if record.verified_at is None or record.is_refused:
            return None
        tier = freshness.tier(record, now, record.resource.windows())
        return cls(
            verified_at=record.verified_at,
            age=max(now - record.verified_at, timedelta(0)),
            freshness=str(tier) if tier in (Tier.STALE, Tier.EXPIRED) else "fresh",
            reason=None,
            next_attempt_at=None,
            changed_at=record.changed_at,
            **answer,
        )

    @classmethod
    def of(cls, reading: Reading[Any], **answer: Any) -> Self:
        """Return the answer with the fields `answer`, if the decision allows it. Counts it, and logs it if it is stale.

        Raises `NoAnswer` if nothing may be served.
        """
        record, decision, now = reading.record, reading.decision, reading.now
        if not decision.serve or record.verified_at is None:
            record.resource.counts.read(reading.found, ReadOutcome.REFUSED)
            raise _refusal(record, decision, now)
        stale = decision.tier is Tier.STALE
        served = cls(
            verified_at=record.verified_at,
            age=max(now - record.verified_at, timedelta(0)),
            freshness="stale" if stale else "fresh",
            reason=(decision.reason or Reason.BUSY) if stale else None,
            next_attempt_at=decision.until,
            is_asking=decision.reason is Reason.IN_PROGRESS
            or (record.lease_until is not None and is_leased(record.lease_until, now, record.resource.windows().lease)),
            waited_from=reading.found if reading.waited else None,
            changed_at=record.changed_at,
            **answer,
        )
        record.resource.counts.served(reading.found, served.age, stale=stale, waited=reading.waited)
        if stale:
            _log_stale(record, served)
        if record.last_read_at is None or now - record.last_read_at >= LAST_READ_RESOLUTION:
            row = type(record)._default_manager.filter(pk=record.pk)
            bookkeeper.note(("last read", type(record), record.pk), partial(row.update, last_read_at=now))
        return served


def look(record: R, now: datetime, max_age: timedelta | None = None) -> Reading[R] | None:
    """Return the reading of `record` at `now`; None if Discord has to be asked first or nothing may be served."""
    wanted_since = None if max_age is None else now - max_age
    decision = freshness.decide(record, now, record.resource.windows(), wanted_since=wanted_since)
    if decision.ask or not decision.serve:
        return None
    return Reading(record, _behind_limits(record, decision, now), now, decision.tier)


def look_up(resource: Resource[R, Any], *key: int, max_age: timedelta | None = None) -> Reading[R] | None:
    """Return what `look` returns for the stored record, or None without one.

    Without `max_age`, a fresh record is read without the gate, which its reading doesn't depend on.
    """
    found = resource.find(*key, gate=max_age is not None)
    if found and max_age is None and freshness.tier(*found, resource.windows()) is not Tier.FRESH:
        found = resource.find(*key)
    return look(*found, max_age=max_age) if found else None


def read(
    resource: Resource[R, Any],
    *key: int,
    max_age: timedelta | None = None,
    timeout: float,
    clock: Callable[[], float] = time.monotonic,
) -> Reading[R]:
    """Decide, act on it and decide again, until an answer can be served or `timeout` seconds have passed."""
    end = clock() + timeout
    windows = resource.windows()
    wanted_since: datetime | None = None
    found: Tier | None = None
    waited = False
    while True:
        record, now = resource.read(*key)
        if found is None and record.is_refused and resource.is_refusal_over(record):
            refresh.lift_refusal(record)
            record, now = resource.read(*key)
        if max_age is not None and wanted_since is None:
            wanted_since = now - max_age
        decision = freshness.decide(record, now, windows, wanted_since=wanted_since)
        found = found or decision.tier
        decision = _behind_limits(record, decision, now)
        if decision.claim:
            started = _try_to_start(record, now, decision)
            if started is None:
                continue
            decision = started
        reading = Reading(record, decision, now, found, waited)
        if not decision.ask or decision.wait is Wait.NONE:
            return reading
        left = end - clock()
        if decision.wait is Wait.SOFT:
            left = min(left, freshness.soft_wait_left(decision.until, now, windows).total_seconds())
        if left <= 0 or not waiting.wait_for_change(record, left):
            return reading
        waited = True


def _try_to_start(record: Record, now: datetime, decision: Decision) -> Decision | None:
    """Call `_start`. If the database refuses to write, a reader that can be served gets the stored list."""
    try:
        return _start(record, now, decision)
    except Error as error:
        if not (decision.serve and is_unavailable(error)):
            raise
        return decision.not_now(Reason.DATABASE, now + BUSY_PAUSE)


def _behind_limits(record: Record, decision: Decision, now: datetime) -> Decision:
    """Return the decision with the block that ends last: the record's own, one it shares, or the site's gate and brake.

    An answer served as fresh costs no query, since its reader is not shown any block.
    """
    served_as_fresh = decision.serve and decision.tier in (Tier.FRESH, Tier.DUE)
    if decision.until is None or (not decision.claim and (decision.ask or served_as_fresh)):
        return decision
    blocks: list[tuple[datetime, Reason]] = []
    if shut := gate.closed(decision.priority):
        blocks.append((shut.until, shut.reason))
    if held := record.resource.held_until(record, now, decision.priority):
        blocks.append((held, Reason.RATE_LIMITED))
    until, reason = max(blocks, default=(decision.until, Reason.BUSY))
    return decision.not_now(reason, until) if until > decision.until else decision


def _start(record: Record, now: datetime, decision: Decision) -> Decision | None:
    """Start a refresh in the background, if a thread is free.

    Returns the changed decision; None if another reader claimed first, or is the one that tests Discord's silence.
    """
    reservation = background.reserve()
    if reservation is None:
        return decision.not_now(decision.reason or Reason.BUSY, now + BUSY_PAUSE)
    client = discord_client()
    claimed = None
    try:
        with lock_timeout(CLAIM_LOCK_SECONDS) if decision.serve else nullcontext():
            claimed = refresh.claim(record, now, decision, client)
    finally:
        if claimed is None:
            reservation.release()
    if claimed is None:
        return None
    waiting.announce(record, reservation.start(partial(refresh.run, claimed, client), refresh.follow_up))
    record.generation = claimed.generation
    return decision.under_way(now + record.resource.windows().lease)


def _refusal(record: Record, decision: Decision, now: datetime) -> NoAnswer:
    reason = decision.reason or Reason.BUSY
    if reason.is_refusal:
        return NoAnswer(record.resource.name, reason)
    seconds = max((decision.until - now).total_seconds(), 0.0) if decision.until else BUSY_PAUSE.total_seconds()
    if reason is Reason.IN_PROGRESS:
        # The response usually arrives long before the attempt must end, and a retry costs no request to Discord.
        seconds = min(seconds, BUSY_PAUSE.total_seconds())
    limits_guild = reason is Reason.RATE_LIMITED and record.resource.limits_guild(record)
    return NoAnswer(record.resource.name, reason, seconds, limits_guild=limits_guild)


_logged: dict[tuple[str, int, str], float] = {}


def _log_stale(record: Record, served: Served) -> None:
    resource = record.resource
    cause, now = (resource.name, record.pk, str(served.reason)), time.monotonic()
    if now - _logged.get(cause, -LOG_AGAIN_AFTER) < LOG_AGAIN_AFTER:
        return
    if len(_logged) > 10_000:
        _logged.clear()
    _logged[cause] = now
    logger.warning(
        resource.event("serving_stale_{}"),
        **resource.whose(record),
        age_seconds=int(served.age.total_seconds()),
        reason=str(served.reason),
        next_attempt_at=served.next_attempt_at,
    )
