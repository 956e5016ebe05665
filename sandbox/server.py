"""The sandbox's HTTP: a thread for each connection, and full say over every byte that leaves.

Some moods break the protocol on purpose (a byte now and then, half a body, a reset), which no framework lets through.
"""

import re
import select
import socket
import struct
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from sandbox import api, consent, control, images
from sandbox.answers import Answer, api_error, cloudflare_html, not_found
from sandbox.failures import failure
from sandbox.journal import Entry, Journal, harmless_path, harmless_query
from sandbox.moods import HEALTHY, Mood, route_of
from sandbox.state import Sandbox

# How long `timeout` keeps a connection: longer than anybody waits.
HOLD = 60.0
# An idle connection is closed after this; requests and aiohttp give up earlier.
IDLE = 120.0
LARGEST_BODY = 32 * 1024 * 1024
_API = re.compile(r"/api(?:/v(?P<version>[0-9]+))?(?P<path>/.*)")
_VERSIONS = (None, "9", "10")
_WITHOUT_BODY = (204, 304)


@dataclass(frozen=True, slots=True)
class Request:
    """What a client sent; `path` is decoded, header names are lower case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def params(self) -> dict[str, str]:
        return dict(parse_qsl(self.query, keep_blank_values=True))

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "")


class Server(ThreadingHTTPServer):
    """A sandbox that listens. Hundreds of connections at once are normal, and nobody waits for them at the stop."""

    daemon_threads = True
    request_queue_size = 512

    def __init__(self, sandbox: Sandbox, host: str, port: int) -> None:
        self.sandbox = sandbox
        if ":" in host:
            self.address_family = socket.AF_INET6
        super().__init__((host, port), Connection)

    def server_bind(self) -> None:
        """Without the base class's look-up of our own name, which takes seconds where there is no name server."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        host, self.server_port = self.socket.getsockname()[:2]
        self.server_name = str(host)

    @property
    def url(self) -> str:
        host = f"[{self.server_name}]" if ":" in self.server_name else self.server_name
        return f"http://{host}:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no error of ours."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class Connection(BaseHTTPRequestHandler):
    """One client's connection, for as many requests as it likes."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = IDLE
    server: Server

    def handle_one_request(self) -> None:
        """Read a request, answer it."""
        try:
            self.raw_requestline = self.rfile.readline(65537)
            if not self.raw_requestline:
                self.close_connection = True
                return
            if len(self.raw_requestline) > 65536:
                self.requestline = self.command = ""
                self.request_version = self.protocol_version
                self.send_error(414)
                return
            if not self.parse_request():
                return
            request = self._read()
            if isinstance(request, Answer):
                self.close_connection = True
                self._send(request)
                return
            try:
                self._respond(request)
            except OSError:
                raise
            except Exception:
                # A mistake of ours must not look like one of the moods.
                self.close_connection = True
                self._send(
                    Answer(500, (("Content-Type", "text/plain"),), b"The sandbox has a bug; its log says which.")
                )
                raise
        except TimeoutError:
            self.close_connection = True

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the base class says about requests it cannot read, in our shape."""
        self.close_connection = True
        self._send(api_error(int(code), message or HTTPStatus(code).phrase))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Nothing: the journal has it, and a parent that reads one line must not be left with a full pipe."""

    # In

    def _read(self) -> Request | Answer:
        """The request with its body, or what is wrong with it."""
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            return api_error(411, "411: Length Required")
        length = self.headers.get("Content-Length", "0")
        if not length.isascii() or not length.isdigit():
            return api_error(400, "400: Bad Request")
        if int(length) > LARGEST_BODY:
            return api_error(413, "413: Content Too Large")
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            raise ConnectionResetError("the client left in the middle of its request")
        try:
            url = urlsplit(self.path)
        except ValueError:
            return api_error(400, "400: Bad Request")
        headers = {name.lower(): value for name, value in self.headers.items()}
        return Request(self.command, unquote(url.path), url.query, headers, body)

    def _respond(self, request: Request) -> None:
        sandbox = self.server.sandbox
        path = request.path
        called = _API.fullmatch(path)
        if path.endswith("/oauth2/authorize") and (called or path == "/oauth2/authorize"):
            self._send(_authorize(sandbox, request))
        elif called:
            self._call(request, called["path"], called["version"])
        elif path.startswith("/_sandbox/"):
            asked = control.Control(request.method, path.removeprefix("/_sandbox/"), request.content_type, request.body)
            self._send(control.answer(sandbox, asked))
        elif path.startswith("/cdn/") and request.method in ("GET", "HEAD"):
            self._send(images.picture(path.removeprefix("/cdn"), request.params.get("size")))
        elif path in ("/", "/_sandbox"):
            self._send(Answer(302, (("Location", control.PAGE),)))
        else:
            self._send(not_found())

    def _call(self, request: Request, path: str, version: str | None) -> None:
        """A request to the API: written down, and answered as the mood has it."""
        sandbox = self.server.sandbox
        if version not in _VERSIONS:
            self._send(api_error(400, "Invalid API version", 50041))
            return
        call = _read_call(sandbox, request, path)
        with _written_down(sandbox, call) as (journal, entry):
            with sandbox.lock:
                mood = sandbox.mood_for(call.path, call.route, call.person)
                banned = sandbox.limits.is_banned(time.monotonic())
            sandbox.stopping.wait(mood.latency)
            if banned:
                self._finish(journal, entry, cloudflare_html(), HEALTHY, counts=False)
            elif mood.mode == "timeout":
                self._hold()
            elif mood.mode == "reset":
                self._reset()
            else:
                answer = failure(mood, call.route) or api.answer(
                    sandbox,
                    call,
                    dead_refresh=mood.mode == "dead_refresh",
                    page=api.PAGE - (mood.mode == "short_page"),
                )
                self._finish(journal, entry, answer, mood)

    def _finish(self, journal: Journal, entry: Entry, answer: Answer, mood: Mood, *, counts: bool = True) -> None:
        """Count the answer, then send it: whoever has it can rely on finding it counted."""
        sandbox = self.server.sandbox
        with sandbox.lock:
            now = time.monotonic()
            journal.answered(entry, answer.status)
            if counts and answer.status in (401, 403, 429) and not answer.shared:
                sandbox.limits.note_invalid(now)
            if mood.mode != "drip":
                journal.left(entry, now)
        if mood.mode == "drip":
            self._drip(answer, mood.drip_pause)
        elif mood.mode == "truncated":
            self._truncate(answer)
        elif mood.mode == "raw":
            self.close_connection = True
            self._send(answer)
        else:
            self._send(answer.with_headers(("Server", "cloudflare")))

    # Out

    def _send(self, answer: Answer) -> None:
        # An answer to HEAD has the head of the one to GET.
        body = b"" if self.command == "HEAD" else answer.body
        self.wfile.write(self._head(answer) + body)

    def _head(self, answer: Answer) -> bytes:
        """The status line and the headers; those of the answer win over ours."""
        phrase = HTTPStatus(answer.status).phrase if answer.status in _STATUSES else "Unknown"
        headers = list(answer.headers)
        if answer.header("Date") is None:
            headers.append(("Date", formatdate(usegmt=True)))
        framed = answer.header("Content-Length") or answer.header("Transfer-Encoding")
        if not framed and answer.status not in _WITHOUT_BODY:
            headers.append(("Content-Length", str(len(answer.body))))
        if self.close_connection and answer.header("Connection") is None:
            headers.append(("Connection", "close"))
        lines = [f"HTTP/1.1 {answer.status} {phrase}", *(f"{name}: {value}" for name, value in headers)]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    def _drip(self, answer: Answer, pause: float) -> None:
        """The head at once, so that no timeout for the first byte ends it; then the body, byte by byte."""
        self.wfile.write(self._head(answer))
        for byte in answer.body:
            if self.server.sandbox.stopping.wait(pause):
                break
            self.wfile.write(bytes((byte,)))
        else:
            return
        self.close_connection = True

    def _truncate(self, answer: Answer) -> None:
        self.close_connection = True
        self.wfile.write(self._head(answer) + answer.body[: len(answer.body) // 2])

    def _hold(self) -> None:
        """Say nothing until the client leaves."""
        self.close_connection = True
        ends = time.monotonic() + HOLD
        while time.monotonic() < ends and not self.server.sandbox.stopping.is_set():
            # poll and not select, which fails from the 1024th file descriptor on.
            poll = select.poll()
            poll.register(self.connection, select.POLLIN)
            if poll.poll(250) and not self.connection.recv(1, socket.MSG_PEEK):
                return

    def _reset(self) -> None:
        """Close with RST: lingering for zero seconds throws the connection away instead of ending it."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.rfile.close()
        self.connection.close()


