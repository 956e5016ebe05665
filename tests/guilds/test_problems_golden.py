"""Every problem response of the site, word for word, in both languages, against `problems_golden.json`.

The file records what pages and programs receive: a changed status, header or word shows up there as a changed line.
`GOLDEN=write ./run test --thorough tests/guilds/test_problems_golden.py` writes it anew, in one process (no -n).

Requests go through the whole site. Where Discord would have to fail, its failure is stored, or raised by the client
that asks; this module's views raise what developers raise in their own views.
"""

import difflib
import json
import logging
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib.messages import get_messages
from django.core.cache import cache
from django.core.exceptions import BadRequest, PermissionDenied, SuspiciousOperation, TooManyFieldsSent
from django.db import DatabaseError, InterfaceError, OperationalError, connection, transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.test import Client, override_settings
from django.urls import path
from pytest_django import Settings
from rest_framework import exceptions, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from social_core import exceptions as social

from accounts import access_tokens, background, service_tokens
from accounts.clock import database_now
from accounts.discord import (
    CurrentUser,
    DiscordAPIError,
    DiscordClient,
    DiscordUnavailable,
    Forbidden,
    InvalidGrant,
    MissingScope,
    Permissions,
    RateLimited,
    RequestRejected,
    SiteRefused,
    Tokens,
    Unauthorized,
    UnusableResponse,
)
from accounts.limits import GateShut, Reason
from accounts.models import DiscordAccount, DiscordGate, DiscordRefusal, User
from accounts.throttles import meter
from accounts.token_scopes import Scope
from accounts.tokens import ReconnectRequired
from config.urls import handler400, handler403, handler404, handler500  # noqa: F401 - read by Django of this module
from config.urls import urlpatterns as site_urls
from guilds.decorators import guild_list_required, guild_required
from guilds.middleware import GuildRequest
from guilds.models import BotGuilds, GuildListVerification, UserGuildMembership
from guilds.permissions import CanManageGuild, InGuild
from guilds.problems import (
    BotMissingPermission,
    BotNotInGuild,
    BotPresenceUnknown,
    MayNotManage,
    MembershipRequired,
    MissingRole,
    NotInGuild,
    Problem,
    ProblemRaised,
)
from guilds.services import NoAnswer, RefreshTooSoon

FILE = Path(__file__).with_name("problems_golden.json")
WRITES = os.environ.get("GOLDEN") == "write"
GOLDEN: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
LANGUAGES = ("en", "de")
HEADERS = (
    "Content-Type",
    "Content-Language",
    "Cache-Control",
    "Vary",
    "Allow",
    "Location",
    "Retry-After",
    "WWW-Authenticate",
)
JSON = {"Accept": "application/json"}
# Ada may manage the first, is an ordinary member of the second, and not in the third.
MANAGED, ORDINARY, ELSEWHERE = 100000000000000001, 100000000000000002, 100000000000000003


# The exceptions that views raise.


class Teapot(exceptions.APIException):
    status_code = 418
    default_detail = "There is no coffee."


