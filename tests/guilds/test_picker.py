"""The picker's order, filter, favourites and last used; what it costs, and what it weighs."""

import html
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.db.models import F
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from accounts.discord import Permissions
from accounts.models import User
from guilds import personal_data
from guilds.models import BotGuild, GuildPreference, UserGuildMembership
from tests.fixtures import Sandbox, let_pass
from tests.guilds.rows import sync_bot_guilds

pytestmark = pytest.mark.django_db(transaction=True)

WithList = Callable[..., User]
ClientOf = Callable[[User], Client]
HTMX = {"HX-Request": "true"}
MAX_PAGE_BYTES = 60_000


def sections_on(response: Any) -> dict[str, list[str]]:
    """The names under each heading of the list."""
    found = {}
    for heading, body in re.findall(r'<h2 class="group">(.*?)</h2>(.*?)</section>', response.content.decode(), re.S):
        found[html.unescape(heading.strip())] = [html.unescape(name) for name in re.findall(r"<bdi>(.*?)</bdi>", body)]
    return found


def cards_on(response: Any) -> dict[str, tuple[str | None, str | None]]:
    """The state and the button of each server on the page; None for what a row doesn't have."""
    found = {}
    for row in re.findall(r"<li.*?</li>", response.content.decode(), re.S):
        if "<button name=" in row:
            name, state, button = (
                re.search(pattern, row)
                for pattern in ("<bdi>(.*?)</bdi>", "<small>(.*?)</small>", r"([\w ]+)</[ab]></p>")
            )
            assert name
            found[html.unescape(name[1])] = (state and state[1], button and button[1])
    return found


def id_of(name: str) -> int:
    return UserGuildMembership.objects.get(name=name).guild_id


@pytest.fixture
def synced(sandbox: Sandbox, transactional_db: None) -> None:
    sync_bot_guilds()


# the sections


def test_where_the_bot_is_comes_first_then_where_it_can_be_added(
    synced: None, with_list: WithList, client_of: ClientOf
) -> None:
    response = client_of(with_list("ada")).get("/servers/")

    assert sections_on(response) == {
        "Servers you manage": ["1337 Krew", "Analytical Engine Club", "Lisbon Board Gamers", "نادي القراءة العربي"],
        "Servers you can add the bot to": ["Difference & Sons <b>GmbH</b>", "Django Study Group", "Just Ada & Friends"],
        "Other servers": [
            "no",
            "Pixel Animators",
            "The Honourable Society for the Very Slow and Very Careful Reading of Very Long and Dense Old Books",
            "Winter Climbers",
            "🎮🌈 ゲーム部屋 👩‍👩‍👧‍👦",
        ],
    }


def test_it_can_be_added_where_one_manages_and_it_is_not(
    synced: None, with_list: WithList, client_of: ClientOf
) -> None:
    response = client_of(with_list("ada")).get("/servers/")

    links = re.findall(r'href="(\d+)/add-bot/"', response.content.decode())
    assert {int(link) for link in links} == {
        id_of(name) for name in ("Difference & Sons <b>GmbH</b>", "Django Study Group", "Just Ada & Friends")
    }


def test_a_bot_that_left_can_be_added_again(synced: None, with_list: WithList, client_of: ClientOf) -> None:
    client = client_of(with_list("ada"))
    BotGuild.objects.filter(name="1337 Krew").update(deleted_at=F("verified_at"))

    assert "1337 Krew" in sections_on(client.get("/servers/"))["Servers you can add the bot to"]


def test_without_a_bot_token_there_is_no_word_of_a_bot(
    synced: None, with_list: WithList, client_of: ClientOf, settings: Settings
) -> None:
    settings.DISCORD_BOT_TOKEN = ""
    client = client_of(with_list("ada"))

    picker, detail = client.get("/servers/"), client.get(f"/servers/{id_of('Django Study Group')}/")

    assert list(sections_on(picker)) == ["Servers you manage", "Other servers"]
    for response in (picker, detail):
        assert not re.search(r"\bbot\b", re.sub(r"<[^>]*>", " ", response.content.decode()))
        assert "add-bot" not in response.content.decode()


