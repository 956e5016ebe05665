"""A soak: all machines of a site under readers, while they fail one after another and are upgraded.

Three machines with the site, one with Celery's worker and beat, PostgreSQL, Redis and nginx serve 200 people, while
Discord goes through its moods. One fault follows the other, in an order that the seed gives: Redis stops and freezes,
PostgreSQL restarts and refuses writes for 10 s, workers and machines are killed, and with `--namespaces` the links of
the database and of a machine go down for 15 s. Half-way the machines are upgraded, one after the other.
"""

import argparse
import json
import signal
import sys
from collections import Counter
from typing import Any

from bench.soak_machines import Missing, machines
from bench.stage import build_stage


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--minutes", type=float, default=10, help="duration of the run")
    parser.add_argument("--seed", type=int, default=1, help="the same seed gives the same order of faults and moods")
    parser.add_argument(
        "--namespaces", action="store_true", help="each machine in a network namespace of its own, with links that fail"
    )


def run(_: object, options: argparse.Namespace) -> int:
    """Run, check and print. Returns 0 if nothing was broken, 1 if something was, 2 if something is missing here."""
    # So that everything is cleaned up.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return _run(options)
    except Missing as missing:
        print(f"./run bench soak: {missing}", file=sys.stderr)
        return 2


def _run(options: argparse.Namespace) -> int:
    seconds = options.minutes * 60
    with (
        machines(options.namespaces) as found,
        build_stage(found.database.socket_url, found.network.address) as stage,
    ):
        # Imported here because they import models, which need the stage's settings.
        from django.conf import settings

        from bench.chaos import history
        from bench.chaos.play import ENVIRONMENT, print_examples, print_faults, print_report
        from bench.cluster import Cluster
        from bench.soak_checker import check, growth, slowest
        from bench.soak_run import Soak, draw

        stage.sandbox.limits(per_person=False, per_second=1_000_000, invalid_per_10_minutes=1_000_000)
        history.install()
        database = settings.DATABASES["default"]["NAME"]
        with found.serving(database, settings.STATIC_ROOT, ENVIRONMENT):
            soak = Soak(stage, Cluster(found.sites, stage.sandbox), options.seed, machines=found, seconds=seconds)
            print(f"left out: {', '.join(soak.left_out) or 'nothing'}", flush=True)
            soak.play(draw(options.seed, seconds), seconds)
            soak.look_up_favourites()
        known = soak.told()
        findings = check(known, soak.answers, soak.starred, soak.samples, soak.most_connections)
        print_report(soak, known, findings)
        broken = {finding.promise: len(finding.broken) for finding in findings if finding.broken}
        if broken:
            print_examples(known, findings)
            print_faults(found.sites)
    summary: dict[str, Any] = {
        "bench": "soak",
        "seed": options.seed,
        "minutes": options.minutes,
        "namespaces": options.namespaces,
        "left_out": soak.left_out,
        "faults": {kind: soak.counts[kind] for kind in (*soak.kinds, "upgrade")},
        "answers": Counter(str(answer.status) for answer in soak.answers),
        "slowest_s": slowest(soak.answers, soak.struck),
        "discord_requests": len(known.requests),
        "most_connections": max(sample.connections for sample in soak.samples),
        "connections_allowed": soak.most_connections,
        "worker_mb": round(soak.samples[-1].memory / 1e6),
        "growth": growth(soak.samples),
        "checks": sum(finding.checked for finding in findings),
        "broken": broken,
    }
    print(json.dumps(summary))
    return 1 if broken else 0
