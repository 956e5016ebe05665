"""The sandbox's HTTP server: one thread per connection, and control over every byte it sends.

Some moods violate the protocol on purpose (single bytes, half a body, a reset), which no framework allows.
"""

import functools
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

from sandbox import api, consent, control, gateway, images, websocket
from sandbox.calls import Call
from sandbox.failures import failure
from sandbox.journal import Entry, Journal, harmless_path, harmless_query
from sandbox.moods import HEALTHY, Mood, route_of
from sandbox.pages import PAGE
from sandbox.responses import Response, api_error, cloudflare_html, not_found
from sandbox.state import Sandbox

# Seconds that the mood `timeout` keeps a connection open: longer than any client waits.
HOLD_SECONDS = 60.0
# Seconds until an idle connection is closed; requests and aiohttp close theirs earlier.
IDLE_TIMEOUT = 120.0
MAX_BODY = 32 * 1024 * 1024
MAX_HEADERS = 100
MAX_LINE = 65536
_REQUEST_LINE = re.compile(r"(?P<method>\S+)\s+(?P<path>\S+)\s+HTTP/(?P<major>[0-9]{1,9})\.(?P<minor>[0-9]{1,9})\s*")
_API = re.compile(r"/api(?:/v(?P<version>[0-9]+))?(?P<path>/.*)")
_VERSIONS = (None, "9", "10")
_WITHOUT_BODY = (204, 304)


