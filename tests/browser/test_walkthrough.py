"""The README's "rate limit in five minutes": its waits are a shift of the rows, and the restart is left out."""

import re

from playwright.sync_api import Page, expect

from tests.browser.conftest import Site, start_sign_in


def test_a_newcomer_sees_the_servers_through_a_rate_limit(site: Site, page: Page, person: str) -> None:
    start_sign_in(site, page, person)
    servers = page.locator(".servers li")
    expect(servers).to_have_count(12)
    expect(page.get_by_text("Checked with Discord")).to_be_visible()
    first = servers.first.locator("bdi").inner_text()

    site.let_pass(61)
    simulate(site, page, "Limit the server list for a minute")
    page.goto(f"{site.url}/servers/")

    expect(page.get_by_text("Discord is rate-limiting")).to_be_visible()
    expect(page.get_by_text("Checking again in")).to_be_visible()
    expect(servers).to_have_count(12)
    log = site.log.read_text()
    assert "serving_stale_guild_list" in log
    assert "reason=rate_limited" in log

    page.get_by_role("searchbox").fill(first)
    expect(page.get_by_text("1 of 12 servers")).to_be_visible()
    found = page.locator(".servers li:visible")
    expect(found).to_have_count(1)

    found.get_by_role("link").first.click()
    expect(page.get_by_role("heading", name=first)).to_be_visible()

    response = page.request.get(f"{site.url}/api/v1/guilds/")
    body = response.json()
    assert (body["freshness"], body["reason"], len(body["guilds"])) == ("stale", "rate_limited", 12)
    assert int(response.headers["age"]) >= 61
    assert "ttl=-" in response.headers["cache-status"]

    simulate(site, page, "Back to healthy")
    site.let_pass(3600)
    page.goto(f"{site.url}/servers/")

    expect(page.get_by_text("Checked with Discord")).to_be_visible()
    expect(page.get_by_text("Discord is rate-limiting")).to_be_hidden()
    expect(servers).to_have_count(12)

    # No line of all that holds a token or a code.
    assert not re.search(r"code=[A-Za-z0-9]{10}|Bearer [A-Za-z0-9]", site.log.read_text())


def simulate(site: Site, page: Page, preset: str) -> None:
    page.goto(f"{site.sandbox.url}/_sandbox/")
    page.get_by_role("button", name=preset).click()


def test_a_cookie_of_another_application_changes_nothing(site: Site, page: Page, person: str) -> None:
    page.goto(site.url)
    page.evaluate("document.cookie = 'city=München; path=/'")

    start_sign_in(site, page, person)

    expect(page.locator(".servers li")).to_have_count(12)
    page.reload()
    expect(page.locator(".servers li")).to_have_count(12)
