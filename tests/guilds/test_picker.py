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

from accounts.models import User
from guilds import bot, personal_data
from guilds.models import Guild, GuildPreference, UserGuildMembership
from tests.fixtures import Sandbox, let_pass

pytestmark = pytest.mark.django_db(transaction=True)

WithList = Callable[..., User]
ClientOf = Callable[[User], Client]
HTMX = {"HX-Request": "true"}
LARGEST_PAGE = 60_000


def sections_on(response: Any) -> dict[str, list[str]]:
    """The names under each heading of the list."""
    found = {}
    for heading, body in re.findall(r'<h2 class="group">(.*?)</h2>(.*?)</section>', response.content.decode(), re.S):
        found[html.unescape(heading.strip())] = [html.unescape(name) for name in re.findall(r"<bdi>(.*?)</bdi>", body)]
    return found


def id_of(name: str) -> int:
    return UserGuildMembership.objects.get(name=name).guild_id


@pytest.fixture
def synced(sandbox: Sandbox, transactional_db: None) -> None:
    bot.sync(sleep=lambda _seconds: None)


# the sections


def test_where_the_bot_is_comes_first_then_where_it_can_be_added(
    synced: None, with_list: WithList, client_of: ClientOf
) -> None:
    response = client_of(with_list("ada")).get("/servers/")

    assert sections_on(response) == {
        "You manage": ["1337 Krew", "Analytical Engine Club", "Lisbon Board Gamers", "نادي القراءة العربي"],
        "You manage, without the bot": ["Difference & Sons <b>GmbH</b>", "Django Study Group", "Just Ada & Friends"],
        "You are a member of": [
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
    Guild.objects.filter(name="1337 Krew").update(deleted_at=F("verified_at"))

    assert "1337 Krew" in sections_on(client.get("/servers/"))["You manage, without the bot"]


def test_without_a_bot_token_there_is_no_word_of_a_bot(
    synced: None, with_list: WithList, client_of: ClientOf, settings: Settings
) -> None:
    settings.DISCORD_BOT_TOKEN = ""
    client = client_of(with_list("ada"))

    picker, detail = client.get("/servers/"), client.get(f"/servers/{id_of('Django Study Group')}/")

    assert list(sections_on(picker)) == ["You manage", "You are a member of"]
    for response in (picker, detail):
        assert not re.search(r"\bbot\b", re.sub(r"<[^>]*>", " ", response.content.decode()))
        assert "add-bot" not in response.content.decode()


def test_each_that_one_cannot_manage_says_why(synced: None, with_list: WithList, client_of: ClientOf) -> None:
    body = client_of(with_list("ada")).get("/servers/").content.decode()

    rows = [row for row in re.findall(r"<li>(.*?)</li>", body, re.S) if "<button name=" in row]
    assert len(rows) == 12
    for row in rows:
        assert ('class="badge' in row) != ("<summary>Why can’t I manage this one?</summary>Managing takes" in row)


# the filter


@pytest.mark.parametrize(("show", "count"), [("all", 12), ("manage", 7), ("owner", 3), ("", 12), ("<b>", 12)])
def test_the_filter_shows_what_one_manages_or_owns(
    with_list: WithList, client_of: ClientOf, show: str, count: int
) -> None:
    response = client_of(with_list("ada")).get("/servers/", {"show": show})

    assert sum(map(len, sections_on(response).values())) == count
    assert ("of 12 servers" in response.content.decode()) == (count < 12)


def test_filter_and_search_go_together(with_list: WithList, client_of: ClientOf) -> None:
    response = client_of(with_list("ada")).get("/servers/", {"show": "owner", "q": "ada"}, headers=HTMX)

    assert sections_on(response) == {"You manage, without the bot": ["Just Ada & Friends"]}


@pytest.mark.parametrize(
    ("show", "words"), [("owner", "You own none of your servers."), ("manage", "You may manage none of your servers.")]
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
    assert "Winter Climbers" not in sections_on(starred)["You are a member of"]
    assert f'<button name="unstar" value="{guild_id}" aria-label="Unstar Winter Climbers">' in starred.content.decode()

    back = client.post("/servers/favourites/", {"unstar": guild_id}, follow=True)
    assert "Favourites" not in sections_on(back)


def test_starring_twice_is_starring_once(with_list: WithList, client_of: ClientOf) -> None:
    client = client_of(with_list("ada"))

    for _ in range(2):
        client.post("/servers/favourites/", {"star": id_of("Winter Climbers")})

    assert list(GuildPreference.objects.values_list("favourite", flat=True)) == [True]


def test_htmx_gets_the_star_alone_in_its_place(with_list: WithList, client_of: ClientOf) -> None:
    client = client_of(with_list("ada"))
    guild_id = id_of("Winter Climbers")

    response = client.post("/servers/favourites/", {"star": guild_id, "q": "win", "show": ""}, headers=HTMX)

    star = f'<button name="unstar" value="{guild_id}" aria-label="Unstar Winter Climbers"></button>'
    assert response.content.decode().strip() == star
    assert (response["HX-Retarget"], response["HX-Reswap"]) == (f'#servers button[value="{guild_id}"]', "outerHTML")


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
    """What the page asks of the database beyond session and user."""
    with CaptureQueriesContext(connection) as queries:
        assert client.get(page).status_code == 200
    return [
        query["sql"]
        for query in queries
        if query["sql"] not in ("BEGIN", "BEGIN IMMEDIATE", "COMMIT")
        and not re.search(r'FROM "accounts_(session|user)"', query["sql"])
    ]


@pytest.mark.parametrize("name", ["linus", "grace"])
def test_the_picker_asks_the_database_twice_after_a_change_and_then_not_at_all(
    synced: None, with_list: WithList, client_of: ClientOf, name: str
) -> None:
    client = client_of(with_list(name))
    client.get("/api/v1/guilds/")

    first, second = statements(client, "/servers/"), statements(client, "/servers/")

    assert [statement.split('"')[1] for statement in first] == ["guilds_guild", "guilds_guildpreference"]
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
    assert len(response.content) < LARGEST_PAGE


def test_icons_come_in_two_sizes_lazily_and_still(with_list: WithList, client_of: ClientOf, settings: Settings) -> None:
    body = client_of(with_list("ada")).get("/servers/").content.decode()

    server = UserGuildMembership.objects.get(name="Pixel Animators")
    url = f"{settings.DISCORD_CDN_URL}/icons/{server.guild_id}/{server.icon}.png?size="
    assert server.icon.startswith("a_")
    assert f'<img src="{url}64" srcset="{url}128 2x" width="48" height="48" loading="lazy" alt>' in body
    assert ".gif" not in body
    assert re.search(r'<i class="h\d+" data-abc="JA&amp;"></i><bdi>Just Ada &amp; Friends</bdi>', body)


# one server


def test_a_servers_page_says_whether_the_bot_is_there(synced: None, with_list: WithList, client_of: ClientOf) -> None:
    client = client_of(with_list("ada"))

    def said(name: str) -> str:
        return client.get(f"/servers/{id_of(name)}/").content.decode()

    assert "The bot is in this server" in said("1337 Krew")
    assert f"/servers/{id_of('Django Study Group')}/add-bot/" in said("Django Study Group")
    assert "Only somebody who may manage the server can add it." in said("Winter Climbers")
    assert "add-bot" not in said("Winter Climbers")
