"""A site that asks people for their name alone: what the bot knows of them is enough for pages behind a role."""

from collections.abc import Callable
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client
from django.urls import path
from pytest_django import DjangoAssertNumQueries, Settings

from accounts.models import User
from config.urls import handler403, handler404, handler500  # noqa: F401 - read by Django of this module
from config.urls import urlpatterns as site_urls
from guilds.decorators import guild_required
from guilds.middleware import GuildRequest
from sandbox.remote import BOT_MEMBER
from tests.fixtures import Sandbox
from tests.guilds.rows import bot_joins

CLUB, ELSEWHERE, STRANGE, STAFF, OTHER = 11, 12, 13, 501, 502


def said(request: GuildRequest, guild_id: int) -> HttpResponse:
    return HttpResponse(f"{request.guild} {sorted(request.guild.member.roles)}")


NEEDS: dict[str, dict[str, Any]] = {
    "role": {"role": STAFF},
    "member": {"member": True},
    "bot": {"role": STAFF, "bot": "send_messages"},
    "embeds": {"role": STAFF, "bot": "embed_links"},
    "none": {"role": ()},
    "plain": {},
    "manager": {"permission": "manage_guild", "role": STAFF},
}
urlpatterns = [
    *(path(f"{name}/<int:guild_id>/", guild_required(**needs)(said)) for name, needs in NEEDS.items()),
    *site_urls,
]
pytestmark = pytest.mark.urls(__name__)


@pytest.fixture
def visitor(
    settings: Settings, sandbox: Sandbox, sign_up: Callable[..., User], client_of: Callable[[User], Client]
) -> Client:
    """Eve, who shares her name alone; the bot is in two servers, of which she is in one, and not in the third."""
    settings.DISCORD_SCOPES = ["identify"]
    sandbox.person(
        "eve",
        guilds=[{"id": str(number), "name": f"Server {number}", "permissions": "0"} for number in (CLUB, ELSEWHERE)],
    )
    sandbox.person("bob", guilds=[{"id": str(STRANGE), "name": "Server 13", "permissions": "0"}])
    for number in (CLUB, STRANGE):
        sandbox.bot(number, 1 << 11)
    bot_joins(CLUB, STRANGE, permissions=1 << 11)
    sandbox.roles(CLUB, {"id": str(STAFF), "name": "Staff"}, {"id": str(OTHER), "name": "Others"})
    sandbox.member("eve", CLUB, roles=[str(STAFF)])
    return client_of(sign_up("eve", scopes=("identify",)))


@pytest.mark.parametrize(
    ("name", "guild_id", "status", "problem"),
    [
        ("role", CLUB, 200, ""),
        ("member", CLUB, 200, ""),
        ("bot", CLUB, 200, ""),
        ("embeds", CLUB, 409, "bot-missing-permission"),
        ("none", CLUB, 403, "missing-role"),
        # Only the list says these.
        ("plain", CLUB, 403, "missing-scope"),
        ("manager", CLUB, 403, "missing-scope"),
        ("role", ELSEWHERE, 403, "missing-scope"),
        ("role", STRANGE, 404, "not-in-guild"),
        # A stranger learns nothing about the bot there.
        ("embeds", STRANGE, 404, "not-in-guild"),
    ],
)
def test_the_bot_is_enough_for_roles(visitor: Client, name: str, guild_id: int, status: int, problem: str) -> None:
    response: Any = visitor.get(f"/{name}/{guild_id}/")

    assert response.status_code == status
    assert getattr(response, "problem_name", "") == problem
    if not problem:
        assert response.content.decode() == f"Server {CLUB} [{STAFF}]"


def test_a_lost_role_closes_the_page(visitor: Client, sandbox: Sandbox) -> None:
    sandbox.member("eve", CLUB, roles=[str(OTHER)])

    assert visitor.get(f"/role/{CLUB}/").status_code == 403


def test_the_picker_shows_what_the_bot_knows(visitor: Client, sandbox: Sandbox) -> None:
    empty = visitor.get("/servers/").content.decode()
    assert "its bot doesn't know you from any yet" in empty
    visitor.get(f"/member/{CLUB}/")
    visitor.get(f"/member/{STRANGE}/")
    sandbox.forget_requests()

    page = visitor.get("/servers/")

    assert page.status_code == 200
    text = page.content.decode()
    assert "These are the ones its bot knows you from" in text
    assert f'href="{CLUB}/"' in text
    assert f'href="{STRANGE}/"' not in text
    assert "/sign-in/?scope=guilds&amp;next=/servers/" in text
    assert sandbox.requests("") == [], "the picker never asks"


def test_a_site_that_asks_for_the_servers_still_requires_them(visitor: Client, settings: Settings) -> None:
    settings.DISCORD_SCOPES = ["identify", "guilds"]

    assert visitor.get("/servers/").status_code == 403


def test_the_bot_does_not_stand_in_for_a_list_that_discord_withholds(
    settings: Settings,
    sandbox: Sandbox,
    visitor: Client,
    sign_up: Callable[..., User],
    client_of: Callable[..., Client],
) -> None:
    settings.DISCORD_SCOPES = ["identify", "guilds"]
    sandbox.person("zoe", guilds=[{"id": str(CLUB), "name": "Server 11"}])
    sandbox.member("zoe", CLUB, roles=[str(STAFF)])
    shares_list = client_of(sign_up("zoe"))
    sandbox.mood("rate_limited", retry_after=45)

    response = shares_list.get(f"/role/{CLUB}/", headers={"Accept": "application/json"})

    assert (response.status_code, response.json()["type"]) == (429, "/problems/rate-limited")
    assert sandbox.requests("", route=BOT_MEMBER) == []


def test_a_person_who_tries_many_servers_has_to_wait(visitor: Client, sandbox: Sandbox, settings: Settings) -> None:
    settings.MEMBER_THROTTLE_USER = (2, 60)
    more = range(100, 103)
    bot_joins(CLUB, STRANGE, *more, permissions=1 << 11)
    assert visitor.get(f"/role/{CLUB}/").status_code == 200

    tried = [visitor.get(f"/role/{number}/") for number in more]

    assert [response.status_code for response in tried][1:] == [429, 429]
    assert int(tried[-1]["Retry-After"]) >= 1
    assert len(sandbox.requests("", route=BOT_MEMBER)) == 2
    assert visitor.get(f"/role/{CLUB}/").status_code == 200, "a server that is known already costs nothing"


def test_the_guard_and_the_view_read_the_member_once(
    visitor: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    first = visitor.get(f"/api/v1/guilds/{CLUB}/member/")

    # The session, the unshared list, the bot's guild, whether the person is known there, and their member record.
    with django_assert_num_queries(5):
        visitor.get(f"/role/{CLUB}/")

    assert first["Cache-Status"].startswith("guildhall; fwd=miss")
