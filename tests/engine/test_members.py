"""What people are in a server, kept for all processes under Discord's limit for a person: R1 to R12, R14, R15."""

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from itertools import product
from typing import Any

import pytest
import requests
from django.test import Client

from accounts import tokens
from accounts.clock import database_now
from accounts.discord import Tokens
from accounts.models import DiscordAccount, DiscordAllowance, User
from bench import member_urls
from bench.hit import MAX_QUERIES, MAX_ROLE_QUERIES
from bench.sites import Site
from guilds import personal_data, services
from guilds.models import BotGuild, GuildListVerification, GuildMember
from sandbox.remote import BOT_MEMBER, MEMBER
from tests.engine.conftest import BUDGET, LEASE, Fleet, Reader, Reply, eventually, finish, freeze, hold
from tests.fixtures import Sandbox, let_pass

SCOPES = ("identify", "guilds", "guilds.members.read")
# Roles that a member had when the site asked last, has at Discord, and is given later.
OLD, STAFF, NEWER = 66, 77, 88
# Discord allows this many member requests in 300 s. The site's own window is longer by an attempt's budget.
ALLOWED, WINDOW = 5, 300 + BUDGET

# The columns about the last attempt.
WAIT = ("reason", "not_before", "failure_streak")

JoinMember = Callable[..., tuple[Reader, list[int]]]


@pytest.fixture
def join_member(
    sandbox: Sandbox, sign_up: Callable[..., User], client_of: Callable[[User], Client], fleet: Fleet
) -> JoinMember:
    """Create a signed-in person with a fresh list of servers, where they are staff, and return their servers too.

    With an age, what they are in each was stored that long ago, with another role.
    """

    def join_member(
        name: str = "ada", servers: int = 1, scopes: Sequence[str] = SCOPES, **age: float
    ) -> tuple[Reader, list[int]]:
        first = 1000 * (User.objects.count() + 1)
        guild_ids = list(range(first, first + servers))
        sandbox.person(name, guilds=[{"id": str(guild_id), "name": f"Server {guild_id}"} for guild_id in guild_ids])
        for guild_id in guild_ids:
            roles = [{"id": str(role), "name": f"Role {role}"} for role in (OLD, STAFF, NEWER)]
            sandbox.roles(guild_id, *roles)
            sandbox.member(name, guild_id, roles=[str(STAFF)])
        user = sign_up(name, scopes=tuple(scopes))
        services.get_guild_list(user)
        if age:
            store(user, guild_ids, **age)
        sandbox.forget_requests()
        return Reader(user, name, client_of(user).cookies["guildhall_session"].value), guild_ids

    return join_member


def store(user: User, guild_ids: Sequence[int], roles: Sequence[int] = (OLD,), **age: float) -> None:
    """Store that the person had these roles, by default an old one, in these servers so long ago."""
    verified_at = database_now() - timedelta(**age)
    due = verified_at + timedelta(minutes=48)
    GuildMember.objects.bulk_create(
        GuildMember(
            user=user, guild_id=guild_id, is_member=True, roles=list(roles), verified_at=verified_at, refresh_after=due
        )
        for guild_id in guild_ids
    )


def row_of(reader: Reader, guild_id: int) -> GuildMember:
    return GuildMember.objects.get(user=reader.user, guild_id=guild_id)


def columns(member: GuildMember) -> dict[str, Any]:
    return {field.attname: getattr(member, field.attname) for field in GuildMember._meta.concrete_fields}


def asked(fleet: Fleet, route: str = MEMBER, **only: Any) -> int:
    return len(fleet.sandbox.requests("", route=route, **only))


def statuses(fleet: Fleet) -> set[int]:
    """The statuses with which Discord has responded."""
    return {request["status"] for request in fleet.sandbox.requests("")}


def once_refreshed(fleet: Fleet, reader: Reader, guild_id: int) -> Reply:
    """Return what the person gets after the refresh that they caused has ended, however long that took."""
    reader.member(fleet[1], guild_id)
    fleet.settle()
    return reader.member(fleet[1], guild_id)


