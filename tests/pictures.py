"""`./run pictures`: take the pictures of the site in docs/images again.

They show the site as `./run` starts it. Names, servers and charts are the same each time; times and dates are today's.
`states.png`, a contact sheet of every page in every state, comes from `tests/browser/film_strip.py`.
`fleet.png` is a benchmark's result: `./run bench fleet --picture docs/images/fleet.png`.
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, ViewportSize, expect, sync_playwright

from tests.browser.conftest import CHROMIUM, QUIET, Site, running_site, sign_in_over_http

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
DESK: ViewportSize = {"width": 1120, "height": 760}
PHONE: ViewportSize = {"width": 390, "height": 844}
ADMIN: ViewportSize = {"width": 1080, "height": 1560}
PASSWORD = "only for pictures"

# A day's counts: busiest in the early evening, with two hours in which Discord limits and fails.
DAY = f"""
import random
from datetime import timedelta
from math import exp
from accounts.clock import database_now
from accounts.models import User
from guilds.models import ServingMinute

User.objects.create_superuser(username="root", password="{PASSWORD}")
chance = random.Random(1)
now = database_now()
for number in range(1440):
    busy = 60 + 240 * exp(-(((number - 990) / 270) ** 2)) + chance.uniform(-5, 5)
    failing = 1110 <= number < 1230
    requests = busy / 8
    ServingMinute.objects.create(
        minute=now - timedelta(minutes=1439 - number),
        fresh=busy * (0.1 if failing else 0.97),
        stale=busy * (0.88 if failing else 0.03),
        refused=busy * 0.02 if failing else 0,
        within_5_minutes=busy * 0.13,
        within_15_minutes=busy * 0.22,
        within_1_hour=busy * 0.5,
        within_4_hours=busy * 0.15,
        answered=requests * (0.2 if failing else 0.98),
        limited=requests * 0.2 if failing else 0,
        failed=requests * 0.3 if failing else 0,
        unanswered=requests * 0.03,
    )
"""
# More people in some of grace's servers, fewer in each than in the one before, for the table of servers.
PEOPLE = """
from accounts.models import User
from guilds.models import UserGuildMembership

servers = list(UserGuildMembership.objects.filter(user__discord_username="grace").order_by("guild_id")[20:45])
people = User.objects.bulk_create(User(username=f"person{number}") for number in range(300))
UserGuildMembership.objects.bulk_create(
    UserGuildMembership(
        user=person,
        guild_id=server.guild_id,
        name=server.name,
        permissions=0x20 if number % 3 == 0 else 0,
        first_seen_at=server.first_seen_at,
        changed_at=server.changed_at,
    )
    for place, server in enumerate(servers)
    for number, person in enumerate(people[: int(300 * 0.85**place)])
)
"""


@contextmanager
def page_in(browser: Browser, size: ViewportSize, dark: bool = False, scale: float = 1.5) -> Iterator[Page]:
    context = browser.new_context(
        viewport=size,
        device_scale_factor=scale,
        color_scheme="dark" if dark else "light",
        reduced_motion="reduce",
        locale="en",
    )
    yield context.new_page()
    context.close()


def take(page: Page, name: str) -> None:
    page.wait_for_load_state("networkidle")
    # The room for a scroll bar would be a stripe at the edge.
    page.evaluate("document.documentElement.style.scrollbarGutter = 'auto'")
    page.screenshot(path=IMAGES / f"{name}.png", animations="disabled")
    print(IMAGES / f"{name}.png")


def open_server(site: Site, page: Page, name: str) -> None:
    page.goto(f"{site.url}/servers/")
    page.locator(".servers").get_by_role("link", name=name).click()
    expect(page.get_by_role("heading", name=name)).to_be_visible()


def take_visitors_pages(site: Site, browser: Browser) -> None:
    with page_in(browser, DESK) as page:
        sign_in_over_http(site, page, "ada")
        for name in ("1337 Krew", "Analytical Engine Club", "Lisbon Board Gamers"):
            open_server(site, page, name)
        take(page, "server")
        open_server(site, page, "1337 Krew")
        page.get_by_role("button", name="Add to favourites").click()
        page.goto(f"{site.url}/servers/")
        take(page, "picker")
        with page_in(browser, PHONE, dark=True) as phone:
            sign_in_over_http(site, phone, "ada")
            # The first page after a sign-in has a message, which takes the room of a server.
            phone.goto(f"{site.url}/servers/")
            take(phone, "picker-phone")
        site.let_pass(65 * 60)
        site.sandbox.mood("rate_limited", retry_after=600)
        page.goto(f"{site.url}/servers/")
        expect(page.get_by_text("Discord is rate-limiting")).to_be_visible()
        take(page, "picker-limited")
        site.sandbox.mood("healthy")


def take_admin(site: Site, browser: Browser) -> None:
    with page_in(browser, ADMIN, scale=1) as page:
        sign_in_over_http(site, page, "grace")
        page.context.clear_cookies()
        site.shell(DAY)
        site.shell(PEOPLE)
        page.goto(f"{site.url}/admin/")
        page.get_by_label("Username").fill("root")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_role("heading", name="Lists by state")).to_be_visible()
        take(page, "admin")
        page.get_by_role("link", name="Last 24 hours").first.click()
        expect(page.get_by_role("columnheader", name="Managers")).to_be_visible()
        take(page, "admin-numbers")


def main() -> int:
    if CHROMIUM is None:
        print("Chromium is required", file=sys.stderr)
        return 2
    with (
        tempfile.TemporaryDirectory() as folder,
        running_site(Path(folder), {}) as site,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        take_visitors_pages(site, browser)
        take_admin(site, browser)
        browser.close()
    # pytest provides the states' database, people and sandbox. In one process and in order, as the sheet has one order.
    film_strip = ["-q", "-n0", "-p", "no:randomly", "tests/browser/film_strip.py"]
    return subprocess.run([sys.executable, "-m", "pytest", *film_strip], check=False, cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main())
