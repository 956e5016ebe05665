"""Requests a second, latencies and processor time of the web server, with one worker and with two.

The site runs as `./run` starts it: gunicorn with waitress, and a log line for each request. Beside it runs granian, for
comparison only, which is installed from pip into `var/granian` once. Each round loads every page at every server in a
random order, so that other work on the machine affects them equally. One client keeps a fixed number of connections
busy: each sends its next request when its last is answered.

The client has the first core, and workers have the others, one each. If there are too few, the last worker shares the
client's; requests a second then say less about two workers than the processor time that each request takes.
"""

import argparse
import importlib.metadata
import json
import os
import random
import selectors
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings

from bench.cluster import Person, sign_in
from bench.readers import LIST, PAGE, percentile_ms
from bench.sites import ROOT, Site, start_all
from bench.stage import Stage

GRANIAN = "2.8.9"
HOME = ROOT / "var" / "granian"
OURS, OTHER = "waitress", "granian"
PAGES = {"api": LIST, "picker": PAGE}
WORKERS = (1, 2)
# Seconds. Longer than any response takes.
TIMEOUT = 30.0
# The processor time of an API hit with 100 guilds, and the least that a second worker adds per second of its own.
MAX_CPU_MS, JUDGED_GUILDS = 2.5, 100
MIN_TWO_WORKERS_RATIO = 1.8
TICKS = os.sysconf("SC_CLK_TCK")

Figures = dict[str, float]
Measured = dict[tuple[str, str, int], "list[Turn]"]


class Granian(Site):
    """The site under granian, with the options that it had before."""

    @property
    def command(self) -> list[str]:
        return [
            *(sys.executable, "-m", "granian", "--interface", "wsgi", self.application, "--no-ws"),
            *("--host", self.address, "--port", str(self.port), "--log-level", "error", "--backpressure", "1024"),
            *("--workers", str(self.workers), "--blocking-threads", str(self.threads)),
        ]


@dataclass(frozen=True, slots=True)
class Turn:
    """One page at one server in one round: latencies in seconds, and the processor seconds of each worker."""

    latencies: list[float]
    seconds: float
    cpu: list[float]

    @property
    def req_per_s(self) -> float:
        return len(self.latencies) / self.seconds

    @property
    def cpu_per_request(self) -> float:
        return sum(self.cpu) / len(self.latencies)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--guilds", type=int, default=JUDGED_GUILDS, help="the person's servers (%(default)s)")
    parser.add_argument("--rounds", type=int, default=7, help="how often to load each page (%(default)s)")
    parser.add_argument("--seconds", type=float, default=2, help="how long each time (%(default)s)")
    parser.add_argument("--connections", type=int, default=8, help="kept alive by the client (%(default)s)")
    parser.add_argument("--threads", type=int, default=16, help="of each worker (%(default)s)")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the site")


def run(stage: Stage, options: argparse.Namespace) -> int:
    cores = sorted(os.sched_getaffinity(0))
    person = sign_in(stage, "ada", options.guilds, age=timedelta(minutes=10))
    with _servers(stage, cores, options) as servers:
        os.sched_setaffinity(0, cores[:1])
        started, others = time.monotonic(), _others_busy(servers)
        measured = measure(servers, person, options)
        others = (_others_busy(servers) - others) / (time.monotonic() - started)

    summary = summarise(measured)
    print_table(summary)
    is_shared = cores[0] in cores_of_workers(cores, max(WORKERS))
    if is_shared:
        print(f"With {len(cores)} cores, {max(WORKERS)} workers and the client share one.")
    broken = complaints(summary[OURS], options.guilds, is_shared=is_shared)
    for what in broken:
        print(f"BROKEN {what}")
    told = {name: getattr(options, name) for name in ("guilds", "connections", "threads", "rounds", "seconds")}
    print(json.dumps({"bench": "web", "cores": len(cores), **told, "other_work_cores": round(others, 2), **summary}))
    return 1 if broken else 0


def cores_of_workers(cores: Sequence[int], workers: int) -> list[int]:
    """Return the core of each worker: the last ones first, and the client's, `cores[0]`, only if there are too few."""
    return [cores[-1 - number % len(cores)] for number in range(workers)]


