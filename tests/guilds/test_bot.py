"""Where the bot is: the sync and its command, the look at one server, and the way to Discord's page and back."""

from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from django.core import signing
from django.core.management import CommandError, call_command
from django.test import Client
from pytest_django import DjangoAssertNumQueries, Settings

from accounts import gate
from accounts.clock import database_now
from accounts.discord import PartialGuild
from accounts.models import DiscordGate, User
from guilds import bot
from guilds.management.commands import sync_bot_guilds
from guilds.models import Guild, UserGuildMembership
from tests.fixtures import Sandbox

pytestmark = pytest.mark.django_db(transaction=True)

WithList = Callable[..., User]
ClientOf = Callable[[User], Client]
BOT_HAS = 17  # of ada's and grace's servers, on the sandbox's first day


def do_nothing(_seconds: float) -> None:
    """In place of a pause."""


def there() -> set[str]:
    return set(Guild.objects.filter(deleted_at=None).values_list("name", flat=True))


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


# the sync


def test_a_sync_stores_where_the_bot_is(sandbox: Sandbox) -> None:
    done = bot.sync(sleep=do_nothing)

    assert done == bot.SyncResult(guilds=BOT_HAS, joined=BOT_HAS, left=0)
    assert {"Analytical Engine Club", "1337 Krew", "Lisbon Board Gamers"} <= there()


def test_a_second_sync_changes_nothing_but_the_moment(sandbox: Sandbox) -> None:
    bot.sync(sleep=do_nothing)
    before = dict(Guild.objects.values_list("pk", "first_seen_at"))

    done = bot.sync(sleep=do_nothing)

    assert (done.joined, done.left) == (0, 0)
    assert dict(Guild.objects.values_list("pk", "first_seen_at")) == before


def test_paging_goes_on_until_an_empty_page(only_eve: Sandbox) -> None:
    only_eve.person("eve", count=450, bot=True)
    pauses: list[float] = []

    done = bot.sync(sleep=pauses.append)

    asked = only_eve.requests()
    assert done.guilds == 450 == Guild.objects.count()
    assert [line["status"] for line in asked] == [200] * 4
    assert pauses.count(bot.PAGE_PAUSE) == 3


def test_a_short_page_does_not_end_it(sandbox: Sandbox) -> None:
    sandbox.mood("short_page")

    assert bot.sync(sleep=do_nothing).guilds == BOT_HAS


def test_who_is_gone_is_marked_and_who_returns_is_revived(only_eve: Sandbox) -> None:
    give_eve(only_eve, "One", "Two")
    bot.sync(sleep=do_nothing)
    give_eve(only_eve, "One", "")

    left = bot.sync(sleep=do_nothing)
    two = Guild.objects.get(pk=101)
    assert (left.guilds, left.left, there()) == (1, 1, {"One"})
    assert two.deleted_at

    give_eve(only_eve, "One", "Two again")
    back = bot.sync(sleep=do_nothing)
    again = Guild.objects.get(pk=101)
    assert (back.joined, there()) == (1, {"One", "Two again"})
    assert again.first_seen_at == two.first_seen_at


@pytest.mark.parametrize("mode", ["outage", "garbage", "truncated", "wrong_type", "rate_limited"])
def test_a_run_that_broke_off_marks_nobody(only_eve: Sandbox, mode: str) -> None:
    only_eve.person("eve", count=250, bot=True)
    bot.sync(sleep=do_nothing)

    def break_off(_seconds: float) -> None:
        only_eve.mood(mode)

    only_eve.person("eve", count=10, bot=True)
    with pytest.raises(CommandError, match="No server was marked as left"):
        command(break_off)

    assert Guild.objects.filter(deleted_at=None).count() == 250


def test_an_answer_to_an_earlier_question_changes_nothing(sandbox: Sandbox) -> None:
    """A sync that was on the way while somebody added the bot, or removed it, doesn't undo what is known from later."""
    now = database_now()
    bot.store([PartialGuild(1, "New", None)], now)
    Guild.objects.create(id=2, name="Gone", first_seen_at=now, verified_at=now, deleted_at=now)

    early = now - timedelta(seconds=5)
    joined = bot.store([PartialGuild(1, "Old", None), PartialGuild(2, "Gone", None)], early)

    assert (joined, there()) == (0, {"New"})


