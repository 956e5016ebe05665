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
# Opens whatever can be opened, and returns for each text size the faults of the page:
# - What stands out of the window, or out of the column of the page's content. What a scroller or a clip holds, and what
#   only screen readers get, doesn't.
# - Short words that are broken into lines, because the boxes around them take the room. Code and addresses have none.
MISFITS = r"""
(sizes) => {
  const root = document.documentElement, main = document.querySelector("main"), style = main && getComputedStyle(main);
  const held = (element) => {
    for (let at = element; at && at !== document.body; at = at.parentElement) {
      const { overflowX, clipPath } = getComputedStyle(at);
      if (clipPath !== "none" || (at !== element && overflowX !== "visible")) return true;
    }
    return false;
  };
  const overflowing = () => {
    const column = main?.getBoundingClientRect();
    const start = main && column.left + parseFloat(style.paddingLeft);
    const end = main && column.right - parseFloat(style.paddingRight);
    const found = [...document.body.querySelectorAll("*")].filter((element) => {
      const box = element.getBoundingClientRect();
      const [left, right] = main?.contains(element) && element !== main ? [start, end] : [0, innerWidth];
      if (!box.width || !box.height || (box.left >= left - 1 && box.right <= right + 1)) return false;
      return element.checkVisibility() && !held(element);
    });
    if (root.scrollWidth > innerWidth) found.push(root);
    return found.map((element) => element.outerHTML.slice(0, 200));
  };
  const broken = () => {
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
  };
  document.querySelectorAll("details").forEach((details) => (details.open = true));
  const misfits = sizes.map((size) => {
    root.style.fontSize = `${size}%`;
    return [overflowing(), broken()];
  });
  root.style.fontSize = "";
  return misfits;
}
"""

# Returns what axe found, and whether the page fits into the window. Only what is asked for is passed on: what axe has
# found to be in order is a large part of its work, and many times as long.
INSPECT = """
async ([part, options]) => {
  // Wait for the end of colour transitions, which Django's admin uses.
  await Promise.allSettled(document.getAnimations().map((animation) => animation.finished));
  const { violations } = await axe.run(part || document, { ...options, reporter: "no-passes" });
  return [violations, document.documentElement.scrollWidth <= innerWidth];
}
"""

# The rules that compare colours, which take most of axe's time. What the others check is the same in light and dark.
COLOURS = ("color-contrast", "link-in-text-block")

# A selector, or axe's own context, such as {"exclude": [[".not-ours"]]}.
Part = str | dict[str, list[list[str]]]


def inspect(page: Page, part: Part | None = None, looks: Sequence[Look] = LOOKS, known: Sequence[str] = ()) -> None:
    """Check that axe reports no violations in the page, or in `part` of it, and that nothing overflows, in all `looks`.

    `known` names rules that third-party markup violates.
    """
    everything = {"rules": {rule: {"enabled": False} for rule in known}}
    colours = {"runOnly": {"type": "rule", "values": [rule for rule in COLOURS if rule not in known]}}
    # A click on a link returns before the next page is loaded.
    page.wait_for_load_state("load")
    if isinstance(part, str):
        page.locator(part).wait_for()
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE_SCRIPT)
    width = None
    for size, scheme in looks:
        options = colours if size["width"] == width else everything
        width = size["width"]
        page.set_viewport_size(size)
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        violations, fits = page.evaluate(INSPECT, [part, options])
        look = f"{page.url}, {scheme}, {size['width']} px wide"
        assert violations == [], f"{look}: {AxeResults({'violations': violations}).generate_report()}"
        assert fits, look


def inspect_at_its_size(page: Page) -> None:
    """Check as `inspect` does, in the one of `TWO_LOOKS` that has the page's size, for tests that run at both."""
    (look,) = (look for look in TWO_LOOKS if look[0] == page.viewport_size)
    inspect(page, looks=[look])


def check_that_it_fits(page: Page) -> None:
    """Check that the page fits on the narrowest screen, at each text size, whatever can be opened being open.

    Nothing overflows, and no short word is broken.
    """
    page.set_viewport_size(NARROW)
    for size, misfits in zip(TEXT_SIZES, page.evaluate(MISFITS, TEXT_SIZES), strict=True):
        assert misfits == [[], []], f"{page.url}, {NARROW['width']} px wide, text at {size} %: {misfits}"


def faults_of(page: Page) -> list[str]:
    """Return a list that collects the page's Content-Security-Policy violations and script errors."""
    faults: list[str] = []
    page.on("console", lambda line: faults.append(line.text) if "Content Security Policy" in line.text else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    return faults
