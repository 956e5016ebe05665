"""Slow clients: the effect of unfinished bodies, half headers and silent connections on other pages.

It runs one process of the site. Each attack opens its connections, reopens those that the site closes, and lasts for
`--seconds`; a signed-in person reads the list at a steady rate before and during it. Every read and every health check
must get a response; the ratio compares the response times. With `--nginx`, attackers and reader go through an nginx
with the configuration of ops/nginx.conf, without its TLS.
"""

import argparse
import json
import resource
import select
import socket
import statistics
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import timedelta

from bench.cluster import Person, cluster, sign_in
from bench.readers import LIST, Response, at_rate, percentile_ms, print_table
from bench.sites import Site, nginx
from bench.stage import Stage

# Reads per second.
RATE = 10
THREADS = 16
POST = b"POST /login/discord/ HTTP/1.1\r\nHost: localhost\r\nCookie: guildhall_csrf=x\r\nContent-Length: 10\r\n\r\na="
# The number of connections, and what each one sends before it falls silent.
ATTACKS = {
    "unfinished_bodies": (THREADS + 1, POST),
    "half_headers": (300, b"GET / HTTP/1.1\r\nHost: loc"),
    "silent_connections": (1060, b""),
}


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=int, default=30, help="duration of each attack")
    parser.add_argument("--nginx", action="store_true", help="through nginx, as documented")


def run(stage: Stage, options: argparse.Namespace) -> int:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    summary: dict[str, dict[str, float]] = {}
    with cluster(stage, 1, THREADS) as site, ExitStack() as proxy:
        [door] = site.sites
        if options.nginx:
            door = Site({}, door.log)
            proxy.enter_context(nginx([*site.sites], door, stage.folder))
        ada = sign_in(stage, "ada", age=timedelta(minutes=5))
        at_rate(RATE, 3, [door], ada, LIST)
        for name, (connections, sent) in ATTACKS.items():
            before, _ = _read(door, ada, 10)
            with attacking(door.port, connections, sent):
                during, healthy = _read(door, ada, options.seconds)
            summary[name] = _compare(before, during, healthy)
    for name, figures in summary.items():
        print_table({f"{name}, {figure}": value for figure, value in figures.items()})
    print(json.dumps(summary))
    good = all(figures["lost"] == 0 and figures["ratio_p50"] <= 2 for figures in summary.values())
    return 0 if good else 1


def _read(site: Site, person: Person, seconds: int) -> tuple[list[Response], list[Response]]:
    """Return the responses to reads of the list, and to concurrent health checks."""
    with ThreadPoolExecutor(1) as beside:
        health = beside.submit(at_rate, 1, seconds, [site], person, "/healthz")
        return at_rate(RATE, seconds, [site], person, LIST), health.result()


def _compare(before: list[Response], during: list[Response], health: list[Response]) -> dict[str, float]:
    usual, attacked = ([response.seconds for response in responses] for responses in (before, during))
    return {
        "reads": len(during),
        "lost": sum(response.status != 200 for response in [*during, *health]),
        "p50_ms_before": percentile_ms(usual, 50),
        "p50_ms": percentile_ms(attacked, 50),
        "p95_ms_before": percentile_ms(usual, 95),
        "p95_ms": percentile_ms(attacked, 95),
        "ratio_p50": round(statistics.median(attacked) / statistics.median(usual), 2),
    }


@contextmanager
def attacking(port: int, connections: int, sent: bytes) -> Iterator[None]:
    """Keep this many connections open, each of which has sent `sent`, until the block ends."""
    over = threading.Event()
    attacker = threading.Thread(target=_hold, args=(port, connections, sent, over))
    attacker.start()
    try:
        yield
    finally:
        over.set()
        attacker.join()


def _hold(port: int, connections: int, sent: bytes, over: threading.Event) -> None:
    held: dict[int, socket.socket] = {}
    poller = select.poll()
    while not over.is_set():
        while len(held) < connections and not over.is_set():
            try:
                client = socket.create_connection(("127.0.0.1", port), timeout=0.2)
            except OSError:
                break
            try:
                client.sendall(sent)
            except OSError:
                client.close()
                break
            held[client.fileno()] = client
            poller.register(client, select.POLLIN | select.POLLHUP)
        over.wait(1)
        for number, _ in poller.poll(0):
            poller.unregister(number)
            held.pop(number).close()
    for client in held.values():
        client.close()
