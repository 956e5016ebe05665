"""The cost of a fresh list, compared with an empty view that loads session and user, and with common approaches.

Also the cost of a fresh role: a page behind one, compared with the same page without.

One process of the site serves one client; another one with Django's own sessions and authentication (`bench.hit_stock`)
serves the pages it is compared with. Each round loads all pages in a random order, so that other load on the machine
affects them equally. Times are medians, ratios are medians of the rounds' ratios.
"""

import argparse
import cProfile
import gc
import http.client
import json
import os
import pstats
import random
import statistics
import time
from dataclasses import dataclass, field
from datetime import timedelta

from django.conf import settings
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext, override_settings

from accounts.clock import database_now
from bench.cluster import Person, sign_in, stock_session_of
from bench.member_urls import STAFF
from bench.sites import Site, start_all
from bench.stage import Stage
from guilds.models import GuildMember, UserGuildMembership

SIZES = (0, 20, 100, 200)
JUDGED = 100
FLOOR, API, NOT_MODIFIED, PICKER = "empty view", "API list", "API list, 304", "picker"
GUILD, ROLE = "page of a guild", "the same, with role"
USUAL_DRF, USUAL_CACHE = "usual DRF list", "usual cached list"
PATHS = {
    FLOOR: "/_bench/floor/",
    API: "/api/v1/guilds/",
    NOT_MODIFIED: "/api/v1/guilds/",
    PICKER: "/servers/",
    GUILD: "/_guild/{guild_id}/",
    ROLE: "/_role/{guild_id}/",
    USUAL_DRF: "/_bench/usual-drf/",
    USUAL_CACHE: "/_bench/usual-cache/",
}
LISTS = (API, NOT_MODIFIED, PICKER)
# Pages about one guild; people without guilds have none.
ENTERED = (GUILD, ROLE)
OURS = (*LISTS, *ENTERED)
PROFILED = {"api": API, "picker": PICKER, "guild": GUILD, "role": ROLE}
# What a page's time is a multiple of, if not of an empty view.
BASES = {ROLE: GUILD}
# The limits for a hit with 100 guilds: its time as a multiple of its base's, and its queries.
MAX_RATIOS = {API: 1.25, NOT_MODIFIED: 1.1, PICKER: 3.0, ROLE: 1.15}
MAX_QUERIES = 1
# How many queries a role may add.
MAX_ROLE_QUERIES = 1


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--redis", default="", metavar="URL", help="where snapshots are cached (default: in the process)"
    )
    parser.add_argument("--rounds", type=int, default=300, help="how often to load each page (%(default)s)")
    parser.add_argument("--profile", choices=PROFILED, help=f"profile this page with {JUDGED} guilds, by function")


@dataclass
class Page:
    """A page, loaded by one client over a persistent connection."""

    path: str
    headers: dict[str, str]
    status: int
    wire: http.client.HTTPConnection = field(repr=False)
    seconds: list[float] = field(default_factory=list, repr=False)

    def load(self) -> http.client.HTTPResponse:
        started = time.perf_counter()
        self.wire.request("GET", self.path, headers=self.headers)
        response = self.wire.getresponse()
        response.read()
        self.seconds.append(time.perf_counter() - started)
        if response.status != self.status:
            raise SystemExit(f"{self.path} returned {response.status} instead of {self.status}")
        return response

    @property
    def milliseconds(self) -> float:
        return statistics.median(self.seconds) * 1000

    def ratio_to(self, other: "Page") -> float:
        """Return the median of the rounds' ratios; a temporary slowdown affects both pages of a round."""
        return statistics.median(mine / its for mine, its in zip(self.seconds, other.seconds, strict=True))


def run(stage: Stage, options: argparse.Namespace) -> int:
    started = time.monotonic()
    people = {size: sign_in(stage, f"in{size}", size, age=timedelta(minutes=10)) for size in SIZES}
    guilds = {size: employ(person) for size, person in people.items() if size}
    environment = {**os.environ, "REDIS_URL": options.redis}
    ours = Site(environment, stage.folder / "site.log", application="bench.member_site:application")
    stock = Site(environment, stage.folder / "stock.log", application="bench.hit_stock:application")
    try:
        start_all([ours, stock])
        times = {
            size: measure(ours, stock, person, guilds.get(size), options.rounds) for size, person in people.items()
        }
    finally:
        ours.stop()
        stock.stop()
    asked = queries(people[JUDGED], guilds[JUDGED])
    if options.profile:
        profile(people[JUDGED], path_of(PROFILED[options.profile], guilds[JUDGED]), options.rounds)

    print_table(times)
    ratios = {name: round(ratio(times[JUDGED], name), 3) for name in PATHS}
    of_hit, of_role = max(asked[name] for name in LISTS), asked[ROLE] - asked[GUILD]
    broken = [
        f"{name} takes {ratios[name]} × {BASES.get(name, FLOOR)}"
        for name, most in MAX_RATIOS.items()
        if ratios[name] > most
    ]
    broken += [f"a hit takes {of_hit} queries"] if of_hit > MAX_QUERIES else []
    broken += [f"a role adds {of_role} queries"] if of_role > MAX_ROLE_QUERIES else []
    for what in broken:
        print(f"BROKEN {what}")
    summary = {
        "api_ratio": ratios[API],
        "not_modified_ratio": ratios[NOT_MODIFIED],
        "picker_ratio": ratios[PICKER],
        "role_ratio": ratios[ROLE],
        "usual_drf_ratio": ratios[USUAL_DRF],
        "usual_cache_ratio": ratios[USUAL_CACHE],
        "queries": of_hit,
        "role_queries": of_role,
        "floor_ms": round(times[JUDGED][FLOOR].milliseconds, 3),
        "database": connection.vendor,
        "cache": "redis" if options.redis else "memory",
        "seconds": round(time.monotonic() - started, 1),
    }
    print(json.dumps(summary))
    return 1 if broken else 0