def relink(reader: Reader, sandbox: Sandbox) -> None:
    account = DiscordAccount.objects.get(user=reader.user)
    tokens.store_sign_in(account, Tokens.from_json(sandbox.token(reader.name, *SCOPES)))
    services.relink(reader.user.pk)


def list_again(reader: Reader) -> None:
    let_pass(seconds=5)
    assert services.verify_again(reader.user).age < timedelta(seconds=5)


def test_r1_fifty_readers_of_one_cold_member_cost_one_request(fleet: Fleet, join_member: JoinMember) -> None:
    ada, (guild_id,) = join_member()
    fleet.sandbox.mood(latency_ms=500)

    replies = fleet.members([(ada, guild_id)] * 50)
    told_to_come_back = sum(reply.status == 503 for reply in replies)
    replies += fleet.members([(ada, guild_id)] * max(told_to_come_back, 1))

    served = [reply for reply in replies if reply.status == 200]
    assert len(served) == len(replies) - told_to_come_back
    assert {(tuple(reply.json["roles"]), reply.freshness) for reply in served} == {((STAFF,), "fresh")}
    assert asked(fleet) == 1


def test_r2_the_sixth_server_in_a_window_waits_and_is_told_how_long(fleet: Fleet, join_member: JoinMember) -> None:
    ada, guild_ids = join_member(servers=6)

    replies = fleet.members((ada, guild_id) for guild_id in guild_ids)
    ((waits, told),) = [
        (guild_id, reply) for guild_id, reply in zip(guild_ids, replies, strict=True) if reply.status != 200
    ]

    assert Counter(reply.status for reply in replies) == {200: ALLOWED, 429: 1}
    assert told.json["reason"] == "rate_limited"
    # The reader who was told may have begun before the window did.
    assert abs(told.retry_after - WINDOW) < 30
    for site in fleet.sites:
        let_pass(seconds=60)
        again = ada.member(site, waits)
        assert again.status == 429
        assert abs(again.retry_after - (allowance_ends() - database_now()).total_seconds()) <= 2
    assert asked(fleet) == ALLOWED
    assert statuses(fleet) == {200}, "Discord was never asked too often"

    # The sandbox's own window goes on.
    fleet.sandbox.limits(members_per_300_seconds=None)
    let_pass(seconds=again.retry_after)
    assert ada.member(fleet[0], waits).json["roles"] == [STAFF]


def allowance_ends() -> datetime:
    end = DiscordAllowance.objects.get().window_ends_at
    assert end
    return end


def test_r2_stale_members_leave_the_last_request_to_a_cold_one(fleet: Fleet, join_member: JoinMember) -> None:
    ada, guild_ids = join_member(servers=7)
    *stale, cold = guild_ids
    store(ada.user, stale, hours=2)

    replies = [ada.member(fleet[number % 3], guild_id) for number, guild_id in enumerate(stale)]
    new = ada.member(fleet[0], cold)

    fresh, served = replies[: ALLOWED - 1], replies[ALLOWED - 1 :]
    assert {(reply.freshness, *reply.json["roles"]) for reply in fresh} == {("fresh", STAFF)}
    assert {(reply.freshness, reply.json["reason"], *reply.json["roles"]) for reply in served} == {
        ("stale", "rate_limited", OLD)
    }
    assert {datetime.fromisoformat(reply.json["next_attempt_at"]) for reply in served} == {_seen(allowance_ends())}
    assert new.json["roles"] == [STAFF]
    assert asked(fleet) == ALLOWED
    assert statuses(fleet) == {200}


