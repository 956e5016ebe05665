"""The gate, the brake and the send budget in the row that all processes share."""

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection
from django.db.models import F
from prometheus_client import REGISTRY
from pytest_django import DjangoAssertNumQueries, Settings

from accounts import gate
from accounts.clock import database_now
from accounts.discord import DiscordAPIError, DiscordUnavailable, Exchange
from accounts.limits import Gate, GateShut, Priority
from accounts.models import DiscordGate, DiscordRefusal
from accounts.tokens import discord_client
from tests.fixtures import let_pass

NOW = datetime(2026, 3, 14, 15, 9, 26, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def exchange(status: int | None, scope: str | None = None, retry_after: float | None = None) -> Exchange:
    invalid = status in (401, 403, 429) and scope != "shared"
    return Exchange("GET /users/@me/guilds", "GET", status, scope, retry_after, invalid, 1, 0.1, None)


@pytest.mark.django_db
class TestTheRow:
    def test_a_global_limit_is_everybodys_until_its_end(self) -> None:
        gate.learn(exchange(429, "global", 30), probe=None)

        closed = gate.closed(Priority.COLD)

        assert closed
        assert closed.reason == "global_limit"
        assert 28 < closed.retry_after <= 30
        let_pass(seconds=30)
        assert gate.closed(Priority.COLD) is None

    def test_a_persons_limit_is_nobody_elses(self) -> None:
        gate.learn(exchange(429, "user", 30), probe=None)

        assert gate.closed(Priority.DUE) is None

    @pytest.mark.parametrize(
        ("status", "scope", "counted"), [(401, None, 1), (429, "user", 1), (429, "shared", 0), (500, None, 0)]
    )
    def test_what_counts_towards_the_ban_is_written_down(self, status: int, scope: str | None, counted: int) -> None:
        gate.learn(exchange(status, scope, 1), probe=None)

        assert DiscordRefusal.objects.count() == counted

    def test_a_refusal_is_stored_as_it_was_at_the_databases_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(gate, "read", lambda: (Gate(), NOW))

        gate.learn(exchange(429, "user"), probe=None)
        gate.learn(exchange(401), probe=None)
        gate.learn(Exchange("GET /users/@me", "GET", None, None, None, True, 1, 0.1, None), probe=None)

        stored = DiscordRefusal.objects.order_by("pk").values_list("at", "status", "reason")
        assert list(stored) == [(NOW, 429, "user"), (NOW, 401, ""), (NOW, 0, "")]

    @pytest.mark.parametrize(
        ("scope", "wait", "reason", "seconds"),
        [
            ("global", 30, "global_limit", 30),
            ("cloudflare", 30, "cloudflare", 30),
            ("cloudflare", None, "cloudflare", 60),
        ],
    )
    def test_the_gate_says_who_limits(self, scope: str, wait: float | None, reason: str, seconds: int) -> None:
        gate.learn(exchange(429, scope, wait), probe=None)

        state, now = gate.read()

        assert (state.reason, state.streak) == (reason, 1)
        assert state.until
        assert seconds - 2 < (state.until - now).total_seconds() <= seconds

    def test_a_change_is_stored_whole_and_counted(self) -> None:
        now = database_now()

        for count in (1, 2):
            wanted = Gate(now + SECOND, "cloudflare", 2 + count, now, count)
            gate.change(lambda before, _now, wanted=wanted: replace(wanted, version=before.version))  # type: ignore[misc]

            assert gate.read()[0] == wanted

    def test_a_change_that_another_one_overtook_starts_again_from_there(self) -> None:
        seen: list[int] = []

        def rule(before: Gate, _now: datetime) -> Gate:
            seen.append(before.streak)
            if len(seen) == 1:
                gate.change(lambda other, _now: replace(other, streak=7))
            return replace(before, reason="cloudflare")

        gate.change(rule)

        assert seen == [0, 7]
        assert (gate.read()[0].streak, gate.read()[0].reason) == (7, "cloudflare")

    def test_an_open_gate_is_read_in_one_query(self, django_assert_num_queries: DjangoAssertNumQueries) -> None:
        gate.read()

        with django_assert_num_queries(1):
            gate.read()

    def test_a_row_that_another_process_made_first_is_no_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        DiscordGate.objects.update_or_create(pk=1, defaults={"streak": 3})
        monkeypatch.setattr(DiscordGate.objects, "filter", lambda **_lookups: DiscordGate.objects.none())

        assert gate.read()[0].streak == 3

    def test_a_row_that_cannot_be_created_is_an_error(self, settings: Settings) -> None:
        DiscordGate.objects.all().delete()
        settings.DISCORD_ISSUER = None

        with pytest.raises(IntegrityError):
            gate.read()

    def test_a_gate_opened_by_hand_returns_what_it_was_and_resets_the_send_clock(self) -> None:
        shut = gate.change(lambda _gate, now: Gate(now + SECOND, "cloudflare", 3, now))

        found = gate.open_gate("linus")

        assert found == replace(shut, version=1)
        assert gate.read()[0] == Gate(version=2)

    def test_opening_an_open_gate_resets_the_send_clock_only(self) -> None:
        gate.change(lambda _gate, now: Gate(tat=now))

        assert gate.open_gate("linus") is None
        assert gate.read()[0] == Gate(version=2)

    def test_the_brake_stops_the_old_lists_first_and_then_everybody(self, settings: Settings) -> None:
        settings.DISCORD_BRAKE_SOFT, settings.DISCORD_BRAKE_HARD = 3, 5
        for _ in range(3):
            gate.learn(exchange(401), probe=None)

        soft = gate.closed(Priority.STALE)
        cold_may = gate.closed(Priority.COLD)
        for _ in range(2):
            gate.learn(exchange(401), probe=None)
        hard = gate.closed(Priority.COLD)

        assert soft
        assert soft.reason == "brake"
        assert cold_may is None
        assert hard
        assert 590 < hard.retry_after <= 600

    def test_the_brake_is_released_as_the_window_slides(self, settings: Settings) -> None:
        settings.DISCORD_BRAKE_SOFT = settings.DISCORD_BRAKE_HARD = 2
        gate.learn(exchange(401), probe=None)
        let_pass(minutes=4)
        gate.learn(exchange(401), probe=None)

        braked = gate.closed(Priority.COLD)

        assert braked
        assert 350 < braked.retry_after <= 360
        let_pass(minutes=6)
        assert gate.closed(Priority.COLD) is None

    def test_the_row_is_made_when_it_is_missing(self) -> None:
        DiscordGate.objects.all().delete()

        assert gate.read()[0] == Gate()
        assert DiscordGate.objects.count() == 1


def test_a_call_on_its_way_holds_no_database_connection(transactional_db: None) -> None:
    """There are fewer database connections than threads, and a request may take as long as the attempt."""
    client = gate.gated(discord_client(), Priority.COLD)

    client.before_send("GET /users/@me/guilds")
    assert connection.connection is None
    client.on_response(exchange(429, "user"))
    assert connection.connection is None


@pytest.mark.parametrize("priority", [Priority.COLD, Priority.SIGN_IN])
def test_a_call_that_waits_for_its_place_in_the_send_budget_holds_none_either(
    transactional_db: None, priority: Priority
) -> None:
    now = database_now()
    DiscordGate.objects.create(pk=1, tat=now + timedelta(seconds=1.9))
    held: list[object] = []

    def sleep(seconds: float) -> None:
        held.append(connection.connection)
        assert 0.3 < seconds <= 1.9
        let_pass(seconds=2)

    client = replace(discord_client(), deadline=time.monotonic() + 60)
    gate.gated(client, priority, sleep=sleep).before_send("GET /users/@me/guilds")

    assert held == [None]


def test_who_is_stopped_knows_whether_the_attempt_had_sent_anything(transactional_db: None) -> None:
    client = gate.gated(discord_client(), Priority.STALE)
    stopped = gate.gated(discord_client(), Priority.STALE)
    client.before_send("GET /users/@me/guilds")
    DiscordGate.objects.update(
        until=database_now() + timedelta(minutes=1), reason="global_limit", streak=1, version=F("version") + 1
    )

    with pytest.raises(GateShut) as on_retry:
        client.before_send("GET /users/@me/guilds")
    with pytest.raises(GateShut) as at_first:
        stopped.before_send("GET /users/@me/guilds")

    assert (on_retry.value.sent, at_first.value.sent) == (True, False)


# a client behind the gate

ROUTE = "GET /users/@me/guilds"


def never(seconds: float) -> None:
    raise AssertionError(f"waited for {seconds} s")


def gate_in(**fields: Any) -> None:
    gate.read()
    DiscordGate.objects.update(version=F("version") + 1, **fields)


@pytest.mark.django_db
class TestAGatedClient:
    def test_a_probe_holds_the_gate_until_it_must_have_ended(self) -> None:
        gate_in(streak=1, reason="cloudflare", until=database_now())

        gate.gated(discord_client(), Priority.STALE).before_send(ROUTE)

        state, now = gate.read()
        assert state.until
        lease = gate.attempt_lease()
        assert lease - 2 * SECOND < state.until - now <= lease

    @pytest.mark.parametrize(("status", "streak"), [(200, 0), (404, 0), (499, 0), (500, 1), (503, 1), (None, 1)])
    def test_whatever_discord_itself_answers_the_probe_opens_the_gate(self, status: int | None, streak: int) -> None:
        gate_in(streak=1, reason="cloudflare", until=database_now())
        client = gate.gated(discord_client(), Priority.STALE)

        client.before_send(ROUTE)
        client.on_response(exchange(status))

        assert gate.read()[0].streak == streak

    def test_a_probe_that_is_limited_counts_as_another_limit(self) -> None:
        gate_in(streak=1, reason="cloudflare", until=database_now())
        client = gate.gated(discord_client(), Priority.STALE)

        client.before_send(ROUTE)
        client.on_response(exchange(429, "global", 30))

        assert gate.read()[0].streak == 2

    @pytest.mark.parametrize("status", [200, None])
    def test_an_answer_to_a_call_that_was_no_probe_opens_nothing(self, status: int | None) -> None:
        client = gate.gated(discord_client(), Priority.STALE)
        client.before_send(ROUTE)
        gate_in(streak=1, reason="cloudflare", until=database_now())

        client.on_response(exchange(status))

        assert gate.read()[0].streak == 1

    def test_the_brake_stops_the_old_lists_before_the_send(self, settings: Settings) -> None:
        settings.DISCORD_BRAKE_SOFT, settings.DISCORD_BRAKE_HARD = 1, 2
        gate.learn(exchange(401), probe=None)

        for first_list in (Priority.COLD, Priority.SIGN_IN):
            gate.gated(discord_client(), first_list).before_send(ROUTE)
        with pytest.raises(GateShut) as braked:
            gate.gated(discord_client(), Priority.STALE).before_send(ROUTE)

        assert braked.value.reason == "brake"
        assert 590 < braked.value.retry_after <= 600

    @pytest.mark.parametrize(
        ("priority", "seconds_left"), [(Priority.COLD, None), (Priority.COLD, 0.3), (Priority.STALE, 60)]
    )
    def test_a_call_that_may_not_wait_for_its_place_gives_way(
        self, priority: Priority, seconds_left: float | None
    ) -> None:
        gate_in(tat=database_now() + timedelta(seconds=1.9))
        deadline = None if seconds_left is None else time.monotonic() + seconds_left
        client = gate.gated(replace(discord_client(), deadline=deadline), priority, sleep=never)

        with pytest.raises(GateShut) as busy:
            client.before_send(ROUTE)

        assert busy.value.reason == "busy"

    def test_a_shut_gate_is_not_waited_for(self) -> None:
        gate_in(streak=1, reason="global_limit", until=database_now() + SECOND)
        client = replace(discord_client(), deadline=time.monotonic() + 60)

        with pytest.raises(GateShut) as shut:
            gate.gated(client, Priority.COLD, sleep=never).before_send(ROUTE)

        assert shut.value.reason == "global_limit"

    def test_the_wait_before_a_retry_is_waited_and_measured(self) -> None:
        slept: list[float] = []
        client = gate.gated(replace(discord_client(), sleep=slept.append), Priority.COLD)
        before = waited_for_retries()

        client.sleep(2.5)

        assert slept == [2.5]
        assert waited_for_retries() - before == pytest.approx(2.5)


def waited_for_retries() -> float:
    return REGISTRY.get_sample_value("guildhall_discord_retry_wait_seconds_sum") or 0.0


# background work


@pytest.mark.django_db
class TestWaitingForAPlace:
    @pytest.fixture(autouse=True)
    def clock(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """`self.state` is the gate, `self.now` the current time, and `self.sleep` advances it."""
        self.state, self.now, self.slept = Gate(), NOW, list[float]()
        monkeypatch.setattr(gate, "read", lambda: (self.state, self.now))

    def sleep(self, seconds: float) -> None:
        assert len(self.slept) < 100
        self.slept.append(seconds)
        self.now += seconds * SECOND

    def full_until(self, moment: datetime) -> None:
        self.state = Gate(tat=moment + Priority.DUE.value)

    def test_a_free_place_is_not_waited_for(self) -> None:
        self.full_until(NOW)

        assert gate.wait_for_place(sleep=never) == NOW

    def test_it_waits_until_the_place_is_free(self) -> None:
        self.full_until(NOW + 1.5 * SECOND)

        assert gate.wait_for_place(self.sleep) == NOW + 1.5 * SECOND
        assert self.slept == [1.5]

    def test_it_never_waits_for_less_than_the_shortest_pause(self) -> None:
        self.full_until(NOW + SECOND / 1000)

        gate.wait_for_place(self.sleep)

        assert self.slept == [gate.MIN_PAUSE]

    @pytest.mark.parametrize(("pause", "times"), [(1.5, 40), (1.75, 35)])
    def test_it_gives_up_after_a_minute(self, pause: float, times: int) -> None:
        def sleep(seconds: float) -> None:
            self.sleep(seconds)
            self.full_until(self.now + pause * SECOND)

        self.full_until(NOW + pause * SECOND)

        with pytest.raises(GateShut) as busy:
            gate.wait_for_place(sleep)

        assert busy.value.reason == "busy"
        assert self.slept == [pause] * times

    def test_a_shut_gate_is_not_waited_for(self) -> None:
        self.state = Gate(NOW + SECOND, "cloudflare", 1)

        with pytest.raises(GateShut) as shut:
            gate.wait_for_place(sleep=never)

        assert (shut.value.reason, shut.value.until) == ("cloudflare", NOW + SECOND)

    def test_a_gate_that_shuts_in_between_is_not_waited_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.state = Gate(NOW + SECOND, "cloudflare", 1)
        monkeypatch.setattr(gate, "closed", lambda _priority: None)

        with pytest.raises(GateShut) as shut:
            gate.wait_for_place(sleep=never)

        assert shut.value.reason == "cloudflare"

    def test_the_brake_stops_it_as_it_stops_a_list_that_is_due(self, settings: Settings) -> None:
        settings.DISCORD_BRAKE_SOFT, settings.DISCORD_BRAKE_HARD = 1, 2
        DiscordRefusal.objects.create(at=NOW, status=401, reason="")

        with pytest.raises(GateShut) as braked:
            gate.wait_for_place(sleep=never)

        assert braked.value.reason == "brake"


@pytest.mark.django_db
def test_a_silence_is_written_down_once_and_ends_with_a_good_answer() -> None:
    def ask(status: int | None, error: DiscordAPIError | None) -> Gate:
        client = gate.gated(discord_client(), Priority.COLD)
        client.before_send(ROUTE)
        client.on_response(replace(exchange(status), error=error))
        return gate.read()[0]

    first, again = ask(503, DiscordUnavailable(status=503)), ask(None, DiscordUnavailable())
    let_pass(minutes=1)
    refused, good, later = ask(404, DiscordAPIError(status=404)), ask(200, None), ask(200, None)

    assert first.silent_since
    assert again.silent_since == first.silent_since
    assert refused.silent_since
    assert good.silent_since is None
    assert good.recovered_at
    assert later.recovered_at == good.recovered_at
