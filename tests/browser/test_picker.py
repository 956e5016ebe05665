"""The picker by keyboard and by mouse, with and without JavaScript; the bot's way into a server."""

import re

import pytest
from playwright.sync_api import Browser, Page, Request, expect

from tests.browser.conftest import SignIn, Site
from tests.browser.looks import inspect

FIRST = ".servers li > a:first-child"


@pytest.fixture
def host(site: Site, person: str) -> str:
    """Somebody who owns a server without the bot, manages one, and is a member of two, one with a moving icon."""
    moving = {"icon": "a_" + "0" * 32}
    site.sandbox.person(
        person,
        guilds=[
            {"name": "Owned", "owner": True},
            {"name": "Managed", "permissions": "32"},
            {"name": "Plain", "icon": None},
            {"name": "Moving", **moving},
        ],
    )
    return person


def names(page: Page) -> list[str]:
    return page.locator(".servers bdi").all_inner_texts()


def focused(page: Page) -> str:
    text: str = page.evaluate("document.activeElement.querySelector('bdi')?.textContent ?? document.activeElement.id")
    return text


def test_arrows_move_through_the_servers_and_enter_opens(site: Site, page: Page, host: str, sign_in: SignIn) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    sign_in(page, host)
    assert names(page) == ["Managed", "Owned", "Moving", "Plain"]

    page.keyboard.press("/")
    seen = []
    for key in ("ArrowDown", "ArrowDown", "ArrowRight", "ArrowDown", "ArrowDown", "ArrowUp", "ArrowLeft"):
        page.keyboard.press(key)
        seen.append(focused(page))
    assert seen == ["Managed", "Owned", "Moving", "Plain", "Plain", "Moving", "Owned"]

    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Owned")).to_be_visible()


def test_arrows_keep_to_their_column(site: Site, page: Page, person: str, sign_in: SignIn) -> None:
    page.set_viewport_size({"width": 1280, "height": 800})
    site.sandbox.person(person, guilds=[{"name": f"Server {letter}"} for letter in "ABCDEFG"])
    sign_in(page, person)

    page.keyboard.press("/")
    seen = []
    for key in ("ArrowDown", "ArrowRight", "ArrowDown", "ArrowDown", "ArrowUp", "ArrowUp", "ArrowUp"):
        page.keyboard.press(key)
        seen.append(focused(page).removeprefix("Server "))

    assert seen == ["A", "B", "E", "G", "D", "A", "q"]


def test_the_filter_narrows_at_once_and_stays_in_the_address(
    site: Site, page: Page, host: str, sign_in: SignIn
) -> None:
    sign_in(page, host)

    page.get_by_text("I own", exact=True).click()
    expect(page.get_by_text("1 of 4 servers")).to_be_visible()
    expect(page).to_have_url(f"{site.url}/servers/?show=owner")
    page.get_by_role("radio", name="I own").press("ArrowLeft")
    expect(page.get_by_text("2 of 4 servers")).to_be_visible()
    page.get_by_role("searchbox").fill("own")

    expect(page.get_by_text("1 of 4 servers")).to_be_visible()
    expect(page).to_have_url(f"{site.url}/servers/?q=own&show=manage")
    page.reload()
    expect(page.get_by_role("radio", name="I manage")).to_be_checked()
    assert names(page) == ["Owned"]


def test_a_star_is_set_in_its_place_and_the_server_stands_first_from_then_on(
    site: Site, page: Page, host: str, sign_in: SignIn
) -> None:
    sign_in(page, host)
    before = names(page)

    page.get_by_role("button", name="Star Plain").press("Enter")

    expect(page.get_by_role("button", name="Unstar Plain")).to_be_focused()
    assert names(page) == before
    expect(page).to_have_url(f"{site.url}/servers/")
    page.reload()
    expect(page.get_by_role("heading", name="Favourites")).to_be_visible()
    assert names(page)[0] == "Plain"


def test_a_list_that_is_renewed_keeps_the_keyboards_place(site: Site, page: Page, host: str, sign_in: SignIn) -> None:
    sign_in(page, host)
    page.locator(FIRST, has_text="Moving").focus()

    with page.expect_response(re.compile(r"/servers/$")):
        page.evaluate("document.querySelector('.servers').id = 'old'; htmx.trigger('#search', 'submit')")

    expect(page.locator("#old")).to_have_count(0)
    expect(page.locator(FIRST, has_text="Moving")).to_be_focused()


def test_a_star_in_a_search_keeps_the_search(site: Site, page: Page, host: str, sign_in: SignIn) -> None:
    sign_in(page, host)
    page.get_by_role("searchbox").fill("pl")
    expect(page.get_by_text("1 of 4 servers")).to_be_visible()

    page.get_by_role("button", name="Star Plain").click()

    expect(page.get_by_role("button", name="Unstar Plain")).to_be_visible()
    assert names(page) == ["Plain"]
    expect(page.get_by_role("searchbox")).to_have_value("pl")


def test_enter_opens_the_one_server_that_was_found(site: Site, page: Page, host: str, sign_in: SignIn) -> None:
    sign_in(page, host)
    asked: list[str] = []
    page.get_by_role("searchbox").fill("m")
    expect(page.get_by_text("2 of 4 servers")).to_be_visible()
    page.on("request", lambda request: asked.append(request.url) if request.is_navigation_request() else None)

    page.get_by_role("searchbox").press("Enter")
    page.get_by_role("searchbox").fill("plain")
    expect(page.get_by_text("1 of 4 servers")).to_be_visible()
    assert asked == []
    page.get_by_role("searchbox").press("Enter")

    expect(page.get_by_role("heading", name="Plain")).to_be_visible()


