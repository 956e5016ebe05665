"""The admin as an operator uses it, signed in with a password, on a phone and a desktop."""

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import SignIn, Site, check_that_it_is_signed_out, consent
from tests.browser.looks import LOOKS, TWO_LOOKS, check_that_it_fits, faults_of, inspect

pytestmark = pytest.mark.thorough

PASSWORD = "only for tests"


@pytest.fixture(scope="module")
def operator(site: Site) -> str:
    site.shell(
        "from accounts.models import User; from accounts.clock import database_now; from guilds.models import *;"
        f"User.objects.create_superuser(username='root', password='{PASSWORD}');"
        "ServingMinute.objects.create(minute=database_now(), fresh=1234, stale=5, limited=2, within_4_hours=6)"
    )
    return "root"


def enter(site: Site, page: Page, operator: str) -> None:
    page.goto(f"{site.url}/admin/")
    page.get_by_label("Username").fill(operator)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()


def test_the_front_page_is_accessible_and_fits(site: Site, page: Page, operator: str) -> None:
    faults = faults_of(page)
    site.shell(
        "from datetime import timedelta; from accounts import gate; from accounts.models import DiscordGate;"
        "_, now = gate.read();"
        "DiscordGate.objects.update(streak=1, until=now + timedelta(minutes=5), reason='global_limit')"
    )
    try:
        enter(site, page, operator)

        expect(page.get_by_role("heading", name="Requests to Discord are limited for the whole site.")).to_be_visible()
        inspect(page, "#main", looks=LOOKS)
        check_that_it_fits(page)
        page.get_by_role("button", name="Open the gate").click()
        expect(page.get_by_role("heading", name="Open the gate?")).to_be_visible()
        inspect(page, "#main", looks=TWO_LOOKS)
        check_that_it_fits(page)
    finally:
        site.shell("from accounts.models import DiscordGate; DiscordGate.objects.update(streak=0, until=None)")
    assert faults == []


def test_the_bars_and_buttons_have_the_colour_of_the_site(site: Site, page: Page) -> None:
    page.goto(f"{site.url}/admin/")

    page.evaluate("document.documentElement.style.setProperty('--accent', 'rgb(1, 2, 3)')")

    expect(page.locator("#header")).to_have_css("background-color", "rgb(1, 2, 3)")
    expect(page.get_by_role("button", name="Log in", exact=True)).to_have_css("background-color", "rgb(1, 2, 3)")


def test_an_operator_creates_a_service_token(site: Site, page: Page, operator: str) -> None:
    faults = faults_of(page)
    enter(site, page, operator)
    page.get_by_role("link", name="Service tokens", exact=True).click()
    page.get_by_role("link", name="Add service token").click()
    page.get_by_label("Service:", exact=True).fill("bot")
    inspect(page, "#main", looks=TWO_LOOKS)
    check_that_it_fits(page)

    page.get_by_label("bot:read").check()
    page.get_by_role("button", name="Create token").click()

    expect(page.get_by_text(re.compile("^gdhs_[0-9a-f]{40}$"))).to_be_visible()
    inspect(page, "#main", looks=TWO_LOOKS)
    check_that_it_fits(page)
    assert faults == []


def test_staff_come_in_with_discord_and_others_read_why_not(site: Site, page: Page, person: str) -> None:
    faults = faults_of(page)
    page.goto(f"{site.url}/admin/")
    expect(page.get_by_role("heading", name="Sign in to the admin")).to_be_visible()
    inspect(page)
    check_that_it_fits(page)

    page.get_by_role("button", name="Sign in with Discord").click()
    consent(page, person)

    expect(page.get_by_role("heading", name="You don't have access to the admin")).to_be_visible()
    inspect(page)
    check_that_it_fits(page)
    site.shell(
        f"from accounts.models import User; User.objects.filter(discord_username={person!r})"
        ".update(is_staff=True, is_superuser=True)"
    )
    page.goto(f"{site.url}/admin/")
    expect(page.get_by_role("heading", name="Lists by state")).to_be_visible()
    assert faults == []


