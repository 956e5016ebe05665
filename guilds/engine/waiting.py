"""Waiting for a refresh, whoever runs it, without hammering the database or using up the web server's threads.

In one process one thread per record follows the row, or runs as the job itself; all other readers of that record wait
on its Future. At most three quarters of the web threads wait at once: the others get their answer at once, so that
pages which need no list keep their threads while Discord stalls.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from typing import Any

from accounts import background
from accounts.background import Slots
from accounts.clock import Now
from guilds.engine.records import Record

POLL_SECONDS = 0.1

wait_slots = Slots(0.75, pool="waits")
_lock = threading.Lock()
_ends: "dict[tuple[str, int], Future[Any]]" = {}


def announce(record: Record, job: "Future[Any]") -> None:
    """Let this process's readers of `record` wait for `job` instead of following the row."""
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
    """Wait until the attempt under the record's generation has ended, one way or the other, at most `seconds`.

    False, at once, if no wait slot is free.
    """
    if not wait_slots.take():
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
        wait_slots.give_back()


def _follow(record: Record, end: float, clock: Callable[[], float], sleep: Callable[[float], None]) -> None:
    rows = type(record)._default_manager
    running = rows.filter(pk=record.pk, generation=record.generation, lease_until__gt=Now())
    while running.exists():
        background.release_connection()
        left = end - clock()
        if left <= 0:
            return
        sleep(min(POLL_SECONDS, left))
