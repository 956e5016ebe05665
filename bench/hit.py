"""What a fresh list costs, beside an empty view that loads session and user, and beside the usual ways.

One process of the site answers one client; the pages take turns in a random order within each round, so that whatever
else the machine does meets all of them alike. Times are medians, ratios the medians of the rounds' ratios.
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
from django.test.utils import CaptureQueriesContext

from bench.cluster import Person, sign_in, sign_in_again
from bench.sites import Site
from bench.stage import Stage

SIZES = (0, 20, 100, 200)
JUDGED = 100
FLOOR, API, NOT_MODIFIED, PICKER = "empty view", "API list", "API list, 304", "picker"
USUAL_DRF, USUAL_CACHE = "usual DRF list", "usual cached list"
PATHS = {
    FLOOR: "/_bench/floor/",
    API: "/api/v1/guilds/",
    NOT_MODIFIED: "/api/v1/guilds/",
    PICKER: "/servers/",
    USUAL_DRF: "/_bench/usual-drf/",
    USUAL_CACHE: "/_bench/usual-cache/",
}
OURS = (API, NOT_MODIFIED, PICKER)
PROFILED = {"api": PATHS[API], "picker": PATHS[PICKER], "floor": PATHS[FLOOR]}
# What a hit may cost at 100 guilds, in empty views.
MOST = {API: 1.25, NOT_MODIFIED: 1.1, PICKER: 3.0}


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--redis", default="", metavar="URL", help="where snapshots are kept; the process without it")
    parser.add_argument("--rounds", type=int, default=300, help="how often each page is loaded (%(default)s)")
    parser.add_argument("--profile", choices=PROFILED, help=f"where its time goes with {JUDGED} guilds, by function")


@dataclass
class Page:
    """One page as one browser sees it, over a connection that stays open."""

    path: str
    headers: dict[str, str]
    status: int
    wire: http.client.HTTPConnection = field(repr=False)
    seconds: list[float] = field(default_factory=list, repr=False)

    def load(self) -> http.client.HTTPResponse:
        started = time.perf_counter()
        self.wire.request("GET", self.path, headers=self.headers)
        answer = self.wire.getresponse()
        answer.read()
        self.seconds.append(time.perf_counter() - started)
        if answer.status != self.status:
            raise SystemExit(f"{self.path} answered {answer.status}, not {self.status}")
        return answer

    @property
    def milliseconds(self) -> float:
        return statistics.median(self.seconds) * 1000

    def ratio_to(self, other: "Page") -> float:
        """The median of the rounds' ratios: what slows the machine for a while slows both in the same round."""
        return statistics.median(mine / its for mine, its in zip(self.seconds, other.seconds, strict=True))


def run(stage: Stage, options: argparse.Namespace) -> int:
    started = time.monotonic()
    people = {size: sign_in(stage, f"in{size}", size, age=timedelta(minutes=10)) for size in SIZES}
    environment = {**os.environ, "REDIS_URL": options.redis}
    site = Site(environment, stage.folder / "site.log", application="bench.hit_site:application")
    try:
        site.start()
        site.wait_until_up()
        times = {size: measure(site, person, options.rounds) for size, person in people.items()}
    finally:
        site.stop()
    extra = extra_queries(people[JUDGED])
    if options.profile:
        profile(people[JUDGED], PROFILED[options.profile], options.rounds)

    print_table(times)
    judged = times[JUDGED]
    ratios = {name: round(judged[name].ratio_to(judged[FLOOR]), 3) for name in PATHS}
    broken = [f"{name} takes {ratios[name]} empty views" for name, most in MOST.items() if ratios[name] > most]
    broken += [f"a hit takes {extra} queries more than an empty view"] if extra else []
    for what in broken:
        print(f"BROKEN {what}")
    summary = {
        "api_ratio": ratios[API],
        "not_modified_ratio": ratios[NOT_MODIFIED],
        "picker_ratio": ratios[PICKER],
        "usual_drf_ratio": ratios[USUAL_DRF],
        "usual_cache_ratio": ratios[USUAL_CACHE],
        "extra_queries": extra,
        "floor_ms": round(judged[FLOOR].milliseconds, 3),
        "database": connection.vendor,
        "cache": "redis" if options.redis else "memory",
        "seconds": round(time.monotonic() - started, 1),
    }
    print(json.dumps(summary))
    return 1 if broken else 0


def measure(site: Site, person: Person, rounds: int) -> dict[str, Page]:
    """Each page with the time it took in each round."""
    pages = {name: page(site, name, person) for name in PATHS}
    for each in pages.values():
        each.load()
    pages[NOT_MODIFIED].headers["If-None-Match"] = pages[API].load().headers["ETag"]
    pages[NOT_MODIFIED].status = 304
    for each in pages.values():
        for _ in range(20):  # each thread of the site has opened its files by then
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


def page(site: Site, name: str, person: Person) -> Page:
    from bench.hit_site import STOCK_BACKEND

    cookie = person.cookie if name in OURS else sign_in_again(person, STOCK_BACKEND)
    headers = {"Cookie": f"guildhall_session={cookie}", "Accept": "*/*", "Accept-Encoding": "gzip"}
    return Page(PATHS[name], headers, 200, http.client.HTTPConnection("127.0.0.1", site.port))


def extra_queries(person: Person) -> int:
    """How many queries a fresh hit makes beyond those of an empty view: the most of the API, a 304 and the picker."""
    client = Client(SERVER_NAME="localhost")
    client.cookies[settings.SESSION_COOKIE_NAME] = person.cookie
    counts = {}
    etag = client.get(PATHS[API]).headers["ETag"]
    for name in (FLOOR, *OURS):
        headers = {"If-None-Match": etag} if name == NOT_MODIFIED else {}
        client.get(PATHS[name], headers=headers)
        with CaptureQueriesContext(connection) as queries:
            client.get(PATHS[name], headers=headers)
        counts[name] = len(queries)
    return max(counts.values()) - counts[FLOOR]


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
        cells = (f"{p[name].milliseconds:.2f} ms {p[name].ratio_to(p[FLOOR]):5.2f} ×" for p in times.values())
        print(f"{name:<20}" + "".join(f"{cell:>18}" for cell in cells))
