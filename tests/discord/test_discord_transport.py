"""One request over a real connection on the real clock: it ends in time and leaves nothing behind."""

from __future__ import annotations

import gzip
import json
import os
import time
import traceback
from base64 import b64encode
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest

from accounts.discord import (
    DiscordAPIError,
    DiscordClient,
    DiscordUnavailable,
    RequestRejected,
    Unauthorized,
    UnusableResponse,
    shared_session,
)
from accounts.discord.transport import MAX_BODY

if TYPE_CHECKING:
    from .conftest import Script

TOKEN = "an-access-token"
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def gives_up(client: DiscordClient, script: Script) -> DiscordAPIError:
    """Return the error of a request that ends before most of its slow response has arrived."""
    chunks = script.written
    with pytest.raises((DiscordUnavailable, UnusableResponse)) as caught:
        client.get_user_guilds(TOKEN)
    assert script.written - chunks < 20
    return caught.value


@pytest.mark.parametrize(
    "chunks",
    [
        pytest.param([b""] * 90, id="silence"),
        pytest.param([bytes([byte]) for byte in OK * 2], id="headers"),
        pytest.param([OK + b"Content-Length: 90\r\n\r\n", *[b" "] * 90], id="body"),
        pytest.param([OK + b"Transfer-Encoding: chunked\r\n\r\n", *[b"1\r\n \r\n"] * 90], id="chunks"),
        pytest.param([OK + b"Transfer-Encoding: chunked\r\n\r\n1;", *[b"x"] * 90], id="chunk size"),
        pytest.param([OK + b"\r\n", *[b" "] * 90], id="body without a length"),
    ],
)
def test_a_response_that_drips_ends_at_the_deadline(
    real_time_client: DiscordClient, script: Script, chunks: list[bytes]
) -> None:
    script.write(*chunks, pause=lambda: time.sleep(0.05))

    error = gives_up(real_time_client, script)

    assert error.message == "no complete response in time"


def test_a_late_byte_does_not_buy_more_time(real_time_client: DiscordClient, script: Script) -> None:
    script.write(OK, *[b"X"] * 40, pause=lambda: time.sleep(0.1))

    gives_up(replace(real_time_client, request_timeout=0.3, budget=4), script)


def test_a_request_gets_no_more_than_what_is_left(real_time_client: DiscordClient, script: Script) -> None:
    script.write(*[b""] * 40, pause=lambda: time.sleep(0.1))
    hurried = replace(real_time_client, request_timeout=4, deadline=real_time_client.clock() + 0.1)

    gives_up(hurried, script)


def test_a_refusal_whose_body_drips_is_still_that_refusal(real_time_client: DiscordClient, script: Script) -> None:
    head = b"HTTP/1.1 401 Unauthorized\r\nVia: 1.1 google\r\nContent-Length: 90\r\n\r\n"
    script.write(head, *[b" "] * 90, pause=lambda: time.sleep(0.05))

    with pytest.raises(Unauthorized):
        real_time_client.get_user_guilds(TOKEN)


@pytest.mark.parametrize(
    "response",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", id="another protocol"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n[]", id="shorter than said"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n", id="no body at all"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n", id="no last chunk"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n[]\r\n", id="no chunk"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n[]", id="not gzip"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(b"[1, 2, 3]")[:-12], id="half a gzip"
        ),
        pytest.param(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n[]", id="too many headers"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n[]", id="a header too long"),
    ],
)
def test_a_broken_response_is_no_response(real_time_client: DiscordClient, script: Script, response: bytes) -> None:
    script.write(response)

    gives_up(real_time_client, script)


@pytest.mark.parametrize(
    "response",
    [
        pytest.param(OK + b"\r\n" + b" " * (MAX_BODY + 1), id="large"),
        pytest.param(
            OK + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b" " * (MAX_BODY + 1)), id="large when unpacked"
        ),
    ],
)
def test_a_body_is_read_no_further_than_the_cap(client: DiscordClient, script: Script, response: bytes) -> None:
    script.write(response)

    with pytest.raises(DiscordUnavailable, match="too large"):
        client.fetch("/users/@me", TOKEN)


