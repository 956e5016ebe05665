"""The endpoint for the person's roles in a guild."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from accounts.models import User
from sandbox.remote import MEMBER
from tests.fixtures import Sandbox, let_pass
from tests.guilds.rows import list_of
from tests.guilds.test_api import FRESHNESS_FIELDS, assert_problem, ttl_of

CLUB, ELSEWHERE, STAFF = 11, 99, 501
ADDRESS = f"/api/v1/guilds/{CLUB}/member/"


@pytest.fixture
def eve(sandbox: Sandbox, sign_up: Callable[..., User]) -> User:
    guilds = [{"id": str(CLUB), "permissions": "0"}]
    sandbox.person("eve", guilds=guilds)
    sandbox.roles(CLUB, {"id": str(STAFF), "name": "Staff"}, {"id": "77", "name": "Others"})
    sandbox.member("eve", CLUB, roles=[str(STAFF), "77"], nick="Evi", pending=True)
    user = sign_up("eve", scopes=("identify", "guilds", "guilds.members.read"))
    list_of(user, guilds)
    sandbox.forget_requests()
    return user


@pytest.fixture
def visitor(eve: User, client_of: Callable[[User], Client]) -> Client:
    return client_of(eve)


def test_the_person_reads_their_roles(visitor: Client) -> None:
    body = visitor.get(ADDRESS).json()

    assert set(body) == FRESHNESS_FIELDS | {"member"}
    assert body["freshness"] == "fresh"
    assert body["member"] == {
        "roles": ["77", str(STAFF)],
        "nick": "Evi",
        "joined_at": body["member"]["joined_at"],
        "timed_out_until": None,
        "pending": True,
    }
    assert body["member"]["joined_at"].endswith("Z")


def test_the_headers_are_about_the_roles_and_not_the_list(visitor: Client, sandbox: Sandbox) -> None:
    let_pass(minutes=10)
    visitor.get(ADDRESS)
    let_pass(minutes=6)

    response = visitor.get(ADDRESS)

    assert 360 <= int(response["Age"]) < 420
    assert 3180 < ttl_of(response) <= 3240
    assert response["Cache-Control"] == "private, no-cache"
    again = visitor.get(ADDRESS, headers={"If-None-Match": response["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    sandbox.member("eve", CLUB, nick="Eve")
    let_pass(hours=2)
    assert visitor.get(ADDRESS, headers={"If-None-Match": response["ETag"]}).status_code == 200


def test_roles_of_hours_ago_are_returned_with_the_reason(visitor: Client, sandbox: Sandbox) -> None:
    before = visitor.get(ADDRESS).json()
    let_pass(hours=5)
    sandbox.mood("rate_limited", retry_after=40, routes=[MEMBER])

    response = visitor.get(ADDRESS)

    assert (response.json()["freshness"], response.json()["reason"]) == ("stale", "rate_limited")
    assert response.json()["member"] == before["member"]
    assert response["Cache-Status"].endswith("detail=rate_limited")


def test_a_guild_of_others_asks_nobody(visitor: Client, sandbox: Sandbox) -> None:
    assert_problem(visitor.get(f"/api/v1/guilds/{ELSEWHERE}/member/"), 404, "not-in-guild")
    assert sandbox.requests("") == []


@pytest.mark.parametrize(
    ("mood", "status", "problem"),
    [
        ({"mode": "rate_limited", "retry_after": 40}, 429, "rate-limited"),
        ({"mode": "outage"}, 503, "discord-unavailable"),
    ],
)
def test_without_roles_the_program_is_told_why(
    visitor: Client, sandbox: Sandbox, mood: dict[str, Any], status: int, problem: str
) -> None:
    sandbox.mood(**mood, routes=[MEMBER])

    assert assert_problem(visitor.get(ADDRESS), status, problem)["retry_after"] > 20


def test_without_consent_the_scope_is_named(
    sandbox: Sandbox, eve: User, sign_up: Callable[..., User], client_of: Callable[[User], Client]
) -> None:
    sandbox.person("ada", guilds=[{"id": str(CLUB), "permissions": "0"}])
    ada = sign_up("ada")

    assert assert_problem(client_of(ada).get(ADDRESS), 403, "missing-scope")["scope"] == "guilds.members.read"
    assert sandbox.requests("", route=MEMBER) == []


def test_a_token_needs_the_scope_for_guilds(eve: User, token_of: Callable[..., str]) -> None:
    def status(scope: str) -> int:
        headers = {"Authorization": f"Bearer {token_of(eve, scope)}"}
        return Client().get(ADDRESS, headers=headers).status_code

    assert (status("guilds:read"), status("me:read")) == (200, 403)
