"""The machine of each resource, run by Hypothesis; and stories which show that it sees what each guard is for."""

import itertools
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any, TypeVar
from unittest.mock import patch

import pytest
from django.db import connection
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from accounts import allowance, gate, limits
from guilds.engine import freshness, refresh
from tests.engine import ablations
from tests.engine.machine import BRAKE_HARD, BRAKE_SOFT, FAILURES, NAMED, Engine
from tests.engine.machines import LISTS, MACHINES, UNKNOWN_GUILD, OfGuildList, OfMember, is_bots
from tests.engine.virtual import CLOUDFLARE, Task, guild_list

M = TypeVar("M", bound=Engine)

pytestmark = [
    pytest.mark.usefixtures("transactional_db"),
    pytest.mark.skipif(connection.vendor != "sqlite", reason="the virtual clock is a function of SQLite's"),
]


@pytest.fixture(autouse=True)
def limits_of_the_site(settings: Any) -> None:
    """The site's default times, with a brake that a few refusals engage."""
    settings.DISCORD_BRAKE_SOFT, settings.DISCORD_BRAKE_HARD = BRAKE_SOFT, BRAKE_HARD
    settings.DISCORD_FETCH_BUDGET_MS, settings.DISCORD_REQUEST_TIMEOUT_MS = 10_000, 4_000
    settings.DISCORD_REFRESH_WAIT_MS, settings.DISCORD_API_RETRY_DELAY_MS = 1_000, 1_000
    settings.DISCORD_BOT_TOKEN = "bot"


QUICK = settings(
    stateful_step_count=30,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
    print_blob=False,
)


@pytest.mark.parametrize(
    ("machine", "runs"),
    [*((machine, 12) for machine in MACHINES), pytest.param(OfGuildList, 40, marks=pytest.mark.thorough)],
)
def test_nothing_breaks_a_promise(machine: type[Engine], runs: int) -> None:
    run_state_machine_as_test(machine, settings=settings(QUICK, max_examples=runs))


@pytest.mark.deep
def test_nothing_breaks_a_promise_in_ten_minutes() -> None:
    """Search with seeds from the clock, which are printed, so that a failure can be reproduced."""
    end, number = time.monotonic() + 600, time.time_ns()
    for machine in itertools.cycle(MACHINES):
        if time.monotonic() >= end:
            return
        number += 1
        sys.stderr.write(f"seed {number} of {machine.__name__}\n")
        deep = settings(QUICK, max_examples=50, stateful_step_count=80, derandomize=False)
        run_state_machine_as_test(seed(number)(machine), settings=deep)


@contextmanager
def without(guard: str) -> Iterator[None]:
    """Disable one guard of the engine for all virtual processes."""
    decide = freshness.decide

    def blind(record: Any, *arguments: Any, **options: Any) -> freshness.Decision:
        setattr(record, "lease_until" if guard == "lease" else guard, None)
        return decide(record, *arguments, **options)

    with ExitStack() as stack:
        for place, name in (
            (freshness, "decide"),
            (refresh, "claim"),
            (refresh, "_assert_mine"),
            (refresh, "_release"),
            (limits.Gate, "shut"),
            (limits.Allowance, "closed_until"),
            (gate, "braked_until"),
        ):
            stack.enter_context(patch.object(place, name, getattr(place, name)))
        if guard in ("lease", "not_before"):
            freshness.decide = blind
        else:
            ablations.apply(guard)
        yield


def _answer_well(engine: Engine, task: Task, number: int) -> None:
    """Let Discord answer all requests of an attempt until it ends; of several good answers, with this one."""
    while not task.done:
        if task.request:
            replies = engine.good(task.request)
            engine.deliver(task, replies[min(number, len(replies) - 1)])
        engine.time_passes(max((task.wakes or 0.0) - engine.world.elapsed, 0.0))
        engine.everybody_goes_on()


def _one_asks_while_another_does(engine: Engine) -> None:
    for process in (0, 1):
        engine.read(process, 0)
        engine.everybody_goes_on()


def _an_answer_comes_after_a_takeover(engine: Engine) -> None:
    engine.read(0, 0)
    engine.everybody_goes_on()
    engine.time_passes(engine.resource.windows().lease.total_seconds() + 1)
    engine.read(1, 0)
    engine.everybody_goes_on()
    late, newer = engine.world.at_the_network
    _answer_well(engine, newer, 0)
    # The process was frozen while the answer arrived.
    late.request = replace(late.request, sent_at=engine.world.elapsed)  # type: ignore[type-var]  # it has one
    _answer_well(engine, late, 1)


def _discord_fails_and_everybody_comes_back(engine: Engine) -> None:
    engine.read(0, 0)
    engine.everybody_goes_on()
    engine.deliver(engine.world.at_the_network[0], FAILURES["outage"])
    engine.everybody_goes_on()
    engine.read(1, 0)
    engine.everybody_goes_on()


