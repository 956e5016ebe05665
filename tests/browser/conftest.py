"""Chromium and the site as `./run` starts it: site and sandbox are real processes, and this one doesn't use Django.

Each test has its own person and browser context, so that one site and one sandbox can serve the whole session.
"""

import itertools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests
from playwright.sync_api import Browser, Page, Playwright, ViewportSize, expect, sync_playwright

from sandbox.remote import Remote as Sandbox
from tests.browser.looks import DESK, PHONE
from tests.conftest import REQUIRED
from tests.databases import copy_migrated_database

ROOT = Path(__file__).parents[2]
# The headless shell is the same engine without a window, and starts and renders in half the time.
BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)
# Chromium looks these hosts up at every start, but the tests have only the loopback network.
QUIET = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-gpu",
    "--no-sandbox",
    # All pages are of this machine, and one process for several of them takes less CPU than one for each.
    "--renderer-process-limit=1",
    "--disable-site-isolation-trials",
]

SignIn = Callable[[Page, str], None]

# Milliseconds. Enough for a page that waits for Discord, as everything runs on this machine.
expect.set_options(timeout=30_000)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.browser)
            if CHROMIUM is None and "browser" not in REQUIRED:
                item.add_marker(pytest.mark.skip(reason="there is no Chromium on the PATH"))


@pytest.fixture(scope="package")
def playwright() -> Iterator[Playwright]:
    """Playwright for this folder only, because its running event loop prevents other tests from starting their own."""
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="package")
def browser(playwright: Playwright) -> Iterator[Browser]:
    assert CHROMIUM, "GUILDHALL_REQUIRE names browser, and there is no Chromium on the PATH"
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def beside_playwright() -> Iterator[None]:
    """Allow Django's database calls in this thread, which Django takes for async because of Playwright's event loop."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        yield


@pytest.fixture(scope="package")
def browser_context_args() -> dict[str, Any]:
    return {}


# A `manage.py shell` that runs several pieces of code, because starting Django takes longer than any of them.
SHELL = """
import json, sys
for line in sys.stdin:
    exec(json.loads(line), {})
    print("done", flush=True)
