"""The JSON API: its shapes, its headers, and each failure as application/problem+json."""

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from django.middleware.csrf import get_token
from django.test import Client

from accounts import gate
from accounts.clock import database_now
from accounts.models import User
from guilds.models import GuildListVerification, UserGuildMembership
from tests.fixtures import Sandbox

WithList = Callable[..., User]
ClientOf = Callable[[User], Client]

FRESH: dict[str, float] = {"minutes": 10}
STALE: dict[str, float] = {"hours": 5}
EXPIRED: dict[str, float] = {"hours": 25}
GUILD_FIELDS = {"id", "name", "icon", "banner", "owner", "permissions", "can_manage", "features"}
FRESHNESS_FIELDS = {"verified_at", "freshness", "reason", "next_attempt_at"}


def assert_problem(response: Any, status: int, name: str) -> dict[str, Any]:
    body: dict[str, Any] = response.json()
    assert response.status_code == body["status"] == status
    assert response["Content-Type"] == "application/problem+json"
    assert response["Cache-Control"] == "no-store"
    assert body["type"] == f"/problems/{name}"
    assert body["title"]
    assert body["detail"]
    assert body.get("retry_after") == (int(response["Retry-After"]) if "Retry-After" in response else None)
    return body


def ttl_of(response: Any) -> int:
    found = re.fullmatch(r"guildhall; (?:hit|fwd=[a-z]+); ttl=(-?\d+)(?:; detail=[a-z_]+)?", response["Cache-Status"])
    assert found, response["Cache-Status"]
    return int(found[1])


# who may ask


@pytest.mark.parametrize("page", ["guilds/", "guilds/80351110224678912/", "me/"])
def test_without_a_session_the_api_says_how_to_get_one(client: Client, page: str) -> None:
    response = client.get(f"/api/v1/{page}")

    assert_problem(response, 401, "not-signed-in")
    assert response["WWW-Authenticate"] == 'Bearer realm="guildhall"'


def test_without_a_session_nothing_is_refreshed(client: Client, sandbox: Sandbox) -> None:
    assert_problem(client.post("/api/v1/guilds/refresh/"), 401, "not-signed-in")
    assert sandbox.requests() == []


def test_another_site_cannot_refresh(with_list: WithList, client_of: ClientOf, sandbox: Sandbox) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = client_of(with_list("ada", **FRESH)).cookies

    response = strict.post("/api/v1/guilds/refresh/")

    assert_problem(response, 403, "csrf-failed")
    assert sandbox.requests() == []


def test_a_page_of_ours_can_refresh(with_list: WithList, client_of: ClientOf, sandbox: Sandbox) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = client_of(with_list("ada", **FRESH)).cookies
    found = re.search(r'csrfmiddlewaretoken" value="(\w+)"', strict.get("/servers/").content.decode())
    assert found

    response = strict.post(
        "/api/v1/guilds/refresh/", content_type="application/json", headers={"X-CSRFToken": found[1]}
    )

    assert response.status_code == 200
    assert len(sandbox.requests()) == 1


# the shapes


def test_a_list_says_what_discord_said_and_when(with_list: WithList, client_of: ClientOf) -> None:
    response = client_of(with_list("ada", **FRESH)).get("/api/v1/guilds/")

    body = response.json()
    assert response.status_code == 200
    assert set(body) == FRESHNESS_FIELDS | {"guilds"}
    assert (body["freshness"], body["reason"]) == ("fresh", None)
    assert (
        datetime.fromisoformat(body["verified_at"]) < database_now() < datetime.fromisoformat(body["next_attempt_at"])
    )
    assert len(body["guilds"]) == 12
    assert all(set(guild) == GUILD_FIELDS for guild in body["guilds"])


def test_ids_and_permissions_are_strings(with_list: WithList, client_of: ClientOf) -> None:
    guilds = client_of(with_list("grace")).get("/api/v1/guilds/").json()["guilds"]

    assert len(guilds) == 200
    assert {(type(guild["id"]), type(guild["permissions"])) for guild in guilds} == {(str, str)}
    assert any(int(guild["permissions"]) > 2**52 for guild in guilds)
    assert [int(guild["id"]) for guild in guilds] == sorted(int(guild["id"]) for guild in guilds)


