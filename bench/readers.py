"""People who read the site from many threads: at a steady rate or all at once; and how long answers took.

Each read has a connection of its own. The web server counts connections against its threads, idle ones too, so that
readers who kept theirs would measure how many browsers fit on it.
"""

import json
import math
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from typing import Any, TypeVar

from bench.cluster import Person
from bench.sites import Site

T = TypeVar("T")

LIST, PAGE = "/api/v1/guilds/", "/servers/"
# Longer than any answer may take: the budget, and a queue before it.
PATIENCE = 60.0
# Threads of one steady stream of reads: enough that each begins when it is due though earlier ones still wait.
HANDS = 96


@dataclass(frozen=True, slots=True)
class Answer:
    """What one read got. `status` is 0 if there was no answer; `due` and `end` are moments of time.monotonic()."""

    due: float
    end: float
    status: int
    retry_after: int | None = None
    body: bytes = field(default=b"", repr=False)

    @property
    def seconds(self) -> float:
        return self.end - self.due

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found


def read(site: Site, person: Person, path: str = LIST, due: float | None = None) -> Answer:
    """One read, timed from when it was `due`, or from now."""
    due = time.monotonic() if due is None else due
    http = HTTPConnection("127.0.0.1", site.port, timeout=PATIENCE)
    try:
        http.request("GET", path, headers={"Cookie": f"guildhall_session={person.cookie}", "Connection": "close"})
        answer = http.getresponse()
        body, wait = answer.read(), answer.getheader("Retry-After")
        return Answer(due, time.monotonic(), answer.status, int(wait) if wait else None, body)
    except (OSError, HTTPException):
        return Answer(due, time.monotonic(), 0)
    finally:
        http.close()


def read_until_served(site: Site, person: Person, path: str = LIST, *, patience: float = PATIENCE) -> list[Answer]:
    """Read as a browser that obeys Retry-After would, until there is a list; all answers, each due when it was told."""
    answers = [read(site, person, path)]
    start = answers[0].due
    while (wait := answers[-1].retry_after) is not None and answers[-1].end + wait < start + patience:
        time.sleep(wait)
        answers.append(read(site, person, path))
    return answers


def at_once(jobs: Sequence[Callable[[], T]]) -> list[T]:
    """What the jobs return, all begun in the same moment, each in a thread of its own."""
    start = threading.Barrier(len(jobs))

    def begin(job: Callable[[], T]) -> T:
        start.wait()
        return job()

    with ThreadPoolExecutor(len(jobs)) as pool:
        return list(pool.map(begin, jobs))


def at_rate(
    rate: float, seconds: float, sites: Sequence[Site], person: Person, path: str, over: threading.Event | None = None
) -> list[Answer]:
    """Reads at `rate` a second, by turns at `sites`, for `seconds` or until it is `over`.

    An open loop: each is due at its moment however long the ones before it take, and timed from then.
    """
    start, over = time.monotonic(), over or threading.Event()
    with ThreadPoolExecutor(HANDS) as hands:
        reads = []
        for number in range(math.ceil(rate * seconds)):
            due = start + number / rate
            if over.wait(max(due - time.monotonic(), 0)):
                break
            reads.append(hands.submit(read, sites[number % len(sites)], person, path, due))
        return [answer.result() for answer in reads]


def served_within(answers: Sequence[Answer], seconds: float) -> int:
    """How many were served by that time after the first was due: the throughput; what is held up longer is lost."""
    return sum(answer.status == 200 and answer.end <= answers[0].due + seconds for answer in answers)


def percentile_ms(seconds: Iterable[float], percent: float) -> float:
    """The smallest time that `percent` of all don't exceed, in milliseconds; 0 of none."""
    ordered = sorted(seconds)
    index = max(math.ceil(len(ordered) * percent / 100) - 1, 0)
    return round(ordered[index] * 1000, 1) if ordered else 0.0


def print_table(rows: dict[str, object]) -> None:
    for name, value in rows.items():
        print(f"{name:<44}{value!s:>24}")