def test_a_compressed_response_is_understood(client: DiscordClient, script: Script) -> None:
    script.respond(200, gzip.compress(json.dumps({"x": "y" * 100_000}).encode()), Content_Encoding="gzip")

    assert client.fetch("/users/@me", TOKEN) == {"x": "y" * 100_000}


def test_nobody_listening_is_no_response(client: DiscordClient) -> None:
    with pytest.raises(DiscordUnavailable, match="the connection failed") as caught:
        replace(client, base_url="http://127.0.0.1:9").get_user_guilds(TOKEN)

    assert (caught.value.status, caught.value.attempts) == (None, 1)


def test_connections_are_kept_open_and_cookies_are_not_kept(client: DiscordClient, script: Script) -> None:
    script.respond(200, {}, Set_Cookie="__cfruid=person-1; Path=/")

    for _ in range(3):
        client.fetch("/users/@me", TOKEN)

    assert len({request.connection for request in script.requests}) == 1
    assert not any("Cookie" in request.headers for request in script.requests)


@pytest.mark.parametrize("location", ["/elsewhere", "http://[broken", "//example.com:99999999/"])
def test_a_redirect_is_not_followed(client: DiscordClient, script: Script, location: str) -> None:
    script.respond(302, b"moved", Location=location)

    with pytest.raises(RequestRejected) as caught:
        client.fetch("/users/@me", TOKEN)

    assert caught.value.status == 302
    assert len(script.requests) == 1


def test_proxies_and_netrc_of_the_machine_do_not_matter(
    client: DiscordClient, script: Script, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    netrc = os.path.join(str(tmp_path), "netrc")
    with open(netrc, "w") as file:
        file.write("machine 127.0.0.1 login person password else\n")
    monkeypatch.setenv("NETRC", netrc)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    script.respond(200, {})

    client.fetch("/users/@me", TOKEN)

    assert script.requests[0].headers["Authorization"] == f"Bearer {TOKEN}"


@pytest.fixture
def through_proxy(client: DiscordClient, script: Script) -> DiscordClient:
    """A client that reaches Discord, whose host has no address here, through the script as its proxy."""
    proxy = script.url.replace("://", "://person:hunter2@")
    return replace(client, base_url="http://discord.test", session=partial(shared_session, proxy=proxy))


def test_a_proxy_gets_every_request(through_proxy: DiscordClient, script: Script) -> None:
    script.respond(200, {})

    through_proxy.fetch("/users/@me", TOKEN)

    (request,) = script.requests
    assert request.path == "http://discord.test/users/@me"
    assert request.headers["Authorization"] == f"Bearer {TOKEN}"
    assert request.headers["Proxy-Authorization"] == f"Basic {b64encode(b'person:hunter2').decode()}"


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_drips_ends_at_the_deadline(through_proxy: DiscordClient, script: Script, scheme: str) -> None:
    real = DiscordClient()
    client = replace(
        through_proxy, base_url=f"{scheme}://discord.test", clock=real.clock, request_timeout=0.3, budget=0.4
    )
    script.write(*[bytes([byte]) for byte in OK * 2], pause=lambda: time.sleep(0.05))

    error = gives_up(client, script)

    assert error.message == "no complete response in time"
    assert script.requests[0].method == ("CONNECT" if scheme == "https" else "GET")


def test_a_proxy_that_refuses_is_told_without_its_password(through_proxy: DiscordClient, script: Script) -> None:
    script.respond(407, {})

    with pytest.raises(DiscordUnavailable) as caught:
        replace(through_proxy, base_url="https://discord.test").get_user_guilds(TOKEN)

    assert caught.value.message == "the connection failed"
    assert TOKEN not in "".join(traceback.format_exception(caught.value))
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_a_process_has_one_session() -> None:
    assert shared_session() is shared_session()
