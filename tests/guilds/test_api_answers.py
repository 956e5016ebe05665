"""One response of each kind: it matches the API's schema, and is in the reader's language."""

import gettext
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from django.db import OperationalError, connection
from django.test import Client
from django.utils.translation import trans_real
from pytest_django import Settings

from accounts import access_tokens
from accounts.models import User
from accounts.token_scopes import Scope
from guilds.api import documents
from guilds.models import UserGuildMembership
from tests.fixtures import Sandbox

# Headers of the site or of HTTP that any page can have.
EVERYWHERE = {
    "Allow",
    "Content-Language",
    "Content-Length",
    "Content-Security-Policy",
    "Content-Type",
    "Cross-Origin-Opener-Policy",
    "Permissions-Policy",
    "Referrer-Policy",
    "Vary",
    "X-Content-Type-Options",
    "X-Frame-Options",
}
LIST, GUILD, REFRESH = "/api/v1/guilds/", "/api/v1/guilds/{guild_id}/", "/api/v1/guilds/refresh/"
EXPORT, ME, BOT = "/api/v1/memberships/export/", "/api/v1/me/", "/api/v1/bot/guilds/"
PATHS = {"get": (LIST, GUILD, EXPORT, ME, BOT), "post": (REFRESH,)}
EVERY = [(method, path) for method, paths in PATHS.items() for path in paths]


class Site:
    """Ada, who has a list and is staff, her browser, and programs."""

    def __init__(self, user: User, client: Client) -> None:
        user.is_staff = True
        user.save()
        self.user, self.client = user, client
        self.guild_id = UserGuildMembership.objects.values_list("guild_id", flat=True)[0]
        self.client.raise_request_exception = False

    def ask(self, method: str, path: str, *, query: str = "", **options: Any) -> Any:
        return getattr(self.client, method)(path.format(guild_id=self.guild_id) + query, **options)

    def token(self, *scopes: Scope) -> dict[str, str]:
        _row, token = access_tokens.create(self.user, f"program {uuid4()}", scopes, access_tokens.MAX_LIFETIME)
        return {"Authorization": f"Bearer {token}"}


@pytest.fixture
def site(with_list: Callable[..., User], client_of: Callable[[User], Client]) -> Site:
    ada = with_list("ada", minutes=10)
    return Site(ada, client_of(ada))


def assert_documented(response: Any, method: str, path: str) -> None:
    operation = documents.document()["paths"][path][method]
    status = str(response.status_code)
    assert status in operation["responses"], f"{method} {path} answers {status}"
    answer = operation["responses"][status]
    sent, named = set(response.headers), set(answer["headers"])
    always = {name for name in named if "$ref" in answer["headers"][name] or answer["headers"][name]["required"]}
    assert always <= sent, f"{method} {path} {status} lacks {always - sent}"
    assert sent - EVERYWHERE <= named, f"{method} {path} {status}: the schema lacks {sent - EVERYWHERE - named}"
    if response.status_code >= 400:
        _problem, only = answer["content"]["application/problem+json"]["schema"]["allOf"]
        assert response["Content-Type"] == "application/problem+json"
        assert response.json()["type"] in only["properties"]["type"]["enum"]


@pytest.mark.parametrize(("method", "path"), EVERY)
def test_what_goes_well_is_in_the_document(site: Site, method: str, path: str) -> None:
    response = site.ask(method, path)

    assert response.status_code == 200
    assert_documented(response, method, path)


def test_a_file_without_a_list_is_in_the_document(
    sign_up: Callable[..., User], client_of: Callable[[User], Client]
) -> None:
    response = client_of(sign_up("ada")).get(EXPORT)

    assert "Age" not in response
    assert_documented(response, "get", EXPORT)


def test_what_takes_its_time_is_in_the_document(site: Site, sandbox: Sandbox) -> None:
    sandbox.mood("healthy", latency_ms=700)

    response = site.ask("post", REFRESH)

    assert response.status_code == 202
    assert_documented(response, "post", REFRESH)


@pytest.mark.parametrize("path", [LIST, GUILD])
@pytest.mark.parametrize(("precondition", "status"), [("If-None-Match", 304), ("If-Match", 412)])
def test_what_depends_on_a_condition_is_in_the_document(site: Site, path: str, precondition: str, status: int) -> None:
    etag = site.ask("get", path)["ETag"] if status == 304 else '"x"'

    response = site.ask("get", path, headers={precondition: etag})

    assert response.status_code == status
    assert_documented(response, "get", path)


@pytest.mark.parametrize(("mood", "status"), [("rate_limited", 429), ("outage", 503), ("unauthorized", 403)])
def test_what_discord_prevents_is_in_the_document(site: Site, sandbox: Sandbox, mood: str, status: int) -> None:
    sandbox.mood(mood)

    response = site.ask("post", REFRESH)

    assert response.status_code == status
    assert_documented(response, "post", REFRESH)


