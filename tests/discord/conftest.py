"""Fixtures for the Discord client: a clock that only sleeping advances, and a scripted server."""

import json
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from accounts.discord import DiscordClient, Exchange


@dataclass
class Clock:
    now: float = 1000.0
    slept: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(float(seconds))
        self.now += seconds


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: tuple[str, int]


Step = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Script:
    """The scripted responses in order; the last one is repeated."""

    url: str = ""
    steps: deque[Step] = field(default_factory=deque)
    requests: list[Request] = field(default_factory=list)
    # The number of chunks sent by `write`.
    written: int = 0

    def respond(self, status: int = 200, body: Any = None, /, *, via: bool = True, **headers: str) -> None:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()

        def step(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response_only(status)
            if via:
                handler.send_header("Via", "1.1 google")
            for name, value in headers.items():
                handler.send_header(name.replace("_", "-"), value)
            handler.send_header("Content-Length", str(len(raw)))
            handler.end_headers()
            handler.wfile.write(raw)

        self.steps.append(step)

    def limit(self, retry_after: float, **headers: str) -> None:
        body = {"message": "You are being rate limited.", "retry_after": retry_after, "global": False}
        self.respond(429, body, via=True, **headers)

    def write(self, *chunks: bytes, pause: Callable[[], object] = lambda: None) -> None:
        """Send the bytes of a whole response, including its head, and close the connection."""

        def step(handler: BaseHTTPRequestHandler) -> None:
            handler.close_connection = True
            for chunk in chunks:
                handler.wfile.write(chunk)
                self.written += 1
                pause()

        self.steps.append(step)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    script: Script

    def follow(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request = Request(self.command, self.path, dict(self.headers), body, self.client_address)
        self.script.requests.append(request)
        step = self.script.steps.popleft() if len(self.script.steps) > 1 else self.script.steps[0]
        try:
            step(self)
        except OSError:  # some tests make the client disconnect early
            self.close_connection = True

    do_GET = do_POST = do_CONNECT = follow  # noqa: N815  # the names http.server looks for

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def script() -> Iterator[Script]:
    """A server on a free port that sends the scripted responses."""
    script = Script()
    handler = type("ScriptedHandler", (Handler,), {"script": script})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    script.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield script
    server.shutdown()
    thread.join()
    server.socket.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def exchanges() -> list[Exchange]:
    """The exchanges reported to the client's `on_response`."""
    return []


@pytest.fixture
def client(script: Script, clock: Clock, exchanges: list[Exchange]) -> DiscordClient:
    """A client of the scripted server, on the test's clock, with a jitter of exactly 0.1 s."""
    return DiscordClient(
        base_url=script.url,
        client_id="guildhall",
        client_secret="our-own-secret",
        on_response=exchanges.append,
        clock=clock,
        sleep=clock.sleep,
        jitter=lambda: 0.1,
    )


@pytest.fixture
def real_time_client(client: DiscordClient) -> DiscordClient:
    """The same client on the real clock, with short timeouts."""
    real = DiscordClient()
    return replace(client, clock=real.clock, sleep=real.sleep, request_timeout=0.3, budget=0.4)