def test_a_search_without_a_connection_says_so(site: Site, page: Page, host: str, sign_in: SignIn) -> None:
    sign_in(page, host)

    page.context.set_offline(True)
    page.get_by_role("searchbox").fill("plain")
    expect(page.get_by_text("There is no connection")).to_be_visible()
    page.context.set_offline(False)
    page.get_by_role("searchbox").fill("plai")

    expect(page.get_by_text("1 of 4 servers")).to_be_visible()


def test_an_icon_moves_only_while_somebody_points_at_it(site: Site, page: Page, host: str, sign_in: SignIn) -> None:
    sign_in(page, host)
    icon = page.locator(".servers li", has_text="Moving").locator("img")
    expect(icon).to_have_attribute("src", re.compile(r"\.png\?size=64$"))

    page.locator(".servers li", has_text="Moving").hover()
    expect(icon).to_have_attribute("src", re.compile(r"\.gif\?size=64$"))
    expect(icon).to_have_attribute("srcset", re.compile(r"\.gif\?size=128 2x$"))
    page.mouse.move(0, 0)
    expect(icon).to_have_attribute("src", re.compile(r"\.png\?size=64$"))

    page.locator(FIRST, has_text="Moving").focus()
    expect(icon).to_have_attribute("src", re.compile(r"\.gif"))


def test_who_wants_less_motion_gets_none(site: Site, browser: Browser, host: str, sign_in: SignIn) -> None:
    context = browser.new_context(reduced_motion="reduce")
    page = context.new_page()
    sign_in(page, host)

    page.locator(FIRST, has_text="Moving").focus()

    expect(page.locator(".servers li", has_text="Moving").locator("img")).to_have_attribute("src", re.compile(r"\.png"))
    context.close()


def test_the_bot_is_added_and_the_list_knows(site: Site, page: Page, host: str, sign_in: SignIn) -> None:
    sign_in(page, host)
    expect(page.get_by_role("heading", name="You manage, without the bot")).to_be_visible()

    page.get_by_role("link", name="Add the bot to Owned").click()
    page.get_by_role("button", name=re.compile(f"Add it as .*{host}")).click()

    expect(page.get_by_text("The bot is in this server now.")).to_be_visible()
    expect(page.get_by_role("heading", name="Owned")).to_be_visible()
    page.get_by_role("link", name="Your servers").first.click()
    expect(page.get_by_role("heading", name="You manage", exact=True)).to_be_visible()
    assert names(page)[0] == "Owned"


def test_saying_no_to_the_bot_leads_back(site: Site, page: Page, host: str, sign_in: SignIn) -> None:
    sign_in(page, host)

    page.get_by_role("link", name="Add the bot to Owned").click()
    page.get_by_role("button", name="Cancel").click()

    expect(page.get_by_text("The bot was not added.")).to_be_visible()
    expect(page.get_by_role("heading", name="Owned")).to_be_visible()


def test_why_one_cannot_manage_is_said_on_the_spot(site: Site, page: Page, host: str, sign_in: SignIn) -> None:
    sign_in(page, host)
    plain = page.locator(".servers li", has_text="Plain")

    plain.locator("summary").press("Enter")

    expect(plain.get_by_text("Managing takes owning it")).to_be_visible()


def test_the_picker_needs_no_javascript(site: Site, without_javascript: Page, host: str, sign_in: SignIn) -> None:
    page = without_javascript
    sign_in(page, host)

    page.get_by_role("button", name="Star Plain").click()
    expect(page.get_by_role("heading", name="Favourites")).to_be_visible()
    page.get_by_role("radio", name="I manage").check()
    page.get_by_role("button", name="Search").click()
    assert names(page) == ["Managed", "Owned"]
    page.locator(FIRST, has_text="Owned").click()
    page.get_by_role("button", name="Add to favourites").click()
    expect(page.get_by_role("button", name="Remove from favourites")).to_be_visible()
    page.get_by_role("link", name="Add the bot").click()
    page.get_by_role("button", name=re.compile(f"Add it as .*{host}")).click()
    expect(page.get_by_text("The bot is in this server now.")).to_be_visible()

    page.goto(f"{site.url}/servers/")
    assert names(page)[:2] == ["Owned", "Plain"]
    expect(page.get_by_role("heading", name="Recently used")).to_be_visible()


def test_all_of_the_picker_is_accessible_and_fits(site: Site, page: Page, host: str, sign_in: SignIn) -> None:
    sign_in(page, host)

    page.locator(FIRST).first.click()
    expect(page.get_by_role("heading", name="The bot")).to_be_visible()
    inspect(page)
    page.goto(f"{site.url}/servers/")
    page.get_by_role("button", name="Star Moving").click()
    expect(page.get_by_role("button", name="Unstar Moving")).to_be_visible()
    page.reload()
    page.locator("summary", has_text="Why can").first.click()
    inspect(page)


def test_a_hundred_servers_weigh_less_than_60_kb_with_style_and_scripts(
    site: Site, browser: Browser, page: Page, person: str, sign_in: SignIn
) -> None:
    site.sandbox.person(person, count=100)
    sign_in(page, person)
    newcomer = browser.new_context(storage_state=page.context.storage_state()).new_page()
    sent: list[Request] = []
    newcomer.on("requestfinished", lambda request: sent.append(request))

    newcomer.goto(f"{site.url}/servers/")
    expect(newcomer.locator("#total")).to_have_text("100")

    # Pictures, and the site's own, which is of the type "other".
    weighed = [request for request in sent if request.resource_type not in ("image", "other")]
    assert {request.resource_type for request in weighed} == {"document", "stylesheet", "script"}
    assert sum(request.sizes()["responseBodySize"] for request in weighed) < 60_000
    newcomer.context.close()
