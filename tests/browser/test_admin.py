"""The admin as an operator uses it, by password, on a phone and at a desk."""

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import SignIn, Site
from tests.browser.looks import TWO_LOOKS, faults_of, inspect

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


def test_the_numbers_are_accessible_and_fit(
    site: Site, page: Page, operator: str, person: str, sign_in: SignIn
) -> None:
    faults = faults_of(page)
    sign_in(page, person)
    enter(site, page, operator)
    page.get_by_role("link", name="Numbers of the last day").first.click()
    expect(page.get_by_text("Where your people are")).to_be_visible()
    page.reload()

    page.get_by_text("As a table").first.click()

    expect(page.get_by_role("cell", name="1,234")).to_be_visible()
    # What is around it is Django's.
    inspect(page, "#content", looks=TWO_LOOKS)
    assert faults == []


LISTS = [
    *("guilds/guildlistverification", "guilds/userguildmembership", "guilds/guild", "accounts/discordgate"),
    *("guilds/refreshlease", "accounts/discordaccount", "accounts/personalaccesstoken", "accounts/user"),
]
# The label of Django's search box is a picture, and its help text is then taken for a title.
KNOWN = ["label-title-only"]


def test_the_lists_are_accessible_and_no_column_is_cut_off_at_a_desk(
    site: Site, page: Page, operator: str, person: str, sign_in: SignIn
) -> None:
    faults = faults_of(page)
    sign_in(page, person)
    enter(site, page, operator)

    for changelist in LISTS:
        # Their row alone: what other tests left behind is as wide as it likes.
        page.goto(f"{site.url}/admin/{changelist}/?q={person}")
        inspect(page, "#content", looks=TWO_LOOKS, known=KNOWN)
        expect(page.get_by_text("Times are in UTC.")).to_be_visible()
        for table in page.locator(".results").all():
            assert table.evaluate("table => table.scrollWidth <= table.clientWidth"), f"{changelist} is cut off"

    assert faults == []


def test_the_page_of_one_list_and_what_it_asks_back_are_accessible(
    site: Site, page: Page, operator: str, person: str, sign_in: SignIn
) -> None:
    sign_in(page, person)
    enter(site, page, operator)
    page.goto(f"{site.url}/admin/guilds/guildlistverification/?q={person}")
    page.locator("#result_list").get_by_role("link", name=person).click()
    expect(page.get_by_role("button", name="Forget, with everything stored")).to_be_visible()
    inspect(page, "#content", looks=TWO_LOOKS)

    page.get_by_role("button", name="Forget, with everything stored").click()

    expect(page.get_by_role("heading", name="Forget this person?")).to_be_visible()
    inspect(page, "#content", looks=TWO_LOOKS)
    page.get_by_role("link", name="Leave it").click()
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
    desk.get_by_role("button", name="Forget them").click()

    expect(desk.get_by_text("forgotten.")).to_be_visible()
    page.reload()
    expect(page).to_have_url(re.compile("/sign-in/"))
    desk.context.close()
