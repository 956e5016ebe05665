"""A takeover: the process that asks Discord is killed with `kill -9`, twenty times, and another one asks in its place.

Each time somebody with a stale list reads at one of four processes, Discord doesn't answer, and at a random moment of
the attempt that process is killed. The others are read on at a steady rate: their readers get the stored list. When
the next request is sent is taken from the sandbox's log: not before the lease of the first is over, and no later than
the lease and a second after the kill. Who was connected to the killed process has lost the connection, which is the
load balancer's to repeat and counts nowhere.
"""

import argparse
import json
import math
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta

from django.db import connection

from accounts.limits import LEASE_MARGIN
from bench.cluster import Cluster, Person, cluster, sign_in
from bench.readers import LIST, Answer, at_rate, print_table, read
from bench.sites import Site
from bench.stage import Stage

PROCESSES, THREADS = 4, 16
RATE = 10
# Short, so that twenty leases are soon over.
BUDGET = 2.0
LEASE = BUDGET + LEASE_MARGIN.total_seconds()
GRACE = 1.0
# From the claim to the request's arrival in the sandbox, on a busy machine.
ON_THE_WAY = 0.5
# Nobody takes over later than this; waiting on would tell nothing.
GIVE_UP = LEASE + 10


@dataclass(frozen=True, slots=True)
class Takeover:
    """When Discord was asked, when who asked was killed, and when Discord was asked again."""

    asked_at: float
    killed_at: float
    asked_again_at: float
    answers: list[Answer] = field(repr=False)

    @property
    def seconds(self) -> float:
        return self.asked_again_at - self.killed_at

    @property
    def in_time(self) -> bool:
        return self.asked_at + LEASE - ON_THE_WAY <= self.asked_again_at <= self.killed_at + LEASE + GRACE

    @property
    def errors(self) -> int:
        return sum(answer.status != 200 for answer in self.answers)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--times", type=int, default=20)


def run(stage: Stage, options: argparse.Namespace) -> int:
    milliseconds = str(int(BUDGET * 1000))
    settings = {"DISCORD_FETCH_BUDGET_MS": milliseconds, "DISCORD_REQUEST_TIMEOUT_MS": milliseconds}
    with cluster(stage, PROCESSES, THREADS, **settings) as site:
        takeovers = [_take_over(stage, site, number) for number in range(options.times)]
    return _report(takeovers)


def _take_over(stage: Stage, site: Cluster, number: int) -> Takeover:
    doomed = site.sites[number % PROCESSES]
    others = [other for other in site.sites if other is not doomed]
    person = sign_in(stage, f"reader{number}", age=timedelta(hours=2))
    stage.take_requests()
    stage.sandbox.mood("timeout")
    over = threading.Event()
    with ThreadPoolExecutor(2) as beside:
        beside.submit(read, doomed, person)
        asked_at = _next_request(stage, person, after=0.0)
        time.sleep(random.uniform(0, BUDGET / 2))
        reads = beside.submit(at_rate, RATE, GIVE_UP, others, person, LIST, over)
        killed_at = time.time()
        doomed.kill()
        stage.sandbox.mood()
        restarted = beside.submit(_restart, doomed)
        asked_again_at = _next_request(stage, person, after=killed_at)
        over.set()
        answers = reads.result()
        restarted.result()
    return Takeover(asked_at, killed_at, asked_again_at, answers)


def _next_request(stage: Stage, person: Person, *, after: float) -> float:
    """When Discord was first asked for the person's list after that moment; waits for it. Infinity if it wasn't."""
    end = time.monotonic() + GIVE_UP
    while time.monotonic() < end:
        moments: list[float] = [
            request["time"]
            for request in stage.sandbox.requests()
            if request["person"] == person.name and request["time"] > after
        ]
        if moments:
            return moments[0]
        time.sleep(0.02)
    return math.inf


def _restart(site: Site) -> None:
    site.start()
    site.wait_until_up()


def _report(takeovers: list[Takeover]) -> int:
    seconds = [takeover.seconds for takeover in takeovers]
    within = sum(takeover.in_time for takeover in takeovers)
    errors = sum(takeover.errors for takeover in takeovers)
    summary = {
        "database": connection.vendor,
        "times": len(takeovers),
        "within_lease": within,
        "errors": errors,
        "reads": sum(len(takeover.answers) for takeover in takeovers),
        "lease_s": LEASE,
        "best_s": round(min(seconds), 2),
        "worst_s": round(max(seconds), 2),
    }
    print_table(
        {
            f"taken over within {LEASE:.0f} + {GRACE:.0f} s": f"{within} of {len(takeovers)}",
            "from the kill to the next request": f"{summary['best_s']} to {summary['worst_s']} s",
            "reads of the stale list meanwhile": summary["reads"],
            "errors among them": errors,
        }
    )
    print(json.dumps(summary))
    return 0 if (within, errors) == (len(takeovers), 0) else 1
