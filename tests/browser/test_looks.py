"""What the other tests rely on: that a fault of a page is found."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.looks import TWO_LOOKS, check_that_it_fits, inspect

PAGE = """<!doctype html><html lang="en"><meta name="viewport" content="width=device-width"><title>A page</title>
<style>main { padding: 8px } @media (prefers-color-scheme: dark) { html { background: #000; color: #fff } }</style>
<main><h1>A page</h1>%s</main>"""


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Page]:
    with browser.new_context() as context:
        yield context.new_page()


def test_a_page_without_faults_passes(page: Page) -> None:
    page.set_content(PAGE % "<p>Some text</p>")

    inspect(page)
    check_that_it_fits(page)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("<img src='data:,'>", "image-alt"),
        ("<p style='color: #fff; background: #eee'>Some text</p>", "color-contrast"),
        (
            "<style>@media (prefers-color-scheme: dark) { p { color: #111 } }</style><p>Some text</p>",
            "dark, .*contrast",
        ),
        ("<style>@media (width > 1000px) { p { color: #111 } }</style><p>Some text</p>", "1280 px .*contrast"),
        ("<style>@media (width < 1000px) { p { width: 1000px } }</style><p>Some text</p>", "390 px"),
    ],
)
def test_a_fault_in_any_look_is_found(page: Page, fault: str, words: str) -> None:
    page.set_content(PAGE % fault)

    with pytest.raises(AssertionError, match=f"(?s){words}"):
        inspect(page, looks=TWO_LOOKS)


@pytest.mark.parametrize(
    ("scheme", "width", "words"),
    [
        ("light", "width < 1000px", "light, 390 px"),
        ("dark", "width < 1000px", "dark, 390 px"),
        ("light", "width > 1000px", "light, 1280 px"),
        ("dark", "width > 1000px", "dark, 1280 px"),
    ],
)
@pytest.mark.parametrize(
    ("colours", "rule"),
    [
        ("p { color: #777; background: #888 }", "color-contrast"),
        ("p { color: #000; background: #fff } a { color: #222; text-decoration: none }", "link-in-text-block"),
    ],
)
def test_colours_are_checked_in_all_four_looks(
    page: Page, scheme: str, width: str, words: str, colours: str, rule: str
) -> None:
    faulty = f"@media ({width}) and (prefers-color-scheme: {scheme}) {{ {colours} }}"
    page.set_content(
        PAGE % f"<style>a {{ color: inherit }} {faulty}</style><p>Some text, and <a href='/'>a link</a></p>"
    )

    with pytest.raises(AssertionError, match=f"(?s){words}.*{rule}"):
        inspect(page)


def test_a_rule_that_is_known_to_be_violated_is_left_out(page: Page) -> None:
    page.set_content(PAGE % "<img src='data:,'>")

    inspect(page, looks=TWO_LOOKS, known=["image-alt"])


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("<div style='width: 330px'>Text</div>", "text at 100 %.*330px"),
        ("<div style='width: 20rem'>Text</div>", "text at 100 %.*20rem"),
        ("<div style='width: 12rem'>Text</div>", "text at 200 %.*12rem"),
        ("<div style='margin-left: -6px'>Text</div>", "text at 100 %.*margin-left"),
        ("<details><summary>More</summary><div style='width: 330px'>Text</div></details>", "330px"),
        ("<p style='width: 2ch; word-break: break-all'>Some text</p>", "text at 100 %.*Some in Some text"),
        ("<p style='width: 50px; word-break: break-all'>Some</p>", "text at 150 %.*Some in Some"),
    ],
)
def test_what_does_not_fit_is_found_at_each_text_size(page: Page, fault: str, words: str) -> None:
    page.set_content(PAGE % fault)

    with pytest.raises(AssertionError, match=f"(?s){words}"):
        check_that_it_fits(page)


@pytest.mark.parametrize(
    "held",
    [
        "<div style='overflow: auto'><div style='width: 330px'>Text</div></div>",
        "<div style='position: absolute; left: -9px; width: 4px; height: 4px; clip-path: inset(50%)'></div>",
        "<p style='width: 2ch; word-break: break-all'><code>Some text</code></p>",
    ],
)
def test_what_is_held_fits(page: Page, held: str) -> None:
    page.set_content(PAGE % held)

    check_that_it_fits(page)
