"""What the bench of the web server computes, and what its client sends."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from bench.web import Turn, complaints, cores_of_workers, figures, is_complete, load, summarise

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
GOOD = {"workers_1": {"cpu_ms_per_request": 2.5}, "two_workers_ratio": 1.8, "two_workers_cpu_ratio": 1.8}


class Page(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    status = 200
    ports: set[int]

    def do_GET(self) -> None:
        self.ports.add(self.client_address[1])
        self.send_response(self.status)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *_: object) -> None:
        """Keep the requests out of the tests' output."""


@contextmanager
def serving(status: int) -> Iterator[tuple[int, set[int]]]:
    """Serve a page and yield the server's port, and the set of ports that clients came from."""
    ports: set[int] = set()
    page = type("TestPage", (Page,), {"status": status, "ports": ports})
    with ThreadingHTTPServer(("127.0.0.1", 0), page) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_port, ports
        finally:
            server.shutdown()
            thread.join()


def a_turn(requests: int, cpu: list[float], seconds: float = 2) -> Turn:
    return Turn([0.01] * requests, seconds, cpu)


def test_the_client_keeps_its_connections() -> None:
    with serving(200) as (port, ports):
        latencies = load(port, GET, connections=3, seconds=0.05)

    assert len(latencies) >= 3
    assert len(ports) == 3
    assert min(latencies) > 0


def test_a_request_begun_in_time_is_still_counted() -> None:
    with serving(200) as (port, _):
        assert len(load(port, GET, connections=2, seconds=0)) == 2


def test_a_refused_request_ends_the_bench() -> None:
    with serving(503) as (port, _), pytest.raises(SystemExit, match="503"):
        load(port, GET, connections=2, seconds=0)


@pytest.mark.parametrize(
    ("response", "is_whole"),
    [
        (b"", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nh", False),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", True),
    ],
)
def test_a_response_is_complete_with_its_last_byte(response: bytes, is_whole: bool) -> None:
    assert is_complete(response) is is_whole


def test_a_response_of_unknown_length_ends_the_bench() -> None:
    with pytest.raises(SystemExit, match="Content-Length"):
        is_complete(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")


@pytest.mark.parametrize(
    ("cores", "workers", "found"),
    [([0, 1, 2], 2, [2, 1]), ([0, 1], 1, [1]), ([0, 1], 2, [1, 0]), ([4], 2, [4, 4])],
)
def test_workers_share_the_first_core_only_if_there_are_too_few(
    cores: list[int], workers: int, found: list[int]
) -> None:
    assert cores_of_workers(cores, workers) == found


def test_figures_are_medians_over_the_rounds() -> None:
    found = figures([a_turn(200, [0.4, 0.1]), a_turn(400, [0.9, 0.1]), a_turn(100, [0.2, 0.3])])

    assert found == {
        "req_per_s": 100.0,
        "p99_ms": 10.0,
        "cpu_ms_per_request": 2.5,
        "one_core_req_per_s": 400,
        "busiest_share": 0.8,
    }


def test_two_workers_are_compared_within_each_round() -> None:
    # The machine is half as fast in the second and third round.
    one = [a_turn(400, [1.0]), a_turn(200, [1.0]), a_turn(200, [1.0])]
    two = [a_turn(720, [1.0, 1.0]), a_turn(360, [1.0, 1.0]), a_turn(380, [1.0, 1.0])]

    api = summarise({("waitress", "api", 1): one, ("waitress", "api", 2): two})["waitress"]["api"]

    assert (api["two_workers_ratio"], api["two_workers_cpu_ratio"]) == (1.8, 1.8)
    assert (api["workers_1"]["req_per_s"], api["workers_2"]["req_per_s"]) == (100, 190)


def test_what_is_exactly_as_wanted_is_no_complaint() -> None:
    assert complaints({"api": GOOD}, 100, is_shared=False) == []


@pytest.mark.parametrize(
    ("found", "guilds", "is_shared", "count"),
    [
        ({"workers_1": {"cpu_ms_per_request": 2.51}}, 100, False, 1),
        ({"workers_1": {"cpu_ms_per_request": 2.51}}, 101, False, 0),
        ({"two_workers_ratio": 1.79}, 100, False, 1),
        ({"two_workers_ratio": 1.79}, 100, True, 0),
        ({"two_workers_cpu_ratio": 1.79}, 100, False, 0),
        ({"two_workers_cpu_ratio": 1.79}, 100, True, 1),
    ],
)
def test_without_a_core_for_each_worker_processor_time_is_judged(
    found: dict[str, object], guilds: int, is_shared: bool, count: int
) -> None:
    assert len(complaints({"api": {**GOOD, **found}}, guilds, is_shared=is_shared)) == count
