"""The home page, the health checks and the error pages."""

import html
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, ProgrammingError, connection
from django.http import HttpResponseNotAllowed
from django.test import Client, RequestFactory
from django.urls import path
from pytest_django import Settings

from accounts.models import User
from config.middleware import MethodNotAllowedMiddleware
from config.urls import urlpatterns as site_urls
from tests.fixtures import Sandbox

STATIC = Path(__file__).parents[2] / "static"
ROOT_RULE = re.compile(r":root \{(.*?)\}", re.DOTALL)
VARIABLE = re.compile(r"(--[\w-]+): ([^;]+);")
JSON = {"Accept": "application/json"}


def words_of(response: Any) -> str:
    return html.unescape(response.content.decode())


def test_the_front_page_invites_a_visitor_to_sign_in(client: Client) -> None:
    response = client.get("/")

    assert response.status_code == 200
    assert "Sign in with Discord" in words_of(response)


def test_the_admin_has_the_colours_of_the_pages() -> None:
    sheets = ((STATIC / name).read_text() for name in ("guildhall.css", "admin.css"))
    pages, admin = ([dict(VARIABLE.findall(block)) for block in ROOT_RULE.findall(sheet)] for sheet in sheets)
    *colours, names, _dark_bars = admin

    assert len(colours) == 2  # light and dark, which are the first on both sides
    for own, ours in zip(colours, pages, strict=False):
        assert own.items() <= ours.items()
        assert len(own) > 10
    # No other colour is written there.
    assert {name for value in names.values() for name in re.findall(r"--[\w-]+", value)} <= {*colours[0], *names}
    assert not any("#" in value for value in names.values())


def test_the_front_page_leads_somebody_signed_in_to_their_servers(
    ada: User, client_of: Callable[[User], Client]
) -> None:
    response = client_of(ada).get("/")

    assert (response.status_code, response["Location"]) == (302, "/servers/")


@pytest.mark.django_db
@pytest.mark.parametrize("method", ["get", "head"])
def test_the_health_check_is_well_while_the_database_answers(client: Client, method: str) -> None:
    response = getattr(client, method)("/healthz")

    assert response.status_code == 200
    assert "no-store" in response["Cache-Control"]


@pytest.mark.django_db
def test_the_health_check_says_when_the_database_is_gone(client: Client) -> None:
    def lose(*args: Any) -> None:
        raise OperationalError("the database is gone")

    with connection.execute_wrapper(lose):
        response = client.get("/healthz")

    assert (response.status_code, response["Retry-After"]) == (503, "5")
    assert response.content == b"database unavailable\n"


@pytest.mark.django_db
def test_readiness_warns_of_settings_that_do_not_fit_the_database(client: Client, settings: Settings) -> None:
    client.get("/readyz")
    settings.DISCORD_ISSUER = "application 1 at discord.com"

    response = client.get("/readyz")

    assert (response.status_code, response.content.splitlines()[0]) == (200, b"ok")
    assert b"discord_status" in response.content


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OperationalError("it is read-only"), b"database refuses writes\n"),
        (ProgrammingError("no such column"), b"database schema mismatch\n"),
    ],
)
def test_a_site_that_can_only_read_is_healthy_and_not_ready(client: Client, error: Exception, words: bytes) -> None:
    def refuse(execute: Any, sql: str, *rest: Any) -> Any:
        if sql.startswith("UPDATE"):
            raise error
        return execute(sql, *rest)

    before = client.get("/readyz")
    with connection.execute_wrapper(refuse):
        healthy, ready = client.get("/healthz"), client.get("/readyz")

    assert (before.status_code, before.content) == (200, b"ok\n")
    assert healthy.status_code == 200
    assert (ready.status_code, ready.content, ready["Retry-After"]) == (503, words, "5")


@pytest.mark.django_db
def test_who_watches_the_site_may_know_it_by_a_machines_address(client: Client, settings: Settings) -> None:
    settings.ALLOWED_HOSTS = ["servers.example.org", "old.example.org"]
    settings.SECURE_SSL_REDIRECT, settings.SECURE_SSL_HOST = True, "servers.example.org"
    settings.METRICS_TOKEN = "sixteen letters!"

    probe = client.get("/healthz", headers={"host": "10.0.0.7:8000"})
    prometheus = client.get(
        "/metrics", headers={"host": "10.0.0.7:8000", "authorization": f"Bearer {settings.METRICS_TOKEN}"}
    )
    visitor = client.get("/", headers={"host": "old.example.org"})

    assert (probe.status_code, probe.content) == (200, b"ok\n")
    assert (prometheus.status_code, b"guildhall_database_up 1" in prometheus.content) == (200, True)
    assert (visitor.status_code, visitor["Location"]) == (301, "https://servers.example.org/")


@pytest.mark.parametrize("page", ["/", "/healthz", "/readyz"])
def test_the_front_door_is_only_looked_at(client: Client, page: str) -> None:
    assert client.post(page).status_code == 405


def test_an_address_that_only_takes_forms_says_so_in_the_houses_style(client: Client, db: None) -> None:
    response = client.get("/servers/refresh/")

    assert (response.status_code, response["Allow"]) == (405, "POST")
    assert "This page can't be opened directly" in words_of(response)
    assert "guildhall.css" in words_of(response)


def test_a_program_gets_the_wrong_method_as_a_problem(client: Client, db: None) -> None:
    response = client.post("/servers/", headers=JSON)

    assert (response.status_code, response["Allow"]) == (405, "GET")
    assert response["Content-Type"] == "application/problem+json"
    assert response.json()["type"] == "/problems/method-not-allowed"


