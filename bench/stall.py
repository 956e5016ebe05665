"""A stall: Discord takes 30 s for each answer; fifty people read lists that are stale and fifty have none.

Two processes with 16 threads each, so 32 web threads for 100 people who would all wait. A stale list is promised
within the soft wait and 50 ms, and other pages at the speed they have without a stall: they are read at a steady rate,
far below what two cores can serve, first beside a hundred such people and a healthy Discord, then beside another
hundred and a stalled one; the ratio compares how many were served in that time. The hundred come within two
seconds and read again every two: all in the same moment would measure how fast one core renders as many pages. The run
is short, so that the reads that waited for Discord are far more than one in a hundred.
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
from bench.readers import PAGE, Answer, at_once, at_rate, percentile_ms, print_table, read, served_within
from bench.sites import Site
from bench.stage import Stage

PROCESSES, THREADS = 2, 16
PEOPLE = 50
RATE = 20
STALL_MS = 30_000
# Between a stale reader's answer and the next read.
PAUSE = 2.0
# What the site may take beside waiting.
ALLOWED_MS = 50


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=float, default=12.0)
    parser.add_argument("--people", type=int, default=PEOPLE, help="with a stale list, and as many with none")


@dataclass
class Phase:
    """What everybody got while Discord was as it was."""

    stale: list[Answer] = field(repr=False)
    cold: list[Answer] = field(repr=False)
    others: list[Answer] = field(repr=False)


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
    # Stale and cold by turns, so that both are everywhere.
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


def _read_on(site: Site, person: Person, start: float, end: float) -> list[Answer]:
    """Read from start to end, with a pause between, or the one that Retry-After asks for."""
    answers: list[Answer] = []
    time.sleep(max(start - time.monotonic(), 0))
    while time.monotonic() < end:
        answers.append(read(site, person, PAGE))
        time.sleep(min(max(answers[-1].retry_after or 0, PAUSE), max(end - time.monotonic(), 0)))
    return answers


def _report(healthy: Phase, stalled: Phase, seconds: float) -> int:
    soft_wait = settings.DISCORD_REFRESH_WAIT_MS
    stale_p99 = percentile_ms([answer.seconds for answer in stalled.stale], 99)
    errors = sum(answer.status != 200 for answer in stalled.stale)
    # Without a list nothing but a truthful 503 is possible; a 500 or silence is a fault of ours.
    errors += sum(answer.status != 503 or not answer.retry_after for answer in stalled.cold)
    others, others_healthy = served_within(stalled.others, seconds), served_within(healthy.others, seconds)
    cold = Counter(answer.status for answer in stalled.cold)
    summary = {
        "database": connection.vendor,
        "web_threads": f"{PROCESSES} x {THREADS}",
        "stale_reads": len(stalled.stale),
        "stale_waited": sum(answer.seconds * 1000 >= soft_wait / 2 for answer in stalled.stale),
        "errors": errors,
        "stale_p99_ms": stale_p99,
        "stale_p99_over_soft_wait_ms": round(stale_p99 - soft_wait, 1),
        "cold_answers": {str(status): count for status, count in sorted(cold.items())},
        "other_pages_ratio": round(others / max(others_healthy, 1), 3),
        "other_pages_p99_ms": percentile_ms([answer.seconds for answer in stalled.others], 99),
        "other_pages_p99_ms_healthy": percentile_ms([answer.seconds for answer in healthy.others], 99),
    }
    print_table(
        {
            "pages with a stale list": len(stalled.stale),
            "errors, or no 503 with Retry-After": errors,
            "p99 of them": f"{stale_p99:.0f} ms (≤ {soft_wait + ALLOWED_MS})",
            "answers to people without a list": dict(sorted(cold.items())),
            f"other pages at {RATE}/s, served": f"{others} of {len(stalled.others)}",
            "the same while Discord was healthy": f"{others_healthy} of {len(healthy.others)}",
        }
    )
    print(json.dumps(summary))
    return 1 if errors else 0
