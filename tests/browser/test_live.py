"""Open pages that follow what the bot reports to the site, without a reload."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from playwright.sync_api import Error, Page, Request, Route, expect

from tests.browser.conftest import SignIn, Site
from tests.browser.looks import faults_of
from tests.browser.test_waiting import look

pytestmark = pytest.mark.thorough

Tell = Callable[..., None]

MANAGE = str(1 << 5)
POLL = re.compile("/servers/freshness/")
CLUB, GUILD, TEAM = 910_001, 910_002, 910_003
LIVE, IN_USE = 1_500, 60_000  # milliseconds, as in guildhall.js


def server(guild_id: int, name: str, permissions: str = "0") -> dict[str, str]:
    return {"id": str(guild_id), "name": name, "permissions": permissions}


@pytest.fixture(scope="module")
def token(site: Site, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("token") / "token"
    site.shell(
        "from pathlib import Path; from accounts import service_tokens;"
        f"Path({str(path)!r}).write_text(service_tokens.create('live', ['bot:events'], by='a test')[1])"
    )
    return path.read_text()


@pytest.fixture
def tell(site: Site, token: str, person: str, tmp_path: Path) -> Tell:
    """Report an event about the person, who must have signed in, to the site's API."""

    def tell(kind: str, guild_id: int, **fields: Any) -> None:
        path = tmp_path / "id"
        site.shell(
            "from pathlib import Path; from accounts.models import User;"
            f"user = User.objects.get(discord_username={person!r});"
            f"Path({str(path)!r}).write_text(str(user.discord_id))"
        )
        event = {"type": kind, "at": datetime.now(UTC).isoformat(), "guild_id": str(guild_id)}
        body = {"events": [event | {"user_id": path.read_text()} | fields]}
        headers = {"Authorization": f"Bearer {token}"}
        response = requests.post(f"{site.url}/api/v1/bot/events/", json=body, headers=headers, timeout=30)
        assert response.status_code in (200, 202, 204), response.text

    return tell


@pytest.fixture
def loads(page: Page, site: Site, person: str, sign_in: SignIn) -> list[str]:
    """Sign in a person with two servers; return the addresses that the page loads from then on."""
    site.sandbox.person(person, guilds=[server(CLUB, "Chess Club"), server(GUILD, "Go Guild", MANAGE)])
    sign_in(page, person)
    found: list[str] = []
    page.on("framenavigated", lambda frame: found.append(frame.url))
    return found


@pytest.fixture(autouse=True)
def faultless(page: Page) -> Iterator[None]:
    faults = faults_of(page)
    yield
    assert faults == []


def test_a_kick_takes_the_server_off_the_picker(
    site: Site, page: Page, person: str, loads: list[str], tell: Tell
) -> None:
    page.get_by_role("searchbox").focus()
    site.sandbox.person(person, guilds=[server(GUILD, "Go Guild", MANAGE)])

    tell("GUILD_MEMBER_REMOVE", CLUB)

    expect(page.get_by_role("link", name="Chess Club")).to_have_count(0)
    expect(page.locator("#total")).to_have_text("1")
    expect(page.get_by_role("searchbox")).to_be_focused()
    assert loads == []


def test_a_join_brings_the_server(site: Site, page: Page, person: str, loads: list[str], tell: Tell) -> None:
    page.get_by_role("searchbox").fill("team")
    expect(page.get_by_role("heading", name="No matching servers")).to_be_visible()
    loads.clear()
    site.sandbox.person(person, guilds=[server(CLUB, "Chess Club"), server(TEAM, "Tea Team")])

    tell("GUILD_MEMBER_ADD", TEAM, member={"roles": [], "nick": None, "pending": False})

    expect(page.get_by_role("link", name="Tea Team")).to_be_visible()
    expect(page.get_by_role("searchbox")).to_have_value("team")
    assert loads == []


