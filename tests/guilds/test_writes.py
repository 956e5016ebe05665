"""Writing with a younger list than reading, input checked first, and a rule of one's own: one table for all guards."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django import forms
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import path
from django.views import View
from django.views.generic import FormView
from pytest_django import DjangoAssertNumQueries
from rest_framework import serializers
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import User
from config.urls import handler403, handler404, handler500  # noqa: F401 - read by Django of this module
from config.urls import urlpatterns as site_urls
from guilds import services
from guilds.decorators import GuildRequiredMixin, guild_required
from guilds.entered_guild import EnteredGuild
from guilds.middleware import GuildRequest
from guilds.permissions import CanManageGuild, GuildAPIRequest, InGuild
from guilds.problems import Refusal
from tests.fixtures import Sandbox, let_pass
from tests.guilds.rows import list_of

FIVE_MINUTES = timedelta(minutes=5)
MEMBER, MANAGED, ELSEWHERE = 11, 12, 99
MANAGER = 1 << 5

ran: list[str] = []
verdicts: list[Any] = []


def decides(request: Any, guild: EnteredGuild) -> Any:
    assert request.guild is guild
    assert request.user.pk
    return verdicts[0]


class Text(forms.Form):
    text = forms.CharField(max_length=5)


class TextSerializer(serializers.Serializer[Any]):
    text = serializers.CharField(max_length=5)


def rejects(request: HttpRequest, guild: EnteredGuild) -> HttpResponse | None:
    form = Text(request.POST)
    return None if form.is_valid() else HttpResponse(form.errors.as_json(), status=400)


def rejects_in_api(request: GuildAPIRequest, guild: EnteredGuild) -> bool:
    return TextSerializer(data=request.data).is_valid(raise_exception=True)


def declines(request: HttpRequest, guild: EnteredGuild) -> bool:
    return False


def does(request: Any) -> str:
    ran.append(request.method)
    return "done"


class Page(View):
    def get(self, request: HttpRequest, guild_id: int) -> HttpResponse:
        return HttpResponse(does(request))

    post = put = delete = get


class Endpoint(APIView):
    def get(self, request: GuildAPIRequest, guild_id: int) -> Response:
        return Response(does(request))

    post = put = delete = get


NEEDS: dict[str, tuple[dict[str, Any], type[InGuild]]] = {
    "write": (
        {"permission": "manage_guild", "write_max_age": FIVE_MINUTES},
        CanManageGuild.writes_within(minutes=5),
    ),
    "both": (
        {"max_age": timedelta(minutes=15), "write_max_age": FIVE_MINUTES},
        InGuild.within(minutes=15).writes_within(minutes=5),
    ),
    "validate": (
        {"permission": "manage_guild", "write_max_age": FIVE_MINUTES, "validate": rejects},
        CanManageGuild.writes_within(minutes=5).validate(rejects_in_api),
    ),
    "neither": (
        {"max_age": FIVE_MINUTES, "validate": declines},
        InGuild.within(minutes=5).validate(lambda request, guild: HttpResponse(status=400)),
    ),
    "rule": ({"rule": decides}, InGuild.rule(decides)),
    "ruled": (
        {"rule": decides, "write_max_age": FIVE_MINUTES, "validate": rejects},
        InGuild.rule(decides).writes_within(minutes=5).validate(rejects_in_api),
    ),
}


def function(needs: dict[str, Any]) -> Any:
    @guild_required(needs.get("permission"), **{name: value for name, value in needs.items() if name != "permission"})
    def view(request: GuildRequest, guild_id: int) -> HttpResponse:
        return HttpResponse(does(request))

    return view


def mixed(needs: dict[str, Any]) -> Any:
    return type("Mixed", (GuildRequiredMixin, Page), needs).as_view()  # type: ignore[attr-defined]  # a view


def endpoint(permission: type[InGuild]) -> Any:
    return type("Guarded", (Endpoint,), {"permission_classes": (permission,)}).as_view()  # type: ignore[attr-defined]


class TextForm(GuildRequiredMixin, FormView[Text]):
    permission = "manage_guild"
    write_max_age = FIVE_MINUTES
    form_class = Text

    def form_valid(self, form: Text) -> HttpResponse:
        return HttpResponse(does(self.request))

    def form_invalid(self, form: Text) -> HttpResponse:
        return HttpResponse(form.errors.as_json(), status=400)


class PlainForm(GuildRequiredMixin, FormView[Text]):
    """A form view as Django's documentation writes it."""

    write_max_age = FIVE_MINUTES
    form_class = Text

    def render_to_response(self, context: dict[str, Any], **kwargs: Any) -> HttpResponse:
        return HttpResponse(context["form"].errors.as_json())


class OwnResponse(PlainForm):
    def form_invalid(self, form: Text) -> HttpResponse:
        return HttpResponse(form.errors.as_json(), status=422)


