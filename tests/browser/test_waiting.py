"""Pages that update while they are open, and pages that say why there is no list."""

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import SignIn, Site, check_that_it_is_signed_out, start_sign_in


def test_a_new_list_arrives_in_place_and_leaves_the_search_alone(
    site: Site, page: Page, person: str, sign_in: SignIn
) -> None:
    sign_in(page, person)
    name = page.locator(".servers bdi").first.inner_text()
    site.let_pass(61)
    site.sandbox.mood("rate_limited", people=[person], retry_after=60)
    page.clock.install()
    page.reload()
    expect(page.get_by_text("Checking again in")).to_be_visible()
    page.get_by_role("searchbox").fill(name)
    expect(page.locator(".servers li:visible")).to_have_count(1)
    loads: list[str] = []
    page.on("framenavigated", lambda frame: loads.append(frame.url))

    site.sandbox.mood("healthy")
    site.sandbox.person(person, count=13)
    site.let_pass(62)
    page.clock.fast_forward(62_000)

    expect(page.locator("#total")).to_have_text("13")
    expect(page.get_by_text("1 new")).to_be_visible()
    expect(page.get_by_text("Checking again in")).to_be_hidden()
    expect(page.locator(".servers li:visible")).to_have_count(1)
    expect(page.get_by_role("searchbox")).to_have_value(name)
    expect(page.get_by_role("searchbox")).to_be_focused()
    assert loads == []


def test_a_page_that_follows_asks_no_more_often_than_it_must(
    site: Site, page: Page, person: str, sign_in: SignIn
) -> None:
    sign_in(page, person)
    site.let_pass(61)
    site.sandbox.mood("rate_limited", people=[person], retry_after=600)
    page.clock.install()
    page.reload()
    expect(page.get_by_text("Checking again in")).to_be_visible()
    page.wait_for_load_state("load")
    out_of_use(page)
    polls: list[int] = []
    page.on("response", lambda response: polls.append(response.status) if "/freshness/" in response.url else None)

    page.clock.run_for(440_000)
    assert polls == []
    with page.expect_response(re.compile("/freshness/")):
        page.clock.run_for(105_000)
    expect(page.get_by_text("Checking again in")).to_be_visible()

    assert set(polls) == {304}


def test_who_comes_back_to_a_page_finds_it_up_to_date(site: Site, page: Page, person: str, sign_in: SignIn) -> None:
    site.sandbox.person(person, guilds=[{"name": "Owned", "owner": True}])
    sign_in(page, person)
    expect(page.get_by_role("heading", name="Servers you can add the bot to")).to_be_visible()
    page.clock.install()
    look(page, away=True)
    site.shell(
        "from guilds.models import UserGuildMembership as M; from tests.guilds.rows import bot_joins;"
        f"rows = M.objects.filter(user__discord_username='{person}');"
        "bot_joins(*rows.values_list('guild_id', flat=True))"
    )
    polls: list[int] = []
    page.on("response", lambda response: polls.append(response.status) if "/freshness/" in response.url else None)

    page.clock.fast_forward(10_000)
    look(page, away=False)

    expect(page.get_by_role("heading", name="Servers you manage", exact=True)).to_be_visible()
    expect(page.get_by_role("heading", name="Servers you can add the bot to")).to_be_hidden()
    assert polls[0] == 204


def out_of_use(page: Page) -> None:
    """Let the minute pass in which the page asks for what the bot has reported."""
    with page.expect_response(re.compile("/freshness/")):
        page.clock.run_for(1_500)
    page.clock.fast_forward(60_000)


def look(page: Page, *, away: bool) -> None:
    """Switch to another tab, or back."""
    page.evaluate(
        "away => { Object.defineProperty(document, 'hidden', {get: () => away, configurable: true});"
        "document.dispatchEvent(new Event('visibilitychange')); }",
        away,
    )


def test_the_cool_down_ends_on_the_page(site: Site, page: Page, person: str, sign_in: SignIn) -> None:
    page.clock.install()
    sign_in(page, person)
    button = page.locator("#refresh button")
    expect(button).to_be_disabled()
    expect(button).to_have_text(re.compile(r"Refresh again in\s+\d+ s"))

    page.clock.fast_forward(21_000)

    expect(button).to_be_enabled()
    expect(button).to_have_text(re.compile(r"^\s*Refresh now\s*$"))


