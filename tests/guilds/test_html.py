"""Every page in every state is HTML without a fault, in every language. A new page joins by a line in `PAGES`."""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import html5lib
import pytest
from django.conf import settings
from django.db import OperationalError, connection
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import path

from accounts.models import User
from config.urls import handler400, handler403, handler404, handler500  # noqa: F401 - read by Django of this module
from config.urls import urlpatterns as site_urls
from guilds.models import GuildListVerification, UserGuildMembership
from guilds.problems import BotNotInGuild, MayNotManage
from tests.fixtures import Sandbox, let_pass

pytestmark = pytest.mark.urls(__name__)


def broken(request: HttpRequest) -> HttpResponse:
    raise ZeroDivisionError


def unmanaged(request: HttpRequest, guild_id: int) -> HttpResponse:
    raise MayNotManage


def without_bot(request: HttpRequest, guild_id: int) -> HttpResponse:
    raise BotNotInGuild


urlpatterns = [
    path("broken/", broken),
    path("unmanaged/<int:guild_id>/", unmanaged),
    path("without-bot/<int:guild_id>/", without_bot),
    *site_urls,
]


@dataclass
class Visit:
    """Ada, whose list is fresh, as a browser that is signed in (`ada`), and a `visitor` who isn't."""

    ada: Client
    visitor: Client
    user: User
    sandbox: Sandbox

    @property
    def guild_id(self) -> int:
        membership = UserGuildMembership.objects.filter(user=self.user).first()
        assert membership
        return membership.guild_id

    def get(self, page: str, **headers: str) -> Any:
        return self.ada.get(page, headers=headers)

    def in_mood(self, mood: str, page: str = "/servers/", *, hours: float, **options: Any) -> Any:
        """The page so many hours later, with Discord in that mood."""
        let_pass(hours=hours)
        self.sandbox.mood(mood, **options)
        return self.get(page)

    def after_a_change(self) -> Any:
        """The list as it is once Ada has joined a server and left another."""
        UserGuildMembership.objects.filter(guild_id=self.guild_id).update(guild_id=1)
        let_pass(hours=2)
        return self.get("/servers/")

    def without_database(self) -> Any:
        def lose(*args: Any) -> None:
            raise OperationalError("the database is gone")

        with connection.execute_wrapper(lose):
            return self.get("/servers/")

    def forged(self) -> Any:
        self.visitor.handler.enforce_csrf_checks = True
        return self.visitor.post("/language/")


