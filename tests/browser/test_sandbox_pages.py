"""The sandbox's own pages: readable on every screen, and live where they show what happens."""

from collections.abc import Iterator
from urllib.parse import urlencode

import pytest
import requests
from playwright.sync_api import Page, expect

from sandbox.remote import LIST, Remote, running
from tests.browser.looks import check_that_it_fits, faults_of, inspect

pytestmark = pytest.mark.thorough

CALLBACK = "http://localhost:8000/complete/discord/"


@pytest.fixture(scope="module")
def remote() -> Iterator[Remote]:
    """A sandbox of this module, because its tests look at all requests and people."""
    with running() as remote:
        yield remote


@pytest.fixture
def sandbox(remote: Remote) -> Remote:
    remote.reset()
    return remote


def authorize(sandbox: Remote, **params: str) -> str:
    asked = {"client_id": "guildhall", "response_type": "code", "redirect_uri": CALLBACK} | params
    return f"{sandbox.url}/oauth2/authorize?{urlencode(asked)}"


@pytest.mark.parametrize("name", ["sign-in", "bot", "bad request", "control", "server"])
def test_every_page_is_readable_on_every_screen(sandbox: Remote, page: Page, name: str) -> None:
    faults = faults_of(page)
    guild = sandbox.call("GET", "people/ada")["guilds"][0]["id"]
    page.goto(
        {
            "sign-in": authorize(sandbox, scope="identify guilds guilds.members.read"),
            "bot": authorize(sandbox, scope="bot applications.commands"),
            "bad request": authorize(sandbox, scope="identify", client_id="another"),
            "control": f"{sandbox.url}/_sandbox/",
            "server": f"{sandbox.url}/_sandbox/guilds/{guild}",
        }[name]
    )

    inspect(page)
    check_that_it_fits(page)

    assert faults == []


def test_the_page_for_the_bot_shows_the_servers_of_the_chosen_person(sandbox: Remote, page: Page) -> None:
    page.goto(authorize(sandbox, scope="bot"))
    servers = page.get_by_role("combobox", name="Add to the server")
    assert servers.all_inner_texts() != []
    first = servers.inner_text()

    page.get_by_role("radio", name="grace").check()

    assert servers.inner_text() != first


def send_request(sandbox: Remote, person: str) -> None:
    headers = {"Authorization": f"Bearer {sandbox.token(person)['access_token']}"}
    requests.get(f"{sandbox.url}/api/v10{LIST}", headers=headers, timeout=30)


def test_requests_and_the_mood_appear_without_a_reload(sandbox: Remote, page: Page) -> None:
    faults = faults_of(page)
    page.clock.install()
    page.goto(f"{sandbox.url}/_sandbox/")
    log, mood = page.get_by_role("region", name="Latest requests"), page.get_by_role("status")
    expect(log.get_by_text("None yet.")).to_be_visible()
    page.get_by_text("Counts", exact=True).click()

    sandbox.mood("rate_limited", people=["linus"])
    send_request(sandbox, "linus")

    expect(log.get_by_role("listitem")).to_contain_text(["linus"])
    expect(log.get_by_text("429")).to_be_visible()
    expect(mood).to_contain_text("Only for linus.")
    expect(page).to_have_title("Sandbox: rate_limited")
    # What the visitor has opened stays open.
    expect(page.get_by_role("region", name="Counts")).to_be_visible()

    page.get_by_label("Live").uncheck()
    seen: list[str] = []
    page.on("request", lambda request: seen.append(request.url))
    send_request(sandbox, "grace")
    page.clock.run_for(5000)
    assert seen == []
    page.get_by_label("Live").check()
    expect(log.get_by_role("listitem")).to_have_count(2)
    assert faults == []


def test_without_javascript_a_link_reloads_the_requests(sandbox: Remote, without_javascript: Page) -> None:
    page = without_javascript
    page.goto(f"{sandbox.url}/_sandbox/")
    log = page.get_by_role("region", name="Latest requests")
    expect(page.get_by_label("Live")).to_be_hidden()
    send_request(sandbox, "grace")

    page.get_by_role("link", name="Reload").click()

    expect(log.get_by_role("listitem")).to_contain_text(["grace"])
