"""Deferred writes: what is written, what is dropped, and that the queue is bounded."""

import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import structlog
from django.db import IntegrityError, OperationalError, transaction

from accounts import bookkeeping
from accounts.bookkeeping import Bookkeeper

# The fixtures replace it for other tests.
NOTE = Bookkeeper.note

pytestmark = pytest.mark.django_db(transaction=True)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keeper(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> Iterator[Bookkeeper]:
    monkeypatch.setattr(Bookkeeper, "note", NOTE)
    keeper = Bookkeeper(clock)
    yield keeper
    keeper.settle()


@pytest.fixture
def written() -> list[Any]:
    return []


@pytest.fixture
def busy(keeper: Bookkeeper) -> Iterator[Callable[[], None]]:
    """Block the thread in a write, until the result is called."""
    begun, free = threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        free.wait()

    keeper.note("busy", hold)
    begun.wait()
    yield free.set
    free.set()


def raising(error: Exception) -> Callable[[], None]:
    def write() -> None:
        raise error

    return write


def test_a_write_is_done_by_another_thread(keeper: Bookkeeper, written: list[Any]) -> None:
    for number in range(3):
        keeper.note(number, lambda: written.append(threading.current_thread().name))
    keeper.settle()

    assert written == ["guildhall-bookkeeping"] * 3


def test_the_same_note_is_pending_once(keeper: Bookkeeper, busy: Callable[[], None], written: list[Any]) -> None:
    keeper.note("ada", partial(written.append, "old"))
    keeper.note("linus", partial(written.append, "other"))
    keeper.note("ada", partial(written.append, "new"))
    busy()
    keeper.settle()

    assert written == ["new", "other"]


def test_what_comes_on_top_is_dropped(
    keeper: Bookkeeper, busy: Callable[[], None], written: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bookkeeping, "MAX_PENDING", 2)
    for name in ("ada", "linus", "grace", "ada"):
        keeper.note(name, partial(written.append, name))
    busy()
    keeper.settle()

    assert written == ["ada", "linus"]


@pytest.mark.parametrize("error", [OperationalError(), IntegrityError(), ValueError()])
def test_after_a_failure_all_is_dropped_for_a_while(
    keeper: Bookkeeper, busy: Callable[[], None], clock: Clock, written: list[Any], error: Exception
) -> None:
    keeper.note("ada", raising(error))
    keeper.note("linus", partial(written.append, "linus"))
    thread = keeper._thread
    with structlog.testing.capture_logs() as log:
        busy()
        assert thread
        thread.join()

    clock.now = bookkeeping.PAUSE_SECONDS - 1
    keeper.note("grace", partial(written.append, "grace"))
    clock.now = bookkeeping.PAUSE_SECONDS
    keeper.note("edsger", partial(written.append, "edsger"))
    keeper.settle()

    assert written == ["edsger"]
    assert [(line["event"], line["error"], line["count"]) for line in log] == [
        ("bookkeeping_dropped", type(error).__name__, 2)
    ]


def test_a_write_waits_for_the_transaction_and_goes_with_it(keeper: Bookkeeper, written: list[Any]) -> None:
    with transaction.atomic():
        keeper.note("ada", partial(written.append, "ada"))
        keeper.settle()
        before = list(written)
    with transaction.atomic():
        keeper.note("linus", partial(written.append, "linus"))
        transaction.set_rollback(True)
    keeper.settle()

    assert (before, written) == ([], ["ada"])