def _one_meets_a_limit_for_all(engine: Engine) -> None:
    engine.read(0, 0)
    engine.everybody_goes_on()
    engine.deliver(engine.world.at_the_network[0], CLOUDFLARE)
    engine.everybody_goes_on()


def _a_good_answer_comes_after_a_silence(engine: Engine, failure: Any = FAILURES["outage"]) -> None:
    """The second person meets `failure` while Discord is silent, the first one the good answer."""
    for person, reply, seconds in ((0, FAILURES["outage"], 31), (1, failure, 13), (0, LISTS["a list"], 0)):
        engine.read(0, person)
        engine.everybody_goes_on()
        (asking,) = engine.world.at_the_network
        engine.deliver(asking, reply)
        engine.everybody_goes_on()
        engine.time_passes(seconds)
    engine.read(1, 1)
    engine.everybody_goes_on()


STORIES: dict[str, Callable[[Engine], None]] = {
    "lease": _one_asks_while_another_does,
    "generation": _an_answer_comes_after_a_takeover,
    "not_before": _discord_fails_and_everybody_comes_back,
    "gate": _one_meets_a_limit_for_all,
}


@contextmanager
def begun(machine: type[M]) -> Iterator[M]:
    engine = machine()
    try:
        engine.first_day()
        yield engine
    finally:
        engine.teardown()


@pytest.fixture
def engine() -> Iterator[OfGuildList]:
    with begun(OfGuildList) as engine:
        yield engine


@pytest.fixture
def members() -> Iterator[OfMember]:
    with begun(OfMember) as members:
        yield members


@pytest.mark.parametrize("guard", STORIES)
@pytest.mark.parametrize("machine", MACHINES)
def test_the_machine_sees_what_each_guard_is_for(machine: type[Engine], guard: str) -> None:
    with begun(machine) as engine:
        STORIES[guard](engine)
        assert engine.world.faults == []


@pytest.mark.parametrize("guard", STORIES)
@pytest.mark.parametrize("machine", MACHINES)
def test_the_machine_sees_that_a_guard_is_gone(machine: type[Engine], guard: str) -> None:
    with begun(machine) as engine, without(guard), pytest.raises(AssertionError):
        STORIES[guard](engine)


def _a_person_opens_many_servers(members: OfMember) -> None:
    members.read_in_all_servers(0)
    members.everybody_goes_on()


def _a_person_is_limited_in_one_server(members: OfMember) -> None:
    members.read(0, 0)
    members.everybody_goes_on()
    members.deliver(members.world.at_the_network[0], FAILURES["limited for long"])
    members.everybody_goes_on()
    members.read(1, len(members.keys) - 2)
    members.everybody_goes_on()


@pytest.mark.parametrize("story", [_a_person_opens_many_servers, _a_person_is_limited_in_one_server])
def test_the_machine_sees_what_the_allowance_is_for(members: OfMember, story: Callable[[OfMember], None]) -> None:
    story(members)
    members.forget(0)
    with without("allowance"), pytest.raises(AssertionError):
        story(members)


def test_a_window_counts_requests_that_were_held_up(members: OfMember) -> None:
    """All five of a window are about to be sent when the process is suspended for almost as long as an attempt."""
    person = members.keys[-1][0]
    for number in range(5):
        members.read(0, len(members.keys) - 7 + number)
        while members.before.allowances.get((allowance.MEMBER, person), {"sent": 0})["sent"] <= number:
            members.move(members.world.ready[-1])
    members.time_passes(9)
    members.everybody_goes_on()
    assert len(members.world.at_the_network) == 5
    members.time_passes(298)
    members.read_in_all_servers(1)
    members.everybody_goes_on()


def test_the_bots_request_counts_as_one_of_the_attempt(members: OfMember) -> None:
    """The bot is not there after all, and the person has no request left: the next attempt is not at once."""
    *rest, with_bot = range(len(members.keys) - 7, len(members.keys))
    for number in rest[:5]:
        members.read(0, number)
    members.everybody_goes_on()
    members.time_passes(299)
    members.read(0, with_bot)
    members.everybody_goes_on()
    asking = next(task for task in members.world.at_the_network if task.request and is_bots(task.request))
    members.time_passes(2)
    members.deliver(asking, UNKNOWN_GUILD)
    members.everybody_goes_on()
    # The bot's own list doesn't have the server either.
    members.deliver(asking, guild_list())
    members.everybody_goes_on()


def test_one_good_answer_ends_the_waits_of_a_silence(engine: Engine) -> None:
    _a_good_answer_comes_after_a_silence(engine)

    assert [task.key for task in engine.world.at_the_network] == [engine.keys[1]]


@pytest.mark.parametrize("failure", ["limited for long", "unavailable for long"])
def test_no_good_answer_ends_a_wait_that_discord_named(engine: Engine, failure: str) -> None:
    _a_good_answer_comes_after_a_silence(engine, NAMED[failure])

    assert engine.world.at_the_network == []
