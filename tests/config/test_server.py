"""The web server, tested with raw sockets: headers, bodies, and the cost of slow clients."""

import json
import math
import os
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, RemoteDisconnected
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from django.conf import settings as django_settings
from django.core.wsgi import get_wsgi_application
from django.test import Client
from gunicorn.config import Config
from gunicorn.workers.base import Worker as BaseWorker
from pytest_django import Settings
from waitress import wasyncore
from waitress.adjustments import Adjustments

from accounts import access_tokens
from accounts.models import User
from bench.sites import ROOT, Site, free_port
from config import server
from tests.engine.conftest import eventually

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST / HTTP/1.1\r\nHost: localhost\r\n"
# Slow clients, and what they have sent before they fall silent.
SLOW = {
    "nothing": b"",
    "half a header": b"GET / HTTP/1.1\r\nHost: loc",
    "headers without their end": GET,
    "half a body": POST + b"Content-Length: 10\r\n\r\na=",
    "half a chunk": POST + b"Transfer-Encoding: chunked\r\n\r\nA\r\na=",
}


@pytest.fixture(autouse=True)
def few(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.WEB_THREADS = 2
    monkeypatch.setattr(server, "TICK", 0.01)


def worker_of(application: Application, listener: socket.socket) -> server.Worker:
    worker = server.Worker(1, os.getppid(), [listener], None, 30, Config(), Mock())
    worker.wsgi = application
    return worker


@contextmanager
def serving(application: Application) -> Iterator[tuple[str, int]]:
    """Run a worker in a thread of this process and return its address."""
    with running(application) as (_, address):
        yield address


def listen() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0), backlog=512)


@contextmanager
def running(
    application: Application, listener: socket.socket | None = None
) -> Iterator[tuple[server.Worker, tuple[str, int]]]:
    listener = listener or listen()
    address = listener.getsockname()
    worker = worker_of(application, listener)
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        yield worker, address
    finally:
        worker.handle_exit(0, None)
        thread.join(10)
        wasyncore.close_all(worker.connections)
        worker.tmp.close()
        assert not thread.is_alive()


@contextmanager
def waiting_since(times: Iterable[float]) -> Iterator[tuple[server.Worker, list[socket.socket]]]:
    """Return a worker whose loop doesn't run, and its clients, with the times since which it has been waiting."""
    with ExitStack() as stack:
        worker = worker_of(say(b""), Mock())
        stack.callback(worker.tmp.close)
        worker.connections = {}
        clients = []
        for since in times:
            here, there = (stack.enter_context(each) for each in socket.socketpair())
            channel = server.Channel(Mock(active_channels={}), here, ("", 0), Adjustments(), map=worker.connections)
            channel.waiting_since = since
            clients.append(there)
        yield worker, clients


def is_closed(client: socket.socket) -> bool:
    """Return whether the server has closed the connection, on which it has sent nothing."""
    client.setblocking(False)
    try:
        return client.recv(1) == b""
    except BlockingIOError:
        return False


def say(text: bytes) -> Application:
    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Length", str(len(text)))])
        return [text]

    return application


def connect(address: tuple[str, int], data: bytes = b"") -> socket.socket:
    with ExitStack() as stack:
        client = stack.enter_context(socket.create_connection(address, timeout=10))
        client.sendall(data)
        stack.pop_all()
    return client


def rest_of(client: socket.socket) -> bytes:
    """Return everything the server sends until it closes the connection."""
    received = b""
    try:
        while data := client.recv(65536):
            received += data
    except ConnectionResetError:
        pass
    return received


def is_closed_after(client: socket.socket, data: bytes) -> bool:
    """Send data, and return whether the server closes the connection within the client's timeout."""
    try:
        client.sendall(data)
        return client.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


def ask(address: tuple[str, int], headers: bytes = b"", *, path: bytes = b"/") -> bytes:
    request = b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + headers + b"\r\n"
    with connect(address, request) as client:
        return rest_of(client)


# headers


