"""The benches with real processes: their measurements, and their exit codes if a guarantee is broken."""

import argparse
import math
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from django.test import Client

from bench import herd, outage, stall, takeover
from bench.cluster import Person
from bench.outage import Episode
from bench.readers import Response, at_once, at_rate, percentile_ms, read, read_until_served, served_within
from bench.sites import Site
from bench.stall import Phase
from bench.takeover import GRACE, LEASE, MAX_TRANSIT, Takeover

ANYBODY = Person(1, "anybody", "cookie")
SERVED = Response(0, 0.1, 200, body=b'{"guilds": []}')
OTHER_LIST = Response(0, 0.1, 200, body=b'{"guilds": [1]}')
BUSY = Response(0, 0.1, 503, 2)
FAULT = Response(0, 0.1, 500)
SILENCE = Response(0, 0.1, 0)


class TwiceBusy(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        refused = next(self.server.refusals)  # type: ignore[attr-defined]
        self.send_response(503 if refused else 200)
        if refused:
            self.send_header("Retry-After", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Keep the benches' output out of the tests' output."""


@pytest.fixture
def busy_site(tmp_path: Path) -> Iterator[Site]:
    """Refuses two reads, and serves the following ones."""
    server = HTTPServer(("127.0.0.1", 0), TwiceBusy)
    server.refusals = iter([True] * 2 + [False] * 100)  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield Site({}, tmp_path / "log", port=server.server_port)
    server.shutdown()
    thread.join()
    server.server_close()


def test_who_obeys_comes_back_until_served(busy_site: Site) -> None:
    responses = read_until_served(busy_site, ANYBODY)

    assert [response.status for response in responses] == [503, 503, 200]


def test_a_steady_rate_loses_no_read(busy_site: Site) -> None:
    responses = at_rate(1000, 0.02, [busy_site], ANYBODY, "/")

    assert Counter(response.status for response in responses) == {503: 2, 200: 18}
    assert [round((response.due - responses[0].due) * 1000) for response in responses] == list(range(20))


def test_a_read_that_nobody_answers_is_status_0(tmp_path: Path) -> None:
    assert read(Site({}, tmp_path / "log"), ANYBODY).status == 0


def test_all_begin_in_the_same_moment() -> None:
    together = threading.Barrier(5)

    assert at_once([lambda: together.wait(10) is not None] * 5) == [True] * 5


def test_a_percentile_is_one_of_the_times() -> None:
    times = [number / 1000 for number in range(100, 0, -1)]

    assert [percentile_ms(times, percent) for percent in (1, 50, 99, 100)] == [1, 50, 99, 100]
    assert percentile_ms([0.007], 99) == 7
    assert percentile_ms([], 99) == 0


def test_what_is_served_too_late_is_no_throughput() -> None:
    responses = [Response(10, 10.1, 200), Response(11, 13.0, 200), Response(11, 13.1, 200), Response(12, 12.1, 503)]

    assert served_within(responses, 3) == 2


@pytest.mark.parametrize(
    ("requests", "last", "code"),
    [
        (1, [SERVED, SERVED], 0),
        (2, [SERVED, SERVED], 1),
        (0, [SERVED, SERVED], 1),
        (1, [SERVED, BUSY], 1),
        (1, [SERVED, OTHER_LIST], 1),
    ],
)
def test_a_herd_is_one_request_and_one_list_for_all(requests: int, last: list[Response], code: int) -> None:
    options = argparse.Namespace(readers=2, delay=3.0)
    histories = [[BUSY, response] for response in last]

    assert herd._report(options, Counter(cold=requests), histories, [SERVED], [SERVED], [SERVED]) == code


@pytest.mark.parametrize(
    ("requests", "response", "code"), [(1, SERVED, 0), (2, SERVED, 1), (0, SERVED, 1), (1, BUSY, 1), (1, SILENCE, 1)]
)
def test_an_outage_is_one_request_each_and_no_error(requests: int, response: Response, code: int) -> None:
    healthy = Episode("healthy", 0, [SERVED])
    fine = [Episode(name, 1, [SERVED]) for name in ("503", "429")]

    assert outage._report(healthy, [*fine, Episode("never", requests, [SERVED, response])]) == code


def test_an_outage_lasts_no_longer_than_the_shortest_pause() -> None:
    assert outage.seconds_of_an_episode("30") == 30
    with pytest.raises(argparse.ArgumentTypeError):
        outage.seconds_of_an_episode("31")


@pytest.mark.parametrize(
    ("asked_again_at", "in_time"),
    [
        (LEASE - MAX_TRANSIT - 0.1, False),
        (LEASE, True),
        (1 + LEASE + GRACE, True),
        (1 + LEASE + GRACE + 0.1, False),
        (math.inf, False),
    ],
)
def test_a_takeover_comes_when_the_lease_is_over(asked_again_at: float, in_time: bool) -> None:
    takeovers = [Takeover(0, 1, asked_again_at, [SERVED])]

    assert takeovers[0].in_time == in_time
    assert takeover._report(takeovers) == (0 if in_time else 1)


def test_a_takeover_is_seen_by_nobody() -> None:
    assert takeover._report([Takeover(0, 1, LEASE, [SERVED, FAULT])]) == 1


@pytest.mark.parametrize(
    ("stale", "cold", "code"),
    [(SERVED, BUSY, 0), (BUSY, BUSY, 1), (SERVED, FAULT, 1), (SERVED, Response(0, 1, 503), 1)],
)
def test_a_stall_is_no_error_with_a_list_and_a_503_without(stale: Response, cold: Response, code: int) -> None:
    phase = Phase([stale], [cold], [SERVED])

    assert stall._report(phase, phase, 1.0) == code


@pytest.mark.urls("bench.member_urls")
def test_a_member_is_refused_to_a_person_who_was_forgotten_just_now(client: Client) -> None:
    assert client.get("/_member/1/").status_code == 401
