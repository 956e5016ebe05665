"""The web server's configuration: gunicorn supervises the workers, and waitress serves requests in each of them.

gunicorn provides supervision, signals and reloads. waitress passes headers on as Latin-1 (PEP 3333), and assigns a
thread to a request only once it has arrived completely, so that a slow or silent client only occupies a connection.

`config.supervisor` reads this file again at each reload (`--config file:config/server.py`). Values used here come from
the environment or `.env`; `WEB_THREADS` and the size limit of a body come from Django's settings.
"""

import json
import logging
import math
import mmap
import os
import socket
import sys
import time
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import Any

from dotenv import dotenv_values
from gunicorn import glogging
from gunicorn.config import Config
from gunicorn.workers.base import Worker as BaseWorker
from waitress import wasyncore
from waitress.channel import HTTPChannel
from waitress.server import TcpWSGIServer
from waitress.task import WSGITask

# Seconds from the start of a connection, or from its last response, in which the next request must arrive completely.
REQUEST_DEADLINE = 30
# Seconds in which the client must read the next byte of a response.
RESPONSE_TIMEOUT = 30
# Connections per worker; each one slows down every turn of the loop a little. Above this number the worker closes the
# connections that have been idle the longest, until a quarter is free, except those idle for less than GRACE seconds,
# whose request may be on its way.
MAX_CONNECTIONS = 128
GRACE = 0.1
# Connections accepted in one turn of the loop. With only one, a burst of them would delay the next visitor.
ACCEPTS = 16
MAX_HEADER_BYTES = 32 * 1024
# Requests that a client may send at once. With more of them the connection closes after the first response, or a client
# that reads none of many would occupy a thread. Browsers and proxies send one.
MAX_PIPELINED = 8
# Seconds without a request, after which a stopping worker closes a keep-alive connection.
LINGER = 1.0
# Seconds beyond Discord's time, in which a request that waited for Discord gets its response.
STOP_MARGIN = 2
# Seconds between the end of a worker's own wait and gunicorn's SIGKILL.
KILL_MARGIN = 1
RETRY_BOOT_AFTER = 1.0
# How often a worker looks for overdue connections and tells gunicorn that it is alive.
TICK = 1.0


class Task(WSGITask):
    """A response. One that has no body, a 304 or 204, ends with its header, so the connection can stay open."""

    def set_close_on_finish(self) -> None:
        headers: dict[str, str] = getattr(self.request, "headers", {})
        wants_to_close = headers.get("CONNECTION", "").lower() == "close"
        if self.has_body or self.version == "1.0" or wants_to_close:
            super().set_close_on_finish()


class Channel(HTTPChannel):
    """A client's connection, with the time since which the worker has been waiting for its next request."""

    task_class = Task

    def __init__(self, *args: Any, **options: Any) -> None:
        self.waiting_since = time.monotonic()
        super().__init__(*args, **options)

    def service(self) -> None:
        self.waiting_since = math.inf
        # The loop holds the lock until it has parsed all that arrived together.
        with self.requests_lock:  # type: ignore[attr-defined]  # the stubs lack it
            is_flooding = len(self.requests) > MAX_PIPELINED
        if is_flooding or not self.server.accepting:
            self.requests[0].headers = {**self.requests[0].headers, "CONNECTION": "close"}
        super().service()
        self.waiting_since = time.monotonic()

    def is_overdue(self, now: float) -> bool:
        """Return whether the client has read nothing of a response, or completed no request, for too long."""
        # Under the lock, a thread can't be between adding to a response and sending it.
        with self.outbuf_lock:
            if self.total_outbufs_len:
                return time.time() - self.last_activity > RESPONSE_TIMEOUT
        return not self.requests and now - self.waiting_since > REQUEST_DEADLINE

    def has_input(self) -> bool:
        """Return whether the client has sent what the worker is about to read."""
        if not self.readable():
            return False
        try:
            return bool(self.socket.recv(1, socket.MSG_PEEK))  # type: ignore[union-attr]  # only a closed channel has none
        except OSError:
            return False


class Server(TcpWSGIServer):
    """Waitress's server, except that it accepts connections in batches, and leaves it to the worker to close them."""

    channel_class = Channel
    active_channels: dict[int, Channel]  # type: ignore[assignment]  # by file number, whatever the stubs say

    def handle_accept(self) -> None:
        for _ in range(ACCEPTS):
            before = len(self.active_channels)
            super().handle_accept()
            if len(self.active_channels) == before:
                break

    def maintenance(self, now: float) -> None:
        """Do nothing.

        Waitress would mark overdue connections, and close each one once its socket is writable. That of a client that
        reads nothing never is.
        """