"""


@dataclass
class Site:
    """The site at `url`, its sandbox, their logs, and methods that change the stored data."""

    url: str
    sandbox: Sandbox
    log: Path
    environment: dict[str, str]
    _shell: "subprocess.Popen[str] | None" = None

    def let_pass(self, seconds: int) -> None:
        """Shift all lists into the past, as tests.fixtures.let_pass does."""
        self.shell(
            "from datetime import timedelta; from django.db.models import F;"
            "from guilds.models import GuildListVerification as V;"
            f"d = timedelta(seconds={seconds});"
            "names = ('verified_at', 'refresh_after', 'not_before', 'lease_until', 'changed_at');"
            "V.objects.update(**{n: F(n) - d for n in names})"
        )

    def shell(self, code: str) -> None:
        """Run code in the site's own Django."""
        if self._shell is None:
            command = ["./run", "manage", "shell", "-v", "0", "-c", SHELL]
            self._shell = subprocess.Popen(
                command, cwd=ROOT, env=self.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        assert self._shell.stdin
        assert self._shell.stdout
        print(json.dumps(code), file=self._shell.stdin, flush=True)
        assert self._shell.stdout.readline() == "done\n", f"failed: {code}"

    def close(self) -> None:
        if self._shell is not None:
            self._shell.communicate(timeout=60)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def environment_in(var: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": os.environ.get("HOME", tempfile.gettempdir()),
        "ENV_FILE": os.devnull,
        "VAR_DIR": str(var),
    }


@pytest.fixture(scope="session")
def prepared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `./run prepare` leaves it, for all sites of the session: its work takes longer than their starts."""
    with pytest.MonkeyPatch.context() as environment:
        # As in `beside_playwright`, which may run already.
        environment.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        request.getfixturevalue("django_db_setup")
    var = tmp_path_factory.mktemp("prepared") / "var"
    var.mkdir(mode=0o700)
    copy_migrated_database(var / "guildhall.sqlite3")
    # With the tables and files of the examples, which don't bother a site without them.
    subprocess.run(["./run", "prepare"], cwd=ROOT, env={**environment_in(var), "EXAMPLES": "1"}, check=True)
    return var


@contextmanager
def running_site(folder: Path, settings: Mapping[str, str], prepared: Path | None = None) -> Iterator[Site]:
    """`./run` on free ports, with its data in `folder`, and with nothing else from the environment than `settings`.

    It prepares its data itself, unless it gets a copy of those in `prepared`.
    """
    port, sandbox_port, var = free_port(), free_port(), folder / "var"
    environment = {**environment_in(var), "PORT": str(port), "SANDBOX_PORT": str(sandbox_port), **settings}
    if prepared:
        shutil.copytree(prepared, var)
        environment["SKIP_PREPARE"] = "1"
    log = folder / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            ["./run"], cwd=ROOT, env=environment, stdout=output, stderr=output, start_new_session=True
        )
    site = Site(f"http://localhost:{port}", Sandbox(f"http://localhost:{sandbox_port}"), log, environment)
    try:
        wait_until_up(f"{site.url}/healthz", process)
        wait_until_up(f"{site.sandbox.url}/_sandbox/state", process)
        # Off, because `let_pass` shifts the stored times but not the sandbox's clock.
        site.sandbox.limits(per_person=False)
        yield site
    finally:
        site.close()
        process.send_signal(signal.SIGTERM)
        process.wait(60)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory, prepared: Path) -> Iterator[Site]:
    """`DISCORD_GUILD_CACHE_FRESH_MINUTES=1 ./run`, as in the README."""
    settings = {
        # All people share one address.
        "SIGN_IN_THROTTLE_ADDRESS": "off",
        "DISCORD_GUILD_CACHE_FRESH_MINUTES": "1",
        # Shorter than that minute, after which the page would refresh on its own.
        "DISCORD_MANUAL_REFRESH_SECONDS": "20",
        # The admin's charts show only what the tests have stored.
        "SERVING_FLUSH_SECONDS": "0",
    }
    with running_site(tmp_path_factory.mktemp("site"), settings, prepared) as site:
        yield site


@pytest.fixture(scope="session")
def site_with_examples(tmp_path_factory: pytest.TempPathFactory, prepared: Path) -> Iterator[Site]:
    """A second site, with the pages of `examples`."""
    settings = {
        "EXAMPLES": "1",
        "SIGN_IN_THROTTLE_ADDRESS": "off",
        "DISCORD_GUILD_CACHE_FRESH_MINUTES": "1",
        "DISCORD_MANUAL_REFRESH_SECONDS": "20",
    }
    with running_site(tmp_path_factory.mktemp("examples"), settings, prepared) as site:
        yield site


def wait_until_up(url: str, process: "subprocess.Popen[bytes]") -> None:
    # It starts Django several times, which takes over a minute on a busy machine.
    end = time.monotonic() + 180
    while time.monotonic() < end and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=2).close()
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)  # a real process starts in real time
        else:
            return
    pytest.fail(f"{url} did not come up")


numbers = itertools.count(1)


@pytest.fixture
def person(site: Site) -> Iterator[str]:
    """The name of a new person at the sandbox, in twelve servers, that no other test uses."""
    name = f"guest{next(numbers)}"
    site.sandbox.person(name, count=12)
    yield name
    site.sandbox.mood("healthy")


@pytest.fixture(params=[PHONE, DESK], ids=["phone", "desk"])
def size(request: pytest.FixtureRequest) -> ViewportSize:
    found: ViewportSize = request.param
    return found


@pytest.fixture
def without_javascript(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(java_script_enabled=False)
    yield context.new_page()
    context.close()


@pytest.fixture
def sign_in(site: Site) -> SignIn:
    """Sign in with the site's form, the sandbox's consent and the callback, over plain HTTP.

    The page then opens the picker with the cookies of that sign-in. Other tests cover clicking through it.
    """

    return partial(sign_in_over_http, site)


def sign_in_over_http(site: Site, page: Page, name: str) -> None:
    with requests.Session() as visitor:
        form = {"csrfmiddlewaretoken": csrf_token(visitor.get(f"{site.url}/sign-in/", timeout=30).text)}
        asked = visitor.post(f"{site.url}/login/discord/", form, allow_redirects=False, timeout=30)
        back = requests.get(f"{asked.headers['Location']}&as={name}", allow_redirects=False, timeout=30)
        visitor.get(back.headers["Location"], allow_redirects=False, timeout=30)
        page.context.add_cookies(
            [
                {"name": cookie.name, "value": cookie.value or "", "url": site.url, "sameSite": "Lax"}
                for cookie in visitor.cookies
            ]
        )
    page.goto(f"{site.url}/servers/")
    expect(page.get_by_role("heading", name="Your servers")).to_be_visible()


def check_that_it_is_signed_out(site: Site, page: Page) -> None:
    """Check with the page's cookies that its session has ended.

    An open page may leave for the sign-in by itself at any moment, and that would break off a navigation by the test.
    """
    response = page.request.get(f"{site.url}/servers/")
    assert response.ok
    assert response.url.startswith(f"{site.url}/sign-in/")


def csrf_token(page: str) -> str:
    token = re.search(r'csrfmiddlewaretoken" value="([^"]+)', page)
    assert token, page
    return token[1]


def start_sign_in(site: Site, page: Page, person: str) -> None:
    """Sign in by clicking, up to the page after Discord's callback."""
    page.goto(f"{site.url}/sign-in/")
    page.get_by_role("main").get_by_role("button", name="Sign in with Discord").click()
    consent(page, person)


def consent(page: Page, name: str) -> None:
    """Choose a person on the sandbox's page, and authorize the site."""
    page.get_by_role("radio", name=re.compile(rf"\b{name}\b")).check()
    page.get_by_role("button", name="Authorize").click()
