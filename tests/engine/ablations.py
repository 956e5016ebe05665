"""Each guard of the engine, switched off: what breaks then is what the guard is for.

Only tests get here. `GUILDHALL_ABLATE=lease ./run test tests/engine` switches one off, in the test's process and in
all processes of the site that the tests start; `./run bench ablations` prints what fails without each.
"""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from accounts import gate
from guilds import freshness, refresh


def lease() -> None:
    """Nobody's running attempt keeps another one away."""
    decide = freshness.decide

    def without(record: Any, *arguments: Any, **options: Any) -> freshness.Decision:
        record.lease_until = None
        return decide(record, *arguments, **options)

    freshness.decide = without


def generation() -> None:
    """An answer is stored whoever has the claim by now."""
    refresh._assert_mine = lambda claimed: None
    refresh._release = lambda claimed, **fields: bool(
        refresh.GuildListVerification.objects.filter(pk=claimed.user_id).update(lease_until=None, **fields)
    )


def not_before() -> None:
    """After a failure anybody may ask again at once."""
    release = refresh._release
    refresh._release = lambda claimed, **fields: release(claimed, **{**fields, "not_before": None})


def gate_() -> None:
    """A limit for everybody stops only who met it."""
    gate.Gate.shut = lambda self, *_, **__: self  # type: ignore[assignment, method-assign]


def brake() -> None:
    """Invalid requests are counted, and that is all."""
    gate.braked_until = lambda priority, now: None


def jitter() -> None:
    """Lists that were verified together come due together."""
    refresh.random = SimpleNamespace(uniform=lambda _least, _most: 1.0)  # type: ignore[assignment]


ABLATIONS: dict[str, Callable[[], None]] = {
    "lease": lease,
    "generation": generation,
    "not_before": not_before,
    "gate": gate_,
    "brake": brake,
    "jitter": jitter,
}


def apply(name: str) -> None:
    """Switch off what `name` names; nothing if it is empty."""
    if name:
        ABLATIONS[name]()
