"""The scopes of access tokens: per method, declared by apps, and checked at the start."""

from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from django.apps import apps
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.test import Client
from django.urls import path
from pytest_django import Settings
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import User
from accounts.service_tokens import Service
from accounts.token_scopes import Holder, TokenScope, UnknownScopes, scope_of
from config.urls import handler403, handler404, handler500  # noqa: F401 - read by Django of this module
from config.urls import urlpatterns as site_urls
from guilds.api.authentication import ServiceRequest
from guilds.permissions import InGuild, IsService
from guilds.whole_site import checks

pytestmark = [pytest.mark.urls(__name__), pytest.mark.django_db(transaction=True)]

DECLARED = (
    TokenScope("votes:read", "Read the votes"),
    TokenScope("votes:write", "Count votes"),
    TokenScope("votes:audit", "Audit votes", Holder.STAFF),
    TokenScope("votes:count", "Count all votes", Holder.SERVICE),
)


class VotesView(APIView):
    """For people and services; reading and writing need different scopes, and deleting accepts no token."""

    token_scope: ClassVar[dict[str, str]] = {"GET": "votes:read", "POST": "votes:write"}
    accepts_services = True

    def get(self, request: ServiceRequest) -> Response:
        return Response({"is_service": isinstance(request.user, Service), "who": str(request.user)})

    post = delete = get


class AuditView(APIView):
    token_scope = "votes:audit"

    def get(self, request: Request) -> Response:
        return Response({})


class CountView(APIView):
    token_scope = "votes:count"
    accepts_services = True
    permission_classes: ClassVar[list[Any]] = [IsService]

    def get(self, request: Request) -> Response:
        return Response({})


class GuildOrServiceView(APIView):
    token_scope = "votes:read"
    accepts_services = True
    permission_classes: ClassVar[list[Any]] = [InGuild]

    def get(self, request: Request, guild_id: int) -> Response:
        return Response({})


class FreshGuildOrServiceView(GuildOrServiceView):
    permission_classes: ClassVar[list[Any]] = [InGuild.within(minutes=5)]


class ListOrServiceView(APIView):
    token_scope = "votes:read"
    accepts_services = True

    def get(self, request: Any) -> Response:
        return Response({"stored": request.guild_list.stored, "all": len(request.guild_list)})


urlpatterns = [
    path("api/votes/", VotesView.as_view()),
    path("api/audit/", AuditView.as_view()),
    path("api/count/", CountView.as_view()),
    path("api/in/<int:guild_id>/", GuildOrServiceView.as_view()),
    path("api/fresh/<int:guild_id>/", FreshGuildOrServiceView.as_view()),
    path("api/list/", ListOrServiceView.as_view()),
    *site_urls,
]


@pytest.fixture(autouse=True)
def votes_are_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apps.get_app_config("accounts"), "token_scopes", DECLARED, raising=False)


def ask(method: str, path: str, token: str) -> Any:
    return Client().generic(method, f"/api/{path}", headers={"Authorization": f"Bearer {token}"})


Token = Callable[..., str]


@pytest.fixture(params=["a person's", "a service's"])
def token(request: pytest.FixtureRequest, ada: User, token_of: Token, service_token: Token) -> Token:
    """Create a token of either kind with the given scopes."""
    if request.param == "a person's":
        return lambda *scopes: token_of(ada, *scopes)
    return service_token


# per method


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_token_for_reading_reads(token: Token, method: str) -> None:
    assert ask(method, "votes/", token("votes:read")).status_code == 200


def test_a_token_for_reading_never_writes(token: Token) -> None:
    response = ask("POST", "votes/", token("votes:read"))

    assert (response.status_code, response.json()["type"]) == (403, "/problems/insufficient-scope")
    assert response.json()["scope"] == "votes:write"
    assert response["WWW-Authenticate"].endswith('error="insufficient_scope", scope="votes:write"')


def test_a_token_for_writing_writes_and_does_not_read(token: Token) -> None:
    writing = token("votes:write")

    assert ask("POST", "votes/", writing).status_code == 200
    assert ask("GET", "votes/", writing).status_code == 403


def test_a_method_without_a_scope_accepts_no_token(token: Token) -> None:
    response = ask("DELETE", "votes/", token("votes:read", "votes:write"))

    assert (response.status_code, response.json()["type"]) == (403, "/problems/insufficient-scope")
    assert "scope" not in response.json()


def test_a_method_that_the_view_lacks_is_a_405(token: Token) -> None:
    response = ask("PUT", "votes/", token("votes:read"))

    assert (response.status_code, response.json()["type"]) == (405, "/problems/method-not-allowed")
    assert response["Allow"] == "GET, POST, DELETE, HEAD, OPTIONS"


@pytest.mark.parametrize(
    ("wanted", "method", "scope"),
    [
        ("votes:read", "DELETE", "votes:read"),
        ("", "GET", None),
        (None, "GET", None),
        ({"GET": "votes:read"}, "HEAD", "votes:read"),
        ({"GET": "votes:read"}, "POST", None),
    ],
)
def test_the_scope_of_a_method(wanted: Any, method: str, scope: str | None) -> None:
    assert scope_of(wanted, method) == scope


# who


def test_the_user_is_the_service(service_token: Token) -> None:
    response = ask("GET", "votes/", service_token("votes:read", name="shop"))

    assert response.json() == {"is_service": True, "who": "shop"}


@pytest.mark.parametrize("path", ["in/1/", "fresh/1/", "list/"])
def test_a_guild_and_a_list_need_a_person(service_token: Token, path: str) -> None:
    response = ask("GET", path, service_token("votes:read"))

    assert (response.status_code, response.json()["type"]) == (403, "/problems/person-required")
    assert "WWW-Authenticate" not in response


