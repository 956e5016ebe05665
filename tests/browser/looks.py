"""Checks of rendered pages: on a phone and a desktop, in light and dark."""

from collections.abc import Sequence
from typing import Literal

from axe_playwright_python.base import AXE_SCRIPT, AxeResults
from playwright.sync_api import Page, ViewportSize

PHONE: ViewportSize = {"width": 390, "height": 844}
DESK: ViewportSize = {"width": 1280, "height": 800}
Look = tuple[ViewportSize, Literal["light", "dark"]]
LOOKS: tuple[Look, ...] = ((PHONE, "light"), (PHONE, "dark"), (DESK, "light"), (DESK, "dark"))
# Each size and each scheme once, for pages whose parts other tests check in all four combinations.
TWO_LOOKS: tuple[Look, ...] = ((PHONE, "light"), (DESK, "dark"))

# The narrowest screen that WCAG 1.4.10 names, and the text sizes up to which 1.4.4 demands that nothing is lost.
NARROW: ViewportSize = {"width": 320, "height": 640}
TEXT_SIZES = (100, 150, 200)
# What stands out of the window, or out of the column of the page's content. What a scroller or a clip holds, and what
# only screen readers get, doesn't.
OVERFLOWING = """
() => {
  const main = document.querySelector("main"), style = main && getComputedStyle(main);
  const column = main?.getBoundingClientRect();
  const held = (element) => {
    for (let at = element; at && at !== document.body; at = at.parentElement) {
      const { overflowX, clipPath } = getComputedStyle(at);
      if (clipPath !== "none" || (at !== element && overflowX !== "visible")) return true;
    }
    return false;
  };
  const found = [...document.body.querySelectorAll("*")].filter((element) => {
    const box = element.getBoundingClientRect();
    if (!box.width || !box.height || !element.checkVisibility() || held(element)) return false;
    const inside = main?.contains(element) && element !== main;
    const left = inside ? column.left + parseFloat(style.paddingLeft) : 0;
    const right = inside ? column.right - parseFloat(style.paddingRight) : innerWidth;
    return box.left < left - 1 || box.right > right + 1;
  });
  if (document.documentElement.scrollWidth > innerWidth) found.push(document.documentElement);
  return found.map((element) => element.outerHTML.slice(0, 200));
}
"""

# Short words that are broken into lines, because the boxes around them take the room. Code and addresses have none.
BROKEN = r"""
() => {
  const found = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), range = new Range();
  for (let text = walker.nextNode(); text; text = walker.nextNode()) {
    const element = text.parentElement;
    if (!element.checkVisibility() || element.closest("code, pre, option, bdi, .unseen, .search button")) continue;
    for (const { 0: word, index } of text.data.matchAll(/(?<=^|\s)[\p{L}\p{N}]+(?=$|[\s.,:;!?])/gu)) {
      if (word.length > 7) continue;
      range.setStart(text, index);
      range.setEnd(text, index + word.length);
      const lines = new Set([...range.getClientRects()].map((box) => box.top));
      if (lines.size > 1) found.push(`${word} in ${text.data.trim()}`);
    }
  }
  return found;
}
"""

# A selector, or axe's own context, such as {"exclude": [[".not-ours"]]}.
Part = str | dict[str, list[list[str]]]


def inspect(page: Page, part: Part | None = None, looks: Sequence[Look] = LOOKS, known: Sequence[str] = ()) -> None:
    """Check that axe reports no violations in the page, or in `part` of it, and that nothing overflows, in all `looks`.

    `known` names rules that third-party markup violates.
    """
    options = {"resultTypes": ["violations"], "rules": {rule: {"enabled": False} for rule in known}}
    # A click on a link returns before the next page is loaded.
    page.wait_for_load_state("load")
    if isinstance(part, str):
        page.locator(part).wait_for()
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE_SCRIPT)
    for size, scheme in looks:
        page.set_viewport_size(size)
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        # Wait for the end of colour transitions, which Django's admin uses.
        page.evaluate("Promise.allSettled(document.getAnimations().map(animation => animation.finished))")
        found = AxeResults(page.evaluate("([part, options]) => axe.run(part || document, options)", [part, options]))
        look = f"{page.url}, {scheme}, {size['width']} px wide"
        assert found.violations_count == 0, f"{look}: {found.generate_report()}"
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), look


def check_that_it_fits(page: Page) -> None:
    """Check that the page fits on the narrowest screen, at each text size, whatever can be opened being open.

    Nothing overflows, and no short word is broken.
    """
    page.set_viewport_size(NARROW)
    page.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true; })")
    for size in TEXT_SIZES:
        page.evaluate("size => document.documentElement.style.fontSize = `${size}%`", size)
        assert page.evaluate(OVERFLOWING) == [], f"{page.url}, {NARROW['width']} px wide, text at {size} %"
        assert page.evaluate(BROKEN) == [], f"{page.url}, {NARROW['width']} px wide, text at {size} %"
    page.evaluate("document.documentElement.style.fontSize = ''")


def faults_of(page: Page) -> list[str]:
    """Return a list that collects the page's Content-Security-Policy violations and script errors."""
    faults: list[str] = []
    page.on("console", lambda line: faults.append(line.text) if "Content Security Policy" in line.text else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    return faults
