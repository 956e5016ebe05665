"""The sweep: refreshes due records before their readers come back.

It adds no rule of its own: `freshness.decide` says which records are due, the gate says whether requests may be sent,
and the sweep claims a record as readers do. So any number of sweeps and readers can run at once without sending
duplicates.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import structlog
from django.db.models import Q, QuerySet

from accounts import gate
from accounts.clock import database_now
from accounts.database import is_unavailable
from accounts.limits import GateShut, Priority
from accounts.tokens import discord_client
from guilds.engine import freshness, refresh
from guilds.engine.freshness import Reason
from guilds.engine.policy import LAST_READ_RESOLUTION
from guilds.engine.records import Record
from guilds.engine.refresh import Outcome, Verified
from guilds.engine.resource import R, Resource

logger = structlog.get_logger(__name__)

PAGE = 200
# This many failures in a row mean that Discord is down, not that one person's account has a problem. Continuing would
# only lengthen the back-off of every remaining person.
SILENT_IN_A_ROW = 10
SILENCE = (Reason.UNAVAILABLE, Reason.UNUSABLE, Reason.SITE_REFUSED)


@dataclass
class Round:
    """The result of one round. `ended` says why it stopped early, with `left` records to go; `until` for how long."""

    refreshed: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    skipped: int = 0
    left: int = 0
    ended: str = ""
    until: datetime | None = None
    silent_in_a_row: int = 0
    silence: Reason = Reason.UNAVAILABLE

    @property
    def asked(self) -> int:
        return self.refreshed + self.failed.total()

    def count(self, outcome: Outcome | None) -> None:
        """Count the outcome of one record; None means it was skipped."""
        if outcome is None:
            self.skipped += 1
            return
        silent = False
        if isinstance(outcome, Verified):
            self.refreshed += 1
        else:
            self.failed[str(outcome.reason)] += 1
            silent = outcome.reason in SILENCE
            self.silence = outcome.reason
        self.silent_in_a_row = self.silent_in_a_row + 1 if silent else 0


def due(resource: Resource[R, Any], now: datetime) -> "QuerySet[R, R]":
    """Return the records past their `refresh_after` that were read recently, the most overdue first.

    Recently means within the last fresh window. `last_read_at` has a resolution of one hour, so it can be almost an
    hour too old; therefore one hour is added.
    """
    lately = now - resource.windows().fresh - LAST_READ_RESOLUTION
    records = resource.model._default_manager.filter(refresh_after__lte=now, last_read_at__gte=lately)
    return records.only("refresh_after", *resource.key).order_by("refresh_after", "pk")


def sweep(
    resource: Resource[Any, Any], *, limit: int | None = None, sleep: Callable[[float], None] = time.sleep
) -> Round:
    """Refresh the due records one by one, at most `limit`. Ends early if the gate shuts or the brake engages."""
    done = Round()
    records = due(resource, database_now())
    for record in _paged(records):
        done.ended = _enough(done, limit)
        if not done.ended:
            try:
                _visit(resource, record, done, sleep)
            except GateShut as shut:
                done.ended, done.until = str(shut.reason), shut.until
        if done.ended:
            done.left = 1 + _after(records, record).count()
            break
    counts = {"refreshed": done.refreshed, "failed": dict(done.failed), "skipped": done.skipped, "left": done.left}
    logger.info(resource.event("{}s_swept"), **counts, ended=done.ended)
    return done


def _paged(records: "QuerySet[R, R]") -> Iterator[R]:
    """Iterate over `records` in pages, each starting after the previous one. An open cursor would not survive the first
    request to Discord, which releases the connection."""
    page = list(records[:PAGE])
    while page:
        yield from page
        page = list(_after(records, page[-1])[:PAGE])


def _after(records: "QuerySet[R, R]", record: R) -> "QuerySet[R, R]":
    return records.filter(
        Q(refresh_after__gt=record.refresh_after) | Q(refresh_after=record.refresh_after, pk__gt=record.pk)
    )


def _enough(done: Round, limit: int | None) -> str:
    if limit is not None and done.asked >= limit:
        return "limit"
    return done.silence if done.silent_in_a_row >= SILENT_IN_A_ROW else ""


def _visit(resource: Resource[R, Any], selected: R, done: Round, sleep: Callable[[float], None]) -> None:
    """Refresh one record, unless the rule forbids it or it is already claimed. Raises `GateShut` before any claim.

    It was selected a while ago, so it is read again, as readers read it. If it changes before the claim, that fails.
    """
    try:
        found = resource.find(*(getattr(selected, name) for name in resource.key))
        if found is None or not _may_ask(*found):
            done.skipped += 1
            return
        now = gate.wait_for_place(sleep)
        done.count(_refresh(found[0], now))
    except GateShut:
        raise
    except Exception as error:
        if is_unavailable(error):
            raise
        logger.exception(resource.event("{}_sweep_crashed"), **resource.whose(selected))
        done.failed["crashed"] += 1
        done.silent_in_a_row = 0


def _may_ask(record: Record, now: datetime) -> bool:
    decision = freshness.decide(record, now, record.resource.windows())
    return decision.claim and not record.resource.held_until(record, now, Priority.DUE)


def _refresh(record: Record, now: datetime) -> Outcome | None:
    """Claim, ask and store, in this thread. Returns the stored outcome; None if nothing was stored."""
    client = discord_client()
    decision = freshness.decide(record, now, record.resource.windows())
    claimed = refresh.claim(record, now, decision, client) if decision.claim else None
    if claimed is None:
        return None
    # No reader is waiting for this answer, whatever its age.
    outcome = refresh.run(replace(claimed, priority=Priority.DUE), client)
    if more := refresh.follow_up(outcome):
        more()
    return outcome