@pytest.mark.parametrize("value", ["München".encode(), "München".encode("latin-1"), b"\xff\x80\xb8"])
@pytest.mark.parametrize(
    "name",
    ["Cookie", "Authorization", "Referer", "Accept-Language", "If-None-Match", "X-Forwarded-Proto", "Host"],
)
def test_the_bytes_of_a_header_arrive_as_latin_1(name: str, value: bytes) -> None:
    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [])
        return [environ["HTTP_" + name.upper().replace("-", "_")].encode("latin-1")]

    request = b"GET / HTTP/1.0\r\n" + name.encode() + b": x" + value + b"y\r\n\r\n"
    with serving(application) as address, connect(address, request) as client:
        assert rest_of(client).endswith(b"\r\n\r\nx" + value + b"y")


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_a_cookie_of_another_application_signs_nobody_out(
    with_list: Callable[..., User], client: Client, encoding: str
) -> None:
    client.force_login(with_list("ada"))
    foreign = "city=München".encode(encoding)
    session = f"{django_settings.SESSION_COOKIE_NAME}={client.cookies[django_settings.SESSION_COOKIE_NAME].value}"

    with serving(get_wsgi_application()) as address:
        for cookies in (foreign + b"; " + session.encode(), session.encode() + b"; " + foreign):
            response = ask(address, b"Cookie: " + cookies + b"\r\n", path=b"/api/v1/me/")
            assert response.startswith(b"HTTP/1.1 200")
            assert b'"ada"' in response


def test_a_token_that_holds_a_foreign_byte_is_refused_beside_a_good_session(
    with_list: Callable[..., User], client: Client
) -> None:
    client.force_login(with_list("ada"))
    session = f"{django_settings.SESSION_COOKIE_NAME}={client.cookies[django_settings.SESSION_COOKIE_NAME].value}"
    token = access_tokens.PREFIX.encode() + b"a" * 20 + b"\xb8"

    with serving(get_wsgi_application()) as address:
        headers = b"Cookie: " + session.encode() + b"\r\nAuthorization: Bearer " + token + b"\r\n"
        assert ask(address, headers, path=b"/api/v1/me/").startswith(b"HTTP/1.1 401")


# slow clients


@pytest.mark.parametrize("sent", SLOW.values(), ids=SLOW.keys())
def test_clients_that_hold_back_take_no_thread(sent: bytes) -> None:
    with serving(say(b"here")) as address, ExitStack() as stack:
        for _ in range(40):
            stack.enter_context(connect(address, sent))

        assert ask(address).endswith(b"here")


@pytest.mark.parametrize("sent", SLOW.values(), ids=SLOW.keys())
def test_a_request_has_a_deadline(sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "REQUEST_DEADLINE", 0.05)

    with serving(say(b"here")) as address, connect(address, sent) as client:
        assert rest_of(client) == b""


def test_bytes_that_come_now_and_then_extend_no_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "REQUEST_DEADLINE", 0.3)

    with serving(say(b"here")) as address, connect(address, POST + b"Content-Length: 60000\r\n\r\n") as client:
        client.settimeout(0.01)
        assert any(is_closed_after(client, b"a") for _ in range(1000))


def test_an_idle_connection_has_a_deadline_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "REQUEST_DEADLINE", 0.05)

    with serving(say(b"here")) as address, connect(address, GET + b"\r\n") as client:
        response = rest_of(client)

    assert response.endswith(b"here")
    assert b"Connection: close" not in response


def test_when_there_are_too_many_connections_the_oldest_silent_one_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 20)

    with serving(say(b"here")) as address, ExitStack() as stack:
        silent = [stack.enter_context(connect(address)) for _ in range(60)]

        assert ask(address).endswith(b"here")
        assert rest_of(silent[0]) == b""


def test_a_crowd_whose_requests_have_arrived_is_served_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """However late the worker reads them."""
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 20)
    monkeypatch.setattr(server, "GRACE", 0)
    request = GET + b"Connection: close\r\n\r\n"

    with listen() as listener, ExitStack() as stack:
        crowd = [stack.enter_context(connect(listener.getsockname(), request)) for _ in range(200)]

        with running(say(b"here"), listener):
            assert all(rest_of(client).endswith(b"here") for client in crowd)


@pytest.mark.parametrize(
    "body", [b"Content-Length: 65537\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n10001\r\n" + b"a" * 0x10001]
)
def test_a_large_body_is_refused_before_it_has_arrived(body: bytes) -> None:
    with serving(say(b"here")) as address, connect(address, POST + body) as client:
        assert rest_of(client).startswith(b"HTTP/1.1 413")