def test_a_role_shows_on_the_servers_page_and_what_is_open_stays_open(
    site: Site, page: Page, person: str, loads: list[str], tell: Tell
) -> None:
    page.goto(f"{site.url}/servers/{CLUB}/")
    expect(page.get_by_text("Member", exact=True)).to_be_visible()
    page.get_by_text("Details").click()
    page.get_by_role("link", name="Your servers").focus()
    loads.clear()
    site.sandbox.person(person, guilds=[server(CLUB, "Chess Club", MANAGE), server(GUILD, "Go Guild")])

    tell("GUILD_MEMBER_UPDATE", CLUB, member={"roles": ["501"], "nick": None, "pending": False})

    expect(page.get_by_text("Manager", exact=True)).to_be_visible()
    expect(page.get_by_text("Manage server")).to_be_visible()
    expect(page.get_by_role("navigation", name="Breadcrumb").get_by_role("link")).to_be_focused()
    assert loads == []


def test_a_kick_shows_what_a_reload_of_the_servers_page_shows(
    site: Site, page: Page, person: str, loads: list[str], tell: Tell
) -> None:
    page.goto(f"{site.url}/servers/{CLUB}/")
    expect(page.get_by_role("heading", name="Chess Club")).to_be_visible()
    site.sandbox.person(person, guilds=[server(GUILD, "Go Guild", MANAGE)])

    tell("GUILD_MEMBER_REMOVE", CLUB)

    expect(page.get_by_role("heading", name="Not one of your servers")).to_be_visible()


# How often, and how long


@pytest.fixture
def asked(page: Page) -> list[Request]:
    found: list[Request] = []
    page.on("request", lambda request: found.append(request) if POLL.search(request.url) else None)
    return found


@pytest.fixture(params=["/servers/", f"/servers/{CLUB}/"], ids=["picker", "server"])
def stopped(request: pytest.FixtureRequest, site: Site, page: Page, loads: list[str]) -> Page:
    """A page whose clock only the test moves."""
    page.clock.install()
    page.goto(f"{site.url}{request.param}")
    page.clock.pause_at(datetime.now() + timedelta(minutes=10))
    return page


def polls_after(page: Page, milliseconds: int) -> int:
    """The status of the poll that the page sends within this time.

    It sends none while it still handles the response before, so on a busy machine the time passes once more.
    """
    for _ in range(4):
        try:
            with page.expect_response(POLL, timeout=5_000) as response:
                page.clock.run_for(milliseconds)
        except Error:
            continue
        return response.value.status
    raise AssertionError("The page doesn't poll.")


@pytest.mark.usefixtures("loads")
def test_a_page_asks_for_a_minute_after_it_was_used(stopped: Page, asked: list[Request]) -> None:
    stopped.keyboard.press("Shift")
    assert [polls_after(stopped, LIVE) for _ in range(3)] == [304] * 3
    asked.clear()

    stopped.clock.fast_forward(IN_USE)
    stopped.clock.run_for(10 * LIVE)
    assert asked == []
    stopped.keyboard.press("Shift")

    assert polls_after(stopped, LIVE) == 304
    assert len(asked) == 1


def test_a_hidden_page_does_not_ask(stopped: Page, asked: list[Request]) -> None:
    stopped.keyboard.press("Shift")
    look(stopped, away=True)
    stopped.clock.run_for(10 * LIVE)
    assert asked == []

    # It asks at once after a while away, and goes on from there.
    with stopped.expect_response(POLL):
        look(stopped, away=False)
    assert polls_after(stopped, LIVE) == 304


def test_a_page_asks_no_sooner_than_an_overloaded_site_wants(stopped: Page, asked: list[Request]) -> None:
    def overloaded(route: Route) -> None:
        route.fulfill(status=503, headers={"Retry-After": "30"})

    stopped.keyboard.press("Shift")
    stopped.route(POLL, overloaded)
    assert polls_after(stopped, LIVE) == 503
    stopped.unroute(POLL)
    asked.clear()

    stopped.clock.run_for(30_000 - 2 * LIVE)
    assert asked == []

    assert polls_after(stopped, 3 * LIVE) == 304


def test_a_page_whose_person_signed_out_elsewhere_asks_for_the_sign_in(
    site: Site, stopped: Page, asked: list[Request]
) -> None:
    stopped.keyboard.press("Shift")
    stopped.context.clear_cookies()

    stopped.clock.run_for(LIVE)
    stopped.wait_for_url(re.compile("/sign-in/"))
    asked.clear()
    stopped.clock.run_for(10 * LIVE)

    expect(stopped.get_by_role("main").get_by_role("button", name="Sign in with Discord")).to_be_visible()
    assert asked == []
