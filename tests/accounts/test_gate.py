"""The gate, the brake and the send budget: first the pure rules, then the row they live in."""

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.db.models import F
from pytest_django import Settings

from accounts import gate
from accounts.clock import database_now
from accounts.discord import Exchange
from accounts.gate import Gate, GateShut, Priority
from accounts.models import DiscordGate, DiscordRefusal
from accounts.tokens import discord_client
from tests.fixtures import let_pass

NOW = datetime(2026, 3, 14, 15, 9, 26, tzinfo=UTC)
SECOND = timedelta(seconds=1)
LEASE = 12 * SECOND


def admit(state: Gate, priority: Priority = Priority.COLD, now: datetime = NOW) -> Gate:
    return state.admit(priority, now, rate=20, lease=LEASE)


def test_an_open_gate_lets_a_send_through_and_moves_the_send_clock() -> None:
    after = admit(Gate())

    assert (after.streak, after.until) == (0, None)
    assert after.tat == NOW + SECOND / 20


def test_a_shut_gate_lets_nothing_through_before_its_end() -> None:
    shut = Gate().shut("global_limit", 40 * SECOND, NOW, probe=None)

    with pytest.raises(GateShut) as refusal:
        admit(shut, now=NOW + 39 * SECOND)

    assert (refusal.value.reason, refusal.value.until) == ("global_limit", NOW + 40 * SECOND)
    assert refusal.value.retry_after == 1


def test_after_its_end_exactly_one_probe_goes() -> None:
    end = NOW + 40 * SECOND
    shut = Gate().shut("global_limit", 40 * SECOND, NOW, probe=None)

    probing = admit(shut, now=end)

    assert probing.until == end + LEASE
    with pytest.raises(GateShut):
        admit(probing, now=end + LEASE - SECOND / 100)
    assert admit(probing, now=end + LEASE).until == end + 2 * LEASE


def test_only_the_probe_itself_opens_the_gate() -> None:
    probing = Gate(until=NOW + LEASE, reason="global_limit", streak=2)

    assert probing.opened(NOW + LEASE) == Gate()
    assert probing.opened(NOW + LEASE - SECOND) == probing


def test_a_probe_that_is_limited_again_shuts_the_gate_for_longer() -> None:
    probing = Gate(until=NOW + LEASE, reason="cloudflare", streak=3)

    shut = probing.shut("cloudflare", None, NOW, probe=NOW + LEASE)

    assert (shut.streak, shut.until) == (4, NOW + timedelta(seconds=60 * 8))


def test_answers_that_were_on_the_wire_do_not_count_as_new_limits() -> None:
    shut = Gate().shut("global_limit", 40 * SECOND, NOW, probe=None)

    later = shut.shut("global_limit", 10 * SECOND, NOW + SECOND, probe=None)

    assert (later.streak, later.until) == (1, NOW + 40 * SECOND)


def test_an_unnamed_wait_stops_growing_at_an_hour() -> None:
    shut = Gate(until=NOW, reason="cloudflare", streak=30).shut("cloudflare", None, NOW, probe=None)

    assert shut.until == NOW + timedelta(hours=1)


def test_the_send_budget_lets_cold_readers_before_stale_before_due() -> None:
    busy = Gate(tat=NOW + timedelta(milliseconds=300))

    assert admit(busy, Priority.COLD)
    assert admit(busy, Priority.STALE)
    with pytest.raises(GateShut) as refusal:
        admit(busy, Priority.DUE)
    assert (refusal.value.reason, refusal.value.until) == ("busy", NOW + timedelta(milliseconds=200))


def test_no_second_holds_more_than_the_rate_and_one_burst() -> None:
    state, sent = Gate(), 0
    for step in range(400):
        try:
            state = admit(state, Priority.COLD, NOW + step * SECOND / 100)
            sent += 1
        except GateShut:
            pass

    assert 4 * 20 <= sent <= 4 * 20 + 21


# the row


def exchange(status: int, scope: str | None = None, retry_after: float | None = None) -> Exchange:
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
    """There are fewer connections than threads, and Discord may take as long as an attempt may."""
    client = gate.gated(discord_client(), Priority.COLD)

    client.before_send("GET /users/@me/guilds")
    assert connection.connection is None
    client.on_answer(exchange(429, "user"))
    assert connection.connection is None


def test_a_call_that_waits_for_its_place_in_the_send_budget_holds_none_either(transactional_db: None) -> None:
    now = database_now()
    DiscordGate.objects.create(pk=1, tat=now + timedelta(seconds=3))
    held: list[object] = []

    def sleep(_seconds: float) -> None:
        held.append(connection.connection)
        let_pass(seconds=3)

    client = replace(discord_client(), deadline=time.monotonic() + 60)
    gate.gated(client, Priority.COLD, sleep=sleep).before_send("GET /users/@me/guilds")

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
