"""A site for one guild or some of its roles: one table for pages, the API and fragments, and what stays open."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import path
from django.views import View
from pytest_django import Settings

from accounts.clock import database_now
from accounts.models import DiscordAccount, User
from config.urls import handler403, handler404, handler500  # noqa: F401 - read by Django of this module
from config.urls import urlpatterns as site_urls
from guilds.decorators import open_to_all
from guilds.models import GuildDirectory, GuildMember
from guilds.whole_site import required
from tests.fixtures import Sandbox, end_jobs
from tests.guilds.rows import bot_joins, bot_leaves, list_of

CLUB, STAFF, OTHER = 11, 501, 502
GUILDS = [{"id": str(CLUB), "name": "Club", "permissions": "0"}]


@open_to_all
class Open(View):
    def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("open")


class Closed(Open):
    """Inherits from an open view, and isn't open itself."""


urlpatterns = [path("open/", Open.as_view()), path("closed/", Closed.as_view()), *site_urls]
pytestmark = pytest.mark.urls(__name__)


@pytest.fixture(autouse=True)
def site_of_a_club(settings: Settings, sandbox: Sandbox, transactional_db: None) -> None:
    settings.REQUIRED_GUILD, settings.REQUIRED_ROLES = CLUB, frozenset({STAFF})
    sandbox.person("eve", guilds=GUILDS)
    bot_joins(CLUB)
    now = database_now()
    GuildDirectory.objects.create(guild_id=CLUB, verified_at=now, refresh_after=now + timedelta(minutes=10))


@pytest.fixture
def eve(sign_up: Callable[..., User], sandbox: Sandbox) -> User:
    user = sign_up("eve")
    list_of(user, GUILDS)
    sandbox.forget_requests()
    return user


def known(user: User, *roles: int, **fields: Any) -> None:
    """Store that the person is in the club with these roles, verified a minute ago."""
    now = database_now()
    answer: dict[str, Any] = {"is_member": True, "roles": sorted(roles), "verified_at": now - timedelta(minutes=1)}
    dates = {"refresh_after": now + timedelta(minutes=40), "last_read_at": now}
    GuildMember.objects.create(user=user, guild_id=CLUB, **{**answer, **dates, **fields})


def blocked(user: User, reason: str) -> None:
    wait = database_now() + timedelta(seconds=40)
    known(user, is_member=False, verified_at=None, refresh_after=None, reason=reason, not_before=wait)


def leave_unshared(user: User) -> None:
    bot_leaves(CLUB)
    known(user, is_member=False, verified_at=None, refresh_after=None, reason="missing_scope")


def make_staff(user: User) -> None:
    User.objects.filter(pk=user.pk).update(is_staff=True)


STATES: dict[str, tuple[Callable[[User], None], int, str]] = {
    "member": (lambda user: known(user, STAFF, OTHER), 200, ""),
    "not a member": (lambda user: known(user, is_member=False), 403, "membership-required"),
    "role missing": (lambda user: known(user, OTHER), 403, "missing-role"),
    "limited": (lambda user: blocked(user, "rate_limited"), 429, "rate-limited"),
    "silent": (lambda user: blocked(user, "unavailable"), 503, "discord-unavailable"),
    "not shared": (leave_unshared, 403, "missing-scope"),
    "staff": (make_staff, 200, ""),
}
PAGE, ENDPOINT = "/servers/", "/api/v1/me/"
HTMX = {"HX-Request": "true"}


