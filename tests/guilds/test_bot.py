"""The bot's servers: the list and its command, the look at one server, and adding the bot."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import StringIO
from itertools import product
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
import time_machine
from django.apps import apps
from django.core import signing
from django.core.cache import cache
from django.core.management import CommandError, call_command
from django.db import OperationalError
from django.test import Client
from pytest_django import DjangoAssertNumQueries, Settings

from accounts import gate
from accounts.clock import database_now
from accounts.discord import PartialGuild, Permissions
from accounts.limits import Reason
from accounts.models import DiscordGate, User
from guilds.engine import freshness
from guilds.listing import bot
from guilds.listing.extras import get_extras
from guilds.models import BotGuild, BotGuilds, UserGuildMembership
from guilds.resources.bot_guilds import ALL_GUILDS, BOT_GUILDS, PAGE_PAUSE, verify_one
from guilds.resources.bot_presence import learn
from guilds.services import get_guild_list
from guilds.whole_site.checks import apps_name_the_bots_permissions
from sandbox.api import BOT
from tests.fixtures import Sandbox, end_jobs, let_pass
from tests.guilds.rows import bot_joins, sync_bot_guilds

pytestmark = pytest.mark.django_db(transaction=True)

WithList = Callable[..., User]
ClientOf = Callable[[User], Client]
BOT_HAS = 17  # of ada's and grace's servers, on the sandbox's first day


# Tests that are not about it replace it.
REFRESH_WHEN_DUE = bot.refresh_when_due


def there() -> set[str]:
    return set(BotGuild.objects.filter(deleted_at=None).values_list("name", flat=True))


def give_eve(sandbox: Sandbox, *names: str, **more: object) -> None:
    """The bot is in these servers of eve's, whose ids follow from their place."""
    guilds = [{"id": str(100 + place), "name": name, "bot": bool(name)} for place, name in enumerate(names)]
    sandbox.person("eve", guilds=[guild | more if guild["bot"] else guild | {"name": "left"} for guild in guilds])


@pytest.fixture
def only_eve(sandbox: Sandbox) -> Sandbox:
    """A sandbox where the bot is only where eve is."""
    for name in ("ada", "grace"):
        sandbox.person(name, bot=False)
    return sandbox


# the list


JSON = {"Content-Type": "application/json"}


def listed(number: int, name: str) -> dict[str, object]:
    return {"id": str(number), "name": name, "icon": None, "owner": False, "permissions": "8", "features": []}


def test_an_odd_server_keeps_its_row_and_fails_no_list(only_eve: Sandbox) -> None:
    give_eve(only_eve, "Two", "One", "Three")
    sync_bot_guilds()
    odd = [{"id": "100", "unavailable": True}, listed(101, "One again")]
    only_eve.mood("raw", status=200, headers=JSON, body=odd, for_requests=1)
    give_eve(only_eve)

    sync_bot_guilds()

    assert dict(BotGuild.objects.filter(deleted_at=None).values_list("name", "pk")) == {"Two": 100, "One again": 101}


def test_a_list_with_a_server_without_an_id_changes_nothing(only_eve: Sandbox) -> None:
    only_eve.mood("raw", status=200, headers=JSON, body=[listed(100, "One"), None], for_requests=1)

    with pytest.raises(CommandError, match="Nothing was changed: Discord is sending unexpected replies"):
        command()

    presence = bot.present_in([100, 999])
    assert presence
    assert (presence.includes(100), presence.includes(999)) == (None, None)


def test_a_list_stores_where_the_bot_is_and_what_it_may_do_there(sandbox: Sandbox) -> None:
    found = sync_bot_guilds()

    assert BotGuild.objects.filter(deleted_at=None).count() == BOT_HAS
    assert {"Analytical Engine Club", "1337 Krew", "Lisbon Board Gamers"} <= there()
    row = BotGuild.objects.get(name="1337 Krew")
    assert row.permissions
    assert (row.owner, row.verified_at) == (False, found.verified_at)
    assert isinstance(row.features, list)


def test_what_changed_about_a_server_is_stored_with_the_next_list(only_eve: Sandbox) -> None:
    give_eve(only_eve, "One")
    sync_bot_guilds()
    tag = BotGuilds.objects.get().tag
    BotGuild.objects.update(permissions=1, owner=True, features=["OLD"])

    sync_bot_guilds()

    row = BotGuild.objects.get()
    assert row.permissions not in (None, 1)
    assert not row.owner
    assert row.features != ["OLD"]
    assert BotGuilds.objects.get().tag != tag


