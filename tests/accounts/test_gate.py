"""The row that all processes share: the gate, the brake and the send budget."""

import time
from dataclasses import replace
from datetime import timedelta

import pytest
from django.db import connection
from django.db.models import F
from pytest_django import Settings

from accounts import gate
from accounts.clock import database_now
from accounts.discord import Exchange
from accounts.limits import Gate, GateShut, Priority
from accounts.models import DiscordGate, DiscordRefusal
from accounts.tokens import discord_client
from tests.fixtures import let_pass


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