def test_a_missing_picture_is_null(with_list: WithList, client_of: ClientOf) -> None:
    guilds = client_of(with_list("ada")).get("/api/v1/guilds/").json()["guilds"]

    by_name = {guild["name"]: guild for guild in guilds}
    assert by_name["no"]["icon"] is None
    assert by_name["Pixel Animators"]["icon"].startswith("a_")
    assert by_name["1337 Krew"]["can_manage"] is by_name["1337 Krew"]["owner"] is True
    assert by_name["no"]["can_manage"] is False


def test_one_guild_is_as_in_the_list(with_list: WithList, client_of: ClientOf) -> None:
    client = client_of(with_list("ada", **FRESH))
    listed = client.get("/api/v1/guilds/").json()["guilds"][3]

    response = client.get(f"/api/v1/guilds/{listed['id']}/")

    assert response.status_code == 200
    assert set(response.json()) == FRESHNESS_FIELDS | {"guild"}
    assert response.json()["guild"] == listed


def test_nobody_has_an_empty_list(with_list: WithList, client_of: ClientOf) -> None:
    response = client_of(with_list("nobody")).get("/api/v1/guilds/")

    assert (response.status_code, response.json()["guilds"]) == (200, [])


def test_me_is_who_one_is_and_asks_nobody(ada: User, client_of: ClientOf, sandbox: Sandbox) -> None:
    sandbox.mood("outage")

    response = client_of(ada).get("/api/v1/me/")

    assert response.status_code == 200
    assert response.json() == {
        "id": str(ada.pk),
        "discord_id": str(ada.discord_id),
        "username": "ada",
        "global_name": None,
        "avatar": None,
    }
    assert "private" in response["Cache-Control"]
    assert sandbox.requests() == []


@pytest.mark.django_db
def test_me_without_a_discord_account_has_no_discord_id(client: Client) -> None:
    staff = User.objects.create_user(username="staff", is_staff=True)
    client.force_login(staff, backend="guilds.backends.PasswordBackend")

    assert client.get("/api/v1/me/").json()["discord_id"] is None


@pytest.mark.parametrize("guild_id", ["0", "1", "9" * 400])
def test_a_guild_one_is_not_in_is_a_problem(with_list: WithList, client_of: ClientOf, guild_id: str) -> None:
    client = client_of(with_list("ada"))

    assert_problem(client.get(f"/api/v1/guilds/{guild_id}/"), 404, "not-in-guild")


def test_somebody_elses_guild_is_not_there(with_list: WithList, client_of: ClientOf) -> None:
    with_list("grace")
    client = client_of(with_list("linus"))
    of_grace = UserGuildMembership.objects.filter(user__discord_username="grace").values_list("guild_id", flat=True)

    response = client.get(f"/api/v1/guilds/{of_grace[0]}/")

    assert_problem(response, 404, "not-in-guild")


# the age


@pytest.mark.parametrize("page", ["guilds/", "guilds/{}/"])
def test_a_fresh_answer_says_how_long_it_is_good(with_list: WithList, client_of: ClientOf, page: str) -> None:
    client = client_of(with_list("ada", **FRESH))
    guild_id = UserGuildMembership.objects.values_list("guild_id", flat=True)[0]

    response = client.get(f"/api/v1/{page.format(guild_id)}")

    age = int(response["Age"])
    assert 600 <= age < 660
    assert 3600 - age - 1 <= ttl_of(response) <= 3600 - age
    assert response["Cache-Control"] == "private, no-cache"


