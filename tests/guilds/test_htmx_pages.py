"""Pages of one's own with htmx: the guard's answers replace no part of a page by a whole one."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client
from django.urls import path
from pytest_django import Settings

from accounts.models import User
from config.urls import urlpatterns as site_urls
from guilds.decorators import guild_list_required, guild_required
from guilds.middleware import GuildListRequest, GuildRequest
from tests.fixtures import Sandbox
from tests.guilds.rows import bot_joins

HTMX = {"HX-Request": "true", "HX-Current-URL": "http://testserver/mine/?tab=2"}
# The page with the same problem has ten times as much.
SMALL = 1500


@guild_required("manage_guild")
def part(request: GuildRequest, guild_id: int) -> HttpResponse:
    return HttpResponse(f"part {bool(request.htmx)}")


@guild_required(max_age=timedelta(minutes=5))
def young(request: GuildRequest, guild_id: int) -> HttpResponse:
    return HttpResponse("saved")


@guild_list_required
def menu(request: GuildListRequest) -> HttpResponse:
    return HttpResponse("menu")


@guild_required(bot="send_messages")
def announcing(request: GuildRequest, guild_id: int) -> HttpResponse:
    return HttpResponse("sent")


urlpatterns: list[Any] = [
    *site_urls,
    path("announcing/<int:guild_id>/", announcing),
    path("part/<int:guild_id>/", part),
    path("young/<int:guild_id>/", young),
    path("menu/", menu),
]


@pytest.fixture
def browser(
    with_list: Callable[..., User], client_of: Callable[[User], Client], sandbox: Sandbox, settings: Settings
) -> Client:
    settings.ROOT_URLCONF = __name__
    sandbox.person("ada", guilds=[{"id": "1", "owner": True}, {"id": "2", "permissions": "0"}])
    return client_of(with_list("ada", hours=2))


def test_a_part_is_served_as_one(browser: Client) -> None:
    assert browser.get("/part/1/", headers=HTMX).content == b"part True"
    assert browser.get("/part/1/").content == b"part False"


@pytest.mark.parametrize("address", ["/part/1/", "/menu/"])
@pytest.mark.parametrize("method", ["get", "post"])
def test_an_anonymous_visitor_signs_in_and_comes_back_to_the_page(
    address: str, method: str, client: Client, settings: Settings, db: None
) -> None:
    settings.ROOT_URLCONF = __name__

    response = getattr(client, method)(address, headers=HTMX)

    assert (response.status_code, response["HX-Redirect"]) == (200, "/sign-in/?next=/mine/%3Ftab%3D2")
    elsewhere = getattr(client, method)(address, headers={**HTMX, "HX-Current-URL": "https://evil.example/mine/"})
    assert "evil" not in elsewhere["HX-Redirect"]
    # A boosted link loads a whole page.
    assert client.get(address, headers={**HTMX, "HX-Boosted": "true"}).status_code == 302


@pytest.mark.parametrize(
    ("address", "status", "said"),
    [("/part/2/", 403, "Manage Server"), ("/part/3/", 404, "not in a server")],
)
def test_a_refusal_is_a_fragment(address: str, status: int, said: str, browser: Client) -> None:
    response = browser.get(address, headers=HTMX)

    text = response.content.decode()
    assert (response.status_code, response["HX-Reswap"]) == (status, "innerHTML")
    assert said in text
    assert "<html" not in text
    assert len(text) < SMALL


@pytest.mark.parametrize(("mood", "status"), [("rate_limited", 429), ("outage", 503)])
def test_a_wait_is_a_small_fragment_with_its_countdown(
    mood: str, status: int, browser: Client, sandbox: Sandbox
) -> None:
    sandbox.mood(mood)

    read = browser.get("/young/1/", headers=HTMX)
    saved = browser.post("/young/1/", {"text": "x"}, headers=HTMX)

    for response in (read, saved):
        text = response.content.decode()
        assert response.status_code == status
        assert int(response["Retry-After"]) > 0
        assert "<html" not in text
        assert "in the last 5 minutes" in text
        assert len(text) < SMALL
    assert 'data-reload="/mine/?tab=2"' in read.content.decode()
    assert "Nothing was saved" in saved.content.decode()
    assert "data-reload" not in saved.content.decode()


def test_who_must_reconnect_can_do_so_from_the_fragment(browser: Client, sandbox: Sandbox) -> None:
    sandbox.revoke("ada")

    text = browser.get("/young/1/", headers=HTMX).content.decode()

    assert "Reconnect with Discord" in text
    assert 'name="next" value="/mine/?tab=2"' in text


def test_every_page_has_the_configuration(client: Client, db: None) -> None:
    assert client.get("/").content.decode().count('name="htmx-config"') == 1


def test_what_the_bot_lacks_can_be_added_from_a_fragment_too(browser: Client) -> None:
    bot_joins(1, permissions=0)

    text = browser.get("/announcing/1/", headers=HTMX).content.decode()

    assert 'href="/servers/1/add-bot/?permission=send_messages"' in text