class Worker(BaseWorker):
    """A gunicorn worker that runs waitress on gunicorn's socket."""

    server: Server | None = None

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        # Shared with gunicorn's main process: 1 once this worker accepts connections.
        self.serves = mmap.mmap(-1, 1)

    def init_process(self) -> None:
        """Boot and serve. A failure at the first start ends gunicorn; later ones are retried every second."""
        try:
            super().init_process()
        except Exception:
            if self.booted or self.age <= self.cfg.workers:
                raise
            self.log.exception("The worker could not start")
            time.sleep(RETRY_BOOT_AFTER)
            sys.exit(1)

    def run(self) -> None:
        from django.conf import settings

        # Waiting for a thread is normal under load.
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)
        # waitress doesn't accept gunicorn's wrapper around the socket.
        [wrapped] = self.sockets
        listener = wrapped.dup()
        wrapped.close()
        self.connections: dict[int, Any] = {}
        self.server = server = Server(
            self.wsgi,  # type: ignore[arg-type]  # the environ is a mapping to gunicorn, a dict to waitress
            map=self.connections,
            _sock=listener,
            sockinfo=(listener.family, listener.type, listener.proto, listener.getsockname()),
            bind_socket=False,
            threads=settings.WEB_THREADS,
            # The smallest size that is refused.
            max_request_body_size=settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1,
            max_request_header_size=MAX_HEADER_BYTES,
            connection_limit=2 * MAX_CONNECTIONS,
            # The site reads these headers itself, and trusts them only with BEHIND_TLS_PROXY.
            clear_untrusted_proxy_headers=False,
            log_socket_errors=False,
            ident=None,
        )
        self.serves[0] = 1
        checked = 0.0
        while self.alive and self.ppid == os.getppid():
            is_crowded = len(self.connections) > MAX_CONNECTIONS
            if is_crowded or time.monotonic() - checked >= TICK:
                checked = time.monotonic()
                self.notify()
                self._close_overdue(checked)
            self._poll(GRACE if is_crowded else TICK)
        self._drain(server)

    def _poll(self, timeout: float) -> None:
        wasyncore.loop(timeout=timeout, use_poll=True, map=self.connections, count=1)

    def _channels(self) -> list[Channel]:
        return [each for each in self.connections.values() if isinstance(each, Channel)]

    def _waiting(self) -> list[Channel]:
        """Return the connections without a running or queued request, longest wait first."""
        channels = [each for each in self._channels() if not each.requests]
        return sorted(channels, key=lambda channel: channel.waiting_since)

    def _close_overdue(self, now: float) -> None:
        """Close overdue connections, and idle ones if there are too many.

        `handle_close` also ends a thread that waits until the client has read more. It must not be called while
        `_poll` is running, where a new connection could get the same file number.
        """
        for channel in self._channels():
            if channel.is_overdue(now):
                channel.handle_close()
        count = len(self.connections)
        surplus = count - MAX_CONNECTIONS * 3 // 4 if count > MAX_CONNECTIONS else 0
        # On a busy machine the worker may need longer than GRACE to read what has arrived.
        idle = (each for each in self._waiting() if now - each.waiting_since > GRACE and not each.has_input())
        for channel in islice(idle, surplus):
            channel.handle_close()

    def _drain(self, server: Server) -> None:
        """Stop accepting connections, and finish the requests that have begun."""
        began, limit = time.monotonic(), self.cfg.graceful_timeout - KILL_MARGIN
        wasyncore.dispatcher.close(server)
        while server.active_channels and (passed := time.monotonic() - began) < limit:
            if passed >= LINGER:
                self._close_idle(time.monotonic())
            self._poll(0.1)
        # Idle threads end now; busy ones end with the process.
        server.task_dispatcher.set_thread_count(0)

    def _close_idle(self, now: float) -> None:
        """Close connections whose client had time for another request, and on which none has arrived meanwhile."""
        for channel in self._waiting():
            if now - channel.waiting_since >= LINGER and not channel.total_outbufs_len and not channel.has_input():
                channel.handle_close()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.alive = False
        if self.server:
            self.server.pull_trigger()

    # Ctrl-C also reaches the workers, which then stop gracefully too.
    handle_quit = handle_exit


class JSONLines(logging.Formatter):
    """Lines of gunicorn as `config.logging` writes the site's.

    Workers are forked from gunicorn's main process and a reload renews only what they import themselves, so the main
    process imports nothing of the site.
    """

    def format(self, record: logging.LogRecord) -> str:
        line = {"event": record.getMessage(), "level": record.levelname.lower(), "logger": record.name}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps({**line, "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat()})


class Log(glogging.Logger):
    def setup(self, cfg: Config) -> None:
        super().setup(cfg)
        if _value("LOG_FORMAT", "console") == "json":
            for handler in self.error_log.handlers:
                handler.setFormatter(JSONLines())


def _address(host: str, port: str) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


# Not written to the environment, where a value from the file would outlive a change of the file.
_values = {**dotenv_values(os.environ.get("ENV_FILE") or Path(__file__).parents[1] / ".env"), **os.environ}


def _value(name: str, default: str) -> str:
    return _values.get(name) or default


bind = _address(_value("HOST", "127.0.0.1"), _value("PORT", "8000"))
workers = int(_value("WEB_WORKERS", "1"))
worker_class = Worker
graceful_timeout = math.ceil(int(_value("DISCORD_FETCH_BUDGET_MS", "10000")) / 1000) + STOP_MARGIN + KILL_MARGIN
loglevel = "warning"
logger_class = Log
# gunicorn is controlled by signals; a control socket would only add attack surface.
control_socket_disable = True
