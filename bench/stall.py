"""A stall: Discord takes 30 s for each response; fifty people have stale lists and fifty have none.

Two processes have 16 threads each, so there are 32 web threads for 100 people who would all wait. A stale list must be
served within the soft wait plus 50 ms, and other pages as fast as without a stall: they are read at a steady rate, far
below what two cores can serve, first beside a hundred such people with a healthy Discord, then beside another hundred
with a stalled one. The ratio compares how many were served. The hundred people arrive within two seconds and read again
every two seconds, because simultaneous reads would measure how fast a core renders a hundred pages. The run is short,
so that far more than one in a hundred reads waits for Discord.
"""

import argparse
import json
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from itertools import chain

from django.conf import settings
from django.db import connection

from bench.cluster import Cluster, Person, cluster, sign_in
from bench.readers import PAGE, Response, at_once, at_rate, percentile_ms, print_table, read, served_within
from bench.sites import Site
from bench.stage import Stage

PROCESSES, THREADS = 2, 16
PEOPLE = 50
RATE = 20
STALL_MS = 30_000
# Seconds between a response and the reader's next read.
PAUSE = 2.0
# Milliseconds that the site may take in addition to waiting.
ALLOWED_MS = 50


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=float, default=12.0)
    parser.add_argument(
        "--people", type=int, default=PEOPLE, help="number of people with a stale list, and of people without a list"
    )


@dataclass
class Phase:
    """All responses while Discord was healthy or stalled."""

    stale: list[Response] = field(repr=False)
    cold: list[Response] = field(repr=False)
    others: list[Response] = field(repr=False)


def run(stage: Stage, options: argparse.Namespace) -> int:
    with cluster(stage, PROCESSES, THREADS) as site:
        other = sign_in(stage, "other", age=timedelta(minutes=5))
        # Each process imports its views with the first page.
        at_rate(RATE, 2, site.sites, other, PAGE)
        healthy = _live(stage, site, "healthy", other, options)
        stage.sandbox.mood(latency_ms=STALL_MS)
        stalled = _live(stage, site, "stalled", other, options)
    return _report(healthy, stalled, options.seconds)


def _live(stage: Stage, site: Cluster, name: str, other: Person, options: argparse.Namespace) -> Phase:
    stale = [sign_in(stage, f"{name}_stale{number}", age=timedelta(hours=2)) for number in range(options.people)]
    cold = [sign_in(stage, f"{name}_cold{number}") for number in range(options.people)]
    start = time.monotonic()
    # Alternate between stale and cold, so that both are on all processes.
    people = [person for pair in zip(stale, cold, strict=True) for person in pair]
    reads = [
        partial(
            _read_on,
            site.sites[number // 2 % PROCESSES],
            person,
            start + PAUSE * number / len(people),
            start + options.seconds,
        )
        for number, person in enumerate(people)
    ]
    with ThreadPoolExecutor(1) as beside:
        others = beside.submit(at_rate, RATE, options.seconds, site.sites, other, PAGE)
        histories = at_once(reads)
        return Phase(list(chain(*histories[0::2])), list(chain(*histories[1::2])), others.result())


def _read_on(site: Site, person: Person, start: float, end: float) -> list[Response]:
    """Read from start to end, with a pause in between, or the longer one named by Retry-After."""
    responses: list[Response] = []
    time.sleep(max(start - time.monotonic(), 0))
    while time.monotonic() < end:
        responses.append(read(site, person, PAGE))
        time.sleep(min(max(responses[-1].retry_after or 0, PAUSE), max(end - time.monotonic(), 0)))
    return responses


def _report(healthy: Phase, stalled: Phase, seconds: float) -> int:
    soft_wait = settings.DISCORD_REFRESH_WAIT_MS
    stale_p99 = percentile_ms([response.seconds for response in stalled.stale], 99)
    errors = sum(response.status != 200 for response in stalled.stale)
    # Without a list, only a 503 with Retry-After is correct.
    errors += sum(response.status != 503 or not response.retry_after for response in stalled.cold)
    others, others_healthy = served_within(stalled.others, seconds), served_within(healthy.others, seconds)
    cold = Counter(response.status for response in stalled.cold)
    summary = {
        "database": connection.vendor,
        "web_threads": f"{PROCESSES} x {THREADS}",
        "stale_reads": len(stalled.stale),
        "stale_waited": sum(response.seconds * 1000 >= soft_wait / 2 for response in stalled.stale),
        "errors": errors,
        "stale_p99_ms": stale_p99,
        "stale_p99_over_soft_wait_ms": round(stale_p99 - soft_wait, 1),
        "cold_responses": {str(status): count for status, count in sorted(cold.items())},
        "other_pages_ratio": round(others / max(others_healthy, 1), 3),
        "other_pages_p99_ms": percentile_ms([response.seconds for response in stalled.others], 99),
        "other_pages_p99_ms_healthy": percentile_ms([response.seconds for response in healthy.others], 99),
    }
    print_table(
        {
            "pages with a stale list": len(stalled.stale),
            "errors, or no 503 with Retry-After": errors,
            "their p99": f"{stale_p99:.0f} ms (≤ {soft_wait + ALLOWED_MS})",
            "responses to people without a list": dict(sorted(cold.items())),
            f"other pages at {RATE}/s, served": f"{others} of {len(stalled.others)}",
            "the same while Discord was healthy": f"{others_healthy} of {len(healthy.others)}",
        }
    )
    print(json.dumps(summary))
    return 1 if errors else 0
