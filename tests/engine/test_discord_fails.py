"""However Discord fails, the site sends no more requests than allowed: G2, G5, G6, G7, G8, G11, G17."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F

from accounts.clock import database_now
from accounts.models import DiscordAccount, DiscordGate, DiscordRefusal
from guilds.models import GuildListVerification
from tests.engine.conftest import BRAKE_HARD, BRAKE_SOFT, LEASE, STALLED, Fleet, Reader
from tests.fixtures import let_pass

SILENCE = [
    {"mode": "outage"},
    {"mode": "bad_gateway"},
    {"mode": "reset"},
    {"mode": "garbage"},
    {"mode": "truncated"},
    {"mode": "wrong_type"},
]


@pytest.mark.parametrize("mood", SILENCE, ids=lambda mood: mood["mode"])
def test_g2_one_attempt_while_discord_is_silent_at_any_read_rate(
    fleet: Fleet, join: Callable[..., Reader], mood: dict[str, Any]
) -> None:
    ada = join(hours=2)
    fleet.sandbox.mood(**mood)
    ada.get(fleet[0])
    fleet.settle()
    assert fleet.asked() == 1

    replies = fleet.crowd([ada], times=12)
    let_pass(seconds=15)
    replies += fleet.crowd([ada], times=12)

    assert {(reply.status, reply.freshness) for reply in replies} == {(200, "stale")}
    assert fleet.asked() == 1
    let_pass(seconds=40)
    ada.get(fleet[1])
    fleet.settle()
    assert fleet.asked() == 2, "after the pause one more"


def test_g2_nothing_before_the_moment_that_discord_names(fleet: Fleet, join: Callable[..., Reader]) -> None:
    ada = join(hours=2)
    fleet.sandbox.mood("rate_limited", retry_after=300)
    ada.get(fleet[0])
    fleet.settle()

    for _ in range(3):
        let_pass(seconds=80)
        assert {reply.json["reason"] for reply in fleet.crowd([ada], times=6)} == {"rate_limited"}
    assert fleet.asked() == 1

    let_pass(seconds=61)
    fleet.sandbox.mood()
    assert ada.get(fleet[2]).freshness == "fresh"
    assert fleet.asked() == 2


def test_g2_an_attempt_holds_three_retries_at_most(fleet: Fleet, join: Callable[..., Reader]) -> None:
    ada = join(hours=2)
    # Not "rate_limited", whose header names whole seconds: the retries would take almost the whole budget.
    named = {"headers": {"Content-Type": "application/json", "Via": "1.1 google"}, "body": '{"retry_after": 0.01}'}
    fleet.sandbox.mood("raw", status=429, **named)

    ada.get(fleet[0])
    fleet.settle()
    replies = fleet.crowd([ada], times=6)

    assert {reply.status for reply in replies} == {200}
    assert fleet.asked() == 4


def test_g2_one_good_answer_ends_the_waits_that_silence_caused(
    fleet: Fleet, crowd_of: Callable[..., list[Reader]]
) -> None:
    newcomer, limited, *waiting = crowd_of(5, hours=2)
    fleet.sandbox.mood("outage")
    fleet.crowd(waiting)
    fleet.settle()
    fleet.sandbox.mood("rate_limited", retry_after=300)
    limited.get(fleet[0])
    fleet.settle()
    # Their waits have grown to minutes.
    let_pass(seconds=100)
    GuildListVerification.objects.update(not_before=F("not_before") + timedelta(seconds=220))
    fleet.sandbox.mood()
    asked = fleet.asked()

    assert fleet.freshness_once_refreshed([newcomer]) == {"fresh"}

    assert fleet.freshness_once_refreshed(waiting) == {"fresh"}
    assert limited.get(fleet[1]).json["reason"] == "rate_limited"
    assert fleet.asked() == asked + 1 + len(waiting)


def test_g2_one_of_those_who_wait_finds_out_whether_a_silence_is_over(
    fleet: Fleet, crowd_of: Callable[..., list[Reader]]
) -> None:
    readers = crowd_of(3, hours=2)
    fleet.sandbox.mood("outage")
    fleet.crowd(readers)
    fleet.settle()
    let_pass(seconds=29)
    fleet.crowd(readers, times=3)
    fleet.settle()
    assert fleet.asked() == 3, "no person is asked for twice in 30 s"
    GuildListVerification.objects.update(not_before=F("not_before") + timedelta(minutes=10))

    let_pass(seconds=2)
    for _ in range(2):
        fleet.crowd(readers, times=3)
        fleet.settle()
        assert fleet.asked() == 4, "one reader finds out, and no other within 5 s"
    let_pass(seconds=6)
    fleet.sandbox.mood()

    assert fleet.freshness_once_refreshed(readers) <= {"fresh", "stale"}
    assert fleet.freshness_once_refreshed(readers) == {"fresh"}


LIMITS = {"global": {"mode": "global_limit", "retry_after": 60}, "cloudflare": {"mode": "cloudflare_html"}}


@pytest.mark.parametrize("limit", LIMITS.values(), ids=LIMITS)
def test_g5_a_limit_that_one_process_meets_stops_them_all(
    fleet: Fleet, crowd_of: Callable[..., list[Reader]], limit: dict[str, Any]
) -> None:
    first, *others = crowd_of(7, hours=2)
    fleet.sandbox.mood(**limit)
    first.get(fleet[0])
    fleet.settle()
    assert fleet.asked() == 1

    fleet.sandbox.mood()
    replies = fleet.crowd(others, times=3)
    fleet.settle()

    assert {reply.status for reply in replies} == {200}
    assert {reply.freshness for reply in replies} == {"stale"}
    assert fleet.asked() == 1


def test_g5_token_refreshes_stop_at_the_gate_too(fleet: Fleet, crowd_of: Callable[..., list[Reader]]) -> None:
    first, second = crowd_of(2, hours=2)
    account = DiscordAccount.objects.get(user=second.user)
    account.extra_data = {**account.extra_data, "expires_at": 0}
    account.save()
    fleet.sandbox.mood("global_limit", retry_after=60)
    first.get(fleet[0])
    fleet.settle()

    second.get(fleet[1])
    fleet.settle()

    assert len(fleet.sandbox.requests("")) == 1


def test_g5_who_is_on_the_wire_when_the_gate_shuts_is_the_last(
    fleet: Fleet, crowd_of: Callable[..., list[Reader]]
) -> None:
    """Once all requests in flight have met a limit for all, no more are sent.

    They are too few for the brake, which would stop the next ones as well.
    """
    readers = crowd_of(BRAKE_SOFT - 1, hours=2)
    fleet.sandbox.mood("global_limit", retry_after=60, latency_ms=200)
    fleet.crowd(readers)
    fleet.settle()
    asked = fleet.asked()

    fleet.crowd(readers, times=2)
    let_pass(seconds=31)  # past each person's own pause, not past the gate
    fleet.crowd(readers)
    fleet.settle()

    assert fleet.asked() == asked


@pytest.mark.parametrize(
    "mood", [pytest.param(STALLED, marks=pytest.mark.thorough), {"mode": "outage"}], ids=["silent", "failing"]
)
def test_g6_one_probe_after_the_gate_was_shut(
    fleet: Fleet, crowd_of: Callable[..., list[Reader]], mood: dict[str, Any]
) -> None:
    """While Discord sends no usable response, there is one more request each time the probe's lease expires."""
    first, *others = crowd_of(7, hours=2)
    fleet.sandbox.mood("global_limit", retry_after=60)
    first.get(fleet[0])
    fleet.settle()
    fleet.sandbox.mood(**mood)
    let_pass(seconds=61)

    for probes in (1, 2):
        fleet.crowd(others)
        fleet.crowd(others)
        assert fleet.asked() == 1 + probes
        fleet.settle()
        let_pass(seconds=LEASE)