RAISED: dict[str, Callable[[], Exception]] = {
    "not-in-guild": NotInGuild,
    "may-not-manage": MayNotManage,
    "missing-role": lambda: MissingRole(MANAGED, {12, 3}),
    "missing-role-of-nobody": lambda: MissingRole(MANAGED, ()),
    "missing-role-of-the-site": lambda: MissingRole(MANAGED, {12, 3}, whole_site=True),
    "membership-required": lambda: MembershipRequired(MANAGED),
    "bot-not-in-guild": BotNotInGuild,
    "bot-missing-permission": lambda: BotMissingPermission(Permissions.SEND_MESSAGES | Permissions.EMBED_LINKS),
    "bot-presence-unknown": BotPresenceUnknown,
    "reconnect-required": ReconnectRequired,
    "missing-scope": MissingScope,
    "refresh-too-soon": lambda: RefreshTooSoon(12.3),
    "refresh-too-soon-now": lambda: RefreshTooSoon(0),
    **{
        f"RateLimited-{scope}": lambda scope=scope: RateLimited(scope=scope, retry_after=45)
        for scope in (None, "user", "shared", "global", "cloudflare", "unheard-of")
    },
    **{
        f"NoAnswer-{reason}": lambda reason=reason: NoAnswer("guild_list", Reason(reason), retry_after=45)
        for reason in (
            "rate_limited",
            "global_limit",
            "cloudflare",
            "unavailable",
            "unusable",
            "site_refused",
            "brake",
            "busy",
            "in_progress",
        )
    },
    "DiscordUnavailable": lambda: DiscordUnavailable(retry_after=45),
    "RateLimited-untold": RateLimited,
    "RateLimited-half-a-second": lambda: RateLimited(scope="user", retry_after=0.5),
    "RateLimited-a-day": lambda: RateLimited(scope="user", retry_after=80_000),
    "DiscordUnavailable-untold": DiscordUnavailable,
    "problem-of-a-site": lambda: ProblemRaised(
        Problem("no-coffee", 418, "No coffee", "There is tea.", retry_after=7, more={"pot": "short"})
    ),
    "problem-without-a-name": lambda: ProblemRaised(Problem("", 409, "Conflict", "Another request was quicker.")),
    "DiscordAPIError": DiscordAPIError,
    "Unauthorized": Unauthorized,
    "Forbidden": Forbidden,
    "SiteRefused": SiteRefused,
    "UnusableResponse": UnusableResponse,
    "RequestRejected": RequestRejected,
    "InvalidGrant": InvalidGrant,
    "AuthCanceled": social.AuthCanceled,
    "AuthException": social.AuthException,
    "Http404": lambda: Http404("nothing like that"),
    "PermissionDenied": lambda: PermissionDenied("not you"),
    "SuspiciousOperation": SuspiciousOperation,
    "TooManyFieldsSent": TooManyFieldsSent,
    "BadRequest": BadRequest,
    "OperationalError": OperationalError,
    "InterfaceError": InterfaceError,
    "DatabaseError": DatabaseError,
    "GateShut": lambda: GateShut(Reason.BRAKE, database_now(), database_now()),
    "fault": ZeroDivisionError,
}
RAISED_BY_ENDPOINTS: dict[str, Callable[[], Exception]] = {
    "ParseError": exceptions.ParseError,
    "ParseError-own-words": lambda: exceptions.ParseError("Half of it is missing."),
    "drf-PermissionDenied": exceptions.PermissionDenied,
    "drf-PermissionDenied-own-words": lambda: exceptions.PermissionDenied("Not on Sundays."),
    "NotFound": exceptions.NotFound,
    "NotFound-own-words": lambda: exceptions.NotFound("No such role."),
    "MethodNotAllowed": lambda: exceptions.MethodNotAllowed("GET"),
    "NotAcceptable": exceptions.NotAcceptable,
    "UnsupportedMediaType": lambda: exceptions.UnsupportedMediaType("text/csv"),
    "Throttled": exceptions.Throttled,
    "Throttled-told": lambda: exceptions.Throttled(wait=2.1),
    "NotAuthenticated": exceptions.NotAuthenticated,
    "AuthenticationFailed": exceptions.AuthenticationFailed,
    "APIException": exceptions.APIException,
    "Teapot": Teapot,
    "ValidationError": lambda: exceptions.ValidationError("That is no welcome."),
    "ValidationError-many": lambda: exceptions.ValidationError(["One.", "Two."]),
    "ValidationError-fields": lambda: exceptions.ValidationError({"text": ["One."], "roles": [{}, {"name": ["Two."]}]}),
}


def raises(request: HttpRequest, name: str, guild_id: int | None = None) -> HttpResponse:
    raise RAISED[name]()


class RaisingView(APIView):
    permission_classes: ClassVar[list[Any]] = []

    def get(self, request: Request, name: str) -> Response:
        raise {**RAISED, **RAISED_BY_ENDPOINTS}[name]()


class Welcome(serializers.Serializer[Any]):
    text = serializers.CharField(max_length=5)


class WelcomeView(APIView):
    token_scope = Scope.GUILDS_READ

    def post(self, request: Request) -> Response:
        welcome = Welcome(data=request.data)
        welcome.is_valid(raise_exception=True)
        return Response(welcome.data)


class SessionOnlyView(APIView):
    def get(self, request: Request) -> Response:
        return Response({})


class GuildView(APIView):
    def get(self, request: Request, guild_id: int) -> Response:
        return Response({})


class ManagedView(GuildView):
    permission_classes: ClassVar[list[Any]] = [CanManageGuild]


class RolesView(GuildView):
    permission_classes: ClassVar[list[Any]] = [InGuild.may("manage_roles")]


class WithBotView(GuildView):
    permission_classes: ClassVar[list[Any]] = [InGuild.with_bot()]


class YoungView(GuildView):
    permission_classes: ClassVar[list[Any]] = [InGuild.within(minutes=5)]


def guild_page(request: GuildRequest, guild_id: int) -> HttpResponse:
    return HttpResponse()


def reads_list(request: GuildRequest) -> HttpResponse:
    return HttpResponse(str(len(request.guild_list)))


urlpatterns = [
    path("raises/<str:name>/", raises),
    path("raises/<str:name>/<int:guild_id>/", raises),
    path("api/raises/<str:name>/", RaisingView.as_view()),
    path("api/raises-plainly/<str:name>/", raises),
    path("api/welcome/", WelcomeView.as_view()),
    path("api/session-only/", SessionOnlyView.as_view()),
    path("api/managed/<int:guild_id>/", ManagedView.as_view()),
    path("api/roles/<int:guild_id>/", RolesView.as_view()),
    path("api/with-bot/<int:guild_id>/", WithBotView.as_view()),
    path("api/young/<int:guild_id>/", YoungView.as_view()),
    path("managed/<int:guild_id>/", guild_required("manage_guild")(guild_page)),
    path("roles/<int:guild_id>/", guild_required("manage_roles")(guild_page)),
    path("with-bot/<int:guild_id>/", guild_required(bot=True)(guild_page)),
    path("young/<int:guild_id>/", guild_required(max_age=timedelta(minutes=5))(guild_page)),
    path("list-required/", guild_list_required(reads_list)),
    path("reads-list/", reads_list),
    *site_urls,
]
pytestmark = [pytest.mark.thorough, pytest.mark.django_db]


