"""Waiting for a refresh in any process, without polling the database too often or using up the web server's threads.

Per process and record, one thread polls the row or is the refresh itself; all other readers of that record wait on its
Future. At most three quarters of the web threads wait at once. Further readers get an immediate response, so that pages
without a list still find free threads while Discord stalls.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from typing import Any

from accounts import background
from accounts.background import Slots
from accounts.clock import is_leased
from guilds.engine.records import Record

POLL_SECONDS = 0.1

wait_slots = Slots(0.75, pool="waits")
_lock = threading.Lock()
_ends: "dict[tuple[str, int], Future[Any]]" = {}


def announce(record: Record, job: "Future[Any]") -> None:
    """Let this process's readers of `record` wait for `job` instead of polling the row."""
    key = _key(record)
    with _lock:
        _ends[key] = job
    job.add_done_callback(lambda done: _forget(key, done))


def _key(record: Record) -> tuple[str, int]:
    return record.resource.name, record.pk


def _forget(key: tuple[str, int], done: "Future[Any]") -> None:
    with _lock:
        if _ends.get(key) is done:
            del _ends[key]


def wait_for_change(
    record: Record,
    seconds: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> bool:
    """Wait at most `seconds` until the attempt under the record's generation has ended, successfully or not.

    Returns False at once if no wait slot is free, else True.
    """
    if not wait_slots.acquire():
        return False
    try:
        background.release_connection()
        key = _key(record)
        own: Future[None] = Future()
        with _lock:
            running = _ends.setdefault(key, own)
        if running is not own:
            wait_for([running], timeout=max(seconds, 0))
            return True
        try:
            _follow(record, clock() + seconds, clock, sleep)
        finally:
            _forget(key, own)
            own.set_result(None)
        return True
    finally:
        wait_slots.release()


def _follow(record: Record, end: float, clock: Callable[[], float], sleep: Callable[[float], None]) -> None:
    rows = type(record)._default_manager
    lease = is_leased("lease_until", record.resource.windows().lease)
    running = rows.filter(lease, pk=record.pk, generation=record.generation)
    while running.exists():
        background.release_connection()
        left = end - clock()
        if left <= 0:
            return
        sleep(min(POLL_SECONDS, left))
