"""The pages with mouse and keyboard, with and without JavaScript, on a phone and a desktop."""

import re

from playwright.sync_api import Page, expect

from tests.browser.conftest import SignIn, Site, consent, start_sign_in
from tests.browser.looks import faults_of, inspect


def test_a_visitor_comes_back_to_the_page_they_wanted(site: Site, page: Page, person: str) -> None:
    page.goto(f"{site.url}/account/")

    page.get_by_role("main").get_by_role("button", name="Sign in with Discord").click()
    consent(page, person)

    expect(page).to_have_url(f"{site.url}/account/")


def test_signing_out_ends_the_session(site: Site, page: Page, person: str, sign_in: SignIn) -> None:
    sign_in(page, person)

    page.locator("[data-menu] summary").click()
    page.get_by_role("button", name="Sign out").first.click()
    expect(page.get_by_text("You've been signed out.")).to_be_visible()
    page.goto(f"{site.url}/servers/")

    expect(page).to_have_url(re.compile(r"/sign-in/\?next="))


def test_the_list_survives_a_discord_that_is_down(site: Site, page: Page, person: str, sign_in: SignIn) -> None:
    sign_in(page, person)
    site.let_pass(61)
    site.sandbox.mood("outage", people=[person])

    page.reload()

    expect(page.get_by_text("Discord isn't responding")).to_be_visible()
    expect(page.locator(".servers li")).to_have_count(12)


def test_the_list_comes_up_to_date_by_itself(site: Site, page: Page, person: str, sign_in: SignIn) -> None:
    sign_in(page, person)
    site.let_pass(61)
    site.sandbox.mood("healthy", people=[person], latency_ms=1500)
    page.reload()
    expect(page.get_by_text("Checking with Discord now")).to_be_visible()

    site.sandbox.mood("healthy")

    expect(page.get_by_text("Checked with Discord")).to_be_visible()


def test_who_has_no_list_waits_on_a_page_that_continues_by_itself(site: Site, page: Page, person: str) -> None:
    site.sandbox.mood("rate_limited", people=[person], routes=["/users/@me/guilds"], retry_after=60)
    start_sign_in(site, page, person)
    expect(page.get_by_role("heading", name="Discord is rate-limiting us")).to_be_visible()

    site.sandbox.mood("healthy")
    site.let_pass(59)
    page.reload()

    expect(page.get_by_role("heading", name="Your servers")).to_be_visible()


def test_the_keyboard_finds_a_server(site: Site, page: Page, person: str, sign_in: SignIn) -> None:
    sign_in(page, person)
    name = page.locator(".servers bdi").last.inner_text()

    page.keyboard.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.type(name)
    expect(page.locator(".servers li:visible")).to_have_count(1)
    page.locator(".servers li:visible > a:first-child").focus()
    page.keyboard.press("Enter")

    expect(page.get_by_role("heading", name=name)).to_be_visible()


def test_search_keeps_its_place_in_the_address(site: Site, page: Page, person: str, sign_in: SignIn) -> None:
    sign_in(page, person)

    page.get_by_role("searchbox").fill("no such server")
    expect(page.get_by_role("heading", name="No matching servers")).to_be_visible()
    page.reload()

    expect(page.get_by_role("searchbox")).to_have_value("no such server")
    page.get_by_role("link", name="Show all servers").click()
    expect(page.locator(".servers li")).to_have_count(12)


def test_refresh_now_cools_down(site: Site, page: Page, person: str, sign_in: SignIn) -> None:
    sign_in(page, person)
    expect(page.locator("[data-cooling]")).to_be_visible()

    site.let_pass(20)
    page.reload()
    page.get_by_role("button", name="Refresh now").click()

    expect(page.get_by_text("Checked with Discord just now.")).to_be_visible()
    expect(page.locator("[data-cooling]")).to_be_visible()


def test_everything_works_without_javascript(
    site: Site, without_javascript: Page, person: str, sign_in: SignIn
) -> None:
    page = without_javascript
    sign_in(page, person)
    name = page.locator(".servers bdi").first.inner_text()

    page.get_by_role("searchbox").fill(name)
    page.get_by_role("button", name="Search").click()
    expect(page.locator(".servers li:visible")).to_have_count(1)
    page.locator(".servers li > a:first-child").click()
    expect(page.get_by_role("heading", name=name)).to_be_visible()
    page.goto(f"{site.url}/servers/")
    page.get_by_role("button", name="Refresh now").click()

    expect(page.get_by_text("Checked a moment ago")).to_be_visible()


def test_a_servers_page_says_where_pages_go_and_folds_its_details(
    site: Site, without_javascript: Page, person: str, sign_in: SignIn
) -> None:
    page = without_javascript
    sign_in(page, person)

    page.locator(".servers li > a:first-child").first.click()

    expect(page.get_by_role("heading", name="Your pages go here")).to_be_visible()
    expect(page.get_by_text("Checked with Discord")).to_have_count(1)
    expect(page.get_by_role("heading", name="Your permissions")).to_be_hidden()
    page.locator("summary", has_text="Details").click()
    expect(page.get_by_role("heading", name="Your permissions")).to_be_visible()


