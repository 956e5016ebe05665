"""Waiting for a refresh, whoever runs it, without hammering the database or using up the web server's threads.

In one process one thread per person follows the row, or runs as the job itself; all other readers of that person wait
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
from guilds.models import GuildListVerification

POLL_SECONDS = 0.1

wait_slots = Slots(0.75, pool="waits")
_lock = threading.Lock()
_ends: "dict[int, Future[Any]]" = {}


def announce(user_id: int, job: "Future[Any]") -> None:
    """Let this process's readers of `user_id` wait for `job` instead of following the row."""
    with _lock:
        _ends[user_id] = job
    job.add_done_callback(lambda done: _forget(user_id, done))


def _forget(user_id: int, done: "Future[Any]") -> None:
    with _lock:
        if _ends.get(user_id) is done:
            del _ends[user_id]


def wait_for_change(
    user_id: int,
    generation: int,
    seconds: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> bool:
    """Wait until the attempt under `generation` has ended, one way or the other, but no longer than `seconds`.

    False, at once, if no wait slot is free.
    """
    if not wait_slots.take():
        return False
    try:
        background.release_connection()
        own: Future[None] = Future()
        with _lock:
            running = _ends.setdefault(user_id, own)
        if running is not own:
            wait_for([running], timeout=max(seconds, 0))
            return True
        try:
            _follow(user_id, generation, clock() + seconds, clock, sleep)
        finally:
            _forget(user_id, own)
            own.set_result(None)
        return True
    finally:
        wait_slots.give_back()


def _follow(
    user_id: int, generation: int, end: float, clock: Callable[[], float], sleep: Callable[[float], None]
) -> None:
    running = GuildListVerification.objects.filter(pk=user_id, generation=generation, lease_until__gt=Now())
    while running.exists():
        background.release_connection()
        left = end - clock()
        if left <= 0:
            return
        sleep(min(POLL_SECONDS, left))