_STATUSES = {status.value for status in HTTPStatus}


@contextmanager
def _written_down(sandbox: Sandbox, call: api.Call) -> Iterator[tuple[Journal, Entry]]:
    entry = Entry(
        time=time.time(),
        method=call.method,
        path=harmless_path(call.path),
        route=call.route,
        person=call.person,
        started=time.monotonic(),
        query=harmless_query(call.query),
    )
    with sandbox.lock:
        journal = sandbox.journal
        journal.arrived(entry)
    try:
        yield journal, entry
    finally:
        with sandbox.lock:
            journal.left(entry, time.monotonic())


def _read_call(sandbox: Sandbox, request: Request, path: str) -> api.Call:
    route, ids = route_of(path)
    form = api.read_form(request.content_type, request.body)
    authorization = request.headers.get("authorization", "")
    person, grant = api.identify(sandbox, route, authorization, form)
    return api.Call(
        method=request.method,
        path=path,
        route=route,
        ids=ids,
        query=request.params,
        authorization=authorization,
        content_type=request.content_type,
        form=form,
        person=person,
        grant=grant,
    )


def _authorize(sandbox: Sandbox, request: Request) -> Answer:
    if request.method not in ("GET", "HEAD"):
        return api_error(405, "405: Method Not Allowed").with_headers(("Allow", "GET"))
    return consent.authorize(sandbox, request.path, request.params, request.headers.get("cookie", ""))
