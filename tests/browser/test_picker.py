"""The picker with keyboard and mouse, with and without JavaScript, and adding the bot to a server."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, Request, Route, expect

from tests.browser.conftest import SignIn, Site, consent, sign_in_over_http
from tests.browser.looks import PHONE, inspect

FIRST = ".servers li > a:first-child"


@pytest.fixture
def host(site: Site, person: str) -> str:
    """A person who owns a server without the bot, manages one, and is a member of two, one with an animated icon."""
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
    return page.locator(".servers li:visible bdi").all_inner_texts()


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
    site.sandbox.person(person, guilds=[{"name": f"Server {letter}", "owner": True} for letter in "ABCDEFG"])
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

    page.get_by_role("combobox", name="Filter servers").select_option("I own")
    expect(page.get_by_text("1 of 4 servers")).to_be_visible()
    expect(page).to_have_url(f"{site.url}/servers/?show=owner")
    page.get_by_role("combobox").press("ArrowUp")
    expect(page.get_by_text("2 of 4 servers")).to_be_visible()
    page.get_by_role("searchbox").fill("own")

    expect(page.get_by_text("1 of 4 servers")).to_be_visible()
    expect(page).to_have_url(f"{site.url}/servers/?q=own&show=manage")
    page.reload()
    expect(page.get_by_role("combobox")).to_have_value("manage")
    assert names(page) == ["Owned"]


def test_a_star_is_set_in_its_place_and_the_server_stands_first_from_then_on(
    site: Site, page: Page, host: str, sign_in: SignIn
) -> None:
    sign_in(page, host)
    before = names(page)

    page.get_by_role("button", name="Star Plain").press("Enter")

    expect(page.get_by_role("button", name="Star Plain", pressed=True)).to_be_focused()
    assert names(page) == before
    expect(page).to_have_url(f"{site.url}/servers/")
    page.reload()
    expect(page.get_by_role("heading", name="Favourites")).to_be_visible()
    assert names(page)[0] == "Plain"


def test_a_list_that_is_renewed_keeps_the_keyboards_place(site: Site, page: Page, host: str, sign_in: SignIn) -> None:
    sign_in(page, host)
    page.locator(FIRST, has_text="Moving").focus()

    with page.expect_response(re.compile(r"/servers/$")):
        page.evaluate("document.querySelector('.servers').id = 'old'; htmx.trigger('#freshness', 'due')")

    expect(page.locator("#old")).to_have_count(0)
    expect(page.locator(FIRST, has_text="Moving")).to_be_focused()


def test_a_star_in_a_search_keeps_the_search(site: Site, page: Page, host: str, sign_in: SignIn) -> None:
    sign_in(page, host)
    page.get_by_role("searchbox").fill("pl")
    expect(page.get_by_text("1 of 4 servers")).to_be_visible()

    page.get_by_role("button", name="Star Plain").click()

    expect(page.get_by_role("button", name="Star Plain", pressed=True)).to_be_visible()
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


def test_without_a_connection_the_search_works_and_a_star_turns_back(
    site: Site, page: Page, host: str, sign_in: SignIn
) -> None:
    sign_in(page, host)
    star = page.get_by_role("button", name="Star Plain")

    page.context.set_offline(True)
    expect(page.get_by_text("You're offline")).to_be_visible()
    page.get_by_role("searchbox").fill("plain")
    expect(page.get_by_text("1 of 4 servers")).to_be_visible()
    page.evaluate(
        "new MutationObserver(found => { document.body.dataset.turns = found.length; }).observe("
        "document.querySelector('.servers li:not([hidden]) button'), {attributeFilter: ['aria-pressed']})"
    )
    star.click()
    expect(page.locator("body")).to_have_attribute("data-turns", re.compile(r"\d"))
    expect(star).to_have_attribute("aria-pressed", "false")
    page.context.set_offline(False)
    expect(page.get_by_text("You're offline")).to_be_hidden()
    star.click()

    expect(star).to_have_attribute("aria-pressed", "true")


def test_a_star_turns_before_the_answer_and_back_if_the_site_fails(
    site: Site, page: Page, host: str, sign_in: SignIn
) -> None:
    sign_in(page, host)
    star = page.get_by_role("button", name="Star Plain")
    held: list[Route] = []
    page.route("**/favourites/", lambda route: held.append(route))

    with page.expect_request("**/favourites/"):
        star.click()
    expect(star).to_have_attribute("aria-pressed", "true")
    expect(page.locator("html.busy")).to_have_count(1)
    held[0].fulfill(status=503)

    expect(page.get_by_text("That didn't work.")).to_be_visible()
    expect(star).to_have_attribute("aria-pressed", "false")
    expect(page.locator("html.busy")).to_have_count(0)
    expect(page).to_have_url(f"{site.url}/servers/")


@pytest.fixture(scope="module")
def pickers(site: Site, browser: Browser) -> Iterator[tuple[Page, Page]]:
    """The picker of one person, with JavaScript and without."""
    known = ["Große Straße", "Café ☕", "Σας", "Night of Games", "A <b> tag", "Istanbul", "ＦＵＬＬ"]
    site.sandbox.person("searcher", guilds=[{"name": name} for name in known])
    with browser.new_context() as context, browser.new_context(java_script_enabled=False) as plain:
        page, without_javascript = context.new_page(), plain.new_page()
        sign_in_over_http(site, page, "searcher")
        sign_in_over_http(site, without_javascript, "searcher")
        # Otherwise the page would follow what other tests change for all.
        page.evaluate("document.querySelector('[data-live]').removeAttribute('data-live')")
        yield page, without_javascript


@pytest.mark.parametrize("query", ["strasse", "CAFE", "σας", "games night", "<b>", "zzz", "İstanbul", " "])
def test_the_browser_finds_what_the_site_finds(site: Site, pickers: tuple[Page, Page], query: str) -> None:
    page, without_javascript = pickers
    # From all servers, as the search of the test before has left some of them.
    page.get_by_role("searchbox").fill("")
    without_javascript.goto(f"{site.url}/servers/")
    assert len(names(page)) == len(names(without_javascript)) == 7
    without_javascript.get_by_role("searchbox").fill(query)
    without_javascript.get_by_role("button", name="Search").click()
    asked: list[str] = []

    def note(request: Request) -> None:
        if "/freshness/" not in request.url:
            asked.append(request.url)

    page.on("request", note)
    page.get_by_role("searchbox").fill(query)

    assert names(page) == names(without_javascript)
    page.remove_listener("request", note)
    assert asked == []


def test_many_servers_are_folded_and_a_search_finds_them_all(
    site: Site, page: Page, without_javascript: Page, person: str, sign_in: SignIn
) -> None:
    site.sandbox.person(person, guilds=[{"name": f"Server {number:03}"} for number in range(200)])
    sign_in(page, person)
    rows = page.locator(".servers li:visible")
    expect(rows).to_have_count(12)

    page.get_by_role("searchbox").fill("19")
    expect(page.get_by_text("12 of 200 servers")).to_be_visible()
    page.get_by_role("searchbox").fill("198")
    page.get_by_role("searchbox").press("ArrowDown")
    assert focused(page) == "Server 198"
    page.get_by_role("searchbox").fill("")
    expect(rows).to_have_count(12)
    page.emulate_media(media="print")
    expect(rows).to_have_count(200)
    expect(page.get_by_text("Show 188 more")).to_be_hidden()
    page.emulate_media(media="screen")
    expect(rows).to_have_count(12)
    page.get_by_text("Show 188 more").click()
    expect(rows).to_have_count(200)

    sign_in(without_javascript, person)
    without_javascript.get_by_text("Show 188 more").click()
    expect(without_javascript.locator(".servers li:visible")).to_have_count(200)


def test_a_page_that_was_loaded_with_a_search_fetches_the_rest(
    site: Site, page: Page, host: str, sign_in: SignIn
) -> None:
    sign_in(page, host)
    page.goto(f"{site.url}/servers/?q=plain&show=all")
    assert names(page) == ["Plain"]

    page.get_by_role("searchbox").fill("o")

    expect(page.get_by_text("2 of 4 servers")).to_be_visible()
    expect(page).to_have_url(f"{site.url}/servers/?q=o")


def test_the_first_server_to_manage_is_in_sight_on_a_phone_while_discord_limits(
    site: Site, page: Page, person: str, sign_in: SignIn
) -> None:
    page.set_viewport_size(PHONE)
    sign_in(page, person)
    guests = {"name": "Guest", "owner": False, "permissions": "0"}
    site.sandbox.person(
        person, guilds=[{"name": "Mine", "owner": True}, *({**guests, "name": f"G {n}"} for n in range(6))]
    )
    site.let_pass(61)
    page.reload()
    expect(page.get_by_text("7", exact=True)).to_be_visible()
    for number in range(6):
        page.goto(f"{site.url}/servers/")
        page.locator(FIRST, has_text=f"G {number}").click()
    site.let_pass(61)
    site.sandbox.mood("rate_limited", people=[person], retry_after=60)

    page.goto(f"{site.url}/servers/")

    expect(page.get_by_text("Checking again in")).to_be_visible()
    expect(page.get_by_role("heading", name="Recently used")).to_be_visible()
    card = page.locator(".servers li", has_text="Mine").bounding_box()
    assert card
    assert card["y"] + card["height"] <= PHONE["height"]
    page.evaluate("scrollBy(0, 300)")
    assert page.evaluate("scrollY") > 0
    search = page.get_by_role("searchbox").bounding_box()
    assert search
    assert search["y"] >= 0


def test_an_icon_moves_only_while_somebody_points_at_it(site: Site, page: Page, host: str, sign_in: SignIn) -> None:
    sign_in(page, host)
    icon = page.locator(".servers li", has_text="Moving").locator("img")
    expect(icon).to_have_attribute("src", re.compile(r"\.png\?size=32$"))

    page.locator(".servers li", has_text="Moving").hover()
    expect(icon).to_have_attribute("src", re.compile(r"\.webp\?animated=true&size=32$"))
    expect(icon).to_have_attribute("srcset", re.compile(r"\.webp\?animated=true&size=64 2x$"))
    page.mouse.move(0, 0)
    expect(icon).to_have_attribute("src", re.compile(r"\.png\?size=32$"))

    page.locator(FIRST, has_text="Moving").focus()
    expect(icon).to_have_attribute("src", re.compile(r"\.webp"))
    expect(icon).to_have_js_property("naturalWidth", 32)


def test_who_wants_less_motion_gets_none(site: Site, browser: Browser, host: str, sign_in: SignIn) -> None:
    context = browser.new_context(reduced_motion="reduce")
    page = context.new_page()
    sign_in(page, host)

    page.locator(FIRST, has_text="Moving").focus()

    expect(page.locator(".servers li", has_text="Moving").locator("img")).to_have_attribute("src", re.compile(r"\.png"))
    context.close()


def test_the_bot_is_added_and_the_list_knows(site: Site, page: Page, host: str, sign_in: SignIn) -> None:
    sign_in(page, host)
    expect(page.get_by_role("heading", name="Servers you can add the bot to")).to_be_visible()

    page.get_by_role("link", name="Add the bot to Owned").click()
    consent(page, host)

    expect(page.get_by_text("The bot is now in this server.")).to_be_visible()
    expect(page.get_by_role("heading", name="Owned")).to_be_visible()
    page.get_by_role("link", name="Your servers").first.click()
    expect(page.get_by_role("heading", name="Servers you manage", exact=True)).to_be_visible()
    assert names(page)[0] == "Owned"


def test_saying_no_to_the_bot_leads_back(site: Site, page: Page, host: str, sign_in: SignIn) -> None:
    sign_in(page, host)

    page.get_by_role("link", name="Add the bot to Owned").click()
    page.get_by_role("button", name="Cancel").click()

    expect(page.get_by_text("The bot wasn't added.")).to_be_visible()
    expect(page.get_by_role("heading", name="Owned")).to_be_visible()


def test_why_one_cannot_manage_is_said_once(site: Site, page: Page, host: str, sign_in: SignIn) -> None:
    sign_in(page, host)

    expect(page.get_by_text("You can manage a server that you own")).to_have_count(1)


def test_the_picker_needs_no_javascript(site: Site, without_javascript: Page, host: str, sign_in: SignIn) -> None:
    page = without_javascript
    sign_in(page, host)

    page.get_by_role("button", name="Star Plain").click()
    expect(page.get_by_role("heading", name="Favourites")).to_be_visible()
    page.get_by_role("combobox").select_option("I manage")
    page.get_by_role("button", name="Search").click()
    assert names(page) == ["Managed", "Owned"]
    page.locator(FIRST, has_text="Owned").click()
    page.get_by_role("button", name="Add to favourites").click()
    expect(page.get_by_role("button", name="Remove from favourites")).to_be_visible()
    page.get_by_role("link", name="Add the bot").click()
    consent(page, host)
    expect(page.get_by_text("The bot is now in this server.")).to_be_visible()

    page.goto(f"{site.url}/servers/")
    assert names(page)[:2] == ["Owned", "Plain"]
    # The one that was opened is a favourite.
    expect(page.get_by_role("heading", name="Recently used")).to_have_count(0)


def test_all_of_the_picker_is_accessible_and_fits(site: Site, page: Page, host: str, sign_in: SignIn) -> None:
    sign_in(page, host)

    page.locator(FIRST).first.click()
    expect(page.get_by_role("heading", name="Bot")).to_be_visible()
    inspect(page)
    page.goto(f"{site.url}/servers/")
    page.get_by_role("button", name="Star Moving").click()
    expect(page.get_by_role("button", name="Star Moving", pressed=True)).to_be_visible()
    page.reload()
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

    # Images, and the site's own icon, which has the type "other".
    weighed = [request for request in sent if request.resource_type not in ("image", "other")]
    assert {request.resource_type for request in weighed} == {"document", "stylesheet", "script"}
    assert sum(request.sizes()["responseBodySize"] for request in weighed) < 60_000
    newcomer.context.close()