def _seen(moment: datetime) -> datetime:
    """The moment as JSON shows it."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def test_r3_a_wait_named_for_one_server_holds_for_all_of_that_person(fleet: Fleet, join_member: JoinMember) -> None:
    ada, guild_ids = join_member(servers=4)
    grace, (other,) = join_member("grace")
    fleet.sandbox.mood("rate_limited", retry_after=90, routes=[MEMBER], people=["ada"])
    assert ada.member(fleet[0], guild_ids[0]).status == 429
    fleet.sandbox.mood()
    sent = asked(fleet)

    replies = fleet.members((ada, guild_id) for guild_id in guild_ids[1:])

    assert {(reply.status, reply.json["reason"]) for reply in replies} == {(429, "rate_limited")}
    assert all(80 < reply.retry_after <= 91 for reply in replies)
    assert asked(fleet) == sent
    assert grace.member(fleet[0], other).json["roles"] == [STAFF]
    GuildListVerification.objects.update(verified_at=database_now() - timedelta(hours=2), refresh_after=None)
    assert fleet.freshness_once_refreshed([ada]) == {"fresh"}, "the list has a limit of its own"
    let_pass(seconds=91)
    assert ada.member(fleet[2], guild_ids[1]).json["roles"] == [STAFF]


def test_r4_a_role_that_was_taken_away_is_gone_in_every_process(fleet: Fleet, join_member: JoinMember) -> None:
    ada, (guild_id,) = join_member()
    assert [ada.member(site, guild_id).json["roles"] for site in fleet.sites] == [[STAFF]] * 3
    fleet.sandbox.member(ada.name, guild_id, roles=[])
    let_pass(minutes=61)

    assert once_refreshed(fleet, ada, guild_id).json["roles"] == []
    assert [ada.member(site, guild_id).json["roles"] for site in fleet.sites] == [[]] * 3

    assert asked(fleet) == 2


def test_r5_a_late_answer_is_dropped(fleet: Fleet, join_member: JoinMember) -> None:
    """A process is frozen with answers for four people, which it could not read yet. Something newer happens to each.

    What it then reads is that all are staff, and nothing that is stored says so.
    """
    people = {name: join_member(name, hours=2) for name in ("taken_over", "signed_in", "left", "forgotten")}
    frozen = fleet[0]
    hold(frozen)
    with ThreadPoolExecutor(len(people)) as pool:
        replies = list(pool.map(lambda one: one[0].member(frozen, one[1][0]), people.values()))
    assert {(reply.freshness, *reply.json["roles"]) for reply in replies} == {("stale", OLD)}
    assert asked(fleet) == len(people)
    eventually(lambda: asked(fleet, status=None) == 0, "the sandbox has answered")
    freeze(frozen)

    let_pass(seconds=LEASE)
    taken_over, (guild_id,) = people["taken_over"]
    fleet.sandbox.member(taken_over.name, guild_id, roles=[str(NEWER)])
    assert taken_over.member(fleet[1], guild_id).json["roles"] == [NEWER]
    relink(people["signed_in"][0], fleet.sandbox)
    fleet.sandbox.person("left", count=0)
    list_again(people["left"][0])
    personal_data.forget_user(people["forgotten"][0].user)
    frozen.thaw()
    finish(frozen)

    stored = {member.user.username: (member.is_member, *member.roles) for member in GuildMember.objects.all()}
    assert stored == {
        taken_over.user.username: (True, NEWER),
        people["signed_in"][0].user.username: (True, OLD),
        people["left"][0].user.username: (False,),
    }
    assert not GuildMember.objects.exclude(lease_until=None).exists()


def test_r6_the_list_decides_at_once_and_a_return_is_asked_about(fleet: Fleet, join_member: JoinMember) -> None:
    ada, (guild_id,) = join_member()
    assert ada.member(fleet[0], guild_id).json["roles"] == [STAFF]
    there = fleet.sandbox.call("GET", "people/ada")["guilds"]
    fleet.sandbox.person("ada", guilds=[])
    list_again(ada)

    replies = [ada.member(site, guild_id) for site in fleet.sites]

    assert [(reply.json["is_member"], reply.json["roles"]) for reply in replies] == [(False, [])] * 3
    assert asked(fleet) == 1
    fleet.sandbox.person("ada", guilds=there)
    fleet.sandbox.member(ada.name, guild_id, roles=[str(NEWER)])
    list_again(ada)
    assert [ada.member(site, guild_id).json["roles"] for site in fleet.sites] == [[NEWER]] * 3
    assert asked(fleet) == 2


def test_r7_the_bot_spares_the_person_and_a_bot_that_is_gone_does_not_deny(
    fleet: Fleet, join_member: JoinMember
) -> None:
    ada, guild_ids = join_member(servers=7)
    now = database_now()
    for guild_id in guild_ids:
        fleet.sandbox.bot(guild_id, 8)
        BotGuild.objects.create(id=guild_id, name="Chess", first_seen_at=now, verified_at=now)

    replies = fleet.members((ada, guild_id) for guild_id in guild_ids)

    assert {(reply.status, *reply.json["roles"]) for reply in replies} == {(200, STAFF)}
    assert (asked(fleet), asked(fleet, BOT_MEMBER)) == (0, len(guild_ids))
    fleet.sandbox.bot(guild_ids[0], None)
    fleet.sandbox.member(ada.name, guild_ids[0], roles=[str(NEWER)])
    let_pass(minutes=61)
    assert once_refreshed(fleet, ada, guild_ids[0]).json["roles"] == [NEWER]
    assert (asked(fleet), asked(fleet, BOT_MEMBER)) == (1, len(guild_ids) + 1)


def test_r8_a_refresh_token_is_sent_once_for_all_members_of_a_person(fleet: Fleet, join_member: JoinMember) -> None:
    ada, guild_ids = join_member(servers=ALLOWED)
    account = DiscordAccount.objects.get(user=ada.user)
    account.extra_data = {**account.extra_data, "expires_at": 0}
    account.save()
    fleet.sandbox.mood(latency_ms=500)

    replies = fleet.members((ada, guild_id) for guild_id in guild_ids)

    assert {(reply.status, *reply.json.get("roles", ())) for reply in replies} == {(200, STAFF)}
    assert len(fleet.sandbox.requests("/oauth2/token")) == 1


def test_r9_without_the_scope_nothing_is_sent_until_it_is_granted(fleet: Fleet, join_member: JoinMember) -> None:
    ada, (guild_id,) = join_member(scopes=("identify", "guilds"))

    replies = fleet.members([(ada, guild_id)] * 6)

    assert {(reply.status, reply.json["reason"]) for reply in replies} == {(403, "missing_scope")}
    assert fleet.sandbox.requests("") == []
    relink(ada, fleet.sandbox)
    assert ada.member(fleet[0], guild_id).json["roles"] == [STAFF]


@pytest.mark.parametrize("mood", [{}, {"mode": "rate_limited", "retry_after": 90}], ids=["answered", "limited"])
def test_r10_of_somebody_forgotten_nothing_is_left(fleet: Fleet, join_member: JoinMember, mood: dict[str, Any]) -> None:
    """Not even what Discord says about them afterwards."""
    ada, (guild_id,) = join_member()
    fleet.sandbox.mood(**mood)
    hold(fleet[0])
    with ThreadPoolExecutor(1) as pool:
        reader: Any = pool.submit(ada.member, fleet[0], guild_id)
        eventually(lambda: asked(fleet) == 1, "the request has been sent")
        assert DiscordAllowance.objects.get().owner == ada.user.pk

        personal_data.forget_user(ada.user)
        fleet[0].thaw()
        reply: Reply = reader.result()
    fleet.settle()

    assert reply.status in (401, 403)
    assert asked(fleet) == 1
    assert not GuildMember.objects.exists()
    assert not DiscordAllowance.objects.exists()


def test_r11_nobody_waits_for_somebody_elses_answer(fleet: Fleet, join_member: JoinMember) -> None:
    """Not even in the same process: all four requests are sent before a response is read."""
    people = [join_member(f"person{number}") for number in range(4)]
    hold(fleet[0])

    with ThreadPoolExecutor(len(people)) as pool:
        readers = [pool.submit(reader.member, fleet[0], guild_id) for reader, (guild_id,) in people]
        eventually(lambda: asked(fleet) == len(people), "all have been sent")
        fleet[0].thaw()
        replies = [reader.result() for reader in readers]

    assert {reply.status for reply in replies} == {200}
    assert asked(fleet) == len(people)


def report(reader: Reader, site: Site, token: str, guild_id: int, role: int, at: datetime) -> None:
    """Report as the bot that the person's roles in the server were replaced."""
    member = {"roles": [str(role)], "nick": None, "joined_at": None, "pending": False}
    event = {"type": "GUILD_MEMBER_UPDATE", "at": at.isoformat(), "guild_id": str(guild_id), "member": member}
    response = requests.post(
        f"{site.url}/api/v1/bot/events/",
        json={"events": [{**event, "user_id": str(reader.user.discord_id)}]},
        headers={"Authorization": f"Bearer {token}"},
        timeout=30,
    )
    assert response.status_code == 204, response.text


