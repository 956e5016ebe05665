"""Mistakes in one's own views: each gets a sentence that says what to do, at the start if possible."""

import logging
import re
from datetime import timedelta
from typing import Any, get_args

import pytest
from django.contrib.auth.mixins import PermissionRequiredMixin
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import include, path, re_path
from django.utils.decorators import method_decorator
from django.utils.functional import cached_property
from django.views import View
from pytest_django import Settings
from rest_framework.decorators import api_view
from rest_framework.permissions import BasePermission, IsAdminUser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.discord import PermissionName, Permissions
from config.urls import urlpatterns as site_urls
from guilds.decorators import GuildRequiredMixin, guild_list_required, guild_required, unguarded
from guilds.guard.access import Requirements
from guilds.listing.discord_names import PERMISSIONS
from guilds.middleware import GuildRequest
from guilds.permissions import CanManageGuild, InGuild, ThrottledFirst
from guilds.whole_site import checks


def suggestion(name: str) -> str | None:
    with pytest.raises(ValueError, match="Discord has no permission") as raised:
        Permissions.named(name)
    found = re.search(r"did you mean '(\w+)'\?$", str(raised.value))
    return found[1] if found else None


@pytest.mark.parametrize(
    ("written", "official"),
    [
        ("manage_server", "manage_guild"),
        ("Manage Server", "manage_guild"),
        ("admin", "administrator"),
        ("timeout_members", "moderate_members"),
        ("manage_role", "manage_roles"),
        ("manage-guilds", "manage_guild"),
        ("read_messages", "view_channel"),
        ("brew_coffee", None),
        ("", None),
    ],
)
def test_an_unknown_permission_suggests_the_one_that_is_meant(written: str, official: str | None) -> None:
    assert suggestion(written) == official


@pytest.mark.parametrize("several", [("kick_members", "ban_members"), ["manage_guild"], 32])
def test_several_permissions_are_combined(several: Any) -> None:
    with pytest.raises(ValueError, match=r"^A permission is one of Discord's names, not .*; combine several with \|"):
        guild_required(several)

    assert Permissions.named(Permissions.KICK_MEMBERS | Permissions.BAN_MEMBERS) == 6


def test_the_list_alone_has_no_permission() -> None:
    with pytest.raises(TypeError, match=r'no arguments, but got .*use guild_required\("manage_guild"\)\.$'):
        guild_list_required("manage_guild")  # type: ignore[type-var]  # the mistake


def test_each_name_that_discord_shows_leads_to_its_permission() -> None:
    shown = {str(text): (flag.name or "").lower() for flag, text in PERMISSIONS.items()}
    unknown = {text: name for text, name in shown.items() if text.upper() != name.upper()}

    assert len(unknown) > 40
    assert {text: suggestion(text) for text in unknown} == unknown


def test_the_type_of_names_lists_them_all() -> None:
    assert get_args(PermissionName) == tuple(name.lower() for name in Permissions.__members__)


@guild_required
def guarded(request: GuildRequest, guild_id: int) -> HttpResponse:
    return HttpResponse()


def bare(request: HttpRequest, guild_id: int) -> HttpResponse:
    return HttpResponse(request.guild)  # type: ignore[attr-defined]  # the mistake


def positional(request: GuildRequest, guild_id: int) -> HttpResponse:
    return guarded(request, guild_id)


class OnMethod(View):
    @guild_required("manage_guild")
    def get(self, request: HttpRequest, guild_id: int) -> HttpResponse:
        return HttpResponse()


class Bare(View):
    def get(self, request: HttpRequest, guild_id: int) -> HttpResponse:
        return HttpResponse()


class Mixed(GuildRequiredMixin, Bare):
    pass


class OtherArgument(GuildRequiredMixin, View):
    pass


@method_decorator(guild_required("manage_guild"), name="dispatch")
class Decorated(Bare):
    pass


@unguarded("shows public data only")
class Public(Bare):
    pass


