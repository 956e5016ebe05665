"""Views behind a role, as a decorator, a mixin and a REST permission: one table for all three."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.template import Context, Template
from django.test import Client
from django.urls import path
from django.views import View
from pytest_django import DjangoAssertNumQueries, Settings
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.clock import database_now
from accounts.models import DiscordAllowance, User
from config.urls import handler403, handler404, handler500  # noqa: F401 - read by Django of this module
from config.urls import urlpatterns as site_urls
from guilds import services
from guilds.decorators import GuildRequiredMixin, guild_required
from guilds.entered_guild import EnteredGuild, role_ids
from guilds.guard.access import RoleNeed
from guilds.middleware import GuildRequest
from guilds.models import GuildMember
from guilds.permissions import CanManageGuild, GuildAPIRequest, InGuild
from guilds.resources.directory import DIRECTORY
from guilds.resources.memberships import Membership
from tests.fixtures import Sandbox
from tests.guilds.rows import bot_joins, list_of

FIVE_MINUTES = timedelta(minutes=5)
CLUB, OWNED, ADMINISTERED, ELSEWHERE = 11, 12, 13, 99
STAFF, HELPER, OTHER = 501, 502, 503
SCOPES = ("identify", "guilds", "guilds.members.read")
MEMBER = "/users/@me/guilds/{guild.id}/member"

# What the callable declaration returns; tests replace it.
of_request: list[Any] = []


def chosen(request: Any) -> Any:
    assert request.guild.guild_id, "the guild is known"
    return of_request[0]


NEEDS: dict[str, tuple[dict[str, Any], Callable[[], type[InGuild]]]] = {
    "one": ({"role": str(STAFF)}, lambda: InGuild.role(str(STAFF))),
    "several": ({"role": (STAFF, HELPER)}, lambda: InGuild.role((STAFF, HELPER))),
    "callable": ({"role": chosen}, lambda: InGuild.role(chosen)),
    "empty": ({"role": ()}, lambda: InGuild.role(())),
    "member": ({"member": True}, InGuild.member),
    "managers": ({"permission": "manage_guild", "role": STAFF}, lambda: CanManageGuild.role(STAFF)),
    "young": ({"role": STAFF, "max_age": FIVE_MINUTES}, lambda: InGuild.role(STAFF).within(minutes=5)),
    "bot": ({"role": STAFF, "bot": True}, lambda: InGuild.role(STAFF).with_bot()),
}


def said(request: GuildRequest | GuildAPIRequest) -> str:
    return f"{request.guild.guild_id} {sorted(request.guild.roles)} {request.guild.member.freshness}"


def function(needs: dict[str, Any]) -> Any:
    @guild_required(needs.get("permission"), **{name: value for name, value in needs.items() if name != "permission"})
    def view(request: GuildRequest, guild_id: int) -> HttpResponse:
        return HttpResponse(said(request))

    return view


def async_function(needs: dict[str, Any]) -> Any:
    @guild_required(needs.get("permission"), **{name: value for name, value in needs.items() if name != "permission"})
    async def view(request: GuildRequest, guild_id: int) -> HttpResponse:
        return HttpResponse("" if request.guild.owner else said(request))

    return view


class Page(View):
    request: GuildRequest

    def get(self, request: HttpRequest, guild_id: int) -> HttpResponse:
        return HttpResponse(said(self.request))


class Endpoint(APIView):
    def get(self, request: GuildAPIRequest, guild_id: int) -> Response:
        return Response(said(request))


def mixed(needs: dict[str, Any]) -> Any:
    return type("Mixed", (GuildRequiredMixin, Page), needs).as_view()  # type: ignore[attr-defined]  # a view


def endpoint(permission: type[InGuild]) -> Any:
    return type("Guarded", (Endpoint,), {"permission_classes": (permission,)}).as_view()  # type: ignore[attr-defined]


urlpatterns = [
    *(path(f"function/{name}/<int:guild_id>/", function(needs)) for name, (needs, _) in NEEDS.items()),
    *(path(f"async/{name}/<int:guild_id>/", async_function(needs)) for name, (needs, _) in NEEDS.items()),
    *(path(f"mixin/{name}/<int:guild_id>/", mixed(needs)) for name, (needs, _) in NEEDS.items()),
    *(path(f"api/{name}/<int:guild_id>/", endpoint(made())) for name, (_, made) in NEEDS.items()),
    path("plain/<int:guild_id>/", function({})),
    path("bare/<int:guild_id>/", guild_required(lambda request, guild_id: HttpResponse(request.guild))),
    *site_urls,
]
pytestmark = pytest.mark.urls(__name__)

JSON = {"Accept": "application/json"}
GUARDS = pytest.mark.parametrize("guard", ["function", "mixin", "api"])
ASYNC_TOO = pytest.mark.parametrize("guard", ["function", "async", "mixin", "api"])


def guild(number: int, **fields: Any) -> dict[str, Any]:
    return {"id": str(number), "name": f"Server {number}", "permissions": "0", **fields}


GUILDS = [guild(CLUB), guild(OWNED, owner=True), guild(ADMINISTERED, permissions="8")]


@pytest.fixture
def eve(sandbox: Sandbox, sign_up: Callable[..., User]) -> User:
    """A person with a fresh list, in three servers without the bot, where nothing is known about her roles."""
    sandbox.person("eve", guilds=GUILDS)
    for number in (CLUB, OWNED, ADMINISTERED):
        sandbox.roles(number, *({"id": str(role), "name": name} for role, name in ROLE_NAMES.items()))
    user = sign_up("eve", scopes=SCOPES)
    list_of(user, GUILDS)
    return user


ROLE_NAMES = {STAFF: "Staff", HELPER: "Helpers", OTHER: "Others"}


@pytest.fixture
def visitor(eve: User, client_of: Callable[[User], Client]) -> Client:
    return client_of(eve)


def stored(user: User, *roles: int, guild_id: int = CLUB, age: timedelta = timedelta(minutes=1), **fields: Any) -> None:
    now = database_now()
    answer = {"is_member": True, "roles": sorted(roles), "verified_at": now - age}
    refresh_after = now - age + timedelta(minutes=48)
    GuildMember.objects.create(
        user=user, guild_id=guild_id, **{**answer, "refresh_after": refresh_after, "last_read_at": now, **fields}
    )


def problem(response: Any) -> tuple[int, str]:
    return response.status_code, response.json()["type"].removeprefix("/problems/")


# who is admitted


@ASYNC_TOO
@pytest.mark.parametrize("needs", ["one", "several", "callable", "young"])
def test_the_role_admits_and_the_view_has_the_roles(eve: User, visitor: Client, guard: str, needs: str) -> None:
    of_request[:] = [[str(STAFF)]]
    stored(eve, STAFF, OTHER)

    response = visitor.get(f"/{guard}/{needs}/{CLUB}/", headers=JSON)

    assert response.status_code == 200
    assert response.content.decode().strip('"') == f"{CLUB} [{STAFF}, {OTHER}] fresh"


@ASYNC_TOO
@pytest.mark.parametrize(
    ("needs", "named"), [("one", [STAFF]), ("several", [STAFF, HELPER]), ("callable", [HELPER]), ("young", [STAFF])]
)
def test_without_the_role_the_answer_names_it(
    eve: User, visitor: Client, guard: str, needs: str, named: list[int]
) -> None:
    of_request[:] = [HELPER]
    stored(eve, OTHER)

    response = visitor.get(f"/{guard}/{needs}/{CLUB}/", headers=JSON)

    assert problem(response) == (403, "missing-role")
    assert response.json()["roles"] == [str(role) for role in named]


@GUARDS
def test_any_of_several_roles_is_enough(eve: User, visitor: Client, guard: str) -> None:
    stored(eve, HELPER)

    assert visitor.get(f"/{guard}/several/{CLUB}/").status_code == 200


@GUARDS
def test_every_member_has_the_role_everyone(eve: User, visitor: Client, guard: str) -> None:
    of_request[:] = [CLUB]
    stored(eve)

    assert visitor.get(f"/{guard}/callable/{CLUB}/").status_code == 200


@GUARDS
@pytest.mark.parametrize("empty", [(), [], None, "", set()])
def test_no_roles_admit_nobody_and_ask_nobody(visitor: Client, sandbox: Sandbox, guard: str, empty: Any) -> None:
    of_request[:] = [empty]

    for needs in ("callable", "empty"):
        response = visitor.get(f"/{guard}/{needs}/{CLUB}/", headers=JSON)
        assert problem(response) == (403, "missing-role")
        assert response.json()["roles"] == []
    assert sandbox.requests("") == []


@pytest.mark.parametrize("needs", ["one", "several", "callable", "empty", "managers", "young"])
def test_the_owner_needs_no_role_and_no_request(visitor: Client, sandbox: Sandbox, needs: str) -> None:
    of_request[:] = [()]

    # This view doesn't read the roles of owners itself.
    assert visitor.get(f"/async/{needs}/{OWNED}/").status_code == 200
    assert sandbox.requests("") == []


@GUARDS
def test_an_administrator_needs_the_role(eve: User, visitor: Client, guard: str) -> None:
    stored(eve, OTHER, guild_id=ADMINISTERED)

    assert problem(visitor.get(f"/{guard}/managers/{ADMINISTERED}/", headers=JSON)) == (403, "missing-role")


@GUARDS
def test_permission_and_role_must_both_be_there(eve: User, visitor: Client, guard: str) -> None:
    stored(eve, STAFF)
    stored(eve, STAFF, guild_id=ADMINISTERED)

    assert problem(visitor.get(f"/{guard}/managers/{CLUB}/", headers=JSON)) == (403, "missing-permission")
    assert visitor.get(f"/{guard}/managers/{ADMINISTERED}/").status_code == 200


@GUARDS
@pytest.mark.parametrize("needs", ["one", "callable", "member", "young"])
def test_the_list_decides_first(eve: User, visitor: Client, sandbox: Sandbox, guard: str, needs: str) -> None:
    stored(eve, STAFF, guild_id=ELSEWHERE)

    assert problem(visitor.get(f"/{guard}/{needs}/{ELSEWHERE}/", headers=JSON)) == (404, "not-in-guild")
    assert sandbox.requests("") == []


@GUARDS
@pytest.mark.parametrize("needs", ["one", "member"])
def test_who_left_after_the_list_is_not_in_the_guild(eve: User, visitor: Client, guard: str, needs: str) -> None:
    stored(eve, is_member=False)

    assert problem(visitor.get(f"/{guard}/{needs}/{CLUB}/", headers=JSON)) == (404, "not-in-guild")


@GUARDS
@pytest.mark.usefixtures("bot_synced")
def test_a_missing_bot_costs_none_of_the_persons_requests(visitor: Client, sandbox: Sandbox, guard: str) -> None:
    assert problem(visitor.get(f"/{guard}/bot/{CLUB}/", headers=JSON)) == (409, "bot-not-in-guild")
    assert sandbox.requests("") == []


# what Discord is asked


@GUARDS
def test_roles_that_are_not_known_are_requested_once(visitor: Client, sandbox: Sandbox, guard: str) -> None:
    sandbox.member("eve", CLUB, roles=[str(STAFF)])

    statuses = [visitor.get(f"/{guard}/one/{CLUB}/").status_code for _ in range(2)]

    assert statuses == [200, 200]
    assert len(sandbox.requests("", route=MEMBER)) == 1


@GUARDS
def test_a_maximum_age_is_that_of_the_roles_too(eve: User, visitor: Client, sandbox: Sandbox, guard: str) -> None:
    stored(eve, STAFF, age=timedelta(minutes=10))
    sandbox.member("eve", CLUB, roles=[])

    assert visitor.get(f"/{guard}/one/{CLUB}/").status_code == 200
    assert problem(visitor.get(f"/{guard}/young/{CLUB}/", headers=JSON)) == (403, "missing-role")


def test_a_fresh_role_costs_one_query_more_than_the_same_page_without(
    eve: User, visitor: Client, sandbox: Sandbox, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    stored(eve, STAFF)
    for page in ("bare", "plain", "function/one"):
        visitor.get(f"/{page}/{CLUB}/")

    with django_assert_num_queries(1):
        assert visitor.get(f"/bare/{CLUB}/").status_code == 200
    with django_assert_num_queries(2):
        assert visitor.get(f"/function/one/{CLUB}/").status_code == 200
    with django_assert_num_queries(2):
        assert visitor.get(f"/plain/{CLUB}/").status_code == 200, "the view reads the roles itself"
    assert sandbox.requests("") == []


# fail closed


def limited(sandbox: Sandbox, user: User) -> None:
    sandbox.mood("rate_limited", retry_after=40)


def used_up(sandbox: Sandbox, user: User) -> None:
    until = database_now() + timedelta(seconds=200)
    DiscordAllowance.objects.create(kind="member", owner=user.pk, until=until)


def silent(sandbox: Sandbox, user: User) -> None:
    sandbox.mood("outage")


@GUARDS
@pytest.mark.parametrize("needs", ["one", "member", "young"])
@pytest.mark.parametrize(
    ("obstacle", "status", "name", "wait"),
    [
        (limited, 429, "rate-limited", 40),
        (used_up, 429, "rate-limited", 200),
        (silent, 503, "discord-unavailable", None),
    ],
)
def test_without_an_answer_the_view_does_not_run(
    eve: User,
    visitor: Client,
    sandbox: Sandbox,
    guard: str,
    needs: str,
    obstacle: Callable[[Sandbox, User], None],
    status: int,
    name: str,
    wait: int | None,
) -> None:
    obstacle(sandbox, eve)

    response = visitor.get(f"/{guard}/{needs}/{CLUB}/", headers=JSON)

    assert problem(response) == (status, name)
    assert int(response["Retry-After"]) >= 1
    if wait is not None:
        assert wait - 5 <= int(response["Retry-After"]) <= wait
    assert response.json().get("max_age") == (300 if needs == "young" else None)


@GUARDS
def test_stale_roles_admit_where_no_age_is_required(eve: User, visitor: Client, sandbox: Sandbox, guard: str) -> None:
    stored(eve, STAFF, age=timedelta(hours=5))
    sandbox.mood("outage", routes=[MEMBER])

    assert "stale" in visitor.get(f"/{guard}/one/{CLUB}/").content.decode()
    assert visitor.get(f"/{guard}/young/{CLUB}/", headers=JSON).status_code == 503


@GUARDS
def test_who_did_not_share_their_roles_is_asked_to(
    sandbox: Sandbox, sign_up: Callable[..., User], client_of: Callable[[User], Client], guard: str
) -> None:
    sandbox.person("eve", guilds=GUILDS)
    user = sign_up("eve")
    list_of(user, GUILDS)
    address = f"/{guard}/one/{CLUB}/"

    response = client_of(user).get(address, headers=JSON)

    assert problem(response) == (403, "missing-scope")
    assert response.json()["scope"] == "guilds.members.read"
    if guard != "api":
        page = client_of(user).get(address).content.decode()
        assert "Allow this site to read your roles" in page
        assert f"/sign-in/?scope=guilds.members.read&amp;next=%2F{guard}%2Fone%2F{CLUB}%2F" in page


@pytest.mark.parametrize("roles", [[STAFF], []])
def test_a_role_that_was_just_given_counts_after_a_refresh(
    eve: User, visitor: Client, sandbox: Sandbox, roles: list[int]
) -> None:
    stored(eve, OTHER, age=timedelta(minutes=2))
    sandbox.member("eve", CLUB, roles=[str(role) for role in roles])
    page = visitor.get(f"/function/one/{CLUB}/")
    assert f'<input type="hidden" name="guild" value="{CLUB}">' in page.content.decode()

    back = visitor.post(
        "/servers/refresh/", {"guild": CLUB}, headers={"Referer": f"http://testserver/function/one/{CLUB}/"}
    )

    assert back["Location"].endswith(f"/function/one/{CLUB}/")
    assert visitor.get(back["Location"]).status_code == (200 if roles else 403)
    assert len(sandbox.requests("", route=MEMBER)) == 1


def test_roles_are_not_refreshed_twice_in_a_row(eve: User, visitor: Client, sandbox: Sandbox) -> None:
    stored(eve, age=timedelta(seconds=5))

    page = visitor.post("/servers/refresh/", {"guild": CLUB}, follow=True).content.decode()

    assert "You can refresh again in" in page
    assert sandbox.requests("", route=MEMBER) == []


@pytest.mark.parametrize(("has_bot", "whose"), [(True, "about this server"), (False, "for your account")])
def test_a_refresh_says_whose_limit_it_met(
    eve: User, visitor: Client, sandbox: Sandbox, has_bot: bool, whose: str
) -> None:
    stored(eve, age=timedelta(minutes=2))
    if has_bot:
        bot_joins(CLUB)
    sandbox.mood(mode="rate_limited", retry_after=40)

    page = visitor.post("/servers/refresh/", {"guild": CLUB}, follow=True).content.decode()

    assert f"Discord is rate-limiting requests {whose}." in page


def test_roles_elsewhere_are_not_refreshed(visitor: Client, sandbox: Sandbox) -> None:
    assert visitor.post("/servers/refresh/", {"guild": ELSEWHERE}).status_code == 404
    assert visitor.post("/servers/refresh/", {"guild": "x"}).status_code == 404
    assert sandbox.requests("") == []


# words


@pytest.mark.parametrize(("bot", "whose"), [(True, "about this server"), (False, "for your account")])
def test_a_limit_is_explained_by_whose_it_is(visitor: Client, sandbox: Sandbox, bot: bool, whose: str) -> None:
    if bot:
        bot_joins(CLUB)
    sandbox.mood("rate_limited", retry_after=40)

    page = visitor.get(f"/function/one/{CLUB}/")

    assert page.status_code == 429
    assert f"Discord is rate-limiting requests {whose}." in page.content.decode()


def test_the_page_names_the_roles_that_the_site_knows(eve: User, visitor: Client) -> None:
    stored(eve, OTHER)
    unknown = visitor.get(f"/function/several/{CLUB}/").content.decode()
    assert "a certain role in this server" in unknown
    assert str(STAFF) not in unknown

    roles = [
        {"id": role, "name": name, "position": 1, "permissions": 0, "color": 0, "managed": False}
        for role, name in ROLE_NAMES.items()
    ]
    DIRECTORY.read(CLUB)
    DIRECTORY.model._default_manager.filter(pk=CLUB).update(roles=roles)
    page = visitor.get(f"/function/several/{CLUB}/").content.decode()

    assert "one of these roles in this server" in page
    assert all(name in page for name in ("Staff", "Helpers"))
    assert "Others" not in page


def test_the_owner_alone_opens_what_no_role_opens(visitor: Client) -> None:
    assert "No role gives access to this page yet." in visitor.get(f"/function/empty/{CLUB}/").content.decode()


# declarations


@pytest.mark.parametrize("wrong", ["", "Staff", "-1", 0, -5, True, 1.5, "1" * 21, ("1", "x"), [None], "１２"])
@pytest.mark.parametrize(
    "declare",
    [
        lambda role: guild_required(role=role),
        InGuild.role,
        lambda role: type("Wrong", (InGuild,), {"role": role}),
        lambda role: type("Wrong", (GuildRequiredMixin,), {"role": role}),
    ],
)
def test_a_wrong_id_fails_when_the_module_is_imported(declare: Callable[[RoleNeed], object], wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"is not the id of a role\. Write Discord's id"):
        declare(wrong)


def test_a_role_as_an_attribute_of_a_permission_counts_as_the_method_does() -> None:
    staff = type("Staff", (InGuild,), {"role": STAFF, "member": True})

    assert staff._requirements().role == {STAFF}
    assert staff._requirements().member
    assert staff.role(HELPER)._requirements().role == {HELPER}  # type: ignore[attr-defined]


@GUARDS
def test_a_function_that_returns_no_id_admits_nobody(eve: User, visitor: Client, guard: str) -> None:
    of_request[:] = ["Staff"]
    stored(eve, STAFF)

    with pytest.raises(ValueError, match="is not the id of a role"):
        visitor.get(f"/{guard}/callable/{CLUB}/")


@pytest.mark.parametrize(
    ("roles", "ids"), [(7, {7}), ("7", {7}), ((7, "8"), {7, 8}), ({"8"}, {8}), ((), set()), (iter(["9"]), {9})]
)
def test_ids_are_numbers_or_their_digits(roles: Any, ids: set[int]) -> None:
    assert role_ids(roles) == ids


# the value, and the template filter


def entered(user: User, *, owner: bool = False, reads_member: bool = True) -> EnteredGuild:
    membership = Membership(CLUB, "Chess", "", "", owner, 0, ())
    return EnteredGuild.enter(membership, user, reads_member=reads_member)


def test_an_entered_guild_equals_its_membership(eve: User) -> None:
    (membership, *_), guild = services.get_guild_list(eve), entered(eve)
    same = EnteredGuild.enter(membership, eve, reads_member=True)

    assert same == membership
    assert membership == same
    assert hash(same) == hash(membership)
    assert same in services.get_guild_list(eve).memberships
    assert guild != membership
    assert same != 1


def shown(guild: Membership | None, role: object = STAFF) -> str:
    template = Template("{% load guild_access %}{% if guild|has_role:role %}yes{% else %}no{% endif %}")
    return template.render(Context({"guild": guild, "role": role}))


def test_a_template_knows_the_roles(eve: User) -> None:
    stored(eve, STAFF)

    assert [shown(entered(eve), role) for role in (STAFF, str(STAFF), HELPER)] == ["yes", "yes", "no"]
    assert shown(entered(eve, owner=True), HELPER) == "yes"
    assert shown(None) == "no"


def test_a_template_never_waits_for_roles_that_the_view_did_not_declare(
    eve: User, settings: Settings, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    undeclared = entered(eve, reads_member=False)
    assert shown(undeclared) == "no"
    assert caplog.text == ""

    settings.DEBUG = True
    assert shown(undeclared) == "no"

    assert "member=True" in caplog.text
    assert sandbox.requests("") == []


@pytest.mark.usefixtures("bot_synced")
@GUARDS
def test_where_the_bot_is_nothing_is_asked_of_the_person(visitor: Client, sandbox: Sandbox, guard: str) -> None:
    bot_joins(CLUB)
    sandbox.bot(CLUB, 0)
    sandbox.member("eve", CLUB, roles=[str(STAFF)])

    assert visitor.get(f"/{guard}/bot/{CLUB}/").status_code == 200
    assert sandbox.requests("", route=MEMBER) == []
