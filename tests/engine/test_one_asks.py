"""Only one process sends requests for a list, whatever happens to it: G1, G3, G4, G12, G16, G19."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import cycle, islice

import pytest

from accounts import tokens
from accounts.clock import database_now
from accounts.discord import Tokens
from accounts.models import DiscordAccount, DiscordRefusal
from bench.sites import Site, start_all, stop_all
from guilds import personal_data, services
from guilds.models import GuildListVerification, UserGuildMembership
from tests.engine.conftest import (
    BUDGET,
    LEASE,
    PROCESSES,
    STALLED,
    Fleet,
    Reader,
    eventually,
    finish,
    freeze,
    hold,
    jobs,
    send,
)
from tests.fixtures import Sandbox, let_pass


def test_g1_many_cold_readers_of_one_person_cost_one_request(fleet: Fleet, join: Callable[..., Reader]) -> None:
    """In all processes together. Readers that find no free thread to wait are told to retry, and get the same list."""
    ada = join()
    fleet.sandbox.mood(latency_ms=500)

    first = fleet.crowd([ada], times=60)
    told_to_come_back = [reply for reply in first if reply.status == 503]
    again = fleet.crowd([ada], times=max(len(told_to_come_back), 1))

    assert {reply.status for reply in first} <= {200, 503}
    assert all(reply.retry_after >= 1 for reply in told_to_come_back)
    assert {reply.status for reply in again} == {200}
    lists = {tuple(reply.guilds) for reply in first + again if reply.status == 200}
    assert len(lists) == 1
    assert fleet.asked() == 1


def test_g1_as_many_requests_as_people_however_many_read(fleet: Fleet, crowd_of: Callable[..., list[Reader]]) -> None:
    readers = crowd_of(6)
    fleet.sandbox.mood(latency_ms=300)

    fleet.crowd(readers, times=3)

    assert [fleet.asked(reader) for reader in readers] == [1] * len(readers)


def test_g3_a_killed_refresh_is_taken_over_when_its_lease_ends(
    fleet: Fleet, crowd_of: Callable[..., list[Reader]]
) -> None:
    """By a process that lived on, or by one that was started after all were killed."""
    ada, grace = crowd_of(2, hours=2)
    fleet.sandbox.mood(**STALLED)
    assert ada.get(fleet[0]).freshness == "stale"
    assert fleet.asked() == 1

    fleet[0].kill()
    fleet.sandbox.mood()
    while_leased = [ada.get(site) for site in fleet.sites[1:] for _ in range(5)]

    assert {(reply.status, reply.freshness) for reply in while_leased} == {(200, "stale")}
    assert {reply.json["reason"] for reply in while_leased} == {"in_progress"}
    assert fleet.asked() == 1, "its lease is exclusive until it ends"

    let_pass(seconds=LEASE)
    after = ada.get(fleet[1])

    assert (after.status, after.freshness) == (200, "fresh")
    assert fleet.asked() == 2

    fleet.sandbox.mood(**STALLED)
    grace.get(fleet[1])
    for site in fleet.sites[1:]:
        site.kill()
    fleet.sandbox.mood()
    killed = time.monotonic()
    start_all(fleet.sites[:2])
    let_pass(seconds=killed - time.monotonic())  # A slow start must not end the lease.

    assert grace.get(fleet[1]).freshness == "stale"
    assert fleet.asked(grace) == 1
    let_pass(seconds=LEASE)
    assert grace.get(fleet[0]).freshness == "fresh"
    assert fleet.asked(grace) == 2


def frozen_with_an_old_answer(fleet: Fleet, reader: Reader) -> Site:
    """A process that is frozen after Discord has responded, before it could read the response."""
    site = fleet[0]
    hold(site)
    assert reader.get(site).freshness == "stale"
    assert fleet.asked() == 1
    eventually(lambda: fleet.on_the_wire() == 0, "the sandbox has answered")
    freeze(site)
    return site


def test_g4_the_answer_to_a_frozen_process_is_dropped_after_a_takeover(
    fleet: Fleet, join: Callable[..., Reader]
) -> None:
    ada = join(hours=2)
    frozen = frozen_with_an_old_answer(fleet, ada)
    let_pass(seconds=LEASE)
    fleet.sandbox.person(ada.name, guilds=[{"name": "Newer"}])
    # On a busy machine, the first read may end before Discord's response is stored.
    eventually(lambda: ada.get(fleet[1]).guilds == ["Newer"], "another process takes over")

    before = ada.row
    frozen.thaw()
    finish(frozen)

    assert ada.stored == ["Newer"]
    assert (ada.row.generation, ada.row.version) == (before.generation, before.version)
    assert ada.get(fleet[2]).guilds == ["Newer"]
    assert fleet.asked() == 2


def relink(reader: Reader, sandbox: Sandbox) -> None:
    account = DiscordAccount.objects.get(user=reader.user)
    tokens.store_sign_in(account, Tokens.from_json(sandbox.token(reader.name)))
    services.relink(reader.user.pk)


def test_g4_an_answer_to_older_tokens_is_dropped_after_a_new_sign_in(fleet: Fleet, join: Callable[..., Reader]) -> None:
    ada = join(hours=2)
    frozen = frozen_with_an_old_answer(fleet, ada)

    relink(ada, fleet.sandbox)
    frozen.thaw()
    finish(frozen)

    assert ada.stored == ["As it was"]
    assert ada.row.lease_until is None


def test_g4_an_answer_is_dropped_after_the_account_was_disconnected(fleet: Fleet, join: Callable[..., Reader]) -> None:
    """The disconnect comes from another process, whose tokens Discord refused."""
    ada = join(hours=2)
    frozen = frozen_with_an_old_answer(fleet, ada)
    let_pass(seconds=LEASE)
    fleet.sandbox.revoke(ada.name)
    assert ada.get(fleet[1]).json["reason"] == "reconnect_required"

    frozen.thaw()
    finish(frozen)

    assert ada.stored == ["As it was"]
    assert ada.get(fleet[2]).json["reason"] == "reconnect_required"


def test_g4_an_answer_about_somebody_forgotten_is_dropped(fleet: Fleet, join: Callable[..., Reader]) -> None:
    ada = join(hours=2)
    frozen = frozen_with_an_old_answer(fleet, ada)

    personal_data.forget_user(ada.user)
    frozen.thaw()
    finish(frozen)

    assert not GuildListVerification.objects.exists()
    assert not UserGuildMembership.objects.exists()


def test_g4_a_frozen_process_that_finds_its_claim_lost_sends_no_more(fleet: Fleet, join: Callable[..., Reader]) -> None:
    """The attempt was waiting to retry after a 429."""
    ada = join(hours=2)
    fleet.sandbox.mood("rate_limited", retry_after=1)
    ada.get(fleet[0])
    eventually(DiscordRefusal.objects.exists, "the 429 is counted")
    assert jobs(fleet[0]) == 1
    freeze(fleet[0])
    fleet.sandbox.mood()
    let_pass(seconds=LEASE)
    assert ada.get(fleet[1]).freshness == "fresh"
    asked = fleet.asked()

    fleet[0].thaw()
    finish(fleet[0])

    assert fleet.asked() == asked
    assert ada.row.reason == ""


def test_g12_a_restart_forgets_no_wait(fleet: Fleet, crowd_of: Callable[..., list[Reader]]) -> None:
    """The process that alone was told has ended, and one that was started since then knows it."""
    readers = crowd_of(4, hours=2)
    fleet.sandbox.mood("rate_limited", retry_after=300)
    for reader in readers:
        reader.get(fleet[0])
    fleet.settle()
    asked = fleet.asked()
    assert asked == len(readers)

    fleet[0].stop()
    fleet.sandbox.mood()
    start_all(fleet.sites[:1])
    replies = [reader.get(site) for site in fleet.sites for reader in readers]

    assert {(reply.status, reply.json["reason"]) for reply in replies} == {(200, "rate_limited")}
    assert fleet.asked() == asked
    let_pass(seconds=301)
    assert fleet.freshness_once_refreshed(readers) == {"fresh"}
    assert fleet.asked() == 2 * asked


def calls_at_once(fleet: Fleet, reader: Reader, count: int) -> list[str]:
    """Return the results of `count` calls with the person's token, from all processes, without the list's lease."""

    def call(site: Site) -> str:
        return send(site, f"/_call?{reader.user.pk}").text

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(call, islice(cycle(fleet.sites), count)))


def test_g19_a_refresh_token_is_sent_once_for_all_calls_of_a_person(fleet: Fleet, join: Callable[..., Reader]) -> None:
    ada = join()
    account = DiscordAccount.objects.get(user=ada.user)
    account.extra_data = {**account.extra_data, "expires_at": 0}
    account.save()
    fleet.sandbox.mood(latency_ms=500)

    outcomes = calls_at_once(fleet, ada, 5)

    assert outcomes == ["2"] * 5
    assert len(fleet.sandbox.requests("/oauth2/token")) == 1
    renewed = DiscordAccount.objects.get(user=ada.user)
    assert (renewed.token_version, renewed.renewal_until) == (account.token_version + 1, None)


def test_g19_calls_with_a_revoked_token_find_it_out_with_one_exchange(
    fleet: Fleet, join: Callable[..., Reader]
) -> None:
    """Each running call sends the refused access token once, and later calls don't send it."""
    ada = join()
    fleet.sandbox.revoke(ada.name)
    fleet.sandbox.mood(latency_ms=500)

    outcomes = calls_at_once(fleet, ada, 5)
    asked = fleet.asked()
    later = calls_at_once(fleet, ada, 5)

    assert set(outcomes + later) == {"ReconnectRequired"}
    assert len(fleet.sandbox.requests("/oauth2/token")) == 1
    assert asked <= 5
    assert fleet.asked() == asked
    assert DiscordAccount.objects.get(user=ada.user).renewal_until is None


