"""Access to a guild's views in each form: function, async function, class, DRF permission, template."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse
from django.template import Context, Template
from django.test import Client
from django.urls import path
from django.views import View
from pytest_django import DjangoAssertNumQueries, Settings
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.discord import Permissions
from accounts.models import User
from config.urls import handler403, handler404, handler500  # noqa: F401 - read by Django of this module
from config.urls import urlpatterns as site_urls
from guilds import services
from guilds.decorators import GuildRequiredMixin, guild_list_required, guild_required
from guilds.middleware import GuildListRequest, GuildRequest
from guilds.models import BotGuild
from guilds.permissions import CanManageGuild, GuildAPIRequest, InGuild
from guilds.resources.bot_guilds import verify_one
from guilds.resources.memberships import Membership
from tests.fixtures import Sandbox, let_pass
from tests.guilds.rows import bot_joins, list_of

FIVE_MINUTES = timedelta(minutes=5)
MEMBER, MANAGER, OWNER, ADMINISTRATOR, KICKER, ELSEWHERE = 11, 12, 13, 14, 15, 99


def said(request: GuildRequest | GuildAPIRequest) -> str:
    return f"{request.guild.guild_id} {request.guild_list.freshness}"


@guild_required
def bare(request: GuildRequest, guild_id: int) -> HttpResponse:
    return HttpResponse(said(request))


@guild_required()
def called(request: GuildRequest, guild_id: int) -> HttpResponse:
    return HttpResponse(said(request))


@guild_required("manage_guild")
def manage(request: GuildRequest, guild_id: int) -> HttpResponse:
    return HttpResponse(said(request))


@guild_required(Permissions.KICK_MEMBERS, guild_id="server")
def kick(request: GuildRequest, server: str) -> HttpResponse:
    return HttpResponse(said(request))


@guild_required(Permissions.KICK_MEMBERS | Permissions.BAN_MEMBERS)
def both(request: GuildRequest, guild_id: int) -> HttpResponse:
    return HttpResponse(said(request))


@guild_required("MANAGE_GUILD", max_age=FIVE_MINUTES)
def dangerous(request: GuildRequest, guild_id: int) -> HttpResponse:
    return HttpResponse(said(request))


@guild_required("manage_guild", bot=True)
def with_bot(request: GuildRequest, guild_id: int) -> HttpResponse:
    return HttpResponse(said(request))


@guild_required("manage_guild", bot=("send_messages", "EMBED_LINKS"))
def with_able_bot(request: GuildRequest, guild_id: int) -> HttpResponse:
    return HttpResponse(said(request))


@guild_required("manage_guild")
async def manage_async(request: GuildRequest, guild_id: int) -> HttpResponse:
    return HttpResponse(said(request))


@guild_list_required
async def list_async(request: GuildListRequest) -> HttpResponse:
    return HttpResponse(str(len(request.guild_list)))


class Manage(GuildRequiredMixin, View):
    permission = "manage_guild"
    max_age = FIVE_MINUTES

    def get(self, request: HttpRequest, guild_id: int) -> HttpResponse:
        return HttpResponse(said(self.request))


class AnyMember(GuildRequiredMixin, View):
    def get(self, request: HttpRequest, guild_id: int) -> HttpResponse:
        return HttpResponse(said(self.request))


class WithAbleBot(GuildRequiredMixin, View):
    permission = "manage_guild"
    bot = ("send_messages", Permissions.EMBED_LINKS)

    def get(self, request: HttpRequest, guild_id: int) -> HttpResponse:
        return HttpResponse(said(self.request))


class WithBot(GuildRequiredMixin, View):
    permission = "manage_guild"
    bot = True

    def get(self, request: HttpRequest, guild_id: int) -> HttpResponse:
        return HttpResponse(said(self.request))


class Endpoint(APIView):
    def get(self, request: GuildAPIRequest, guild_id: int) -> Response:
        return Response(said(request))

    post = get


class MemberEndpoint(Endpoint):
    permission_classes = (InGuild,)


class ManageEndpoint(Endpoint):
    permission_classes = (CanManageGuild,)


class DangerousEndpoint(Endpoint):
    permission_classes = (CanManageGuild.within(minutes=5),)


class Kicks(InGuild):
    permission = "kick_members"


class KickEndpoint(Endpoint):
    permission_classes = (Kicks & InGuild.may("kick_members"),)


class AbleBotEndpoint(Endpoint):
    permission_classes = (CanManageGuild.with_bot("send_messages", Permissions.EMBED_LINKS),)


class BotEndpoint(Endpoint):
    permission_classes = (CanManageGuild.with_bot(),)


urlpatterns = [
    path("bot/<int:guild_id>/", with_bot),
    path("able/<int:guild_id>/", with_able_bot),
    path("able-class/<int:guild_id>/", WithAbleBot.as_view()),
    path("api/able/<int:guild_id>/", AbleBotEndpoint.as_view()),
    path("bot-class/<int:guild_id>/", WithBot.as_view()),
    path("api/bot/<int:guild_id>/", BotEndpoint.as_view()),
    path("bare/<int:guild_id>/", bare),
    path("called/<int:guild_id>/", called),
    path("manage/<int:guild_id>/", manage),
    path("kick/<str:server>/", kick),
    path("both/<int:guild_id>/", both),
    path("dangerous/<int:guild_id>/", dangerous),
    path("manage-async/<int:guild_id>/", manage_async),
    path("list-async/", list_async),
    path("class/<int:guild_id>/", Manage.as_view()),
    path("any-class/<int:guild_id>/", AnyMember.as_view()),
    path("text/<str:guild_id>/", bare),
    path("without/<int:server>/", bare),
    path("api/without/", MemberEndpoint.as_view()),
    path("api/member/<int:guild_id>/", MemberEndpoint.as_view()),
    path("api/manage/<int:guild_id>/", ManageEndpoint.as_view()),
    path("api/dangerous/<int:guild_id>/", DangerousEndpoint.as_view()),
    path("api/kick/<int:guild_id>/", KickEndpoint.as_view()),
    *site_urls,
]
pytestmark = pytest.mark.urls(__name__)

FOR_MEMBERS = ["/bare/", "/called/", "/any-class/", "/api/member/"]
FOR_MANAGERS = ["/manage/", "/dangerous/", "/manage-async/", "/class/", "/api/manage/", "/api/dangerous/"]
FOR_THE_BOT = ["/bot/", "/bot-class/", "/api/bot/"]
FOR_AN_ABLE_BOT = ["/able/", "/able-class/", "/api/able/"]
FOR_KICKERS = ["/kick/", "/api/kick/"]
YOUNG_ONLY = ["/dangerous/", "/class/", "/api/dangerous/"]


def guild(number: int, permissions: int = 0, owner: bool = False) -> dict[str, Any]:
    return {"id": str(number), "name": f"Server {number}", "permissions": str(permissions), "owner": owner}


GUILDS = [
    guild(MEMBER),
    guild(MANAGER, int(Permissions.MANAGE_GUILD)),
    guild(OWNER, owner=True),
    guild(ADMINISTRATOR, int(Permissions.ADMINISTRATOR)),
    guild(KICKER, int(Permissions.KICK_MEMBERS)),
]


@pytest.fixture
def eve(sandbox: Sandbox, sign_up: Callable[..., User]) -> User:
    sandbox.person("eve", guilds=GUILDS)
    user = sign_up("eve")
    list_of(user, GUILDS)
    return user


@pytest.fixture
def visitor(eve: User, client_of: Callable[[User], Client]) -> Client:
    return client_of(eve)


@pytest.mark.parametrize("door", FOR_MEMBERS)
def test_members_come_in_and_the_view_has_their_guild(visitor: Client, door: str) -> None:
    response = visitor.get(f"{door}{MEMBER}/")

    assert (response.status_code, response.content.decode().strip('"')) == (200, f"{MEMBER} fresh")


@pytest.mark.parametrize("door", FOR_MEMBERS + FOR_MANAGERS + FOR_KICKERS)
def test_a_guild_one_is_not_in_does_not_exist(visitor: Client, door: str) -> None:
    response = visitor.get(f"{door}{ELSEWHERE}/", headers={"Accept": "application/json"})

    assert response.status_code == 404
    assert response["Content-Type"] == "application/problem+json"
    assert response.json()["type"] == "/problems/not-in-guild"


def test_an_id_may_be_text(visitor: Client) -> None:
    assert visitor.get(f"/text/{MEMBER}/").status_code == 200


@pytest.mark.parametrize("text", ["abc", "-1", "1e1", "011", "1_1", "١١", "9" * 5000])
def test_what_is_no_id_is_no_guild(visitor: Client, text: str) -> None:
    assert visitor.get(f"/text/{text}/").status_code == 404


@pytest.mark.parametrize(("door", "there"), [("/without/11/", "server"), ("/api/without/", "none")])
def test_an_address_without_the_guild_is_a_fault_that_is_named(visitor: Client, door: str, there: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=f"argument 'guild_id', but {door} has {there}"):
        visitor.get(door)


@pytest.mark.parametrize("door", FOR_MANAGERS)
@pytest.mark.parametrize(
    ("number", "status"), [(MEMBER, 403), (KICKER, 403), (MANAGER, 200), (OWNER, 200), (ADMINISTRATOR, 200)]
)
def test_managers_owners_and_administrators_may_manage(visitor: Client, door: str, number: int, status: int) -> None:
    response = visitor.get(f"{door}{number}/", headers={"Accept": "application/json"})

    assert response.status_code == status
    if status == 403:
        problem = response.json()
        assert (problem["type"], problem["permission"]) == ("/problems/missing-permission", "manage_guild")


@pytest.mark.parametrize("door", FOR_KICKERS)
@pytest.mark.parametrize(("number", "status"), [(MEMBER, 403), (MANAGER, 403), (KICKER, 200), (OWNER, 200)])
def test_each_permission_of_discords_can_be_asked_for(visitor: Client, door: str, number: int, status: int) -> None:
    assert visitor.get(f"{door}{number}/").status_code == status


def test_people_get_a_page_and_programs_a_problem(visitor: Client) -> None:
    page = visitor.get(f"/manage/{MEMBER}/", headers={"Accept": "text/html"})

    assert (page.status_code, page["Content-Type"]) == (403, "text/html; charset=utf-8")
    assert "You can&#x27;t manage this server" in page.content.decode()


@pytest.mark.parametrize(
    ("door", "permission", "words"),
    [("/manage/", "manage_guild", "Manage Server"), ("/kick/", "kick_members", "Kick Members")],
)
def test_whoever_may_not_learns_what_it_takes_and_where_they_see_what_they_may(
    visitor: Client, door: str, permission: str, words: str
) -> None:
    page = visitor.get(f"{door}{MEMBER}/").content.decode()
    problem = visitor.get(f"{door}{MEMBER}/", headers={"Accept": "application/json"}).json()

    assert f"You need the “{words}” permission." in page
    assert f'href="/servers/{MEMBER}/">See your permissions' in page
    assert words in problem["detail"]
    assert problem["permission"] == permission


def test_what_takes_two_permissions_names_both(visitor: Client) -> None:
    page = visitor.get(f"/both/{MEMBER}/", headers={"Accept": "application/json"})

    assert "“Kick Members, Ban Members”" in page.json()["detail"]
    assert page.json()["permission"] == "kick_members ban_members"


@pytest.mark.parametrize("door", ["/bare/11/", "/manage-async/11/", "/list-async/", "/class/11/"])
def test_a_visitor_goes_to_sign_in_and_comes_back(client: Client, db: None, door: str) -> None:
    response = client.get(door, headers={"Accept": "text/html"})

    assert (response.status_code, response["Location"]) == (302, f"/sign-in/?next={door}")


@pytest.mark.parametrize("door", ["/bare/11/", "/manage-async/11/", "/list-async/", "/class/11/"])
@pytest.mark.parametrize(
    ("referer", "comes_back"),
    [
        ("http://testserver/form/11/?tab=2", "http%3A//testserver/form/11/%3Ftab%3D2"),
        ("https://elsewhere.example/form/", "/servers/"),
        ("//elsewhere.example/", "/servers/"),
        ("javascript:alert(1)", "/servers/"),
        (None, "/servers/"),
    ],
)
def test_a_visitor_who_sent_a_form_comes_back_to_it(
    client: Client, db: None, door: str, referer: str | None, comes_back: str
) -> None:
    response = client.post(door, headers={"Accept": "text/html"} | ({"Referer": referer} if referer else {}))

    assert (response.status_code, response["Location"]) == (302, f"/sign-in/?next={comes_back}")


@pytest.mark.parametrize("door", ["/bare/11/", "/manage-async/11/", "/class/11/", "/api/member/11/"])
def test_a_program_without_a_session_gets_401(client: Client, db: None, door: str) -> None:
    response = client.get(door, headers={"Accept": "application/json"})

    assert (response.status_code, response.json()["type"]) == (401, "/problems/not-signed-in")


def test_an_async_view_gets_the_list(visitor: Client) -> None:
    assert visitor.get("/list-async/").content == b"5"


@pytest.mark.parametrize("door", YOUNG_ONLY)
def test_what_is_dangerous_asks_discord_again(visitor: Client, sandbox: Sandbox, door: str) -> None:
    let_pass(minutes=10)
    assert visitor.get(f"/manage/{MANAGER}/").status_code == 200
    assert sandbox.requests() == []
    sandbox.person("eve", guilds=[guild(MANAGER)])

    response = visitor.get(f"{door}{MANAGER}/")

    assert response.status_code == 403, "the permission is gone since the list of ten minutes ago"
    assert len(sandbox.requests()) == 1


@pytest.mark.parametrize("door", YOUNG_ONLY)
def test_a_list_that_is_young_enough_asks_nobody(visitor: Client, sandbox: Sandbox, door: str) -> None:
    let_pass(minutes=4)

    assert visitor.get(f"{door}{MANAGER}/").status_code == 200
    assert sandbox.requests() == []


@pytest.mark.parametrize("door", YOUNG_ONLY)
@pytest.mark.parametrize(("mood", "status"), [("rate_limited", 429), ("outage", 503)])
def test_what_cannot_be_verified_stays_shut(
    visitor: Client, sandbox: Sandbox, door: str, mood: str, status: int
) -> None:
    let_pass(minutes=10)
    sandbox.mood(mood, retry_after=45)

    response = visitor.get(f"{door}{MANAGER}/", headers={"Accept": "application/json"})

    assert response.status_code == status
    assert int(response["Retry-After"]) >= 1
    assert visitor.get(f"/manage/{MANAGER}/").status_code == 200, "looking is allowed on the older list"


@pytest.fixture
def bot_there(bot_synced: None) -> None:
    """The bot is in the guild that Eve is a mere member of, and in one that she manages."""
    bot_joins(MEMBER, MANAGER)


@pytest.mark.usefixtures("bot_there")
@pytest.mark.parametrize("door", FOR_THE_BOT)
@pytest.mark.parametrize(
    ("number", "status"),
    [(MANAGER, 200), (OWNER, 409), (ADMINISTRATOR, 409), (MEMBER, 403), (KICKER, 403), (ELSEWHERE, 404)],
)
def test_what_needs_the_bot_works_where_it_is(visitor: Client, door: str, number: int, status: int) -> None:
    response = visitor.get(f"{door}{number}/", headers={"Accept": "application/json"})

    assert response.status_code == status
    if status == 409:
        assert response.json()["type"] == "/problems/bot-not-in-guild"


@pytest.mark.parametrize("door", FOR_THE_BOT)
def test_what_needs_the_bot_waits_for_the_first_complete_run(visitor: Client, door: str) -> None:
    bot_joins(MANAGER)

    unknown = visitor.get(f"{door}{OWNER}/", headers={"Accept": "application/json"})

    assert (unknown.status_code, unknown["Retry-After"]) == (503, "60")
    assert unknown.json()["type"] == "/problems/bot-presence-unknown"
    assert visitor.get(f"{door}{MANAGER}/").status_code == 200


@pytest.mark.usefixtures("bot_synced")
def test_who_may_add_the_bot_is_led_there(visitor: Client) -> None:
    page = visitor.get(f"/bot/{OWNER}/").content.decode()

    assert f'href="/servers/{OWNER}/add-bot/"' in page
    assert f'href="/servers/{OWNER}/">See your permissions' in page


@pytest.mark.usefixtures("bot_there")
def test_whether_the_bot_is_there_takes_no_query_once_it_is_known(
    visitor: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    visitor.get(f"/bot/{MANAGER}/")

    with django_assert_num_queries(1):
        assert visitor.get(f"/bot/{MANAGER}/").status_code == 200


@pytest.mark.usefixtures("bot_there")
@pytest.mark.parametrize("door", FOR_THE_BOT)
def test_a_bot_that_left_closes_the_door(visitor: Client, door: str) -> None:
    assert visitor.get(f"{door}{MANAGER}/").status_code == 200

    assert verify_one(MANAGER) is False

    assert visitor.get(f"{door}{MANAGER}/").status_code == 409


SEND, EMBED = Permissions.SEND_MESSAGES, Permissions.EMBED_LINKS


@pytest.mark.usefixtures("bot_synced")
@pytest.mark.parametrize("door", FOR_AN_ABLE_BOT)
@pytest.mark.parametrize(
    ("rights", "missing"),
    [
        ({"permissions": int(SEND | EMBED)}, None),
        ({"permissions": int(Permissions.ADMINISTRATOR)}, None),
        ({"owner": True}, None),
        ({"permissions": int(SEND)}, "embed_links"),
        ({"permissions": 0}, "send_messages embed_links"),
    ],
)
def test_what_the_bot_lacks_is_named(visitor: Client, door: str, rights: dict[str, Any], missing: str | None) -> None:
    bot_joins(MANAGER, **rights)

    response = visitor.get(f"{door}{MANAGER}/", headers={"Accept": "application/json"})

    if missing is None:
        assert response.status_code == 200
    else:
        problem = response.json()
        assert (response.status_code, problem["type"]) == (409, "/problems/bot-missing-permission")
        assert problem["permission"] == missing
        assert problem["detail"].endswith("Embed Links.")


@pytest.mark.usefixtures("bot_synced")
@pytest.mark.parametrize("door", FOR_AN_ABLE_BOT)
def test_where_the_bots_permissions_are_unknown_the_door_waits(visitor: Client, door: str) -> None:
    bot_joins(MANAGER)
    BotGuild.objects.update(permissions=None)

    response = visitor.get(f"{door}{MANAGER}/", headers={"Accept": "application/json"})

    assert (response.status_code, response["Retry-After"]) == (503, "60")
    assert visitor.get(f"/bot/{MANAGER}/").status_code == 200


@pytest.mark.usefixtures("bot_synced")
@pytest.mark.parametrize("door", FOR_AN_ABLE_BOT)
def test_the_bot_must_be_there_to_be_able(visitor: Client, door: str) -> None:
    response = visitor.get(f"{door}{MANAGER}/", headers={"Accept": "application/json"})

    assert response.json()["type"] == "/problems/bot-not-in-guild"


@pytest.mark.parametrize(
    "declare",
    [
        lambda: guild_required(bot="send_mesages"),
        lambda: guild_required(bot=("embed_links", "send_mesages")),
        lambda: InGuild.with_bot("send_mesages"),
        lambda: type("Wrong", (InGuild,), {"bot": "send_mesages"}),
        lambda: type("Wrong", (GuildRequiredMixin,), {"bot": "send_mesages"}),
    ],
)
def test_a_misspelt_permission_of_the_bot_fails_at_once(declare: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match="did you mean 'send_messages'"):
        declare()


def test_a_site_without_a_bot_has_no_views_that_need_one(settings: Settings) -> None:
    settings.DISCORD_BOT_TOKEN = ""

    with pytest.raises(ImproperlyConfigured, match="DISCORD_BOT_TOKEN is not set"):
        guild_required(bot=True)
    with pytest.raises(ImproperlyConfigured, match="DISCORD_BOT_TOKEN"):
        InGuild.with_bot()
    with pytest.raises(ImproperlyConfigured, match="DISCORD_BOT_TOKEN"):
        type("Wrong", (GuildRequiredMixin,), {"bot": True})


@pytest.mark.parametrize(("mood", "status"), [("rate_limited", 429), ("outage", 503)])
def test_what_was_sent_to_a_shut_door_is_not_lost(visitor: Client, sandbox: Sandbox, mood: str, status: int) -> None:
    let_pass(minutes=10)
    sandbox.mood(mood, retry_after=45)

    sent = {"headers": {"Referer": "http://testserver/form/"}}
    response = visitor.post(f"/dangerous/{MANAGER}/", {"text": "Mind it."}, **sent)
    button = visitor.post(f"/dangerous/{MANAGER}/", {"csrfmiddlewaretoken": "x"}, **sent).content.decode()
    page = response.content.decode()

    assert response.status_code == status
    assert "Nothing was saved or changed." in page
    assert "Use your browser's Back button to recover what you typed." in page
    assert "Nothing was saved or changed." in button
    assert "what you typed" not in button
    assert 'href="http://testserver/form/">Back to the form' in page
    assert re.search(r'You can send it again in\s+<strong class="count" data-countdown="\d+">\d+ seconds?<', page)
    assert "data-reload" not in page
    assert "http-equiv" not in page
    assert "loads again by itself" not in page


@pytest.mark.parametrize("referer", ["https://elsewhere.example/form/", ""])
def test_who_came_from_elsewhere_is_led_to_their_servers(visitor: Client, sandbox: Sandbox, referer: str) -> None:
    let_pass(minutes=10)
    sandbox.mood("outage")

    page = visitor.post(f"/dangerous/{MANAGER}/", headers={"Referer": referer}).content.decode()

    assert "elsewhere.example" not in page
    assert "Back to the form" not in page
    assert 'class="button primary" href="/servers/"' in page


@pytest.mark.parametrize("method", ["get", "post"])
def test_a_list_that_is_too_old_for_this_is_told_from_one_that_is_too_old_for_anything(
    visitor: Client, sandbox: Sandbox, method: str
) -> None:
    let_pass(minutes=10)
    sandbox.mood("outage")

    page = getattr(visitor, method)(f"/dangerous/{MANAGER}/").content.decode()

    assert "needs information that Discord confirmed in the last 5 minutes" in page
    assert "We have no list of your servers" not in page


def test_a_page_that_only_shows_loads_again_by_itself(visitor: Client, sandbox: Sandbox) -> None:
    let_pass(hours=25)
    sandbox.mood("outage")

    page = visitor.get(f"/manage/{MANAGER}/").content.decode()

    assert f'data-reload="/manage/{MANAGER}/"' in page
    assert "We don't have a recent enough answer from Discord" in page
    assert "Nothing was saved" not in page


def test_programs_learn_which_age_was_demanded(visitor: Client, sandbox: Sandbox) -> None:
    let_pass(minutes=10)
    sandbox.mood("outage")

    demanded = visitor.post(f"/api/dangerous/{MANAGER}/", headers={"Accept": "application/json"})
    let_pass(hours=25)
    any_age = visitor.get(f"/manage/{MANAGER}/", headers={"Accept": "application/json"})

    assert (demanded.status_code, demanded.json()["max_age"]) == (503, 300)
    assert (any_age.status_code, any_age.json().get("max_age")) == (503, None)


def test_a_wrong_name_is_found_when_the_view_is_made() -> None:
    with pytest.raises(ValueError, match="no permission 'manage_gild'; did you mean 'manage_guild'"):
        guild_required("manage_gild")
    with pytest.raises(ValueError, match="no permission 'fly'"):
        InGuild.may("fly")
    with pytest.raises(ValueError, match="no permission 'kick'"):
        type("Wrong", (GuildRequiredMixin,), {"permission": "kick"})


def test_templates_ask_the_same_rule(eve: User) -> None:
    guild_list = services.get_guild_list(eve)
    text = (
        "{% load guild_access %}{% for server in guild_list %}"
        '{% if server|may:"manage_guild" %}{{ server.guild_id }} {% endif %}{% endfor %}'
        '{% with there=guild_list|guild:"12" %}{{ there.name }}{% endwith %}'
        "{% with there=guild_list|guild:99 %}{{ there|may:'kick_members' }}{% endwith %}"
    )

    assert Template(text).render(Context({"guild_list": guild_list})) == "12 13 14 Server 12False"


def test_a_template_with_a_wrong_name_says_so(eve: User) -> None:
    template = Template('{% load guild_access %}{{ server|may:"fly" }}')

    with pytest.raises(ValueError, match="no permission 'fly'"):
        template.render(Context({"server": services.get_guild_list(eve).get(MEMBER)}))


@pytest.mark.parametrize("permission", list(Permissions))
def test_owners_and_administrators_may_everything(permission: Permissions) -> None:
    owner = Membership(1, "", "", "", owner=True, permissions=0, features=())
    administrator = Membership(1, "", "", "", owner=False, permissions=8, features=())
    member = Membership(1, "", "", "", owner=False, permissions=0, features=())
    holder = Membership(1, "", "", "", owner=False, permissions=int(permission), features=())

    assert owner.may(permission)
    assert administrator.may(str(permission.name))
    assert holder.may(str(permission.name).lower())
    assert not member.may(permission)


def test_the_door_reads_in_async_code(eve: User) -> None:
    assert async_to_sync(_count)(eve) == 5


async def _count(user: User) -> int:
    from asgiref.sync import sync_to_async

    return len(await sync_to_async(services.get_guild_list)(user))
