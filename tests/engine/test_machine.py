"""The rule and the engine, with everything that may happen to them in any order: several processes whose steps
interleave, any answer, crashes, new sign-ins, deletions, and time that passes or doesn't.

After each step the rows are compared with those before it; what may not have happened is an assertion here.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, timedelta
from typing import Any
from unittest.mock import patch

import pytest
from django.db import connection
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from accounts import gate, tokens
from accounts.discord import Tokens
from accounts.limits import INVALID_REQUEST_WINDOW, Gate
from accounts.models import DiscordAccount, DiscordGate, DiscordRefusal, User
from guilds import personal_data, services
from guilds.engine import freshness, refresh
from guilds.models import GuildListVerification, UserGuildMembership
from guilds.resources.guild_list import GUILD_LIST
from guilds.services import GuildList, NoAnswer, RefreshTooSoon
from tests.engine import ablations
from tests.engine.virtual import CLOUDFLARE, SILENCE, Task, World, answer, guild_list, limited

pytestmark = [
    pytest.mark.usefixtures("transactional_db"),
    pytest.mark.skipif(connection.vendor != "sqlite", reason="the virtual clock is a function of SQLite's"),
]

PROCESSES, PEOPLE = 3, 2
BRAKE_SOFT, BRAKE_HARD = 4, 7
EXPECTED = (NoAnswer, RefreshTooSoon)
LISTS = {
    "a list": guild_list(1, 2),
    "another list": guild_list(2, 3),
    "no servers": guild_list(),
    "null": answer(200, None),
}
FAILURES = {
    "limited": limited("user", 2.5),
    "limited for long": limited("user", 23 * 3600),
    "limited, shared": limited("shared", 20),
    "limited, all of us": limited("global", 40),
    "cloudflare": CLOUDFLARE,
    "outage": answer(503, {"message": "unavailable"}),
    "cut off": answer(200, b'[{"id": "1", "na'),
    "an object": answer(200, {"id": "1"}),
    "no id": answer(200, [{"id": "x", "name": "y"}]),
    "silence": SILENCE,
    "dead token": answer(401, {"message": "401: Unauthorized", "code": 0}),
    "forbidden": answer(403, {"message": "Missing Access", "code": 50001}),
    "missing scope": answer(403, {"message": "Missing required OAuth2 scope", "code": 50026}),
}
TOKEN_FAILURES = {
    "invalid grant": answer(400, {"error": "invalid_grant"}),
    "wrong secret": answer(401, {"error": "invalid_client"}),
    "outage": FAILURES["outage"],
    "limited, all of us": FAILURES["limited, all of us"],
    "silence": SILENCE,
}
# Within a call, between calls, past each bound of the policy.
SPANS = (0.05, 0.5, 3, 5, 13, 31, 65, 600, 47 * 60, 3 * 3600, 23 * 3600, 25 * 3600)


ROWS_TABLE, LISTS_TABLE = GuildListVerification._meta.db_table, UserGuildMembership._meta.db_table
GATE_TABLE, REFUSALS_TABLE = DiscordGate._meta.db_table, DiscordRefusal._meta.db_table
MOMENTS = ("verified_at", "refresh_after", "not_before", "lease_until", "until", "tat")
ROW = ("user_id", "generation", "list_version", "reason", *MOMENTS[:4])
GATE = ("streak", "reason", *MOMENTS[4:])


def _value(name: str, value: Any) -> Any:
    return value.replace(tzinfo=UTC) if value and name in MOMENTS else value


@dataclass(frozen=True)
class Seen:
    """All that is stored, at one moment."""

    rows: dict[int, dict[str, Any]]
    lists: dict[int, tuple[int, ...]]
    gate: dict[str, Any]
    refusals: int


class Engine(RuleBasedStateMachine):
    """What may happen, and what may never."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.world = self.stack.enter_context(World().installed())
        self.people: list[int] = []
        self.renewals = 0
        self.accepted: dict[int, set[tuple[int, ...]]] = {}
        self.met_limit: dict[Task, bool] = {}

    def teardown(self) -> None:
        self.stack.close()
        for model in (UserGuildMembership, GuildListVerification, DiscordAccount, User, DiscordGate, DiscordRefusal):
            model._default_manager.all().delete()

    @initialize()
    def first_day(self) -> None:
        self.people = [self._sign_up() for _ in range(PEOPLE)]
        gate.read()
        self.before = self._look()

    def _sign_up(self) -> int:
        self.renewals += 1
        user = User.objects.create_user(username=f"person {self.renewals}")
        sealed: Any = tokens.sealed(self._tokens())
        DiscordAccount.objects.create(user=user, provider="discord", uid=str(self.renewals), extra_data=sealed)
        self.accepted[user.pk] = {()}
        return user.pk

    def _tokens(self) -> Tokens:
        self.renewals += 1
        return Tokens(
            access_token=f"access-{self.renewals:020}",
            refresh_token=f"refresh-{self.renewals:020}",
            expires_in=604_800,
            scopes=frozenset({"identify", "guilds"}),
            token_type="Bearer",
        )

    def _look(self) -> Seen:
        """Read without the ORM, for it happens after every step."""
        sqlite = connection.connection
        lists: dict[int, tuple[int, ...]] = {}
        for user_id, guild_id in sqlite.execute(f"SELECT user_id, guild_id FROM {LISTS_TABLE} ORDER BY guild_id"):
            lists[user_id] = (*lists.get(user_id, ()), guild_id)
        rows = {}
        for values in sqlite.execute(f"SELECT {', '.join(ROW)} FROM {ROWS_TABLE}"):
            rows[values[0]] = {name: _value(name, value) for name, value in zip(ROW, values, strict=True)}
        (shut,) = sqlite.execute(f"SELECT {', '.join(GATE)} FROM {GATE_TABLE}")
        window = str((self.world.now - INVALID_REQUEST_WINDOW).replace(tzinfo=None))
        ((refusals,),) = sqlite.execute(f"SELECT COUNT(*) FROM {REFUSALS_TABLE} WHERE at > ?", [window])
        return Seen(rows, lists, {name: _value(name, value) for name, value in zip(GATE, shut, strict=True)}, refusals)

    # What happens

    def _start(self, process: int, person: int, what: str, run: Any, on_purpose: bool = False) -> None:
        self.world.start(process, self.people[person], what, run, on_purpose)

    @rule(process=st.integers(0, PROCESSES - 1), person=st.integers(0, PEOPLE - 1))
    def read(self, process: int, person: int) -> None:
        user_id = self.people[person]
        self._start(process, person, "read", lambda: services._read(user_id, None, timeout=0, clock=lambda: 0.0))

    @rule(process=st.integers(0, PROCESSES - 1), person=st.integers(0, PEOPLE - 1))
    def press_refresh(self, process: int, person: int) -> None:
        user_id = self.people[person]

        def demand() -> GuildList:
            return services._read(user_id, services.YOUNGEST_DEMAND, timeout=0, clock=lambda: 0.0)

        self._start(process, person, "demand", demand, on_purpose=True)

    @rule(process=st.integers(0, PROCESSES - 1), person=st.integers(0, PEOPLE - 1))
    def sign_in_again(self, process: int, person: int) -> None:
        user_id, fresh = self.people[person], self._tokens()

        def link() -> None:
            account = DiscordAccount.objects.filter(user_id=user_id).first()
            if account:
                tokens.replace(account, fresh)
                services.relink(user_id)

        self._start(process, person, "sign-in", link)

    @rule(person=st.integers(0, PEOPLE - 1))
    def forget(self, person: int) -> None:
        """At once, as the transaction is; somebody new comes in their place, and their readers are still there."""
        personal_data.forget_user(User.objects.get(pk=self.people[person]))
        assert self.people[person] not in self._look().lists
        self.people[person] = self._sign_up()
        self.before = self._look()

    @precondition(lambda self: self.world.ready)
    @rule(data=st.data(), steps=st.integers(1, 12))
    def step(self, data: st.DataObject, steps: int) -> None:
        task = data.draw(st.sampled_from(self.world.ready))
        for _ in range(steps):
            if task.done or task.request or task.wakes is not None or task not in self.world.tasks:
                return
            self._move(task)

    @precondition(lambda self: self.world.tasks)
    @rule()
    def everybody_goes_on(self) -> None:
        for _ in range(200):
            ready = self.world.ready
            if not ready:
                return
            self._move(ready[0])

    @precondition(lambda self: self.world.at_the_network)
    @rule(
        data=st.data(),
        lists=st.sampled_from(sorted(LISTS)),
        failure=st.sampled_from(sorted(FAILURES)),
        token_failure=st.sampled_from(sorted(TOKEN_FAILURES)),
        good=st.booleans(),
    )
    def discord_answers(self, data: st.DataObject, lists: str, failure: str, token_failure: str, good: bool) -> None:
        task = data.draw(st.sampled_from(self.world.at_the_network))
        assert task.request
        if "/oauth2/token" not in task.request.route:
            reply = LISTS[lists] if good else FAILURES[failure]
        elif good:
            renewed = self._tokens()
            reply = answer(
                200,
                {
                    "access_token": renewed.access_token,
                    "refresh_token": renewed.refresh_token,
                    "expires_in": renewed.expires_in,
                    "scope": "identify guilds",
                    "token_type": "Bearer",
                },
            )
        else:
            reply = TOKEN_FAILURES[token_failure]
        self.world.deliver(task, reply)
        got = task.replies[-1][1]
        if got in (FAILURES["limited, all of us"], CLOUDFLARE):
            self.met_limit[task] = False

    @rule(seconds=st.sampled_from(SPANS))
    def time_passes(self, seconds: float) -> None:
        self.world.elapsed += seconds
        self.before = self._look()

    @rule(process=st.integers(0, PROCESSES - 1))
    def crash(self, process: int) -> None:
        self.world.crash(process)

    # What may never happen

    def _move(self, task: Task) -> None:
        before, self.before = self.before, self.before
        requests = len(task.replies)
        self.world.step(task)
        after = self.before = self._look()
        self._check_rows(task, before, after)
        self._check_gate(task, before, after)
        if task.request:
            self._check_request(task, after, first=requests == 0)
        if task.done:
            self._check_result(task)

    def _check_rows(self, task: Task, before: Seen, after: Seen) -> None:
        for user_id in {*before.rows, *after.rows}:
            old, new = before.rows.get(user_id), after.rows.get(user_id)
            was, is_ = before.lists.get(user_id, ()), after.lists.get(user_id, ())
            assert user_id == task.user_id or (old == new and was == is_), "users are independent"
            if old is None or new is None or user_id != task.user_id:
                continue
            if is_ != was:
                self._check_stored(task, old, new, is_)
            if new["lease_until"] and new["generation"] != old["generation"]:
                self._check_claimed(task, old, new)
            elif new != old and task.what == "job":
                self._check_ended(task, old, new)

    def _check_stored(self, task: Task, old: dict[str, Any], new: dict[str, Any], stored: tuple[int, ...]) -> None:
        assert task.what == "job", "only an answer of Discord's changes a list"
        reply = task.replies[-1][1]
        assert stored in {_ids(LISTS[name]) for name, one in ((name, LISTS[name]) for name in LISTS) if one is reply}
        assert new["list_version"] == old["list_version"] + 1
        self.accepted[task.user_id].add(stored)

    def _check_claimed(self, task: Task, old: dict[str, Any], new: dict[str, Any]) -> None:
        now = self.world.now
        assert new["generation"] == old["generation"] + 1
        assert not old["lease_until"] or old["lease_until"] <= now, "one live lease at a time"
        assert new["lease_until"] > now
        assert not old["not_before"] or old["not_before"] <= now, "nobody is asked for before not_before"
        assert old["reason"] not in ("reconnect_required", "missing_scope"), "a refusal is final until a new sign-in"
        if old["verified_at"] and not task.on_purpose:
            assert now >= old["refresh_after"], "nothing fresh causes a request"

    def _check_ended(self, task: Task, old: dict[str, Any], new: dict[str, Any]) -> None:
        assert task.claimed
        assert old["generation"] == task.claimed.generation, "a late answer is not stored"
        now, fresh = self.world.now, GUILD_LIST.windows().fresh
        if new["verified_at"] != old["verified_at"]:
            assert any(task.replies[-1][1] is one for one in LISTS.values())
            assert 0.72 * fresh <= new["refresh_after"] - new["verified_at"] <= 0.88 * fresh
            assert new["verified_at"] <= now
        elif {name for name in ROW if new[name] != old[name]} == {"generation", "lease_until"}:
            assert task.replies, "only an attempt whose tokens were replaced meanwhile ends without an outcome"
        else:
            assert new["reason"]
            assert new["list_version"] == old["list_version"]
            refused = new["reason"] in ("reconnect_required", "missing_scope")
            if not refused and task.replies:
                assert new["not_before"] >= now + timedelta(seconds=30) - timedelta(milliseconds=1)

    def _check_gate(self, task: Task, before: Seen, after: Seen) -> None:
        old, new, now = before.gate, after.gate, self.world.now
        if new["tat"] != old["tat"]:
            assert not (old["streak"] and old["until"] > now), "nothing passes a shut gate"
            if old["streak"]:
                assert new["until"] > now, "the probe shuts the gate behind it"
        if task in self.met_limit and (new["streak"] and new["until"] != old["until"]):
            self.met_limit[task] = True
        if task.done and task in self.met_limit:
            assert self.met_limit.pop(task), "a limit for everybody shuts the gate"

    def _check_request(self, task: Task, after: Seen, *, first: bool) -> None:
        assert task.what == "job", "no reader talks to Discord"
        assert not first or task.claimed
        dead = sum(reply is FAILURES["dead token"] for _, reply in task.replies)
        assert dead < 2, "a dead token is sent at most twice"
        others = sum(other is not task for other in self.world.tasks)
        assert after.refusals <= BRAKE_HARD + others, "the brake stops everybody"

    def _check_result(self, task: Task) -> None:
        if task.error is not None:
            assert isinstance(task.error, EXPECTED), repr(task.error)
            assert getattr(task.error, "retry_after", None) is None or task.error.retry_after >= 0  # type: ignore[attr-defined]  # as asked
        elif isinstance(task.result, GuildList):
            served = task.result
            assert served.age < timedelta(hours=24), "nothing a day old is served"
            assert served.verified_at + served.age <= self.world.now
            assert tuple(one.guild_id for one in served) in self.accepted[task.user_id]
            if task.on_purpose:
                assert served.age <= services.YOUNGEST_DEMAND

    @invariant()
    def nothing_of_ours_broke(self) -> None:
        assert self.world.faults == []