@unguarded("shows public data only")
def public(request: HttpRequest, guild_id: int) -> HttpResponse:
    return HttpResponse()


class BareEndpoint(APIView):
    permission_classes: Any = (IsAdminUser,)

    def get(self, request: Request, guild_id: int) -> Response:
        return Response(request.guild)


class Unthrottled(BareEndpoint):
    permission_classes = (InGuild.may("kick_members"),)


class Throttled(ThrottledFirst, BareEndpoint):
    permission_classes = (InGuild,)


class Moderates(BasePermission):
    pass


class Misplaced(Throttled):
    permission = "manage_guild"
    max_age = timedelta(minutes=5)
    page_size = 10

    def roles(self) -> list[int]:
        return []


class MixinTooFarRight(BareEndpoint, GuildRequiredMixin):  # type: ignore[misc]  # the mistake
    permission_classes = ()


class Combined(ThrottledFirst, BareEndpoint):
    permission_classes = (Moderates | CanManageGuild,)


class Chooses(ThrottledFirst, BareEndpoint):
    def get_permissions(self) -> list[BasePermission]:
        return [InGuild()]


@api_view()
def function(request: Request, guild_id: int) -> Response:
    return Response()


VIEWS: dict[str, Any] = {
    "bare": bare,
    "Bare": Bare.as_view(),
    "OnMethod": OnMethod.as_view(),
    "BareEndpoint": BareEndpoint.as_view(),
    "function": function,
    "guarded": guarded,
    "Mixed": Mixed.as_view(),
    "Decorated": Decorated.as_view(),
    "Public": Public.as_view(),
    "public": public,
    "MixinTooFarRight": MixinTooFarRight.as_view(),
    "Misplaced": Misplaced.as_view(),
    "Unthrottled": Unthrottled.as_view(),
    "Throttled": Throttled.as_view(),
    "Combined": Combined.as_view(),
    "Chooses": Chooses.as_view(),
}
# REST framework's views are classes of their own names.
UNGUARDED = ["bare", "Bare", "OnMethod", "BareEndpoint", "function", "MixinTooFarRight"]
mine = [
    *(path(f"{name}/<int:guild_id>/", view) for name, view in VIEWS.items()),
    path("other/<int:page>/", bare),
    path("argument/<int:page>/", OtherArgument.as_view()),
    path("positional/<int:guild_id>/", positional),
    re_path(r"^expression/([0-9]+)/$", guarded),
    re_path(r"^named/(?P<guild_id>[0-9]+)/$", bare),
]
urlpatterns = [*site_urls, path("mine/", include(mine))]
handler404 = "config.views.page_not_found"


@pytest.fixture
def mistakes(settings: Settings) -> None:
    settings.ROOT_URLCONF = __name__


def test_the_site_itself_makes_none() -> None:
    assert [message for message in run_checks() if (message.id or "").startswith("guilds.")] == []


def test_an_unguarded_view_about_a_guild_is_found(mistakes: None) -> None:
    found = checks.views_about_a_guild_are_guarded(None)

    routes = [re.findall(r"mine/\W*(\w+)/", message.msg)[0] for message in found]
    assert routes == [*UNGUARDED, "positional", "named"]
    assert all("@guild_required" in (message.hint or "") and "@unguarded" in (message.hint or "") for message in found)


def test_an_endpoint_that_throttles_too_late_is_found(mistakes: None) -> None:
    found = checks.views_throttle_before_they_ask_discord(None)

    assert [message.obj for message in found] == [f"{__name__}.Unthrottled"]
    assert "ThrottledFirst" in (found[0].hint or "")


def test_a_requirement_on_an_endpoint_instead_of_its_permission_is_found(mistakes: None) -> None:
    found = checks.requirements_of_endpoints_are_read(None)

    assert [message.msg.split()[0] for message in found] == ["Misplaced.permission", "Misplaced.max_age"]
    assert all("requires nothing" in message.msg and "InGuild.may" in (message.hint or "") for message in found)