urlpatterns = [
    path("plain/<int:guild_id>/", PlainForm.as_view()),
    path("own/<int:guild_id>/", OwnResponse.as_view()),
    *(path(f"function/{name}/<int:guild_id>/", function(needs)) for name, (needs, _) in NEEDS.items()),
    *(path(f"mixin/{name}/<int:guild_id>/", mixed(needs)) for name, (needs, _) in NEEDS.items()),
    *(path(f"api/{name}/<int:guild_id>/", endpoint(permission)) for name, (_, permission) in NEEDS.items()),
    path("form/validate/<int:guild_id>/", TextForm.as_view()),
    *site_urls,
]
pytestmark = pytest.mark.urls(__name__)

JSON = {"Accept": "application/json"}
GUARDS = pytest.mark.parametrize("guard", ["function", "mixin", "api"])
FORM_TOO = pytest.mark.parametrize("guard", ["function", "mixin", "api", "form"])


@pytest.fixture
def eve(sandbox: Sandbox, sign_up: Callable[..., User]) -> User:
    guilds = [{"id": str(MEMBER), "permissions": "0"}, {"id": str(MANAGED), "permissions": str(MANAGER)}]
    sandbox.person("eve", guilds=guilds)
    user = sign_up("eve")
    list_of(user, guilds)
    ran.clear()
    return user


@pytest.fixture
def visitor(eve: User, client_of: Callable[[User], Client]) -> Client:
    return client_of(eve)


def problem(response: Any) -> tuple[int, str]:
    return response.status_code, response.json()["type"].removeprefix("/problems/")


# write_max_age


@GUARDS
def test_reading_is_served_from_the_list_that_is_too_old_to_write(
    visitor: Client, sandbox: Sandbox, guard: str
) -> None:
    let_pass(minutes=10)
    page = f"/{guard}/write/{MANAGED}/"

    assert [visitor.get(page).status_code, visitor.head(page).status_code] == [200, 200]
    assert sandbox.requests() == []
    assert visitor.post(page).status_code == 200
    assert len(sandbox.requests()) == 1


@GUARDS
@pytest.mark.parametrize("method", ["post", "put", "delete"])
def test_every_unsafe_method_fails_closed(visitor: Client, sandbox: Sandbox, guard: str, method: str) -> None:
    let_pass(minutes=10)
    sandbox.mood("rate_limited", retry_after=45)

    response = getattr(visitor, method)(f"/{guard}/write/{MANAGED}/", headers=JSON)

    assert problem(response) == (429, "rate-limited")
    assert (response.json()["max_age"], ran) == (300, [])


@GUARDS
@pytest.mark.parametrize(("minutes", "get", "post"), [(4, 0, 0), (10, 0, 1), (20, 1, 1)])
def test_both_ages_hold_for_writing(
    visitor: Client, sandbox: Sandbox, guard: str, minutes: int, get: int, post: int
) -> None:
    for method, requests in (("get", get), ("post", post)):
        let_pass(minutes=minutes)
        sandbox.forget_requests()
        getattr(visitor, method)(f"/{guard}/both/{MANAGED}/")
        assert len(sandbox.requests()) == requests
        services.verify_again(User.objects.get())


# validate


def send(visitor: Client, guard: str, needs: str, guild_id: int, text: str) -> Any:
    kind = {"content_type": "application/json"} if guard == "api" else {}
    return visitor.post(f"/{guard}/{needs}/{guild_id}/", {"text": text}, headers=JSON, **kind)


@FORM_TOO
@pytest.mark.parametrize(("text", "statuses"), [("too long", [400]), ("", [400]), ("fine", [429, 503])])
@pytest.mark.parametrize("mood", ["rate_limited", "outage"])
def test_bad_input_is_told_before_discords_silence(
    visitor: Client, sandbox: Sandbox, guard: str, text: str, statuses: list[int], mood: str
) -> None:
    let_pass(minutes=10)
    sandbox.mood(mood, retry_after=45)

    response = send(visitor, guard, "validate", MANAGED, text)

    assert response.status_code in statuses
    if text != "fine":
        assert "text" in response.content.decode()
        assert sandbox.requests() == []
    assert ran == []


@pytest.mark.parametrize(
    ("form", "headers", "status"),
    [
        ("plain", {}, 400),
        ("plain", {"HX-Request": "true"}, 200),
        ("plain", {"HX-Request": "true", "HX-Boosted": "true"}, 200),
        ("own", {}, 422),
    ],
)
@pytest.mark.parametrize("minutes", [0, 10], ids=["fresh list", "old list"])
def test_an_invalid_form_of_a_class_is_a_400_except_for_htmx(
    visitor: Client, sandbox: Sandbox, form: str, headers: dict[str, str], status: int, minutes: int
) -> None:
    let_pass(minutes=minutes)
    sandbox.mood("outage")

    response = visitor.post(f"/{form}/{MEMBER}/", {"text": "too long"}, headers=headers)

    assert response.status_code == status
    assert "text" in response.content.decode()
    assert sandbox.requests() == []
    assert visitor.get(f"/{form}/{MEMBER}/").status_code == 200


