"""The front door, the health check and the pages for errors of the web."""

import html
from collections.abc import Callable
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.http import HttpResponseNotAllowed
from django.test import Client, RequestFactory
from django.urls import path
from pytest_django import Settings

from accounts.models import User
from config.middleware import MethodNotAllowedMiddleware
from config.urls import urlpatterns as site_urls
from tests.fixtures import Sandbox

JSON = {"Accept": "application/json"}


def words_of(response: Any) -> str:
    return html.unescape(response.content.decode())


def test_the_front_page_invites_a_visitor_to_sign_in(client: Client) -> None:
    response = client.get("/")

    assert response.status_code == 200
    assert "Sign in with Discord" in words_of(response)


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
def test_who_watches_the_site_may_know_it_by_a_machines_address(client: Client, settings: Settings) -> None:
    settings.ALLOWED_HOSTS = ["servers.example.org"]
    settings.SECURE_SSL_REDIRECT = True
    settings.METRICS_TOKEN = "sixteen letters!"

    probe = client.get("/healthz", headers={"host": "10.0.0.7:8000"})
    prometheus = client.get(
        "/metrics", headers={"host": "10.0.0.7:8000", "authorization": f"Bearer {settings.METRICS_TOKEN}"}
    )
    visitor = client.get("/", headers={"host": "servers.example.org"})

    assert (probe.status_code, probe.content) == (200, b"ok\n")
    assert (prometheus.status_code, b"guildhall_database_up 1" in prometheus.content) == (200, True)
    assert (visitor.status_code, visitor["Location"]) == (301, "https://servers.example.org/")


@pytest.mark.parametrize("page", ["/", "/healthz"])
def test_the_front_door_is_only_looked_at(client: Client, page: str) -> None:
    assert client.post(page).status_code == 405


def test_an_address_that_only_takes_forms_says_so_in_the_houses_style(client: Client, db: None) -> None:
    response = client.get("/servers/refresh/")

    assert (response.status_code, response["Allow"]) == (405, "POST")
    assert "Not this way" in words_of(response)
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
    assert "Nothing here" in words_of(response)
    assert "guildhall.css" in words_of(response)


def test_a_program_gets_the_missing_page_as_a_problem(client: Client) -> None:
    response = client.get("/no-such-page/", headers=JSON)

    assert (response.status_code, response["Content-Type"]) == (404, "application/problem+json")
    assert response.json()["status"] == 404


def test_a_form_without_its_token_is_answered_in_the_houses_style() -> None:
    response = Client(enforce_csrf_checks=True).post("/login/discord/")

    assert response.status_code == 403
    assert "Please try again" in words_of(response)


@pytest.mark.urls(__name__)
def test_a_fault_of_ours_is_a_page_that_needs_nothing() -> None:
    response = Client(raise_request_exception=False).get("/broken/")

    assert response.status_code == 500
    assert "Something broke on our side" in words_of(response)
    assert "secret of the fault" not in words_of(response)


@pytest.mark.urls(__name__)
def test_a_fault_of_ours_is_told_in_the_houses_style_and_the_readers_language() -> None:
    client = Client(raise_request_exception=False)

    german = client.get("/broken/", headers={"accept-language": "de"})
    english = client.get("/broken/")

    assert "guildhall.css" in words_of(german)
    assert "Bei uns ist etwas kaputtgegangen" in words_of(german)
    assert "Something broke on our side" in words_of(english)


@pytest.mark.urls(__name__)
def test_a_fault_of_the_templates_is_told_without_them(settings: Settings) -> None:
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": []}]

    response = Client(raise_request_exception=False).get("/broken/")

    assert response.status_code == 500
    assert "Something broke on our side" in words_of(response)
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
    assert "can't reach its database" in words_of(response)
    assert sandbox.requests("") == []