def employ(person: Person) -> int:
    """Store a fresh role of the person's in the guild in the middle of their list. Returns the guild's id."""
    guild_ids = UserGuildMembership.objects.filter(user=person.user_id).order_by("guild_id").values_list("guild_id")
    guild_id: int = guild_ids[len(guild_ids) // 2][0]
    now = database_now()
    GuildMember.objects.create(
        user_id=person.user_id,
        guild_id=guild_id,
        verified_at=now - timedelta(minutes=10),
        refresh_after=now + timedelta(minutes=38),
        is_member=True,
        roles=[guild_id, STAFF, STAFF + 1],
        joined_at=now - timedelta(days=100),
    )
    return guild_id


def path_of(name: str, guild_id: int | None) -> str:
    return PATHS[name].format(guild_id=guild_id)


def ratio(pages: dict[str, Page], name: str) -> float:
    return pages[name].ratio_to(pages[BASES.get(name, FLOOR)])


def measure(ours: Site, stock: Site, person: Person, guild_id: int | None, rounds: int) -> dict[str, Page]:
    """Load all pages in all rounds, and return them with their times."""
    names = [name for name in PATHS if guild_id or name not in ENTERED]
    pages = {name: page(ours if name in OURS else stock, name, person, guild_id) for name in names}
    for each in pages.values():
        each.load()
    pages[NOT_MODIFIED].headers["If-None-Match"] = pages[API].load().headers["ETag"]
    pages[NOT_MODIFIED].status = 304
    for each in pages.values():
        for _ in range(20):  # enough that each web thread has opened its connections
            each.load()
        each.seconds.clear()
    turns = list(pages.values())
    gc.disable()
    try:
        for _ in range(rounds):
            random.shuffle(turns)
            for each in turns:
                each.load()
    finally:
        gc.enable()
        for each in turns:
            each.wire.close()
    return pages


def page(site: Site, name: str, person: Person, guild_id: int | None) -> Page:
    cookie = person.cookie if name in OURS else stock_session_of(person)
    headers = {"Cookie": f"{settings.SESSION_COOKIE_NAME}={cookie}", "Accept": "*/*", "Accept-Encoding": "gzip"}
    return Page(path_of(name, guild_id), headers, 200, http.client.HTTPConnection("127.0.0.1", site.port))


@override_settings(ROOT_URLCONF="bench.member_urls")
def queries(person: Person, guild_id: int) -> dict[str, int]:
    """Return the number of queries of each page when everything it needs is fresh."""
    client = Client(SERVER_NAME="localhost")
    client.cookies[settings.SESSION_COOKIE_NAME] = person.cookie
    counts = {}
    etag = client.get(PATHS[API]).headers["ETag"]
    for name in OURS:
        headers = {"If-None-Match": etag} if name == NOT_MODIFIED else {}
        client.get(path_of(name, guild_id), headers=headers)
        with CaptureQueriesContext(connection) as asked:
            client.get(path_of(name, guild_id), headers=headers)
        counts[name] = len(asked)
    return counts


@override_settings(ROOT_URLCONF="bench.member_urls")
def profile(person: Person, path: str, rounds: int) -> None:
    client = Client(SERVER_NAME="localhost")
    client.cookies[settings.SESSION_COOKIE_NAME] = person.cookie
    client.get(path)
    with cProfile.Profile() as found:
        for _ in range(rounds):
            client.get(path)
    pstats.Stats(found).sort_stats("cumulative").print_stats(60)


def print_table(times: dict[int, dict[str, Page]]) -> None:
    print(f"{'guilds':<20}" + "".join(f"{size:>18}" for size in times))
    for name in PATHS:
        cells = (f"{p[name].milliseconds:.2f} ms {ratio(p, name):5.2f} ×" if name in p else "" for p in times.values())
        print(f"{name:<20}" + "".join(f"{cell:>18}" for cell in cells))
