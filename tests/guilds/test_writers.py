"""Concurrent writers, each with its own connection: none deadlocks and none finds a locked database."""

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from functools import partial
from uuid import uuid4

import pytest
from django.db import connection, connections
from django.db.models import F
from django.test.utils import CaptureQueriesContext

from accounts import gate, tokens
from accounts.clock import database_now
from accounts.discord import Guild, GuildPage
from accounts.limits import GateShut, Priority, Reason
from accounts.models import DiscordGate, User
from accounts.tokens import discord_client
from guilds import personal_data, services
from guilds.engine import freshness, refresh
from guilds.engine.refresh import Fenced, Verified
from guilds.engine.resource import Claim
from guilds.models import GuildListVerification, UserGuildMembership
from guilds.resources.guild_list import GUILD_LIST

WRITERS = 20
# SQLite grants its lock in no order, so on a busy machine one of the writers may wait long. A deadlock ends at once.
SQLITE_TIMEOUT = 60
SHARED = [
    Guild(id=number, name=f"Server {number}", icon=None, banner=None, owner=False, permissions=0, features=())
    for number in range(1, 31)
]


@pytest.fixture(autouse=True)
def _patient_writers(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    if connection.vendor == "sqlite":
        monkeypatch.setitem(connection.settings_dict["OPTIONS"], "timeout", SQLITE_TIMEOUT)


def people(count: int) -> list[int]:
    made = User.objects.bulk_create([User(username=f"writer {uuid4()}") for _ in range(count)])
    return [user.pk for user in made]


def claim(user_id: int) -> Claim[GuildListVerification] | None:
    """Claim one person's list, whatever its age; None if it is already claimed."""
    record, now = GUILD_LIST.read(user_id)
    decision = freshness.decide(record, now, GUILD_LIST.windows(), wanted_since=now)
    return refresh.claim(record, now, decision, discord_client()) if decision.claim else None


def store(claimed: Claim[GuildListVerification] | None, guilds: list[Guild]) -> bool:
    if claimed is None:
        return False
    with suppress(Fenced):
        refresh.store(claimed, Verified(GuildPage(tuple(guilds))), database_now())
        return True
    return False


def write(user_id: int, guilds: list[Guild]) -> bool:
    """Do what a job does, without the request to Discord; return whether the answer was stored."""
    return store(claim(user_id), guilds)


def at_once(jobs: list[Callable[[], object]]) -> list[object]:
    """The results of all jobs, by as many threads as may write; the first error is raised."""

    def run(job: Callable[[], object]) -> object:
        try:
            return job()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(WRITERS) as pool:
        return [future.result() for future in [pool.submit(run, job) for job in jobs]]


@pytest.mark.parametrize("count", [10, pytest.param(40, marks=pytest.mark.thorough)])
def test_lists_that_share_guilds_are_written_at_once_beside_purge_and_forget(count: int) -> None:
    """Each person's list ten times: a hundred writes, and four hundred."""
    chance = random.Random(1)
    staying, leaving, old = people(count), people(count // 2), people(count // 2)
    for user_id in old:
        write(user_id, SHARED[:3])
    GuildListVerification.objects.filter(pk__in=old).update(verified_at=F("verified_at") - timedelta(days=31))

    def some() -> list[Guild]:
        return chance.sample(SHARED, chance.randint(0, len(SHARED)))

    jobs: list[Callable[[], object]] = [partial(write, user_id, some()) for user_id in staying * 10]
    # Their answers are on the way while they leave.
    jobs += [partial(store, claim(user_id), some()) for user_id in leaving]
    jobs += [partial(personal_data.forget_user, user) for user in User.objects.filter(pk__in=leaving)]
    jobs += [personal_data.purge_memberships] * 5
    chance.shuffle(jobs)
    at_once(jobs)

    assert all(write(user_id, SHARED) for user_id in staying)
    memberships = UserGuildMembership.objects
    assert memberships.filter(user_id__in=staying).count() == len(staying) * len(SHARED)
    assert not memberships.filter(user_id__in=[*leaving, *old]).exists()
    assert not User.objects.filter(pk__in=leaving).exists()


def test_two_answers_for_one_person_never_mix() -> None:
    """The last writer wins completely: the rows equal one of the answers."""
    (ada,) = people(1)
    answers = [SHARED[:number] for number in range(1, 11)]

    stored = at_once([partial(write, ada, answer) for answer in answers * 20])

    held = [row.guild_id for row in UserGuildMembership.objects.filter(user_id=ada)]
    assert held in [[guild.id for guild in answer] for answer in answers]
    assert any(stored)


@pytest.mark.parametrize("count", [2 * WRITERS, pytest.param(10 * WRITERS, marks=pytest.mark.thorough)])
def test_twenty_writers_within_the_send_budget_find_no_locked_database(count: int) -> None:
    """Each takes a claim, a place in the send budget and the lock of its list."""
    gate.read()
    users = people(count)

    def attempt(user_id: int) -> bool:
        claimed = claim(user_id)
        with suppress(GateShut):  # there may be no place left in this second
            gate.gated(discord_client(), Priority.COLD).before_send("GET /users/@me/guilds")
        return store(claimed, SHARED)

    assert all(at_once([partial(attempt, user_id) for user_id in users]))
    assert UserGuildMembership.objects.count() == len(users) * len(SHARED)
    assert DiscordGate.objects.get().tat


def test_a_refresh_writes_four_times_and_once_if_nothing_changed() -> None:
    (ada,) = people(1)
    write(ada, SHARED[:20])

    def writes(guilds: list[Guild]) -> list[str]:
        claimed = claim(ada)
        with CaptureQueriesContext(connection) as queries:
            assert store(claimed, guilds)
        words = [query["sql"].split()[0] for query in queries.captured_queries]
        return [word for word in words if word in ("INSERT", "UPDATE", "DELETE")]

    assert writes(SHARED[5:]) == ["UPDATE", "INSERT", "DELETE", "UPDATE"]
    assert writes(SHARED[5:]) == ["UPDATE"]


def test_a_lease_runs_from_the_claim_though_the_process_was_stopped_after_reading() -> None:
    (ada,) = people(1)
    record, now = GUILD_LIST.read(ada)
    long_ago = now - timedelta(minutes=1)

    assert refresh.claim(record, long_ago, freshness.decide(record, now, GUILD_LIST.windows()), discord_client())

    lease_until = GuildListVerification.objects.get(pk=ada).lease_until
    assert lease_until
    assert lease_until >= now + GUILD_LIST.windows().lease


def test_whoever_is_forgotten_while_they_read_has_to_sign_in_again() -> None:
    (ada,) = people(1)
    user = User.objects.get(pk=ada)
    personal_data.forget_user(user)

    with pytest.raises(services.NoAnswer, match="reconnect_required"):
        services.get_guild_list(user)
    assert not GuildListVerification.objects.exists()


def test_an_attempt_that_is_stopped_on_its_retry_counts_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """It met Discord, and the next one waits as long as after any failure."""
    (ada,) = people(1)
    claimed = claim(ada)
    assert claimed
    stopped = GateShut(Reason.BUSY, database_now() + timedelta(seconds=1), database_now())
    stopped.sent = True

    def meet_the_gate(*_: object) -> None:
        raise stopped

    monkeypatch.setattr(tokens, "call", meet_the_gate)
    refresh.run(claimed, discord_client())

    row = GuildListVerification.objects.get(pk=ada)
    assert row.not_before
    assert (row.failure_streak, row.not_before > database_now() + timedelta(seconds=25)) == (1, True)
