"""The engine as it runs: several processes of the site on the test's own database, and a sandbox that counts.

Time passes by shifting rows. What another process does is waited for, never slept for.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests
from django.db import connection
from django.test import Client

from accounts.clock import database_now
from accounts.models import User
from bench.sites import ROOT, Site, start_all
from guilds.models import GuildListVerification, UserGuildMembership
from tests.engine import ablations
from tests.fixtures import Sandbox

ABLATED = os.environ.get("GUILDHALL_ABLATE", "")
ablations.apply(ABLATED)

PROCESSES = 3
THREADS = 16
BUDGET, LEASE = 4, 6
BRAKE_SOFT, BRAKE_HARD = 20, 40
SETTINGS = {
    "DISCORD_FETCH_BUDGET_MS": str(BUDGET * 1000),
    "DISCORD_REQUEST_TIMEOUT_MS": "3000",
    # Long enough for a healthy Discord's answer on a busy machine, short beside a budget.
    "DISCORD_REFRESH_WAIT_MS": "500",
    "DISCORD_API_RETRY_DELAY_MS": "20",
    "DISCORD_BRAKE_SOFT": str(BRAKE_SOFT),
    "DISCORD_BRAKE_HARD": str(BRAKE_HARD),
    "DISCORD_SEND_RATE": "50",
    # Processes that outlive a test would write what they served into the next one's database.
    "SERVING_FLUSH_SECONDS": "0",
}
# Longer than a request may take: whoever meets it stays on the wire until the client gives up.
STALLED = {"latency_ms": 60_000}


def eventually(holds: Callable[[], Any], what: str, *, within: float = 15) -> None:
    """Wait until another process has done something."""
    end = time.monotonic() + within
    while not holds():
        if time.monotonic() > end:
            pytest.fail(f"it never came to this: {what}")
        time.sleep(0.02)  # a real process takes real time


@dataclass(frozen=True)
class Reply:
    """What a reader got."""

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


@dataclass(frozen=True)
class Reader:
    """Somebody who is signed in."""

    user: User
    name: str
    cookie: str = field(repr=False)

    def get(self, site: Site, path: str = "/api/v1/guilds/", method: str = "GET", **options: Any) -> Reply:
        answer = requests.request(
            method, site.url + path, cookies={"guildhall_session": self.cookie}, timeout=30, **options
        )
        is_json = "json" in answer.headers.get("Content-Type", "")
        return Reply(answer.status_code, answer.headers, answer.text, answer.json() if is_json else {})

    @property
    def row(self) -> GuildListVerification:
        return GuildListVerification.objects.get(pk=self.user.pk)

    @property
    def stored(self) -> list[str]:
        return list(UserGuildMembership.objects.filter(user=self.user).values_list("name", flat=True))


@dataclass
class Fleet:
    """The processes of the site, and the Discord that they share."""

    sites: list[Site]
    sandbox: Sandbox

    def __getitem__(self, index: int) -> Site:
        return self.sites[index]

    def crowd(self, readers: Sequence[Reader], times: int = 1, path: str = "/api/v1/guilds/") -> list[Reply]:
        """All readers at once, `times` each, spread over the processes."""
        reads = [
            partial(reader.get, site, path)
            for reader, site in zip(list(readers) * times, cycle(self.sites), strict=False)
        ]
        with ThreadPoolExecutor(len(reads)) as pool:
            return [future.result() for future in [pool.submit(read) for read in reads]]

    def freshness_once_refreshed(self, readers: Sequence[Reader]) -> set[str | None]:
        """What all readers get when the refreshes that they set off are done: on a busy machine not the first reply."""
        self.crowd(readers)
        self.settle()
        return {reply.freshness for reply in self.crowd(readers)}

    def asked(self, *readers: Reader) -> int:
        """How often Discord was asked for a list: anybody's, or only that of `readers`."""
        names = {reader.name for reader in readers}
        return sum(not names or request["person"] in names for request in self.sandbox.requests())

    def on_the_wire(self) -> int:
        return sum(request["status"] is None for request in self.sandbox.requests())

    def settle(self) -> None:
        """Wait until no process is at anything."""
        eventually(lambda: sum(map(jobs, self.sites)) == 0, "all jobs are done")