@pytest.fixture(scope="module")
def with_wrong_clocks(new_site: Callable[..., Site]) -> Iterator[list[Site]]:
    sites = [new_site("ahead", CLOCK_SKEW_SECONDS="300"), new_site("behind", CLOCK_SKEW_SECONDS="-300")]
    try:
        start_all(sites)
        yield sites
    finally:
        stop_all(sites)


@pytest.fixture
def ahead_and_behind(fleet: Fleet, with_wrong_clocks: list[Site]) -> list[Site]:
    """Two processes whose clocks are five minutes wrong, in either direction."""
    fleet.sites += with_wrong_clocks
    return with_wrong_clocks


def test_g16_wrong_clocks_ask_no_earlier_lease_nothing_twice_and_know_the_age(
    fleet: Fleet, ahead_and_behind: list[Site], crowd_of: Callable[..., list[Reader]]
) -> None:
    fresh, limited, stale = crowd_of(3, minutes=120)
    now = database_now()
    rows = GuildListVerification.objects
    rows.filter(user=fresh.user).update(
        verified_at=now - timedelta(minutes=44), refresh_after=now + timedelta(minutes=4)
    )
    fleet.sandbox.mood("rate_limited", retry_after=240, people=[limited.name])

    for site in ahead_and_behind:
        reply = fresh.get(site)
        assert (reply.freshness, int(reply.headers["Age"]) // 60) == ("fresh", 44)
    for site in ahead_and_behind:
        assert limited.get(site).json["reason"] == "rate_limited"
        let_pass(seconds=220)
        assert limited.get(site).json["reason"] == "rate_limited"
        let_pass(seconds=21)
    assert stale.get(ahead_and_behind[0]).freshness == "fresh"
    assert abs(stale.row.verified_at - database_now()) < timedelta(minutes=1)
    assert stale.get(ahead_and_behind[1]).freshness == "fresh"
    assert (fleet.asked(fresh), fleet.asked(limited), fleet.asked(stale)) == (0, 2, 1)


def test_g3_a_lease_holds_whatever_the_clocks_say(
    fleet: Fleet, ahead_and_behind: list[Site], join: Callable[..., Reader]
) -> None:
    ada = join(hours=2)
    hold(fleet[0])
    assert ada.get(fleet[0]).freshness == "stale"

    assert {ada.get(site).json["reason"] for site in ahead_and_behind} == {"in_progress"}
    assert fleet.asked() == 1


def test_the_lease_outlives_the_attempt_that_it_covers() -> None:
    """The processes that these tests start run this code; otherwise they would test another engine."""
    assert LEASE > BUDGET
    assert PROCESSES >= 3