def test_the_numbers_are_accessible_and_fit(
    site: Site, page: Page, operator: str, person: str, sign_in: SignIn
) -> None:
    faults = faults_of(page)
    sign_in(page, person)
    enter(site, page, operator)
    page.get_by_role("link", name="Last 24 hours").first.click()
    expect(page.get_by_text("Top servers")).to_be_visible()
    page.reload()

    page.get_by_text("Show as table").first.click()

    expect(page.get_by_role("cell", name="1,234")).to_be_visible()
    inspect(page, looks=TWO_LOOKS)
    # Its words are longer.
    page.context.set_extra_http_headers({"Accept-Language": "de"})
    for period in ("day", "week"):
        page.goto(f"{site.url}/admin/guilds/servingminute/?period={period}")
        check_that_it_fits(page)
    assert faults == []


LISTS = [
    *("guilds/guildlistverification", "guilds/userguildmembership", "guilds/botguild", "accounts/discordgate"),
    *("guilds/refreshlease", "accounts/discordaccount", "accounts/personalaccesstoken", "accounts/user"),
]
# The label of Django's search box is an image, so axe treats the help text as its title.
KNOWN = ["label-title-only"]


def test_the_lists_are_accessible_and_no_column_is_cut_off_at_a_desk(
    site: Site, page: Page, operator: str, person: str, sign_in: SignIn
) -> None:
    faults = faults_of(page)
    # The sandbox's longest word: what is cut off must not depend on the names that it chooses for a person.
    site.sandbox.person(person, guilds=[{"id": "175928847299117063", "name": "Midnight Photographers", "owner": True}])
    sign_in(page, person)
    enter(site, page, operator)

    for changelist in LISTS:
        # Only this row, because rows of other tests may be wider.
        page.goto(f"{site.url}/admin/{changelist}/?q={person}")
        inspect(page, "#content", looks=TWO_LOOKS, known=KNOWN)
        expect(page.get_by_text("Times are in UTC.")).to_be_visible()
        for table in page.locator(".results").all():
            assert table.evaluate("table => table.scrollWidth <= table.clientWidth"), f"{changelist} is cut off"
        check_that_it_fits(page)

    assert faults == []


def test_the_page_of_one_list_and_what_it_asks_back_are_accessible(
    site: Site, page: Page, operator: str, person: str, sign_in: SignIn
) -> None:
    sign_in(page, person)
    enter(site, page, operator)
    page.goto(f"{site.url}/admin/guilds/guildlistverification/?q={person}")
    page.locator("#result_list").get_by_role("link", name=person).click()
    expect(page.get_by_role("button", name="Delete all data")).to_be_visible()
    inspect(page, "#content", looks=TWO_LOOKS)
    check_that_it_fits(page)

    page.get_by_role("button", name="Delete all data").click()

    expect(page.get_by_role("heading", name="Delete all data about this person?")).to_be_visible()
    inspect(page, "#content", looks=TWO_LOOKS)
    check_that_it_fits(page)
    page.get_by_role("link", name="Cancel").click()
    expect(page.get_by_text("1 result")).to_be_visible()


def test_an_operator_finds_somebody_and_forgets_them(
    site: Site, browser: Browser, page: Page, operator: str, person: str, sign_in: SignIn
) -> None:
    sign_in(page, person)
    desk = browser.new_context().new_page()
    enter(site, desk, operator)

    desk.get_by_role("link", name="Verifications").first.click()
    desk.get_by_role("textbox", name="Search").fill(person)
    desk.get_by_role("button", name="Search").click()
    expect(desk.get_by_text("1 result")).to_be_visible()
    desk.get_by_role("link", name="servers", exact=True).click()
    expect(desk.get_by_text("12 memberships")).to_be_visible()
    desk.get_by_role("link", name="person", exact=True).first.click()
    expect(desk.get_by_role("heading", name="Change user")).to_be_visible()
    desk.goto(f"{site.url}/admin/accounts/user/?q={person}")
    desk.locator("#action-toggle").check()
    desk.locator("select[name=action]").select_option("forget")
    desk.get_by_role("button", name=re.compile("Go|Run")).click()
    desk.get_by_role("button", name="Delete all data").click()

    expect(desk.get_by_text("all data deleted.")).to_be_visible()
    check_that_it_is_signed_out(site, page)
    desk.context.close()
