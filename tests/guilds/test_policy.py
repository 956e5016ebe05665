"""The policy's decision for one reader: what it starts, waits for and serves. No sandbox, no threads."""

import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
import structlog
from django.db import OperationalError, ProgrammingError
from django.db.models import F
from prometheus_client import REGISTRY

from accounts import background, gate
from accounts.limits import GateShut, Priority
from accounts.models import User
from accounts.tokens import discord_client
from guilds.engine import policy, refresh, waiting
from guilds.engine.freshness import Decision, Reason, Tier, Wait, decide
from guilds.engine.policy import Reading, Served
from guilds.engine.records import Record
from guilds.engine.refusal import NoAnswer
from guilds.models import GuildListVerification
from guilds.resources.guild_list import GUILD_LIST
from tests.guilds.rows import row_of, stored

pytestmark = pytest.mark.django_db

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)


class Stage:
    """The policy's faked environment; `did` lists the policy's calls in order.

    `during_the_wait` is called while a reader waits and says whether there was room to wait.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.did: list[tuple[Any, ...]] = []
        self.slots = True
        self.shut: GateShut | None = None
        self.during_the_wait: Callable[[], bool] = lambda: False
        self.job: Future[None] = Future()
        monkeypatch.setattr(background, "reserve", lambda: self if self.slots else None)
        monkeypatch.setattr(gate, "closed", self.closed)
        monkeypatch.setattr(waiting, "announce", self.announce)
        monkeypatch.setattr(waiting, "wait_for_change", self.wait)

    def closed(self, priority: Priority) -> GateShut | None:
        self.did.append(("gate", priority))
        return self.shut

    def release(self) -> None:
        self.did.append(("release",))

    def start(self, job: "partial[Any]", then: object) -> "Future[None]":
        assert (job.func, then) == (refresh.run, refresh.follow_up)
        self.did.append(("start", *job.args))
        return self.job

    def announce(self, record: Record, job: "Future[None]") -> None:
        self.did.append(("announce", record.pk, job))

    def wait(self, record: Record, seconds: float) -> bool:
        self.did.append(("wait", record.pk, record.generation, seconds))
        return self.during_the_wait()

    @property
    def words(self) -> list[str]:
        return [word for word, *_ in self.did]


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(monkeypatch)


@pytest.fixture
def ada() -> User:
    return User.objects.create_user(username="ada", discord_id=1)


def read(user: User, max_age: timedelta | None = None, timeout: float = 5.0) -> Served:
    return Served.of(policy.read(GUILD_LIST, user.pk, max_age=max_age, timeout=timeout, clock=lambda: 100.0))


def reads(freshness: str, outcome: str) -> float:
    labels = {"resource": "guild_list", "freshness": freshness, "outcome": outcome}
    return REGISTRY.get_sample_value("guildhall_reads_total", labels) or 0.0


def about(moment: datetime | None, expected: datetime) -> bool:
    return moment is not None and abs(moment - expected) < SECOND


# served


def test_a_fresh_list_is_served_as_it_is_stored(ada: User, stage: Stage) -> None:
    now = stored(ada, timedelta(minutes=10))
    GuildListVerification.objects.update(changed_at=now - HOUR)
    before, row = reads("fresh", "hit"), row_of(ada)

    found = read(ada)

    assert found.age - timedelta(minutes=10) < SECOND
    assert found == Served(
        verified_at=now - timedelta(minutes=10),
        age=found.age,
        freshness="fresh",
        reason=None,
        next_attempt_at=row.refresh_after,
        is_asking=False,
        waited_from=None,
        changed_at=now - HOUR,
    )
    assert stage.did == []
    assert reads("fresh", "hit") == before + 1


@dataclass(frozen=True, kw_only=True)
class Answer(Served):
    value: int = 0


def test_an_answer_brings_its_own_fields(ada: User, stage: Stage) -> None:
    stored(ada, timedelta(minutes=10))

    assert Answer.of(policy.read(GUILD_LIST, ada.pk, timeout=0.0), value=7).value == 7


def test_a_list_of_the_future_is_of_no_age(ada: User, stage: Stage) -> None:
    stored(ada, -HOUR)

    assert read(ada).age == timedelta(0)


@pytest.mark.parametrize(("lease", "asking"), [(SECOND, True), (timedelta(0), False), (HOUR, False), (None, False)])
def test_a_fresh_list_says_whether_discord_is_being_asked(
    ada: User, stage: Stage, lease: timedelta | None, asking: bool
) -> None:
    stored(ada, timedelta(minutes=10))
    record, now = GUILD_LIST.read(ada.pk)
    record.lease_until = None if lease is None else now + lease
    reading = policy.look(record, now)
    assert reading

    assert Served.of(reading).is_asking is asking


@pytest.mark.parametrize(("earlier", "written"), [(None, True), (timedelta(minutes=59), False), (HOUR, True)])
def test_a_read_is_written_down_once_an_hour(ada: User, stage: Stage, earlier: timedelta | None, written: bool) -> None:
    stored(User.objects.create_user(username="linus", discord_id=2), timedelta(minutes=10))
    stored(ada, timedelta(minutes=10))
    record, now = GUILD_LIST.read(ada.pk)
    record.last_read_at = None if earlier is None else now - earlier
    reading = policy.look(record, now)
    assert reading

    Served.of(reading)

    assert row_of(ada).last_read_at == (now if written else None)
    assert GuildListVerification.objects.exclude(pk=ada.pk).get().last_read_at is None


@pytest.mark.parametrize("minutes", [50, 180])
def test_a_database_that_refuses_the_claim_does_not_keep_a_stored_list(
    ada: User, stage: Stage, monkeypatch: pytest.MonkeyPatch, minutes: int
) -> None:
    stored(ada, timedelta(minutes=minutes))
    monkeypatch.setattr(refresh, "claim", raising(OperationalError("read-only")))

    reading = policy.read(GUILD_LIST, ada.pk, timeout=5)

    assert (reading.decision.serve, reading.decision.ask, reading.decision.reason) == (True, False, Reason.DATABASE)
    assert reading.decision.until == reading.now + policy.BUSY_PAUSE
    assert stage.did[-1] == ("release",)


@pytest.mark.parametrize(("minutes", "error"), [(1500, OperationalError("read-only")), (50, ProgrammingError("typo"))])
def test_a_claim_that_fails_otherwise_gives_its_thread_back(
    ada: User, stage: Stage, monkeypatch: pytest.MonkeyPatch, minutes: int, error: Exception
) -> None:
    stored(ada, timedelta(minutes=minutes))
    monkeypatch.setattr(refresh, "claim", raising(error))

    with pytest.raises(type(error)):
        policy.read(GUILD_LIST, ada.pk, timeout=5)

    assert stage.did[-1] == ("release",)


def raising(error: Exception) -> Callable[..., Any]:
    def fail(*_arguments: Any) -> Any:
        raise error

    return fail


def test_a_due_list_is_served_while_a_refresh_starts(ada: User, stage: Stage) -> None:
    now = stored(ada, timedelta(minutes=50), generation=4)
    before = reads("due", "hit")

    found = read(ada)

    assert (found.freshness, found.reason, found.is_asking, found.waited_from) == ("fresh", None, True, None)
    assert about(found.next_attempt_at, now + GUILD_LIST.windows().lease)
    assert stage.words == ["gate", "start", "announce"]
    assert stage.did[0] == ("gate", Priority.DUE)
    claim = stage.did[1][1]
    assert (claim.record.pk, claim.generation, claim.priority) == (ada.pk, 5, Priority.DUE)
    assert about(claim.at, now)
    assert stage.did[1][2] == discord_client()
    assert stage.did[2] == ("announce", ada.pk, stage.job)
    assert reads("due", "hit") == before + 1


@pytest.mark.parametrize(("own", "shared"), [(38, 59), (59, 38)])
@pytest.mark.parametrize("age", [timedelta(hours=5), None], ids=["stale", "none"])
def test_a_reader_is_told_of_the_obstacle_that_ends_last(
    ada: User, stage: Stage, own: int, shared: int, age: timedelta | None
) -> None:
    now = stored(ada, age)
    stored(ada, age, not_before=now + own * SECOND, reason="unavailable")
    stage.shut = GateShut(Reason.CLOUDFLARE, now + shared * SECOND, now)

    readings = [policy.read(GUILD_LIST, ada.pk, timeout=0.0)]
    if age and (looked := policy.look(*GUILD_LIST.read(ada.pk))):
        readings.append(looked)

    last = (Reason.CLOUDFLARE, now + 59 * SECOND) if shared > own else (Reason.UNAVAILABLE, now + 59 * SECOND)
    assert {(reading.decision.reason, reading.decision.until) for reading in readings} == {last}
    assert len(readings) == (2 if age else 1)


@pytest.mark.parametrize("age", [timedelta(minutes=10), timedelta(minutes=50)], ids=["fresh", "due"])
def test_a_list_that_is_served_as_fresh_never_reads_the_gate(ada: User, stage: Stage, age: timedelta) -> None:
    now = stored(ada, age)
    stored(ada, age, not_before=now + HOUR, reason="unavailable")

    assert policy.look(*GUILD_LIST.read(ada.pk))
    assert stage.did == []


@pytest.mark.parametrize(("timeout", "waits"), [(60.0, 6.0), (0.5, 0.5)])
def test_a_stale_list_is_waited_for_no_longer_than_the_soft_wait(
    ada: User, stage: Stage, timeout: float, waits: float
) -> None:
    stored(ada, 5 * HOUR, generation=4)
    before = reads("stale", "stale_served")

    found = read(ada, timeout=timeout)

    assert stage.words == ["gate", "start", "announce", "wait"]
    (_, user_id, generation, seconds) = stage.did[-1]
    assert (user_id, generation, round(seconds, 3)) == (ada.pk, 5, waits)
    assert (found.freshness, found.reason, found.is_asking) == ("stale", Reason.IN_PROGRESS, True)
    assert found.waited_from is None
    assert reads("stale", "stale_served") == before + 1


def test_a_refresh_that_is_running_is_waited_for_and_not_started_again(ada: User, stage: Stage) -> None:
    now = stored(ada, 5 * HOUR, generation=4)
    until = now + GUILD_LIST.windows().lease - 2 * SECOND
    GuildListVerification.objects.update(lease_until=until)

    found = read(ada, timeout=60.0)

    assert stage.words == ["wait"]
    assert stage.did[0][2] == 4
    # The soft wait began with the refresh, two seconds ago.
    assert 3 < stage.did[0][3] <= 4
    assert (found.reason, found.is_asking, found.next_attempt_at) == (Reason.IN_PROGRESS, True, until)


def test_a_new_list_is_served_to_the_reader_who_waited_for_it(ada: User, stage: Stage) -> None:
    stored(ada, 5 * HOUR)
    before = reads("stale", "miss_refreshed")

    def answer() -> bool:
        stored(ada, timedelta(0), lease_until=None)
        return True

    stage.during_the_wait = answer
    found = read(ada)

    assert (found.freshness, found.waited_from, found.is_asking) == ("fresh", Tier.STALE, False)
    assert reads("stale", "miss_refreshed") == before + 1


def test_a_reader_without_a_list_waits_for_the_whole_budget_and_no_longer(ada: User, stage: Stage) -> None:
    before = reads("none", "refused")

    with pytest.raises(NoAnswer) as error:
        read(ada, timeout=5.0)

    assert stage.did[0] == ("gate", Priority.COLD)
    assert stage.did[-1] == ("wait", ada.pk, 1, 5.0)
    assert (error.value.reason, error.value.retry_after) == (Reason.IN_PROGRESS, 2.0)
    assert reads("none", "refused") == before + 1


def test_a_reader_without_time_does_not_wait(ada: User, stage: Stage) -> None:
    with pytest.raises(NoAnswer):
        read(ada, timeout=0.0)

    assert stage.words == ["gate", "start", "announce"]


def test_a_failure_that_ends_the_wait_is_what_the_reader_gets(ada: User, stage: Stage) -> None:
    def answer() -> bool:
        now = stored(ada, reason="rate_limited", lease_until=None)
        GuildListVerification.objects.update(not_before=now + 40 * SECOND)
        return True

    stage.during_the_wait = answer
    with pytest.raises(NoAnswer) as error:
        read(ada)

    assert error.value.reason is Reason.RATE_LIMITED
    assert error.value.retry_after
    assert 38 < error.value.retry_after <= 40


# not asked


@pytest.fixture
def hold(monkeypatch: pytest.MonkeyPatch) -> Callable[[timedelta | None], list[Priority]]:
    """Let a limit that the record shares with others hold its requests for so long; returns who asked about it."""
    asked: list[Priority] = []

    def hold(wait: timedelta | None) -> list[Priority]:
        def held_until(record: Record, now: datetime, priority: Priority) -> datetime | None:
            asked.append(priority)
            return None if wait is None else now + wait

        monkeypatch.setattr(GUILD_LIST, "held_until", held_until)
        return asked

    return hold


@pytest.mark.parametrize(
    ("age", "priority"),
    [(timedelta(minutes=50), Priority.DUE), (5 * HOUR, Priority.STALE), (None, Priority.COLD)],
    ids=["due", "stale", "none"],
)
def test_a_shared_limit_stops_a_claim_before_it_begins(
    ada: User, stage: Stage, hold: Any, age: timedelta | None, priority: Priority
) -> None:
    stored(ada, age)
    asked = hold(40 * SECOND)

    reading = policy.read(GUILD_LIST, ada.pk, timeout=5)

    assert (reading.decision.claim, reading.decision.reason) == (False, Reason.RATE_LIMITED)
    assert reading.decision.until == reading.now + 40 * SECOND
    assert (asked, stage.did) == ([priority], [("gate", priority)])
    assert row_of(ada).generation == 0


@pytest.mark.parametrize(("shared", "reason"), [(39, Reason.GLOBAL_LIMIT), (41, Reason.RATE_LIMITED)])
def test_of_gate_and_shared_limit_the_one_that_ends_last_counts(
    ada: User, stage: Stage, hold: Any, shared: int, reason: Reason
) -> None:
    now = stored(ada, 5 * HOUR)
    stage.shut = GateShut(Reason.GLOBAL_LIMIT, now + 40 * SECOND, now)
    hold(shared * SECOND)

    found = read(ada)

    assert found.reason is reason
    assert about(found.next_attempt_at, now + max(shared, 40) * SECOND)


def test_a_limit_that_holds_nothing_lets_a_reader_claim(ada: User, stage: Stage, hold: Any) -> None:
    stored(ada, timedelta(minutes=50))
    hold(None)

    assert read(ada).is_asking


def test_a_fresh_answer_asks_no_limit(ada: User, stage: Stage, hold: Any) -> None:
    stored(ada, timedelta(minutes=10))
    asked = hold(40 * SECOND)

    assert read(ada).freshness == "fresh"
    assert asked == []


def test_a_shut_gate_stops_a_claim_before_it_begins(ada: User, stage: Stage) -> None:
    now = stored(ada, 5 * HOUR)
    stage.shut = GateShut(Reason.GLOBAL_LIMIT, now + 40 * SECOND, now)

    found = read(ada)

    assert (found.freshness, found.reason, found.is_asking) == ("stale", Reason.GLOBAL_LIMIT, False)
    assert found.next_attempt_at == now + 40 * SECOND
    assert stage.did == [("gate", Priority.STALE)]
    assert row_of(ada).generation == 0


@pytest.mark.parametrize(("earlier", "reason"), [("", Reason.BUSY), ("unavailable", Reason.UNAVAILABLE)])
def test_a_reader_who_finds_no_slot_is_told_to_come_back_soon(
    ada: User, stage: Stage, earlier: str, reason: Reason
) -> None:
    now = stored(ada, 5 * HOUR, reason=earlier)
    stage.slots = False

    found = read(ada)

    assert (found.freshness, found.reason, found.is_asking) == ("stale", reason, False)
    assert about(found.next_attempt_at, now + 2 * SECOND)
    assert stage.words == ["gate"]


def test_a_reader_without_a_list_who_finds_no_slot_does_not_wait(ada: User, stage: Stage) -> None:
    stage.slots = False

    with pytest.raises(NoAnswer) as error:
        read(ada)

    assert (error.value.reason, error.value.retry_after) == (Reason.BUSY, 2.0)
    assert stage.words == ["gate"]


def test_a_reader_who_loses_the_claim_gives_the_slot_back_and_looks_again(
    ada: User, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(ada, 5 * HOUR)
    claim = refresh.claim

    def overtaken(*arguments: Any) -> None:
        GuildListVerification.objects.update(generation=F("generation") + 1)
        assert claim(*arguments) is None
        monkeypatch.setattr(refresh, "claim", claim)

    monkeypatch.setattr(refresh, "claim", overtaken)
    read(ada)

    assert stage.words == ["gate", "release", "gate", "start", "announce", "wait"]


# demanded


def test_a_demand_is_met_by_a_list_as_young_as_that(ada: User, stage: Stage) -> None:
    stored(ada, timedelta(seconds=10))

    assert read(ada, timedelta(seconds=20)).freshness == "fresh"
    with pytest.raises(NoAnswer):
        read(ada, timedelta(seconds=5))
    assert stage.words == ["gate", "start", "announce", "wait"]


def test_a_demand_fails_closed_at_a_shut_gate(ada: User, stage: Stage) -> None:
    now = stored(ada, timedelta(minutes=10))
    stage.shut = GateShut(Reason.GLOBAL_LIMIT, now + 40 * SECOND, now)

    with pytest.raises(NoAnswer) as error:
        read(ada, timedelta(minutes=5))

    assert error.value.reason is Reason.GLOBAL_LIMIT


def test_a_demand_counts_from_its_beginning_however_long_the_wait(ada: User, stage: Stage) -> None:
    now = stored(ada, HOUR / 2)

    def answer() -> bool:
        GuildListVerification.objects.update(
            verified_at=F("verified_at") + HOUR / 2 + SECOND, refresh_after=now + HOUR, lease_until=None
        )
        return True

    stage.during_the_wait = answer

    assert read(ada, timedelta(0)).waited_from is Tier.FRESH


# refused


def decided(reason: Reason | None, until: datetime | None) -> Decision:
    return Decision(Tier.NONE, False, False, False, Wait.NONE, reason, until)


NOW = datetime.fromisoformat("2026-03-14T15:09:26+00:00")


@pytest.mark.parametrize(
    ("decision", "reason", "retry_after"),
    [
        (decided(Reason.RATE_LIMITED, NOW + 40 * SECOND), Reason.RATE_LIMITED, 40.0),
        (decided(Reason.UNAVAILABLE, NOW - SECOND), Reason.UNAVAILABLE, 0.0),
        (decided(Reason.UNAVAILABLE, None), Reason.UNAVAILABLE, 2.0),
        (decided(None, NOW + SECOND), Reason.BUSY, 1.0),
        (decided(Reason.IN_PROGRESS, NOW + 12 * SECOND), Reason.IN_PROGRESS, 2.0),
        (decided(Reason.IN_PROGRESS, NOW + SECOND), Reason.IN_PROGRESS, 1.0),
        (decided(Reason.MISSING_SCOPE, NOW + SECOND), Reason.MISSING_SCOPE, None),
        (decided(Reason.RECONNECT_REQUIRED, None), Reason.RECONNECT_REQUIRED, None),
    ],
)
def test_a_refusal_says_why_and_when_to_come_back(
    decision: Decision, reason: Reason, retry_after: float | None
) -> None:
    with pytest.raises(NoAnswer) as error:
        Served.of(Reading(GuildListVerification(pk=1, verified_at=NOW), decision, NOW, Tier.NONE))

    assert (error.value.resource, error.value.reason, error.value.retry_after) == ("guild_list", reason, retry_after)


@pytest.mark.parametrize(
    ("tier", "freshness", "reason"), [(Tier.STALE, "stale", Reason.BUSY), (Tier.DUE, "fresh", None)]
)
def test_only_a_stale_answer_has_a_reason(ada: User, tier: Tier, freshness: str, reason: Reason | None) -> None:
    record = GuildListVerification(pk=ada.pk, verified_at=NOW)

    served = Served.of(Reading(record, Decision(tier, True, True, False, Wait.NONE, None, None), NOW, tier))

    assert (served.freshness, served.reason, served.is_asking) == (freshness, reason, False)
    assert served.is_stale is (tier is Tier.STALE)


# looked at


def look(user: User, max_age: timedelta | None = None) -> Reading[GuildListVerification] | None:
    return policy.look(*GUILD_LIST.read(user.pk), max_age)


def test_a_look_at_a_fresh_list_is_a_reading(ada: User, stage: Stage) -> None:
    stored(ada, timedelta(minutes=10))
    record, now = GUILD_LIST.read(ada.pk)

    assert policy.look(record, now) == Reading(
        record, decide(record, now, GUILD_LIST.windows()), now, Tier.FRESH, waited=False
    )


def test_a_look_meets_a_demand_or_finds_nothing(ada: User, stage: Stage) -> None:
    stored(ada, timedelta(minutes=10))

    assert look(ada, timedelta(minutes=11))
    assert look(ada, timedelta(minutes=9)) is None


def test_a_look_finds_a_stale_list_that_may_not_be_refreshed(ada: User, stage: Stage) -> None:
    now = stored(ada, 5 * HOUR, reason="rate_limited")
    GuildListVerification.objects.update(not_before=now + HOUR)

    found = look(ada)

    assert found
    assert (found.found, found.decision.reason) == (Tier.STALE, Reason.RATE_LIMITED)


@pytest.mark.parametrize(
    ("age", "reason"), [(timedelta(minutes=50), ""), (5 * HOUR, ""), (30 * HOUR, ""), (5 * HOUR, "missing_scope")]
)
def test_a_look_neither_asks_nor_refuses(ada: User, stage: Stage, age: timedelta, reason: str) -> None:
    stored(ada, age, reason=reason)

    assert look(ada) is None
    assert stage.did == []


# the log


def test_a_stale_answer_is_logged_once_a_minute_for_each_person_and_cause(
    ada: User, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    linus = User.objects.create_user(username="linus", discord_id=2)
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])

    def logged(user: User, reason: str) -> int:
        now = stored(user, 5 * HOUR, reason=reason)
        GuildListVerification.objects.filter(pk=user.pk).update(not_before=now + HOUR)
        with structlog.testing.capture_logs() as lines:
            read(user)
        return sum(line["event"] == "serving_stale_guild_list" for line in lines)

    assert [logged(ada, "rate_limited"), logged(ada, "rate_limited")] == [1, 0]
    assert [logged(ada, "unavailable"), logged(linus, "rate_limited")] == [1, 1]
    clock[0] = 59.9
    assert logged(ada, "rate_limited") == 0
    clock[0] = 60.0
    assert logged(ada, "rate_limited") == 1


@pytest.mark.parametrize(("remembered", "left"), [(10_000, 10_001), (10_001, 1)])
def test_the_log_forgets_before_it_remembers_too_many(ada: User, stage: Stage, remembered: int, left: int) -> None:
    now = stored(ada, 5 * HOUR, reason="rate_limited")
    GuildListVerification.objects.update(not_before=now + HOUR)
    policy._logged.update({("", number, ""): 0.0 for number in range(remembered)})

    read(ada)

    assert len(policy._logged) == left