def test_a_server_added_during_a_run_stays(only_eve: Sandbox) -> None:
    give_eve(only_eve, "One")

    def meanwhile(_seconds: float) -> None:
        bot.store([PartialGuild(50, "Just added", None)], database_now())

    assert bot.sync(sleep=meanwhile).left == 0
    assert there() == {"One", "Just added"}


def test_two_syncs_at_once_agree(only_eve: Sandbox) -> None:
    give_eve(only_eve, "One", "Two")
    inner: list[bot.SyncResult] = []

    def meanwhile(_seconds: float) -> None:
        if not inner:
            inner.append(bot.SyncResult(0, 0, 0))
            inner.append(bot.sync(sleep=do_nothing))

    outer = bot.sync(sleep=meanwhile)

    assert (outer.left, inner[1].left) == (0, 0)
    assert there() == {"One", "Two"}


def test_a_sync_passes_the_gate(sandbox: Sandbox) -> None:
    gate.read()
    DiscordGate.objects.update(until=database_now() + timedelta(minutes=5), reason="global_limit", streak=1)

    with pytest.raises(CommandError, match="Discord limits the whole site"):
        command()

    assert sandbox.requests() == []


def test_each_page_takes_its_place_in_the_send_budget(sandbox: Sandbox) -> None:
    bot.sync(sleep=do_nothing)

    assert DiscordGate.objects.get().version == 2


# the command


def command(sleep: Callable[[float], None] = do_nothing) -> str:
    out = StringIO()
    made = sync_bot_guilds.Command(stdout=out)
    made.sleep = sleep  # type: ignore[method-assign]  # as the command itself leaves it to be set
    call_command(made)
    return out.getvalue()


def test_the_command_says_what_it_found(sandbox: Sandbox) -> None:
    assert command() == f"The bot is in {BOT_HAS} servers ({BOT_HAS} new, 0 left).\n"


def test_a_wrong_token_is_one_clear_error_and_asked_once(sandbox: Sandbox, settings: Settings) -> None:
    settings.DISCORD_BOT_TOKEN = "not-the-token"

    with pytest.raises(CommandError) as error:
        command()

    assert "Discord refuses DISCORD_BOT_TOKEN" in str(error.value)
    assert "not-the-token" not in str(error.value)
    assert "\n" not in str(error.value)
    assert [line["status"] for line in sandbox.requests()] == [401]
    assert not Guild.objects.exists()


def test_without_a_token_the_command_says_so(sandbox: Sandbox, settings: Settings) -> None:
    settings.DISCORD_BOT_TOKEN = ""

    with pytest.raises(CommandError, match="DISCORD_BOT_TOKEN is not set"):
        command()

    assert sandbox.requests() == []


# one server


def test_a_look_at_one_server_stores_what_is_there(sandbox: Sandbox) -> None:
    give_eve(sandbox, "One", "")

    assert bot.check(100) is True
    assert bot.check(101) is False
    assert there() == {"One"}


def test_a_look_marks_a_server_as_left(sandbox: Sandbox) -> None:
    give_eve(sandbox, "One")
    bot.check(100)
    give_eve(sandbox, "")

    assert bot.check(100) is False
    assert there() == set()


@pytest.mark.parametrize("mode", ["outage", "rate_limited", "garbage", "cloudflare_html", "forbidden", "timeout"])
def test_a_look_that_fails_changes_nothing(sandbox: Sandbox, mode: str) -> None:
    give_eve(sandbox, "One")
    bot.check(100)
    sandbox.mood(mode, retry_after=60)

    assert bot.check(100) is None
    assert there() == {"One"}


# to Discord and back


def membership(name: str) -> int:
    return UserGuildMembership.objects.get(name=name).guild_id


def question(location: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}


def follow_consent(url: str, **choice: str) -> str:
    """The sandbox's consent page, answered; where it sends the browser, without our host."""
    answer = requests.get(url, params=choice, allow_redirects=False, timeout=30)
    assert answer.status_code == 302, answer.text
    location = urlsplit(answer.headers["Location"])
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
        "permissions": "268435456",
        "guild_id": str(guild_id),
        "disable_guild_select": "true",
        "response_type": "code",
        "redirect_uri": "http://localhost:8000/servers/bot-added/",
    }
    assert bot.guild_of_state(ada.pk, state) == guild_id


