"""A recovery: 500 people without a list keep reading while Discord is silent, until it responds again.

Each of them has met the silence and waits for an attempt of their own, which may be minutes away. The bench measures
how long after Discord's return 99 % of them have their lists. They come by turns at a steady rate and don't wait as
told, so that the site alone decides when they are served.
"""

import argparse
import json
import math
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from bench.cluster import Cluster, Person, cluster, sign_in
from bench.readers import Response, read
from bench.stage import Stage

PROCESSES, THREADS = 4, 16
# Reads a second, and the requests to Discord that the site may send; 50 is Discord's own limit.
RATE, SEND_RATE = 80, 50
SHARE = 0.99
MAX_SECONDS = 15.0
# By then every person has been served; a longer wait would show nothing new.
GIVE_UP = 180.0
HANDS = 48


@dataclass
class Crowd:
    """People who read by turns until they are served; `served` says when each was, by time.monotonic()."""

    site: Cluster
    waiting: deque[Person]
    served: list[float] = field(default_factory=list)
    refused: int = 0

    def read_until(self, end: float, count: int) -> None:
        """Read until `end`, or until `count` people are served."""
        asked = 0
        with ThreadPoolExecutor(HANDS) as pool:
            due = time.monotonic()
            under_way: deque[tuple[Person, Future[Response]]] = deque()
            while due < end and len(self.served) < count:
                if self.waiting:
                    person = self.waiting.popleft()
                    site = self.site.sites[asked % len(self.site.sites)]
                    under_way.append((person, pool.submit(read, site, person)))
                    asked += 1
                due += 1 / RATE
                time.sleep(max(due - time.monotonic(), 0))
                self._note(under_way)
        self._note(under_way)

    def _note(self, under_way: deque[tuple[Person, "Future[Response]"]]) -> None:
        for _ in range(len(under_way)):
            person, response = under_way.popleft()
            if not response.done():
                under_way.append((person, response))
            elif response.result().status == 200:
                self.served.append(response.result().end)
            else:
                self.refused += 1
                self.waiting.append(person)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--people", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=100.0, help="of silence")


def run(stage: Stage, options: argparse.Namespace) -> int:
    people = [sign_in(stage, f"reader_{number}") for number in range(options.people)]
    with cluster(stage, PROCESSES, THREADS, DISCORD_SEND_RATE=str(SEND_RATE)) as site:
        stage.sandbox.mood(mode="outage")
        crowd = Crowd(site, deque(people))
        crowd.read_until(time.monotonic() + options.seconds, len(people))
        stage.take_requests()
        stage.sandbox.mood()
        returned = time.monotonic()
        wanted = math.ceil(SHARE * len(people))
        crowd.read_until(returned + GIVE_UP, wanted)
        requests = sum(stage.take_requests().values())
    took = sorted(moment - returned for moment in crowd.served)
    seconds = round(took[wanted - 1], 1) if len(took) >= wanted else math.inf
    print(f"{len(people)} people, {options.seconds:.0f} s of silence, {crowd.refused:,} refusals until all were served")
    print(f"the first after {took[0] if took else math.inf:.1f} s, {SHARE:.0%} after {seconds} s, {requests} requests")
    ok = seconds <= MAX_SECONDS
    summary = {"bench": "recover", "people": len(people), "seconds": seconds, "requests": requests, "ok": ok}
    print(json.dumps({**summary, "seconds": None if math.isinf(seconds) else seconds}))
    return 0 if ok else 1
