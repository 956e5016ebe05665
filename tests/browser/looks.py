"""Pages looked at as people see them: on a phone and at a desk, in light and dark."""

from collections.abc import Sequence
from typing import Literal

from axe_playwright_python.base import AXE_SCRIPT, AxeResults
from playwright.sync_api import Page, ViewportSize

PHONE: ViewportSize = {"width": 390, "height": 844}
DESK: ViewportSize = {"width": 1280, "height": 800}
Look = tuple[ViewportSize, Literal["light", "dark"]]
LOOKS: tuple[Look, ...] = ((PHONE, "light"), (PHONE, "dark"), (DESK, "light"), (DESK, "dark"))
# Each size and each scheme once, for the many pages whose parts are looked at in all four elsewhere.
TWO_LOOKS: tuple[Look, ...] = ((PHONE, "light"), (DESK, "dark"))

# A selector, or axe's own context, such as {"exclude": [[".not-ours"]]}.
Part = str | dict[str, list[list[str]]]


def inspect(page: Page, part: Part | None = None, looks: Sequence[Look] = LOOKS, known: Sequence[str] = ()) -> None:
    """Axe finds nothing in the page, or in that `part` of it, and nothing of the page is too wide, in each of `looks`.

    `known` names the rules that others have broken in it.
    """
    options = {"resultTypes": ["violations"], "rules": {rule: {"enabled": False} for rule in known}}
    # A click that leads elsewhere returns before the next page is there.
    page.wait_for_load_state("load")
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE_SCRIPT)
    for size, scheme in looks:
        page.set_viewport_size(size)
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        # A colour on its way to another is none that somebody reads; Django's admin fades them all the same.
        page.evaluate("Promise.allSettled(document.getAnimations().map(animation => animation.finished))")
        found = AxeResults(page.evaluate("([part, options]) => axe.run(part || document, options)", [part, options]))
        look = f"{page.url}, {scheme}, {size['width']} px wide"
        assert found.violations_count == 0, f"{look}: {found.generate_report()}"
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), look


def faults_of(page: Page) -> list[str]:
    """What the Content-Security-Policy will refuse and what scripts will raise in the page; a list that grows."""
    faults: list[str] = []
    page.on("console", lambda line: faults.append(line.text) if "Content Security Policy" in line.text else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    return faults
