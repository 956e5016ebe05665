"""The README's "rate limit in five minutes", to the letter; but its minute is a shift of the rows."""

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
    page.goto(f"{site.sandbox.url}/_sandbox/")
    page.get_by_role("radio", name=re.compile("^rate_limited")).check()
    page.get_by_role("button", name="Set the mood").click()
    page.goto(f"{site.url}/servers/")

    expect(page.get_by_text("Discord is limiting")).to_be_visible()
    expect(page.get_by_text("Next try in")).to_be_visible()
    expect(servers).to_have_count(12)
    log = site.log.read_text()
    assert "serving_stale_guild_list" in log
    assert "reason=rate_limited" in log

    page.get_by_role("searchbox").fill(first)
    expect(page.get_by_text("1 of 12 servers")).to_be_visible()
    expect(servers).to_have_count(1)

    servers.first.get_by_role("link").first.click()
    expect(page.get_by_role("heading", name=first)).to_be_visible()

    answer = page.request.get(f"{site.url}/api/v1/guilds/")
    body = answer.json()
    assert (body["freshness"], body["reason"], len(body["guilds"])) == ("stale", "rate_limited", 12)
    assert int(answer.headers["age"]) >= 61
    assert "ttl=-" in answer.headers["cache-status"]

    # No line of all that holds a token or a code.
    assert not re.search(r"code=[A-Za-z0-9]{10}|Bearer [A-Za-z0-9]", log)