# The visitors, and the state they are in.


@dataclass(frozen=True)
class Person:
    """Ada, whose list is 10 minutes old, and her session."""

    user: User
    session_key: str
    now: datetime


@pytest.fixture
def person(db: None, client_of: Callable[[User], Client]) -> Person:
    user = User.objects.create(username="1", discord_id=1, discord_username="ada")
    now = database_now()
    verified_at = now - timedelta(minutes=10)
    BotGuilds.objects.create(verified_at=verified_at)
    GuildListVerification.objects.create(
        user=user, verified_at=verified_at, refresh_after=now + timedelta(minutes=30), version=1
    )
    seen = {"user": user, "first_seen_at": verified_at, "changed_at": verified_at}
    UserGuildMembership.objects.bulk_create(
        [
            UserGuildMembership(guild_id=MANAGED, name="Analytical Engine", permissions=1 << 5, **seen),
            UserGuildMembership(guild_id=ORDINARY, name="Difference Engine", **seen),
        ]
    )
    return Person(user, client_of(user).cookies["guildhall_session"].value, now)


class Site:
    """The site in a language, Ada's browser and a visitor's."""

    def __init__(self, language: str, person: Person, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
        self.settings, self.monkeypatch = settings, monkeypatch
        self.user, self.now = person.user, person.now
        self.ada, self.visitor = (
            Client(raise_request_exception=False, headers={"Accept-Language": language}) for _ in range(2)
        )
        self.ada.cookies["guildhall_session"] = person.session_key

    def get(self, path: str, **headers: str) -> Any:
        return self.ada.get(path, headers=headers)

    def post(self, path: str, data: Any = None, **headers: str) -> Any:
        return self.ada.post(path, data or {}, headers=headers)

    def in_record(self, **fields: Any) -> "Site":
        """Update the person's record."""
        GuildListVerification.objects.filter(pk=self.user.pk).update(**fields)
        return self

    def without_list(self, reason: str, *, pause: float | None = 45) -> "Site":
        """No list yet, because of `reason`, and no asking for so many seconds."""
        not_before = None if pause is None else self.now + timedelta(seconds=pause)
        return self.in_record(verified_at=None, refresh_after=None, reason=reason, not_before=not_before)

    def behind_gate(self, reason: str) -> "Site":
        self.without_list("", pause=None)
        until = self.now + timedelta(seconds=45)
        DiscordGate.objects.update_or_create(pk=1, defaults={"streak": 1, "until": until, "reason": reason})
        return self

    def braked(self) -> "Site":
        self.without_list("", pause=None)
        self.settings.DISCORD_BRAKE_HARD = 1
        DiscordRefusal.objects.create(at=self.now - timedelta(minutes=10) + timedelta(seconds=45), status=401)
        return self

    def asked_by_another(self) -> "Site":
        """Another process is asking Discord, for longer than the reader waits."""
        self.settings.DISCORD_FETCH_BUDGET_MS = self.settings.DISCORD_REFRESH_WAIT_MS = 1
        return self.without_list("", pause=None).in_record(lease_until=database_now() + timedelta(seconds=3.5))

    def limited(self, name: str, path: str = "/api/v1/me/") -> Any:
        """The second response, where one a minute is allowed."""
        setattr(self.settings, name, (1, 60))
        self.get(path)
        return self.get(path)

    def bearer(self, *scopes: Scope) -> dict[str, str]:
        _row, token = access_tokens.create(self.user, "program", scopes, access_tokens.MAX_LIFETIME)
        return {"Authorization": f"Bearer {token}"}

    def service(self) -> dict[str, str]:
        _row, token = service_tokens.create("bot", [Scope.BOT_READ], by="a test")
        return {"Authorization": f"Bearer {token}"}

    def forged(self, path: str, **headers: str) -> Any:
        self.ada.handler.enforce_csrf_checks = True
        return self.post(path, **headers)

    def without_database(self, path: str, **headers: str) -> Any:
        def lose(*args: Any) -> None:
            raise OperationalError("the database is gone")

        with connection.execute_wrapper(lose):
            return self.get(path, **headers)

    def without_templates(self, path: str) -> Any:
        def fail(*args: Any, **kwargs: Any) -> str:
            raise ZeroDivisionError

        self.monkeypatch.setattr("config.views.render_to_string", fail)
        return self.get(path)

    def comes_back(
        self,
        brings: Exception | int,
        client: Client | None = None,
        *,
        at: str = "exchange_code",
        forgets: str = "",
        next_page: str = "",
        **headers: str,
    ) -> Any:
        """The end of a sign-in: Discord fails like this, or says that it is the person with this id."""
        browser = client or self.visitor

        def at_once(job: Callable[[], Any], **_options: Any) -> Any:
            return job()

        def exchange(*_args: Any) -> Tokens:
            answer = {
                "access_token": "a",
                "refresh_token": "r",
                "expires_in": 3600,
                "scope": "identify guilds",
                "token_type": "Bearer",
            }
            return Tokens.from_json(answer)

        def fail(*_args: Any) -> None:
            assert isinstance(brings, Exception)
            raise brings

        def person(*_args: Any) -> CurrentUser:
            return CurrentUser.from_json({"id": str(brings), "username": "ada", "global_name": None, "avatar": None})

        self.monkeypatch.setattr(background, "call", at_once)
        self.monkeypatch.setattr(DiscordClient, "exchange_code", exchange)
        self.monkeypatch.setattr(DiscordClient, "get_current_user", person)
        if isinstance(brings, Exception):
            self.monkeypatch.setattr(DiscordClient, at, fail)
        # A sign-in begins at the host of SITE_URL.
        sent = browser.post(
            "/login/discord/", {"next": next_page} if next_page else {}, headers={"Host": "localhost:8000"}
        )
        answer = {"state": parse_qs(urlsplit(sent["Location"]).query)["state"][0], "code": "code"}
        answer.pop(forgets, None)
        return browser.get("/complete/discord/", answer, headers=headers)

    def with_account(self, id_key: str = "id", **fields: Any) -> "Site":
        """Ada has signed in before; `id_key` is what social-auth says an account's uid is."""
        User.objects.filter(pk=self.user.pk).update(**fields)
        DiscordAccount.objects.create(user=self.user, provider="discord", uid="1", id_key=id_key)
        return self


# The cases.

Ask = Callable[[Site], Any]
CASES: dict[str, Ask] = {}
# Those whose waits are counted from a clock that runs.
BY_THE_CLOCK: set[str] = set()


def case(name: str, ask: Ask, *, by_the_clock: bool = False) -> None:
    assert name not in CASES, name
    CASES[name] = ask
    if by_the_clock:
        BY_THE_CLOCK.add(name)


def page_and_json(name: str, path: str) -> None:
    case(f"{name}: page", lambda site: site.get(path))
    case(f"{name}: page for a program", lambda site: site.get(path, **JSON))


# Raised by views.
for _name in RAISED:
    page_and_json(f"raised {_name}", f"/raises/{_name}/")
for _name in (*RAISED, *RAISED_BY_ENDPOINTS):
    case(f"raised {_name}: endpoint", lambda site, name=_name: site.get(f"/api/raises/{name}/"))
for _name in ("not-in-guild", "RateLimited-user", "Http404", "PermissionDenied", "BadRequest", "fault", "Forbidden"):
    case(
        f"raised {_name}: plain view of the API",
        lambda site, name=_name: site.get(f"/api/raises-plainly/{name}/"),
    )
for _name in (
    *("not-in-guild", "may-not-manage", "bot-not-in-guild", "reconnect-required", "missing-scope"),
    *("refresh-too-soon", "RateLimited-user", "DiscordUnavailable", "Http404", "PermissionDenied"),
    *("BadRequest", "OperationalError", "fault", "problem-of-a-site", "Forbidden"),
):
    _page = f"/raises/{_name}/"
    case(f"raised {_name}: page of a visitor", lambda site, page=_page: site.visitor.get(page))
    case(f"raised {_name}: button", lambda site, page=_page: site.post(page))
    case(
        f"raised {_name}: form",
        lambda site, page=_page: site.post(page, {"text": "a"}, Referer="http://testserver/form/"),
    )
for _name in ("may-not-manage", "bot-not-in-guild"):
    case(
        f"raised {_name}: page of a server",
        lambda site, name=_name: site.get(f"/raises/{name}/{MANAGED}/"),
    )

# At the doors.
for _door, _guild in (
    ("managed", ORDINARY),
    ("managed", ELSEWHERE),
    ("roles", ORDINARY),
    ("with-bot", MANAGED),
    ("with-bot", ORDINARY),
):
    _role = {MANAGED: "a manager", ORDINARY: "a member", ELSEWHERE: "a stranger"}[_guild]
    page_and_json(f"door {_door}, {_role}", f"/{_door}/{_guild}/")
    case(f"door {_door}, {_role}: endpoint", lambda site, door=_door, guild=_guild: site.get(f"/api/{door}/{guild}/"))
for _prefix, _kind in (("", "page"), ("/api", "endpoint")):
    case(
        f"door young, a stranger: {_kind}",
        lambda site, prefix=_prefix: site.in_record(verified_at=site.now).get(f"{prefix}/young/{ELSEWHERE}/"),
    )
    for _reason in ("rate_limited", "unavailable"):
        case(
            f"door young, {_reason}: {_kind}",
            lambda site, prefix=_prefix, reason=_reason: site.in_record(
                reason=reason, not_before=site.now + timedelta(seconds=45)
            ).get(f"{prefix}/young/{MANAGED}/"),
            by_the_clock=True,
        )
case(
    "door young, rate_limited: form",
    lambda site: site.in_record(reason="rate_limited", not_before=site.now + timedelta(seconds=45)).post(
        f"/young/{MANAGED}/", {"text": "a"}, Referer="http://testserver/form/"
    ),
    by_the_clock=True,
)
for _page in ("/list-required/", f"/managed/{MANAGED}/", "/reads-list/", "/account/"):
    case(f"not signed in, {_page}: page", lambda site, page=_page: site.visitor.get(page))
    case(
        f"not signed in, {_page}: page for a program",
        lambda site, page=_page: site.visitor.get(page, headers=JSON),
    )
case(
    "not signed in: form",
    lambda site: site.visitor.post(f"/managed/{MANAGED}/", {"text": "a"}, headers={"Referer": "http://testserver/a/"}),
)

# Reasons for having no list.
STATES: dict[str, Callable[[Site], Site]] = {
    **{
        f"stored {reason}": lambda site, reason=reason: site.without_list(reason)
        for reason in ("rate_limited", "global_limit", "cloudflare", "unavailable", "brake", "busy", "")
    },
    "gate shut, global_limit": lambda site: site.behind_gate("global_limit"),
    "gate shut, cloudflare": lambda site: site.behind_gate("cloudflare"),
    "brake": lambda site: site.braked(),
}
REFUSALS: dict[str, Callable[[Site], Site]] = {
    "stored reconnect_required": lambda site: site.in_record(reason="reconnect_required"),
    "stored missing_scope": lambda site: site.in_record(reason="missing_scope"),
    "in progress": lambda site: site.asked_by_another(),
}
for _states, _clock in ((STATES, True), (REFUSALS, False)):
    for _name, _state in _states.items():
        case(f"{_name}: page", lambda site, state=_state: state(site).get("/servers/"), by_the_clock=_clock)
        case(
            f"{_name}: page for a program",
            lambda site, state=_state: state(site).get("/servers/", **JSON),
            by_the_clock=_clock,
        )
        case(
            f"{_name}: endpoint",
            lambda site, state=_state: state(site).get("/api/v1/guilds/"),
            by_the_clock=_clock,
        )
for _name, _state in {**STATES, **REFUSALS}.items():
    if _name in ("stored rate_limited", "stored unavailable", "stored missing_scope", "brake"):
        case(
            f"{_name}: refresh endpoint",
            lambda site, state=_state: state(site).post("/api/v1/guilds/refresh/"),
            by_the_clock=_name in STATES,
        )
        case(
            f"{_name}: one server's page",
            lambda site, state=_state: state(site).get(f"/servers/{MANAGED}/"),
            by_the_clock=_name in STATES,
        )
for _reason in ("rate_limited", "global_limit", "cloudflare", "unavailable", "brake", "busy"):
    case(
        f"stored {_reason}: refresh button",
        lambda site, reason=_reason: site.in_record(reason=reason, not_before=site.now + timedelta(seconds=45)).post(
            "/servers/refresh/"
        ),
    )
for _method, _page in (("page", "/servers/refresh/"), ("endpoint", "/api/v1/guilds/refresh/")):
    case(
        f"refreshed a moment ago: {_method}",
        lambda site, page=_page: site.in_record(verified_at=site.now).post(page),
        by_the_clock=True,
    )

# The pages' own.
case("not in this server: page", lambda site: site.get(f"/servers/{ELSEWHERE}/"))
case("not in this server: page for a program", lambda site: site.get(f"/servers/{ELSEWHERE}/", **JSON))
case("not in this server: way to add the bot", lambda site: site.get(f"/servers/{ELSEWHERE}/add-bot/"))
case("may not manage: way to add the bot", lambda site: site.get(f"/servers/{ORDINARY}/add-bot/"))
case("not in this server: star", lambda site: site.post("/servers/favourites/", {"star": ELSEWHERE}))
for _who in ("ada", "visitor"):
    for _words, _headers in (("page", {}), ("page for a program", JSON)):
        case(
            f"no such page, {_who}: {_words}",
            lambda site, who=_who, headers=_headers: getattr(site, who).get("/no-such-page/", headers=headers),
        )
        case(
            f"no such method, {_who}: {_words}",
            lambda site, who=_who, headers=_headers: getattr(site, who).get("/servers/refresh/", headers=headers),
        )
case("no such host: page", lambda site: site.get("/", host="elsewhere.example"))
case("no such host: page for a program", lambda site: site.get("/", host="elsewhere.example", **JSON))
case("no such host: endpoint", lambda site: site.get("/api/v1/me/", host="elsewhere.example"))
case("wrong form: access token", lambda site: site.post("/account/tokens/", {}))
case("metrics without their token", lambda site: site.get("/metrics"))
case("forged: form", lambda site: site.forged("/language/"))
case("forged: form for a program", lambda site: site.forged("/language/", **JSON))
case("forged: plain view of the API", lambda site: site.forged("/api/raises-plainly/fault/"))
case("forged: endpoint", lambda site: site.forged("/api/v1/guilds/refresh/"))
case("no database: page", lambda site: site.without_database("/servers/"))
case("no database: page for a program", lambda site: site.without_database("/servers/", **JSON))
case("no database: endpoint", lambda site: site.without_database("/api/v1/guilds/"))
case("no database: form", lambda site: site.post("/raises/OperationalError/", {"text": "a"}))
case("no database: health check", lambda site: site.without_database("/healthz"))
case("no templates: fault", lambda site: site.without_templates("/raises/fault/"))
case("no templates: no database", lambda site: site.without_templates("/raises/OperationalError/"))
case("no templates: no such host", lambda site: site.without_templates("/raises/BadRequest/"))

# The API's own.
case("API: no such address", lambda site: site.get("/api/v1/nothing/"))
case("API: no such address outside of it", lambda site: site.get("/api/nothing/"))
case("API: not in this server", lambda site: site.get(f"/api/v1/guilds/{ELSEWHERE}/"))
case("API: no such method", lambda site: site.ada.delete("/api/v1/guilds/"))
case("API: no such method of the document", lambda site: site.post("/api/schema/"))
case("API: another format", lambda site: site.get("/api/v1/guilds/", Accept="text/csv"))
case("API: not signed in", lambda site: site.visitor.get("/api/v1/guilds/"))
case("API: another scheme", lambda site: site.visitor.get("/api/v1/guilds/", headers={"Authorization": "Basic YTpi"}))
case("API: token that is none", lambda site: site.visitor.get("/api/v1/me/", headers={"Authorization": "Bearer gdh_x"}))
case("API: token that is empty", lambda site: site.visitor.get("/api/v1/me/", headers={"Authorization": "Bearer"}))
case("API: token for nothing", lambda site: site.visitor.get("/api/v1/guilds/", headers=site.bearer()))
case(
    "API: token for something else",
    lambda site: site.visitor.get("/api/v1/me/", headers=site.bearer(Scope.GUILDS_READ)),
)
case(
    "API: token for reading, to refresh",
    lambda site: site.visitor.post("/api/v1/guilds/refresh/", headers=site.bearer(Scope.GUILDS_READ)),
)
case(
    "API: token where none will do",
    lambda site: site.visitor.get("/api/session-only/", headers=site.bearer(Scope.GUILDS_READ)),
)
case(
    "API: service token where a person is needed", lambda site: site.visitor.get("/api/v1/me/", headers=site.service())
)
case("API: for staff only", lambda site: site.get("/api/v1/bot/guilds/"))
case("API: person limited", lambda site: site.limited("API_THROTTLE_USER"), by_the_clock=True)
case("API: address limited", lambda site: site.limited("API_THROTTLE_ADDRESS"), by_the_clock=True)
case("API: document limited", lambda site: site.limited("API_THROTTLE_ADDRESS", "/api/schema/"), by_the_clock=True)
for _page in ("/api/v1/guilds/", "/api/v1/guilds/?owner=true", f"/api/v1/guilds/{MANAGED}/"):
    case(f"API: precondition of {_page}", lambda site, page=_page: site.get(page, **{"If-Match": '"x"'}))
for _words, _query in {
    "unknown": "owne=true",
    "unknown and long": "x" * 65 + "=true",
    "unknown and quoted": "%22%C3%A4=1",
    "twice": "owner=true&owner=true",
    "no boolean": "manageable=yes",
    "long search": "search=" + "x" * 101,
    "search for nothing printable": "search=%00",
    "no ordering": "ordering=age",
    "no field": "fields=id,age",
}.items():
    case(f"API: parameter, {_words}", lambda site, query=_query: site.get(f"/api/v1/guilds/?{query}"))
for _words, _body, _type in (
    ("no JSON", "{", "application/json"),
    ("another media type", "text=a", "application/x-www-form-urlencoded"),
    ("a field is missing", "{}", "application/json"),
    ("a field is too long", '{"text": "too long"}', "application/json"),
    ("no object", "[]", "application/json"),
):
    case(
        f"API: body, {_words}",
        lambda site, body=_body, kind=_type: site.ada.post("/api/welcome/", body, content_type=kind),
    )

# Sign-in.
for _error in (
    *(InvalidGrant(), Unauthorized(route="POST /oauth2/token"), RequestRejected(route="POST /oauth2/token")),
    *(Forbidden(), RequestRejected(), Unauthorized(), DiscordAPIError(), ReconnectRequired()),
    *(social.AuthCanceled(), social.AuthSessionError(), social.AuthInputError(), social.AuthAssociationError()),
    *(social.AuthPolicyError(), social.AuthConfigurationError(), social.AuthResponseError()),
    *(social.AuthCredentialError(), social.AuthProviderError(), social.AuthUnknownError(), social.AuthException()),
    social.SocialAuthBaseException(),
):
    _words = f"{type(_error).__name__}{' at the token route' if getattr(_error, 'route', '') else ''}"
    case(f"sign-in: {_words}", lambda site, error=_error: site.comes_back(error))
for _error in (RateLimited(scope="global", retry_after=45), DiscordUnavailable(retry_after=45), MissingScope()):
    for _at in ("exchange_code", "get_current_user"):
        case(
            f"sign-in: {type(_error).__name__} at {_at}",
            lambda site, error=_error, at=_at: site.comes_back(error, at=at),
        )
for _error in (RateLimited(), DiscordUnavailable(), TimeoutError()):
    case(f"sign-in: {type(_error).__name__}, untold wait", lambda site, error=_error: site.comes_back(error))
for _reason in ("global_limit", "cloudflare", "brake", "busy"):
    case(
        f"sign-in: gate shut, {_reason}",
        lambda site, reason=_reason: site.comes_back(
            GateShut(Reason(reason), site.now + timedelta(seconds=45), site.now), next_page="/account/"
        ),
    )
case("sign-in: limited, signed in", lambda site: site.comes_back(RateLimited(retry_after=45), site.ada))
case("sign-in: limited, for a program", lambda site: site.comes_back(RateLimited(retry_after=45), **JSON))
case("sign-in: denied", lambda site: site.visitor.get("/complete/discord/?error=access_denied"))
case("sign-in: denied, signed in", lambda site: site.get("/complete/discord/?error=access_denied"))
case(
    "sign-in: denied, for a program",
    lambda site: site.visitor.get("/complete/discord/?error=access_denied", headers=JSON),
)
case("sign-in: another error of Discord's", lambda site: site.visitor.get("/complete/discord/?error=server_error"))
case("sign-in: state of another browser", lambda site: site.visitor.get("/complete/discord/?state=x&code=y"))
case("sign-in: state missing", lambda site: site.comes_back(1, forgets="state"))
case("sign-in: as another person", lambda site: site.comes_back(2, site.ada))
case("sign-in: as another person who is here", lambda site: as_another(site))
case("sign-in: switched off", lambda site: site.with_account(is_active=False).comes_back(1))
case("sign-in: account without its key", lambda site: site.with_account(id_key="").comes_back(1))
case("sign-in: fault", lambda site: site.comes_back(ZeroDivisionError()))
case("sign-in: no database", lambda site: site.comes_back(OperationalError()))
case("sign-in: by a link", lambda site: site.visitor.get("/login/discord/"))
case("sign-in: elsewhere", lambda site: site.visitor.post("/login/github/"))
case("sign-in: back from elsewhere", lambda site: site.visitor.get("/complete/github/"))


def as_another(site: Site) -> Any:
    another = User.objects.create(username="2", discord_id=2, discord_username="linus")
    DiscordAccount.objects.create(user=another, provider="discord", uid="2", id_key="id")
    return site.comes_back(2, site.ada)


# The pages that explain.
case("problems: all", lambda site: site.visitor.get("/problems/"))
for _name in (
    *("bad-request", "invalid-parameter", "validation-failed", "not-signed-in", "invalid-token", "insufficient-scope"),
    *("csrf-failed", "reconnect-required", "missing-scope", "missing-permission", "missing-role", "bot-not-in-guild"),
    *("membership-required", "person-required"),
    "forbidden",
    *("bot-missing-permission", "bot-presence-unknown", "unexpected-reply", "site-refused"),
    *("not-in-guild", "not-found", "method-not-allowed", "not-acceptable", "precondition-failed", "refresh-too-soon"),
    *("rate-limited", "too-many-requests", "server-error", "discord-unavailable", "database-unavailable"),
):
    case(f"problems: {_name}", lambda site, name=_name: site.visitor.get(f"/problems/{name}"))
case("problems: no such problem", lambda site: site.visitor.get("/problems/no-such-problem"))
case(
    "problems: no such problem for a program", lambda site: site.visitor.get("/problems/no-such-problem", headers=JSON)
)
case("problems: no such method", lambda site: site.visitor.post("/problems/"))


# The parts of a response that the file records.


class Page(HTMLParser):
    """`title`, `h1`, the lines of text in `main`, and where it leads; waits are `<seconds>` if `by_the_clock`."""

    BLOCKS: ClassVar[set[str]] = {
        *("main", "div", "p", "h1", "ul", "li", "dl", "dt", "dd", "form", "button", "a", "title"),
    }

    def __init__(self, *, by_the_clock: bool) -> None:
        super().__init__()
        self.by_the_clock = by_the_clock
        self.seen: dict[str, Any] = {"title": "", "h1": "", "text": [], "links": []}
        self._open: list[str] = []
        self._line = ""
        self._counts = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "meta" and given.get("http-equiv") == "refresh":
            wait = r"^\d+" if self.by_the_clock else "$^"
            self.seen["refresh"] = re.sub(wait, "<seconds>", given["content"])
        if tag in self.BLOCKS:
            self._end_of_line()
            self._open.append(tag)
        if "main" not in self._open:
            return
        self._counts = "data-countdown" in given
        if tag == "form":
            self.seen["links"].append(f"{given['method']} {given['action']}")
        elif tag == "input" and given["name"] != "csrfmiddlewaretoken":
            self.seen["links"].append(f"{given['name']}={given['value']}")
        for name in ("href", "data-reload", "data-submit"):
            if name in given:
                self.seen["links"].append(re.sub(r"\bstate=\w+-\w{32}\b", "state=<state>", f"{name} {given[name]}"))

    def handle_endtag(self, tag: str) -> None:
        self._counts = False
        if tag in self.BLOCKS:
            self._end_of_line()
            self._open.pop()

    def handle_data(self, data: str) -> None:
        self._line += "<seconds>" if self.by_the_clock and self._counts else data

    def _end_of_line(self) -> None:
        line, self._line = " ".join(self._line.split()), ""
        if not line:
            return
        if self._open[-1:] == ["title"]:
            self.seen["title"] = line
        if self._open[-1:] == ["h1"]:
            self.seen["h1"] = line
        if "main" in self._open:
            self.seen["text"].append(line)


def told(response: Any, *, by_the_clock: bool) -> dict[str, Any]:
    headers = {name: response[name] for name in HEADERS if name in response}
    if "ETag" in response:
        headers["ETag"] = "<etag>"
    if by_the_clock and "Retry-After" in headers:
        assert 0 < int(headers["Retry-After"]) <= 60
        headers["Retry-After"] = "<seconds>"
    seen: dict[str, Any] = {"status": response.status_code, "headers": headers}
    kind = response.get("Content-Type", "")
    if "json" in kind:
        body = response.json()
        if by_the_clock and "retry_after" in body:
            assert str(body["retry_after"]) == response["Retry-After"]
            body["retry_after"] = "<seconds>"
        seen["body"] = body
    elif kind.startswith("text/html") and response.content:
        page = Page(by_the_clock=by_the_clock)
        page.feed(response.content.decode())
        page.close()
        seen |= page.seen
    else:
        seen["body"] = response.content.decode()
    if getattr(response, "wsgi_request", None) and hasattr(response.wsgi_request, "_messages"):
        messages = [f"{message.level_tag}: {message}" for message in get_messages(response.wsgi_request)]
        if messages and response.status_code == 302:
            seen["messages"] = [re.sub(r"\d+", "<seconds>", text) if by_the_clock else text for text in messages]
    return seen


@pytest.fixture(scope="module", autouse=True)
def quiet_site() -> Iterator[None]:
    """The URLs of this module, read once for all cases, and no log of failures that are meant."""
    logging.disable()
    with override_settings(ROOT_URLCONF=__name__):
        yield
    logging.disable(logging.NOTSET)


@pytest.fixture(autouse=True)
def no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that asked Discord would see nothing of this test's transaction."""
    monkeypatch.setattr(background, "reserve", lambda: pytest.fail("Discord would be asked"))


@pytest.fixture(scope="module")
def written() -> Iterator[dict[str, Any]]:
    """The responses that the tests saw; written to the file if GOLDEN=write."""
    seen: dict[str, Any] = {}
    assert not (WRITES and "PYTEST_XDIST_WORKER" in os.environ), "one process writes the file"
    yield seen
    if WRITES:
        known = {**GOLDEN, **seen}
        text = json.dumps({name: known[name] for name in CASES if name in known}, indent=1, ensure_ascii=False)
        FILE.write_text(f"{text}\n", encoding="utf-8")


def lines(value: Any) -> list[str]:
    return json.dumps(value, indent=1, ensure_ascii=False).splitlines()


@pytest.mark.parametrize("name", CASES)
def test_a_failure_is_told_as_it_was(
    name: str, person: Person, settings: Settings, monkeypatch: pytest.MonkeyPatch, written: dict[str, Any]
) -> None:
    seen: dict[str, Any] = {}
    for language in LANGUAGES:
        cache.clear()
        meter.forget()
        with transaction.atomic():
            response = CASES[name](Site(language, person, settings, monkeypatch))
            seen[language] = told(response, by_the_clock=name in BY_THE_CLOCK)
            transaction.set_rollback(True)
    written[name] = seen

    if not WRITES and seen != GOLDEN.get(name):
        changes = difflib.unified_diff(lines(GOLDEN.get(name)), lines(seen), FILE.name, "now", lineterm="")
        pytest.fail("\n".join([name, *changes]), pytrace=False)


@pytest.mark.skipif(WRITES, reason="the file is being written")
def test_no_failure_is_written_down_that_nobody_provokes() -> None:
    assert list(GOLDEN) == list(CASES)


@pytest.mark.skipif(WRITES, reason="the file is being written")
def test_every_problem_that_the_site_explains_is_provoked(client: Client) -> None:
    explained = set(re.findall(r'href="(/problems/[\w-]+)"', client.get("/problems/").content.decode()))
    bodies = [seen["en"].get("body") for seen in GOLDEN.values()]

    assert explained, "the page lists them"
    assert explained <= {body["type"] for body in bodies if isinstance(body, dict) and "type" in body}
    assert {f"problems: {address.rpartition('/')[2]}" for address in explained} <= set(CASES)
