"""Endpoints that a site adds to this one, with Django REST framework, beside the API that is here."""

import json
import re
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from django.test import Client
from django.urls import path
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.utils import extend_schema
from drf_spectacular.validation import validate_schema
from drf_spectacular.views import SpectacularAPIView
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.access_tokens import Scope
from accounts.models import User
from config.urls import handler403, handler404, handler500  # noqa: F401 - read by Django of this module
from config.urls import urlpatterns as site_urls
from guilds.api import documents
from guilds.permissions import CanManageGuild

WithList = Callable[..., User]
ClientOf = Callable[[User], Client]


class Welcome(serializers.Serializer[Any]):
    text = serializers.CharField(max_length=20)


class WelcomeView(APIView):
    token_scope = Scope.GUILDS_READ
    permission_classes: ClassVar[list[Any]] = [CanManageGuild]

    @extend_schema(request=Welcome, responses=Welcome)
    def post(self, request: Request, guild_id: int) -> Response:
        welcome = Welcome(data=request.data)
        welcome.is_valid(raise_exception=True)
        return Response(welcome.data)


class SessionOnlyView(APIView):
    @extend_schema(request=None, responses=Welcome)
    def get(self, request: Request) -> Response:
        return Response({"text": "Hello"})


urlpatterns = [
    path("api/mine/welcome/<int:guild_id>/", WelcomeView.as_view()),
    path("api/mine/session-only/", SessionOnlyView.as_view()),
    path("api/mine/schema/", SpectacularAPIView.as_view()),
    *site_urls,
]
pytestmark = pytest.mark.urls(__name__)


# the documents


def test_the_sites_own_endpoints_change_nothing_in_the_apis_document() -> None:
    document = documents.Generator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]

    assert document == documents.document()
    assert all(path.startswith("/api/v1/") for path in document["paths"])


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
