"""The list's query parameters, the export, and 304 for a client that already has the response."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from accounts.clock import database_now
from accounts.models import User
from guilds.models import BotGuild, GuildListVerification, UserGuildMembership
from tests.fixtures import Sandbox, let_pass

WithList = Callable[..., User]
ClientOf = Callable[[User], Client]
LIST = "/api/v1/guilds/"
EXPORT = "/api/v1/memberships/export/"


@pytest.fixture
def browser(with_list: WithList, client_of: ClientOf) -> Client:
    return client_of(with_list("ada", minutes=10))


def listed(browser: Client, query: str = "") -> list[dict[str, Any]]:
    response = browser.get(f"{LIST}?{query}")
    assert response.status_code == 200, response.content
    guilds: list[dict[str, Any]] = response.json()["guilds"]
    return guilds


@pytest.mark.parametrize(("parameter", "member"), [("manageable", "can_manage"), ("owner", "owner")])
def test_a_filter_and_its_opposite_share_the_list(browser: Client, parameter: str, member: str) -> None:
    everything = listed(browser)

    those, others = listed(browser, f"{parameter}=true"), listed(browser, f"{parameter}=false")

    assert those == [guild for guild in everything if guild[member]]
    assert others == [guild for guild in everything if not guild[member]]
    assert those
    assert others


def test_filters_narrow_each_other(browser: Client) -> None:
    found = listed(browser, "manageable=true&owner=false")

    assert found == [guild for guild in listed(browser) if guild["can_manage"] and not guild["owner"]]
    assert found


def test_has_bot_is_unknown_before_the_first_complete_run(browser: Client) -> None:
    response = browser.get(f"{LIST}?has_bot=false")

    assert response.json()["type"] == "/problems/bot-presence-unknown"
    assert (response.status_code, response["Retry-After"]) == (503, "60")


@pytest.mark.usefixtures("bot_synced")
def test_has_bot_is_what_the_site_knows_of_the_bot(browser: Client, settings: Settings) -> None:
    assert listed(browser, "has_bot=true") == []
    assert listed(browser, "has_bot=false") == listed(browser)
    one, another = listed(browser)[4:6]
    now = database_now()

    BotGuild.objects.create(pk=one["id"], name="Chess", first_seen_at=now, verified_at=now)
    BotGuild.objects.create(pk=another["id"], name="Left", first_seen_at=now, verified_at=now, deleted_at=now)

    assert listed(browser, "has_bot=true") == [one]
    assert len(listed(browser, "has_bot=false")) == 11
    settings.DISCORD_BOT_TOKEN = ""
    assert listed(browser, "has_bot=true") == []


@pytest.mark.django_db
def test_where_the_bot_is_comes_from_its_rows(client_of: ClientOf, settings: Settings) -> None:
    staff = client_of(User.objects.create(username="grace", is_staff=True))
    now = database_now().replace(microsecond=0)
    BotGuild.objects.create(pk=2, name="Chess", first_seen_at=now, verified_at=now)
    BotGuild.objects.create(pk=1, name="Left", first_seen_at=now, verified_at=now, deleted_at=now)

    guilds = staff.get("/api/v1/bot/guilds/").json()["guilds"]
    settings.DISCORD_BOT_TOKEN = ""
    without_bot = staff.get("/api/v1/bot/guilds/").json()["guilds"]

    rights: dict[str, Any] = {"permissions": None, "missing_permissions": []}
    shown = {"id": "2", "name": "Chess", "icon": None, **rights, "verified_at": f"{now:%Y-%m-%dT%H:%M:%SZ}"}
    assert (guilds, without_bot) == ([shown], [])


@pytest.mark.parametrize("search", ["KREW", "krew", "%20krew%20"])
def test_search_finds_part_of_a_name_in_any_case(browser: Client, search: str) -> None:
    assert [guild["name"] for guild in listed(browser, f"search={search}")] == ["1337 Krew"]


def test_an_empty_search_finds_everything(browser: Client) -> None:
    assert listed(browser, "search=") == listed(browser)


@pytest.mark.parametrize(
    ("ordering", "key"),
    [("id", lambda guild: int(guild["id"])), ("name", lambda guild: (guild["name"].casefold(), int(guild["id"])))],
)
def test_the_order_is_chosen_and_turned_around(browser: Client, ordering: str, key: Callable[[Any], Any]) -> None:
    everything = listed(browser)

    assert listed(browser, f"ordering={ordering}") == sorted(everything, key=key)
    assert listed(browser, f"ordering=-{ordering}") == sorted(everything, key=key, reverse=True)


def test_fields_are_those_asked_for_and_the_id(browser: Client) -> None:
    found = listed(browser, "fields=name,can_manage")

    assert [set(guild) for guild in found] == [{"id", "name", "can_manage"}] * 12


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("managable=true", "managable"),
        ("manageable=1", "manageable"),
        ("manageable=True", "manageable"),
        ("manageable=", "manageable"),
        ("owner=yes", "owner"),
        ("owner=true&owner=false", "owner"),
        ("has_bot=null", "has_bot"),
        ("ordering=members", "ordering"),
        ("ordering=id,name", "ordering"),
        ("fields=", "fields"),
        ("fields=name,", "fields"),
        ("fields=token", "fields"),
        ("search=" + "x" * 101, "search"),
        ("search=%00", "search"),
        ("format=json", "format"),
        ("x" * 65 + "=1", "x" * 63 + "…"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(browser: Client, sandbox: Sandbox, query: str, parameter: str) -> None:
    response = browser.get(f"{LIST}?{query}")

    assert (response.status_code, response.json()["type"]) == (400, "/problems/invalid-parameter")
    assert response.json()["parameter"] == parameter
    assert parameter in response.json()["detail"]
    assert sandbox.requests() == []


def test_a_part_of_the_list_is_as_old_as_the_whole(browser: Client, sandbox: Sandbox) -> None:
    let_pass(hours=5)
    sandbox.mood("outage")

    response = browser.get(f"{LIST}?owner=true")

    body = response.json()
    assert (body["freshness"], body["reason"]) == ("stale", "unavailable")
    assert int(response["Age"]) >= 5 * 3600
    assert response["Cache-Status"].endswith("detail=unavailable")


# 304


@pytest.mark.parametrize("page", [LIST, f"{LIST}?owner=true", f"{LIST}?fields=name&ordering=-name", "one"])
def test_who_has_the_answer_gets_304_until_something_changes(browser: Client, page: str) -> None:
    guild_id = listed(browser, "owner=true")[0]["id"]
    page = f"{LIST}{guild_id}/" if page == "one" else page
    etag = browser.get(page)["ETag"]

    same = browser.get(page, headers={"If-None-Match": etag})
    UserGuildMembership.objects.filter(guild_id=guild_id).update(name="another name")
    GuildListVerification.objects.update(version=99)
    other = browser.get(page, headers={"If-None-Match": etag})

    assert (same.status_code, same.content) == (304, b"")
    assert same["ETag"] == etag
    assert {"Age", "Cache-Status", "Cache-Control"} <= set(same.headers)
    assert other.status_code == 200
    assert b"another name" in other.content
    assert other["ETag"] != etag


def test_a_list_that_gets_stale_is_another_answer(browser: Client, sandbox: Sandbox) -> None:
    guild_id = listed(browser)[0]["id"]
    etag = browser.get(f"{LIST}{guild_id}/")["ETag"]
    let_pass(hours=5)
    sandbox.mood("outage")

    response = browser.get(f"{LIST}{guild_id}/", headers={"If-None-Match": etag})

    assert (response.status_code, response.json()["freshness"]) == (200, "stale")


def test_parts_of_the_list_have_etags_of_their_own(browser: Client) -> None:
    etags = {browser.get(f"{LIST}{query}")["ETag"] for query in ("", "?owner=true", "?owner=false", "?fields=id")}

    assert len(etags) == 4


# the export


def test_the_export_is_a_file_of_all_that_is_stored(browser: Client) -> None:
    response = browser.get(EXPORT)

    body = response.json()
    assert response["Content-Disposition"] == 'attachment; filename="guildhall-servers.json"'
    assert "private" in response["Cache-Control"]
    assert body["freshness"] == "fresh"
    stored = [{name: guild.pop(name) for name in ("first_seen_at", "changed_at")} for guild in body["guilds"]]
    assert body["guilds"] == listed(browser)
    assert all(moments["first_seen_at"] for moments in stored)


def test_the_export_asks_nobody_however_old_the_list_is(browser: Client, sandbox: Sandbox) -> None:
    let_pass(hours=30)
    sandbox.mood("outage")

    response = browser.get(EXPORT)

    assert response.json()["freshness"] == "expired"
    assert len(response.json()["guilds"]) == 12
    assert int(response["Age"]) >= 30 * 3600
    assert "ttl=-" in response["Cache-Status"]
    assert sandbox.requests() == []


def test_the_export_of_who_has_no_list_is_empty(ada: User, client_of: ClientOf, sandbox: Sandbox) -> None:
    response = client_of(ada).get(EXPORT)

    assert {**response.json(), "next_attempt_at": None} == {
        "verified_at": None,
        "freshness": "none",
        "reason": None,
        "next_attempt_at": None,
        "guilds": [],
    }
    assert "Age" not in response
    assert sandbox.requests() == []


def test_the_export_holds_nobody_elses_servers(browser: Client, with_list: WithList) -> None:
    with_list("grace")

    assert len(browser.get(EXPORT).json()["guilds"]) == 12
