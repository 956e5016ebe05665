"""Deferred writes that no request waits for: when a list was last read, a page last opened, a token last used.

A separate thread performs them, so that a read isn't delayed by a lock and doesn't fail if the database refuses
writes. A refused write is dropped: the next read of the same row finds the old time and queues the write again.
"""

import threading
import time
from collections.abc import Callable, Hashable
from functools import partial

import structlog
from django.db import Error, connections, transaction

logger = structlog.get_logger(__name__)

# Per process; further writes are dropped.
MAX_PENDING = 1000
# After a failure, so that reads don't queue more writes that would wait for a locked database.
PAUSE_SECONDS = 5.0


class Bookkeeper:
    """A queue of writes and the thread that performs them, which ends when nothing is pending."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._pending: dict[Hashable, Callable[[], object]] = {}
        self._resumes_at = float("-inf")
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def note(self, key: Hashable, write: Callable[[], object]) -> None:
        """Queue `write` once the caller's transaction is committed. It replaces a pending write with the same `key`."""
        transaction.on_commit(partial(self._add, key, write))

    def settle(self) -> None:
        """Wait until nothing is pending, and forget earlier failures."""
        while (thread := self._thread) and thread.is_alive():
            thread.join()
        self._resumes_at = float("-inf")

    def _add(self, key: Hashable, write: Callable[[], object]) -> None:
        with self._lock:
            if self._clock() < self._resumes_at or (len(self._pending) >= MAX_PENDING and key not in self._pending):
                return
            self._pending[key] = write
            # A thread that isn't alive belongs to the process that this one was forked from.
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, daemon=True, name="guildhall-bookkeeping")
                self._thread.start()

    def _run(self) -> None:
        try:
            while write := self._next():
                write()
        except Exception as error:
            with self._lock:
                dropped = len(self._pending)
                self._pending.clear()
                self._resumes_at = self._clock() + PAUSE_SECONDS
                self._thread = None
            log = logger.warning if isinstance(error, Error) else logger.exception
            log("bookkeeping_dropped", error=type(error).__name__, count=dropped + 1)
        finally:
            connections.close_all()

    def _next(self) -> Callable[[], object] | None:
        with self._lock:
            if not self._pending:
                self._thread = None
                return None
            return self._pending.pop(next(iter(self._pending)))


bookkeeper = Bookkeeper()