def test_people_cannot_use_what_is_for_services(
    staff: User, client_of: Callable[[User], Client], service_token: Token
) -> None:
    response = client_of(staff).get("/api/count/")

    assert (response.status_code, response.json()["type"]) == (403, "/problems/forbidden")
    assert response.json()["detail"] == "Only services of this site can use this endpoint."
    assert ask("GET", "count/", service_token("votes:count")).status_code == 200


def test_a_persons_token_has_only_scopes_for_people(
    ada: User, staff: User, client_of: Callable[[User], Client], token_of: Token
) -> None:
    offered = {user: client_of(user).get("/account/tokens/").content.decode() for user in (ada, staff)}

    assert [scope.name for scope in DECLARED if scope.name in offered[ada]] == ["votes:read", "votes:write"]
    assert [scope.name for scope in DECLARED if scope.name in offered[staff]] == [
        *("votes:read", "votes:write", "votes:audit"),
    ]
    assert "Count votes" in offered[ada]
    assert ask("GET", "count/", token_of(staff, "votes:count")).json()["type"] == "/problems/forbidden"


def test_a_right_that_ended_ends_with_its_token(staff: User, token_of: Token) -> None:
    token = token_of(staff, "votes:audit")
    before = ask("GET", "audit/", token).status_code
    User.objects.update(is_staff=False)

    response = ask("GET", "audit/", token)

    assert before == 200
    assert (response.status_code, response.json()["type"]) == (403, "/problems/forbidden")


def test_a_site_for_one_guild_lets_its_services_in(service_token: Token, settings: Settings) -> None:
    settings.REQUIRED_GUILD = 1
    token = service_token("votes:read")

    assert ask("GET", "votes/", token).status_code == 200
    assert Client().get("/account/tokens/", headers={"Authorization": f"Bearer {token}"}).status_code == 302
    assert ask("GET", "votes/", "gdhs_" + "0" * 40).json()["type"] == "/problems/invalid-token"


def test_a_page_for_a_token_of_the_sites_own_scope_names_no_command(
    ada: User, client_of: Callable[[User], Client]
) -> None:
    form = {"name": "votes", "scopes": ["votes:read"], "days": 30}

    page = client_of(ada).post("/account/tokens/", form).content.decode()

    assert 'id="new-token">gdh_' in page
    assert "curl" not in page


# what apps declare


def test_no_token_has_a_scope_that_no_app_declares(ada: User, token_of: Token, service_token: Token) -> None:
    for create in (lambda: token_of(ada, "votes:burn"), lambda: service_token("votes:burn")):
        with pytest.raises(UnknownScopes, match=r"Unknown scope: votes:burn\. Known scopes: .*votes:read"):
            create()


@pytest.mark.parametrize("name", ["", "two words", 'a"b', "a\\b", "x" * 65, "ä"])
def test_a_scope_is_a_word(name: str) -> None:
    with pytest.raises(ValueError, match="can't be a scope"):
        TokenScope(name, "Read")


# the start


def faults_of(settings: Settings, *views: Any) -> list[str]:
    """What the check finds in views of these addresses, with the view's name."""
    settings.ROOT_URLCONF = tuple(path(f"api/wrong/{number}/", view) for number, view in enumerate(views))
    return [f"{fault.id} {fault.obj}: {fault.msg}" for fault in checks.scopes_of_views_exist(None)]


def test_a_scope_that_no_app_declares_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    call_command("check")
    monkeypatch.setattr(apps.get_app_config("accounts"), "token_scopes", DECLARED[:1] + DECLARED[2:])

    with pytest.raises(SystemCheckError, match=r"VotesView.*'api/votes/' requires the scope 'votes:write'"):
        call_command("check")


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ("votes:burn", "guilds.E009 {view}: The view of 'api/wrong/0/' requires the scope 'votes:burn', which no app"),
        ({"GET": "votes:read", "POST": "votes:burn"}, "guilds.E009 {view}: The view of 'api/wrong/0/' requires"),
        ({"get": "votes:read"}, "guilds.E008 {view}: token_scope of the view of 'api/wrong/0/' names 'get'"),
        ({"HEAD": "votes:read"}, "guilds.E008 {view}: token_scope of the view of 'api/wrong/0/' names 'HEAD'"),
    ],
)
def test_the_fault_names_view_and_scope(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, wanted: Any, says: str
) -> None:
    found_in_url = faults_of(settings, AuditView.as_view(token_scope=wanted))
    monkeypatch.setattr(AuditView, "token_scope", wanted)
    found_in_class = faults_of(settings, AuditView.as_view())

    assert found_in_url == found_in_class
    assert [fault.startswith(says.format(view=f"{__name__}.AuditView")) for fault in found_in_class] == [True]


@pytest.mark.parametrize(
    ("scopes", "fault"),
    [
        ("votes:read", "guilds.E006"),
        (DECLARED[0], "guilds.E006"),
        (("votes:read",), "guilds.E006"),
        ((TokenScope("guilds:read", "Read"),), "guilds.E007"),
    ],
    ids=["a string", "no tuple", "names", "another app's"],
)
def test_what_an_app_declares_wrongly_stops_the_start(monkeypatch: pytest.MonkeyPatch, scopes: Any, fault: str) -> None:
    assert checks.apps_declare_token_scopes(None) == []
    monkeypatch.setattr(apps.get_app_config("accounts"), "token_scopes", scopes)

    assert [found.id for found in checks.apps_declare_token_scopes(None)] == [fault]