@FORM_TOO
def test_good_input_is_written_once_the_list_is_young(visitor: Client, sandbox: Sandbox, guard: str) -> None:
    let_pass(minutes=10)

    assert send(visitor, guard, "validate", MANAGED, "fine").status_code == 200
    assert len(sandbox.requests()) == 1
    assert ran == ["POST"]


@FORM_TOO
@pytest.mark.parametrize(("guild_id", "status"), [(MEMBER, 403), (ELSEWHERE, 404)])
def test_input_is_not_judged_for_who_is_not_admitted(
    visitor: Client, sandbox: Sandbox, guard: str, guild_id: int, status: int
) -> None:
    let_pass(minutes=10)

    assert send(visitor, guard, "validate", guild_id, "too long").status_code == status


@FORM_TOO
def test_an_expired_list_admits_nobody_to_the_judgement(visitor: Client, sandbox: Sandbox, guard: str) -> None:
    let_pass(hours=25)
    sandbox.mood("outage")

    assert send(visitor, guard, "validate", MANAGED, "too long").status_code == 503


@GUARDS
def test_reading_is_not_judged(visitor: Client, guard: str) -> None:
    assert visitor.get(f"/{guard}/neither/{MANAGED}/").status_code == 200


@GUARDS
def test_input_is_not_judged_for_whom_the_rule_refuses(visitor: Client, guard: str) -> None:
    verdicts[:] = [False]
    let_pass(minutes=10)

    assert problem(send(visitor, guard, "ruled", MANAGED, "too long")) == (403, "forbidden")


@pytest.mark.parametrize("guard", ["function", "mixin"])
def test_a_validation_that_says_neither_is_a_fault(visitor: Client, guard: str) -> None:
    with pytest.raises(TypeError, match=r"declines returned False\. Return a response to reject"):
        visitor.post(f"/{guard}/neither/{MANAGED}/")
    assert ran == []


def test_an_endpoint_rejects_by_an_exception(visitor: Client) -> None:
    with pytest.raises(TypeError, match="must raise a ValidationError instead of returning a response"):
        visitor.post(f"/api/neither/{MANAGED}/")
    assert ran == []


# rule


@GUARDS
@pytest.mark.parametrize("method", ["get", "post"])
def test_a_rule_admits_or_refuses(visitor: Client, guard: str, method: str) -> None:
    page = f"/{guard}/rule/{MEMBER}/"
    verdicts[:] = [True]
    assert getattr(visitor, method)(page).status_code == 200
    verdicts[:] = [False]
    assert problem(getattr(visitor, method)(page, headers=JSON)) == (403, "forbidden")
    assert ran == [method.upper()]


@GUARDS
def test_a_refusal_gives_its_reason(visitor: Client, guard: str) -> None:
    verdicts[:] = [Refusal("Only in the tea break.")]

    response = visitor.get(f"/{guard}/rule/{MEMBER}/", headers=JSON)

    assert problem(response) == (403, "forbidden")
    assert response.json()["detail"] == "Only in the tea break."
    if guard != "api":
        assert "Only in the tea break." in visitor.get(f"/{guard}/rule/{MEMBER}/").content.decode()


@GUARDS
def test_a_rule_is_not_asked_about_others(visitor: Client, guard: str) -> None:
    verdicts[:] = []

    assert visitor.get(f"/{guard}/rule/{ELSEWHERE}/", headers=JSON).status_code == 404


@GUARDS
@pytest.mark.parametrize("verdict", [None, 1, "yes", [True]])
def test_a_rule_that_says_neither_admits_nobody(visitor: Client, guard: str, verdict: Any) -> None:
    verdicts[:] = [verdict]

    with pytest.raises(TypeError, match=r"The rule decides returned .* Return True, False or a Refusal"):
        visitor.get(f"/{guard}/rule/{MEMBER}/")
    assert ran == []


def test_a_rule_costs_no_query(visitor: Client, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    verdicts[:] = [True]
    visitor.get(f"/function/rule/{MEMBER}/")

    with django_assert_num_queries(1):
        assert visitor.get(f"/function/rule/{MEMBER}/").status_code == 200


def test_attributes_of_a_permission_count_as_its_methods_do() -> None:
    own = type("Own", (InGuild,), {"rule": decides, "validate": rejects_in_api, "write_max_age": FIVE_MINUTES})

    requirements = own._requirements()

    assert (requirements.rule, requirements.validate) == (decides, rejects_in_api)
    assert requirements.write_max_age == FIVE_MINUTES