@pytest.mark.parametrize("page", ["guilds/", "guilds/{}/"])
@pytest.mark.parametrize(
    ("mode", "reason"), [("rate_limited", "rate_limited"), ("global_limit", "global_limit"), ("outage", "unavailable")]
)
def test_a_stale_answer_says_so_and_why(
    with_list: WithList, client_of: ClientOf, sandbox: Sandbox, mode: str, reason: str, page: str
) -> None:
    ada = with_list("ada", **STALE)
    guild_id = UserGuildMembership.objects.values_list("guild_id", flat=True)[0]
    sandbox.mood(mode)

    response = client_of(ada).get(f"/api/v1/{page.format(guild_id)}")

    body, row = response.json(), GuildListVerification.objects.get(pk=ada.pk)
    assert response.status_code == 200
    assert (body["freshness"], body["reason"]) == ("stale", reason)
    assert row.not_before
    assert datetime.fromisoformat(body["next_attempt_at"]) >= row.not_before.replace(microsecond=0)
    assert 18_000 <= int(response["Age"]) < 18_010
    assert ttl_of(response) == pytest.approx(3600 - 18_000, abs=10)
    assert response["Cache-Status"].endswith(f"; detail={reason}")
    assert len(sandbox.requests()) == 1


@pytest.mark.parametrize(
    ("age", "method", "page", "how"),
    [
        (FRESH, "get", "guilds/", "hit"),
        ({"minutes": 58}, "get", "guilds/", "hit"),
        (FRESH, "post", "guilds/refresh/", "fwd=request"),
        (STALE, "get", "guilds/", "fwd=stale"),
        (STALE, "post", "guilds/refresh/", "fwd=stale"),
        (EXPIRED, "get", "guilds/", "fwd=stale"),
        (None, "get", "guilds/", "fwd=miss"),
    ],
    ids=["fresh", "due", "fresh, refreshed", "stale", "stale, refreshed", "expired", "none"],
)
def test_an_answer_says_whether_discord_was_waited_for_and_why(
    with_list: WithList,
    sign_up: WithList,
    client_of: ClientOf,
    age: dict[str, float] | None,
    method: str,
    page: str,
    how: str,
) -> None:
    client = client_of(with_list("ada", **age) if age else sign_up("ada"))

    response = client.generic(method.upper(), f"/api/v1/{page}")

    assert response.status_code == 200
    assert response["Cache-Status"].startswith(f"guildhall; {how}; ttl=")


def test_a_stale_list_that_nobody_may_be_asked_about_is_a_hit(
    with_list: WithList, client_of: ClientOf, sandbox: Sandbox
) -> None:
    client = client_of(with_list("ada", **STALE))
    sandbox.mood("outage")

    first, second = (client.get("/api/v1/guilds/")["Cache-Status"] for _ in range(2))

    assert first.startswith("guildhall; fwd=stale; ttl=-")
    assert second.startswith("guildhall; hit; ttl=-")


def test_two_answers_of_one_list_have_the_same_body(with_list: WithList, client_of: ClientOf) -> None:
    client = client_of(with_list("ada", **FRESH))

    first, second = client.get("/api/v1/guilds/"), client.get("/api/v1/guilds/")

    assert first.content == second.content


# while Discord is away


@pytest.mark.parametrize("age", [EXPIRED, None], ids=["expired", "none"])
@pytest.mark.parametrize(
    ("mode", "status", "name", "reason"),
    [
        ("rate_limited", 429, "rate-limited", "rate_limited"),
        ("global_limit", 429, "rate-limited", "global_limit"),
        ("cloudflare_json", 429, "rate-limited", "cloudflare"),
        ("outage", 503, "discord-unavailable", "unavailable"),
        ("garbage", 503, "unexpected-reply", "unusable"),
    ],
)
def test_without_a_list_the_problem_says_how_long(
    with_list: WithList,
    sign_up: WithList,
    client_of: ClientOf,
    sandbox: Sandbox,
    mode: str,
    status: int,
    name: str,
    reason: str,
    age: dict[str, float] | None,
) -> None:
    ada = with_list("ada", **age) if age else sign_up("ada")
    client = client_of(ada)
    sandbox.mood(mode)

    responses = [client.get("/api/v1/guilds/") for _ in range(2)]

    row, now = GuildListVerification.objects.get(pk=ada.pk), database_now()
    assert row.not_before
    until = max(row.not_before, gate.read()[0].until or row.not_before)
    for response in responses:
        body = assert_problem(response, status, name)
        assert body["reason"] == reason
        assert "guilds" not in body
        assert body["retry_after"] >= (until - now).total_seconds()
    assert responses[-1].json()["retry_after"] < (until - now).total_seconds() + 3