PAGES: dict[str, tuple[HTTPStatus, Callable[[Visit], Any]]] = {
    "front page": (HTTPStatus.OK, lambda visit: visit.visitor.get("/")),
    "sign-in": (HTTPStatus.OK, lambda visit: visit.visitor.get("/sign-in/?next=/account/")),
    "sign-in failed": (HTTPStatus.BAD_REQUEST, lambda visit: visit.visitor.get("/complete/discord/?state=x&code=y")),
    "sign-in denied": (HTTPStatus.FORBIDDEN, lambda visit: visit.visitor.get("/complete/discord/?error=access_denied")),
    "no such page": (HTTPStatus.NOT_FOUND, lambda visit: visit.get("/no-such-page/")),
    "no such host": (HTTPStatus.BAD_REQUEST, lambda visit: visit.get("/", host="elsewhere.example")),
    "forged form": (HTTPStatus.FORBIDDEN, lambda visit: visit.forged()),
    "fault of ours": (HTTPStatus.INTERNAL_SERVER_ERROR, lambda visit: visit.get("/broken/")),
    "no database": (HTTPStatus.SERVICE_UNAVAILABLE, lambda visit: visit.without_database()),
    "picker": (HTTPStatus.OK, lambda visit: visit.get("/servers/")),
    "search": (HTTPStatus.OK, lambda visit: visit.get("/servers/?q=winter")),
    "search for nothing": (HTTPStatus.OK, lambda visit: visit.get("/servers/?q=zzz")),
    "found by htmx": (HTTPStatus.OK, lambda visit: visit.get("/servers/?q=winter", hx_request="true")),
    "changed": (HTTPStatus.OK, lambda visit: visit.after_a_change()),
    "message": (HTTPStatus.OK, lambda visit: visit.ada.post("/servers/refresh/", follow=True)),
    "server": (HTTPStatus.OK, lambda visit: visit.get(f"/servers/{visit.guild_id}/")),
    "not in this server": (HTTPStatus.NOT_FOUND, lambda visit: visit.get("/servers/1/")),
    "may not manage": (HTTPStatus.FORBIDDEN, lambda visit: visit.get(f"/unmanaged/{visit.guild_id}/")),
    "bot not there": (HTTPStatus.CONFLICT, lambda visit: visit.get(f"/without-bot/{visit.guild_id}/")),
    "account": (HTTPStatus.OK, lambda visit: visit.get("/account/")),
    "delete": (HTTPStatus.OK, lambda visit: visit.get("/servers/delete-my-data/")),
    "stale": (HTTPStatus.OK, lambda visit: visit.in_mood("rate_limited", hours=5, retry_after=45)),
    "asking": (HTTPStatus.OK, lambda visit: visit.in_mood("healthy", hours=5, latency_ms=700)),
    "age alone": (HTTPStatus.OK, lambda visit: visit.in_mood("outage", "/servers/freshness/?version=1", hours=5)),
    "limited": (HTTPStatus.TOO_MANY_REQUESTS, lambda visit: visit.in_mood("rate_limited", hours=25, retry_after=45)),
    "limited for a day": (
        HTTPStatus.TOO_MANY_REQUESTS,
        lambda visit: visit.in_mood("rate_limited", hours=25, retry_after=80_000),
    ),
    "silent": (HTTPStatus.SERVICE_UNAVAILABLE, lambda visit: visit.in_mood("outage", hours=25)),
    "reconnect": (HTTPStatus.FORBIDDEN, lambda visit: visit.in_mood("unauthorized", hours=25)),
}
FRAGMENTS = {"found by htmx", "age alone"}


@pytest.mark.parametrize("language", [code for code, _ in settings.LANGUAGES])
@pytest.mark.parametrize("name", PAGES)
def test_every_page_is_valid_html_in_every_language(
    with_list: Callable[..., User], client_of: Callable[[User], Client], sandbox: Sandbox, name: str, language: str
) -> None:
    user = with_list("ada", minutes=10)
    ada, visitor = client_of(user), Client()
    for client in (ada, visitor):
        client.defaults["HTTP_ACCEPT_LANGUAGE"] = language
        client.raise_request_exception = False
    status, visit = PAGES[name]

    response = visit(Visit(ada, visitor, user, sandbox))
    page = response.content.decode()

    assert response.status_code == status
    # In its words; moments and ids may hold the digits by chance.
    assert not re.search(r"\b502\b", re.sub(r"<[^>]*>", " ", page))
    parser = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False)
    if name in FRAGMENTS:
        tree = parser.parseFragment(page)
    else:
        tree = parser.parse(page)
        assert tree.get("lang") == language
        assert len(tree.findall(".//h1")) == 1
        assert tree.find(".//main") is not None
        assert len(re.sub("· Guildhall", "", tree.findtext(".//title")).strip()) > 2
    ids = Counter(element.get("id") for element in tree.iter() if element.get("id"))
    assert [one for one, count in ids.items() if count > 1] == []


def test_each_failure_has_words_of_its_own(
    with_list: Callable[..., User], client_of: Callable[[User], Client], sandbox: Sandbox
) -> None:
    user = with_list("ada", minutes=10)
    moments = GuildListVerification.objects.values().get()
    client = client_of(user)
    client.raise_request_exception = False
    failed = [name for name, (status, _) in PAGES.items() if status >= 400 and name != "limited for a day"]

    titles: dict[str, str] = {}
    for name in failed:
        GuildListVerification.objects.update(**moments)
        response = PAGES[name][1](Visit(client, Client(), user, sandbox))
        found = re.search(r"<h1>(.*?)</h1>", response.content.decode())
        assert found, name
        titles[name] = found[1]

    assert len(set(titles.values())) == len(failed), titles
