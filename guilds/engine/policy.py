"""The policy: what a reader gets of a resource, and when Discord is asked for it.

`read` waits for Discord where it must, `look` never does. Both return a `Reading`, and `Served.of` makes it the answer
that is served, or raises why there is none.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Generic, Self

import structlog

from accounts import background, gate
from accounts.tokens import discord_client
from guilds.engine import freshness, metrics, refresh, waiting
from guilds.engine.freshness import Decision, Reason, Tier, Wait
from guilds.engine.metrics import Outcome
from guilds.engine.records import Record
from guilds.engine.refusal import NoAnswer
from guilds.engine.resource import R, Resource

logger = structlog.get_logger(__name__)

# The log repeats a stale answer to one reader for one cause at most this often; each is counted.
LOG_AGAIN_AFTER = 60.0
# A reader who finds no thread free for a refresh is told to come back then.
BUSY_PAUSE = timedelta(seconds=2)
LAST_READ_RESOLUTION = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Reading(Generic[R]):
    """A record, and what was decided about it at `now`.

    `found` is its tier before anything was done about it; `waited` says whether the reader waited for a refresh.
    """

    record: R
    decision: Decision
    now: datetime
    found: Tier
    waited: bool = False


@dataclass(frozen=True, kw_only=True)
class Served:
    """What a reader learns of any answer beside the answer itself, which Discord verified at `verified_at`.

    `freshness` is "fresh" or "stale"; `age` is what it was when the record was read. `reason` says why a stale answer
    isn't younger, `next_attempt_at` when Discord will be asked next, `is_asking` whether it is being asked right now.
    `waited_from` is what was found by a reader who then waited for Discord; None for one who didn't have to.
    `changed_at` is the last time that an answer differed from the one before.
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
        return self.freshness == "stale"

    @classmethod
    def of(cls, reading: Reading[Any], **answer: Any) -> Self:
        """The answer with the fields `answer`, as the decision allows it. Counted by what was found; logged if stale.

        Raises why nothing may be served.
        """
        record, decision, now = reading.record, reading.decision, reading.now
        if not decision.serve or record.verified_at is None:
            metrics.count_read(reading.found, Outcome.REFUSED)
            raise _refusal(record, decision, now)
        stale = decision.tier is Tier.STALE
        served = cls(
            verified_at=record.verified_at,
            age=max(now - record.verified_at, timedelta(0)),
            freshness="stale" if stale else "fresh",
            reason=(decision.reason or Reason.BUSY) if stale else None,
            next_attempt_at=decision.until,
            is_asking=decision.reason is Reason.IN_PROGRESS
            or (record.lease_until is not None and record.lease_until > now),
            waited_from=reading.found if reading.waited else None,
            changed_at=record.changed_at,
            **answer,
        )
        metrics.count_served(reading.found, served.age, stale=stale, waited=reading.waited)
        if stale:
            _log_stale(record, served)
        if record.last_read_at is None or now - record.last_read_at >= LAST_READ_RESOLUTION:
            type(record)._default_manager.filter(pk=record.pk).update(last_read_at=now)
        return served


def look(record: R, now: datetime) -> Reading[R] | None:
    """The reading of `record` as of `now`; None if Discord has to be asked first, or nothing may be served."""
    decision = freshness.decide(record, now, record.resource.windows())
    if decision.ask or not decision.serve:
        return None
    return Reading(record, decision, now, decision.tier)


def read(
    resource: Resource[R, Any],
    *key: int,
    max_age: timedelta | None = None,
    timeout: float,
    clock: Callable[[], float] = time.monotonic,
) -> Reading[R]:
    """Decide, act, and decide again on what came of it, until an answer can be served or `timeout` seconds are over."""
    end = clock() + timeout
    windows = resource.windows()
    wanted_since: datetime | None = None
    found: Tier | None = None
    waited = False
    while True:
        record, now = resource.read(*key)
        if max_age is not None and wanted_since is None:
            wanted_since = now - max_age
        decision = freshness.decide(record, now, windows, wanted_since=wanted_since)
        found = found or decision.tier
        if decision.claim:
            started = _start(record, now, decision)
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


def _start(record: Record, now: datetime, decision: Decision) -> Decision | None:
    """Start a refresh in the background, if the gate is open and a thread is free.

    Returns the changed decision; None if another reader claimed first.
    """
    if shut := gate.closed(decision.priority):
        return decision.not_now(shut.reason, shut.until)
    reservation = background.reserve()
    if reservation is None:
        return decision.not_now(decision.reason or Reason.BUSY, now + BUSY_PAUSE)
    client = discord_client()
    claimed = refresh.claim(record, now, decision, client)
    if claimed is None:
        reservation.give_back()
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
        # The answer may be there long before the attempt must end, and asking us again costs Discord nothing.
        seconds = min(seconds, BUSY_PAUSE.total_seconds())
    return NoAnswer(record.resource.name, reason, seconds)


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
        next_attempt_at=served.next_attempt_at.isoformat() if served.next_attempt_at else None,
    )
