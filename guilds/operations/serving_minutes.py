"""Counts of served lists and Discord's responses per minute, for the operators' charts.

Each process already counts for Prometheus (`metrics`). A background thread stores the increments once a minute, so a
read of a list costs nothing extra and never waits for a row.
"""

import os
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from multiprocessing.util import Finalize

import structlog
from django.conf import settings
from django.db import Error
from prometheus_client import Counter, Histogram
from prometheus_client.samples import Sample

from accounts import background
from accounts.clock import database_now
from accounts.metrics import REQUESTS
from guilds.engine.metrics import READS, SERVED_AGE, ReadOutcome
from guilds.models import ServingMinute
from guilds.resources.guild_list import GUILD_LIST

logger = structlog.get_logger(__name__)

RETENTION = timedelta(days=30)

COUNTS = [field.name for field in ServingMinute._meta.concrete_fields if field.name not in ("id", "minute")]
SERVED = {
    ReadOutcome.HIT: "fresh",
    ReadOutcome.MISS_REFRESHED: "fresh",
    ReadOutcome.STALE_SERVED: "stale",
    ReadOutcome.REFUSED: "refused",
}
# The histogram's bounds in seconds, ascending.
AGES = {
    300.0: "within_5_minutes",
    900.0: "within_15_minutes",
    3600.0: "within_1_hour",
    14400.0: "within_4_hours",
    86400.0: "within_1_day",
    float("inf"): "older",
}


def totals() -> dict[str, int]:
    """Return this process's counts since its start, by field name of `ServingMinute`."""
    found = dict.fromkeys(COUNTS, 0)
    for sample in _samples(READS, "_total", resource=GUILD_LIST.name):
        found[SERVED[ReadOutcome(sample.labels["outcome"])]] += int(sample.value)
    for sample in _samples(REQUESTS, "_total"):
        found[_column(sample.labels["status"])] += int(sample.value)
    ages = _samples(SERVED_AGE, "_bucket", resource=GUILD_LIST.name)
    below = {float(sample.labels["le"]): int(sample.value) for sample in ages}
    before = 0
    for bound, name in AGES.items():
        found[name] = below[bound] - before
        before = below[bound]
    return found


def _samples(metric: Counter | Histogram, suffix: str, **labels: str) -> Iterator[Sample]:
    return (
        sample
        for family in metric.collect()
        for sample in family.samples
        if sample.name.endswith(suffix) and labels.items() <= sample.labels.items()
    )


def _column(status: str) -> str:
    if status == "none":
        return "unanswered"
    if status == "429":
        return "limited"
    return {"4": "rejected", "5": "failed"}.get(status[0], "answered")


class Ledger:
    """Keeps track of which of this process's counts are already stored."""

    def __init__(self) -> None:
        self._written = totals()
        self._lock = threading.Lock()

    def write(self) -> None:
        """Store a row with the counts since the last one. If the database is down, the next call stores them."""
        with self._lock:
            now = totals()
            added = {name: now[name] - self._written[name] for name in COUNTS}
            if not any(added.values()):
                return
            try:
                minute = database_now().replace(second=0, microsecond=0)
                ServingMinute.objects.create(minute=minute, **added)
            except Error as error:
                logger.warning("serving_minute_not_written", error=type(error).__name__)
                return
            finally:
                background.release_connection()
            self._written = now


_ledger: Ledger | None = None


def start() -> None:
    """Start storing this process's counts every `SERVING_FLUSH_SECONDS` and at its end; 0 turns it off."""
    if settings.SERVING_FLUSH_SECONDS and _ledger is None:
        _start()
        # If the server loads the site before it forks, the child process doesn't inherit the thread.
        os.register_at_fork(after_in_child=_start)


def _start() -> None:
    global _ledger
    _ledger = Ledger()
    # Not `atexit`, which processes started by `multiprocessing` never run.
    Finalize(None, _ledger.write, exitpriority=0)
    threading.Thread(target=_repeat, args=(_ledger,), daemon=True, name="guildhall-serving").start()


def _repeat(ledger: Ledger) -> None:
    while True:
        time.sleep(settings.SERVING_FLUSH_SECONDS)
        ledger.write()


def purge() -> int:
    """Delete rows older than `RETENTION`. Returns how many."""
    deleted, _ = ServingMinute.objects.filter(minute__lt=database_now() - RETENTION).delete()
    return deleted
