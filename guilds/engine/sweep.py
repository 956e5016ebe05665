"""The sweep: lists that are due are refreshed before their people come back.

It adds no rule and no way to ask. What is due `freshness.decide` says, whether Discord may be asked the gate, and the
claim is the one of every reader: any number of sweeps and readers may run at once, and nobody is asked for twice.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime

import structlog
from django.db import InterfaceError, OperationalError
from django.db.models import Q, QuerySet

from accounts import gate
from accounts.clock import database_now
from accounts.limits import GateShut, Priority
from accounts.tokens import discord_client
from guilds.engine import freshness, refresh
from guilds.engine.freshness import Reason
from guilds.engine.refresh import Outcome, Verified
from guilds.models import GuildListVerification
from guilds.services import LAST_READ_GRAIN

logger = structlog.get_logger(__name__)

PAGE = 200
# So many silent answers in a row are Discord's silence and not one person's trouble; going on would only lengthen
# everybody's pause.
SILENT_IN_A_ROW = 10


@dataclass
class Round:
    """What one round did. `ended` is why it stopped before its end (with `left` lists to go), `until` for how long."""

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
        """Count one list by what came of it."""
        silent = False
        if outcome is None:
            self.skipped += 1
        elif isinstance(outcome, Verified):
            self.refreshed += 1
        else:
            self.failed[str(outcome.reason)] += 1
            silent = outcome.reason is Reason.UNAVAILABLE
        self.silent_in_a_row = self.silent_in_a_row + 1 if silent else 0


def due_lists(now: datetime) -> QuerySet[GuildListVerification]:
    """The lists past their `refresh_after` whose people read lately, the most overdue first.

    Lately is within the last fresh window. As `last_read_at` is kept to the hour, it may be almost an hour older than
    what it stands for, so an hour is added.
    """
    lately = now - refresh.windows().fresh - LAST_READ_GRAIN
    due = GuildListVerification.objects.filter(refresh_after__lte=now, last_read_at__gte=lately)
    return due.order_by("refresh_after", "pk")


def sweep(*, limit: int | None = None, sleep: Callable[[float], None] = time.sleep) -> Round:
    """Refresh what is due, one list after another, at most `limit`; end early where the gate or the brake says so."""
    done = Round()
    lists = due_lists(database_now())
    for record in _paged(lists):
        done.ended = _enough(done, limit)
        if not done.ended:
            try:
                _visit(record, done, sleep)
            except GateShut as shut:
                done.ended, done.until = str(shut.reason), shut.until
        if done.ended:
            done.left = 1 + _after(lists, record).count()
            break
    counts = {"refreshed": done.refreshed, "failed": dict(done.failed), "skipped": done.skipped, "left": done.left}
    logger.info("guild_lists_swept", **counts, ended=done.ended)
    return done


def _paged(lists: QuerySet[GuildListVerification]) -> Iterator[GuildListVerification]:
    """All of `lists`, read in pages that each begin after the last: an open cursor would not outlive the first call
    to Discord, which hands the connection back."""
    page = list(lists[:PAGE])
    while page:
        yield from page
        page = list(_after(lists, page[-1])[:PAGE])


def _after(lists: QuerySet[GuildListVerification], record: GuildListVerification) -> QuerySet[GuildListVerification]:
    return lists.filter(
        Q(refresh_after__gt=record.refresh_after) | Q(refresh_after=record.refresh_after, pk__gt=record.pk)
    )


def _enough(done: Round, limit: int | None) -> str:
    if limit is not None and done.asked >= limit:
        return "limit"
    return Reason.UNAVAILABLE if done.silent_in_a_row >= SILENT_IN_A_ROW else ""


def _visit(record: GuildListVerification, done: Round, sleep: Callable[[float], None]) -> None:
    """Refresh one list, unless the rule says no or somebody was quicker. Raises `GateShut` before anything is claimed.

    The record may be a page old by now; if it isn't as it was read, the claim fails.
    """
    try:
        if not freshness.decide(record, database_now(), refresh.windows()).claim:
            done.skipped += 1
            return
        now = gate.wait_for_place(sleep)
        done.count(_refresh(record, now))
    except (GateShut, OperationalError, InterfaceError):
        raise
    except Exception:
        logger.exception("guild_list_sweep_crashed", user_id=record.pk)
        done.failed["crashed"] += 1
        done.silent_in_a_row = 0


def _refresh(record: GuildListVerification, now: datetime) -> Outcome | None:
    """Claim, ask and store, in this thread. Returns what was stored; None if nothing was."""
    client = discord_client()
    decision = freshness.decide(record, now, refresh.windows())
    claimed = refresh.claim(record, now, decision, client) if decision.claim else None
    if claimed is None:
        return None
    # Whatever the age of the list, nobody is waiting for it.
    outcome = refresh.run(replace(claimed, priority=Priority.DUE), client)
    if more := refresh.follow_up(outcome):
        more()
    return outcome
