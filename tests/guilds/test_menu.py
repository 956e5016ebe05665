"""Apps register pages about a server: its own page shows them as tiles, and a mistake is found at the start."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.checks import run_checks
from django.http import HttpRequest, HttpResponse
from django.template import engines
from django.test import Client
from django.urls import include, path
from django.utils.translation import gettext_lazy
from pytest_django import DjangoAssertNumQueries, Settings

from accounts.models import User
from config.urls import urlpatterns as site_urls
from guilds import menu
from guilds.decorators import guild_required
from guilds.entered_guild import EnteredGuild
from guilds.menu import GuildPage, Membership
from guilds.middleware import GuildRequest
from guilds.problems import NotInGuild, Refusal
from tests.fixtures import Sandbox

WithList = Callable[..., User]
ClientOf = Callable[[User], Client]
Register = Callable[..., None]
CHESS, GARDEN = 1, 2


TEMPLATE = """{% extends "guilds/base_guild.html" %}{% block content %}<h1>Warnings</h1>{% endblock %}"""


@guild_required
def warnings(request: GuildRequest, guild_id: int) -> HttpResponse:
    return HttpResponse(engines["django"].from_string(TEMPLATE).render(request=request))


@guild_required
def one_warning(request: GuildRequest, guild_id: int, number: int) -> HttpResponse:
    return warnings(request, guild_id=guild_id)


@guild_required("kick_members")
def for_kickers(request: GuildRequest, guild_id: int) -> HttpResponse:
    return HttpResponse()


@guild_required
def of_past_members(request: GuildRequest, guild_id: int) -> HttpResponse:
    raise NotInGuild


moderation = (
    [
        path("<int:guild_id>/", warnings, name="bans"),
        path("<int:guild_id>/<int:number>/", one_warning, name="ban"),
    ],
    "moderation",
)


urlpatterns = [
    path("warnings/<int:guild_id>/", warnings, name="warnings"),
    path("warnings/<int:guild_id>/<int:number>/", one_warning, name="one-warning"),
    path("bans/", include(moderation)),
    path("for-kickers/<int:guild_id>/", for_kickers),
    path("past-members/<int:guild_id>/", of_past_members),
    *site_urls,
]
pytestmark = pytest.mark.urls(__name__)


@pytest.fixture
def manager(with_list: WithList, client_of: ClientOf, sandbox: Sandbox) -> Client:
    """Ada's, who manages the chess club and is a member of the garden."""
    sandbox.person("ada", guilds=[{"id": str(CHESS), "owner": True}, {"id": str(GARDEN), "permissions": "0"}])
    return client_of(with_list("ada"))


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[Register]:
    """Make these the pages of the app `accounts`, and of no other."""

    class Declared:
        PAGES: tuple[GuildPage, ...] = ()

    def declares(package: object, name: str) -> bool:
        return name == menu.MODULE and getattr(package, "__name__", "") == "accounts"

    def register(*pages: GuildPage) -> None:
        Declared.PAGES = pages
        menu.registered_pages.cache_clear()

    monkeypatch.setattr(menu, "module_has_submodule", declares)
    monkeypatch.setattr(menu, "import_module", lambda name: Declared)
    register()
    yield register
    menu.registered_pages.cache_clear()


def page_of(client: Client, guild_id: int = CHESS, language: str = "en") -> str:
    return client.get(f"/servers/{guild_id}/", headers={"Accept-Language": language}).content.decode()


def test_a_registered_page_is_a_tile_with_its_state(manager: Client, registered: Register) -> None:
    def state(guild: Membership) -> str:
        return f"3 in <{guild.guild_id}>"

    registered(GuildPage("warnings", "Warnings & bans", "Who was warned.", icon="shield", state=state))

    page = page_of(manager)

    assert f'<a href="/warnings/{CHESS}/">Warnings &amp; bans</a>' in page
    assert "Who was warned." in page
    assert f"3 in &lt;{CHESS}&gt;" in page


