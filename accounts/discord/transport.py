"""One request over the wire, with an end.

requests' own timeouts bound the silence between two bytes, not the answer: a body that drips a byte every 0.8 s took
24 s at timeout 1. Here the timeout of a request is a deadline for all of it: connecting, sending, headers and body.
What stays outside: resolving the name, and a host with several addresses may use up the time once for each.
"""

import contextlib
import functools
import http.client
import http.cookiejar
import io
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

VERSION = "0.1.0"
# Discord blocks any other form.
USER_AGENT = f"DiscordBot (https://github.com/guildhall/guildhall, {VERSION})"

LARGEST_BODY = 2 * 1024 * 1024  # 200 guilds with every feature are about 150 kB
_CHUNK = 64 * 1024
_CONNECTIONS = 32  # idle ones kept; more threads than that still get a connection each, for once

# RequestException is an OSError. A ValueError is a header, a form or a compressed body that cannot be.
_NO_ANSWER = (OSError, urllib3.exceptions.HTTPError, http.client.HTTPException, ValueError)
_TIMEOUTS = (requests.Timeout, urllib3.exceptions.TimeoutError, TimeoutError)


@dataclass(frozen=True, slots=True, repr=False)
class Reply:
    """What came back. `status` is None if nothing did; `problem` says why the body is missing or incomplete."""

    status: int | None
    headers: Mapping[str, str]
    body: bytes = b""
    problem: str = ""


def send(
    session: requests.Session,
    method: str,
    url: str,
    *,
    timeout: float,
    headers: Mapping[str, str] | None = None,
    params: Mapping[str, str | int] | None = None,
    form: Mapping[str, str] | None = None,
    auth: tuple[str, str] | None = None,
) -> Reply:
    """One request and whatever came of it, within `timeout` seconds. Never raises for what the network did.

    No exception of requests' leaves this function, not even as a cause: they quote URLs and headers, tokens included.
    """
    until = time.monotonic() + timeout
    status: int | None = None
    received: Mapping[str, str] = {}
    try:
        with contextlib.closing(
            session.request(
                method,
                url,
                headers=headers,
                params=params,
                data=form,
                auth=auth,
                timeout=urllib3.Timeout(total=timeout),  # type: ignore[arg-type]  # requests passes it on as it is
                allow_redirects=False,
                stream=True,
            )
        ) as response:
            status, received = response.status_code, response.headers
            return Reply(status, received, _read(response.raw, until))
    except _NO_ANSWER as error:
        return Reply(status, received, problem=_describe(error, status))


def _read(raw: Any, until: float) -> bytes:
    body = bytearray()
    while chunk := raw.read1(_CHUNK, decode_content=True):
        body += chunk
        if len(body) > LARGEST_BODY:
            raise ValueError("the answer is too large")
        if time.monotonic() > until:
            raise TimeoutError
    return bytes(body)


def _describe(error: Exception, status: int | None) -> str:
    # urllib3 wraps a timeout below it in a ProtocolError or a ReadTimeoutError, requests wraps those once more.
    causes = [error, error.__cause__, error.__context__, *error.args]
    if any(isinstance(cause, _TIMEOUTS) for cause in causes):
        return "no complete answer in time"
    if status is None:
        return "the connection failed"
    return "the answer broke off or was too large"


@functools.cache
def shared_session() -> requests.Session:
    """The process's one Session: connections stay open, nothing else is remembered."""
    session = _Session()
    session.trust_env = False  # no proxy and no .netrc: the latter would replace the Authorization header
    session.headers.update({"User-Agent": USER_AGENT, "Accept": "application/json", "Accept-Encoding": "gzip, deflate"})
    # Cloudflare sets cookies, and a kept one would tie all our people together.
    session.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
    session.mount("https://", _Adapter(pool_maxsize=_CONNECTIONS))
    session.mount("http://", _Adapter(pool_maxsize=_CONNECTIONS))
    return session


# A connection that parent and child share would give one the other's answers.
os.register_at_fork(after_in_child=shared_session.cache_clear)


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Nowhere: with allow_redirects=False requests still reads a redirect's body and parses its Location."""
        return None


class _DeadlineReader(io.RawIOBase):
    """A socket's bytes, until a moment: every wait for more gets only what is left."""

    def __init__(self, sock: socket.socket, stream: io.RawIOBase) -> None:
        self.sock = sock
        self.stream = stream
        # The connection has just set the socket's timeout to what this answer may take.
        timeout = sock.gettimeout()
        self.until = None if timeout is None else time.monotonic() + timeout

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self.until is not None:
            left = self.until - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self.sock.settimeout(left)
        return self.stream.readinto(buffer)

    def close(self) -> None:
        self.stream.close()
        super().close()


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_DeadlineReader(sock, self.fp.detach()))


class _Connection(HTTPConnection):
    response_class = _Response


class _SecureConnection(HTTPSConnection):
    response_class = _Response


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}