@pytest.mark.parametrize("face", ["page", "fragment", "endpoint", "token"])
@pytest.mark.parametrize("state", STATES)
def test_who_gets_in(
    eve: User,
    client_of: Callable[[User], Client],
    token_of: Callable[..., str],
    sandbox: Sandbox,
    state: str,
    face: str,
) -> None:
    prepare, status, problem = STATES[state]
    prepare(eve)
    eve.refresh_from_db()
    client, address, headers = client_of(eve), ENDPOINT, {}
    if face == "token":
        client, headers = Client(), {"Authorization": f"Bearer {token_of(eve)}"}
    elif face != "endpoint":
        address, headers = PAGE, HTMX if face == "fragment" else {}

    response: Any = client.get(address, headers=headers)

    assert response.status_code == status
    assert sandbox.requests("") == [], "Discord isn't asked"
    if not problem:
        return
    assert response.problem_name == problem
    assert ("Retry-After" in response) == (status in (429, 503))
    if "Retry-After" in response:
        assert 30 < int(response["Retry-After"]) <= 40
    if address == ENDPOINT:
        assert response.json()["type"] == f"/problems/{problem}"
    else:
        is_page = b"<html" in response.content
        assert is_page == (face == "page")
    assert response["Cache-Control"] == "no-store"


def test_an_anonymous_visitor_signs_in_first() -> None:
    page, fragment, endpoint = (
        Client().get(PAGE),
        Client().get(PAGE, headers=HTMX | {"HX-Current-URL": f"http://testserver{PAGE}"}),
        Client().get(ENDPOINT),
    )

    assert (page.status_code, page["Location"]) == (302, f"/sign-in/?next={PAGE}")
    assert fragment["HX-Redirect"] == f"/sign-in/?next={PAGE}"
    assert endpoint.status_code == 401
    assert endpoint.json()["type"] == "/problems/not-signed-in"
    assert endpoint["WWW-Authenticate"].startswith("Bearer")


def test_a_wrong_token_is_refused_even_beside_a_session(eve: User, client_of: Callable[[User], Client]) -> None:
    known(eve, STAFF)

    response = client_of(eve).get(ENDPOINT, headers={"Authorization": "Bearer gdh_wrong"})

    assert response.json()["type"] == "/problems/invalid-token"


def test_a_token_of_a_member_is_no_help_to_the_session_of_another(
    eve: User, ada: User, client_of: Callable[[User], Client], token_of: Callable[..., str]
) -> None:
    known(eve, STAFF)
    known(ada, is_member=False)

    response = client_of(ada).get(PAGE, headers={"Authorization": f"Bearer {token_of(eve)}"})

    assert response.status_code == 403


@pytest.mark.parametrize("address", [PAGE, ENDPOINT])
def test_a_member_costs_no_query(
    eve: User, client_of: Callable[[User], Client], settings: Settings, address: str
) -> None:
    known(eve, STAFF)

    def queries() -> int:
        client = client_of(eve)
        client.get(address)
        with CaptureQueriesContext(connection) as asked:
            assert client.get(address).status_code == 200
        return len(asked)

    guarded = queries()
    settings.REQUIRED_GUILD, settings.REQUIRED_ROLES = None, frozenset()
    assert guarded == queries()


def test_a_member_with_a_token_costs_one(eve: User, token_of: Callable[..., str], settings: Settings) -> None:
    known(eve, STAFF)
    headers = {"Authorization": f"Bearer {token_of(eve)}"}

    def queries() -> int:
        client = Client()
        client.get(ENDPOINT, headers=headers)
        with CaptureQueriesContext(connection) as asked:
            assert client.get(ENDPOINT, headers=headers).status_code == 200
        return len(asked)

    guarded = queries()
    settings.REQUIRED_GUILD, settings.REQUIRED_ROLES = None, frozenset()
    assert guarded == queries() + 1


def test_without_the_setting_there_is_no_middleware(settings: Settings) -> None:
    settings.REQUIRED_GUILD = None
    client = Client()
    client.get("/")

    names = [getattr(each, "__qualname__", "") for each in client.handler._view_middleware or ()]
    assert "RequiredGuildMiddleware.process_view" not in names


