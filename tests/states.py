"""Every page in every state, by name, for the tests of HTML and accessibility.

Add new pages to `PAGES`. Tests that use them need this module's URLs.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from typing import Any
from unittest.mock import patch

from cryptography.fernet import Fernet
from django.db import OperationalError, connection
from django.http import HttpRequest, HttpResponse
from django.template import engines
from django.test import Client, override_settings
from django.urls import path

from accounts import access_tokens
from accounts.models import User
from accounts.token_scopes import Scope
from config.urls import handler400, handler403, handler404, handler500  # noqa: F401 - read by Django of this module
from config.urls import urlpatterns as site_urls
from guilds import menu
from guilds.decorators import guild_required
from guilds.middleware import GuildRequest
from guilds.models import UserGuildMembership
from guilds.problems import BotNotInGuild, MayNotManage
from guilds.templatetags import guild_pages
from tests.fixtures import Sandbox, let_pass


def broken(request: HttpRequest) -> HttpResponse:
    raise ZeroDivisionError


def signed_out(request: HttpRequest) -> HttpResponse:
    request.session["changed"] = True
    type(request.session)(request.session.session_key).delete()
    return HttpResponse()


@guild_required
def unmanaged(request: GuildRequest, guild_id: int) -> HttpResponse:
    raise MayNotManage


@guild_required
def without_bot(request: GuildRequest, guild_id: int) -> HttpResponse:
    raise BotNotInGuild


@guild_required(max_age=timedelta(minutes=5))
def young(request: GuildRequest, guild_id: int) -> HttpResponse:
    return HttpResponse()


@guild_required
def of_an_app(request: GuildRequest, guild_id: int) -> HttpResponse:
    template = """
        {% extends "guilds/base_guild.html" %}
        {% block title %}Welcome message{% endblock %}
        {% block content %}<h1>Welcome message</h1>{% endblock %}
    """
    return HttpResponse(engines["django"].from_string(template.strip()).render(request=request))


# What an app would register.
APP_PAGES = (
    menu.GuildPage("of-an-app", "Welcome message", "Greets new members.", icon="message", state=lambda guild: "Off"),
    menu.GuildPage("young", "Who joined and who left", icon="chart"),
    menu.GuildPage("guilds:add-bot", "Bot", permission="administrator"),
)

urlpatterns = [
    path("of-an-app/<int:guild_id>/", of_an_app, name="of-an-app"),
    path("broken/", broken),
    path("signed-out/", signed_out),
    path("young/<int:guild_id>/", young, name="young"),
    path("unmanaged/<int:guild_id>/", unmanaged),
    path("without-bot/<int:guild_id>/", without_bot),
    *site_urls,
]


@dataclass
class Visit:
    """A client signed in as Ada, whose list is fresh (`ada`), and one that is not signed in (`visitor`)."""

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
        """Return the page this many hours later, with Discord in this mood."""
        let_pass(hours=hours)
        self.sandbox.mood(mood, **options)
        return self.get(page)

    def age_alone(self) -> Any:
        """Return the fragment that a stale page polls."""
        page = self.in_mood("outage", hours=5).content.decode()
        address = re.search(r'hx-get="(/servers/freshness/[^"]*)"', page)
        assert address
        return self.get(address[1])

    def after_a_change(self) -> Any:
        """Return the list after Ada has joined a server and left another."""
        UserGuildMembership.objects.filter(guild_id=self.guild_id).update(guild_id=1)
        let_pass(hours=2)
        return self.get("/servers/")

    def not_saved(self) -> Any:
        let_pass(minutes=10)
        self.sandbox.mood("outage")
        return self.ada.post(f"/young/{self.guild_id}/", headers={"Referer": "http://testserver/servers/"})

    def with_habits(self) -> Any:
        """Return the list after Ada has starred a server and opened it."""
        self.ada.post("/servers/favourites/", {"star": self.guild_id})
        self.get(f"/servers/{self.guild_id}/")
        return self.get("/servers/")

    def in_servers(self, count: int, page: str = "/servers/") -> Any:
        """Return the page after Ada has left all her servers and joined this many others."""
        self.sandbox.person("ada", count=count)
        let_pass(hours=2)
        return self.get(page)

    def with_menu(self, page: str) -> Any:
        """Return the page of a server, where an app has registered pages."""
        with (
            patch.object(menu, "registered_pages", lambda: APP_PAGES),
            patch.object(guild_pages, "registered_pages", lambda: APP_PAGES),
        ):
            return self.get(page.format(self.guild_id))

    def without_scope(self) -> Any:
        answer = json.dumps({"message": "Missing required OAuth2 scope", "code": 50026})
        return self.in_mood("raw", hours=25, status=403, body=answer)

    def with_tokens(self, **wanted: Any) -> Any:
        """Return the access token page after its form was sent twice, the second time with `wanted`."""
        self.ada.post("/account/tokens/", {"name": "backup", "scopes": [Scope.ME_READ], "days": 30})
        return self.ada.post("/account/tokens/", wanted)

    def revokes_token(self) -> Any:
        """Return the page that asks Ada whether to revoke her token."""
        token, _secret = access_tokens.create(self.user, "nightly", [Scope.ME_READ], timedelta(days=30))
        return self.get(f"/account/tokens/{token.pk}/revoke/")

    def with_lost_keys(self) -> Any:
        let_pass(hours=25)
        with override_settings(TOKEN_KEYS=[Fernet.generate_key().decode()]):
            return self.get("/servers/")

    def without_database(self) -> Any:
        def lose(*args: Any) -> None:
            raise OperationalError("the database is gone")

        with connection.execute_wrapper(lose):
            return self.get("/servers/")

    def links_account(self) -> Any:
        """What a person who signed in with a password is asked before Discord."""
        root = User.objects.create_user("root")
        self.visitor.force_login(root, backend="guilds.backends.PasswordBackend")
        return self.visitor.post("/login/discord/", SERVER_NAME="localhost")

    def signed_out_meanwhile(self) -> Any:
        """What a request gets that changes its session while another one deletes it."""
        self.visitor.force_login(self.user, backend="guilds.backends.DiscordBackend")
        return self.visitor.get("/signed-out/")

    def forged(self) -> Any:
        self.visitor.handler.enforce_csrf_checks = True
        return self.visitor.post("/language/")


PAGES: dict[str, tuple[HTTPStatus, Callable[[Visit], Any]]] = {
    "front page": (HTTPStatus.OK, lambda visit: visit.visitor.get("/")),
    "sign-in": (HTTPStatus.OK, lambda visit: visit.visitor.get("/sign-in/?next=/account/")),
    "sign-in failed": (HTTPStatus.BAD_REQUEST, lambda visit: visit.visitor.get("/complete/discord/?state=x&code=y")),
    "sign-in denied": (HTTPStatus.FORBIDDEN, lambda visit: visit.visitor.get("/complete/discord/?error=access_denied")),
    "link account": (HTTPStatus.OK, lambda visit: visit.links_account()),
    "signed out meanwhile": (HTTPStatus.UNAUTHORIZED, lambda visit: visit.signed_out_meanwhile()),
    "no such page": (HTTPStatus.NOT_FOUND, lambda visit: visit.get("/no-such-page/")),
    "only by its button": (HTTPStatus.METHOD_NOT_ALLOWED, lambda visit: visit.get("/servers/refresh/")),
    "no such host": (HTTPStatus.BAD_REQUEST, lambda visit: visit.get("/", host="elsewhere.example")),
    "forged form": (HTTPStatus.FORBIDDEN, lambda visit: visit.forged()),
    "our own fault": (HTTPStatus.INTERNAL_SERVER_ERROR, lambda visit: visit.get("/broken/")),
    "no database": (HTTPStatus.SERVICE_UNAVAILABLE, lambda visit: visit.without_database()),
    "picker": (HTTPStatus.OK, lambda visit: visit.get("/servers/")),
    "search": (HTTPStatus.OK, lambda visit: visit.get("/servers/?q=winter")),
    "search for nothing": (HTTPStatus.OK, lambda visit: visit.get("/servers/?q=zzz")),
    "found by htmx": (HTTPStatus.OK, lambda visit: visit.get("/servers/?q=winter", hx_request="true")),
    "changed": (HTTPStatus.OK, lambda visit: visit.after_a_change()),
    "favourite and recent": (HTTPStatus.OK, lambda visit: visit.with_habits()),
    "in no server": (HTTPStatus.OK, lambda visit: visit.in_servers(0)),
    "in one server": (HTTPStatus.OK, lambda visit: visit.in_servers(1)),
    "owner of none": (HTTPStatus.OK, lambda visit: visit.in_servers(1, "/servers/?show=owner")),
    "message": (HTTPStatus.OK, lambda visit: visit.ada.post("/servers/refresh/", follow=True)),
    "server": (HTTPStatus.OK, lambda visit: visit.get(f"/servers/{visit.guild_id}/")),
    "server with pages": (HTTPStatus.OK, lambda visit: visit.with_menu("/servers/{}/")),
    "page of an app": (HTTPStatus.OK, lambda visit: visit.with_menu("/of-an-app/{}/")),
    "switch server": (HTTPStatus.OK, lambda visit: visit.get(f"/servers/switch/?from=/servers/{visit.guild_id}/")),
    "switch to no server": (HTTPStatus.OK, lambda visit: visit.get("/servers/switch/?q=zzz")),
    "not in this server": (HTTPStatus.NOT_FOUND, lambda visit: visit.get("/servers/1/")),
    "may not manage": (HTTPStatus.FORBIDDEN, lambda visit: visit.get(f"/unmanaged/{visit.guild_id}/")),
    "bot not there": (HTTPStatus.CONFLICT, lambda visit: visit.get(f"/without-bot/{visit.guild_id}/")),
    "account": (HTTPStatus.OK, lambda visit: visit.get("/account/")),
    "access tokens": (HTTPStatus.OK, lambda visit: visit.get("/account/tokens/")),
    "new access token": (
        HTTPStatus.OK,
        lambda visit: visit.with_tokens(name="dashboard", scopes=[Scope.GUILDS_READ], days=7),
    ),
    "wrong access token": (HTTPStatus.UNPROCESSABLE_ENTITY, lambda visit: visit.with_tokens(name="backup", days=8)),
    "revoke access token": (HTTPStatus.OK, lambda visit: visit.revokes_token()),
    "api documentation": (HTTPStatus.OK, lambda visit: visit.get("/api/docs/")),
    "api documentation, signed out": (HTTPStatus.OK, lambda visit: visit.visitor.get("/api/docs/")),
    "problems": (HTTPStatus.OK, lambda visit: visit.visitor.get("/problems/")),
    "problem": (HTTPStatus.OK, lambda visit: visit.visitor.get("/problems/rate-limited")),
    "delete": (HTTPStatus.OK, lambda visit: visit.get("/servers/delete-my-data/")),
    "stale": (HTTPStatus.OK, lambda visit: visit.in_mood("rate_limited", hours=5, retry_after=45)),
    "asking": (HTTPStatus.OK, lambda visit: visit.in_mood("healthy", hours=5, latency_ms=700)),
    "age alone": (HTTPStatus.OK, lambda visit: visit.age_alone()),
    "limited": (HTTPStatus.TOO_MANY_REQUESTS, lambda visit: visit.in_mood("rate_limited", hours=25, retry_after=45)),
    "limited for a day": (
        HTTPStatus.TOO_MANY_REQUESTS,
        lambda visit: visit.in_mood("rate_limited", hours=25, retry_after=80_000),
    ),
    "silent": (HTTPStatus.SERVICE_UNAVAILABLE, lambda visit: visit.in_mood("outage", hours=25)),
    "not saved": (HTTPStatus.SERVICE_UNAVAILABLE, lambda visit: visit.not_saved()),
    "unexpected reply": (HTTPStatus.SERVICE_UNAVAILABLE, lambda visit: visit.in_mood("wrong_type", hours=25)),
    "missing scope": (HTTPStatus.FORBIDDEN, lambda visit: visit.without_scope()),
    "lost keys": (HTTPStatus.SERVICE_UNAVAILABLE, lambda visit: visit.with_lost_keys()),
    # Last, because an account whose tokens were refused stays disconnected.
    "reconnect": (HTTPStatus.FORBIDDEN, lambda visit: visit.in_mood("unauthorized", hours=25)),
}
FRAGMENTS = {"found by htmx", "age alone"}
