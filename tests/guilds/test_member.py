"""What a reader gets of a member in each cell of the table, with the real engine, real threads and the sandbox.

Rows: the stored answer. Columns: no limit, Discord limits, doesn't respond, refuses the token. Each is tested for both
sources: the bot's token and the person's.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import pytest
from django.conf import settings as django_settings
from pytest_django import DjangoAssertNumQueries, Settings

from accounts import allowance, gate, tokens
from accounts.clock import database_now
from accounts.limits import Priority
from accounts.models import DiscordAccount, DiscordAllowance, User
from accounts.tokens import discord_client
from guilds import services
from guilds.engine.freshness import Reason
from guilds.models import BotGuild, GuildMember
from guilds.services import GuildMembership, NoAnswer, get_member
from tests.fixtures import Sandbox, let_pass, store_list, threading_join
from tests.guilds.rows import sync_bot_guilds

SCOPES = ("identify", "guilds", "guilds.members.read")
AGES: dict[str, dict[str, float] | None] = {
    "fresh": {"minutes": 10},
    "due": {"minutes": 58},
    "stale": {"hours": 5},
    "expired": {"hours": 25},
    "none": None,
}
MEMBERS = ("/users/@me/guilds/{guild.id}/member", "/guilds/{guild.id}/members/{user.id}")

SignUp = Callable[..., User]


@dataclass
class Case:
    """A person, one of their guilds, and the source of what is known about them there."""

    user: User
    guild_id: int
    source: str
    sandbox: Sandbox

    def get(self, max_age: timedelta | None = None) -> GuildMembership:
        return get_member(self.user, self.guild_id, max_age)

    def sent(self) -> list[str]:
        """The paths of the member requests that reached Discord."""
        return [line["path"] for line in self.sandbox.requests("") if "/member" in line["path"]]

    def row(self) -> GuildMember:
        return GuildMember.objects.get(user=self.user, guild_id=self.guild_id)

    def close(self, seconds: int) -> None:
        """Use up what the source has left of its limit."""
        until = database_now() + timedelta(seconds=seconds)
        kind, owner = ("member", self.user.pk) if self.source == "person" else ("bot_member", self.guild_id)
        DiscordAllowance.objects.update_or_create(kind=kind, owner=owner, defaults={"until": until})


def guilds_of(user: User) -> set[int]:
    return {guild.guild_id for guild in services.get_guild_list(user)}


@cache
def guilds_of_the_bot() -> frozenset[int]:
    """Request them once: they are the same in each new state of the sandbox."""
    pages = discord_client().iter_bot_guilds(django_settings.DISCORD_BOT_TOKEN)
    return frozenset(guild_id for page in pages for guild_id in page.ids)


def know_the_bot(guild_id: int) -> None:
    now = database_now()
    BotGuild.objects.create(id=guild_id, name="Chess", first_seen_at=now, verified_at=now)


@pytest.fixture
def case_of(sign_up: SignUp, sandbox: Sandbox) -> Callable[..., Case]:
    def case_of(source: str = "person", age: str = "none", scopes: tuple[str, ...] = SCOPES) -> Case:
        user = sign_up("ada", scopes=scopes)
        store_list(user, tokens.read(user.pk).access_token)
        guild_id = min(guilds_of(user) & guilds_of_the_bot())
        if source == "bot":
            know_the_bot(guild_id)
        case = Case(user, guild_id, source, sandbox)
        if since := AGES[age]:
            case.get()
            let_pass(**since)
        sandbox.forget_requests()
        return case

    return case_of


def no_limit(case: Case) -> None:
    pass


def limited(case: Case) -> None:
    case.sandbox.mood("rate_limited", retry_after=40, routes=MEMBERS)


def used_up(case: Case) -> None:
    case.close(200)


def gate_shut(case: Case) -> None:
    gate.change(lambda state, now: state.shut(Reason.GLOBAL_LIMIT, timedelta(seconds=60), now, probe=None))


def silent(case: Case) -> None:
    case.sandbox.mood("outage", routes=MEMBERS)


def nonsense(case: Case) -> None:
    case.sandbox.mood("wrong_type", routes=MEMBERS)


def refused(case: Case) -> None:
    case.sandbox.mood("unauthorized")


OBSTACLES = [limited, used_up, gate_shut, silent, nonsense, refused]
# The reason, and the wait that Discord or the limit named.
REASONS: dict[Any, tuple[Reason, float | None]] = {
    limited: (Reason.RATE_LIMITED, 40),
    used_up: (Reason.RATE_LIMITED, 200),
    gate_shut: (Reason.GLOBAL_LIMIT, 60),
    silent: (Reason.UNAVAILABLE, None),
    nonsense: (Reason.UNUSABLE, None),
}
NOT_SENT = (used_up, gate_shut)
EITHER = pytest.mark.parametrize("source", ["person", "bot"])


def reason_of(source: str, obstacle: Any) -> tuple[Reason, float | None]:
    if obstacle is refused:
        # A person can do nothing about the site's own token.
        return (Reason.RECONNECT_REQUIRED if source == "person" else Reason.SITE_REFUSED), None
    return REASONS[obstacle]


# fresh


@EITHER
@pytest.mark.parametrize("world", [no_limit, *OBSTACLES])
def test_a_fresh_member_is_served_and_discord_not_asked(
    case_of: Callable[..., Case], source: str, world: Callable[[Case], None]
) -> None:
    case = case_of(source, "fresh")
    world(case)

    member = case.get()

    assert (member.guild_id, member.is_member, member.freshness, member.reason) == (case.guild_id, True, "fresh", None)
    assert member.joined_at
    assert case.sent() == []


def test_a_fresh_member_costs_one_query(
    case_of: Callable[..., Case], django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    case = case_of("person", "fresh")
    case.get()

    with django_assert_num_queries(1) as asked:
        case.get()
    assert "discordgate" not in asked[0]["sql"], "a fresh answer doesn't depend on the gate"


# due


@EITHER
@pytest.mark.parametrize("world", [no_limit, *OBSTACLES])
def test_a_due_member_is_served_and_asked_about_in_the_background(
    case_of: Callable[..., Case], source: str, world: Callable[[Case], None]
) -> None:
    case = case_of(source, "due")
    world(case)

    member = case.get()
    threading_join()

    assert (member.is_member, member.freshness, member.reason) == (True, "fresh", None)
    assert member.age >= timedelta(minutes=58)
    assert bool(case.sent()) is (world not in NOT_SENT)
    if world is no_limit:
        assert case.get().age < timedelta(minutes=1)
    elif world is refused and source == "person":
        with pytest.raises(NoAnswer, match="reconnect_required"):
            case.get()
    else:
        assert case.get().freshness == "fresh"


@pytest.mark.parametrize(("sent", "asked"), [(2, True), (3, False)])
def test_a_due_member_leaves_two_of_the_persons_requests(case_of: Callable[..., Case], sent: int, asked: bool) -> None:
    case = case_of("person", "due")
    end = database_now() + timedelta(seconds=200)
    DiscordAllowance.objects.update_or_create(
        kind="member", owner=case.user.pk, defaults={"window_ends_at": end, "sent": sent}
    )

    case.get()
    threading_join()

    assert bool(case.sent()) is asked


# stale


@EITHER
def test_a_stale_member_is_refreshed_within_the_soft_wait(case_of: Callable[..., Case], source: str) -> None:
    case = case_of(source, "stale")

    member = case.get()

    assert (member.freshness, member.reason) == ("fresh", None)
    assert member.age < timedelta(minutes=1)
    assert len(case.sent()) == 1


@EITHER
@pytest.mark.parametrize("obstacle", [limited, used_up, gate_shut, silent, nonsense])
def test_a_stale_member_stands_in_and_says_why(
    case_of: Callable[..., Case], source: str, obstacle: Callable[[Case], None]
) -> None:
    case = case_of(source, "stale")
    obstacle(case)

    member = case.get()

    reason, wait = reason_of(source, obstacle)
    assert (member.is_member, member.freshness, member.reason) == (True, "stale", reason)
    assert member.age >= timedelta(hours=5)
    assert member.next_attempt_at
    left = (member.next_attempt_at - database_now()).total_seconds()
    assert left > 20 if wait is None else left == pytest.approx(wait, abs=wait / 2)
    assert len(case.sent()) == (0 if obstacle in NOT_SENT else 1)


def test_a_stale_member_never_stands_in_for_a_refused_token(case_of: Callable[..., Case]) -> None:
    case = case_of("person", "stale")
    refused(case)

    with pytest.raises(NoAnswer, match="reconnect_required"):
        case.get()

    assert DiscordAccount.objects.get(user=case.user).disconnected_at


def test_a_refused_bot_is_the_sites_fault_and_not_the_persons(case_of: Callable[..., Case]) -> None:
    case = case_of("bot", "stale")
    refused(case)

    member = case.get()

    assert (member.freshness, member.reason) == ("stale", Reason.SITE_REFUSED)
    assert DiscordAccount.objects.get(user=case.user).disconnected_at is None


# expired or none


@EITHER
@pytest.mark.parametrize("age", ["expired", "none"])
def test_without_a_servable_member_the_reader_waits_for_a_new_one(
    case_of: Callable[..., Case], source: str, age: str
) -> None:
    case = case_of(source, age)

    member = case.get()

    assert (member.is_member, member.freshness) == (True, "fresh")
    assert member.age < timedelta(minutes=1)
    assert len(case.sent()) == 1


@EITHER
@pytest.mark.parametrize("age", ["expired", "none"])
@pytest.mark.parametrize("obstacle", OBSTACLES)
def test_without_a_servable_member_the_reader_learns_why_and_how_long(
    case_of: Callable[..., Case], source: str, age: str, obstacle: Callable[[Case], None]
) -> None:
    case = case_of(source, age)
    obstacle(case)

    with pytest.raises(NoAnswer) as error:
        case.get()
    sent = len(case.sent())
    with pytest.raises(NoAnswer) as again:
        case.get()

    reason, wait = reason_of(source, obstacle)
    for each in (error.value, again.value):
        assert (each.resource, each.reason) == ("member", reason)
        if reason.is_refusal:
            assert each.retry_after is None
        else:
            assert each.retry_after
            assert each.retry_after > 20 if wait is None else each.retry_after == pytest.approx(wait, abs=wait / 2)
    assert bool(sent) is (obstacle not in NOT_SENT)
    assert len(case.sent()) == sent


# demanded


def test_a_demand_turns_a_fresh_member_into_a_new_one_or_a_refusal(case_of: Callable[..., Case]) -> None:
    case = case_of("person", "fresh")

    assert case.get(timedelta(minutes=5)).age < timedelta(minutes=1)
    let_pass(minutes=10)
    used_up(case)
    with pytest.raises(NoAnswer, match="rate_limited"):
        case.get(timedelta(minutes=5))


# sources


def test_where_the_bot_is_nothing_is_asked_of_the_person(case_of: Callable[..., Case]) -> None:
    case = case_of("bot")

    assert case.get().is_member

    assert case.sent() == [path for path in case.sent() if path.endswith(f"/members/{case.user.discord_id}")]
    assert allowance.read("member", case.user.pk)[0].sent == 0
    row = case.row()
    assert row.refresh_after
    assert row.verified_at
    assert row.refresh_after - row.verified_at <= timedelta(minutes=60) * 0.2 * 1.1


def test_the_persons_answer_is_due_late(case_of: Callable[..., Case]) -> None:
    case = case_of("person")
    case.get()

    row = case.row()
    assert row.refresh_after
    assert row.verified_at
    assert row.refresh_after - row.verified_at >= timedelta(minutes=60) * 0.8 * 0.9
    assert allowance.read("member", case.user.pk)[0].sent == 1


def test_a_bot_that_is_gone_falls_back_to_the_person_in_the_same_attempt(case_of: Callable[..., Case]) -> None:
    case = case_of("person")
    without = min(guilds_of(case.user) - guilds_of_the_bot())
    know_the_bot(without)
    case.guild_id = without
    case.sandbox.forget_requests()

    assert case.get().is_member

    assert [path.rpartition("/")[2] for path in case.sent()] == [str(case.user.discord_id), "member"]
    row = case.row()
    assert row.refresh_after
    assert row.verified_at
    assert row.refresh_after - row.verified_at > timedelta(minutes=30), "the person's limit is spared"


def test_without_bot_and_scope_nothing_is_sent(case_of: Callable[..., Case]) -> None:
    case = case_of("person", scopes=("identify", "guilds"))

    for _ in range(2):
        with pytest.raises(NoAnswer, match="missing_scope") as error:
            case.get()

    assert error.value.retry_after is None
    assert case.sent() == []
    assert not DiscordAllowance.objects.exists()


def test_a_bot_that_returns_ends_the_refusal_of_a_person_who_shares_no_roles(case_of: Callable[..., Case]) -> None:
    case = case_of("person", scopes=("identify", "guilds"))
    sync_bot_guilds()
    case.sandbox.bot(case.guild_id, None)
    with pytest.raises(NoAnswer, match="missing_scope"):
        case.get()
    with pytest.raises(NoAnswer, match="missing_scope"):
        case.get()
    assert len(case.sent()) == 1, "it is known then that the bot is gone"

    case.sandbox.bot(case.guild_id, 8)
    sync_bot_guilds()

    assert case.get().is_member


@pytest.mark.parametrize("reason", ["missing_scope", "bot_absent"])
def test_a_refusal_that_was_stored_after_the_bot_joined_does_not_hold(
    case_of: Callable[..., Case], reason: str, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    case = case_of("bot", "fresh", scopes=("identify", "guilds"))
    GuildMember.objects.update(reason=reason)

    assert case.get().is_member

    assert case.row().reason == ""
    with django_assert_num_queries(1):
        case.get()


def test_a_refusal_ends_when_the_settings_allow_the_persons_own_token(
    case_of: Callable[..., Case], settings: Settings
) -> None:
    case = case_of("person")
    settings.DISCORD_MEMBER_SCOPE = "never"
    for _ in range(2):
        with pytest.raises(NoAnswer, match="bot_absent"):
            case.get()
    assert case.sent() == []

    settings.DISCORD_MEMBER_SCOPE = "when_needed"

    assert case.get().is_member


def test_the_bot_needs_no_scope_of_the_person(case_of: Callable[..., Case]) -> None:
    case = case_of("bot", scopes=("identify", "guilds"))

    assert case.get().is_member


def test_a_person_without_an_account_at_discord_has_no_roles(case_of: Callable[..., Case]) -> None:
    case = case_of("bot")
    case.user = User.objects.create_user(username="root")

    with pytest.raises(NoAnswer, match="reconnect_required"):
        case.get()

    assert case.sent() == []


# not a member


@EITHER
def test_not_a_member_is_an_answer(case_of: Callable[..., Case], source: str) -> None:
    case = case_of(source, "stale")
    assert case.row().is_member
    case.sandbox.person("ada", count=0)

    member = case.get()

    assert (member.is_member, member.roles, member.nick, member.freshness) == (False, frozenset(), "", "fresh")
    assert (case.row().is_member, case.row().version) == (False, 2)
    assert len(case.sent()) == 1


def test_a_guild_that_is_missing_from_the_list_costs_no_request(case_of: Callable[..., Case]) -> None:
    case = case_of("person")
    case.guild_id = 7

    member = case.get()

    assert (member.is_member, member.roles, member.freshness, member.guild_id) == (False, frozenset(), "fresh", 7)
    assert case.sent() == []
    assert not GuildMember.objects.exists()


@pytest.mark.parametrize("age", [{"hours": 5}, {"minutes": 10}], ids=["stale", "older than demanded"])
def test_a_list_that_is_too_old_does_not_decide(case_of: Callable[..., Case], age: dict[str, float]) -> None:
    case = case_of("person")
    case.guild_id = 7
    let_pass(**age)

    assert not case.get(timedelta(minutes=5) if age == {"minutes": 10} else None).is_member

    assert len(case.sent()) == 1


def test_where_the_bot_is_the_list_does_not_decide(case_of: Callable[..., Case]) -> None:
    case = case_of("bot")
    case.user.guild_memberships.all().delete()

    assert case.get().is_member


# what several records share


def test_the_sixth_guild_of_a_person_has_to_wait(case_of: Callable[..., Case]) -> None:
    case = case_of("person")
    guild_ids = [guild.guild_id for guild in services.get_guild_list(case.user)]
    for guild_id in guild_ids[:5]:
        get_member(case.user, guild_id)

    with pytest.raises(NoAnswer, match="rate_limited") as error:
        get_member(case.user, guild_ids[5])

    assert error.value.retry_after == pytest.approx(305, abs=10)
    assert len(case.sent()) == 5
    # The sandbox's own window is not over.
    let_pass(seconds=310)
    assert allowance.closed_until("member", case.user.pk, Priority.COLD) is None


def test_a_wait_that_discord_names_holds_for_all_guilds_of_the_person(case_of: Callable[..., Case]) -> None:
    case = case_of("person")
    linus = case.user.pk + 1
    limited(case)
    with pytest.raises(NoAnswer):
        case.get()
    sent = len(case.sent())

    for guild in services.get_guild_list(case.user).memberships[1:4]:
        with pytest.raises(NoAnswer, match="rate_limited") as error:
            get_member(case.user, guild.guild_id)
        assert error.value.retry_after == pytest.approx(40, abs=20)

    assert len(case.sent()) == sent
    assert allowance.closed_until("member", linus, Priority.COLD) is None


def test_a_wait_of_the_bot_holds_for_all_people_of_the_guild_and_no_other_guild(case_of: Callable[..., Case]) -> None:
    case = case_of("bot")
    limited(case)
    with pytest.raises(NoAnswer, match="rate_limited"):
        case.get()

    until = allowance.closed_until("bot_member", case.guild_id, Priority.COLD)
    assert until
    assert (until - database_now()).total_seconds() == pytest.approx(40, abs=20)
    assert allowance.closed_until("bot_member", case.guild_id + 1, Priority.COLD) is None
    assert allowance.closed_until("member", case.user.pk, Priority.COLD) is None


# roles


def test_a_role_counts_for_members_only_and_everyone_is_one() -> None:
    facts: dict[str, Any] = {
        "verified_at": datetime(2026, 3, 14, tzinfo=UTC),
        "age": timedelta(0),
        "freshness": "fresh",
        "reason": None,
        "next_attempt_at": None,
        "guild_id": 1,
    }
    member = GuildMembership(**facts, is_member=True, roles=frozenset({7, 8}))
    stranger = GuildMembership(**facts)

    assert [member.has_any(roles) for roles in ([7], [9, 8], [1], [9], [])] == [True, True, True, False, False]
    assert not stranger.has_any([1, 7])
