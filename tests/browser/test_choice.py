"""The search of a select of roles or channels, with the site's script alone."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.conftest import ROOT

# As `templates/guilds/_directory_select.html` shows it.
FORM = """
<form>
  <div data-choice>
    <input type="search" hidden>
    <select name="channel">
      <option value="">No channel</option>
      <option value="1">#lobby</option>
      <optgroup label="Text"><option value="2">#général</option><option value="3" selected>#news</option></optgroup>
      <optgroup label="Voice"><option value="4">Lounge</option></optgroup>
    </select>
    <output data-found="Found: #"></output>
  </div>
  <button>Save</button>
</form>
"""
ALL = ["No channel", "#lobby", "#général", "#news", "Lounge"]


@pytest.fixture
def form(browser: Browser) -> Iterator[Page]:
    page = browser.new_page()
    page.set_content(f"{FORM}<script>{(ROOT / 'static' / 'guildhall.js').read_text()}</script>")
    yield page
    page.close()


def options(page: Page) -> Locator:
    return page.locator("option")


@pytest.mark.parametrize(
    ("words", "left", "found"),
    [
        ("GENERAL", ["#général", "#news"], "Found: 1"),
        ("lo", ["#lobby", "#news", "Lounge"], "Found: 2"),
        ("n e", ["#général", "#news", "Lounge"], "Found: 3"),
        ("new", ["#news"], "Found: 1"),
        ("nothing", ["#news"], "Found: 0"),
        ("  ", ALL, ""),
    ],
)
def test_a_search_shows_what_matches_and_keeps_what_is_chosen(
    form: Page, words: str, left: list[str], found: str
) -> None:
    for typed in ("general", "lou", "", words):
        form.get_by_role("searchbox").fill(typed)

    expect(options(form)).to_have_text(left)
    expect(form.locator("select")).to_have_value("3")
    expect(form.locator("output")).to_have_text(found)


def test_after_a_search_everything_is_as_it_was(form: Page) -> None:
    form.get_by_role("searchbox").fill("lou")
    form.locator("select").select_option("4")
    form.get_by_role("searchbox").fill("")

    expect(options(form)).to_have_text(ALL)
    expect(form.locator("optgroup")).to_have_count(2)
    expect(form.locator("select")).to_have_value("4")


def test_enter_in_the_search_does_not_send_the_form(form: Page) -> None:
    form.get_by_role("searchbox").press("Enter")
    assert "channel" not in form.url

    form.locator("button").press("Enter")
    form.wait_for_url("**channel=3")