def test_what_was_typed_survives_a_sign_in_in_between(site: Site, page: Page, person: str, sign_in: SignIn) -> None:
    sign_in(page, person)
    page.goto(f"{site.url}/account/tokens/")
    page.get_by_label("Name").fill("backup")
    page.get_by_label("Read my profile").check()
    page.get_by_label("Read my servers").uncheck()
    page.get_by_label("Expires after").select_option("90 days")
    site.shell("from accounts.models import Session; Session.objects.all().delete()")

    page.get_by_role("button", name="Create token").click()
    expect(page.get_by_text("You were signed out, so nothing was saved.")).to_be_visible()
    page.get_by_role("main").get_by_role("button", name="Sign in with Discord").click()
    consent(page, person)

    expect(page.get_by_text("Your input has been restored.")).to_be_visible()
    expect(page.get_by_label("Name")).to_have_value("backup")
    expect(page.get_by_label("Read my profile")).to_be_checked()
    expect(page.get_by_label("Read my servers")).not_to_be_checked()
    expect(page.get_by_label("Expires after")).to_have_value("90")
    page.get_by_role("button", name="Create token").click()
    expect(page.get_by_role("heading", name="Your new token")).to_be_visible()
    expect(page.get_by_label("Name")).to_have_value("")


def test_what_somebody_else_typed_is_not_restored(site: Site, page: Page, person: str, sign_in: SignIn) -> None:
    sign_in(page, person)
    page.goto(f"{site.url}/account/tokens/")
    page.get_by_label("Name").fill("backup")
    page.context.clear_cookies(name=re.compile("session$"))
    page.get_by_role("button", name="Create token").click()
    expect(page.get_by_text("You were signed out")).to_be_visible()
    site.sandbox.person(f"{person}b", count=1)
    page.get_by_role("main").get_by_role("button", name="Sign in with Discord").click()
    consent(page, f"{person}b")

    expect(page.get_by_role("heading", name="Access tokens")).to_be_visible()
    expect(page.get_by_label("Name")).to_have_value("")


def test_a_new_token_and_its_command_are_copied(site: Site, page: Page, person: str, sign_in: SignIn) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    sign_in(page, person)
    page.goto(f"{site.url}/account/tokens/")
    page.get_by_label("Name").fill("backup")
    page.get_by_role("button", name="Create token").click()

    page.get_by_role("button", name="Copy token").click()

    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    token = page.locator("#new-token").inner_text()
    assert page.evaluate("navigator.clipboard.readText()") == token
    page.get_by_role("button", name="Copy command").click()
    expect(page.get_by_role("button", name="Copied")).to_have_count(2)
    assert f"Bearer {token}" in page.evaluate("navigator.clipboard.readText()")


def test_a_page_on_paper_has_no_controls(site: Site, page: Page, person: str, sign_in: SignIn) -> None:
    sign_in(page, person)

    page.emulate_media(media="print")

    expect(page.locator(".servers bdi").first).to_be_visible()
    for control in ("header nav", "#search", "footer form", "#refresh button"):
        expect(page.locator(control).first).to_be_hidden()


def test_a_person_can_delete_everything(site: Site, page: Page, person: str, sign_in: SignIn) -> None:
    sign_in(page, person)

    page.goto(f"{site.url}/servers/delete-my-data/")
    page.get_by_role("main").get_by_role("button", name=re.compile("Delete")).click()
    expect(page.get_by_text("has been deleted")).to_be_visible()
    page.goto(f"{site.url}/servers/")

    expect(page).to_have_url(re.compile("/sign-in/"))


def test_saying_no_at_discord_ends_on_a_page_that_says_what_to_do(site: Site, page: Page) -> None:
    page.goto(f"{site.url}/sign-in/")
    page.get_by_role("main").get_by_role("button", name="Sign in with Discord").click()

    page.get_by_role("button", name="Cancel").click()

    expect(page.get_by_role("heading", name="You cancelled the sign-in")).to_be_visible()
    expect(page.get_by_role("main").get_by_role("button", name=re.compile("Discord|again"))).to_be_visible()


def test_keeping_the_servers_back_ends_on_a_page_that_says_what_to_do(site: Site, page: Page, person: str) -> None:
    page.goto(f"{site.url}/sign-in/")
    page.get_by_role("main").get_by_role("button", name="Sign in with Discord").click()
    page.get_by_role("checkbox", name=re.compile("share my servers")).check()
    consent(page, person)
    expect(page.get_by_role("heading", name="You didn't share your servers")).to_be_visible()

    page.get_by_role("button", name="Reconnect with Discord").click()
    consent(page, person)

    expect(page.get_by_role("heading", name="Your servers")).to_be_visible()


def test_pages_with_their_pictures_and_an_open_menu_are_accessible_and_fit(
    site: Site, page: Page, person: str, sign_in: SignIn
) -> None:
    faults = faults_of(page)

    sign_in(page, person)
    page.locator("summary", has_text=person).click()
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()
    inspect(page)
    page.get_by_role("button", name="Sign out").focus()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Sign out")).to_be_hidden()
    page.locator(".servers li > a:first-child").first.click()
    page.locator("summary", has_text="Details").click()
    expect(page.get_by_role("heading", name="Your permissions")).to_be_visible()
    inspect(page)

    assert faults == []