@dataclass(frozen=True, slots=True)
class Request:
    """A client's request; `path` is decoded, header names are lower case."""

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
    """The HTTP server. It handles hundreds of connections at once and doesn't wait for them when it stops."""

    daemon_threads = True
    request_queue_size = 512

    def __init__(self, sandbox: Sandbox, host: str, port: int) -> None:
        self.sandbox = sandbox
        if ":" in host:
            self.address_family = socket.AF_INET6
        super().__init__((host, port), Connection)

    def server_bind(self) -> None:
        """Bind without the base class's look-up of the host name, which takes seconds without a name server."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        host, self.server_port = self.socket.getsockname()[:2]
        self.server_name = str(host)

    @property
    def url(self) -> str:
        host = f"[{self.server_name}]" if ":" in self.server_name else self.server_name
        return f"http://{host}:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore disconnecting clients, and let the base class print other errors."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class Connection(BaseHTTPRequestHandler):
    """A client's connection, for any number of requests."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = IDLE_TIMEOUT
    server: Server

    def handle_one_request(self) -> None:
        """Read a request and respond to it."""
        try:
            self.raw_requestline = self.rfile.readline(MAX_LINE + 1)
            if not self.raw_requestline:
                self.close_connection = True
                return
            if not self.parse_request():
                return
            request = self._read()
            if isinstance(request, Response):
                self.close_connection = True
                self._send(request)
                return
            try:
                if is_foreign(request.headers, self.server.server_name):
                    self._send(api_error(403, "403: Only a loopback Host and the sandbox's own Origin are served here"))
                else:
                    self._respond(request)
            except OSError:
                raise
            except Exception:
                # A bug in the sandbox must not look like a mood.
                self.close_connection = True
                self._send(
                    Response(
                        500, (("Content-Type", "text/plain"),), b"The sandbox failed because of a bug; see its log."
                    )
                )
                raise
        except TimeoutError:
            self.close_connection = True

    def parse_request(self) -> bool:
        """Read the request line and the headers. Returns False after an error response.

        The base class parses headers as those of a mail, which takes longer than most responses.
        """
        self.command = ""
        if len(self.raw_requestline) > MAX_LINE:
            self.send_error(414)
            return False
        line = _REQUEST_LINE.fullmatch(self.raw_requestline.decode("iso-8859-1"))
        if line is None:
            self.send_error(400)
            return False
        if line["major"] != "1":
            self.send_error(505)
            return False
        self.command = line["method"]
        # A path that begins with two slashes would be read as a URL without its scheme.
        self.path = re.sub("^//+", "/", line["path"])
        self.request_version = f"HTTP/1.{line['minor']}"
        self.fields: dict[str, str] = {}
        for _ in range(MAX_HEADERS + 1):
            field_line = self.rfile.readline(MAX_LINE + 1)
            if field_line in (b"\r\n", b"\n"):
                break
            name, colon, value = field_line.decode("iso-8859-1").partition(":")
            if len(field_line) > MAX_LINE or not colon or name != name.strip():
                self.send_error(431 if len(field_line) > MAX_LINE else 400)
                return False
            self.fields[name.lower()] = value.strip()
        else:
            self.send_error(431)
            return False
        connection = self.fields.get("connection", "").lower()
        self.close_connection = connection != "keep-alive" if line["minor"] == "0" else connection == "close"
        if self.fields.get("expect", "").lower() == "100-continue":
            return self.handle_expect_100()
        return True

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Send the base class's errors about unreadable requests in Discord's format."""
        self.close_connection = True
        self._send(api_error(int(code), message or HTTPStatus(code).phrase))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Log nothing: the journal has the request, and a parent that reads only one line must not get a full pipe."""

    # Requests

    def _read(self) -> Request | Response:
        """Return the request with its body, or an error response."""
        if "chunked" in self.fields.get("transfer-encoding", "").lower():
            return api_error(411, "411: Length Required")
        length = self.fields.get("content-length", "0")
        if not length.isascii() or not length.isdigit():
            return api_error(400, "400: Bad Request")
        if int(length) > MAX_BODY:
            return api_error(413, "413: Content Too Large")
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            raise ConnectionResetError("the client disconnected during its request")
        try:
            url = urlsplit(self.path)
        except ValueError:
            return api_error(400, "400: Bad Request")
        return Request(self.command, unquote(url.path), url.query, self.fields, body)

    def _respond(self, request: Request) -> None:
        sandbox = self.server.sandbox
        path = request.path
        called = _API.fullmatch(path)
        if path.endswith("/oauth2/authorize") and (called or path == "/oauth2/authorize"):
            self._send(_authorize(sandbox, request))
        elif called:
            self._call(request, called["path"], called["version"])
        elif path == gateway.PATH and websocket.AVAILABLE:
            self._serve_gateway(request)
        elif path.startswith("/_sandbox/"):
            asked = control.Control(request.method, path.removeprefix("/_sandbox/"), request.content_type, request.body)
            self._send(control.respond(sandbox, asked))
        elif path.startswith("/cdn/") and request.method in ("GET", "HEAD"):
            self._send(images.picture(path.removeprefix("/cdn"), request.params))
        elif path in ("/", "/_sandbox"):
            self._send(Response(302, (("Location", PAGE),)))
        else:
            self._send(not_found())

    def _call(self, request: Request, path: str, version: str | None) -> None:
        """Record a request to the API and respond according to the mood."""
        sandbox = self.server.sandbox
        if version not in _VERSIONS:
            self._send(api_error(400, "Invalid API version", 50041))
            return
        call = _read_call(sandbox, request, path)
        with _recorded(sandbox, call) as (journal, entry):
            with sandbox.lock:
                mood = sandbox.mood_for(call.path, call.route, call.person)
                banned = sandbox.limits.is_banned(time.monotonic())
            if mood.latency:
                sandbox.stopping.wait(mood.latency)
            if banned:
                self._finish(journal, entry, cloudflare_html(), HEALTHY, counts=False)
            elif mood.mode == "timeout":
                self._hold()
            elif mood.mode == "reset":
                self._reset()
            else:
                response = failure(mood, call.route) or api.respond(
                    sandbox,
                    call,
                    dead_refresh=mood.mode == "dead_refresh",
                    page=api.PAGE - (mood.mode == "short_page"),
                )
                self._finish(journal, entry, response, mood)

    def _serve_gateway(self, request: Request) -> None:
        self.close_connection = True
        connection = websocket.WebSocket(self.connection, self.rfile, self.path, request.headers)
        if connection.is_open:
            compressed = request.params.get("compress") == "zlib-stream"
            url = gateway.url_on(request.headers.get("host", "localhost"))
            gateway.serve(self.server.sandbox, connection, url, compressed=compressed)

    def _finish(self, journal: Journal, entry: Entry, response: Response, mood: Mood, *, counts: bool = True) -> None:
        """Count the response before sending it, so that a client that has it finds it counted."""
        sandbox = self.server.sandbox
        with sandbox.lock:
            now = time.monotonic()
            journal.answered(entry, response.status)
            if counts and response.status in (401, 403, 429) and not response.shared:
                sandbox.limits.note_invalid(now)
            if mood.mode != "drip":
                journal.left(entry, now)
        if mood.mode == "drip":
            self._drip(response, mood.drip_pause)
        elif mood.mode == "truncated":
            self._truncate(response)
        elif mood.mode == "raw":
            self.close_connection = True
            self._send(response)
        else:
            self._send(response.with_headers(("Server", "cloudflare")))

    # Responses

    def _send(self, response: Response) -> None:
        # A response to HEAD has the same head as the one to GET.
        body = b"" if self.command == "HEAD" else response.body
        self.wfile.write(self._head(response) + body)

    def _head(self, response: Response) -> bytes:
        """Return the status line and the headers; the response's own headers take precedence."""
        phrase = _PHRASES.get(response.status, "Unknown")
        headers = list(response.headers)
        own = {name.lower() for name, _ in headers}
        if "date" not in own:
            headers.append(("Date", _date(int(time.time()))))
        if not own & {"content-length", "transfer-encoding"} and response.status not in _WITHOUT_BODY:
            headers.append(("Content-Length", str(len(response.body))))
        if self.close_connection and "connection" not in own:
            headers.append(("Connection", "close"))
        lines = [f"HTTP/1.1 {response.status} {phrase}", *(f"{name}: {value}" for name, value in headers)]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    def _drip(self, response: Response, pause: float) -> None:
        """Send the head at once, to avoid a timeout for the first byte, and then the body byte by byte."""
        self.wfile.write(self._head(response))
        for byte in response.body:
            if self.server.sandbox.stopping.wait(pause):
                break
            self.wfile.write(bytes((byte,)))
        else:
            return
        self.close_connection = True

    def _truncate(self, response: Response) -> None:
        self.close_connection = True
        self.wfile.write(self._head(response) + response.body[: len(response.body) // 2])

    def _hold(self) -> None:
        """Send nothing until the client disconnects."""
        self.close_connection = True
        ends = time.monotonic() + HOLD_SECONDS
        while time.monotonic() < ends and not self.server.sandbox.stopping.is_set():
            # poll, because select fails for file descriptors from 1024 on.
            poll = select.poll()
            poll.register(self.connection, select.POLLIN)
            if poll.poll(250) and not self.connection.recv(1, socket.MSG_PEEK):
                return

    def _reset(self) -> None:
        """Close with RST: lingering for zero seconds aborts the connection."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.rfile.close()
        self.connection.close()


@functools.lru_cache(maxsize=1)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)


LOOPBACK = ("localhost", "127.0.0.1", "::1")


def is_foreign(headers: Mapping[str, str], listens_on: str) -> bool:
    """Whether a web page from elsewhere sent the request.

    It is recognized by its Origin, or by a foreign Host that resolves to this server (DNS rebinding). `listens_on` is
    the socket's address, which is also accepted as Host. Programs send no Origin.
    """
    host = headers.get("host", "localhost")
    try:
        name = urlsplit(f"//{host}").hostname
    except ValueError:
        return True
    if name not in (*LOOPBACK, listens_on):
        return True
    return headers.get("origin", f"http://{host}") != f"http://{host}"


_PHRASES = {status.value: status.phrase for status in HTTPStatus}


@contextmanager
def _recorded(sandbox: Sandbox, call: Call) -> Iterator[tuple[Journal, Entry]]:
    entry = Entry(
        time=time.time(),
        method=call.method,
        path=harmless_path(call.path),
        route=call.route,
        person=call.person,
        guild=harmless_path(call.guild_id) if call.guild_id else None,
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


def _read_call(sandbox: Sandbox, request: Request, path: str) -> Call:
    route, ids = route_of(path)
    form = api.read_form(request.content_type, request.body)
    authorization = request.headers.get("authorization", "")
    person, grant = api.identify(sandbox, route, authorization, form)
    return Call(
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
        host=request.headers.get("host", "localhost"),
    )


def _authorize(sandbox: Sandbox, request: Request) -> Response:
    if request.method not in ("GET", "HEAD"):
        return api_error(405, "405: Method Not Allowed").with_headers(("Allow", "GET"))
    return consent.authorize(sandbox, request.path, request.params, request.headers.get("cookie", ""))