def test_only_people_with_the_permission_see_it(manager: Client, registered: Register) -> None:
    registered(GuildPage("warnings", "Warnings", permission="kick_members"))

    assert ["/warnings/" in page_of(manager, guild_id) for guild_id in (CHESS, GARDEN)] == [True, False]


def admit(request: HttpRequest, guild: EnteredGuild) -> bool | Refusal:
    return guild.owner and guild.user == request.user


def return_refusal(request: HttpRequest, guild: EnteredGuild) -> bool | Refusal:
    return Refusal("Not you.")


def raise_refusal(request: HttpRequest, guild: EnteredGuild) -> bool | Refusal:
    raise Refusal("Not you.")


def fail(request: HttpRequest, guild: EnteredGuild) -> bool | Refusal:
    raise LookupError


@pytest.mark.parametrize(
    ("rule", "shown"), [(admit, True), (return_refusal, False), (raise_refusal, False), (fail, False)]
)
def test_only_people_whom_its_rule_admits_see_it(
    manager: Client, registered: Register, rule: Any, shown: bool, caplog: pytest.LogCaptureFixture
) -> None:
    registered(GuildPage("warnings", "Warnings"), GuildPage("moderation:bans", "Bans", rule=rule))

    tiles, tabs = page_of(manager), manager.get(f"/warnings/{CHESS}/").content.decode()

    assert ["/bans/" in page for page in (tiles, tabs)] == [shown, shown]
    assert "/bans/" not in page_of(manager, GARDEN)
    assert any("guild_pages_failed" in record.getMessage() for record in caplog.records) == (rule is fail)


def test_the_switcher_asks_no_rule(manager: Client, registered: Register) -> None:
    registered(GuildPage("warnings", "Warnings", rule=fail))

    page = manager.get("/servers/switch/", {"from": f"/warnings/{CHESS}/"}).content.decode()

    assert sorted(re.findall(r'<li>\s*<a href="(\S+)"', page)) == [f"/servers/{CHESS}/", f"/servers/{GARDEN}/"]


def test_its_title_is_in_the_readers_language(manager: Client, registered: Register) -> None:
    registered(GuildPage("warnings", gettext_lazy("Owner")))

    assert ">Owner</a>" in page_of(manager)
    assert ">Besitz</a>" in page_of(manager, language="de")


def test_a_state_that_fails_is_logged_and_the_tile_stays(
    manager: Client, registered: Register, caplog: pytest.LogCaptureFixture
) -> None:
    def state(guild: Membership) -> str:
        raise LookupError

    registered(GuildPage("warnings", "Warnings", state=state))

    assert ">Warnings</a>" in page_of(manager)
    assert any("guild_pages_failed" in record.getMessage() for record in caplog.records)


def test_a_site_without_pages_says_at_the_sandbox_where_they_go(
    manager: Client, registered: Register, settings: Settings
) -> None:
    assert "Your pages go here" in page_of(manager)

    settings.USES_SANDBOX = False
    assert "Your pages go here" not in page_of(manager)

    settings.USES_SANDBOX = True
    registered(GuildPage("warnings", "Warnings"))
    assert "Your pages go here" not in page_of(manager)


def test_mistakes_in_a_page_are_found_at_the_start(registered: Register) -> None:
    registered(GuildPage("one-warning", "Warning"), GuildPage("warnings", "Warnings", icon="no-such"))

    assert {"guilds.E002", "guilds.E003"} <= {fault.id for fault in run_checks()}
    with pytest.raises(ValueError, match="kick_members"):
        GuildPage("warnings", "Warnings", permission="kick_member")  # type: ignore[arg-type]  # the mistake

    registered(GuildPage("warnings", "Warnings"))
    assert not {"guilds.E002", "guilds.E003"} & {fault.id for fault in run_checks()}