def test_a_405_with_words_of_its_own_keeps_them() -> None:
    theirs = HttpResponseNotAllowed(["PUT"], "Put it.")

    response = MethodNotAllowedMiddleware(lambda request: theirs)(RequestFactory().get("/"))

    assert response is theirs


def test_a_page_that_is_not_there_says_so_in_the_houses_style(client: Client) -> None:
    response = client.get("/no-such-page/")

    assert response.status_code == 404
    assert "Page not found" in words_of(response)
    assert "guildhall.css" in words_of(response)


def test_a_program_gets_the_missing_page_as_a_problem(client: Client) -> None:
    response = client.get("/no-such-page/", headers=JSON)

    assert (response.status_code, response["Content-Type"]) == (404, "application/problem+json")
    assert response.json()["status"] == 404


OLD, FOREIGN = {"guildhall_csrf": "x" * 32}, {"Origin": "https://evil.example"}


@pytest.mark.parametrize(
    ("form", "cookies", "headers", "words"),
    [
        ("/sign-out/", {}, {}, "Your browser sent no cookie"),
        ("/sign-out/", OLD, {}, "You signed in or out after this page was opened."),
        ("/sign-out/", OLD, FOREIGN, "This form was sent from another site"),
        ("/login/discord/", {}, {}, "Sign-in needs cookies"),
        ("/login/discord/", OLD, {}, "You signed in or out after it was opened."),
        ("/login/discord/", OLD, FOREIGN, "This form was sent from another site"),
    ],
)
@pytest.mark.django_db
def test_a_form_that_is_refused_says_why(
    form: str, cookies: dict[str, str], headers: dict[str, str], words: str
) -> None:
    client = Client(enforce_csrf_checks=True)
    client.cookies.load(cookies)

    response = client.post(form, headers=headers)

    assert response.status_code == 403
    assert words in words_of(response)


@pytest.mark.urls(__name__)
def test_a_fault_of_ours_is_a_page_that_needs_nothing() -> None:
    response = Client(raise_request_exception=False).get("/broken/")

    assert response.status_code == 500
    assert "Something went wrong on our side" in words_of(response)
    assert "secret of the fault" not in words_of(response)


@pytest.mark.urls(__name__)
def test_a_fault_of_ours_is_told_in_the_houses_style_and_the_readers_language() -> None:
    client = Client(raise_request_exception=False)

    german = client.get("/broken/", headers={"accept-language": "de"})
    english = client.get("/broken/")

    assert "guildhall.css" in words_of(german)
    assert "Bei uns ist etwas schiefgegangen" in words_of(german)
    assert "Something went wrong on our side" in words_of(english)


@pytest.mark.urls(__name__)
def test_a_fault_of_the_templates_is_told_without_them(settings: Settings) -> None:
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": []}]

    response = Client(raise_request_exception=False).get("/broken/")

    assert response.status_code == 500
    assert "Something went wrong on our side" in words_of(response)
    assert "guildhall.css" not in words_of(response)


@pytest.mark.urls(__name__)
def test_a_program_is_told_of_a_fault_as_a_problem() -> None:
    response = Client(raise_request_exception=False).get("/broken/", headers=JSON)

    assert (response.status_code, response["Content-Type"]) == (500, "application/problem+json")
    assert response.json()["status"] == 500


def test_a_host_that_is_not_ours_is_a_bad_request(client: Client) -> None:
    response = client.get("/", headers={"host": "elsewhere.example"})

    assert response.status_code == 400
    assert "elsewhere.example" not in words_of(response)


def broken(request: Any) -> None:
    raise ZeroDivisionError("secret of the fault")


urlpatterns = [path("broken/", broken), *site_urls]
handler500 = "config.views.server_error"


@pytest.mark.parametrize(("path", "headers"), [("/servers/", {}), ("/api/v1/guilds/", JSON), ("/account/", {})])
def test_a_site_without_its_database_says_when_to_come_back_and_asks_nobody(
    ada: User, client_of: Callable[[User], Client], sandbox: Sandbox, path: str, headers: dict[str, str]
) -> None:
    def lose(*args: Any) -> None:
        raise OperationalError("the database is gone")

    client = client_of(ada)
    client.raise_request_exception = False
    sandbox.forget_requests()

    with connection.execute_wrapper(lose):
        response = client.get(path, headers=headers)

    assert (response.status_code, response["Retry-After"]) == (503, "5")
    assert "database isn't available" in words_of(response)
    assert sandbox.requests("") == []


@pytest.mark.django_db
@pytest.mark.parametrize("https", [False, True])
def test_a_wrong_host_is_refused_with_all_security_headers(client: Client, settings: Settings, https: bool) -> None:
    settings.ALLOWED_HOSTS = ["servers.example.org"]
    settings.SECURE_SSL_REDIRECT = https

    response = client.get("/", headers={"host": "evil.example"})

    assert response.status_code == 400
    for name in (
        "Content-Security-Policy",
        "Permissions-Policy",
        "Referrer-Policy",
        "X-Content-Type-Options",
        "X-Frame-Options",
    ):
        assert name in response, name


@pytest.mark.parametrize("path", ["/nowhere", "/sign-out/", "/", "/favicon.ico", "/problems/"])
def test_what_a_person_sees_is_stored_nowhere(ada: User, client_of: Callable[[User], Client], path: str) -> None:
    assert "no-store" in client_of(ada).get(path)["Cache-Control"]


@pytest.mark.django_db
def test_caching_that_a_view_chose_stays(with_list: Callable[..., User], client_of: Callable[[User], Client]) -> None:
    signed_in = client_of(with_list("ada"))

    assert signed_in.get("/api/v1/guilds/")["Cache-Control"] == "private, no-cache"
    assert signed_in.get("/api/schema/")["Cache-Control"] == "public, max-age=300"
