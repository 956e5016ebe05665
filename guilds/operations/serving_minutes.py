"""What was served and what Discord answered, minute by minute, for an operator's charts.

Each process counts for Prometheus anyway (`metrics`). A thread beside the requests writes down once a minute what was
added since, so that a read of a list costs nothing more, and no row is ever waited for.
"""

import os
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from multiprocessing.util import Finalize

import structlog
from django.conf import settings
from django.db import DatabaseError, InterfaceError
from prometheus_client import Counter, Histogram
from prometheus_client.samples import Sample

from accounts import background
from accounts.clock import database_now
from accounts.metrics import REQUESTS
from guilds.engine.metrics import READS, SERVED_AGE, Outcome
from guilds.models import ServingMinute

logger = structlog.get_logger(__name__)

RETENTION = timedelta(days=30)

COUNTS = [field.name for field in ServingMinute._meta.concrete_fields if field.name not in ("id", "minute")]
SERVED = {
    Outcome.HIT: "fresh",
    Outcome.MISS_REFRESHED: "fresh",
    Outcome.STALE_SERVED: "stale",
    Outcome.REFUSED: "refused",
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
    """What this process has counted since its start, by the names of `ServingMinute`'s fields."""
    found = dict.fromkeys(COUNTS, 0)
    for sample in _samples(READS, "_total"):
        found[SERVED[Outcome(sample.labels["outcome"])]] += int(sample.value)
    for sample in _samples(REQUESTS, "_total"):
        found[_answer(sample.labels["status"])] += int(sample.value)
    below = {float(sample.labels["le"]): int(sample.value) for sample in _samples(SERVED_AGE, "_bucket")}
    before = 0
    for bound, name in AGES.items():
        found[name] = below[bound] - before
        before = below[bound]
    return found


def _samples(metric: Counter | Histogram, suffix: str) -> Iterator[Sample]:
    return (sample for family in metric.collect() for sample in family.samples if sample.name.endswith(suffix))


def _answer(status: str) -> str:
    if status == "none":
        return "unanswered"
    if status == "429":
        return "limited"
    return {"4": "rejected", "5": "failed"}.get(status[0], "answered")


class Ledger:
    """What of this process's counts is written down already."""

    def __init__(self) -> None:
        self._written = totals()
        self._lock = threading.Lock()

    def write(self) -> None:
        """Add a row for what was counted since the last one. While the database is away, it waits for the next."""
        with self._lock:
            now = totals()
            added = {name: now[name] - self._written[name] for name in COUNTS}
            if not any(added.values()):
                return
            try:
                minute = database_now().replace(second=0, microsecond=0)
                ServingMinute.objects.create(minute=minute, **added)
            except (DatabaseError, InterfaceError) as error:
                logger.warning("serving_minute_not_written", error=type(error).__name__)
                return
            finally:
                background.release_connection()
            self._written = now


_ledger: Ledger | None = None


def start() -> None:
    """Write down what this process serves, every `SERVING_FLUSH_SECONDS` and when it ends; 0 seconds is never."""
    if settings.SERVING_FLUSH_SECONDS and _ledger is None:
        _start()
        # A server that loads the site before it forks leaves the thread behind.
        os.register_at_fork(after_in_child=_start)


def _start() -> None:
    global _ledger
    _ledger = Ledger()
    # Not `atexit`, which a process that `multiprocessing` made never runs; this one's parent has its own.
    Finalize(None, _ledger.write, exitpriority=0)
    threading.Thread(target=_repeat, args=(_ledger,), daemon=True, name="guildhall-serving").start()


def _repeat(ledger: Ledger) -> None:
    while True:
        time.sleep(settings.SERVING_FLUSH_SECONDS)
        ledger.write()


def purge() -> int:
    """Delete what is older than `RETENTION`; how many rows."""
    deleted, _ = ServingMinute.objects.filter(minute__lt=database_now() - RETENTION).delete()
    return deleted