def test_a_page_of_an_app_stands_in_the_servers_frame(
    manager: Client, registered: Register, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    registered(GuildPage("warnings", "Warnings"), GuildPage("moderation:bans", "Bans", permission="kick_members"))
    manager.get(f"/warnings/{CHESS}/")

    with django_assert_num_queries(1):  # the session with the person and the record
        page = manager.get(f"/warnings/{CHESS}/").content.decode()

    assert f'<a href="/servers/{CHESS}/"><bdi>' in page
    assert f'href="/servers/switch/?from=/warnings/{CHESS}/"' in page
    assert re.findall(r'<a href="(\S+)"\s*(aria-current="\w+")?>', page[page.index("tabs") :]) == [
        (f"/servers/{CHESS}/", ""),
        (f"/warnings/{CHESS}/", 'aria-current="page"'),
        (f"/bans/{CHESS}/", ""),
    ]
    assert "/bans/" not in manager.get(f"/warnings/{GARDEN}/").content.decode()


def test_a_page_that_refuses_a_member_leads_back_to_the_server(
    manager: Client,
    registered: Register,
    caplog: pytest.LogCaptureFixture,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    registered(GuildPage("warnings", "Warnings", rule=fail))

    with django_assert_num_queries(1):  # the session with the person and the record
        response = manager.get(f"/for-kickers/{GARDEN}/")

    page = response.content.decode()
    assert response.status_code == 403
    assert f'<a href="/servers/{GARDEN}/"><bdi>' in page
    assert f'href="/servers/switch/?from=/for-kickers/{GARDEN}/"' in page
    assert 'class="tabs"' not in page, "the menu may need what just failed"
    assert not any("guild_pages_failed" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("address", [f"/past-members/{GARDEN}/", "/for-kickers/3/"])
def test_a_refusal_names_no_server_to_people_who_are_not_in_it(manager: Client, address: str) -> None:
    response = manager.get(address)

    page = response.content.decode()
    assert response.status_code == 404
    assert 'class="crumbs"' not in page
    assert "/servers/switch/" not in page


def test_a_page_below_a_registered_one_belongs_to_it(manager: Client, registered: Register) -> None:
    registered(GuildPage("moderation:bans", "Bans"))

    assert 'aria-current="true">Bans</a>' in manager.get(f"/bans/{CHESS}/7/").content.decode()


@pytest.mark.parametrize(
    ("path", "links"),
    [
        (f"/warnings/{CHESS}/", [f"/warnings/{CHESS}/", f"/warnings/{GARDEN}/"]),
        # Not allowed there.
        (f"/bans/{CHESS}/", [f"/bans/{CHESS}/", f"/servers/{GARDEN}/"]),
        # The same page may not exist there.
        (f"/bans/{CHESS}/7/", [f"/bans/{CHESS}/", f"/servers/{GARDEN}/"]),
        (f"/servers/{CHESS}/", [f"/servers/{CHESS}/", f"/servers/{GARDEN}/"]),
        ("/account/", [f"/servers/{CHESS}/", f"/servers/{GARDEN}/"]),
        ("https://elsewhere.example/", [f"/servers/{CHESS}/", f"/servers/{GARDEN}/"]),
        ("", [f"/servers/{CHESS}/", f"/servers/{GARDEN}/"]),
    ],
)
def test_the_switcher_keeps_the_page_where_the_person_may_open_it(
    manager: Client, registered: Register, path: str, links: list[str]
) -> None:
    registered(GuildPage("warnings", "Warnings"), GuildPage("moderation:bans", "Bans", permission="kick_members"))

    page = manager.get("/servers/switch/", {"from": path}).content.decode()

    assert sorted(re.findall(r'<li>\s*<a href="(\S+)"', page)) == sorted(links)


def test_the_switcher_searches_without_a_script_and_starts_with_favourites(
    with_list: WithList, client_of: ClientOf
) -> None:
    client = client_of(with_list("ada"))
    shown = client.get("/servers/switch/", {"q": "WINTER climb"}).content.decode()
    found = re.findall(r'<li>\s*<a href="/servers/(\d+)/"', shown)
    assert len(found) == 1
    assert "Winter Climbers" in shown

    client.post("/servers/favourites/", {"star": found[0]})

    page = client.get("/servers/switch/").content.decode()
    assert re.findall(r'<li>\s*<a href="/servers/(\d+)/"', page)[0] == found[0]
    assert client.get("/servers/switch/", headers={"HX-Request": "true"}).content.decode().strip().startswith("<form")