def test_cards_have_a_state_and_a_button_and_the_others_are_rows(
    synced: None, with_list: WithList, client_of: ClientOf
) -> None:
    client = client_of(with_list("ada"))
    client.post("/servers/favourites/", {"star": id_of("Winter Climbers")})

    found = cards_on(client.get("/servers/"))

    assert len(found) == 12
    assert found["1337 Krew"] == ("Owner · Bot added", "Open")
    assert found["Django Study Group"] == ("Manager · No bot yet", "Add the bot")
    assert found["Winter Climbers"] == ("Member", "Open")
    assert found["Pixel Animators"] == (None, None)


def test_a_card_says_that_it_is_not_known_yet_where_the_bot_is(with_list: WithList, client_of: ClientOf) -> None:
    found = cards_on(client_of(with_list("ada")).get("/servers/"))

    assert found["1337 Krew"] == ("Owner · Bot not checked yet", "Open")
    assert found["Django Study Group"] == ("Manager · Bot not checked yet", "Open")


def test_more_than_twelve_under_a_heading_are_folded_unless_they_were_searched_for(
    with_list: WithList, client_of: ClientOf, sandbox: Sandbox
) -> None:
    sandbox.person("many", guilds=[{"name": f"Server {number:02}"} for number in range(20)])
    client = client_of(with_list("many"))

    whole, found = client.get("/servers/"), client.get("/servers/", {"q": "server"})

    assert "Show 8 more" in whole.content.decode()
    assert "Show" not in re.findall("<summary.*?</summary>", found.content.decode(), re.S)[-1]
    for response in (whole, found):
        assert len(sections_on(response)["Other servers"]) == 20


# the filter


@pytest.mark.parametrize(("show", "count"), [("all", 12), ("manage", 7), ("owner", 3), ("", 12), ("<b>", 12)])
def test_the_filter_shows_what_one_manages_or_owns(
    with_list: WithList, client_of: ClientOf, show: str, count: int
) -> None:
    response = client_of(with_list("ada")).get("/servers/", {"show": show})

    assert sum(map(len, sections_on(response).values())) == count
    assert (f"{count} of 12 servers" in response.content.decode()) == (count < 12)


def test_before_the_first_complete_run_nobody_is_told_to_add_the_bot(with_list: WithList, client_of: ClientOf) -> None:
    client = client_of(with_list("ada"))
    server = UserGuildMembership.objects.filter(owner=True)[0].guild_id

    picker, detail = (client.get(path).content.decode() for path in ("/servers/", f"/servers/{server}/"))

    assert "Add the bot" not in picker + detail
    assert "We haven't checked yet whether the bot is in this server." in detail


@pytest.mark.usefixtures("bot_synced")
def test_filter_and_search_go_together(with_list: WithList, client_of: ClientOf) -> None:
    response = client_of(with_list("ada")).get("/servers/", {"show": "owner", "q": "ada"}, headers=HTMX)

    assert sections_on(response) == {"Servers you can add the bot to": ["Just Ada & Friends"]}


@pytest.mark.parametrize(
    ("show", "words"), [("owner", "You don't own any servers."), ("manage", "You don't manage any servers.")]
)
def test_a_filter_without_a_match_says_so(with_list: WithList, client_of: ClientOf, show: str, words: str) -> None:
    response = client_of(with_list("linus")).get("/servers/", {"show": show})

    assert words in response.content.decode()


# favourites


def test_a_star_moves_the_server_to_the_top_and_back(with_list: WithList, client_of: ClientOf) -> None:
    client = client_of(with_list("ada"))
    guild_id = id_of("Winter Climbers")

    starred = client.post("/servers/favourites/", {"star": guild_id}, follow=True)
    assert starred.redirect_chain == [("/servers/#servers", 302)]
    assert next(iter(sections_on(starred).items())) == ("Favourites", ["Winter Climbers"])
    assert "Winter Climbers" not in sections_on(starred)["Other servers"]
    star = f'<button name="unstar" value="{guild_id}" aria-pressed="true" aria-label="Star Winter Climbers"></button>'
    assert star in starred.content.decode()

    back = client.post("/servers/favourites/", {"unstar": guild_id}, follow=True)
    assert "Favourites" not in sections_on(back)


def test_starring_twice_is_starring_once(with_list: WithList, client_of: ClientOf) -> None:
    client = client_of(with_list("ada"))

    for _ in range(2):
        client.post("/servers/favourites/", {"star": id_of("Winter Climbers")})

    assert list(GuildPreference.objects.values_list("favourite", flat=True)) == [True]


