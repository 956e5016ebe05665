"""Readers of the site in many threads, at a steady rate or all at once, with response times.

Each read uses its own connection, because persistent connections would measure how many clients the web server holds.
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
# Seconds. Longer than any response may take, including the budget and queueing.
READ_TIMEOUT = 60.0
# Pages answer a failure with JSON then.
HEADERS = {"Accept": "application/json, text/html;q=0.9", "Connection": "close"}
# Threads for reads at a steady rate: enough that each read starts when it is due, even if earlier ones still wait.
READER_THREADS = 96


@dataclass(frozen=True, slots=True)
class Response:
    """The result of one read. `status` is 0 if there was no response; `due` and `end` are time.monotonic() values."""

    due: float
    end: float
    status: int
    retry_after: int | None = None
    body: bytes = field(default=b"", repr=False)
    age: int | None = None

    @property
    def seconds(self) -> float:
        return self.end - self.due

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found


def read(site: Site, person: Person, path: str = LIST, due: float | None = None) -> Response:
    """Read once, timed from `due` or from now."""
    due = time.monotonic() if due is None else due
    http = HTTPConnection("127.0.0.1", site.port, timeout=READ_TIMEOUT)
    try:
        http.request("GET", path, headers={"Cookie": f"guildhall_session={person.cookie}", **HEADERS})
        response = http.getresponse()
        body, wait, age = response.read(), response.getheader("Retry-After"), response.getheader("Age")
        told = int(wait) if wait else None, body, int(age) if age else None
        return Response(due, time.monotonic(), response.status, *told)
    except (OSError, HTTPException):
        return Response(due, time.monotonic(), 0)
    finally:
        http.close()


def read_until_served(
    site: Site, person: Person, path: str = LIST, *, max_wait: float = READ_TIMEOUT
) -> list[Response]:
    """Read, obeying Retry-After, until there is a list, and return all responses."""
    responses = [read(site, person, path)]
    start = responses[0].due
    while (wait := responses[-1].retry_after) is not None and responses[-1].end + wait < start + max_wait:
        time.sleep(wait)
        responses.append(read(site, person, path))
    return responses


def at_once(jobs: Sequence[Callable[[], T]]) -> list[T]:
    """Start all jobs at the same time, each in its own thread, and return their results."""
    start = threading.Barrier(len(jobs))

    def begin(job: Callable[[], T]) -> T:
        start.wait()
        return job()

    with ThreadPoolExecutor(len(jobs)) as pool:
        return list(pool.map(begin, jobs))


def at_rate(
    rate: float, seconds: float, sites: Sequence[Site], person: Person, path: str, over: threading.Event | None = None
) -> list[Response]:
    """Read `rate` times a second from `sites` in turn, for `seconds` or until `over` is set.

    This is an open loop: each read is due at a fixed time, however long earlier ones take, and timed from then.
    """
    start, over = time.monotonic(), over or threading.Event()
    with ThreadPoolExecutor(READER_THREADS) as pool:
        reads = []
        for number in range(math.ceil(rate * seconds)):
            due = start + number / rate
            if over.wait(max(due - time.monotonic(), 0)):
                break
            reads.append(pool.submit(read, sites[number % len(sites)], person, path, due))
        return [response.result() for response in reads]


def served_within(responses: Sequence[Response], seconds: float) -> int:
    """Count the responses with status 200 within `seconds` after the first read was due: the throughput."""
    return sum(response.status == 200 and response.end <= responses[0].due + seconds for response in responses)


def percentile_ms(seconds: Iterable[float], percent: float) -> float:
    """Return the smallest time in milliseconds that `percent` of all don't exceed; 0 for no times."""
    ordered = sorted(seconds)
    index = max(math.ceil(len(ordered) * percent / 100) - 1, 0)
    return round(ordered[index] * 1000, 1) if ordered else 0.0


def print_table(rows: dict[str, object]) -> None:
    for name, value in rows.items():
        print(f"{name:<44}{value!s:>24}")
