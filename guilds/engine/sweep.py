"""The sweep: records that are due are refreshed before their readers come back.

It adds no rule: `freshness.decide` says what is due, the gate whether Discord may be asked, and the sweep claims a
record as readers do. So any number of sweeps and readers can run at once, and none asks for what another is asking for.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import structlog
from django.db import InterfaceError, OperationalError
from django.db.models import Q, QuerySet

from accounts import gate
from accounts.clock import database_now
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
# So many silent answers in a row are Discord's silence and not one person's trouble; going on would only lengthen
# everybody's pause.
SILENT_IN_A_ROW = 10


@dataclass
class Round:
    """What one round did. `ended` is why it stopped early (with `left` records to go), `until` for how long."""

    refreshed: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    skipped: int = 0
    left: int = 0
    ended: str = ""
    until: datetime | None = None
    silent_in_a_row: int = 0

    @property
    def asked(self) -> int:
        return self.refreshed + self.failed.total()

    def count(self, outcome: Outcome | None) -> None:
        """Count one record by what came of it."""
        silent = False
        if outcome is None:
            self.skipped += 1
        elif isinstance(outcome, Verified):
            self.refreshed += 1
        else:
            self.failed[str(outcome.reason)] += 1
            silent = outcome.reason is Reason.UNAVAILABLE
        self.silent_in_a_row = self.silent_in_a_row + 1 if silent else 0


def due(resource: Resource[R, Any], now: datetime) -> "QuerySet[R, R]":
    """The records past their `refresh_after` that were read lately, the most overdue first.

    Lately is within the last fresh window. As `last_read_at` is kept to the hour, it may be almost an hour older than
    what it stands for, so an hour is added.
    """
    lately = now - resource.windows().fresh - LAST_READ_RESOLUTION
    records = resource.model._default_manager.filter(refresh_after__lte=now, last_read_at__gte=lately)
    return records.order_by("refresh_after", "pk")


def sweep(
    resource: Resource[Any, Any], *, limit: int | None = None, sleep: Callable[[float], None] = time.sleep
) -> Round:
    """Refresh what is due, one record after another, at most `limit`; end early where the gate or the brake says so."""
    done = Round()
    records = due(resource, database_now())
    for record in _paged(records):
        done.ended = _enough(done, limit)
        if not done.ended:
            try:
                _visit(record, done, sleep)
            except GateShut as shut:
                done.ended, done.until = str(shut.reason), shut.until
        if done.ended:
            done.left = 1 + _after(records, record).count()
            break
    counts = {"refreshed": done.refreshed, "failed": dict(done.failed), "skipped": done.skipped, "left": done.left}
    logger.info(resource.event("{}s_swept"), **counts, ended=done.ended)
    return done


def _paged(records: "QuerySet[R, R]") -> Iterator[R]:
    """All of `records`, read in pages that each begin after the last: an open cursor would not outlive the first call
    to Discord, which hands the connection back."""
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
    return Reason.UNAVAILABLE if done.silent_in_a_row >= SILENT_IN_A_ROW else ""


def _visit(record: Record, done: Round, sleep: Callable[[float], None]) -> None:
    """Refresh one record, unless the rule says no or somebody was quicker. Raises `GateShut` before it claims anything.

    The record may be a page old by now; if it isn't as it was read, the claim fails.
    """
    try:
        if not freshness.decide(record, database_now(), record.resource.windows()).claim:
            done.skipped += 1
            return
        now = gate.wait_for_place(sleep)
        done.count(_refresh(record, now))
    except (GateShut, OperationalError, InterfaceError):
        raise
    except Exception:
        logger.exception(record.resource.event("{}_sweep_crashed"), **record.resource.whose(record))
        done.failed["crashed"] += 1
        done.silent_in_a_row = 0


def _refresh(record: Record, now: datetime) -> Outcome | None:
    """Claim, ask and store, in this thread. Returns what was stored; None if nothing was."""
    client = discord_client()
    decision = freshness.decide(record, now, record.resource.windows())
    claimed = refresh.claim(record, now, decision, client) if decision.claim else None
    if claimed is None:
        return None
    # Whatever the age of the answer, no reader is waiting for it.
    outcome = refresh.run(replace(claimed, priority=Priority.DUE), client)
    if more := refresh.follow_up(outcome):
        more()
    return outcome