def test_r12_news_ends_no_wait(fleet: Fleet, join_member: JoinMember, service_token: Callable[..., str]) -> None:
    ada, (guild_id,) = join_member(hours=2)
    fleet.sandbox.mood("rate_limited", retry_after=3 * 3600, routes=[MEMBER])
    ada.member(fleet[0], guild_id)
    fleet.settle()
    fleet.sandbox.mood()
    limited = row_of(ada, guild_id)
    assert (limited.roles, limited.reason, limited.failure_streak) == ([OLD], "rate_limited", 1)

    report(ada, fleet[1], service_token("bot:events"), guild_id, NEWER, database_now())

    pushed = row_of(ada, guild_id)
    assert pushed.roles == [NEWER]
    assert [getattr(pushed, name) for name in WAIT] == [getattr(limited, name) for name in WAIT]
    replies = [ada.member(site, guild_id) for site in fleet.sites]
    assert {(reply.freshness, *reply.json["roles"]) for reply in replies} == {("fresh", NEWER)}
    let_pass(minutes=61)
    stale = [ada.member(site, guild_id) for site in fleet.sites]
    assert {(reply.freshness, reply.json["reason"], *reply.json["roles"]) for reply in stale} == {
        ("stale", "rate_limited", NEWER)
    }
    assert asked(fleet) == 1


