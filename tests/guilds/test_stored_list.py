"""The stored list without asking Discord: one query at most, of any age, never an exception."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.http import HttpRequest, HttpResponse
from django.template import Context, Template
from django.test import Client, RequestFactory
from django.urls import path
from pytest_django import DjangoAssertNumQueries, Settings

from accounts.models import User
from config.urls import urlpatterns as site_urls
from guilds.engine.freshness import Reason
from guilds.middleware import GuildListMiddleware, GuildListRequest
from guilds.models import GuildListVerification
from guilds.services import NoAnswer, get_guild_list
from tests.fixtures import Sandbox

WithList = Callable[..., User]


def stored(request: GuildListRequest) -> HttpResponse:
    found = request.guild_list.stored
    names = ",".join(each.name for each in found) if found else ""
    return HttpResponse(f"{found.freshness} {names}" if found else "none")


def twice(request: GuildListRequest) -> HttpResponse:
    first = request.guild_list.stored
    assert request.guild_list.stored is first
    return HttpResponse(f"{first and first.freshness} {request.guild_list.freshness}")


def menu(request: HttpRequest) -> HttpResponse:
    template = Template("{% for guild in request.guild_list.stored.manageable %}{{ guild.name }};{% endfor %}")
    return HttpResponse(template.render(Context({"request": request})))


urlpatterns: list[Any] = [*site_urls, path("stored/", stored), path("twice/", twice), path("menu/", menu)]


@pytest.fixture(autouse=True)
def pages(settings: Settings) -> None:
    settings.ROOT_URLCONF = __name__


@pytest.fixture
def chess(sandbox: Sandbox) -> None:
    guilds = [{"id": "7", "name": "Chess", "owner": True}, {"id": "5", "name": "Garden", "permissions": "0"}]
    sandbox.person("ada", guilds=guilds)


@pytest.mark.parametrize(
    ("age", "freshness"),
    [({}, "fresh"), ({"hours": 2}, "stale"), ({"hours": 25}, "expired"), ({"days": 20}, "expired")],
)
def test_a_list_of_any_age_costs_one_query_and_no_request(
    age: dict[str, float],
    freshness: str,
    chess: None,
    with_list: WithList,
    sandbox: Sandbox,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    user = with_list("ada", **age)
    sandbox.mood("outage")
    cache.clear()

    with django_assert_num_queries(1):
        found = get_guild_list(user, ask=False)
        assert found
        assert [guild.name for guild in found] == ["Garden", "Chess"]

    assert (found.freshness, found.is_stale) == (freshness, freshness != "fresh")
    assert timedelta(**age) <= found.age < timedelta(**age) + timedelta(minutes=5)
    assert found.get(7)
    assert sandbox.requests() == []


def test_a_list_without_guilds_is_a_list(with_list: WithList, sandbox: Sandbox) -> None:
    sandbox.person("ada", guilds=[])

    found = get_guild_list(with_list("ada"), ask=False)

    assert found is not None
    assert len(found) == 0


def test_without_a_list_there_is_none(ada: User, sandbox: Sandbox, with_list: WithList) -> None:
    assert get_guild_list(ada, ask=False) is None
    assert not GuildListVerification.objects.exists()

    refused = with_list("grace")
    GuildListVerification.objects.filter(pk=refused.pk).update(reason=Reason.RECONNECT_REQUIRED)
    assert get_guild_list(refused, ask=False) is None


def test_a_page_reads_it_with_the_session_and_at_most_one_query(
    chess: None,
    with_list: WithList,
    client_of: Callable[[User], Client],
    sandbox: Sandbox,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    browser = client_of(with_list("ada", hours=30))
    sandbox.mood("outage")
    cache.clear()

    with django_assert_num_queries(2):  # the session with the person and the record, and the guilds
        assert browser.get("/stored/").content == b"expired Garden,Chess"
    with django_assert_num_queries(1):
        assert browser.get("/stored/").content == b"expired Garden,Chess"
    assert browser.get("/menu/").content == b"Chess;"
    assert sandbox.requests() == []


def test_it_does_not_use_up_what_the_list_itself_needs(
    chess: None,
    with_list: WithList,
    client_of: Callable[[User], Client],
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    browser = client_of(with_list("ada"))

    with django_assert_num_queries(1):
        assert browser.get("/twice/").content == b"fresh fresh"


def test_anonymous_visitors_have_none_and_templates_do_not_fail(client: Client, db: None) -> None:
    assert client.get("/stored/").content == b"none"
    assert client.get("/menu/").content == b""


def test_it_is_there_after_the_list_itself_could_not_be_served(
    chess: None, with_list: WithList, sandbox: Sandbox
) -> None:
    request = RequestFactory().get("/")
    request.user = with_list("ada", hours=30)
    GuildListMiddleware(lambda request: HttpResponse())(request)
    sandbox.mood("rate_limited", retry_after=60)
    lazy = request.guild_list  # type: ignore[attr-defined]  # set by the middleware

    with pytest.raises(NoAnswer):
        _ = lazy.memberships
    assert lazy.stored.freshness == "expired"


def test_a_list_that_was_read_is_its_own_stored_list(chess: None, with_list: WithList) -> None:
    read = get_guild_list(with_list("ada"))

    assert read.stored is read
