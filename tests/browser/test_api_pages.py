"""The API's pages in Chromium, under the site's own Content-Security-Policy."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import ROOT, SignIn, Site
from tests.browser.looks import check_that_it_fits, faults_of, inspect

pytestmark = pytest.mark.thorough


def test_the_documentation_shows_every_operation_and_tries_it_with_the_session(
    site: Site, page: Page, person: str, sign_in: SignIn
) -> None:
    faults = faults_of(page)
    asked: list[str] = []
    sign_in(page, person)
    page.on("request", lambda request: asked.append(request.url))

    page.goto(f"{site.url}/api/docs/")
    operations = (ROOT / "docs" / "openapi.yaml").read_text().count("operationId:")
    expect(page.get_by_role("article")).to_have_count(operations)
    servers = page.locator("#listGuilds")
    servers.get_by_label("search").fill("o'brien & co")
    servers.get_by_label("owner").select_option("false")
    expect(servers.locator(".secret")).to_contain_text("/api/v1/guilds/?owner=false&search=o%27brien+%26+co'")
    servers.get_by_label("search").fill("")
    servers.get_by_role("button", name="Send with my session").click()

    expect(servers.get_by_role("status")).to_contain_text("200 OK")
    expect(servers.get_by_role("status")).to_contain_text('"freshness": "fresh"')
    # The same request with the other method, which needs the CSRF token, and one for a server the person isn't in.
    page.locator("#refreshGuilds").get_by_role("button", name="Send with my session").click()
    expect(page.locator("#refreshGuilds").get_by_role("status")).to_contain_text(re.compile("200 OK|429 Too Many"))
    page.locator("#getGuild").get_by_label("guild_id").fill("1")
    page.locator("#getGuild").get_by_role("button", name="Send with my session").click()
    expect(page.locator("#getGuild").get_by_role("status")).to_contain_text("/problems/not-in-guild")
    # What the answers have added. `test_every_state` checks the rest.
    inspect(page, {"include": [["#listGuilds"], ["#refreshGuilds"], ["#getGuild"]]})
    check_that_it_fits(page)
    assert faults == []
    assert [url for url in asked if not url.startswith((site.url, site.sandbox.url, "data:"))] == []


def test_the_documentation_leads_to_a_token(site: Site, page: Page, person: str, sign_in: SignIn) -> None:
    page.goto(f"{site.url}/api/docs/")
    expect(page.get_by_role("button", name="Send with my session")).to_have_count(0)
    page.locator("#getMe").get_by_role("link", name="Sign in to create a token").click()
    expect(page).to_have_url(f"{site.url}/sign-in/?next=/account/tokens/")

    sign_in(page, person)
    page.goto(f"{site.url}/api/docs/")
    page.locator("#getMe").get_by_role("link", name="Create a token").click()

    expect(page.get_by_role("heading", name="Access tokens")).to_be_visible()


def test_a_token_is_made_copied_used_and_revoked(site: Site, page: Page, person: str, sign_in: SignIn) -> None:
    sign_in(page, person)
    page.goto(f"{site.url}/account/")
    page.get_by_role("link", name="Access tokens").click()

    page.get_by_label("Name").fill("backup")
    page.get_by_label("Read my profile").check()
    page.get_by_role("button", name="Create token").click()

    token = page.locator("#new-token").inner_text()
    assert re.fullmatch("gdh_[0-9a-f]{40}", token)
    inspect(page)
    bearer = {"Authorization": f"Bearer {token}"}
    assert page.request.get(f"{site.url}/api/v1/me/", headers=bearer).json()["username"] == person

    page.get_by_role("link", name="Revoke backup").click()
    expect(page.get_by_role("heading", name="Revoke the token “backup”?")).to_be_visible()
    page.get_by_role("button", name="Revoke token").click()

    expect(page.get_by_role("main").get_by_role("status")).to_contain_text("revoked")
    assert page.request.get(f"{site.url}/api/v1/me/", headers=bearer).status == 401
