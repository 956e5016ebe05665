"""Prometheus metrics of this process's pool of PostgreSQL connections. SQLite has no pool."""

import threading
import time
from collections.abc import Callable
from typing import Any

from django.db import connection
from prometheus_client import Counter, Gauge

SIZE = Gauge(
    "guildhall_database_pool_size", "Connections that the pools hold, in use or not.", multiprocess_mode="livesum"
)
AVAILABLE = Gauge(
    "guildhall_database_pool_available", "Connections in the pools that are free.", multiprocess_mode="livesum"
)
WAITING = Gauge(
    "guildhall_database_pool_requests_waiting",
    "Threads that wait for a connection of their pool.",
    multiprocess_mode="livesum",
)
QUEUED = Counter("guildhall_database_pool_requests_queued", "Times that a thread had to wait for a connection.")
WAITED = Counter("guildhall_database_pool_wait_seconds", "Time that threads have waited for a connection.")
FAILED = Counter("guildhall_database_pool_requests_failed", "Times that a thread got no connection.")

# Seconds between two looks at the pool.
SAMPLE_EVERY = 5.0


class Sampler:
    """Copies a pool's own statistics into the metrics. `statistics` returns them as psycopg's `get_stats` does."""

    def __init__(self, statistics: Callable[[], dict[str, int]]) -> None:
        self.statistics = statistics
        self.before: dict[str, int] = {}

    def sample(self) -> None:
        now = self.statistics()
        SIZE.set(now.get("pool_size", 0))
        AVAILABLE.set(now.get("pool_available", 0))
        WAITING.set(now.get("requests_waiting", 0))
        QUEUED.inc(self._since(now, "requests_queued"))
        WAITED.inc(self._since(now, "requests_wait_ms") / 1000)
        FAILED.inc(self._since(now, "requests_errors"))
        self.before = now

    def _since(self, now: dict[str, int], name: str) -> int:
        return now.get(name, 0) - self.before.get(name, 0)


def start() -> None:
    """Sample the pool of this process in the background, for as long as the process serves requests."""
    pool: Any = getattr(connection, "pool", None)
    if pool is not None:
        sampler = Sampler(pool.get_stats)
        threading.Thread(target=_run, args=(sampler,), daemon=True, name="guildhall-pool-metrics").start()


def _run(sampler: Sampler) -> None:
    while True:
        sampler.sample()
        time.sleep(SAMPLE_EVERY)
