"""What a reader gets of a guild's roles and channels, with the real engine, real threads and the sandbox."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import pytest
from django.conf import settings as django_settings
from pytest_django import DjangoAssertNumQueries, Settings

from accounts.clock import database_now
from accounts.models import DiscordAllowance
from accounts.tokens import discord_client
from guilds import services
from guilds.engine.freshness import Reason
from guilds.engine.sweep import sweep
from guilds.models import BotGuild, BotGuilds, GuildDirectory
from guilds.problems.of_errors import problem_of
from guilds.resources import bot_guilds
from guilds.resources.directory import DIRECTORY
from guilds.services import Directory, NoAnswer, RefreshTooSoon, get_directory
from sandbox.remote import BOT_MEMBER, CHANNELS, ROLES
from tests.fixtures import Sandbox, let_pass, threading_join

pytestmark = pytest.mark.django_db(transaction=True)

AGES: dict[str, dict[str, float]] = {
    "fresh": {"minutes": 10},
    "due": {"minutes": 20},
    "stale": {"days": 6},
    "expired": {"days": 8},
}
ALL_ROUTES = (ROLES, CHANNELS, BOT_MEMBER)
SEND = 1 << 11


@dataclass
class Case:
    guild_id: int
    sandbox: Sandbox

    def sent(self) -> list[str]:
        """The routes about the guild that were requested."""
        return [line["route"] for line in self.sandbox.requests("") if line["guild"] == str(self.guild_id)]


@pytest.fixture
def case(sandbox: Sandbox) -> Case:
    """A guild that the bot is in, before anyone has read its directory."""
    pages = discord_client().iter_bot_guilds(django_settings.DISCORD_BOT_TOKEN)
    guild_id = min(guild_id for page in pages for guild_id in page.ids)
    know_the_bot(guild_id)
    sandbox.forget_requests()
    return Case(guild_id, sandbox)


def know_the_bot(guild_id: int) -> None:
    now = database_now()
    BotGuild.objects.create(id=guild_id, name="Chess", first_seen_at=now, verified_at=now)


def know_all_guilds_of_the_bot() -> None:
    BotGuilds.objects.update_or_create(pk=1, defaults={"verified_at": database_now()})


@pytest.fixture
def aged(case: Case) -> Callable[[str], Directory]:
    def aged(age: str) -> Directory:
        found = get_directory(case.guild_id)
        let_pass(**AGES[age])
        case.sandbox.forget_requests()
        return found

    return aged


def limited(case: Case) -> None:
    case.sandbox.mood("rate_limited", retry_after=40, routes=ALL_ROUTES)


def silent(case: Case) -> None:
    case.sandbox.mood("outage", routes=ALL_ROUTES)


def test_a_first_reader_gets_roles_channels_and_what_the_bot_can_do(case: Case) -> None:
    case.sandbox.bot(case.guild_id, SEND)
    case.sandbox.forget_requests()

    found = get_directory(case.guild_id)

    assert [role.name for role in found.roles] == [
        "Administrators",
        "Guildhall",
        "Moderators",
        "Server Booster",
        "Supporters",
        "@everyone",
    ]
    assert [role.name for role in found.assignable_roles] == ["Moderators", "Supporters"]
    names = [channel.name for channel in found.channels]
    assert names[:3] == ["Information", "announcements", "rules"]
    assert names[-3:] == ["Voice Channels", "Lounge", "Town Hall"]
    assert [each.name for each in found.channels if not found.bot_permissions(each)] == ["staff"]
    assert (found.freshness, found.reason, found.guild_id) == ("fresh", None, case.guild_id)
    assert sorted(case.sent()) == sorted(ALL_ROUTES)


def test_the_bots_own_id_is_requested_only_once(case: Case, aged: Callable[[str], Directory]) -> None:
    aged("stale")

    get_directory(case.guild_id)

    assert [line["path"] for line in case.sandbox.requests("/users/@me")] == []


@pytest.mark.parametrize("world", [limited, silent])
def test_a_fresh_directory_costs_one_query_and_no_request(
    case: Case,
    aged: Callable[[str], Directory],
    world: Callable[[Case], None],
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    before = aged("fresh")
    world(case)
    get_directory(case.guild_id)

    with django_assert_num_queries(1):
        found = get_directory(case.guild_id)

    assert (found.roles, found.channels, found.freshness) == (before.roles, before.channels, "fresh")
    assert case.sent() == []


def test_a_due_directory_is_served_and_refreshed_in_the_background(
    case: Case, aged: Callable[[str], Directory]
) -> None:
    aged("due")

    assert get_directory(case.guild_id).age >= timedelta(minutes=20)
    threading_join()

    assert get_directory(case.guild_id).age < timedelta(minutes=1)


def test_a_stale_directory_is_refreshed_within_the_soft_wait(case: Case, aged: Callable[[str], Directory]) -> None:
    aged("stale")
    case.sandbox.roles(case.guild_id, {"name": "Chess Masters", "position": 2})

    found = get_directory(case.guild_id)

    assert "Chess Masters" in [role.name for role in found.roles]
    assert "Supporters" not in [role.name for role in found.roles]


@pytest.mark.parametrize(("world", "reason"), [(limited, Reason.RATE_LIMITED), (silent, Reason.UNAVAILABLE)])
def test_names_that_are_days_old_stand_in_and_say_why(
    case: Case, aged: Callable[[str], Directory], world: Callable[[Case], None], reason: Reason
) -> None:
    before = aged("stale")
    world(case)

    found = get_directory(case.guild_id)

    assert (found.roles, found.freshness, found.reason) == (before.roles, "stale", reason)
    assert found.next_attempt_at


@pytest.mark.parametrize("age", ["expired", "none"])
@pytest.mark.parametrize(("world", "reason"), [(limited, Reason.RATE_LIMITED), (silent, Reason.UNAVAILABLE)])
def test_without_names_the_reader_is_told_why_and_how_long(
    case: Case, aged: Callable[[str], Directory], world: Callable[[Case], None], reason: Reason, age: str
) -> None:
    if age != "none":
        aged(age)
    world(case)

    with pytest.raises(NoAnswer) as error:
        get_directory(case.guild_id)

    assert (error.value.resource, error.value.reason) == ("directory", reason)
    assert error.value.retry_after
    assert error.value.retry_after > 20


def test_a_wait_for_one_guild_delays_no_other(case: Case) -> None:
    other = case.guild_id + 1
    DiscordAllowance.objects.create(kind="bot_directory", owner=other, until=database_now() + timedelta(seconds=60))

    assert get_directory(case.guild_id)
    with pytest.raises(NoAnswer, match="rate_limited"):
        get_directory(other)
    assert not case.sandbox.requests("", guild=str(other))


def test_a_maximum_age_demands_a_younger_answer(case: Case, aged: Callable[[str], Directory]) -> None:
    aged("fresh")

    assert get_directory(case.guild_id, timedelta(minutes=5)).age < timedelta(minutes=1)


# the bot is not there


def test_where_the_bot_is_not_nothing_is_requested(case: Case) -> None:
    know_all_guilds_of_the_bot()

    with pytest.raises(NoAnswer) as error:
        get_directory(case.guild_id + 1)

    assert (error.value.resource, error.value.reason, error.value.retry_after) == (
        "directory",
        Reason.BOT_ABSENT,
        None,
    )
    assert case.sandbox.requests("") == []
    assert not GuildDirectory.objects.exists()


def test_a_site_without_a_bot_requests_nothing(case: Case, settings: Settings) -> None:
    settings.DISCORD_BOT_TOKEN = ""

    with pytest.raises(NoAnswer, match="bot_absent"):
        get_directory(case.guild_id)

    assert case.sandbox.requests("") == []


def test_a_bot_that_is_gone_is_remembered_until_it_is_back(case: Case, aged: Callable[[str], Directory]) -> None:
    know_all_guilds_of_the_bot()
    aged("stale")
    case.sandbox.bot(case.guild_id, None)

    for _ in range(2):
        with pytest.raises(NoAnswer, match="bot_absent"):
            get_directory(case.guild_id)

    assert len(case.sent()) == 1
    assert BotGuild.objects.get().deleted_at
    case.sandbox.bot(case.guild_id, SEND)
    assert bot_guilds.verify_one(case.guild_id)
    assert get_directory(case.guild_id).freshness == "fresh"


def test_a_guild_that_is_called_unknown_while_the_bot_is_in_it_keeps_its_names(
    case: Case, aged: Callable[[str], Directory]
) -> None:
    know_all_guilds_of_the_bot()
    before = aged("stale")
    unknown = {"status": 404, "body": '{"message": "Unknown Guild", "code": 10004}'}
    case.sandbox.mood("raw", routes=["/guilds/{guild.id}/roles"], **unknown)

    found = get_directory(case.guild_id)

    assert (found.roles, found.freshness, found.reason) == (before.roles, "stale", Reason.UNUSABLE)
    assert BotGuild.objects.get(pk=case.guild_id).deleted_at is None
    # Now the bot's own list says so too.
    case.sandbox.bot(case.guild_id, None)
    let_pass(minutes=5)
    with pytest.raises(NoAnswer, match="bot_absent"):
        get_directory(case.guild_id)
    assert BotGuild.objects.get(pk=case.guild_id).deleted_at


@pytest.mark.parametrize("code", [0, 50026])
def test_a_refused_bot_is_the_sites_fault_and_asked_again_after_the_wait(case: Case, code: int) -> None:
    refusal = {"status": 403, "body": json.dumps({"message": "no", "code": code}), "headers": {"Via": "1.1 google"}}
    case.sandbox.mood("raw", routes=ALL_ROUTES, **refusal)
    with pytest.raises(NoAnswer, match="site_refused") as error:
        get_directory(case.guild_id)
    assert error.value.retry_after
    case.sandbox.mood()

    let_pass(seconds=error.value.retry_after)

    assert get_directory(case.guild_id).freshness == "fresh"


@pytest.mark.parametrize("reason", [Reason.RECONNECT_REQUIRED, Reason.MISSING_SCOPE])
def test_a_stored_refusal_of_a_person_ends_with_the_next_reader(case: Case, reason: Reason) -> None:
    DIRECTORY.read(case.guild_id)
    GuildDirectory.objects.update(reason=reason)

    assert get_directory(case.guild_id).freshness == "fresh"


# refreshed by hand, and by the sweep


def test_a_refresh_requests_it_now_and_then_has_a_cool_down(case: Case, aged: Callable[[str], Directory]) -> None:
    aged("fresh")

    assert services.refresh_directory(case.guild_id).age < timedelta(minutes=1)

    with pytest.raises(RefreshTooSoon) as error:
        services.refresh_directory(case.guild_id)
    assert 0 < error.value.retry_after <= django_settings.DISCORD_MANUAL_REFRESH_SECONDS
    assert len(case.sent()) == 3


def test_a_first_refresh_needs_no_record(case: Case) -> None:
    assert services.refresh_directory(case.guild_id).roles


def test_the_sweep_refreshes_a_directory_that_was_read_lately(case: Case, aged: Callable[[str], Directory]) -> None:
    aged("due")

    assert sweep(DIRECTORY).refreshed == 1
    assert get_directory(case.guild_id).age < timedelta(minutes=1)


# in words


@pytest.mark.parametrize(
    ("reason", "status", "words"),
    [
        (Reason.BOT_ABSENT, 409, "The bot isn't in this server"),
        (Reason.RATE_LIMITED, 429, "Discord is rate-limiting requests about this server."),
        (Reason.UNAVAILABLE, 503, "Discord isn't responding at the moment."),
    ],
)
def test_a_reader_without_names_is_told_why_in_words(reason: Reason, status: int, words: str) -> None:
    problem = problem_of(NoAnswer("directory", reason, None if reason.is_refusal else 3))

    assert problem
    assert problem.status == status
    assert words in (str(problem.title), str(problem.detail))