@pytest.mark.parametrize("age", [STALE, EXPIRED], ids=["stale", "expired"])
def test_a_refusal_is_a_problem_without_a_wait(
    with_list: WithList, client_of: ClientOf, sandbox: Sandbox, age: dict[str, float]
) -> None:
    client = client_of(with_list("ada", **age))
    sandbox.mood("unauthorized")

    body = assert_problem(client.get("/api/v1/guilds/"), 403, "reconnect-required")

    assert (body["reason"], "retry_after" in body) == ("reconnect_required", False)


def test_a_scope_that_was_not_granted_is_a_problem_of_its_own(
    sign_up: WithList, client_of: ClientOf, sandbox: Sandbox
) -> None:
    client = client_of(sign_up("ada", scopes=("identify",)))

    body = assert_problem(client.get("/api/v1/guilds/"), 403, "missing-scope")

    assert body["reason"] == "missing_scope"
    assert sandbox.requests() == []


# refresh


@pytest.mark.parametrize("age", [FRESH, STALE, EXPIRED], ids=["fresh", "stale", "expired"])
def test_a_refresh_brings_the_new_list(
    with_list: WithList, client_of: ClientOf, sandbox: Sandbox, age: dict[str, float]
) -> None:
    client = client_of(with_list("ada", **age))

    response = client.post("/api/v1/guilds/refresh/")

    assert response.status_code == 200
    assert response.json()["freshness"] == "fresh"
    assert len(response.json()["guilds"]) == 12
    assert int(response["Age"]) < 60
    assert len(sandbox.requests()) == 1


@pytest.mark.parametrize(
    ("age", "freshness"), [(FRESH, "fresh"), (STALE, "stale"), (EXPIRED, "expired"), (None, "none")]
)
def test_a_refresh_that_discord_takes_its_time_over_says_what_there_is_meanwhile(
    with_list: WithList,
    sign_up: WithList,
    client_of: ClientOf,
    sandbox: Sandbox,
    age: dict[str, float] | None,
    freshness: str,
) -> None:
    ada = with_list("ada", **age) if age else sign_up("ada")
    sandbox.mood("healthy", latency_ms=700)

    response = client_of(ada).post("/api/v1/guilds/refresh/")

    body = response.json()
    assert response.status_code == 202
    assert set(body) == {"status"} | FRESHNESS_FIELDS
    assert (body["status"], body["freshness"], body["reason"]) == ("in_progress", freshness, "in_progress")
    assert (body["verified_at"] is None) is (age is None)
    assert datetime.fromisoformat(body["next_attempt_at"]) > database_now()
    assert response["Location"] == "/api/v1/guilds/"
    assert int(response["Retry-After"]) >= 1


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain"])
def test_a_refresh_takes_no_notice_of_a_body(with_list: WithList, client_of: ClientOf, kind: str) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = client_of(with_list("ada", **FRESH)).cookies
    token = get_token(strict.get("/servers/").wsgi_request)

    response = strict.post("/api/v1/guilds/refresh/", b"--x--\r\n", content_type=kind, headers={"X-CSRFToken": token})

    assert response.status_code == 200


def test_a_refresh_within_the_cool_down_is_too_soon(with_list: WithList, client_of: ClientOf, sandbox: Sandbox) -> None:
    client = client_of(with_list("ada", seconds=20))

    body = assert_problem(client.post("/api/v1/guilds/refresh/"), 429, "refresh-too-soon")

    assert 35 <= body["retry_after"] <= 40
    assert sandbox.requests() == []


@pytest.mark.parametrize(("mode", "status"), [("rate_limited", 429), ("outage", 503)])
def test_a_refresh_that_fails_leaves_the_list(
    with_list: WithList, client_of: ClientOf, sandbox: Sandbox, mode: str, status: int
) -> None:
    client = client_of(with_list("ada", **FRESH))
    sandbox.mood(mode)

    statuses = [client.post("/api/v1/guilds/refresh/").status_code for _ in range(2)]

    assert statuses == [status] * 2
    assert len(client.get("/api/v1/guilds/").json()["guilds"]) == 12
    assert len(sandbox.requests()) == 1


