"""Disables single guards of the engine, to show which guarantees depend on them.

Used only by tests. `GUILDHALL_ABLATE=lease ./run test tests/engine` disables a guard in the test's process and in all
processes of the site that the tests start; `./run bench ablations` prints what fails without each guard. Guards of a
record can also be disabled for one resource, as `lease.directory`.
"""

from collections.abc import Callable
from datetime import datetime
from functools import partial
from itertools import product
from types import SimpleNamespace
from typing import Any

from accounts import gate, limits, tokens
from accounts.clock import database_now
from guilds.engine import freshness, policy, refresh
from guilds.engine.records import Record
from guilds.engine.resource import Claim
from tests.engine.promises import PROMISED_ONCE


def _key(record: Record) -> tuple[str, int]:
    return record.resource.name, record.pk


def _concerns(resource: str, record: Record) -> bool:
    """Whether a guard that is off for `resource`, or for all if it is empty, is off for the record."""
    return resource in ("", record.resource.name)


def lease(resource: str = "") -> None:
    """A process only knows its own attempts."""
    decide, claim = freshness.decide, refresh.claim
    mine: dict[tuple[str, int], int] = {}

    def claim_for_this_process(*arguments: Any) -> Claim[Any] | None:
        claimed = claim(*arguments)
        if claimed:
            mine[_key(claimed.record)] = claimed.generation
        return claimed

    def without(record: Any, *arguments: Any, **options: Any) -> freshness.Decision:
        if _concerns(resource, record) and mine.get(_key(record)) != record.generation:
            record.lease_until = None
        return decide(record, *arguments, **options)

    refresh.claim, freshness.decide = claim_for_this_process, without


def generation(resource: str = "") -> None:
    """A result is stored even if another process now has the claim."""
    assert_mine, release = refresh._assert_mine, refresh._release

    def assert_nothing(claimed: Claim[Any]) -> None:
        if not _concerns(resource, claimed.record):
            assert_mine(claimed)

    def release_any(claimed: Claim[Any], **fields: object) -> bool:
        if not _concerns(resource, claimed.record):
            return release(claimed, **fields)
        row = type(claimed.record)._default_manager.filter(pk=claimed.record.pk)
        return bool(row.update(lease_until=None, **fields))

    refresh._assert_mine, refresh._release = assert_nothing, release_any


def not_before(resource: str = "") -> None:
    """A process obeys only the waits that it received itself."""
    decide, release = freshness.decide, refresh._release
    mine: dict[tuple[str, int], int] = {}

    def release_in_this_process(claimed: Claim[Any], **fields: object) -> bool:
        mine[_key(claimed.record)] = claimed.generation + 1
        return release(claimed, **fields)

    def without(record: Any, *arguments: Any, **options: Any) -> freshness.Decision:
        if _concerns(resource, record) and mine.get(_key(record)) != record.generation:
            record.not_before = None
        return decide(record, *arguments, **options)

    refresh._release, freshness.decide = release_in_this_process, without


def news() -> None:
    """News is stored like the response to a request that was sent just now."""
    push, write_answer = refresh.push, refresh._write_answer
    refreshed = {"not_before": None, "reason": "", "failure_streak": 0}

    def push_as_of_now(*key: Any, at: datetime, **options: Any) -> bool:
        return push(*key, at=database_now(), **options)

    refresh.push = push_as_of_now
    refresh._write_answer = lambda claimed, change, **_attempt: write_answer(claimed, change, **refreshed)


def look() -> None:
    """A reader reads each record by itself, also the one that came with the session."""
    policy.look = lambda *_, **__: None


def gate_() -> None:
    """A global limit stops only the process that received it."""
    limits.Gate.shut = lambda self, *_, **__: self  # type: ignore[assignment, method-assign]


def allowance() -> None:
    """A person's requests for members are counted without consequences."""
    limits.Allowance.closed_until = lambda *_: None  # type: ignore[method-assign]


def brake() -> None:
    """Invalid requests are counted without consequences."""
    gate.braked_until = lambda priority, now: None


def renewal() -> None:
    """Each call that needs newer tokens exchanges the refresh token itself."""
    tokens._acquire_renewal = lambda *_: database_now()


def jitter() -> None:
    """Lists that were verified together are due together."""
    refresh.random = SimpleNamespace(uniform=lambda _least, _most: 1.0)  # type: ignore[assignment]


ABLATIONS: dict[str, Callable[[], None]] = {
    "lease": lease,
    "generation": generation,
    "not_before": not_before,
    "gate": gate_,
    "allowance": allowance,
    "brake": brake,
    "jitter": jitter,
    "renewal": renewal,
    "news": news,
    "look": look,
    **{
        f"{guard.__name__}.{resource}": partial(guard, resource)
        for guard, resource in product((lease, generation, not_before), PROMISED_ONCE)
    },
}


def apply(name: str) -> None:
    """Disable the guard `name`, or none if it is empty."""
    if name:
        ABLATIONS[name]()
