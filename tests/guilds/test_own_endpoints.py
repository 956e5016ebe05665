"""Endpoints that a site adds with Django REST framework, next to the built-in API."""

import json
import re
import sys
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from django.test import Client
from django.urls import clear_url_caches, path
from drf_spectacular.checks import schema_check
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.utils import extend_schema
from drf_spectacular.validation import validate_schema
from drf_spectacular.views import SpectacularAPIView
from pytest_django import Settings
from rest_framework import serializers
from rest_framework.exceptions import APIException
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import User
from accounts.token_scopes import Scope
from config.urls import handler403, handler404, handler500  # noqa: F401 - read by Django of this module
from config.urls import urlpatterns as site_urls
from guilds.api import documents
from guilds.models import UserGuildMembership
from guilds.permissions import CanManageGuild, InGuild, ThrottledFirst
from tests.fixtures import Sandbox, let_pass

WithList = Callable[..., User]
ClientOf = Callable[[User], Client]


class Role(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=5)


class Welcome(serializers.Serializer[Any]):
    text = serializers.CharField(max_length=20)
    roles = Role(many=True, required=False)

    def validate(self, attrs: Any) -> Any:
        if attrs["text"] == "no":
            raise serializers.ValidationError("That is no welcome.")
        return attrs


class WelcomeView(APIView):
    token_scope = Scope.GUILDS_READ
    permission_classes: ClassVar[list[Any]] = [CanManageGuild]

    @extend_schema(request=Welcome, responses=Welcome)
    def post(self, request: Request, guild_id: int) -> Response:
        welcome = Welcome(data=request.data)
        welcome.is_valid(raise_exception=True)
        return Response(welcome.data)


class TeapotView(APIView):
    permission_classes: ClassVar[list[Any]] = []

    @extend_schema(request=None, responses=None)
    def get(self, request: Request) -> Response:
        raise Teapot


class Teapot(APIException):
    status_code = 418
    default_detail = "There is no coffee."


class OpenView(APIView):
    permission_classes: ClassVar[list[Any]] = []

    @extend_schema(request=None, responses=None)
    def get(self, request: Request) -> Response:
        return Response({})


class DangerousView(ThrottledFirst):
    permission_classes: ClassVar[list[Any]] = [CanManageGuild.within(minutes=5) & InGuild]

    @extend_schema(request=None, responses=None)
    def get(self, request: Request, guild_id: int) -> Response:
        return Response({})


class SessionOnlyView(APIView):
    @extend_schema(request=None, responses=Welcome)
    def get(self, request: Request) -> Response:
        return Response({"text": "Hello"})


urlpatterns = [
    path("api/mine/welcome/<int:guild_id>/", WelcomeView.as_view()),
    path("api/mine/session-only/", SessionOnlyView.as_view()),
    path("api/mine/teapot/", TeapotView.as_view()),
    path("api/mine/open/", OpenView.as_view()),
    path("api/mine/dangerous/<int:guild_id>/", DangerousView.as_view()),
    path("api/mine/schema/", SpectacularAPIView.as_view()),
    *site_urls,
]
pytestmark = pytest.mark.urls(__name__)


# the documents


def test_the_sites_own_endpoints_change_nothing_in_the_apis_document() -> None:
    document = documents.Generator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]

    assert document == documents.document()
    assert all(path.startswith("/api/v1/") for path in document["paths"])


class PlainView(ThrottledFirst):
    """An endpoint as the documentation shows it, which describes neither its request nor its response."""

    permission_classes: ClassVar[list[Any]] = [InGuild]

    def get(self, request: Request, guild_id: int) -> Response:
        return Response({})


def test_an_endpoint_needs_no_description(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "urlpatterns", [path("api/plain/<int:guild_id>/", PlainView.as_view())])
    clear_url_caches()

    assert schema_check(None) == []  # type: ignore[no-untyped-call]


def test_the_site_can_describe_its_endpoints_with_who_may_ask(client: Client, db: None) -> None:
    response = client.get("/api/mine/schema/", headers={"Accept": "application/json"})

    document = json.loads(response.content)
    assert not GENERATOR_STATS, "nothing to warn of"
    assert document["paths"]["/api/mine/welcome/{guild_id}/"]["post"]["security"] == [
        {"accessToken": ["guilds:read"]},
        {"session": []},
    ]
    assert document["paths"]["/api/mine/session-only/"]["get"]["security"] == [{"session": []}]
    assert {"accessToken", "session"} <= set(document["components"]["securitySchemes"])