def test_a_body_of_64_kb_arrives() -> None:
    with serving(say(b"here")) as address:
        body = b"a" * 64 * 1024
        with connect(address, POST + b"Connection: close\r\nContent-Length: 65536\r\n\r\n" + body) as client:
            assert rest_of(client).endswith(b"here")


def test_headers_have_a_size_limit() -> None:
    with serving(say(b"here")) as address:
        assert ask(address, b"X-Long: " + b"a" * server.MAX_HEADER_BYTES + b"\r\n").startswith(b"HTTP/1.0 431")


def test_connections_whose_request_has_arrived_leave_it_to_idle_ones_to_make_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 4)

    with waiting_since([91, 92, 93, 94, 95, 96]) as (worker, clients):
        for client in clients[:2]:
            client.sendall(GET)
        clients[2].shutdown(socket.SHUT_WR)
        worker._close_overdue(100)

        assert [is_closed(client) for client in clients] == [False, False, True, True, True, False]


# clients that don't read


BIG = b"GET /big HTTP/1.1\r\nHost: localhost\r\n\r\n"


def say_much(chunk: int, *, chunks: int = 1) -> Application:
    """Return an application with a long response at /big."""

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/big":
            return say(b"here")(environ, start_response)
        start_response("200 OK", [("Content-Length", str(chunk * chunks))])
        return [b"a" * chunk] * chunks

    return application


def connect_without_reading(address: tuple[str, int], data: bytes) -> socket.socket:
    """Connect a client that reads nothing, and for which the operating system stores little."""
    with ExitStack() as stack:
        client = stack.enter_context(socket.socket())
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(10)
        client.connect(address)
        client.sendall(data)
        stack.pop_all()
    return client


# Above 16 MiB that the client hasn't read, waitress lets the thread wait.
@pytest.mark.parametrize(("sent", "answered"), [(8, 8), (9, 1)])
def test_a_client_that_sends_too_many_requests_at_once_gets_the_first_response(sent: int, answered: int) -> None:
    requests = (GET + b"\r\n") * (sent - 1) + GET + b"Connection: close\r\n\r\n"
    with serving(say(b"here")) as address, connect(address, requests) as client:
        said = client.makefile("rb").read()

    assert said.count(b"HTTP/1.1 200 OK") == answered
    assert said.lower().count(b"connection: close") == 1


@pytest.mark.parametrize(
    ("chunk", "chunks", "requests", "unread"),
    [(8_000_000, 1, 1, 2**20), (1_000_000, 1, 8, 2**20), (4_000_000, 1, 8, 2**24), (8_000_000, 4, 1, 2**24)],
    ids=["one response", "pipelined", "a thread waits between responses", "a thread waits within a response"],
)
def test_a_client_that_reads_nothing_loses_its_connection_and_its_thread(
    chunk: int, chunks: int, requests: int, unread: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(say_much(chunk, chunks=chunks)) as (worker, address), ExitStack() as stack:
        assert ask(address).endswith(b"here")
        assert worker.server
        channels = worker.server.active_channels
        for _ in range(django_settings.WEB_THREADS):
            stack.enter_context(connect_without_reading(address, BIG * requests))
        eventually(
            lambda: [each.total_outbufs_len > unread for each in list(channels.values())] == [True, True],
            "the responses wait for their clients",
        )
        monkeypatch.setattr(server, "RESPONSE_TIMEOUT", 0.05)

        eventually(lambda: not channels, "the worker closes the connections")
        assert ask(address).endswith(b"here")


@pytest.mark.parametrize(
    "unread", [POST + b"Content-Length: 60000\r\n\r\n" + b"a" * 60_000, b""], ids=["a request", "the end"]
)
def test_too_many_clients_that_read_nothing_make_room(unread: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if there is input, which the worker doesn't read before it has sent the response."""
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 8)

    with serving(say_much(5_000_000)) as address, ExitStack() as stack:
        for _ in range(20):
            client = stack.enter_context(connect_without_reading(address, BIG + unread))
            if not unread:
                client.shutdown(socket.SHUT_WR)

        assert ask(address).endswith(b"here")


# start and stop


def test_a_stopping_worker_finishes_its_requests_and_takes_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "LINGER", 0.05)
    begun, may_end = threading.Event(), threading.Event()

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        begun.set()
        assert may_end.wait(5)
        return say(b"finished")(environ, start_response)

    with running(application) as (worker, address), connect(address, GET + b"\r\n") as client:
        assert begun.wait(5)
        worker.handle_exit(0, None)
        refused = False
        while not refused:
            try:
                connect(address).close()
            except ConnectionError:
                refused = True
        may_end.set()
        assert rest_of(client).endswith(b"finished")