# Problems that every request can meet.


def without_a_session(site: Site, method: str, path: str, settings: Settings) -> Any:
    site.client.cookies.clear()
    return site.ask(method, path)


def with_a_wrong_token(site: Site, method: str, path: str, settings: Settings) -> Any:
    return site.ask(method, path, headers={"Authorization": "Bearer gdh_nonsense"})


def with_a_token_for_nothing(site: Site, method: str, path: str, settings: Settings) -> Any:
    return site.ask(method, path, headers=site.token())


def with_another_method(site: Site, method: str, path: str, settings: Settings) -> Any:
    return site.ask("delete", path)


def for_another_format(site: Site, method: str, path: str, settings: Settings) -> Any:
    return site.ask(method, path, headers={"Accept": "text/csv"})


def from_a_fast_person(site: Site, method: str, path: str, settings: Settings) -> Any:
    settings.API_THROTTLE_USER = (1, 60)
    site.ask("get", ME)
    return site.ask(method, path)


def from_a_fast_address(site: Site, method: str, path: str, settings: Settings) -> Any:
    settings.API_THROTTLE_ADDRESS = (1, 60)
    site.ask("get", ME, headers={"Accept-Language": "en"})
    return site.ask(method, path)


def without_the_database(site: Site, method: str, path: str, settings: Settings) -> Any:
    return _with_database(OperationalError("it is gone"), site, method, path)


def with_a_fault_of_ours(site: Site, method: str, path: str, settings: Settings) -> Any:
    return _with_database(RuntimeError("a fault"), site, method, path)


def _with_database(error: Exception, site: Site, method: str, path: str) -> Any:
    def fail(*args: Any) -> None:
        raise error

    with connection.execute_wrapper(fail):
        return site.ask(method, path)


ALWAYS = {
    without_a_session: 401,
    with_a_wrong_token: 401,
    with_a_token_for_nothing: 403,
    with_another_method: 405,
    for_another_format: 406,
    from_a_fast_person: 429,
    from_a_fast_address: 429,
    without_the_database: 503,
    with_a_fault_of_ours: 500,
}


@pytest.mark.parametrize(("ask", "status"), ALWAYS.items(), ids=[ask.__name__ for ask in ALWAYS])
def test_what_can_always_go_wrong_is_in_the_document(
    site: Site, settings: Settings, ask: Callable[..., Any], status: int
) -> None:
    for method, path in EVERY:
        response = ask(site, method, path, settings)

        assert response.status_code == status, f"{method} {path}"
        assert_documented(response, method, path)


# The language.


class Marked(gettext.NullTranslations):
    """A language in which every sentence that can be translated stands in brackets."""

    def gettext(self, message: str) -> str:
        return f"[{message}]"


@pytest.fixture
def brackets(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.setitem(trans_real._translations, "de", Marked())  # type: ignore[attr-defined]  # Django's, by language
    return {"Accept-Language": "de"}


def assert_in_brackets(response: Any) -> None:
    body = response.json()
    assert body["title"].startswith("["), body
    assert body["detail"].startswith("["), body
    assert body["detail"].endswith("]"), body


@pytest.mark.parametrize("ask", ALWAYS)
def test_what_can_always_go_wrong_is_told_in_the_readers_language(
    site: Site, settings: Settings, brackets: dict[str, str], ask: Callable[..., Any]
) -> None:
    site.client.defaults["HTTP_ACCEPT_LANGUAGE"] = "de"

    assert_in_brackets(ask(site, "get", LIST, settings))


@pytest.mark.parametrize(
    "query",
    ["?owne=true", "?owner=yes", "?owner=true&owner=true", "?ordering=age", "?fields=age", f"?search={'x' * 101}"],
)
def test_what_is_wrong_with_a_parameter_is_told_in_the_readers_language(
    site: Site, brackets: dict[str, str], query: str
) -> None:
    response = site.ask("get", LIST, query=query, headers=brackets)

    assert_in_brackets(response)
    assert "] [" in response.json()["detail"], "which one, and why"


def test_other_problems_are_told_in_the_readers_language(site: Site, brackets: dict[str, str]) -> None:
    another = {**brackets, "Authorization": site.token(Scope.ME_READ)["Authorization"]}
    site.client.handler.enforce_csrf_checks = True
    responses = [
        site.ask("post", REFRESH, headers=brackets),
        site.ask("get", LIST, headers=another),
        site.ask("get", LIST, headers={**brackets, "If-Match": '"x"'}),
        site.ask("get", "/api/v1/nothing/", headers=brackets),
        site.ask("get", "/api/v1/guilds/1/", headers=brackets),
    ]

    assert [response.status_code for response in responses] == [403, 403, 412, 404, 404]
    for response in responses:
        assert_in_brackets(response)
