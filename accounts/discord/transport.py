"""Sending one HTTP request with a deadline.

A timeout of requests bounds the time between two bytes, not the whole response: with a timeout of 1 s, a body that
arrives at one byte every 0.8 s took 24 s. Here the timeout covers connecting, sending, headers and body. It does not
cover name resolution, and a host with several addresses may take the full time for each.
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

from accounts.version import VERSION

# The contact in the `User-Agent` of a client that belongs to no site.
PROJECT_URL = "https://github.com/guildhall/guildhall"

MAX_BODY = 2 * 1024 * 1024  # 200 guilds with every feature are about 150 kB
_CHUNK = 64 * 1024
_CONNECTIONS = 32  # idle connections to keep; further threads get connections that are closed after use

# RequestException is an OSError. A ValueError is an invalid header, form or compressed body.
_NO_ANSWER = (OSError, urllib3.exceptions.HTTPError, http.client.HTTPException, ValueError)
_TIMEOUTS = (requests.Timeout, urllib3.exceptions.TimeoutError, TimeoutError)


@dataclass(frozen=True, slots=True, repr=False)
class RawResponse:
    """A response. `status` is None if there was none; `problem` says why the body is missing or incomplete."""

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
) -> RawResponse:
    """Send one request and return the response within `timeout` seconds. Network errors do not raise.

    Exceptions of requests are not propagated, not even as a cause: they quote URLs and headers with tokens.
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
            return RawResponse(status, received, _read(response.raw, until))
    except _NO_ANSWER as error:
        return RawResponse(status, received, problem=_describe(error, status))


def _read(raw: Any, until: float) -> bytes:
    body = bytearray()
    while chunk := raw.read1(_CHUNK, decode_content=True):
        body += chunk
        if len(body) > MAX_BODY:
            raise ValueError("the response is too large")
        if time.monotonic() > until:
            raise TimeoutError
    return bytes(body)


def _describe(error: Exception, status: int | None) -> str:
    # urllib3 wraps a socket's timeout in a ProtocolError or a ReadTimeoutError, and requests wraps those again.
    causes = [error, error.__cause__, error.__context__, *error.args]
    if any(isinstance(cause, _TIMEOUTS) for cause in causes):
        return "no complete response in time"
    if status is None:
        return "the connection failed"
    return "the response was incomplete or too large"


def user_agent(contact: str) -> str:
    """Return the `User-Agent`, in the only form that Discord doesn't block. `contact` is the URL of who sends it."""
    return f"DiscordBot ({contact}, {VERSION})"


@functools.cache
def shared_session(contact: str = PROJECT_URL, proxy: str = "") -> requests.Session:
    """Return the process's single Session, which keeps connections open and no other state.

    `proxy` is the URL of an HTTP proxy for all requests; without one they go to Discord directly.
    """
    session = _Session()
    # No proxy of the environment, and no .netrc: the latter would replace the Authorization header.
    session.trust_env = False
    session.proxies = {"http": proxy, "https": proxy} if proxy else {}
    session.headers.update(
        {"User-Agent": user_agent(contact), "Accept": "application/json", "Accept-Encoding": "gzip, deflate"}
    )
    # Cloudflare sets cookies, and keeping one would link all our users' requests.
    session.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
    session.mount("https://", _Adapter(pool_maxsize=_CONNECTIONS))
    session.mount("http://", _Adapter(pool_maxsize=_CONNECTIONS))
    return session


# A connection shared by parent and child would deliver one's responses to the other.
os.register_at_fork(after_in_child=shared_session.cache_clear)


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Return None: even with allow_redirects=False, requests reads a redirect's body and parses its Location."""
        return None


class _DeadlineReader(io.RawIOBase):
    """Reads from a socket until a deadline: each wait gets only the remaining time."""

    def __init__(self, sock: socket.socket, stream: io.RawIOBase) -> None:
        self.sock = sock
        self.stream = stream
        # The connection has just set the socket's timeout to the time left for this response.
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


_POOLS = {"http": _Pool, "https": _SecurePool}


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(*args, **kwargs)
        manager.pool_classes_by_scheme = _POOLS
        return manager