# HTTP


@pytest.mark.parametrize(
    ("method", "page"),
    [("get", "guilds/refresh/"), ("post", "guilds/"), ("delete", "guilds/1/"), ("put", "me/"), ("delete", "me/")],
)
def test_a_wrong_method_is_a_problem_that_names_the_right_ones(
    ada: User, client_of: ClientOf, method: str, page: str
) -> None:
    response = getattr(client_of(ada), method)(f"/api/v1/{page}")

    assert_problem(response, 405, "method-not-allowed")
    assert ("POST" if "refresh" in page else "GET") in response["Allow"]


@pytest.mark.parametrize(
    ("page", "methods"),
    [("guilds/", "GET, HEAD, OPTIONS"), ("guilds/refresh/", "POST, OPTIONS"), ("me/", "GET, HEAD, OPTIONS")],
)
def test_the_methods_that_are_named_are_there(ada: User, client_of: ClientOf, page: str, methods: str) -> None:
    client = client_of(ada)

    options, wrong = client.options(f"/api/v1/{page}"), client.delete(f"/api/v1/{page}")

    assert (options.status_code, options.content) == (200, b"")
    assert options["Allow"] == wrong["Allow"] == methods


@pytest.mark.parametrize("page", ["guilds/", "guilds/?owner=true", "guilds/{}/"])
def test_a_list_that_has_to_be_another_is_a_problem(with_list: WithList, client_of: ClientOf, page: str) -> None:
    client = client_of(with_list("ada", **FRESH))
    guild_id = UserGuildMembership.objects.values_list("guild_id", flat=True)[0]
    page = f"/api/v1/{page.format(guild_id)}"

    assert_problem(client.get(page, headers={"If-Match": '"x"'}), 412, "precondition-failed")
    assert client.get(page, headers={"If-Match": client.get(page)["ETag"]}).status_code == 200


@pytest.mark.parametrize("accept", ["application/json", "*/*", "application/json;q=0.5, text/html;q=0.1", ""])
def test_json_is_what_one_gets(with_list: WithList, client_of: ClientOf, accept: str) -> None:
    response = client_of(with_list("ada")).get("/api/v1/guilds/", headers={"Accept": accept} if accept else {})

    assert (response.status_code, response["Content-Type"]) == (200, "application/json")


@pytest.mark.parametrize("page", ["guilds/", "guilds/refresh/", "me/", "guilds/?format=api", "guilds/?format=html"])
def test_no_page_of_the_framework_is_ever_served(with_list: WithList, client_of: ClientOf, page: str) -> None:
    response = client_of(with_list("ada")).get(f"/api/v1/{page}", headers={"Accept": "text/html"})

    assert "html" not in response["Content-Type"]
    assert b"<html" not in response.content


def test_a_format_we_do_not_have_is_a_problem(with_list: WithList, client_of: ClientOf) -> None:
    response = client_of(with_list("ada")).get("/api/v1/guilds/", headers={"Accept": "application/xml"})

    assert_problem(response, 406, "not-acceptable")


def test_a_path_that_is_not_there_is_a_problem(ada: User, client_of: ClientOf) -> None:
    response = client_of(ada).get("/api/v1/no-such-thing/", headers={"Accept": "application/json"})

    assert (response.status_code, response["Content-Type"]) == (404, "application/problem+json")


def test_an_answer_depends_on_the_cookie(with_list: WithList, client_of: ClientOf) -> None:
    response = client_of(with_list("ada")).get("/api/v1/guilds/")

    assert "Cookie" in response["Vary"]


def test_the_api_opens_to_no_other_site(with_list: WithList, client_of: ClientOf) -> None:
    response = client_of(with_list("ada")).get("/api/v1/guilds/", headers={"Origin": "https://evil.example"})

    assert "Access-Control-Allow-Origin" not in response


def test_a_date_to_compare_with_counts_for_nothing(with_list: WithList, client_of: ClientOf) -> None:
    client = client_of(with_list("ada"))

    response = client.get("/api/v1/guilds/", headers={"If-Unmodified-Since": "Wed, 21 Oct 2015 07:28:00 GMT"})

    assert response.status_code == 200
