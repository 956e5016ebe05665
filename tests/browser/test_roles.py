"""A page behind a role, consent to share one's roles, and a form with roles and channels, as a person meets them."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect

from tests.browser.conftest import Site, consent, sign_in_over_http
from tests.browser.looks import faults_of, inspect_at_its_size

pytestmark = pytest.mark.thorough

CLUB, STAFF, HELPERS, ELSEWHERE = 11, 501, 502, 12


@pytest.fixture(scope="module")
def site_with_roles(site_with_examples: Site) -> Site:
    """The club, which has the bot and requires the role Staff, and a server without the bot."""
    site = site_with_examples
    site.sandbox.person("host", guilds=servers("0"))
    site.sandbox.bot(CLUB, 1 << 11 | 1 << 10 | 1 << 28)
    site.sandbox.roles(CLUB, {"id": str(STAFF), "name": "Staff"}, {"id": str(HELPERS), "name": "Helpers"})
    site.shell(
        f"from guilds.resources.bot_guilds import verify_one; assert verify_one({CLUB})\n"
        "from examples.models import WelcomeMessage as W\n"
        f"for pk in ({CLUB}, {ELSEWHERE}): W.objects.create(guild_id=pk, text='Hello', role_id={STAFF})"
    )
    return site


def servers(permissions: str) -> list[dict[str, str]]:
    named = {CLUB: "Club", ELSEWHERE: "Elsewhere"}
    return [{"id": str(pk), "name": name, "permissions": permissions} for pk, name in named.items()]


def enter(site: Site, page: Page, size: ViewportSize, name: str, permissions: str = "0") -> str:
    """Sign in a new person. Returns their name at the sandbox."""
    person = f"{name}{size['width']}"
    site.sandbox.person(person, guilds=servers(permissions))
    sign_in_over_http(site, page, person)
    return person


def an_hour_passes(site: Site, model: str) -> None:
    site.shell(
        f"from datetime import timedelta; from django.db.models import F; from guilds.models import {model} as M;"
        "M.objects.update(verified_at=F('verified_at') - timedelta(hours=1), refresh_after=None, not_before=None)"
    )


@pytest.fixture
def page(browser: Browser, size: ViewportSize, site_with_roles: Site) -> Iterator[Page]:
    context = browser.new_context(viewport=size)
    page = context.new_page()
    faults = faults_of(page)
    yield page
    site_with_roles.sandbox.mood("healthy")
    assert faults == []
    context.close()


def test_a_role_that_is_given_opens_the_page_and_one_taken_away_closes_it(
    site_with_roles: Site, page: Page, size: ViewportSize
) -> None:
    site, lounge = site_with_roles, f"{site_with_roles.url}/examples/{CLUB}/lounge/"
    person = enter(site, page, size, "member")
    heading = page.get_by_role("heading", name="Lounge")

    page.goto(lounge)
    expect(page.get_by_text(re.compile("Just got the role"))).to_be_visible()
    inspect_at_its_size(page)

    site.sandbox.member(person, CLUB, roles=["Staff"], nick="Countess")
    an_hour_passes(site, "GuildMember")
    page.get_by_role("button", name="Refresh your roles").click()
    expect(heading).to_be_visible()
    expect(page.get_by_text("Hello, Countess")).to_be_visible()
    inspect_at_its_size(page)

    site.sandbox.member(person, CLUB, roles=[])
    page.goto(lounge)
    expect(heading).to_be_visible()
    an_hour_passes(site, "GuildMember")
    page.goto(lounge)
    expect(page.get_by_role("button", name="Refresh your roles")).to_be_visible()


def test_where_the_bot_is_not_a_person_shares_their_roles_and_comes_back(
    site_with_roles: Site, page: Page, size: ViewportSize
) -> None:
    site, lounge = site_with_roles, f"{site_with_roles.url}/examples/{ELSEWHERE}/lounge/"
    person = enter(site, page, size, "sharer")
    site.sandbox.roles(ELSEWHERE, {"id": str(STAFF), "name": "Staff"})
    site.sandbox.member(person, ELSEWHERE, roles=[str(STAFF)])

    page.goto(lounge)
    inspect_at_its_size(page)
    page.get_by_role("link", name="Allow this site to read your roles").click()
    page.get_by_role("main").get_by_role("button", name=re.compile("Discord")).click()
    consent(page, person)

    expect(page.get_by_role("heading", name="Lounge")).to_be_visible()
    assert page.url == lounge


def test_a_form_with_roles_and_channels_works_while_discord_is_down(
    site_with_roles: Site, page: Page, size: ViewportSize
) -> None:
    site, form = site_with_roles, f"{site_with_roles.url}/examples/{CLUB}/edit/"
    enter(site, page, size, "manager", permissions="32")
    page.goto(form)
    role = page.get_by_label("Role for new members")
    expect(role.locator("option", has_text="Staff")).to_have_count(1)

    an_hour_passes(site, "GuildDirectory")
    site.sandbox.mood("outage")
    page.goto(form)
    expect(role.locator("option", has_text="Staff")).to_have_count(1)
    inspect_at_its_size(page)
