"""A state machine of the engine: several processes with interleaved steps, all kinds of responses, crashes, and passing
time, in any order. A subclass names the resource, what Discord says of it, and what else happens to its records.

After each step the rows are compared with those before it, and forbidden changes fail an assertion.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from django.db import connection, models
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from accounts import gate
from accounts.limits import INVALID_REQUEST_WINDOW
from accounts.models import DiscordAllowance, DiscordGate, DiscordRefusal
from guilds.engine.freshness import Reason
from guilds.engine.policy import BUSY_PAUSE, Served
from guilds.engine.refusal import NoAnswer
from guilds.engine.resource import Resource
from tests.engine.virtual import CLOUDFLARE, SILENCE, Key, Request, Task, World, answer, limited

PROCESSES = 3
BRAKE_SOFT, BRAKE_HARD = 4, 7
FAILURES = {
    "limited": limited("user", 2.5),
    "limited for long": limited("user", 23 * 3600),
    "limited, shared": limited("shared", 20),
    "limited, all of us": limited("global", 40),
    "cloudflare": CLOUDFLARE,
    "outage": answer(503, {"message": "unavailable"}),
    "cut off": answer(200, b'[{"id": "1", "na'),
    "a number": answer(200, 1),
    "no id": answer(200, [{"id": "x", "name": "y"}]),
    "silence": SILENCE,
    "dead token": answer(401, {"message": "401: Unauthorized", "code": 0}),
    "forbidden": answer(403, {"message": "Missing Access", "code": 50001}),
    "missing scope": answer(403, {"message": "Missing required OAuth2 scope", "code": 50026}),
}
NAMED = {
    "limited for long": FAILURES["limited for long"],
    "unavailable for long": answer(503, {"message": "unavailable"}, Retry_After="40"),
}
# Durations within a call, between calls, and past each bound of the policy.
SPANS = (0.05, 0.5, 3, 5, 13, 31, 65, 600, 47 * 60, 3 * 3600, 23 * 3600, 25 * 3600)
MILLISECOND = timedelta(milliseconds=1)

Limit = tuple[str, int]
Row = dict[str, Any]


@dataclass(frozen=True)
class Seen:
    """A snapshot of everything that is stored: the records and their answers by key, and what all records share."""

    rows: dict[Key, Row]
    answers: dict[Key, Hashable]
    gate: Row
    refusals: tuple[datetime, ...]
    allowances: dict[Limit, Row]


@dataclass
class Sight:
    """What a reader can have seen: the times at which it read, and at each the ends of what kept it from Discord.

    `possible` are all ends that it may name, `lasting` those that were in its way from its first step to its last.
    """

    moments: list[datetime] = field(default_factory=list)
    possible: set[datetime] = field(default_factory=set)
    lasting: set[datetime] | None = None
    answers: set[tuple[datetime | None, Hashable]] = field(default_factory=set)


def columns_of(model: type[models.Model], *names: str) -> dict[str, str]:
    columns = {field.attname: field.column for field in model._meta.concrete_fields}
    return {name: columns[name] for name in names}


def select(model: type[models.Model], columns: Mapping[str, str]) -> Iterator[Row]:
    """Read rows without the ORM, because this runs after every step."""
    query = f"SELECT {', '.join(columns.values())} FROM {model._meta.db_table}"
    for values in connection.connection.execute(query):
        yield {name: _aware(value) for name, value in zip(columns, values, strict=True)}


def _aware(value: Any) -> Any:
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) else value


MOMENTS = ("verified_at", "refresh_after", "not_before", "lease_until", "silent_at")
GATE = columns_of(DiscordGate, "streak", "reason", "until", "tat", "silent_since", "recovered_at")
REFUSAL = columns_of(DiscordRefusal, "at")
ALLOWANCE = columns_of(DiscordAllowance, "kind", "owner", "window_ends_at", "sent", "until")


class Engine(RuleBasedStateMachine):
    """The events that can happen to the records of one resource, and the invariants."""

    resource: ClassVar[Resource[Any, Any]]
    # All models whose rows a run leaves behind, in the order of their deletion.
    models: ClassVar[Sequence[type[models.Model]]]
    failures: ClassVar[Mapping[str, Any]] = FAILURES
    spans: ClassVar[Sequence[float]] = SPANS
    nothing: ClassVar[Hashable] = ()

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.world = self.stack.enter_context(World().installed())
        self.keys: list[Key] = []
        self.accepted: defaultdict[Key, set[Hashable]] = defaultdict(lambda: {self.nothing})
        self.met_limit: dict[Task, bool] = {}
        self.sights: dict[Task, Sight] = {}
        self.moves = 0
        # When a task last began or got a response, and when a wait that Discord named was last stored, as `moves`.
        self.resumed: dict[Task, int] = {}
        self.closed: dict[Limit, tuple[datetime, int]] = {}
        # How often a record's attempts were ended by something else than their own end or a claim, and in which of
        # these epochs each claim was made.
        self.epochs: defaultdict[Key, int] = defaultdict(int)
        self.claims: dict[tuple[Key, int], int] = {}

    def teardown(self) -> None:
        self.stack.close()
        shared: tuple[type[models.Model], ...] = (DiscordGate, DiscordRefusal, DiscordAllowance)
        for model in (*self.models, *shared):
            model._default_manager.all().delete()

    @initialize()
    def first_day(self) -> None:
        self.keys = self.begin()
        gate.read()
        self.before = self._look()

    # What a subclass says about its resource

    def begin(self) -> list[Key]:
        """Create what the records need, and return their keys."""
        raise NotImplementedError

    def read_as(self, key: Key, max_age: timedelta | None) -> Any:
        """Read the record as a page does, or with a maximum age as a reader who refreshes it."""
        raise NotImplementedError

    def youngest(self) -> timedelta:
        """The maximum age that a reader who refreshes the record demands."""
        raise NotImplementedError

    def stored(self) -> dict[Key, Hashable]:
        """Return the stored answers."""
        raise NotImplementedError

    def served(self, result: Any) -> Hashable | None:
        """Return the answer in what a reader got; None if it has none in it."""
        raise NotImplementedError

    def good(self, request: Request) -> Sequence[Any]:
        """Return Discord's good responses to a request."""
        raise NotImplementedError

    def said(self, task: Task) -> Hashable | None:
        """Return the answer that Discord's responses to an attempt amount to; None if they don't."""
        raise NotImplementedError

    def limits(self, key: Key) -> dict[str, Limit]:
        """Return the limits that the record shares with others, by the end of the routes that they are for."""
        return {}

    def may_change(self, task: Task, key: Key) -> bool:
        """Whether the task may change the record with this key."""
        return key == task.key

    # Events

    def _look(self) -> Seen:
        columns = columns_of(self.resource.model, *self.resource.key, "generation", "version", "reason", *MOMENTS)
        rows = {tuple(row[name] for name in self.resource.key): row for row in select(self.resource.model, columns)}
        (shut,) = select(DiscordGate, GATE)
        since = self.world.now - INVALID_REQUEST_WINDOW
        refusals = tuple(row["at"] for row in select(DiscordRefusal, REFUSAL) if row["at"] > since)
        allowances = {(row["kind"], row["owner"]): row for row in select(DiscordAllowance, ALLOWANCE)}
        return Seen(rows, self.stored(), shut, refusals, allowances)

    def look_again(self) -> None:
        """Note a change that no task made: it ends the attempts of the records whose generation it incremented."""
        before, self.before = self.before, self._look()
        for key in {*before.rows, *self.before.rows}:
            old, new = before.rows.get(key), self.before.rows.get(key)
            if old is None or new is None or old["generation"] != new["generation"]:
                self.epochs[key] += 1

    def start(self, process: int, key: Key, what: str, run: Any, on_purpose: bool = False) -> Task:
        task = self.world.start(process, key, what, run, on_purpose)
        if what in ("read", "demand"):
            self.sights[task] = Sight()
        return task

    def key(self, number: int) -> Key:
        return self.keys[number % len(self.keys)]

    @rule(process=st.integers(0, PROCESSES - 1), number=st.integers(0, 11))
    def read(self, process: int, number: int) -> None:
        key = self.key(number)
        self.start(process, key, "read", lambda: self.read_as(key, None))

    @rule(process=st.integers(0, PROCESSES - 1), number=st.integers(0, 11))
    def press_refresh(self, process: int, number: int) -> None:
        key = self.key(number)
        self.start(process, key, "demand", lambda: self.read_as(key, self.youngest()), on_purpose=True)

    @precondition(lambda self: self.world.ready)
    @rule(data=st.data(), steps=st.integers(1, 12))
    def step(self, data: st.DataObject, steps: int) -> None:
        task = data.draw(st.sampled_from(self.world.ready))
        for _ in range(steps):
            if task.done or task.request or task.wakes is not None or task not in self.world.tasks:
                return
            self.move(task)

    @precondition(lambda self: self.world.tasks)
    @rule()
    def everybody_goes_on(self) -> None:
        for _ in range(400):
            ready = self.world.ready
            if not ready:
                return
            self.move(ready[0])

    @precondition(lambda self: self.world.at_the_network)
    @rule(data=st.data(), is_good=st.booleans())
    def discord_answers(self, data: st.DataObject, is_good: bool) -> None:
        task = data.draw(st.sampled_from(self.world.at_the_network))
        assert task.request
        replies = self.good(task.request) if is_good else self.bad(task.request)
        self.deliver(task, data.draw(st.sampled_from(replies)))

    def bad(self, request: Request) -> Sequence[Any]:
        """Return what Discord may respond to a request instead."""
        return list(self.failures.values())

    def deliver(self, task: Task, reply: Any) -> None:
        self.world.deliver(task, reply)
        self.resumed[task] = self.moves
        if task.replies[-1][1] in (FAILURES["limited, all of us"], CLOUDFLARE):
            self.met_limit[task] = False

    @rule(data=st.data())
    def some_time_passes(self, data: st.DataObject) -> None:
        self.time_passes(data.draw(st.sampled_from(self.spans)))

    def time_passes(self, seconds: float) -> None:
        self.world.elapsed += seconds
        self.before = self._look()

    @rule(process=st.integers(0, PROCESSES - 1))
    def crash(self, process: int) -> None:
        self.world.crash(process)

    # Invariants

    def move(self, task: Task) -> None:
        """Let the task take its next step, and check what it did."""
        before = self.before
        requests = len(task.replies)
        self.moves += 1
        self.resumed.setdefault(task, self.moves)
        self._note_sight(task, before)
        self.world.step(task)
        after = self.before = self._look()
        self._note_limits(before, after)
        self._check_rows(task, before, after)
        self._check_gate(task, before, after)
        if task.request:
            self.check_request(task, after, first=requests == 0)
        if task.done:
            self._check_result(task)

    def _note_sight(self, task: Task, seen: Seen) -> None:
        """Note what a reader's next step can see. A step reads the rows at its beginning."""
        sight = self.sights.get(task)
        if sight is None:
            return
        row = seen.rows.get(task.key) or dict.fromkeys(MOMENTS)
        shared = [seen.allowances.get(limit, {}) for limit in self.limits(task.key).values()]
        named = [row["not_before"], row["lease_until"], seen.gate["until"]]
        named += [one.get(name) for one in shared for name in ("until", "window_ends_at")]
        sight.moments.append(self.world.now)
        sight.possible |= {end for end in named if end} | {at + INVALID_REQUEST_WINDOW for at in seen.refusals}
        lasting = {end for end in self._lasting(task.key, row, seen) if end and end > self.world.now}
        sight.lasting = lasting if sight.lasting is None else sight.lasting & lasting
        sight.answers.add((row["verified_at"], seen.answers.get(task.key, self.nothing)))

    def _lasting(self, key: Key, row: Row, seen: Seen) -> Iterator[datetime | None]:
        """Yield the ends of what forbids a request for the record, for any reader."""
        if row["not_before"] and (row["reason"] != Reason.UNAVAILABLE or row["silent_at"] is None):
            yield row["not_before"]
        if seen.gate["streak"]:
            yield seen.gate["until"]
        if len(seen.refusals) >= BRAKE_HARD:
            yield sorted(seen.refusals)[-BRAKE_HARD] + INVALID_REQUEST_WINDOW
        for limit in self.limits(key).values():
            yield seen.allowances.get(limit, {}).get("until")

    def _note_limits(self, before: Seen, after: Seen) -> None:
        for limit, row in after.allowances.items():
            old = before.allowances.get(limit)
            if row["until"] and (old is None or old["until"] != row["until"]):
                self.closed[limit] = row["until"], self.moves

    def _check_rows(self, task: Task, before: Seen, after: Seen) -> None:
        for key in {*before.rows, *after.rows}:
            old, new = before.rows.get(key), after.rows.get(key)
            was, is_ = before.answers.get(key, self.nothing), after.answers.get(key, self.nothing)
            assert self.may_change(task, key) or (old == new and was == is_), "records are independent"
            if old is None or new is None or (old == new and was == is_):
                continue
            is_claim = bool(new["lease_until"]) and new["generation"] != old["generation"]
            is_end = task.claimed is not None and old["generation"] == task.claimed.generation
            if is_claim:
                self.claims[key, new["generation"]] = self.epochs[key]
            elif new["generation"] != old["generation"] and not is_end:
                self.epochs[key] += 1
            if task.what not in ("read", "demand", "job"):
                self.check_event(task, old, new, was, is_)
                continue
            if is_ != was:
                self._check_stored(task, old, new, is_)
            if is_claim:
                self._check_claimed(task, old, new, before)
            elif new != old and task.what == "job":
                self._check_ended(task, old, new, is_)

    def check_event(self, task: Task, old: Row, new: Row, was: Hashable, is_: Hashable) -> None:
        """Check a change by something else than a reader or an attempt: here, that it stores no answer."""
        assert is_ == was
        assert new["version"] == old["version"]
        assert new["verified_at"] == old["verified_at"]

    def _check_stored(self, task: Task, old: Row, new: Row, stored: Hashable) -> None:
        assert task.what == "job", "only an answer of Discord's changes what is stored"
        assert stored == self.said(task)
        assert new["version"] == old["version"] + 1
        self.accepted[task.key].add(stored)

    def _check_claimed(self, task: Task, old: Row, new: Row, before: Seen) -> None:
        now, recovered_at = self.world.now, before.gate["recovered_at"]
        assert new["generation"] == old["generation"] + 1
        assert not old["lease_until"] or old["lease_until"] <= now, "one live lease at a time"
        assert new["lease_until"] > now
        if old["not_before"] and old["not_before"] > now:
            assert old["reason"] == "unavailable", "no request is sent before a time that Discord named"
            assert old["silent_at"], "no answer is requested before not_before"
            has_recovered = recovered_at and old["silent_at"] < recovered_at
            is_probe = now - old["silent_at"] >= timedelta(seconds=30)
            assert has_recovered or is_probe, "a silence ends with a good answer"
        refused = old["reason"] and Reason(old["reason"]).is_refusal
        assert not refused, "a refusal is final until something lifts it"
        if old["verified_at"] and not task.on_purpose:
            due = old["verified_at"] + self.resource.windows().fresh
            assert now >= min(old["refresh_after"] or due, due), "nothing fresh causes a request"

    def _check_ended(self, task: Task, old: Row, new: Row, stored: Hashable) -> None:
        assert task.claimed
        assert old["generation"] == task.claimed.generation, "a late answer is not stored"
        now, fresh = self.world.now, self.resource.windows().fresh
        if new["verified_at"] != old["verified_at"]:
            assert stored == self.said(task), "what was verified is what Discord said"
            share = self.share(task)
            due = new["refresh_after"] - new["verified_at"]
            assert 0.9 * share * fresh - MILLISECOND <= due <= 1.1 * share * fresh + MILLISECOND
            assert new["verified_at"] <= now
        elif {name for name in new if new[name] != old[name]} == {"generation", "lease_until"}:
            assert task.replies, "only an attempt whose tokens were replaced meanwhile ends without an outcome"
        else:
            assert new["reason"]
            assert new["version"] == old["version"]
            if not Reason(new["reason"]).is_refusal and task.replies:
                assert new["not_before"] >= now + timedelta(seconds=30) - MILLISECOND, (
                    "a failure is followed by a pause"
                )

    def share(self, task: Task) -> float:
        """The share of the fresh window after which the answer of this attempt becomes due."""
        assert task.claimed
        return self.resource.refresh_at(task.claimed.record)

    def _check_gate(self, task: Task, before: Seen, after: Seen) -> None:
        old, new, now = before.gate, after.gate, self.world.now
        if new["recovered_at"] != old["recovered_at"]:
            assert old["silent_since"]
            assert now - old["silent_since"] >= timedelta(seconds=30), "a silence lasts half a minute"
            assert task.replies[-1][1].status == 200
        if new["tat"] != old["tat"]:
            assert not (old["streak"] and old["until"] > now), "nothing passes a shut gate"
            if old["streak"]:
                assert new["until"] > now, "the probe shuts the gate behind it"
        if task in self.met_limit and (new["streak"] and new["until"] != old["until"]):
            self.met_limit[task] = True
        if task.done and task in self.met_limit:
            assert self.met_limit.pop(task), "a global limit shuts the gate"

    def check_request(self, task: Task, after: Seen, *, first: bool) -> None:
        assert task.request
        assert task.what == "job", "no reader talks to Discord"
        assert not first or task.claimed
        dead = sum(reply is FAILURES["dead token"] for _, reply in task.replies)
        assert dead < 2, "a dead token is sent at most twice"
        others = sum(other is not task for other in self.world.tasks)
        assert len(after.refusals) <= BRAKE_HARD + others, "the brake stops all requests"
        for other in self.world.at_the_network:
            assert not self._is_double(task, other), "one request at a time for a record"
        for route, limit in self.limits(task.key).items():
            until, noted = self.closed.get(limit, (self.world.now, 0))
            if task.request.route.endswith(route) and noted < self.resumed[task]:
                assert until <= self.world.now, "a wait that Discord named holds for all whom it limits"

    def _is_double(self, task: Task, other: Task) -> bool:
        """Whether both requests of one record are on the wire, and nothing has ended the other attempt."""
        if other is task or other.key != task.key or not other.request or not (task.claimed and other.claimed):
            return False
        mine, theirs = (self.claims[task.key, each.claimed.generation] for each in (task, other) if each.claimed)
        return mine == theirs and self.world.elapsed < other.request.ends_at

    def _check_result(self, task: Task) -> None:
        sight = self.sights.pop(task, None)
        self.resumed.pop(task, None)
        if task.error is not None:
            assert isinstance(task.error, NoAnswer), repr(task.error)
            if sight:
                self._check_refusal(task.error, sight)
        elif sight:
            self._check_served(task, task.result, sight)

    def _check_refusal(self, error: NoAnswer, sight: Sight) -> None:
        assert (error.retry_after is None) == error.reason.is_refusal
        if error.retry_after is None or error.retry_after <= BUSY_PAUSE.total_seconds():
            return
        wait = timedelta(seconds=error.retry_after)
        until = [moment + wait for moment in sight.moments]
        assert any(abs(end - named) <= MILLISECOND for end in until for named in sight.possible), "a wait is true"
        assert max(until) + MILLISECOND >= max(sight.lasting or until), "a wait ends with the last obstacle"

    def _check_served(self, task: Task, served: Served, sight: Sight) -> None:
        windows = self.resource.windows()
        assert served.age < windows.stale, "nothing expired is served"
        assert (served.freshness == "fresh") == (served.age < windows.fresh)
        assert served.verified_at + served.age <= self.world.now
        answer = self.served(task.result)
        if answer is not None:
            assert answer in self.accepted[task.key]
        if answer is not None and self.resource.rows_of(0) is None:
            assert (served.verified_at, answer) in sight.answers, "what is served was stored"
        if task.on_purpose:
            assert served.age <= self.youngest()
        elif served.is_stale and served.next_attempt_at and served.reason is not Reason.IN_PROGRESS:
            soon = {moment + BUSY_PAUSE for moment in sight.moments}
            assert served.next_attempt_at in {*sight.possible, *sight.moments, *soon}, "the next attempt is announced"

    @invariant()
    def nothing_of_ours_broke(self) -> None:
        assert self.world.faults == []
