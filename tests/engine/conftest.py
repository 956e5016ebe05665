"""The engine in several processes of the site on the test's own database, with a sandbox that counts requests.

Time passes by shifting rows. Tests wait for other processes by polling, never by fixed sleeps.
"""

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from http.client import HTTPConnection
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import transaction
from django.test import Client, override_settings
from pytest_django import Settings

from accounts.clock import database_now
from accounts.models import User
from bench.sites import Site, start_all, stop_all
from guilds.models import GuildListVerification, UserGuildMembership
from sandbox.calls import BOT
from tests.databases import database_url
from tests.engine import ablations
from tests.fixtures import Sandbox

ABLATED = os.environ.get("GUILDHALL_ABLATE", "")
ablations.apply(ABLATED)

PROCESSES = 3
THREADS = 16
BUDGET, LEASE = 4, 6
BRAKE_SOFT, BRAKE_HARD = 10, 20
SETTINGS = {
    "DISCORD_FETCH_BUDGET_MS": str(BUDGET * 1000),
    "DISCORD_REQUEST_TIMEOUT_MS": "3000",
    # Long enough for a healthy Discord's response on a busy machine, and short compared with a budget.
    "DISCORD_REFRESH_WAIT_MS": "500",
    "DISCORD_API_RETRY_DELAY_MS": "20",
    "DISCORD_BRAKE_SOFT": str(BRAKE_SOFT),
    "DISCORD_BRAKE_HARD": str(BRAKE_HARD),
    "DISCORD_SEND_RATE": "50",
    # Otherwise processes that outlive a test would write their counts into the next test's database.
    "SERVING_FLUSH_SECONDS": "0",
}
# The site's processes need a manifest, which the storage of the tests lacks, and no test reads a compressed file.
STATIC_STORAGE = "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"
# Longer than a request may take, so that such a request ends with the client's timeout.
STALLED = {"latency_ms": 60_000}


def eventually(holds: Callable[[], Any], what: str, *, within: float = 15) -> None:
    """Wait until the condition, which depends on another process, holds."""
    end = time.monotonic() + within
    while not holds():
        if time.monotonic() > end:
            pytest.fail(f"it never came to this: {what}")
        time.sleep(0.02)  # a real process takes real time


@dataclass(frozen=True)
class Reply:
    """A reader's response."""

    status: int
    headers: Any = field(repr=False)
    text: str = field(repr=False)
    json: Any

    @property
    def freshness(self) -> str | None:
        return self.json.get("freshness")

    @property
    def guilds(self) -> list[str]:
        return [guild["name"] for guild in self.json["guilds"]]

    @property
    def retry_after(self) -> int:
        return int(self.headers["Retry-After"])


def send(site: Site, path: str, method: str = "GET", headers: Mapping[str, str] | None = None) -> Reply:
    """Send a request to the process.

    With `requests`, each would take four times as long in the test's process, and these tests send many.
    """
    with closing(HTTPConnection(site.address, site.port, timeout=30)) as connection:
        connection.request(method, path, headers={"Accept": "*/*", **(headers or {})})
        response = connection.getresponse()
        text = response.read().decode()
    is_json = "json" in response.headers.get("Content-Type", "")
    return Reply(response.status, response.headers, text, json.loads(text) if is_json else {})


@dataclass(frozen=True)
class Reader:
    """A signed-in person."""

    user: User
    name: str
    cookie: str = field(repr=False)

    def get(
        self, site: Site, path: str = "/api/v1/guilds/", method: str = "GET", headers: Mapping[str, str] | None = None
    ) -> Reply:
        return send(site, path, method, {"Cookie": f"guildhall_session={self.cookie}", **(headers or {})})

    def member(self, site: Site, guild_id: int) -> Reply:
        """Read what the person is in this server."""
        return self.get(site, f"/_member/{guild_id}/", headers={"Accept": "application/json"})

    @property
    def row(self) -> GuildListVerification:
        return GuildListVerification.objects.get(pk=self.user.pk)

    @property
    def stored(self) -> list[str]:
        return list(UserGuildMembership.objects.filter(user=self.user).values_list("name", flat=True))


@dataclass
class Fleet:
    """The processes of the site, and the sandbox that they share."""

    sites: list[Site]
    sandbox: Sandbox

    def __getitem__(self, index: int) -> Site:
        return self.sites[index]

    def crowd(self, readers: Sequence[Reader], times: int = 1, path: str = "/api/v1/guilds/") -> list[Reply]:
        """Read as all readers at once, `times` each, every time in the next process."""
        return at_once(
            partial(reader.get, self.sites[(number + turn) % len(self.sites)], path)
            for turn in range(times)
            for number, reader in enumerate(readers)
        )

    def members(self, readers: Iterable[tuple[Reader, int]]) -> list[Reply]:
        """Read what these people are in these servers, all at once, distributed over the processes."""
        return at_once(
            partial(reader.member, site, guild_id)
            for (reader, guild_id), site in zip(readers, cycle(self.sites), strict=False)
        )

    def freshness_once_refreshed(self, readers: Sequence[Reader]) -> set[str | None]:
        """Return what all readers get after the refreshes that they caused have ended."""
        self.crowd(readers)
        self.settle()
        return {reply.freshness for reply in self.crowd(readers)}

    def asked(self, *readers: Reader) -> int:
        """Count the list requests to Discord, for all people or only for `readers`. The bot's own don't count."""
        names = {reader.name for reader in readers}
        people = [request["person"] for request in self.sandbox.requests() if request["person"] != BOT]
        return sum(not names or person in names for person in people)

    def on_the_wire(self) -> int:
        return sum(request["status"] is None for request in self.sandbox.requests())

    def settle(self) -> None:
        """Wait until no process has a running job."""
        for site in filter(is_running, self.sites):
            finish(site)


