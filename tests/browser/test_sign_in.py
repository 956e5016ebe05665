"""Signing in with a browser: the first time, again, with another account, after a limit, and with one more scope."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect

from tests.browser.conftest import Site, consent
from tests.browser.looks import DESK, PHONE, faults_of, inspect_at_its_size


@pytest.fixture(params=[PHONE, DESK], ids=["phone", "desk"])
def visitor(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Page]:
    size: ViewportSize = request.param
    context = browser.new_context(viewport=size)
    yield context.new_page()
    context.close()


def click_sign_in(page: Page) -> None:
    page.get_by_role("main").get_by_role("button", name="Sign in with Discord").click()


def sign_out(page: Page) -> None:
    page.locator("[data-menu] summary").click()
    page.get_by_role("button", name="Sign out").first.click()


def expect_signed_in_as(page: Page, name: str) -> None:
    expect(page.get_by_text(re.compile(rf"You're signed in as .*\b{name}\b", re.IGNORECASE))).to_be_visible()


def test_only_the_first_sign_in_shows_discords_page(site: Site, visitor: Page, person: str) -> None:
    faults = faults_of(visitor)
    visitor.goto(f"{site.url}/sign-in/?next=/account/")
    inspect_at_its_size(visitor)
    click_sign_in(visitor)
    expect(visitor.get_by_text("see which servers you are in")).to_be_visible()
    consent(visitor, person)
    expect_signed_in_as(visitor, person)
    sign_out(visitor)

    visitor.goto(f"{site.url}/sign-in/?next=/account/")
    click_sign_in(visitor)

    expect(visitor).to_have_url(f"{site.url}/account/")
    expect_signed_in_as(visitor, person)
    assert faults == []


def test_somebody_chooses_another_account(site: Site, visitor: Page, person: str) -> None:
    other = f"{person}other"
    site.sandbox.person(other, count=1)
    visitor.goto(f"{site.url}/sign-in/?next=/account/")
    click_sign_in(visitor)
    consent(visitor, person)

    visitor.get_by_role("button", name="Use another account").click()
    consent(visitor, other)

    expect_signed_in_as(visitor, other)


def test_a_limited_sign_in_continues_by_itself(site: Site, visitor: Page, person: str) -> None:
    faults = faults_of(visitor)
    visitor.clock.install()
    visitor.goto(f"{site.url}/sign-in/?next=/account/")
    click_sign_in(visitor)
    site.sandbox.mood("rate_limited", people=[person], routes=["/oauth2/token"], retry_after=60)
    consent(visitor, person)
    expect(visitor.get_by_text("the sign-in continues automatically")).to_be_visible()
    inspect_at_its_size(visitor)
    site.sandbox.mood("healthy")
    visitor.clock.fast_forward(61_000)

    expect(visitor).to_have_url(f"{site.url}/account/")

    expect_signed_in_as(visitor, person)
    assert faults == []


def test_without_javascript_a_button_continues_a_limited_sign_in(
    site: Site, without_javascript: Page, person: str
) -> None:
    page = without_javascript
    page.goto(f"{site.url}/sign-in/?next=/account/")
    click_sign_in(page)
    site.sandbox.mood("rate_limited", people=[person], routes=["/oauth2/token"], retry_after=60)
    consent(page, person)
    expect(page.get_by_text("the sign-in continues automatically")).to_be_visible()
    site.sandbox.mood("healthy")

    page.get_by_role("button", name="Try again").click()

    expect(page).to_have_url(f"{site.url}/account/")


def test_one_more_scope_leads_back_to_the_page(site: Site, visitor: Page, person: str) -> None:
    visitor.goto(f"{site.url}/sign-in/?next=/account/")
    click_sign_in(visitor)
    consent(visitor, person)

    visitor.goto(f"{site.url}/sign-in/?scope=guilds.members.read&next=/account/")
    expect(visitor.get_by_text("your nickname and roles in your servers")).to_be_visible()
    inspect_at_its_size(visitor)
    visitor.get_by_role("button", name="Continue with Discord").click()
    expect(visitor.get_by_text("see your nickname and roles in them")).to_be_visible()
    consent(visitor, person)

    expect(visitor).to_have_url(f"{site.url}/account/")
    expect(visitor.get_by_text("your nickname and roles in your servers")).to_be_visible()
