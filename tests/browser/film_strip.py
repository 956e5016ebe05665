"""A contact sheet of every page in every state: on a phone in light, and on a desk in dark.

`./run pictures` runs this file by its name; as a test it would only take pictures.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from urllib.parse import urlencode

import pytest
from django.template.autoreload import reset_loaders
from django.test import Client
from PIL import Image, ImageDraw, ImageFont
from playwright.sync_api import Browser, Page, ViewportSize

from accounts import gate
from accounts.models import DiscordGate, User
from tests import states
from tests.browser.rendered import show
from tests.fixtures import Sandbox
from tests.states import FRAGMENTS, PAGES, Visit

pytestmark = [pytest.mark.urls(states.__name__), pytest.mark.usefixtures("beside_playwright")]

SHEET = Path(__file__).parents[2] / "docs" / "images" / "states.png"
PHONE: ViewportSize = {"width": 390, "height": 844}
DESK: ViewportSize = {"width": 1120, "height": 844}
# The size of a page on the sheet, and how many states are beside each other.
SCALE = 0.34
COLUMNS = 4
GAP, CAPTION, FONT = 12, 24, 13
COLOURS = 256
# The admin's pages, and who opens them.
ADMIN = {
    "admin": ("staff", "/admin/"),
    "admin, gate shut": ("staff", "/admin/"),
    "admin, lists": ("staff", "/admin/guilds/guildlistverification/"),
    "admin, people": ("staff", "/admin/accounts/user/"),
    "admin, numbers": ("staff", "/admin/guilds/servingminute/"),
    "admin, log in": ("visitor", "/admin/"),
    "admin, no access": ("person", "/admin/"),
}
ASKED = {
    "client_id": "guildhall",
    "response_type": "code",
    "redirect_uri": "http://localhost:8000/complete/discord/",
    "scope": "identify guilds",
}
SANDBOX = {
    "sandbox, consent": f"/oauth2/authorize?{urlencode(ASKED)}",
    "sandbox, control": "/_sandbox/",
    "sandbox, server": "/_sandbox/guilds/{guild}",
}


@dataclass(frozen=True)
class Frame:
    name: str
    phone: Image.Image
    desk: Image.Image


@pytest.fixture(scope="module")
def strip() -> Iterator[list[Frame]]:
    """The frames taken so far; once all are taken, they are laid out on the sheet."""
    frames: list[Frame] = []
    yield frames
    lay_out(frames).save(SHEET, optimize=True)


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Page]:
    # The site's policy allows images from Discord, not from the tests' sandbox.
    with browser.new_context(bypass_csp=True, reduced_motion="reduce", device_scale_factor=SCALE * 2) as context:
        yield context.new_page()


@pytest.mark.parametrize("name", [name for name in PAGES if name not in FRAGMENTS])
def test_frame(
    with_list: Callable[..., User],
    client_of: Callable[[User], Client],
    sandbox: Sandbox,
    page: Page,
    strip: list[Frame],
    name: str,
) -> None:
    reset_loaders()
    user = with_list("ada", minutes=10)
    ada, visitor = client_of(user), Client()
    for client in (ada, visitor):
        client.raise_request_exception = False

    show(page, PAGES[name][1](Visit(ada, visitor, user, sandbox)), images_from=sandbox.url)
    strip.append(frame(page, name))


@pytest.mark.parametrize("name", ADMIN)
def test_frame_of_the_admin(
    with_list: Callable[..., User],
    client_of: Callable[[User], Client],
    staff: User,
    sandbox: Sandbox,
    page: Page,
    strip: list[Frame],
    name: str,
) -> None:
    ada = with_list("ada", minutes=10)
    clients = {"staff": client_of(staff), "person": client_of(ada), "visitor": Client()}
    who, path = ADMIN[name]
    if name == "admin, gate shut":
        _gate, now = gate.read()
        DiscordGate.objects.update(streak=1, until=now + timedelta(minutes=5), reason="global_limit")

    show(page, clients[who].get(path, follow=True), images_from=sandbox.url)
    strip.append(frame(page, name))


@pytest.mark.parametrize("name", SANDBOX)
def test_frame_of_the_sandbox(sandbox: Sandbox, page: Page, strip: list[Frame], name: str) -> None:
    guild = sandbox.call("GET", "people/ada")["guilds"][0]["id"]

    page.unroute_all()
    page.goto(sandbox.url + SANDBOX[name].format(guild=guild))
    strip.append(frame(page, name))


def frame(page: Page, name: str) -> Frame:
    """Take both pictures of the page that is open."""
    page.wait_for_load_state("networkidle")
    page.emulate_media(color_scheme="light")
    phone = take(page, PHONE)
    page.emulate_media(color_scheme="dark")
    return Frame(name, phone, take(page, DESK))


def take(page: Page, size: ViewportSize) -> Image.Image:
    page.set_viewport_size(size)
    # The room for a scroll bar would be a stripe at the edge.
    page.evaluate("document.documentElement.style.scrollbarGutter = 'auto'")
    picture = Image.open(BytesIO(page.screenshot(animations="disabled"))).convert("RGB")
    return picture.resize((round(size["width"] * SCALE), round(size["height"] * SCALE)), Image.Resampling.LANCZOS)


def lay_out(frames: list[Frame]) -> Image.Image:
    """Return the frames in rows, each with its name above it."""
    first = frames[0]
    width = first.phone.width + GAP // 2 + first.desk.width
    height = CAPTION + first.desk.height
    rows = -(-len(frames) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * (width + GAP) + GAP, rows * (height + GAP) + GAP), "#8a8f98")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(FONT)
    for number, frame in enumerate(frames):
        left = GAP + number % COLUMNS * (width + GAP)
        top = GAP + number // COLUMNS * (height + GAP)
        draw.text((left, top), frame.name, fill="black", font=font)
        sheet.paste(frame.phone, (left, top + CAPTION))
        sheet.paste(frame.desk, (left + frame.phone.width + GAP // 2, top + CAPTION))
    # A palette without dithering, which compresses to a fraction.
    return sheet.quantize(COLOURS, dither=Image.Dither.NONE)
