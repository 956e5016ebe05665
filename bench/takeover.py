"""A takeover: the process that is refreshing a list is killed with `kill -9`, twenty times, and another one takes over.

Each time a person with a stale list reads from one of four processes, Discord doesn't respond, and the process is
killed at a random time during the attempt. Reads from the other processes continue at a steady rate and get the stored
list. The sandbox's log shows when the next request is sent: not before the first attempt's lease has expired, and at
most the lease plus a second after the kill. Clients of the killed process lose their connection; a load balancer would
retry their requests, and they are not counted.
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
from bench.readers import LIST, Response, at_rate, print_table, read
from bench.sites import Site
from bench.stage import Stage

PROCESSES, THREADS = 4, 16
RATE = 10
# Seconds. Short, so that twenty leases expire quickly.
BUDGET = 2.0
LEASE = BUDGET + LEASE_MARGIN.total_seconds()
GRACE = 1.0
# Seconds from the claim to the request's arrival at the sandbox on a busy machine.
MAX_TRANSIT = 0.5
# Seconds after which the takeover counts as failed.
TAKEOVER_TIMEOUT = LEASE + 10


@dataclass(frozen=True, slots=True)
class Takeover:
    """When the first request was sent, when its process was killed, and when the next request was sent."""

    asked_at: float
    killed_at: float
    asked_again_at: float
    responses: list[Response] = field(repr=False)

    @property
    def seconds(self) -> float:
        return self.asked_again_at - self.killed_at

    @property
    def in_time(self) -> bool:
        return self.asked_at + LEASE - MAX_TRANSIT <= self.asked_again_at <= self.killed_at + LEASE + GRACE

    @property
    def errors(self) -> int:
        return sum(response.status != 200 for response in self.responses)


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
        reads = beside.submit(at_rate, RATE, TAKEOVER_TIMEOUT, others, person, LIST, over)
        killed_at = time.time()
        doomed.kill()
        stage.sandbox.mood()
        restarted = beside.submit(_restart, doomed)
        asked_again_at = _next_request(stage, person, after=killed_at)
        over.set()
        responses = reads.result()
        restarted.result()
    return Takeover(asked_at, killed_at, asked_again_at, responses)


def _next_request(stage: Stage, person: Person, *, after: float) -> float:
    """Wait for the first request for the person's list after this time and return when it came, or infinity."""
    end = time.monotonic() + TAKEOVER_TIMEOUT
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
        "reads": sum(len(takeover.responses) for takeover in takeovers),
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