def test_g6_the_probe_that_is_answered_opens_the_gate(fleet: Fleet, crowd_of: Callable[..., list[Reader]]) -> None:
    first, *others = crowd_of(9, hours=2)
    fleet.sandbox.mood("global_limit", retry_after=60)
    first.get(fleet[0])
    fleet.settle()
    fleet.sandbox.mood()
    let_pass(seconds=61)

    assert others[0].get(fleet[1]).freshness == "fresh"
    assert DiscordGate.objects.get().streak == 0
    assert fleet.freshness_once_refreshed(others[1:]) == {"fresh"}


@pytest.mark.parametrize(
    "mood",
    [{"mode": "forbidden", "routes": ["/users/@me/guilds"]}, {"mode": "rate_limited", "retry_after": 30}],
    ids=["forbidden", "rate_limited"],
)
def test_g7_invalid_requests_stay_under_the_brake(
    fleet: Fleet, crowd_of: Callable[..., list[Reader]], join: Callable[..., Reader], mood: dict[str, Any]
) -> None:
    known = crowd_of(BRAKE_SOFT + 6, hours=2)
    new = [join(f"newcomer{number}") for number in range(BRAKE_HARD - BRAKE_SOFT + 6)]
    fleet.sandbox.mood(**mood)

    for index, reader in enumerate(known):
        reader.get(fleet[index % 3])
    fleet.settle()
    assert fleet.asked() == DiscordRefusal.objects.count() == BRAKE_SOFT

    replies = [reader.get(fleet[index % 3]) for index, reader in enumerate(new)]
    fleet.settle()
    assert fleet.asked() == DiscordRefusal.objects.count() == BRAKE_HARD
    braked = replies[-1]
    assert (braked.status, braked.json["reason"]) == (503, "brake")
    assert 500 < braked.retry_after <= 600

    fleet.sandbox.mood()
    let_pass(seconds=601)
    assert new[-1].get(fleet[0]).status == 200