def _ids(reply: Any) -> tuple[int, ...]:
    import json

    return tuple(sorted(int(guild["id"]) for guild in json.loads(reply.body) or ()))


@pytest.fixture(autouse=True)
def limits(settings: Any) -> None:
    """The site's own times, but for a brake that a few refusals reach."""
    settings.DISCORD_BRAKE_SOFT, settings.DISCORD_BRAKE_HARD = BRAKE_SOFT, BRAKE_HARD
    settings.DISCORD_FETCH_BUDGET_MS, settings.DISCORD_REQUEST_TIMEOUT_MS = 10_000, 4_000
    settings.DISCORD_REFRESH_WAIT_MS, settings.DISCORD_API_RETRY_DELAY_MS = 1_000, 1_000


QUICK = settings(
    max_examples=40,
    stateful_step_count=30,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
    print_blob=False,
)


def test_nothing_breaks_a_promise() -> None:
    run_state_machine_as_test(Engine, settings=QUICK)


@pytest.mark.deep
def test_nothing_breaks_a_promise_in_ten_minutes() -> None:
    """With seeds of the clock's; each is told, so that what it found can be looked at again."""
    end, number = time.monotonic() + 600, time.time_ns()
    while time.monotonic() < end:
        number += 1
        sys.stderr.write(f"seed {number}\n")
        deep = settings(QUICK, max_examples=200, stateful_step_count=80, derandomize=False)
        run_state_machine_as_test(seed(number)(Engine), settings=deep)