def test_r12_news_older_than_the_stored_answer_changes_nothing(
    fleet: Fleet, join_member: JoinMember, service_token: Callable[..., str]
) -> None:
    ada, (guild_id,) = join_member(minutes=10)
    before = columns(row_of(ada, guild_id))

    older = database_now() - timedelta(minutes=11)
    report(ada, fleet[1], service_token("bot:events"), guild_id, STAFF, older)

    assert columns(row_of(ada, guild_id)) == before
    assert [ada.member(site, guild_id).json["roles"] for site in fleet.sites] == [[OLD]] * 3


def test_r14_a_fresh_list_costs_the_query_that_loads_the_session_and_a_role_one_more(
    fleet: Fleet, join_member: JoinMember
) -> None:
    ada, (guild_id,) = join_member()
    store(ada.user, [guild_id], roles=[member_urls.STAFF], minutes=10)
    fleet.sandbox.forget_requests()
    pages = {"/api/v1/guilds/": 0, f"/_guild/{guild_id}/": 0, f"/_role/{guild_id}/": MAX_ROLE_QUERIES}

    for site, path in product(fleet.sites, pages):
        # The first may note when the list was last read.
        first, again = ada.get(site, path), ada.get(site, path)
        assert (first.status, again.status) == (200, 200)
        assert int(again.headers["X-Queries"]) == MAX_QUERIES + pages[path], path

    assert fleet.sandbox.requests("") == []


def test_r15_a_dead_token_is_found_out_once_and_no_lease_stays(fleet: Fleet, join_member: JoinMember) -> None:
    ada, guild_ids = join_member(servers=ALLOWED)
    fleet.sandbox.revoke(ada.name)
    fleet.sandbox.mood(latency_ms=500)

    replies = fleet.members((ada, guild_id) for guild_id in guild_ids)
    fleet.settle()
    sent = len(fleet.sandbox.requests("/member"))
    later = [ada.member(site, guild_id) for site, guild_id in product(fleet.sites, guild_ids[:2])]

    assert {(reply.status, reply.json["reason"]) for reply in replies + later} == {(403, "reconnect_required")}
    assert 1 <= sent <= len(guild_ids)
    assert len(fleet.sandbox.requests("/member")) == sent
    assert len(fleet.sandbox.requests("/oauth2/token")) == 1
    assert not GuildMember.objects.exclude(lease_until=None).exists()
    assert DiscordAccount.objects.get(user=ada.user).renewal_until is None