def test_a_kept_alive_connection_gets_its_last_response_from_a_stopping_worker() -> None:
    with running(say(b"here")) as (worker, address), connect(address, GET + b"\r\n") as client:
        received = b""
        while not received.endswith(b"here"):
            received += client.recv(65536)
        worker.handle_exit(0, None)
        client.sendall(GET + b"\r\n")
        response = rest_of(client)

    assert b"Connection: close" in response
    assert response.endswith(b"here")


@pytest.mark.parametrize(
    ("idle", "sent", "closes"),
    [(2, b"", True), (0.5, b"", False), (-math.inf, b"", False), (2, GET, False)],
    ids=["idle", "served a moment ago", "never idle", "a request is arriving"],
)
def test_a_stopping_worker_closes_only_connections_without_a_request(idle: float, sent: bytes, closes: bool) -> None:
    with waiting_since([100 - idle]) as (worker, [client]):
        client.sendall(sent)
        worker._close_idle(100)

        assert is_closed(client) == closes


@pytest.mark.parametrize(("age", "ends_with"), [(1, ImportError), (2, SystemExit)])
def test_only_the_first_start_ends_the_site_if_it_fails(
    age: int, ends_with: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(worker: BaseWorker) -> None:
        raise ImportError

    monkeypatch.setattr(BaseWorker, "init_process", fail)
    monkeypatch.setattr(server, "RETRY_BOOT_AFTER", 0)
    worker = server.Worker(age, os.getppid(), [], None, 30, Config(), Mock())

    with pytest.raises(ends_with):
        worker.init_process()
    worker.tmp.close()


# connections that stay open


@pytest.mark.parametrize("status", ["304 Not Modified", "204 No Content"])
@pytest.mark.parametrize(
    ("request_line", "stays_open"),
    [(GET, True), (GET + b"Connection: close\r\n", False), (GET.replace(b"1.1", b"1.0"), False)],
    ids=["HTTP/1.1", "asked to close", "HTTP/1.0"],
)
def test_a_response_without_a_body_leaves_the_connection_open(
    status: str, request_line: bytes, stays_open: bool
) -> None:
    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response(status, [])
        return []

    with serving(application) as address:
        client = connect(address, request_line + b"\r\n")
        first = client.recv(65536)
        if stays_open:
            client.sendall(GET + b"Connection: close\r\n\r\n")
        rest = rest_of(client)
        client.close()

    assert first.startswith(f"HTTP/1.{'0' if b'1.0' in request_line else '1'} {status}".encode())
    assert (b"Connection: close" not in first) == stays_open
    assert rest.startswith(f"HTTP/1.1 {status}".encode()) == stays_open


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    environment = {"ENV_FILE": os.devnull, "VAR_DIR": str(tmp_path), "LOG_FORMAT": "json"}
    site = Site(environment, tmp_path / "log")
    try:
        site.start()
        site.wait_until_up()
        yield site
    finally:
        site.stop()


def workers_of(site: Site) -> set[int]:
    assert site.process
    pid = site.process.pid
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def test_a_stopping_server_gives_a_reader_the_time_to_wait_for_discord() -> None:
    worker_waits = server.graceful_timeout - server.KILL_MARGIN

    assert worker_waits > django_settings.DISCORD_FETCH_BUDGET_MS / 1000


# reload


@dataclass
class Application:
    """A WSGI application in a file, whose responses name their version."""

    file: Path
    site: Site

    def write(self, version: str, *, loads: str = "") -> None:
        """Write the code; `loads` runs when a worker loads it."""
        self.file.write_text(
            f"import os\n{loads}\n"
            "os.environ['DJANGO_SETTINGS_MODULE'] = 'config.settings'\n"
            "def application(environ, start_response):\n"
            f"    body = {version}\n"
            "    start_response('200 OK', [('Content-Length', str(len(body)))])\n"
            "    return [body]\n"
        )

    def connect(self) -> "closing[HTTPConnection]":
        return closing(HTTPConnection("127.0.0.1", self.site.port, timeout=30))

    def get(self) -> str:
        with self.connect() as connection:
            return body(connection)

    def reload(self) -> None:
        assert self.site.process
        os.kill(self.site.process.pid, signal.SIGHUP)


def body(connection: HTTPConnection) -> str:
    connection.request("GET", "/")
    return connection.getresponse().read().decode()


def body_again(connection: HTTPConnection) -> str:
    """Send a request as clients with kept connections do: again if the server closed it before the response began."""
    try:
        return body(connection)
    except (RemoteDisconnected, ConnectionResetError, BrokenPipeError):
        connection.close()
        return body(connection)


@pytest.fixture
def unstarted(tmp_path: Path) -> Application:
    (tmp_path / "env").write_text("WEB_WORKERS=1\n")
    environment = {
        "ENV_FILE": str(tmp_path / "env"),
        "VAR_DIR": str(tmp_path),
        "PYTHONPATH": str(tmp_path),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    site = Site(environment, tmp_path / "log", application="versions:application", workers=None)
    found = Application(tmp_path / "versions.py", site)
    found.write("b'old'")
    return found


@pytest.fixture
def versions(unstarted: Application) -> Iterator[Application]:
    try:
        unstarted.site.start()
        unstarted.site.wait_until_up()
        yield unstarted
    finally:
        unstarted.site.stop()


def test_a_reload_loses_no_request_and_the_old_workers_serve_until_the_new_ones_do(
    versions: Application, tmp_path: Path
) -> None:
    new_code_serves = threading.Event()

    def read(keeps_alive: bool) -> Counter[str]:
        responses: Counter[str] = Counter()
        with versions.connect() as connection:
            while not new_code_serves.is_set():
                responses[body_again(connection) if keeps_alive else versions.get()] += 1
        return responses

    may_load = tmp_path / "may-load"
    versions.write("b'new'", loads=f"import time\nwhile not os.path.exists({str(may_load)!r}): time.sleep(0.01)")
    with ThreadPoolExecutor(4) as readers:
        reading = [readers.submit(read, keeps_alive) for keeps_alive in (True, True, False, False)]
        try:
            versions.reload()
            eventually(lambda: len(workers_of(versions.site)) == 2, "the new worker loads its code", within=60)
            meanwhile = {versions.get() for _ in range(20)}
            may_load.touch()
            eventually(lambda: versions.get() == "new", "the new code serves", within=60)
        finally:
            new_code_serves.set()
        # A lost request is an exception.
        responses = sum((each.result() for each in reading), Counter())

    assert meanwhile == {"old"}
    assert set(responses) <= {"old", "new"}


def test_code_that_cannot_be_loaded_leaves_the_old_workers_in_place(versions: Application) -> None:
    versions.write("1 +")
    versions.reload()
    eventually(lambda: "The worker could not start" in versions.site.logged(), "the failure is logged")
    meanwhile = versions.get()
    versions.write("b'mended'")

    eventually(lambda: versions.get() == "mended", "the new code serves", within=60)

    assert meanwhile == "old"


def test_a_reload_reads_the_env_file_again(versions: Application, tmp_path: Path) -> None:
    (tmp_path / "env").write_text("WEB_WORKERS=2\n")
    versions.reload()

    eventually(lambda: len(workers_of(versions.site)) == 2, "there are two workers")


def test_the_server_does_not_outlive_the_process_that_started_it(unstarted: Application) -> None:
    code = "import subprocess, sys; subprocess.run(sys.argv[1:])"
    port = free_port()
    command = [sys.executable, "-m", "config.supervisor", "--config", "file:config/server.py", "versions:application"]
    environment = {**os.environ, **unstarted.site.environment, "PORT": str(port)}

    with subprocess.Popen([sys.executable, "-c", code, *command], cwd=ROOT, env=environment) as starter:
        eventually(lambda: is_listening(port), "it listens")
        starter.kill()

    eventually(lambda: not is_listening(port), "the port is free")


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.thorough
def test_what_gunicorn_logs_is_json_too(site: Site) -> None:
    [worker] = workers_of(site)

    os.kill(worker, signal.SIGKILL)
    while workers_of(site) == {worker}:
        pass
    site.stop()

    events = [json.loads(line) for line in site.logged().splitlines()]
    assert [event["level"] for event in events if f"{worker}" in event["event"]] == ["error"]