def test_a_view_is_unguarded_for_a_reason() -> None:
    with pytest.raises(ValueError, match="Say why"):
        unguarded(" ")
    with pytest.raises(ValueError, match="Say why"):
        unguarded(refuses)  # type: ignore[arg-type]  # the mistake: no parentheses


@pytest.mark.parametrize(
    ("address", "advice"),
    [
        ("positional/1", r"positional arguments\. Call it with guild_id=guild_id"),
        ("expression/1", r"write \(\?P<guild_id>\[0-9\]\+\)"),
        ("argument/1", r"has page\. .*guild_id_kwarg = 'server' in a class"),
        ("OnMethod/1", r"OnMethod\.get was called with OnMethod instead of a request.*use GuildRequiredMixin"),
    ],
)
def test_a_call_that_can_not_work_says_how_it_does(
    address: str, advice: str, mistakes: None, client_of: Any, ada: Any
) -> None:
    with pytest.raises(ImproperlyConfigured, match=advice):
        client_of(ada).get(f"/mine/{address}/")


@pytest.mark.parametrize("decorator", [guild_required, guild_required("manage_guild"), guild_list_required])
def test_a_decorated_class_says_what_classes_need(decorator: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"but Bare is a class\. .*use GuildRequiredMixin"):
        decorator(Bare)


def of_method(self: object, request: HttpRequest, guild: object) -> bool:
    return True


@pytest.mark.parametrize(
    ("needs", "advice"),
    [
        ({"max_age": 300}, r"max_age is 300\. Write a timedelta"),
        ({"write_max_age": 300}, r"write_max_age=timedelta\(minutes=5\)"),
        ({"member": "no"}, r"member must be a bool, not 'no'"),
        ({"rule": True}, r"rule must be a function that takes \(request, guild\), not True"),
        ({"rule": ["manage_guild"]}, r"rule must be a function .*, not \['manage_guild'\]"),
        ({"rule": of_method}, r"not of_method\. In a class, such a function takes no self"),
        ({"validate": of_method}, r"validate must be a function .*@staticmethod"),
    ],
)
def test_a_requirement_of_a_wrong_kind_fails_at_the_import(needs: Any, advice: str) -> None:
    with pytest.raises(TypeError, match=advice):
        guild_required(**needs)
    with pytest.raises(TypeError, match=advice):
        type("Page", (GuildRequiredMixin, View), needs)
    with pytest.raises(TypeError, match=advice):
        type("Permission", (InGuild,), needs)


def refuses(request: HttpRequest, guild: object) -> bool:
    return False


@pytest.mark.parametrize("guard", [(GuildRequiredMixin, View), (InGuild,)], ids=["mixin", "permission"])
@pytest.mark.parametrize(
    ("name", "value", "right"),
    [
        ("permissions", "manage_guild", "permission"),
        ("permision", "manage_guild", "permission"),
        ("premission", "manage_guild", "permission"),
        ("permission_required", "manage_guild", "permission"),
        ("permissions", ["manage_guild"], "permission"),
        ("may", "manage_guild", "permission"),
        ("permission_classes", [CanManageGuild], "permission"),
        ("roles", (1, 2), "role"),
        ("role_required", 1, "role"),
        ("members", True, "member"),
        ("memeber", True, "member"),
        ("bots", True, "bot"),
        ("bot_permissions", ("send_messages",), "bot"),
        ("with_bot", True, "bot"),
        ("maxage", timedelta(minutes=5), "max_age"),
        ("within", timedelta(minutes=5), "max_age"),
        ("write_maxage", timedelta(minutes=5), "write_max_age"),
        ("writes_max_age", timedelta(minutes=5), "write_max_age"),
        ("rules", refuses, "rule"),
        ("ruel", refuses, "rule"),
        ("vaildate", refuses, "validate"),
        ("guild_id", "server", "guild_id_kwarg"),
        ("guild_permissions", "manage_guild", "permission"),
        ("has_permissions", "manage_guild", "permission"),
        ("role_id", 41771983423143936, "role"),
        ("any_role", (41771983423143936,), "role"),
    ],
)
@pytest.mark.parametrize("inherited", [False, True], ids=["own", "inherited"])
def test_a_misspelt_requirement_fails_at_the_import(
    guard: tuple[type, ...], name: str, value: Any, right: str, inherited: bool
) -> None:
    bases = (type("Shared", (), {name: value}), *guard) if inherited else guard
    owner = "Shared" if inherited else "Page"

    with pytest.raises(TypeError, match=rf"^{owner}\.{name} is not read by .* Did you mean '{right}'\? "):
        type("Page", bases, {} if inherited else {name: value})


