"""The frame of pages about a server: the switcher, the way back and the menu."""

import re

from playwright.sync_api import Page, expect

from tests.browser.conftest import SignIn, Site
from tests.browser.looks import check_that_it_fits, faults_of, inspect

FIRST = ".servers li > a:first-child"


def open_first(page: Page) -> tuple[str, str]:
    """Open the first server of the picker; return its name and that of the last one."""
    names = page.locator(".servers bdi").all_inner_texts()
    page.locator(FIRST).first.click()
    expect(page.get_by_role("heading", name=names[0])).to_be_visible()
    return names[0], names[-1]


def test_the_switcher_leads_to_another_server_by_keyboard(site: Site, page: Page, person: str, sign_in: SignIn) -> None:
    faults = faults_of(page)
    sign_in(page, person)
    here, there = open_first(page)

    page.keyboard.press("/")
    dialog = page.get_by_role("dialog", name="Switch server")
    expect(dialog.get_by_role("link", name=here)).to_have_attribute("aria-current", "page")
    expect(dialog.get_by_role("heading", name="Recently used")).to_be_visible()
    expect(dialog.get_by_role("searchbox")).to_be_focused()
    page.keyboard.type("no such server")
    expect(dialog.get_by_text("No matching servers")).to_be_visible()
    dialog.get_by_role("searchbox").fill(there)
    expect(dialog.get_by_role("listitem")).to_have_count(1)
    page.keyboard.press("ArrowDown")
    expect(dialog.get_by_role("link", name=there)).to_be_focused()
    page.keyboard.press("ArrowUp")
    expect(dialog.get_by_role("searchbox")).to_be_focused()
    page.keyboard.press("Enter")

    expect(page.get_by_role("heading", name=there)).to_be_visible()
    assert faults == []


def test_the_switcher_closes_and_is_accessible_and_fits(site: Site, page: Page, person: str, sign_in: SignIn) -> None:
    sign_in(page, person)
    open_first(page)
    opener = page.locator("[data-switch]")

    opener.click()
    dialog = page.get_by_role("dialog", name="Switch server")
    expect(dialog).to_be_visible()
    inspect(page)
    check_that_it_fits(page)
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(opener).to_be_focused()
    opener.click()
    expect(dialog).to_be_visible()
    page.mouse.click(2, 300)
    expect(dialog).to_be_hidden()


def test_the_switcher_is_a_page_without_javascript(
    site: Site, without_javascript: Page, person: str, sign_in: SignIn
) -> None:
    page = without_javascript
    sign_in(page, person)
    _here, there = open_first(page)

    page.get_by_role("link", name="Switch server").click()
    page.get_by_role("searchbox").fill(there)
    page.get_by_role("button", name="Search").click()
    page.get_by_role("main").get_by_role("link", name=there).click()

    expect(page.get_by_role("heading", name=there)).to_be_visible()


def test_a_person_who_was_signed_out_signs_in_from_the_switcher(
    site: Site, page: Page, person: str, sign_in: SignIn
) -> None:
    sign_in(page, person)
    open_first(page)
    # The page would ask for the sign-in by itself.
    page.route("**/servers/freshness/**", lambda route: route.abort())
    page.context.clear_cookies()

    page.locator("[data-switch]").click()

    expect(page).to_have_url(re.compile(r"/sign-in/\?next=/servers/switch/"))


def test_the_way_back_restores_the_search(site: Site, page: Page, person: str, sign_in: SignIn) -> None:
    sign_in(page, person)
    names = page.locator(".servers bdi").all_inner_texts()
    page.get_by_role("searchbox").fill(names[0])
    page.locator(f"{FIRST}:visible").first.click()
    expect(page.get_by_role("heading", name=names[0])).to_be_visible()
    page.locator("[data-switch]").click()
    page.get_by_role("dialog").get_by_role("link", name=names[1]).click()
    expect(page.get_by_role("heading", name=names[1])).to_be_visible()

    page.get_by_role("navigation", name="Breadcrumb").get_by_role("link", name="Your servers").click()

    expect(page.get_by_role("searchbox")).to_have_value(names[0])