def test_htmx_gets_no_page_for_a_star(with_list: WithList, client_of: ClientOf) -> None:
    client = client_of(with_list("ada"))
    guild_id = id_of("Winter Climbers")

    response = client.post("/servers/favourites/", {"star": guild_id, "q": "win", "show": ""}, headers=HTMX)

    assert (response.status_code, response.content) == (204, b"")
    assert GuildPreference.objects.get().favourite


def test_without_a_script_the_search_survives_a_star(with_list: WithList, client_of: ClientOf) -> None:
    client = client_of(with_list("ada"))

    response = client.post("/servers/favourites/", {"star": id_of("1337 Krew"), "q": "a & b", "show": "owner"})

    assert response["Location"] == "/servers/?q=a+%26+b&show=owner#servers"


def test_the_star_on_a_servers_page_leads_back_there(with_list: WithList, client_of: ClientOf) -> None:
    client = client_of(with_list("ada"))
    guild_id = id_of("Winter Climbers")

    response = client.post("/servers/favourites/", {"star": guild_id, "detail": ""}, follow=True)

    assert response.redirect_chain == [(f"/servers/{guild_id}/", 302)]
    assert "Remove from favourites" in response.content.decode()


@pytest.mark.parametrize("chosen", ["", "1", "x", "²", "-1", "9" * 30])
def test_only_ones_own_servers_can_be_starred(with_list: WithList, client_of: ClientOf, chosen: str) -> None:
    response = client_of(with_list("ada")).post("/servers/favourites/", {"star": chosen})

    assert response.status_code == 404
    assert not GuildPreference.objects.exists()


def test_a_star_that_went_astray_ends_on_the_list(with_list: WithList, client_of: ClientOf) -> None:
    assert client_of(with_list("ada")).get("/servers/favourites/")["Location"] == "/servers/"


def test_favourites_are_each_persons_own_and_only_where_they_are(
    with_list: WithList, client_of: ClientOf, sandbox: Sandbox
) -> None:
    ada, linus = client_of(with_list("ada")), client_of(with_list("linus"))
    shared = UserGuildMembership.objects.get(user__discord_username="linus").guild_id
    linus.post("/servers/favourites/", {"star": shared})

    assert "Favourites" not in sections_on(ada.get("/servers/"))
    assert len(sections_on(linus.get("/servers/"))["Favourites"]) == 1

    sandbox.person("linus", guilds=[])
    let_pass(hours=2)
    assert sections_on(linus.get("/servers/")) == {}


# last used


def test_the_servers_opened_last_stand_first(with_list: WithList, client_of: ClientOf) -> None:
    client = client_of(with_list("ada"))
    names = ["no", "1337 Krew", "Winter Climbers", "Pixel Animators", "Django Study Group"]
    assert "Recently used" not in sections_on(client.get("/servers/"))

    for name in names:
        client.get(f"/servers/{id_of(name)}/")

    assert sections_on(client.get("/servers/"))["Recently used"] == names[:0:-1]
    assert "Recently used" not in sections_on(client.get("/servers/", {"q": "no"}))


def test_opening_a_page_again_writes_once_a_minute(with_list: WithList, client_of: ClientOf) -> None:
    client = client_of(with_list("ada"))
    page = f"/servers/{id_of('no')}/"
    client.get(page)
    first = GuildPreference.objects.get().last_used_at

    client.get(page)
    assert GuildPreference.objects.get().last_used_at == first

    GuildPreference.objects.update(favourite=True)
    let_pass(minutes=1)
    client.get(page)
    again = GuildPreference.objects.get()
    assert first
    assert again.last_used_at
    assert again.last_used_at > first
    assert again.favourite


def test_a_page_that_is_not_theirs_is_not_remembered(with_list: WithList, client_of: ClientOf) -> None:
    client_of(with_list("ada")).get("/servers/1/")

    assert not GuildPreference.objects.exists()


def test_forgetting_a_person_forgets_their_favourites(with_list: WithList, client_of: ClientOf) -> None:
    ada, linus = with_list("ada"), with_list("linus")
    for user in (ada, linus):
        mine = UserGuildMembership.objects.filter(user=user)[0].guild_id
        client_of(user).post("/servers/favourites/", {"star": mine})

    personal_data.forget_user(ada)

    assert [row.user_id for row in GuildPreference.objects.all()] == [linus.pk]


# what it costs


