"""Background jobs: a bounded number of daemon threads, one per job.

Not an executor: an executor queues jobs and blocks shutdown until they end. A job that gets no slot is dropped, and
one that is running at shutdown is abandoned; the lease that its caller holds covers both cases.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, TypeVar

import structlog
from django.conf import settings
from django.db import connection, connections

from accounts import metrics

T = TypeVar("T")


class Slots:
    """A limit on concurrent use, as a `share` of this process's web threads. Created on first use.

    `pool` is the label in the metrics.
    """

    def __init__(self, share: float, *, pool: str) -> None:
        self._share = share
        self._size = metrics.SLOTS.labels(pool)
        self._in_use = metrics.SLOTS_IN_USE.labels(pool)
        self._refused = metrics.SLOTS_REFUSED.labels(pool)
        # In multi-process mode the file may hold the value of a dead process with the same id.
        self._in_use.set(0)
        self._lock = threading.Lock()
        self._semaphore: threading.BoundedSemaphore | None = None

    def acquire(self) -> bool:
        """Take a slot without waiting. Returns False if none is free; otherwise the caller must call `release`."""
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

    def release(self) -> None:
        if self._semaphore is not None:
            self._in_use.dec()
            self._semaphore.release()


# As many jobs as web threads: each waiting reader can have one, and a stall can't accumulate more.
job_slots = Slots(1, pool="jobs")


FollowUp = Callable[[], object]


class Reservation:
    """A slot acquired before its job exists. Call `start` or `release`."""

    def start(
        self, job: Callable[[], T], follow_up: Callable[[T], FollowUp | None] = lambda _result: None
    ) -> "Future[T]":
        """Run `job` in a new thread and return a Future for its result.

        `follow_up` is called with the result and may return more work. The same thread does that work, in the same
        slot, after the Future is set: callers that wait for the job don't wait for its follow-up.
        """
        future: Future[T] = Future()
        # The job's log lines have the id of the request that started it.
        of_request = structlog.contextvars.get_contextvars()
        args = (job, follow_up, future, of_request)
        threading.Thread(target=_run, args=args, daemon=True, name="guildhall-job").start()
        return future

    def release(self) -> None:
        job_slots.release()


def reserve() -> Reservation | None:
    """Acquire a job slot, or return None if none is free."""
    return Reservation() if job_slots.acquire() else None


def _run(
    job: Callable[[], T], follow_up: Callable[[T], FollowUp | None], future: "Future[T]", of_request: dict[str, Any]
) -> None:
    # This thread has a context of its own, which ends with it.
    structlog.contextvars.bind_contextvars(**of_request)
    more: FollowUp | None = None
    report: Callable[[], None]
    try:
        result = job()
        more, report = follow_up(result), partial(future.set_result, result)
    except Exception as error:
        report = partial(future.set_exception, error)
    # The readers that wait for the Future need the connection and the slot, so both are released first, except that
    # the slot stays in use while there is more to do.
    connections.close_all()
    if more is None:
        job_slots.release()
        report()
        return
    report()
    try:
        more()
    finally:
        connections.close_all()
        job_slots.release()


def call(job: Callable[[], T], *, timeout: float) -> T:
    """Run `job` in a background thread and return its result. Raises `TimeoutError` after `timeout` seconds.

    A socket timeout restarts with every byte, so only a thread that can be abandoned bounds the duration of a call.
    """
    release_connection()
    reservation = reserve()
    if reservation is None:
        raise TimeoutError
    return reservation.start(job).result(timeout)


def release_connection() -> None:
    """Return this thread's database connection to the pool before waiting, as the pool is smaller than the threads."""
    if not connection.in_atomic_block:
        connection.close()