def test_the_api_is_whole_in_the_sites_document_too(client: Client, db: None) -> None:
    document = json.loads(client.get("/api/mine/schema/", headers={"Accept": "application/json"}).content)

    validate_schema(document)
    for kind, name in set(re.findall(r"#/components/(\w+)/([\w-]+)", json.dumps(document))):
        assert name in document["components"][kind]
    assert document["paths"]["/api/v1/guilds/"] == documents.document()["paths"]["/api/v1/guilds/"]


# what goes wrong


def managed(user: User) -> int:
    return next(each.guild_id for each in UserGuildMembership.objects.filter(user=user) if each.owner)


@pytest.mark.parametrize(
    ("welcome", "errors"),
    [
        ({}, {"text": ["This field is required."]}),
        ({"text": "no"}, {"non_field_errors": ["That is no welcome."]}),
        (
            {"text": "", "roles": [{"name": "a"}, {"name": "too long"}, {}]},
            {
                "text": ["This field may not be blank."],
                "roles.1.name": ["Ensure this field has no more than 5 characters."],
                "roles.2.name": ["This field is required."],
            },
        ),
        ([], {"non_field_errors": ["Invalid data. Expected a dictionary, but got list."]}),
    ],
    ids=["a field", "the whole", "fields within", "no object"],
)
def test_what_a_serializer_refuses_is_told_by_field(
    with_list: WithList, client_of: ClientOf, welcome: Any, errors: dict[str, list[str]]
) -> None:
    ada = with_list("ada")

    response = client_of(ada).post(f"/api/mine/welcome/{managed(ada)}/", welcome, content_type="application/json")

    body = response.json()
    assert (response.status_code, body["type"]) == (400, "/problems/validation-failed")
    assert response["Content-Type"] == "application/problem+json"
    assert body["errors"] == errors


@pytest.mark.parametrize(
    ("kind", "body", "status", "name"),
    [
        ("application/json", "{", 400, "/problems/bad-request"),
        ("application/x-www-form-urlencoded", "text=Hello", 415, "about:blank"),
    ],
)
def test_a_body_that_cannot_be_read_is_a_problem(
    with_list: WithList, client_of: ClientOf, kind: str, body: str, status: int, name: str
) -> None:
    ada = with_list("ada")

    response = client_of(ada).generic("POST", f"/api/mine/welcome/{managed(ada)}/", body, content_type=kind)

    assert (response.status_code, response.json()["type"]) == (status, name)


def test_a_failure_that_is_the_sites_own_has_no_type_of_ours(client: Client, db: None) -> None:
    response = client.get("/api/mine/teapot/")

    assert response["Content-Type"] == "application/problem+json"
    assert response.json() == {
        "type": "about:blank",
        "title": "I'm a Teapot",
        "status": 418,
        "detail": "There is no coffee.",
    }


def test_a_path_that_is_not_there_is_a_problem(client: Client, db: None) -> None:
    response = client.get("/api/mine/nothing/", headers={"Accept": "text/html"})

    assert (response.status_code, response.json()["type"]) == (404, "/problems/not-found")


# how fast, and from where


def test_visitors_share_no_limit(client: Client, settings: Settings, db: None) -> None:
    settings.API_THROTTLE_USER = (1, 60)

    statuses = [client.get("/api/mine/open/", REMOTE_ADDR=f"192.0.2.{end}").status_code for end in (1, 1, 2)]

    assert statuses == [200, 429, 200]


def test_an_address_is_held_up_here_too(client: Client, settings: Settings, db: None) -> None:
    settings.API_THROTTLE_ADDRESS = (1, 60)

    statuses = [client.get("/api/mine/open/").status_code for _ in range(2)]

    assert statuses == [200, 429]


def test_an_origin_that_is_let_in_may_read_and_change_here_too(client: Client, settings: Settings, db: None) -> None:
    settings.CORS_ORIGINS = frozenset({"https://app.example.org"})
    origin = {"Origin": "https://app.example.org"}

    response, preflight = (ask("/api/mine/teapot/", headers=origin) for ask in (client.get, client.options))

    assert response["Access-Control-Allow-Origin"] == preflight["Access-Control-Allow-Origin"] == origin["Origin"]
    assert {"PUT", "PATCH", "DELETE"} <= set(preflight["Access-Control-Allow-Methods"].split(", "))


def test_who_asks_too_fast_causes_no_request_to_discord(
    with_list: WithList, client_of: ClientOf, sandbox: Sandbox, settings: Settings
) -> None:
    settings.API_THROTTLE_USER = (1, 60)
    ada = with_list("ada")
    page = f"/api/mine/dangerous/{managed(ada)}/"
    client = client_of(ada)
    let_pass(minutes=10)

    first = client.get(page).status_code
    let_pass(minutes=10)
    second = client.get(page).status_code

    assert (first, second) == (200, 429)
    assert len(sandbox.requests()) == 1