def test_coming_back_looks_at_that_one_server_at_once(
    with_list: WithList, client_of: ClientOf, sandbox: Sandbox
) -> None:
    client = client_of(with_list("ada"))
    guild_id = membership("Django Study Group")
    offered = client.get(f"/servers/{guild_id}/add-bot/")["Location"]

    back = follow_consent(offered, **{"as": "ada"})
    response = client.get(back, follow=True)

    assert response.redirect_chain == [(f"/servers/{guild_id}/", 302)]
    assert "The bot is in this server now." in response.content.decode()
    assert len(sandbox.requests(f"/guilds/{guild_id}")) == 1
    assert sandbox.requests() == []
    assert there() == {"Django Study Group"}


def test_saying_no_at_discord_is_fine(with_list: WithList, client_of: ClientOf, sandbox: Sandbox) -> None:
    client = client_of(with_list("ada"))
    guild_id = membership("Django Study Group")
    offered = client.get(f"/servers/{guild_id}/add-bot/")["Location"]

    response = client.get(follow_consent(offered, deny="1"), follow=True)

    assert response.redirect_chain == [(f"/servers/{guild_id}/", 302)]
    assert "The bot was not added." in response.content.decode()
    assert sandbox.requests(f"/guilds/{guild_id}") == []


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
    assert "Discord can't tell yet" in response.content.decode().replace("&#x27;", "'")


def test_only_the_state_says_which_server_it_was(with_list: WithList, client_of: ClientOf, sandbox: Sandbox) -> None:
    client = client_of(with_list("ada"))
    guild_id, other = membership("Django Study Group"), membership("1337 Krew")
    state = question(client.get(f"/servers/{guild_id}/add-bot/")["Location"])["state"]

    client.get("/servers/bot-added/", {"state": state, "guild_id": other})

    assert len(sandbox.requests(f"/guilds/{guild_id}")) == 1
    assert sandbox.requests(f"/guilds/{other}") == []


def test_a_state_that_is_not_theirs_changes_nothing(with_list: WithList, client_of: ClientOf, sandbox: Sandbox) -> None:
    ada, linus = with_list("ada"), with_list("linus")
    guild_id = UserGuildMembership.objects.get(name="Django Study Group").guild_id
    of_ada = question(bot.add_url(ada.pk, guild_id))["state"]
    client = client_of(linus)

    for state in (of_ada, of_ada[:-1], "", signing.dumps([linus.pk, guild_id])):
        response = client.get("/servers/bot-added/", {"state": state}, follow=True)
        assert response.redirect_chain == [("/servers/", 302)]
        assert "Nothing has changed here." in response.content.decode()
    assert sandbox.requests(f"/guilds/{guild_id}") == []


def test_a_state_lasts_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    state = question(bot.add_url(1, 2))["state"]

    assert bot.guild_of_state(1, state) == 2
    monkeypatch.setattr(bot, "STATE_TTL", -1)
    assert bot.guild_of_state(1, state) is None


def test_only_people_who_manage_a_server_can_add_the_bot_to_it(with_list: WithList, client_of: ClientOf) -> None:
    client = client_of(with_list("ada"))

    member = client.get(f"/servers/{membership('Winter Climbers')}/add-bot/")
    stranger = client.get("/servers/1/add-bot/")

    assert member.status_code == 403
    assert "You may not manage this server" in member.content.decode()
    assert stranger.status_code == 404
    assert "Not one of your servers" in stranger.content.decode()


def test_a_site_without_a_bot_offers_none(with_list: WithList, client_of: ClientOf, settings: Settings) -> None:
    client = client_of(with_list("ada"))
    settings.DISCORD_BOT_TOKEN = ""

    assert client.get(f"/servers/{membership('Django Study Group')}/add-bot/").status_code == 404


def test_a_visitor_signs_in_first(client: Client) -> None:
    for page in ("/servers/1/add-bot/", "/servers/bot-added/?state=x"):
        assert urlsplit(client.get(page)["Location"]).path == "/sign-in/"


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
    bot.sync(sleep=do_nothing)
    if query == "1":
        query = str(Guild.objects.get(name="1337 Krew").pk)
    sandbox.forget_requests()

    with django_assert_max_num_queries(8):
        response = client.get("/admin/guilds/guild/", {"q": query})

    assert response.context["cl"].result_count == found
    assert sandbox.requests() == []