def test_an_equal_list_writes_its_age_alone(sandbox: Sandbox) -> None:
    first = sync_bot_guilds()
    tag, rows = BotGuilds.objects.get().tag, list(BotGuild.objects.order_by("pk").values())

    second = sync_bot_guilds()

    record = BotGuilds.objects.get()
    assert (record.tag, record.version, record.changed_at) == (tag, 1, first.verified_at)
    assert record.verified_at == second.verified_at
    assert second.verified_at > first.verified_at
    assert list(BotGuild.objects.order_by("pk").values()) == rows


def test_the_first_list_is_news_even_if_it_is_empty(only_eve: Sandbox) -> None:
    sync_bot_guilds()

    assert BotGuilds.objects.get().tag


def test_paging_goes_on_until_an_empty_page(only_eve: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    only_eve.person("eve", count=450, bot=True)
    pauses: list[float] = []
    monkeypatch.setattr(BOT_GUILDS, "sleep", pauses.append)

    sync_bot_guilds()

    assert BotGuild.objects.count() == 450
    assert [line["status"] for line in only_eve.requests()] == [200] * 4
    assert pauses.count(PAGE_PAUSE) == 3


def test_a_short_page_does_not_end_it(sandbox: Sandbox) -> None:
    sandbox.mood("short_page")

    sync_bot_guilds()

    assert len(there()) == BOT_HAS


def test_who_is_gone_is_marked_and_who_returns_is_revived(only_eve: Sandbox) -> None:
    give_eve(only_eve, "One", "Two")
    sync_bot_guilds()
    give_eve(only_eve, "One", "")

    left = sync_bot_guilds()
    two = BotGuild.objects.get(pk=101)
    assert there() == {"One"}
    assert two.deleted_at == left.verified_at

    give_eve(only_eve, "One", "Two again")
    sync_bot_guilds()
    again = BotGuild.objects.get(pk=101)
    assert there() == {"One", "Two again"}
    assert again.first_seen_at == two.first_seen_at


@pytest.mark.parametrize("mode", ["outage", "garbage", "truncated", "wrong_type", "rate_limited"])
def test_an_attempt_that_broke_off_marks_nobody(only_eve: Sandbox, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    only_eve.person("eve", count=250, bot=True)
    sync_bot_guilds()
    only_eve.person("eve", count=10, bot=True)
    # Longer than an attempt may take, which would wait for less.
    monkeypatch.setattr(BOT_GUILDS, "sleep", lambda _seconds: only_eve.mood(mode, retry_after=600))

    with pytest.raises(CommandError, match="Nothing was changed"):
        command()

    assert BotGuild.objects.filter(deleted_at=None).count() == 250


# a list and a look at one server


def test_an_answer_to_an_earlier_question_changes_nothing(sandbox: Sandbox) -> None:
    now = database_now()
    learn(1, PartialGuild(1, "New", None), now)
    BotGuild.objects.create(id=2, name="Gone", first_seen_at=now, verified_at=now, deleted_at=now)

    early = now - timedelta(seconds=5)
    learn(1, PartialGuild(1, "Old", None), early)
    learn(1, None, early)
    learn(2, PartialGuild(2, "Gone", None), early)

    assert there() == {"New"}


def test_an_answer_about_a_guild_that_the_bot_was_never_in_stores_no_row(sandbox: Sandbox) -> None:
    learn(1, None, database_now())

    assert not BotGuild.objects.exists()


@pytest.mark.parametrize("late", ["before the comparison", "before the store"])
def test_what_a_look_stored_during_a_list_stays(only_eve: Sandbox, monkeypatch: pytest.MonkeyPatch, late: str) -> None:
    give_eve(only_eve, "One", "Two", "Three")
    sync_bot_guilds()
    give_eve(only_eve, "Renamed", "Two", "")
    compare = BOT_GUILDS.compare

    def look(*_arguments: object) -> None:
        bot_joins(50, 102)
        learn(100, PartialGuild(100, "Newer", None), database_now())
        learn(101, None, database_now())

    def compare_then_look(*arguments: Any) -> Any:
        change = compare(*arguments)
        look()
        return change

    if late == "before the comparison":
        monkeypatch.setattr(BOT_GUILDS, "sleep", look)
    else:
        monkeypatch.setattr(BOT_GUILDS, "compare", compare_then_look)
    sync_bot_guilds()

    assert there() == {"Server 50", "Server 102", "Newer"}


def test_a_look_that_finds_what_is_stored_keeps_the_tag() -> None:
    bot_joins(1)
    tag = BotGuilds.objects.get().tag

    bot_joins(1)

    assert tag
    assert BotGuilds.objects.get().tag == tag


# when it is requested


def test_a_list_passes_the_gate(sandbox: Sandbox) -> None:
    gate.read()
    DiscordGate.objects.update(until=database_now() + timedelta(minutes=5), reason="global_limit", streak=1)

    with pytest.raises(CommandError, match="Discord rate-limits the whole site"):
        command()

    assert sandbox.requests() == []


def test_each_page_takes_its_place_in_the_send_budget(sandbox: Sandbox) -> None:
    sync_bot_guilds()

    assert DiscordGate.objects.get().version == 2


@pytest.fixture
def readers_refresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bot, "refresh_when_due", REFRESH_WHEN_DUE)


@pytest.mark.usefixtures("readers_refresh")
@pytest.mark.parametrize("path", ["/servers/", "/servers/{}/", "/api/v1/guilds/?has_bot=false"])
def test_the_first_reader_of_where_the_bot_is_finds_out_for_the_next(
    with_list: WithList, client_of: ClientOf, sandbox: Sandbox, path: str
) -> None:
    client = client_of(with_list("ada"))
    address = path.format(membership("Django Study Group"))
    sandbox.forget_requests()

    for _ in range(2):
        client.get(address)
        end_jobs()

    assert [line["person"] for line in sandbox.requests()] == [BOT, BOT]
    assert len(there()) == BOT_HAS


@pytest.mark.usefixtures("readers_refresh")
@pytest.mark.parametrize(("minutes", "asks"), [(40, False), (55, True), (60 * 24 * 100, True)])
def test_readers_ask_in_the_background_when_the_list_is_due(
    with_list: WithList, sandbox: Sandbox, minutes: float, asks: bool
) -> None:
    ada = with_list("ada")
    sync_bot_guilds()
    then = database_now() - timedelta(minutes=minutes)
    BotGuilds.objects.update(verified_at=then, refresh_after=then + timedelta(minutes=48))
    sandbox.forget_requests()

    presence = get_extras(get_guild_list(ada)).bot_presence
    end_jobs()

    assert presence
    assert presence.is_complete
    assert bool(sandbox.requests()) is asks


@pytest.mark.usefixtures("readers_refresh", "bot_synced")
def test_a_fresh_list_of_the_bot_costs_its_readers_no_query(
    with_list: WithList, client_of: ClientOf, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    client = client_of(with_list("ada"))
    client.get("/servers/")

    with django_assert_num_queries(1):
        client.get("/servers/")


@pytest.mark.usefixtures("readers_refresh")
def test_a_failed_attempt_costs_its_readers_no_query_until_the_next(
    with_list: WithList, client_of: ClientOf, sandbox: Sandbox, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    client = client_of(with_list("ada"))
    sandbox.mood("outage")
    client.get("/servers/")
    end_jobs()
    client.get("/servers/")
    sandbox.forget_requests()

    with django_assert_num_queries(1):
        assert client.get("/servers/").status_code == 200

    assert sandbox.requests() == []


@pytest.mark.usefixtures("readers_refresh")
@pytest.mark.parametrize("code", [50001, 50026])
def test_after_the_wait_for_a_refused_token_the_next_reader_asks_again(
    with_list: WithList, client_of: ClientOf, sandbox: Sandbox, code: int
) -> None:
    client = client_of(with_list("ada"))
    sandbox.mood("raw", status=403, body=json.dumps({"message": "no", "code": code}), headers={"Via": "1.1 google"})
    client.get("/servers/")
    end_jobs()
    record, now = BOT_GUILDS.read(ALL_GUILDS)
    assert (record.reason, record.is_refused) == ("site_refused", False)
    assert record.not_before
    sandbox.mood()

    let_pass(seconds=(record.not_before - now).total_seconds())
    client.get("/servers/")
    end_jobs()

    assert len(there()) == BOT_HAS


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason.is_refusal])
def test_a_refusal_that_is_stored_with_the_bots_list_ends_with_its_next_reader(
    sandbox: Sandbox, reason: Reason
) -> None:
    BOT_GUILDS.read(ALL_GUILDS)
    BotGuilds.objects.update(reason=reason)

    sync_bot_guilds()

    assert len(there()) == BOT_HAS


@pytest.mark.usefixtures("readers_refresh")
def test_the_end_of_a_silence_ends_the_wait_for_the_bots_list_too(
    with_list: WithList, client_of: ClientOf, sandbox: Sandbox
) -> None:
    client = client_of(with_list("ada"))
    address = "/api/v1/guilds/?has_bot=false"
    sandbox.mood("outage")
    client.get(address)
    end_jobs()
    BotGuilds.objects.update(not_before=database_now() + timedelta(minutes=10))
    sandbox.mood()
    DiscordGate.objects.update(silent_since=None, recovered_at=database_now())

    answers = []
    for _ in range(2):
        answers.append(client.get(address).status_code)
        end_jobs()

    assert answers == [503, 200]
    assert len(there()) == BOT_HAS


def test_the_bots_list_is_due_when_the_rule_says_so(with_list: WithList) -> None:
    ada = with_list("ada")
    now = database_now()

    def moment(seconds: int | None) -> Any:
        return None if seconds is None else now + timedelta(seconds=seconds)

    def is_due(reason: str, recovered: int | None, **fields: int | None) -> tuple[bool, bool]:
        """Return whether it is due with these values, as a reader of the list is told and by the rule."""
        verified_at = None if fields["refresh_after"] is None else moment(-48 * 60)
        DiscordGate.objects.update(recovered_at=moment(recovered))
        moments = {name: moment(seconds) for name, seconds in fields.items()}
        BotGuilds.objects.update_or_create(pk=1, defaults={"reason": reason, "verified_at": verified_at, **moments})
        by_rule = freshness.decide(*BOT_GUILDS.read(1), BOT_GUILDS.windows()).ask
        return get_guild_list(ada, lazy=True).is_bot_due, by_rule

    found = {
        case: is_due(case[0], case[1], silent_at=case[2], not_before=case[3], refresh_after=case[4])
        for case in product(
            ("unavailable", "rate_limited"), (None, -90, -30), (None, -60), (None, -1, 60), (None, -1, 60)
        )
    }

    assert {case for case, (told, by_rule) in found.items() if told is not by_rule} == set()
    assert {by_rule for _told, by_rule in found.values()} == {True, False}


@pytest.mark.usefixtures("readers_refresh")
def test_a_site_without_a_bot_asks_for_no_list(with_list: WithList, sandbox: Sandbox, settings: Settings) -> None:
    ada = with_list("ada")
    settings.DISCORD_BOT_TOKEN = ""
    sandbox.forget_requests()

    get_extras(get_guild_list(ada))
    call_command("refresh_due_lists", "--once", stdout=StringIO())
    end_jobs()

    assert sandbox.requests() == []
    assert not BotGuilds.objects.exists()
    assert not BOT_GUILDS.is_enabled()


@pytest.mark.usefixtures("readers_refresh")
def test_a_database_that_does_not_write_fails_no_page(
    with_list: WithList, client_of: ClientOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = client_of(with_list("ada"))

    def locked(*_arguments: object, **_options: object) -> None:
        raise OperationalError("database is locked")

    monkeypatch.setattr(BOT_GUILDS, "read", locked)

    assert client.get("/servers/").status_code == 200


def test_the_sweep_refreshes_the_bots_list_too(sandbox: Sandbox) -> None:
    sync_bot_guilds()
    let_pass(minutes=55)
    sandbox.forget_requests()
    out = StringIO()

    call_command("refresh_due_lists", "--once", stdout=out)

    assert [line["person"] for line in sandbox.requests()] == [BOT, BOT]
    assert "bot_guilds: Refreshed 1, failed 0, skipped 0, left 0." in out.getvalue()


def test_an_attempt_may_take_two_minutes() -> None:
    assert BOT_GUILDS.windows().budget == timedelta(minutes=2)


def test_where_the_bot_is_outlives_the_retention_of_lists(sandbox: Sandbox) -> None:
    sync_bot_guilds()
    let_pass(days=400)

    call_command("purge_memberships", stdout=StringIO())

    assert BotGuilds.last_verified_at()
    assert len(there()) == BOT_HAS


# the command


def command(*options: str) -> str:
    out = StringIO()
    call_command("sync_bot_guilds", *options, stdout=out)
    return out.getvalue()


def test_a_scheduled_command_asks_only_when_the_list_is_due(sandbox: Sandbox) -> None:
    assert command("--if-due").startswith(f"The bot is in {BOT_HAS} servers")
    sandbox.forget_requests()
    let_pass(minutes=40)

    assert re.fullmatch(r"Listed at \d\d:\d\d:\d\d UTC; not due yet.\n", command("--if-due"))
    assert sandbox.requests("") == []

    let_pass(minutes=15)
    assert command("--if-due") == f"The bot is in {BOT_HAS} servers (0 new, 0 left).\n"
    assert sandbox.requests("")


def test_the_command_says_what_it_found(sandbox: Sandbox) -> None:
    bot_joins(7)

    assert command() == f"The bot is in {BOT_HAS} servers ({BOT_HAS} new, 1 left).\n"
    assert command() == f"The bot is in {BOT_HAS} servers (0 new, 0 left).\n"


def test_a_wrong_token_is_one_clear_error_and_asked_once(sandbox: Sandbox, settings: Settings) -> None:
    settings.DISCORD_BOT_TOKEN = "not-the-token"

    with pytest.raises(CommandError) as error:
        command()

    assert "Discord rejects DISCORD_BOT_TOKEN" in str(error.value)
    assert "not-the-token" not in str(error.value)
    assert "\n" not in str(error.value)
    assert [line["status"] for line in sandbox.requests()] == [401]
    assert not BotGuild.objects.exists()


def test_without_a_token_the_command_says_so(sandbox: Sandbox, settings: Settings) -> None:
    settings.DISCORD_BOT_TOKEN = ""

    with pytest.raises(CommandError, match="DISCORD_BOT_TOKEN is not set"):
        command()

    assert sandbox.requests() == []


# one server


def test_a_look_at_one_server_stores_what_is_there(sandbox: Sandbox) -> None:
    give_eve(sandbox, "One", "")

    assert verify_one(100) is True
    assert verify_one(101) is False
    assert there() == {"One"}


def test_a_look_marks_a_server_as_left(sandbox: Sandbox) -> None:
    give_eve(sandbox, "One")
    verify_one(100)
    give_eve(sandbox, "")

    assert verify_one(100) is False
    assert there() == set()


@pytest.mark.parametrize("mode", ["outage", "rate_limited", "garbage", "cloudflare_html", "forbidden", "timeout"])
def test_a_look_that_fails_changes_nothing(sandbox: Sandbox, mode: str) -> None:
    give_eve(sandbox, "One")
    verify_one(100)
    sandbox.mood(mode, retry_after=60)

    assert verify_one(100) is None
    assert there() == {"One"}


# to Discord and back


def membership(name: str) -> int:
    return UserGuildMembership.objects.get(name=name).guild_id


def question(location: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}


def looks_at(sandbox: Sandbox, guild_id: int) -> list[dict[str, Any]]:
    """The requests for this one server."""
    return [line for line in sandbox.requests() if line["query"].get("after") == str(guild_id - 1)]


def follow_consent(url: str, **choice: str) -> str:
    """Answer the sandbox's consent page; return the path that it redirects the browser to."""
    response = requests.get(url, params=choice, allow_redirects=False, timeout=30)
    assert response.status_code == 302, response.text
    location = urlsplit(response.headers["Location"])
    return f"{location.path}?{location.query}"


def test_adding_leads_to_discord_with_everything_it_needs(
    with_list: WithList, client_of: ClientOf, settings: Settings
) -> None:
    settings.DISCORD_BOT_PERMISSIONS = 268435456
    ada = with_list("ada")
    guild_id = membership("Django Study Group")

    response = client_of(ada).get(f"/servers/{guild_id}/add-bot/")

    asked = question(response["Location"])
    state = asked.pop("state")
    assert response["Location"].startswith(settings.DISCORD_AUTHORIZE_URL)
    assert asked == {
        "client_id": "guildhall",
        "scope": "bot applications.commands",
        "integration_type": "0",
        "permissions": "268435456",
        "guild_id": str(guild_id),
        "disable_guild_select": "true",
        "response_type": "code",
        "redirect_uri": "http://localhost:8000/servers/bot-added/",
    }
    assert bot.guild_of_state(ada.pk, state) == guild_id


def test_the_link_asks_for_what_the_install_link_gives(
    with_list: WithList, client_of: ClientOf, sandbox: Sandbox, settings: Settings
) -> None:
    settings.DISCORD_BOT_PERMISSIONS = None
    client = client_of(with_list("ada"))
    guild_id = membership("Django Study Group")
    route = "/applications/@me"
    installs = {"0": {"oauth2_install_params": {"scopes": ["bot"], "permissions": "3072"}}}
    sandbox.application(integration_types_config=installs)

    def asked() -> str:
        return question(client.get(f"/servers/{guild_id}/add-bot/")["Location"])["permissions"]

    sandbox.mood("outage", routes=[route])
    assert asked() == "0"
    sandbox.mood("healthy")
    assert asked() == "0"
    assert len(sandbox.requests(route)) == 1
    # Without waiting for the minute of a failure to end.
    cache.clear()

    assert [asked(), asked()] == ["3072", "3072"]
    assert len(sandbox.requests(route)) == 2
    settings.DISCORD_BOT_PERMISSIONS = 8
    assert asked() == "8"


def test_coming_back_looks_at_that_one_server_at_once(
    with_list: WithList, client_of: ClientOf, sandbox: Sandbox
) -> None:
    client = client_of(with_list("ada"))
    guild_id = membership("Django Study Group")
    offered = client.get(f"/servers/{guild_id}/add-bot/")["Location"]

    back = follow_consent(offered, **{"as": "ada"})
    response = client.get(back, follow=True)

    assert response.redirect_chain == [(f"/servers/{guild_id}/", 302)]
    assert "The bot is now in this server." in response.content.decode()
    assert len(looks_at(sandbox, guild_id)) == len(sandbox.requests()) == 1
    assert there() == {"Django Study Group"}


def test_saying_no_at_discord_is_fine(with_list: WithList, client_of: ClientOf, sandbox: Sandbox) -> None:
    client = client_of(with_list("ada"))
    guild_id = membership("Django Study Group")
    offered = client.get(f"/servers/{guild_id}/add-bot/")["Location"]

    response = client.get(follow_consent(offered, deny="1"), follow=True)

    assert response.redirect_chain == [(f"/servers/{guild_id}/", 302)]
    assert "You can add it at any time." in response.content.decode()
    assert looks_at(sandbox, guild_id) == []


def test_coming_back_without_the_bot_says_so(with_list: WithList, client_of: ClientOf, sandbox: Sandbox) -> None:
    client = client_of(with_list("ada"))
    guild_id = membership("Django Study Group")
    state = question(client.get(f"/servers/{guild_id}/add-bot/")["Location"])["state"]

    response = client.get("/servers/bot-added/", {"state": state, "guild_id": guild_id}, follow=True)

    assert "Discord says the bot isn't in this server." in response.content.decode().replace("&#x27;", "'")


def test_coming_back_while_discord_is_silent_loses_nothing(
    with_list: WithList, client_of: ClientOf, sandbox: Sandbox
) -> None:
    client = client_of(with_list("ada"))
    guild_id = membership("Django Study Group")
    state = question(client.get(f"/servers/{guild_id}/add-bot/")["Location"])["state"]
    sandbox.mood("outage")

    response = client.get("/servers/bot-added/", {"state": state}, follow=True)

    assert response.status_code == 200
    assert "confirmed yet whether the bot was added" in response.content.decode().replace("&#x27;", "'")


def test_only_the_state_says_which_server_it_was(with_list: WithList, client_of: ClientOf, sandbox: Sandbox) -> None:
    client = client_of(with_list("ada"))
    guild_id, other = membership("Django Study Group"), membership("1337 Krew")
    state = question(client.get(f"/servers/{guild_id}/add-bot/")["Location"])["state"]

    client.get("/servers/bot-added/", {"state": state, "guild_id": other})

    assert len(looks_at(sandbox, guild_id)) == 1
    assert looks_at(sandbox, other) == []


def test_each_state_is_worth_one_request(with_list: WithList, client_of: ClientOf, sandbox: Sandbox) -> None:
    ada = with_list("ada")
    guild_id = membership("Django Study Group")
    state = question(bot.add_url(ada.pk, guild_id, 0))["state"]

    for _ in range(3):
        response = client_of(ada).get("/servers/bot-added/", {"state": state})

    assert response["Location"] == f"/servers/{guild_id}/"
    assert len(looks_at(sandbox, guild_id)) == 1


@pytest.mark.parametrize(("name", "asked"), [("Django Study Group", 1), ("Winter Climbers", 0), ("no such server", 0)])
def test_a_link_of_another_site_is_looked_at_for_those_who_manage_the_server(
    with_list: WithList, client_of: ClientOf, sandbox: Sandbox, name: str, asked: int
) -> None:
    client = client_of(with_list("ada"))
    guild_id = membership(name) if asked or name == "Winter Climbers" else 1

    with time_machine.travel(datetime(2026, 11, 28, 12, tzinfo=UTC), tick=False):
        for _ in range(2):
            response = client.get("/servers/bot-added/", {"guild_id": guild_id, "permissions": "0"})

    assert response["Location"] == (f"/servers/{guild_id}/" if asked else "/servers/")
    assert len(looks_at(sandbox, guild_id)) == asked


def test_a_state_that_is_not_theirs_changes_nothing(with_list: WithList, client_of: ClientOf, sandbox: Sandbox) -> None:
    ada, linus = with_list("ada"), with_list("linus")
    guild_id = UserGuildMembership.objects.get(name="Django Study Group").guild_id
    of_ada = question(bot.add_url(ada.pk, guild_id, 0))["state"]
    of_old = signing.dumps([linus.pk, guild_id], salt=bot.STATE_SALT)
    client = client_of(linus)

    for state in (of_ada, of_ada[:-1], "", signing.dumps([linus.pk, guild_id]), of_old):
        response = client.get("/servers/bot-added/", {"state": state}, follow=True)
        assert response.redirect_chain == [("/servers/", 302)]
        assert "Nothing was changed." in response.content.decode()
    assert looks_at(sandbox, guild_id) == []


def test_a_state_lasts_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    state = question(bot.add_url(1, 2, 0))["state"]

    assert bot.guild_of_state(1, state) == 2
    monkeypatch.setattr(bot, "STATE_TTL", -1)
    assert bot.guild_of_state(1, state) is None


def test_only_people_who_manage_a_server_can_add_the_bot_to_it(with_list: WithList, client_of: ClientOf) -> None:
    client = client_of(with_list("ada"))

    member = client.get(f"/servers/{membership('Winter Climbers')}/add-bot/")
    stranger = client.get("/servers/1/add-bot/")

    assert member.status_code == 403
    assert "You can&#x27;t manage this server" in member.content.decode()
    assert stranger.status_code == 404
    assert "Not one of your servers" in stranger.content.decode()


def test_a_site_without_a_bot_offers_none(with_list: WithList, client_of: ClientOf, settings: Settings) -> None:
    client = client_of(with_list("ada"))
    settings.DISCORD_BOT_TOKEN = ""

    assert client.get(f"/servers/{membership('Django Study Group')}/add-bot/").status_code == 404


def test_a_visitor_signs_in_first(client: Client) -> None:
    for page in ("/servers/1/add-bot/", "/servers/bot-added/?state=x"):
        assert urlsplit(client.get(page)["Location"]).path == "/sign-in/"


# what the apps need


P = Permissions


@pytest.fixture
def needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        apps.get_app_config("guilds"), "bot_permissions", ("send_messages", "embed_links"), raising=False
    )


@pytest.mark.usefixtures("needs", "bot_synced")
@pytest.mark.parametrize(
    ("rights", "missing"),
    [
        ({"permissions": int(P.EMBED_LINKS)}, "Send Messages"),
        ({"permissions": int(P.ADMINISTRATOR)}, ""),
        ({"owner": True}, ""),
        ({"permissions": int(P.EMBED_LINKS | P.SEND_MESSAGES)}, ""),
    ],
)
def test_pages_name_what_the_bot_is_missing(
    with_list: WithList, client_of: ClientOf, rights: dict[str, Any], missing: str
) -> None:
    client = client_of(with_list("ada"))
    managed, plain = membership("Django Study Group"), membership("Winter Climbers")
    bot_joins(managed, plain, **rights)

    picker, page, read_only = (
        client.get(f"/servers/{path}").content.decode() for path in ("", f"{managed}/", f"{plain}/")
    )

    # In the card's text, since a phone shows no tooltips.
    assert picker.count(f" · The bot is missing: {missing}</small>") == (1 if missing else 0)
    assert picker.count("Bot added") == (0 if missing else 1)
    for found in (page, read_only):
        assert (f"The bot is missing: {missing}." in found) is bool(missing)
    assert ("Update the bot" in page) is bool(missing)
    assert "Update the bot" not in read_only


@pytest.mark.usefixtures("needs", "bot_synced")
def test_the_link_asks_for_what_the_bot_has_and_what_is_missing(
    with_list: WithList, client_of: ClientOf, settings: Settings
) -> None:
    settings.DISCORD_BOT_PERMISSIONS = int(P.BAN_MEMBERS)
    client = client_of(with_list("ada"))
    guild_id = membership("Django Study Group")
    needed = P.SEND_MESSAGES | P.EMBED_LINKS

    def asked(query: str = "") -> int:
        return int(question(client.get(f"/servers/{guild_id}/add-bot/{query}")["Location"])["permissions"])

    absent = asked()
    bot_joins(guild_id, permissions=int(P.EMBED_LINKS | P.KICK_MEMBERS))

    assert absent == P.BAN_MEMBERS | needed
    assert asked() == P.KICK_MEMBERS | needed
    assert asked("?permission=pin_messages+connect") == P.KICK_MEMBERS | P.PIN_MESSAGES | P.CONNECT | needed
    assert client.get(f"/servers/{guild_id}/add-bot/?permission=pin").status_code == 404


@pytest.mark.usefixtures("needs", "bot_synced")
def test_operators_and_programs_see_where_the_bot_lacks_permissions(staff: User, client_of: ClientOf) -> None:
    bot_joins(1, permissions=int(P.EMBED_LINKS))
    bot_joins(2, permissions=int(P.ADMINISTRATOR))
    bot_joins(3, owner=True)
    bot_joins(4, permissions=int(P.EMBED_LINKS | P.SEND_MESSAGES))
    bot_joins(5)
    BotGuild.objects.filter(pk=5).update(permissions=None)
    client = client_of(staff)

    found = client.get("/admin/guilds/botguild/", {"lacks": "yes"}).context["cl"].queryset
    told = client.get("/api/v1/bot/guilds/").json()["guilds"]

    assert [row.pk for row in found] == [1]
    assert "Send Messages" in client.get("/admin/guilds/botguild/1/change/").content.decode()
    assert [guild["missing_permissions"] for guild in told] == [["send_messages"], [], [], [], []]
    assert told[4]["permissions"] is None


@pytest.mark.parametrize(
    ("declared", "hint"), [(("send_mesages",), "did you mean 'send_messages'"), ("abc", "is a string")]
)
def test_a_wrong_declaration_of_an_app_is_found_at_the_start(
    monkeypatch: pytest.MonkeyPatch, declared: object, hint: str
) -> None:
    monkeypatch.setattr(apps.get_app_config("guilds"), "bot_permissions", declared, raising=False)

    [error] = apps_name_the_bots_permissions(None)

    assert hint in error.msg


# in the admin


@pytest.mark.parametrize(("query", "found"), [("1337 k", 1), ("", BOT_HAS), ("1", 1), ("no such server", 0)])
def test_operators_find_the_bots_servers(
    sandbox: Sandbox,
    staff: User,
    client_of: ClientOf,
    django_assert_max_num_queries: DjangoAssertNumQueries,
    query: str,
    found: int,
) -> None:
    client = client_of(staff)
    sync_bot_guilds()
    if query == "1":
        query = str(BotGuild.objects.get(name="1337 Krew").pk)
    sandbox.forget_requests()

    # Session, count, page and usage; two for the red strip; three to store when the operator's session ends.
    with django_assert_max_num_queries(9):
        response = client.get("/admin/guilds/botguild/", {"q": query})

    assert response.context["cl"].result_count == found
    assert sandbox.requests() == []
