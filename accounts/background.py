"""Work beside the requests: a bounded number of daemon threads, one per job.

Not an executor: an executor keeps jobs in a queue and blocks shutdown until they end. A job that finds no slot is
dropped, and one that the shutdown cuts off is abandoned; whoever spawned it holds a lease that covers both.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import TypeVar

from django.conf import settings
from django.db import connection, connections

from accounts import metrics

T = TypeVar("T")


class Slots:
    """At most `share` of the web threads at once, counted within this process; nothing is made before first use."""

    def __init__(self, share: float, *, pool: str) -> None:
        self._share = share
        self._size = metrics.SLOTS.labels(pool)
        self._in_use = metrics.SLOTS_IN_USE.labels(pool)
        self._refused = metrics.SLOTS_REFUSED.labels(pool)
        # A process may find the numbers of a dead one that had its id.
        self._in_use.set(0)
        self._lock = threading.Lock()
        self._semaphore: threading.BoundedSemaphore | None = None

    def take(self) -> bool:
        """Whether a slot was free; it is the caller's until `give_back`."""
        with self._lock:
            if self._semaphore is None:
                size = max(1, int(settings.WEB_THREADS * self._share))
                self._semaphore = threading.BoundedSemaphore(size)
                self._size.set(size)
        taken = self._semaphore.acquire(blocking=False)
        if taken:
            self._in_use.inc()
        else:
            self._refused.inc()
        return taken

    def give_back(self) -> None:
        if self._semaphore is not None:
            self._in_use.dec()
            self._semaphore.release()


# As many jobs as web threads: each waiting reader may have one, and a stall can't pile up more.
job_slots = Slots(1, pool="jobs")


FollowUp = Callable[[], object]


class Reservation:
    """A slot taken before there is a job for it: start one, or give it back."""

    def start(
        self, job: Callable[[], T], follow_up: Callable[[T], FollowUp | None] = lambda _result: None
    ) -> "Future[T]":
        """Run `job` in a thread of its own; the Future is set when it ends.

        `follow_up` is called with the result and may return more work. The same thread does it, in the same slot, after
        the Future is set: whoever waits for the job doesn't wait for its follow-up.
        """
        future: Future[T] = Future()
        threading.Thread(target=_run, args=(job, follow_up, future), daemon=True, name="guildhall-job").start()
        return future

    def give_back(self) -> None:
        job_slots.give_back()


def reserve() -> Reservation | None:
    return Reservation() if job_slots.take() else None


def _run(job: Callable[[], T], follow_up: Callable[[T], FollowUp | None], future: "Future[T]") -> None:
    more: FollowUp | None = None
    report: Callable[[], None]
    try:
        result = job()
        more, report = follow_up(result), partial(future.set_result, result)
    except Exception as error:
        report = partial(future.set_exception, error)
    # The connection is released before the Future is set, and so is the slot, unless there is more to do: the readers
    # who waited need both.
    connections.close_all()
    if more is None:
        job_slots.give_back()
        report()
        return
    report()
    try:
        more()
    finally:
        connections.close_all()
        job_slots.give_back()


def call(job: Callable[[], T], *, timeout: float) -> T:
    """What `job` returns or raises, run beside this thread; `TimeoutError` if it takes over `timeout` seconds.

    A socket's own timeouts start anew with every byte, so only a thread that may be left behind bounds a call.
    """
    release_connection()
    reservation = reserve()
    if reservation is None:
        raise TimeoutError
    return reservation.start(job).result(timeout)


def release_connection() -> None:
    """Hand this thread's database connection back before waiting; a pool smaller than the threads depends on it."""
    if not connection.in_atomic_block:
        connection.close()