@pytest.mark.parametrize(
    ("mood", "outcome"),
    [("healthy", "Checked with Discord less than a minute ago"), ("outage", "couldn't check again")],
)
def test_refresh_now_says_that_discord_is_still_answering_and_how_it_ended(
    site: Site, page: Page, person: str, sign_in: SignIn, mood: str, outcome: str
) -> None:
    sign_in(page, person)
    site.let_pass(21)
    page.reload()
    site.sandbox.mood(mood, people=[person], latency_ms=1500)

    page.get_by_role("button", name="Refresh now").click()
    expect(page.get_by_text("Discord is still answering.")).to_be_visible()

    expect(page.get_by_text(outcome)).to_be_visible()
    expect(page.get_by_text("Discord is still answering.")).to_be_hidden()


def test_who_has_no_list_waits_without_javascript_too(site: Site, browser: Browser, person: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    site.sandbox.mood("rate_limited", people=[person], routes=["/users/@me/guilds"], retry_after=60)
    start_sign_in(site, page, person)
    expect(page.get_by_role("heading", name="Discord is rate-limiting us")).to_be_visible()

    site.sandbox.mood("healthy")
    site.let_pass(59)
    page.reload()

    expect(page.get_by_role("heading", name="Your servers")).to_be_visible()
    context.close()


def test_without_javascript_a_stale_list_names_the_time_of_the_next_try(
    site: Site, browser: Browser, person: str, sign_in: SignIn
) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    sign_in(page, person)
    site.let_pass(61)
    site.sandbox.mood("rate_limited", people=[person], retry_after=60)

    page.reload()

    expect(page.get_by_text(re.compile(r"Next check at \d\d:\d\d:\d\d UTC"))).to_be_visible()
    context.close()


def test_times_are_told_in_the_readers_zone(site: Site, browser: Browser, person: str, sign_in: SignIn) -> None:
    context = browser.new_context(timezone_id="Asia/Tokyo", locale="en-GB")
    page = context.new_page()
    sign_in(page, person)

    page.goto(f"{site.url}/account/")
    moment = page.locator("time[data-clock=long]")
    here = moment.evaluate(
        "time => new Intl.DateTimeFormat('en-GB', {dateStyle: 'medium', timeStyle: 'short', timeZone: 'Asia/Tokyo'})"
        ".format(new Date(time.dateTime))"
    )

    expect(moment).to_have_text(here)
    context.close()


@pytest.mark.parametrize("javascript", [True, False])
def test_a_language_can_be_chosen_and_stays(
    site: Site, browser: Browser, person: str, sign_in: SignIn, javascript: bool
) -> None:
    context = browser.new_context(java_script_enabled=javascript)
    page = context.new_page()
    sign_in(page, person)
    page.goto(f"{site.url}/account/")

    page.get_by_role("contentinfo").get_by_role("button", name="Deutsch").click()

    expect(page).to_have_url(f"{site.url}/account/")
    expect(page.get_by_role("heading", name="Was diese Website speichert")).to_be_visible()
    page.goto(f"{site.url}/servers/")
    expect(page.get_by_role("heading", name="Deine Server")).to_be_visible()
    context.close()


def test_somebody_takes_their_data_along_and_signs_out_everywhere(
    site: Site, browser: Browser, page: Page, person: str, sign_in: SignIn
) -> None:
    elsewhere = browser.new_context().new_page()
    sign_in(elsewhere, person)
    sign_in(page, person)
    page.goto(f"{site.url}/account/")
    expect(page.get_by_text("Your active sessions: 2 browsers")).to_be_visible()

    with page.expect_download() as download:
        page.get_by_role("link", name="Download my data").click()
    page.get_by_role("button", name="Sign out everywhere").click()
    expect(page.get_by_text("You've been signed out everywhere.")).to_be_visible()

    assert download.value.suggested_filename == "guildhall.json"
    assert person in download.value.path().read_text()
    check_that_it_is_signed_out(site, elsewhere)
    elsewhere.context.close()


def test_an_age_stays_in_the_sites_words_until_another_minute_has_passed(
    site: Site, page: Page, person: str, sign_in: SignIn
) -> None:
    sign_in(page, person)
    page.clock.install()
    # An answer to the page's polls would bring words of its own.
    page.route(re.compile(r"/freshness/"), lambda route: route.abort())
    page.reload()
    age = page.locator("[data-age]").first
    age.evaluate("element => { element.dataset.age = 120; element.textContent = 'two minutes'; }")

    page.clock.run_for(2_000)
    expect(age).to_have_text("two minutes")
    page.clock.run_for(60_000)
    expect(age).to_have_text("3 minutes ago")
