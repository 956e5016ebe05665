"""Custom access rules and lists outside of a request, as in docs/your-pages.md."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.http import HttpResponse
from django.test import Client
from django.urls import path
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import User
from config.urls import handler403, handler404, handler500  # noqa: F401 - read by Django of this module
from config.urls import urlpatterns as site_urls
from guilds.decorators import guild_required
from guilds.middleware import GuildRequest
from guilds.models import GuildPreference
from guilds.permissions import InGuild
from tests.fixtures import Sandbox

SECTIONS = dict(
    re.findall(
        r"^## (.*?)\n(.*?)(?=^## |\Z)",
        (Path(__file__).parents[2] / "docs" / "your-pages.md").read_text(),
        re.MULTILINE | re.DOTALL,
    )
)
MEMBER, MODERATOR, MANAGER, ELSEWHERE = 11, 12, 13, 99


def told(section: str) -> dict[str, Any]:
    """The names that the Python code of that section defines."""
    defined: dict[str, Any] = {
        "GuildRequest": GuildRequest,
        "Moderator": GuildPreference,  # has rows by guild and person, as such a table would
        "__name__": __name__,
    }
    for block in re.findall(r"^```python\n(.*?)^```$", SECTIONS[section], re.MULTILINE | re.DOTALL):
        exec(block, defined)  # it is ours
    return defined


RULES = told("A rule of your own")


class Warnings(RULES["Warnings"]):
    def get(self, request: Request, guild_id: int) -> Response:
        return Response(request.guild.name)


class Recently(Warnings):
    permission_classes: ClassVar[list[Any]] = [InGuild.rule(RULES["moderates"]).within(minutes=5)]


@guild_required(rule=RULES["moderates"])
def warnings(request: GuildRequest, guild_id: int) -> HttpResponse:
    return HttpResponse(request.guild.name)


urlpatterns = [
    path("warnings/<int:guild_id>/", warnings),
    path("api/warnings/<int:guild_id>/", Warnings.as_view()),
    path("api/recently/<int:guild_id>/", Recently.as_view()),
    *site_urls,
]


@pytest.fixture
def eve(with_list: Callable[..., User], sandbox: Sandbox) -> User:
    """Eve is in three servers: she manages one and moderates another, according to the table."""
    guilds = [{"id": str(guild_id), "permissions": "0"} for guild_id in (MEMBER, MODERATOR, MANAGER)]
    guilds[-1]["permissions"] = "32"
    sandbox.person("eve", guilds=guilds)
    user = with_list("eve", minutes=10)
    GuildPreference.objects.create(user=user, guild_id=MODERATOR)
    return user


@pytest.mark.urls(__name__)
@pytest.mark.parametrize("view", ["warnings", "api/warnings"])
def test_a_rule_of_ones_own_or_the_permission_lets_in(
    eve: User, client_of: Callable[[User], Client], view: str
) -> None:
    browser = client_of(eve)

    got = [browser.get(f"/{view}/{guild}/").status_code for guild in (MEMBER, MODERATOR, MANAGER, ELSEWHERE)]

    assert got == [403, 200, 200, 404]


@pytest.mark.urls(__name__)
def test_a_rule_of_ones_own_can_demand_a_young_list(
    eve: User, client_of: Callable[[User], Client], sandbox: Sandbox
) -> None:
    browser = client_of(eve)
    sandbox.mood("rate_limited", retry_after=60)

    got = [browser.get(f"/api/{page}/{MODERATOR}/").status_code for page in ("warnings", "recently")]

    assert got == [200, 429]


@pytest.mark.parametrize(
    ("guild_id", "mood", "answer"),
    [
        (MEMBER, "healthy", "No."),
        (ELSEWHERE, "healthy", "No."),
        (MANAGER, "rate_limited", "Discord can't be reached. Try again in"),
        (MANAGER, "outage", "Discord can't be reached. Try again in"),
        (MANAGER, "unauthorized", "Sign in on our site once more."),
    ],
)
def test_outside_of_a_request_each_failure_is_an_exception(
    eve: User, sandbox: Sandbox, guild_id: int, mood: str, answer: str
) -> None:
    may_ban = told("Outside of a request")["may_ban"]
    sandbox.mood(mood)

    assert may_ban(eve.discord_id, guild_id).startswith(answer)
    assert async_to_sync(sync_to_async(may_ban))(eve.discord_id, guild_id).startswith(answer)
    assert may_ban(1, guild_id) == "You have never signed in on our site."
