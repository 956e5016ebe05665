"""A thundering herd: 500 concurrent readers of one list that is not stored, over four processes.

All readers are the same person, and each obeys Retry-After until it is served. Discord gets one request and takes some
seconds to respond. During that time, and before, other pages are read at a steady rate, far below what two cores can
serve: the ratio compares how many were served, so it shows whether waiting readers occupy the web threads. Since 500
responses also need CPU time, the same is measured beside 500 readers of a fresh list, who wait for nothing. If those
take close to two seconds, the machine is too busy for a meaningful result, because retries meet readers that have not
been served yet.
"""

import argparse
import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial

from django.db import connection

from bench.cluster import Person, cluster, sign_in
from bench.readers import (
    LIST,
    PAGE,
    Response,
    at_once,
    at_rate,
    percentile_ms,
    print_table,
    read_until_served,
    served_within,
)
from bench.stage import Stage

PROCESSES, THREADS = 4, 16
# Other pages per second, over all processes.
RATE = 20


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--readers", type=int, default=500)
    parser.add_argument("--delay", type=float, default=3.0, metavar="SECONDS", help="Discord's response time")


def run(stage: Stage, options: argparse.Namespace) -> int:
    with cluster(stage, PROCESSES, THREADS) as site:
        cold = sign_in(stage, "cold")
        other = sign_in(stage, "other", age=timedelta(minutes=5))
        read_other_pages = partial(at_rate, RATE, options.delay, site.sites, other, PAGE)
        # Each process imports its views with the first page.
        read_other_pages()
        before = read_other_pages()

        def crowd(person: Person) -> tuple[list[list[Response]], list[Response]]:
            """Return the responses of all concurrent readers of the list, and of the other pages' reader."""
            herd = [
                partial(read_until_served, site.sites[number % PROCESSES], person) for number in range(options.readers)
            ]
            with ThreadPoolExecutor(1) as beside:
                others = beside.submit(read_other_pages)
                return at_once(herd), others.result()

        _, beside_fresh = crowd(other)
        stage.take_requests()
        stage.sandbox.mood(latency_ms=int(options.delay * 1000))
        histories, during = crowd(cold)
        requests = stage.take_requests()
    return _report(options, requests, histories, before, beside_fresh, during)


def _report(
    options: argparse.Namespace,
    requests: Counter[str],
    histories: list[list[Response]],
    before: list[Response],
    beside_fresh: list[Response],
    during: list[Response],
) -> int:
    last = [history[-1] for history in histories]
    took = [history[-1].end - history[0].due for history in histories]
    served = [response for response in last if response.status == 200]
    lists = {json.dumps(response.json["guilds"]) for response in served}
    others_before, others_during = served_within(before, options.delay), served_within(during, options.delay)
    summary = {
        "database": connection.vendor,
        "readers": options.readers,
        "discord_delay_s": options.delay,
        "discord_requests": requests["cold"],
        "ok": len(served),
        "different_lists": len(lists),
        "reads": sum(map(len, histories)),
        "p50_ms": percentile_ms(took, 50),
        "p99_ms": percentile_ms(took, 99),
        "other_pages_ratio": round(others_during / max(others_before, 1), 3),
        "other_pages_ratio_beside_fresh": round(served_within(beside_fresh, options.delay) / max(others_before, 1), 3),
        "other_pages_p99_ms": percentile_ms([response.seconds for response in during], 99),
        "other_pages_p99_ms_before": percentile_ms([response.seconds for response in before], 99),
        "other_pages_p99_ms_beside_fresh": percentile_ms([response.seconds for response in beside_fresh], 99),
    }
    print_table(
        {
            f"requests to Discord for {options.readers} readers": requests["cold"],
            f"served in the end (all lists {LIST})": len(served),
            "responses by status": dict(Counter(response.status for history in histories for response in history)),
            "time until served, p50 / p99": f"{summary['p50_ms']:.0f} / {summary['p99_ms']:.0f} ms",
            f"other pages at {RATE}/s, served meanwhile": f"{others_during} of {len(during)}",
            "the same before the herd": f"{others_before} of {len(before)}",
            "their p99, with / without a herd": (
                f"{summary['other_pages_p99_ms']:.0f} / {summary['other_pages_p99_ms_before']:.0f} ms"
            ),
            f"beside {options.readers} readers of a fresh list": (
                f"{summary['other_pages_p99_ms_beside_fresh']:.0f} ms"
            ),
        }
    )
    print(json.dumps(summary))
    return 0 if (requests["cold"], len(served), len(lists)) == (1, options.readers, 1) else 1