def measure(servers: dict[tuple[str, int], Site], person: Person, options: argparse.Namespace) -> Measured:
    """Return the turns of each page, by server, page and number of workers, in the order of the rounds."""
    measured: Measured = {(name, page, workers): [] for name, workers in servers for page in PAGES}
    turns = list(measured)
    for each in turns:  # enough that each thread has opened its connections, and that nothing is left to cache
        _turn(servers[each[0], each[2]], PAGES[each[1]], person, options.connections, options.seconds)
    for _ in range(options.rounds):
        random.shuffle(turns)
        for name, page, workers in turns:
            turn = _turn(servers[name, workers], PAGES[page], person, options.connections, options.seconds)
            measured[name, page, workers].append(turn)
    return measured


def summarise(measured: Measured) -> dict[str, Any]:
    """Return the figures by server and page: those of each number of workers, and of two workers relative to one.

    `two_workers_ratio` compares requests a second. `two_workers_cpu_ratio` compares processor time per request: what
    two workers would serve if each had a core of its own and nothing else held them up. Both are medians over the
    rounds.
    """
    summary: dict[str, Any] = {}
    for name, page, workers in measured:
        summary.setdefault(name, {}).setdefault(page, {})[f"workers_{workers}"] = figures(measured[name, page, workers])
    for name, pages in summary.items():
        for page, found in pages.items():
            pairs = list(zip(*(measured[name, page, workers] for workers in WORKERS), strict=True))
            req_ratios = [two.req_per_s / one.req_per_s for one, two in pairs]
            cpu_ratios = [2 * one.cpu_per_request / two.cpu_per_request for one, two in pairs]
            found["two_workers_ratio"] = round(statistics.median(req_ratios), 2)
            found["two_workers_cpu_ratio"] = round(statistics.median(cpu_ratios), 2)
    return summary


def figures(turns: Sequence[Turn]) -> Figures:
    """Return the figures of one page at one server.

    `one_core_req_per_s` is what one core allows, and `busiest_share` how much of the processor time the busiest worker
    had.
    """
    cpu_ms = 1000 * statistics.median(turn.cpu_per_request for turn in turns)
    return {
        "req_per_s": round(statistics.median(turn.req_per_s for turn in turns), 1),
        "p99_ms": percentile_ms((latency for turn in turns for latency in turn.latencies), 99),
        "cpu_ms_per_request": round(cpu_ms, 2),
        "one_core_req_per_s": round(1000 / cpu_ms),
        "busiest_share": round(statistics.median(max(turn.cpu) / sum(turn.cpu) for turn in turns), 2),
    }


def complaints(ours: dict[str, Any], guilds: int, *, is_shared: bool) -> list[str]:
    """Return what is not as wanted of an API hit, as sentences; `is_shared`: two workers don't have a core each."""
    hit = ours["api"]
    cpu = hit["workers_1"]["cpu_ms_per_request"]
    scaling = hit["two_workers_cpu_ratio" if is_shared else "two_workers_ratio"]
    found = []
    if guilds <= JUDGED_GUILDS and cpu > MAX_CPU_MS:
        found.append(f"an API hit takes {cpu} ms of processor time, at most {MAX_CPU_MS} wanted")
    if scaling < MIN_TWO_WORKERS_RATIO:
        found.append(f"two workers serve {scaling} × of one, at least {MIN_TWO_WORKERS_RATIO} wanted")
    return found


def load(port: int, request: bytes, connections: int, seconds: float) -> list[float]:
    """Send `request` again on each connection once it is answered, for `seconds`. Returns the latencies in seconds.

    Raises `SystemExit` for a response other than 200.
    """
    latencies: list[float] = []
    with selectors.DefaultSelector() as selector, ExitStack() as stack:
        for _ in range(connections):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", port), TIMEOUT))
            selector.register(client, selectors.EVENT_READ, Exchange(client))
        exchanges: list[Exchange] = [key.data for key in selector.get_map().values()]
        end = time.perf_counter() + seconds
        for exchange in exchanges:
            exchange.send(request)
        while selector.get_map():
            ready = selector.select(TIMEOUT)
            if not ready:
                raise SystemExit("the server does not respond")
            for key, _ in ready:
                latency = key.data.receive()
                if latency is None:
                    continue
                latencies.append(latency)
                if time.perf_counter() < end:
                    key.data.send(request)
                else:
                    selector.unregister(key.fileobj)
    return latencies


class Exchange:
    """A connection with at most one request that is not answered yet."""

    def __init__(self, client: socket.socket) -> None:
        self._client = client

    def send(self, request: bytes) -> None:
        self._received, self._sent_at = b"", time.perf_counter()
        self._client.sendall(request)

    def receive(self) -> float | None:
        """Read what has arrived. Returns the latency in seconds if the response is complete, else None."""
        chunk = self._client.recv(1 << 18)
        self._received += chunk
        if chunk and not is_complete(self._received):
            return None
        if not chunk or not self._received.startswith(b"HTTP/1.1 200 "):
            raise SystemExit(f"the server responded with {self._received[:200]!r}")
        return time.perf_counter() - self._sent_at