def at_once(reads: Iterable[Callable[[], Reply]]) -> list[Reply]:
    reads = list(reads)
    with ThreadPoolExecutor(len(reads)) as pool:
        return [future.result() for future in [pool.submit(read) for read in reads]]


def is_running(site: Site) -> bool:
    return site.process is not None and site.process.poll() is None


def jobs(site: Site) -> int:
    """Return the number of running background jobs of `site`."""
    return int(send(site, "/_jobs").text)


def finish(site: Site) -> None:
    """Wait until the process has no running job. It waits by itself, because many requests would take its time."""
    assert send(site, "/_finish").text == "0", "its jobs never end"


def hold(site: Site) -> None:
    """Let the process leave all further responses of Discord unread until `site.thaw()`."""
    assert send(site, "/_hold").status == 204


def freeze(site: Site) -> None:
    """Freeze the process while it doesn't hold the lock of SQLite that all writes need.

    A transaction begins with that lock, so the process is waiting for it, if it is writing at all.
    """
    with transaction.atomic():
        site.freeze()


@pytest.fixture(scope="session")
def site_environment(
    django_db_setup: None, sandbox_process: Sandbox, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """The environment of the site's processes: this test's database, keys and sandbox."""
    folder = tmp_path_factory.mktemp("sites")
    environment = {
        "ENV_FILE": os.devnull,
        "VAR_DIR": str(folder),
        "DATABASE_URL": database_url(),
        "SECRET_KEY": os.environ["SECRET_KEY"],
        "TOKEN_KEYS": os.environ["TOKEN_KEYS"],
        # All readers share one address, without pauses.
        "API_THROTTLE_USER": "off",
        "API_THROTTLE_SERVICE": "off",
        "API_THROTTLE_ADDRESS": "off",
        "SIGN_IN_THROTTLE_ADDRESS": "off",
        "DISCORD_API_URL": f"{sandbox_process.url}/api/v10",
        "DISCORD_AUTHORIZE_URL": f"{sandbox_process.url}/oauth2/authorize",
        "DISCORD_CDN_URL": f"{sandbox_process.url}/cdn",
        "GUILDHALL_ABLATE": ABLATED,
        **SETTINGS,
    }
    storages = {**settings.STORAGES, "staticfiles": {"BACKEND": STATIC_STORAGE}}
    with override_settings(STATIC_ROOT=folder / "static", STORAGES=storages):
        call_command("collectstatic", interactive=False, verbosity=0)
    return environment


@pytest.fixture(scope="session")
def new_site(site_environment: dict[str, str]) -> Callable[..., Site]:
    """Create another process of the site, with optional settings, without starting it."""
    folder = Path(site_environment["VAR_DIR"])

    def new_site(name: str, **environment: str) -> Site:
        return Site(
            {**site_environment, **environment},
            folder / f"{name}.log",
            THREADS,
            application="tests.engine.site:application",
        )

    return new_site


@pytest.fixture(scope="session")
def running_sites(new_site: Callable[..., Site]) -> Iterator[list[Site]]:
    sites = [new_site(name) for name in "abcdefgh"[:PROCESSES]]
    try:
        start_all(sites)
        yield sites
    finally:
        stop_all(sites)


@pytest.fixture(scope="session")
def restarted() -> list[Site]:
    """Processes that a test has ended, and that have been started again since."""
    return []


@pytest.fixture
def fleet(
    running_sites: list[Site], restarted: list[Site], sandbox: Sandbox, transactional_db: None
) -> Iterator[Fleet]:
    """All processes running and idle, and an empty database. A process that has ended starts while other tests run."""
    sandbox.limits(per_second=10_000, invalid_per_10_minutes=100_000)
    while restarted:
        restarted.pop().wait_until_up()
    fleet = Fleet(list(running_sites), sandbox)
    yield fleet
    for site in fleet.sites:
        if is_running(site):
            site.thaw()
    sandbox.mood()
    fleet.settle()
    for site in running_sites:
        if not is_running(site):
            site.start()
            restarted.append(site)


@pytest.fixture
def join(sandbox: Sandbox, sign_up: Callable[..., User], client_of: Callable[[User], Client]) -> Callable[..., Reader]:
    """Create a signed-in person with a list of this age, or without a list."""

    def join(name: str = "ada", **age: float) -> Reader:
        sandbox.person(name, count=2)
        user = sign_up(name)
        if age:
            verify(user, **age)
        reader = Reader(user, name, client_of(user).cookies["guildhall_session"].value)
        sandbox.forget_requests()
        return reader

    return join


@pytest.fixture
def crowd_of(join: Callable[..., Reader]) -> Callable[..., list[Reader]]:
    def crowd_of(count: int, **age: float) -> list[Reader]:
        return [join(f"reader{number}", **age) for number in range(count)]

    return crowd_of


def verify(user: User, **age: float) -> None:
    """Store a list of this age for the person, with one server that no longer exists at Discord."""
    verified_at = database_now() - timedelta(**age)
    GuildListVerification.objects.update_or_create(
        user=user, defaults={"verified_at": verified_at, "refresh_after": verified_at + timedelta(minutes=48)}
    )
    UserGuildMembership.objects.create(
        user=user, guild_id=1, name="As it was", first_seen_at=verified_at, changed_at=verified_at
    )


@pytest.fixture(autouse=True)
def as_the_sites(settings: Settings) -> None:
    """Use the same times in this process as in those it starts."""
    for name, value in SETTINGS.items():
        setattr(settings, name, int(value))