@pytest.mark.parametrize(
    ("argument", "right"),
    [("permision", "permission"), ("roles", "role"), ("maxage", "max_age"), ("guild_id_kwarg", "guild_id")],
)
def test_a_misspelt_argument_of_the_decorator_fails_at_the_import(argument: str, right: str) -> None:
    with pytest.raises(TypeError, match=rf"no argument '{argument}'; did you mean '{right}'\?$"):
        guild_required(**{argument: "manage_guild"})  # type: ignore[call-overload]  # the mistake
    with pytest.raises(TypeError, match=r"no argument 'coffee'\.$"):
        guild_required(coffee=True)  # type: ignore[call-overload]  # as above


def test_a_view_has_attributes_of_its_own() -> None:
    class Page(GuildRequiredMixin, PermissionRequiredMixin, View):
        permission_required = "polls.view_poll"
        permission_denied_message = "No."
        roles = None
        ROLES = (1, 2)
        max_page = 10
        remember = True
        validators = (refuses,)

        @property
        def permissions(self) -> list[str]:
            return []

        @cached_property
        def rules(self) -> list[str]:
            return []

        def members(self, search: str) -> list[str]:
            return []

    class Own(InGuild):
        message = "No."

        @classmethod
        def within(cls, **age: float) -> type[InGuild]:  # type: ignore[override]  # returns no type of itself
            return super().within(**age)

    class Endpoint(GuildRequiredMixin, BareEndpoint):  # type: ignore[misc]  # REST framework has a request of its own
        permission_classes = (IsAdminUser,)

    assert Page._requirements({}) == Own._requirements() == Endpoint._requirements({}) == Requirements()


def test_no_permission_at_all_is_no_requirement() -> None:
    with pytest.raises(ValueError, match="everyone has it; combine several with"):
        guild_required(Permissions.MANAGE_GUILD & Permissions.BAN_MEMBERS)


def test_a_permission_takes_requirements_of_its_other_bases() -> None:
    staff = type("Staff", (), {"role": 7, "rule": staticmethod(refuses), "member": True, "permission": "ban_members"})

    requirements = type("Own", (staff, InGuild), {})._requirements()  # type: ignore[attr-defined]  # of `InGuild`

    assert requirements == Requirements.of(permission="ban_members", role=7, rule=refuses, member=True)
    assert type("Later", (InGuild.role(8), staff), {}).required_role == 8  # type: ignore[attr-defined]  # as above


@pytest.mark.parametrize("address", ["bare/1", "BareEndpoint/1"])
def test_a_forgotten_decorator_is_named_in_the_traceback(
    address: str, mistakes: None, client_of: Any, staff: Any, caplog: pytest.LogCaptureFixture
) -> None:
    browser: Client = client_of(staff)
    browser.raise_request_exception = False

    assert browser.get(f"/mine/{address}/").status_code == 500

    record = next(record for record in caplog.records if record.name == "django.request")
    assert record.exc_info
    text = logging.Formatter().formatException(record.exc_info)
    assert "request.guild is set by @guild_required" in text