def is_complete(response: bytes) -> bool:
    """Return whether these bytes are a whole response, whose header has a `Content-Length`."""
    header, blank, body = response.partition(b"\r\n\r\n")
    if not blank:
        return False
    lengths = [line.split(b":")[1] for line in header.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    if len(lengths) != 1:
        raise SystemExit(f"no Content-Length in {header!r}")
    return len(body) >= int(lengths[0])


def print_table(summary: dict[str, Any]) -> None:
    columns = ("req_per_s", "p99_ms", "cpu_ms_per_request", "one_core_req_per_s", "busiest_share")
    print(f"{'':<44}" + "".join(f"{column:>20}" for column in columns))
    for name, pages in summary.items():
        for page, found in pages.items():
            for workers in WORKERS:
                row = found[f"workers_{workers}"]
                label = f"{name}, {page}, {workers} worker" + "s" * (workers > 1)
                print(f"{label:<44}" + "".join(f"{row[column]:>20g}" for column in columns))
            ratios = f"{found['two_workers_ratio']} × requests a second, {found['two_workers_cpu_ratio']} × by CPU"
            print(f"{name}, {page}, 2 workers relative to 1: {ratios}")


def _turn(site: Site, path: str, person: Person, connections: int, seconds: float) -> Turn:
    cookie = f"{settings.SESSION_COOKIE_NAME}={person.cookie}"
    headers = f"Host: 127.0.0.1:{site.port}\r\nCookie: {cookie}\r\nAccept: */*\r\nAccept-Encoding: gzip"
    request = f"GET {path} HTTP/1.1\r\n{headers}\r\n\r\n".encode()
    workers = site.children()
    before, started = [_cpu(pid) for pid in workers], time.perf_counter()
    latencies = load(site.port, request, connections, seconds)
    elapsed = time.perf_counter() - started
    return Turn(latencies, elapsed, [_cpu(pid) - cpu for pid, cpu in zip(workers, before, strict=True)])


@contextmanager
def _servers(stage: Stage, cores: Sequence[int], options: argparse.Namespace) -> Iterator[dict[tuple[str, int], Site]]:
    """Run each server with each number of workers, every worker on its core, until the block ends."""
    kinds: dict[str, type[Site]] = {OURS: Site, **({OTHER: Granian} if _install_granian() else {})}
    servers = {}
    for name, kind in kinds.items():
        for workers in WORKERS:
            counts = stage.folder / f"metrics-{kind.__name__}-{workers}"
            counts.mkdir()
            # The stage silences the log, which `./run` doesn't.
            environment = {**os.environ, "LOG_LEVEL": "INFO", "PROMETHEUS_MULTIPROC_DIR": str(counts)}
            environment |= dict(setting.split("=", 1) for setting in options.set)
            if name == OTHER:
                environment["PYTHONPATH"] = str(HOME)
            log = stage.folder / f"{kind.__name__}-{workers}.log"
            servers[name, workers] = kind(environment, log, options.threads, workers)
    try:
        start_all(list(servers.values()))
        for (_, workers), site in servers.items():
            for pid, core in zip(site.children(), cores_of_workers(cores, workers), strict=True):
                for thread in Path(f"/proc/{pid}/task").iterdir():
                    os.sched_setaffinity(int(thread.name), [core])
        yield servers
    finally:
        for site in servers.values():
            site.stop()


def _install_granian() -> bool:
    found = next(iter(importlib.metadata.distributions(name="granian", path=[str(HOME)])), None)
    if found and found.version == GRANIAN:
        return True
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--upgrade"]
    if subprocess.run([*command, "--target", str(HOME), f"granian=={GRANIAN}"], check=False).returncode:
        print("granian could not be installed with pip, so it is not compared.")
        return False
    return True


def _cpu(pid: int) -> float:
    """Return the processor seconds that the process has used, its threads included (10 ms is the unit)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def _others_busy(servers: dict[tuple[str, int], Site]) -> float:
    """Return the processor seconds that all others have used since the machine started, with a constant added."""
    fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    _user, _nice, _system, idle, iowait, *_ = fields
    busy = (sum(fields) - idle - iowait) / TICKS
    return busy - time.process_time() - sum(_cpu(pid) for site in servers.values() for pid in site.children())