def jobs(site: Site) -> int:
    """The background jobs that `site` has running; none if it isn't running itself."""
    if site.process is None or site.process.poll() is not None:
        return 0
    return int(requests.get(f"{site.url}/_jobs", timeout=30).text)


def database_url() -> str:
    settings = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{settings['NAME']}"
    name, password = quote(settings["USER"]), quote(settings["PASSWORD"])
    return f"postgres://{name}:{password}@{settings['HOST']}:{settings['PORT']}/{settings['NAME']}"


@pytest.fixture(scope="session")
def site_environment(
    django_db_setup: None, sandbox_process: Sandbox, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """What a process of the site has to know: this test's database, keys and sandbox."""
    folder = tmp_path_factory.mktemp("sites")
    environment = {
        "ENV_FILE": os.devnull,
        "VAR_DIR": str(folder),
        "DATABASE_URL": database_url(),
        "SECRET_KEY": os.environ["SECRET_KEY"],
        "TOKEN_KEYS": os.environ["TOKEN_KEYS"],
        # One address plays everybody, as fast as it can.
        "API_THROTTLE_USER": "off",
        "API_THROTTLE_ADDRESS": "off",
        "DISCORD_API_URL": f"{sandbox_process.url}/api/v10",
        "DISCORD_AUTHORIZE_URL": f"{sandbox_process.url}/oauth2/authorize",
        "DISCORD_CDN_URL": f"{sandbox_process.url}/cdn",
        "GUILDHALL_ABLATE": ABLATED,
        **SETTINGS,
    }
    collect = [sys.executable, "manage.py", "collectstatic", "--noinput", "--verbosity", "0"]
    subprocess.run(collect, cwd=ROOT, env=environment, check=True)
    return environment


@pytest.fixture(scope="session")
def new_site(site_environment: dict[str, str]) -> Callable[..., Site]:
    """Another process of the site, not yet started, with settings of its own if need be."""
    folder = Path(site_environment["VAR_DIR"])

    def new_site(name: str, **environment: str) -> Site:
        return Site(
            {**site_environment, **environment}, folder / f"{name}.log", THREADS, "tests.engine.site:application"
        )

    return new_site


@pytest.fixture(scope="session")
def running_sites(new_site: Callable[..., Site]) -> Iterator[list[Site]]:
    sites = [new_site(name) for name in "abcdefgh"[:PROCESSES]]
    try:
        start_all(sites)
        yield sites
    finally:
        for site in sites:
            site.stop()


@pytest.fixture
def fleet(running_sites: list[Site], sandbox: Sandbox, transactional_db: None) -> Iterator[Fleet]:
    """All processes up and idle, and nothing stored; those that a test kills come back for the next."""
    sandbox.limits(per_second=10_000, invalid_per_10_minutes=100_000)
    fleet = Fleet(running_sites, sandbox)
    start_all([site for site in fleet.sites if site.process is None or site.process.poll() is not None])
    yield fleet
    for site in fleet.sites:
        if site.process and site.process.poll() is None:
            site.thaw()
    sandbox.mood()
    fleet.settle()


@pytest.fixture
def join(sandbox: Sandbox, sign_up: Callable[..., User], client_of: Callable[[User], Client]) -> Callable[..., Reader]:
    """Somebody who has signed in, with a list that old, or with none."""

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
    """Give the person a list that was verified that long ago, with one server that Discord doesn't know any more."""
    verified_at = database_now() - timedelta(**age)
    GuildListVerification.objects.update_or_create(
        user=user, defaults={"verified_at": verified_at, "refresh_after": verified_at + timedelta(minutes=48)}
    )
    UserGuildMembership.objects.create(
        user=user, guild_id=1, name="As it was", first_seen_at=verified_at, changed_at=verified_at
    )


@pytest.fixture(autouse=True)
def as_the_sites(settings: Any) -> None:
    """The engine's times are the same in this process as in those it starts."""
    for name, value in SETTINGS.items():
        setattr(settings, name, int(value))