@pytest.mark.parametrize(
    "address",
    ["/", "/sign-in/", "/problems/", "/problems/missing-role", "/api/schema/", "/api/docs/", "/healthz", "/open/"],
)
def test_what_everyone_can_open(address: str) -> None:
    assert Client().get(address).status_code == 200


def test_a_person_who_was_refused_can_still_leave(eve: User, client_of: Callable[[User], Client]) -> None:
    known(eve, is_member=False)
    client = client_of(eve)

    for address in ("/account/", "/servers/my-data.json", "/servers/delete-my-data/", "/api/v1/memberships/export/"):
        assert client.get(address).status_code == 200
    assert client.get("/account/tokens/").status_code == 403
    assert client.post("/sign-out/").status_code == 302
    assert client.get(PAGE)["Location"].startswith("/sign-in/")


def test_a_view_that_inherits_from_an_open_one_is_closed(eve: User, client_of: Callable[[User], Client]) -> None:
    known(eve, is_member=False)
    client = client_of(eve)

    assert client.get("/open/").content == b"open"
    assert client.get("/closed/").status_code == 403


def test_the_admin_guards_itself(client: Client) -> None:
    assert client.get("/admin/login/").status_code == 200


def test_a_person_who_joins_comes_in_after_checking_again(
    eve: User, client_of: Callable[[User], Client], settings: Settings, sandbox: Sandbox
) -> None:
    """With "identify" alone: the bot is asked, and the person shares nothing."""
    settings.REQUIRED_GUILD_INVITE = "https://discord.gg/club"
    known(eve, is_member=False)
    DiscordAccount.objects.update(extra_data={**DiscordAccount.objects.get().extra_data, "scope": "identify"})
    client = client_of(eve)

    refused = client.get(PAGE).content.decode()
    assert "You need to be a member of the Discord server" in refused
    assert 'href="https://discord.gg/club"' in refused
    assert f'name="guild" value="{CLUB}"' in " ".join(refused.split())
    sandbox.bot(CLUB, 0)
    sandbox.roles(CLUB, {"id": str(STAFF), "name": "Staff"})
    sandbox.member("eve", CLUB, roles=[str(STAFF)])
    GuildMember.objects.update(verified_at=database_now() - timedelta(minutes=2))
    client.post("/servers/refresh/", {"guild": CLUB})

    assert client.get(ENDPOINT).status_code == 200


def test_a_refusal_reads_the_roles_names_and_then_has_them(
    eve: User, client_of: Callable[[User], Client], sandbox: Sandbox
) -> None:
    GuildDirectory.objects.all().delete()
    sandbox.bot(CLUB, 0)
    sandbox.roles(CLUB, {"id": str(STAFF), "name": "Staff"}, {"id": str(OTHER), "name": "Others"})
    known(eve, OTHER)
    client = client_of(eve)

    client.get(PAGE)
    end_jobs()
    sandbox.forget_requests()
    refused = client.get(ENDPOINT)

    assert refused.status_code == 403
    assert refused.json()["detail"].startswith("This site is for people with the role")
    assert "Staff" in refused.json()["detail"]
    assert sandbox.requests("") == [], "the names are fresh"


def test_several_guilds_keep_their_records_apart(eve: User, client_of: Callable[[User], Client]) -> None:
    known(eve, is_member=False)
    GuildMember.objects.create(
        user=eve,
        guild_id=CLUB + 1,
        is_member=True,
        roles=[STAFF],
        verified_at=database_now(),
        last_read_at=database_now(),
    )

    assert client_of(eve).get(ENDPOINT).status_code == 403


def test_a_lost_database_is_no_refusal(eve: User, client_of: Callable[[User], Client], monkeypatch: Any) -> None:
    known(eve, STAFF)
    client = client_of(eve)
    client.raise_request_exception = False

    def lose(request: HttpRequest) -> None:
        raise OperationalError("the database is gone")

    monkeypatch.setattr(required, "peek_member", lose)

    assert client.get(PAGE).status_code == 503