@pytest.mark.parametrize("mood", ["unauthorized", "dead_refresh"])
def test_g8_a_dead_token_is_sent_twice_at_most(fleet: Fleet, join: Callable[..., Reader], mood: str) -> None:
    ada = join(hours=2)
    routes = {"routes": ["/users/@me/guilds"]} if mood == "unauthorized" else {}
    fleet.sandbox.mood(mood, **routes)
    if mood == "dead_refresh":
        expire_at_discord(fleet, ada)

    ada.get(fleet[0])
    fleet.settle()
    replies = fleet.crowd([ada], times=6)
    let_pass(hours=3)
    replies += fleet.crowd([ada], times=6)
    fleet.settle()

    assert {(reply.status, reply.json["reason"]) for reply in replies} == {(403, "reconnect_required")}
    assert fleet.asked() <= 2
    assert len(fleet.sandbox.requests("/oauth2/token")) == 1


def expire_at_discord(fleet: Fleet, reader: Reader) -> None:
    """Discord refuses the access token, but the refresh token still works."""
    account = DiscordAccount.objects.get(user=reader.user)
    account.extra_data = {**account.extra_data, "access_token": "x" * 30}
    account.save()


def test_g8_a_revoked_authorization_is_found_out_once(fleet: Fleet, join: Callable[..., Reader]) -> None:
    ada = join(hours=2)
    fleet.sandbox.revoke(ada.name)

    ada.get(fleet[0])
    fleet.settle()
    fleet.crowd([ada], times=6)

    assert len(fleet.sandbox.requests("/users/@me/guilds")) == 1
    assert len(fleet.sandbox.requests("/oauth2/token")) == 1
    assert DiscordAccount.objects.get(user=ada.user).disconnected_at is not None


def test_g11_one_persons_wait_delays_nobody_else(fleet: Fleet, crowd_of: Callable[..., list[Reader]]) -> None:
    limited, *others = crowd_of(7, hours=2)
    fleet.sandbox.mood("rate_limited", retry_after=300, people=[limited.name])

    assert limited.get(fleet[0]).json["reason"] == "rate_limited"
    assert fleet.freshness_once_refreshed(others) == {"fresh"}
    assert limited.get(fleet[0]).freshness == "stale"
    assert fleet.asked(limited) == 1


TOO_MANY = {
    "no headers and no body": {},
    "no number": {"headers": {"Retry-After": "soon"}},
    "negative": {"headers": {"Retry-After": "-5"}, "body": '{"retry_after": -5}'},
    "not finite": {"headers": {"Retry-After": "nan"}, "body": '{"retry_after": 1e999}'},
    "two values": {"headers": {"Retry-After": "1"}, "body": '{"message": "x", "retry_after": 120.5, "global": false}'},
    "a limit that is not used up": {"headers": {"X-RateLimit-Remaining": "99", "X-RateLimit-Reset-After": "-1"}},
}


@pytest.mark.parametrize("answer", TOO_MANY.values(), ids=TOO_MANY)
def test_g17_odd_headers_change_nothing_but_the_wait(
    fleet: Fleet, join: Callable[..., Reader], answer: dict[str, Any]
) -> None:
    ada = join(hours=2)
    with_via = {"Via": "1.1 google", "Content-Type": "application/json", **answer.get("headers", {})}
    fleet.sandbox.mood("raw", status=429, headers=with_via, body=answer.get("body", "{}"))

    reply = ada.get(fleet[0])
    fleet.settle()

    assert (reply.status, reply.freshness, reply.guilds) == (200, "stale", ["As it was"])
    assert 1 <= fleet.asked() <= 4
    row = ada.row
    assert row.reason == "rate_limited"
    assert row.not_before
    pause = row.not_before - database_now()
    assert timedelta(seconds=20) < pause < timedelta(minutes=3)
    assert {reply.status for reply in fleet.crowd([ada], times=6)} == {200}
    fleet.settle()
    let_pass(minutes=16)  # longer than any pause that Discord did not name
    fleet.sandbox.mood()
    assert ada.get(fleet[1]).freshness == "fresh"


def test_g17_a_list_with_contradictory_headers_is_a_list(fleet: Fleet, join: Callable[..., Reader]) -> None:
    ada = join(hours=2)
    odd = {
        "Content-Type": "application/json",
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Reset-After": "86400",
        "Retry-After": "86400",
    }
    fleet.sandbox.mood("raw", status=200, headers=odd, body="[]")

    reply = ada.get(fleet[0])

    assert (reply.freshness, reply.guilds) == ("fresh", [])
    assert ada.row.not_before is None
