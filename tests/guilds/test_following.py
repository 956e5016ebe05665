"""How a page polls the list's age, and what it says about the last change."""

import html
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.bookkeeping import bookkeeper
from accounts.clock import database_now
from accounts.models import Session, User
from guilds import news, services
from guilds.listing.preferences import preferences_of
from guilds.models import UserGuildMembership
from tests.fixtures import Sandbox, let_pass, threading_join
from tests.guilds.rows import bot_joins

WithList = Callable[..., User]
ClientOf = Callable[[User], Client]

HTMX = {"HX-Request": "true"}
PATH = "/servers/freshness/"


def words_of(response: Any) -> str:
    """The visible text: without markup, one space between words."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", response.content.decode())).split())


def poll_of(page: Any) -> tuple[str, dict[str, str]]:
    """The address that the page polls, and the headers it sends."""
    text = page.content.decode()
    address = re.search(rf'hx-get="({PATH}[^"]*)"', text)
    headers = re.search(r'hx-headers="([^"]*)"', text)
    assert address
    assert headers
    return html.unescape(address[1]), {**HTMX, **json.loads(html.unescape(headers[1]))}


def due_in(page: Any) -> int | None:
    found = re.search(r'data-due="(\d+)"', page.content.decode())
    return int(found[1]) if found else None


def test_a_fresh_list_is_not_followed(with_list: WithList, client_of: ClientOf) -> None:
    page = client_of(with_list("ada", minutes=10)).get("/servers/")

    assert due_in(page) is None


def test_a_stale_list_is_followed_from_the_next_attempt_on(
    with_list: WithList, client_of: ClientOf, sandbox: Sandbox
) -> None:
    client = client_of(with_list("ada", hours=5))
    sandbox.mood("rate_limited", retry_after=45)

    page = client.get("/servers/")

    assert due_in(page) in (44, 45, 46)


def test_a_page_that_follows_gets_the_button_that_waits_for_the_same(
    with_list: WithList, client_of: ClientOf, sandbox: Sandbox
) -> None:
    client = client_of(with_list("ada", hours=5))
    sandbox.mood("rate_limited", retry_after=45)
    address, _ = poll_of(client.get("/servers/"))

    told = client.get(address, headers=HTMX).content.decode()

    button = told.partition('<div hx-swap-oob="innerHTML:#refresh">')[2]
    assert re.search(r'data-countdown="4[456]"\s+data-cooling', button)


def test_a_page_learns_that_the_bot_was_added_elsewhere(with_list: WithList, client_of: ClientOf) -> None:
    user = with_list("ada", minutes=10)
    client = client_of(user)
    address, headers = poll_of(client.get("/servers/"))
    assert client.get(address, headers=headers).status_code == 304
    membership = UserGuildMembership.objects.filter(user=user)[0]

    bot_joins(membership.guild_id)
    response = client.get(address, headers=headers)

    assert (response.status_code, response["HX-Trigger"]) == (204, "due")


def test_a_page_asks_again_and_again_only_where_a_bot_reports(
    with_list: WithList, client_of: ClientOf, settings: Any
) -> None:
    client = client_of(with_list("ada", minutes=10))
    guild_id = UserGuildMembership.objects.values_list("guild_id", flat=True)[0]
    pages = ("/servers/", f"/servers/{guild_id}/")

    with_bot = ["data-live" in client.get(page).content.decode() for page in pages]
    settings.DISCORD_BOT_TOKEN = ""
    without = ["data-live" in client.get(page).content.decode() for page in pages]

    assert (with_bot, without) == ([True, True], [False, False])


def test_what_the_bot_reports_is_news_for_an_open_page(with_list: WithList, client_of: ClientOf) -> None:
    user = with_list("ada", minutes=10)
    client = client_of(user)
    address, headers = poll_of(client.get("/servers/"))
    membership = UserGuildMembership.objects.filter(user=user)[0]

    news.member_left(user.pk, membership.guild_id, database_now())
    response = client.get(address, headers=headers)

    assert (response.status_code, response["HX-Trigger"]) == (204, "due")


def test_a_poll_without_news_costs_one_query_and_leaves_the_session(with_list: WithList, client_of: ClientOf) -> None:
    client = client_of(with_list("ada", minutes=10))
    address, headers = poll_of(client.get("/servers/"))
    client.get(address, headers=headers)
    before = list(Session.objects.values_list("session_key", "session_data", "expire_date"))

    with CaptureQueriesContext(connection) as queries:
        response = client.get(address, headers=headers)

    assert (response.status_code, len(queries)) == (304, 1)
    assert not response.cookies
    assert list(Session.objects.values_list("session_key", "session_data", "expire_date")) == before


def test_a_page_that_brings_itself_up_to_date_is_no_visit(with_list: WithList, client_of: ClientOf) -> None:
    user = with_list("ada", minutes=10)
    client = client_of(user)
    guild_id = UserGuildMembership.objects.filter(user=user)[0].guild_id

    updated = client.get(f"/servers/{guild_id}/", headers=HTMX)
    bookkeeper.settle()
    before = preferences_of(user.pk).recent
    client.get(f"/servers/{guild_id}/")
    bookkeeper.settle()

    assert (updated.status_code, before, preferences_of(user.pk).recent) == (200, (), (guild_id,))


def test_what_did_not_change_is_answered_with_304(with_list: WithList, client_of: ClientOf, sandbox: Sandbox) -> None:
    client = client_of(with_list("ada", hours=5))
    sandbox.mood("rate_limited", retry_after=45)
    address, headers = poll_of(client.get("/servers/"))

    responses = [client.get(address, headers=headers) for _ in range(3)]

    assert [(response.status_code, response.content) for response in responses] == [(304, b"")] * 3
    assert len(sandbox.requests()) == 1


def test_another_attempt_that_failed_brings_its_own_countdown(
    with_list: WithList, client_of: ClientOf, sandbox: Sandbox
) -> None:
    client = client_of(with_list("ada", hours=5))
    sandbox.mood("rate_limited", retry_after=45)
    address, headers = poll_of(client.get("/servers/"))
    let_pass(seconds=50)
    sandbox.mood("outage")

    response = client.get(address, headers=headers)

    assert response.status_code == 200
    assert "Discord isn't responding at the moment." in words_of(response)
    assert due_in(response)


def test_a_list_that_came_as_it_was_changes_the_age_alone(
    with_list: WithList, client_of: ClientOf, sandbox: Sandbox
) -> None:
    client = client_of(with_list("ada", hours=5))
    sandbox.mood("rate_limited", retry_after=45)
    address, headers = poll_of(client.get("/servers/"))
    let_pass(seconds=50)
    sandbox.mood("healthy")

    response = client.get(address, headers=headers)

    assert response.status_code == 200
    words, seconds = words_of(response).rsplit(" in ", 1)
    assert words == "Checked with Discord less than a minute ago Refresh now Refresh again"
    assert seconds in {f"{left} s" for left in range(30, 61)}
    assert due_in(response) is None


def test_a_list_that_came_otherwise_is_asked_for(with_list: WithList, client_of: ClientOf, sandbox: Sandbox) -> None:
    client = client_of(with_list("linus", hours=5))
    sandbox.mood("rate_limited", retry_after=45)
    address, headers = poll_of(client.get("/servers/"))
    let_pass(seconds=50)
    sandbox.mood("healthy")
    sandbox.person("linus", guilds=[])

    response = client.get(address, headers=headers)
    page = client.get("/servers/", headers={**HTMX, "HX-Trigger": "freshness"})

    assert (response.status_code, response["HX-Trigger"]) == (204, "due")
    assert 'hx-swap-oob="innerHTML:#freshness"' in page.content.decode()
    assert "Checked with Discord less than a minute ago 1 left" in words_of(page)


@pytest.mark.parametrize("hours", [0.95, 5], ids=["due", "stale"])
def test_a_refresh_on_its_way_is_followed_closely(
    with_list: WithList, client_of: ClientOf, sandbox: Sandbox, hours: float
) -> None:
    client = client_of(with_list("ada", hours=hours))
    sandbox.mood("healthy", latency_ms=700)

    page = client.get("/servers/")

    assert due_in(page) == 3
    assert " now…" in words_of(page)


@pytest.mark.parametrize(
    ("mood", "outcome"),
    [("healthy", "Checked with Discord less than a minute ago"), ("outage", "we couldn't check again just now")],
)
def test_a_page_that_said_discord_is_asked_says_how_it_ended(
    with_list: WithList, client_of: ClientOf, sandbox: Sandbox, mood: str, outcome: str
) -> None:
    client = client_of(with_list("ada", minutes=10))
    sandbox.mood(mood, latency_ms=700)
    page = client.post("/servers/refresh/", follow=True)
    assert due_in(page) == 3
    threading_join()

    told = client.get(poll_of(page)[0], headers=HTMX)

    assert outcome in words_of(told)
    assert " now…" not in words_of(told)
    assert due_in(told) is None


def test_a_page_whose_list_may_not_be_shown_any_more_is_loaded_anew(
    with_list: WithList, client_of: ClientOf, sandbox: Sandbox
) -> None:
    client = client_of(with_list("ada", hours=25))
    sandbox.mood("outage")

    response = client.get(PATH, {"version": 1}, headers=HTMX)

    assert (response.status_code, response["HX-Refresh"]) == (200, "true")


def test_a_page_whose_person_signed_out_is_loaded_anew(client: Client) -> None:
    assert client.get(PATH, {"version": 1}, headers=HTMX)["HX-Refresh"] == "true"


def test_a_poll_costs_four_queries(with_list: WithList, client_of: ClientOf, sandbox: Sandbox) -> None:
    client = client_of(with_list("grace", hours=5))
    sandbox.mood("outage")
    address, headers = poll_of(client.get("/servers/"))

    with CaptureQueriesContext(connection) as queries:
        client.get(address, headers=headers)

    assert len([query for query in queries if "session" not in query["sql"]]) <= 4


# what changed


@pytest.mark.parametrize(
    ("joined", "left", "words"),
    [(2, 1, "3 hours ago : 2 new, 1 left"), (1, 0, "3 hours ago : 1 new"), (0, 2, "3 hours ago : 2 left")],
)
def test_a_change_is_told_for_a_day(
    with_list: WithList, client_of: ClientOf, joined: int, left: int, words: str
) -> None:
    ada = with_list("ada")
    rows = UserGuildMembership.objects.filter(user=ada)
    rows.filter(pk__in=rows.values_list("pk")[:joined]).delete()
    for number in range(left):
        row = rows.last()
        assert row
        row.pk, row.guild_id = None, number + 1
        row.save(force_insert=True)
    let_pass(hours=2)
    services.get_guild_list(ada)

    let_pass(hours=3)
    news = words_of(client_of(ada).get("/servers/"))
    let_pass(hours=21)
    old = words_of(client_of(ada).get("/servers/"))

    assert words in news
    assert "hours ago" not in old


def test_the_first_list_is_no_news(with_list: WithList, client_of: ClientOf) -> None:
    page = client_of(with_list("ada", minutes=10)).get("/servers/")

    assert " new" not in words_of(page)