def statements(client: Client, page: str) -> list[str]:
    """The page's queries beyond those for session and user."""
    with CaptureQueriesContext(connection) as queries:
        assert client.get(page).status_code == 200
    return [
        query["sql"]
        for query in queries
        if query["sql"] not in ("BEGIN", "BEGIN IMMEDIATE", "COMMIT")
        and not re.search(r'FROM "accounts_(session|user)"', query["sql"])
    ]


@pytest.mark.parametrize("name", ["linus", "grace"])
def test_the_picker_asks_the_database_three_times_after_a_change_and_then_not_at_all(
    synced: None, with_list: WithList, client_of: ClientOf, name: str
) -> None:
    client = client_of(with_list(name))
    client.get("/api/v1/guilds/")

    first, second = statements(client, "/servers/"), statements(client, "/servers/")

    assert [statement.split('"')[1] for statement in first] == [
        "guilds_guild",
        "guilds_botpresence",
        "guilds_guildpreference",
    ]
    assert second == []


@pytest.mark.parametrize("name", ["linus", "grace"])
def test_a_servers_page_asks_the_database_four_times_at_most(
    synced: None, with_list: WithList, client_of: ClientOf, name: str
) -> None:
    client = client_of(with_list(name))
    page = f"/servers/{UserGuildMembership.objects.all()[0].guild_id}/"

    counts = [len(statements(client, page)) for _ in range(2)]
    let_pass(minutes=1)
    counts.append(len(statements(client, page)))

    assert counts == [3, 1, 4]


def test_a_hundred_servers_weigh_less_than_60_kb(
    synced: None, with_list: WithList, client_of: ClientOf, sandbox: Sandbox
) -> None:
    sandbox.person("hundred", count=100)
    client = client_of(with_list("hundred"))

    response = client.get("/servers/")

    assert sum(map(len, sections_on(response).values())) == 100
    assert len(response.content) < MAX_PAGE_BYTES


def test_icons_come_in_two_sizes_lazily_and_still(with_list: WithList, client_of: ClientOf, settings: Settings) -> None:
    body = client_of(with_list("ada")).get("/servers/").content.decode()

    server = UserGuildMembership.objects.get(name="Pixel Animators")
    url = f"{settings.DISCORD_CDN_URL}/icons/{server.guild_id}/{server.icon}.png?size="
    assert server.icon.startswith("a_")
    assert f'<img src="{url}32" srcset="{url}64 2x" width="32" height="32" loading="lazy" alt>' in body
    assert "animated" not in body
    assert re.search(r'<li class="h\d+" data-right="owner">', body)
    assert '<i data-abc="JA&amp;"></i><bdi>Just Ada &amp; Friends</bdi>' in body


# one server


def test_a_servers_page_says_whether_the_bot_is_there(synced: None, with_list: WithList, client_of: ClientOf) -> None:
    client = client_of(with_list("ada"))

    def said(name: str) -> str:
        return client.get(f"/servers/{id_of(name)}/").content.decode()

    assert "The bot is in this server" in said("1337 Krew")
    assert f"/servers/{id_of('Django Study Group')}/add-bot/" in said("Django Study Group")
    assert "Only people who manage this server can add it." in said("Winter Climbers")
    assert "add-bot" not in said("Winter Climbers")


def test_a_servers_page_names_rare_permissions_and_known_features(
    synced: None, with_list: WithList, client_of: ClientOf, sandbox: Sandbox
) -> None:
    rare = Permissions.BYPASS_SLOWMODE | Permissions.VIEW_CREATOR_MONETIZATION_ANALYTICS
    everyday = Permissions.CREATE_EVENTS | Permissions.CREATE_GUILD_EXPRESSIONS
    features = ["GUILD_TAGS", "GUESTS_ENABLED", "SOUNDBOARD", "INTERNAL_SWITCH"]
    sandbox.person("zoe", guilds=[{"name": "Chess", "permissions": str(int(rare | everyday)), "features": features}])

    page = client_of(with_list("zoe")).get(f"/servers/{id_of('Chess')}/").content.decode()

    named = re.findall(r"<li>([^<]+)</li>", page)
    assert set(named) == {
        "Bypass Slowmode",
        "View Creator Monetization Analytics",
        "Server tag",
        "Guest invites",
        "Soundboard",
    }
    assert "Plus 2 basic permissions" in page
