"""`request.guild_list` by itself: lazy, read once, and never for an anonymous visitor."""

from collections.abc import Callable
from typing import Any, cast

import pytest
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from django.urls import path
from pytest_django import DjangoAssertNumQueries

from accounts.models import User
from config.urls import handler403, handler404, handler500  # noqa: F401 - read by Django of this module
from config.urls import urlpatterns as site_urls
from guilds.middleware import GuildListMiddleware, GuildListRequest
from guilds.problems.middleware import ProblemMiddleware
from tests.fixtures import Sandbox

WithList = Callable[..., User]


def careless(request: HttpRequest) -> HttpResponse:
    """A view that reads the list and forgot `@guild_list_required`."""
    return HttpResponse(str(len(cast(GuildListRequest, request).guild_list)))


urlpatterns = [path("careless/", careless), *site_urls]


def pass_through(user: User | AnonymousUser) -> Any:
    """A request of `user` as a view would get it."""
    request = RequestFactory().get("/")
    request.user = user
    GuildListMiddleware(lambda request: HttpResponse())(request)
    return request


def test_a_page_that_does_not_read_the_list_costs_nothing(
    ada: User, sandbox: Sandbox, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_num_queries(0):
        pass_through(ada)

    assert sandbox.requests() == []


@pytest.mark.parametrize("page", ["/account/", "/servers/delete-my-data/", "/api/v1/me/"])
def test_pages_about_oneself_never_ask_discord(
    ada: User, client_of: Callable[[User], Client], sandbox: Sandbox, page: str
) -> None:
    sandbox.mood("outage")

    response = client_of(ada).get(page)

    assert response.status_code == 200
    assert sandbox.requests() == []


def test_reading_the_list_twice_asks_once(ada: User, sandbox: Sandbox) -> None:
    request = pass_through(ada)

    lengths = [len(request.guild_list), len(request.guild_list)]

    assert lengths == [12, 12]
    assert len(sandbox.requests()) == 1


def test_each_request_reads_its_own_list(ada: User, with_list: WithList) -> None:
    linus = with_list("linus")

    first, second = pass_through(ada), pass_through(linus)

    assert (len(first.guild_list), len(second.guild_list)) == (12, 1)


def test_a_list_of_nobody_is_denied() -> None:
    request = pass_through(AnonymousUser())

    with pytest.raises(PermissionDenied, match="guild_list_required"):
        len(request.guild_list)


@pytest.mark.urls(__name__)
def test_a_view_that_forgot_the_door_answers_a_visitor_with_403() -> None:
    response = Client().get("/careless/")

    assert response.status_code == 403
    assert "Not allowed" in response.content.decode()


@pytest.mark.urls(__name__)
def test_a_view_that_forgot_the_door_still_gets_the_page_that_says_why(
    ada: User, client_of: Callable[[User], Client], sandbox: Sandbox
) -> None:
    sandbox.mood("rate_limited", retry_after=45)

    response = client_of(ada).get("/careless/")

    assert (response.status_code, int(response["Retry-After"]) >= 44) == (429, True)


@pytest.mark.urls(__name__)
def test_a_fault_of_a_view_is_no_problem_of_discords(ada: User, client_of: Callable[[User], Client]) -> None:
    assert (
        ProblemMiddleware(lambda request: HttpResponse()).process_exception(
            RequestFactory().get("/"), ValueError("a fault")
        )
        is None
    )