@contextmanager
def without(guard: str) -> Iterator[None]:
    """One guard of the engine switched off, for all processes: they share this one's memory."""
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
            (Gate, "shut"),
            (gate, "braked_until"),
        ):
            stack.enter_context(patch.object(place, name, getattr(place, name)))
        if guard in ("lease", "not_before"):
            freshness.decide = blind
        else:
            ablations.apply(guard)
        yield


def _one_asks_while_another_does(engine: Engine) -> None:
    for process in (0, 1):
        engine.read(process, 0)
        engine.everybody_goes_on()


def _an_answer_comes_after_a_takeover(engine: Engine) -> None:
    engine.read(0, 0)
    engine.everybody_goes_on()
    engine.time_passes(13)
    engine.read(1, 0)
    engine.everybody_goes_on()
    late, newer = engine.world.at_the_network
    late.request = replace(late.request, sent_at=engine.world.elapsed)  # type: ignore[type-var]  # it has one
    engine.world.deliver(newer, LISTS["a list"])
    engine.everybody_goes_on()
    engine.world.deliver(late, LISTS["another list"])
    engine.everybody_goes_on()


def _discord_fails_and_everybody_comes_back(engine: Engine) -> None:
    engine.read(0, 0)
    engine.everybody_goes_on()
    engine.world.deliver(engine.world.at_the_network[0], FAILURES["outage"])
    engine.everybody_goes_on()
    engine.read(1, 0)
    engine.everybody_goes_on()


def _one_meets_a_limit_for_all(engine: Engine) -> None:
    engine.read(0, 0)
    engine.everybody_goes_on()
    (asking,) = engine.world.at_the_network
    engine.world.deliver(asking, CLOUDFLARE)
    engine.met_limit[asking] = False
    engine.everybody_goes_on()


STORIES = {
    "lease": _one_asks_while_another_does,
    "generation": _an_answer_comes_after_a_takeover,
    "not_before": _discord_fails_and_everybody_comes_back,
    "gate": _one_meets_a_limit_for_all,
}


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine()
    engine.first_day()
    yield engine
    engine.teardown()


@pytest.mark.parametrize("guard", STORIES)
def test_the_machine_sees_what_each_guard_is_for(engine: Engine, guard: str) -> None:
    STORIES[guard](engine)
    assert engine.world.faults == []


@pytest.mark.parametrize("guard", STORIES)
def test_the_machine_sees_that_a_guard_is_gone(engine: Engine, guard: str) -> None:
    with without(guard), pytest.raises(AssertionError):
        STORIES[guard](engine)
