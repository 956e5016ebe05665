"""What a newcomer does first, with a Discord that takes 1.5 seconds for each response."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, Route, ViewportSize, expect

from tests.browser.conftest import Site, start_sign_in
from tests.browser.looks import faults_of

pytestmark = pytest.mark.thorough

LATENCY_MS = 1500
# Until the first wait that the test looks at: three responses in a row make up the sign-in.
LATENCY_OF_SIGN_IN_MS = 300
# Two of the 200 servers: both have the bot, and a page that asks Discord for the visitor's roles.
NEAR, FAR, STAFF = 71, 72, 701

# Lists, in the tab's storage, which pages have shown the progress line, and which buttons were busy then.
RECORD_WAITS = """
addEventListener("animationstart", ({ target, animationName }) => {
  if (target !== document.documentElement || animationName !== "appear") return;
  const busy = [...document.querySelectorAll("[data-once] [aria-disabled]")].map((button) => button.type);
  sessionStorage.waits = JSON.stringify([...JSON.parse(sessionStorage.waits ?? "[]"), [location.pathname, busy]]);
});
"""


def waits(page: Page) -> list[list[object]]:
    """Return the waits recorded since the last call."""
    found: list[list[object]] = page.evaluate(
        "() => { const waits = JSON.parse(sessionStorage.waits ?? '[]'); delete sessionStorage.waits; return waits; }"
    )
    return found


@pytest.fixture
def newcomer(site_with_examples: Site, size: ViewportSize) -> Iterator[str]:
    site, name = site_with_examples, f"newcomer{size['width']}"
    known = [{"id": str(NEAR), "name": "Near"}, {"id": str(FAR), "name": "Far"}]
    site.sandbox.person(name, guilds=[*known, *({"name": f"Server {number:03}"} for number in range(198))])
    for guild_id in (NEAR, FAR):
        site.sandbox.bot(guild_id, 0)
        site.sandbox.roles(guild_id, {"id": str(STAFF), "name": "Staff"})
        site.sandbox.member(name, guild_id, roles=["Staff"])
    site.shell(
        "from guilds.resources.bot_guilds import verify_one; from examples.models import WelcomeMessage as W\n"
        f"for pk in ({NEAR}, {FAR}):\n"
        "    assert verify_one(pk)\n"
        f"    W.objects.update_or_create(pk=pk, defaults={{'role_id': {STAFF}}})"
    )
    site.sandbox.mood(latency_ms=LATENCY_OF_SIGN_IN_MS)
    yield name
    site.sandbox.mood("healthy")


def test_a_newcomer_sees_each_time_that_something_happens(
    site_with_examples: Site, browser: Browser, newcomer: str, size: ViewportSize
) -> None:
    site, context = site_with_examples, browser.new_context(viewport=size)
    context.add_init_script(RECORD_WAITS)
    page = context.new_page()
    faults = faults_of(page)

    start_sign_in(site, page, newcomer)
    expect(page.locator("#total")).to_have_text("200")
    site.sandbox.mood(latency_ms=LATENCY_MS)
    site.let_pass(21)
    page.reload()
    waits(page)

    page.evaluate("document.querySelector('main').id = 'old'")
    page.get_by_role("button", name="Refresh now").click()
    expect(page.locator("#old")).to_have_count(0)
    assert ["/servers/", ["submit"]] in waits(page)

    page.get_by_role("searchbox").fill("near")
    expect(page.get_by_text("1 of 200 servers")).to_be_visible()
    star = page.get_by_role("button", name="Star Near")
    held: list[Route] = []
    page.route("**/favourites/", lambda route: held.append(route))
    with page.expect_request("**/favourites/"):
        star.click()
    expect(star).to_have_attribute("aria-pressed", "true")
    expect(page.locator("html.busy")).to_have_count(1)
    held[0].continue_()
    expect(page.locator("html.busy")).to_have_count(0)

    page.locator(".servers li:visible a").first.click()
    expect(page.get_by_role("heading", name="Near")).to_be_visible()
    waits(page)
    page.get_by_role("link", name="Lounge").click()
    expect(page.get_by_role("heading", name="Lounge")).to_be_visible()
    assert [f"/servers/{NEAR}/", []] in waits(page)

    page.locator("[data-switch]").click()
    switcher = page.get_by_role("dialog", name="Switch server")
    switcher.get_by_role("searchbox").fill("far")
    waits(page)
    switcher.get_by_role("link", name="Far").click()
    expect(page).to_have_url(f"{site.url}/examples/{FAR}/lounge/")
    expect(page.get_by_role("heading", name="Lounge")).to_be_visible()
    assert [f"/examples/{NEAR}/lounge/", []] in waits(page)

    page.get_by_role("navigation", name="Breadcrumb").get_by_role("link", name="Your servers").click()
    expect(page.get_by_role("searchbox")).to_have_value("near")
    expect(page.get_by_role("button", name="Star Near", pressed=True)).to_be_visible()
    assert faults == []
    context.close()
