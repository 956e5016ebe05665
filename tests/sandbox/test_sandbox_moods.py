"""Every mood, as seen on the wire."""

import json
import socket
import struct
import time

import pytest

from sandbox.moods import MODES, ROUTES, Mood, route_of

LIST = "/users/@me/guilds"


def raw(sandbox, token, path=LIST, *, timeout=30.0):
    """Open a connection and request the list."""
    connection = socket.create_connection(("127.0.0.1", sandbox.port), timeout=timeout)
    connection.sendall(
        f"GET /api/v10{path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
    )
    return connection


def read_all(connection):
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)


@pytest.mark.parametrize(
    ("mode", "status", "kind", "body"),
    [
        ("outage", 503, "application/json", b'"503: Service Unavailable"'),
        ("bad_gateway", 502, "text/html; charset=UTF-8", b"<h1>502 Bad Gateway</h1>"),
        ("wrong_type", 200, "application/json", b'{"guilds":"soon"}'),
        ("null_body", 200, "application/json", b"null"),
        ("unauthorized", 401, "application/json", b'{"message":"401: Unauthorized","code":0}'),
        ("forbidden", 403, "application/json", b'"code":50001'),
        ("rate_limited", 429, "application/json", b'"retry_after":30'),
        ("cloudflare_html", 429, "text/html; charset=UTF-8", b"Error 1015"),
        ("cloudflare_json", 429, "application/json", b"You are being blocked"),
        ("garbage", 200, "application/json", b"80351110224678912"),
    ],
)
def test_the_mood_is_the_answer(unlimited, mode, status, kind, body):
    unlimited.mood(mode)

    reply = unlimited.get(LIST, unlimited.token())

    assert (reply.status, reply.headers["Content-Type"]) == (status, kind)
    assert body in reply.body


@pytest.mark.parametrize("route", ["member", "roles", "channels", "members"])
@pytest.mark.parametrize(
    ("mode", "status", "body"),
    [
        ("rate_limited", 429, b'"retry_after":30'),
        ("cloudflare_json", 429, b"You are being blocked"),
        ("outage", 503, b'"503: Service Unavailable"'),
        ("garbage", 200, b"80351110224678912"),
        ("wrong_type", 200, None),
        ("null_body", 200, b"null"),
        ("unauthorized", 401, b'"code":0'),
        ("forbidden", 403, b'"code":50001'),
    ],
)
def test_the_mood_is_the_answer_about_a_guild_as_well(unlimited, mode, status, body, route):
    person = unlimited.control("GET", "people/ada").json()
    guild_id = person["guilds"][0]["id"]
    path, token = {
        "member": (f"{LIST}/{guild_id}/member", unlimited.token("ada", "guilds.members.read")),
        "members": (f"/guilds/{guild_id}/members/{person['id']}", "Bot sandbox-bot"),
    }.get(route, (f"/guilds/{guild_id}/{route}", "Bot sandbox-bot"))
    right = unlimited.get(path, token)
    unlimited.mood(mode, routes=[path])

    reply = unlimited.get(path, token)

    assert right.status == 200
    assert reply.status == status
    if body is None:
        assert type(reply.json()) is not type(right.json())
    else:
        assert body in reply.body


def test_every_mode_has_a_test_here_or_among_the_answers():
    tested = (
        "healthy rate_limited global_limit shared_limit cloudflare_html cloudflare_json outage bad_gateway timeout drip"
    )
    tested += (
        " reset garbage truncated wrong_type null_body unauthorized forbidden no_headers dead_refresh short_page raw"
    )

    assert set(MODES) == set(tested.split())


def test_garbage_is_not_json_and_the_wrong_type_for_a_user_is_a_list(unlimited):
    unlimited.mood("garbage")
    with pytest.raises(ValueError, match=r".*"):
        unlimited.get(LIST, unlimited.token()).json()

    unlimited.mood("wrong_type")
    assert isinstance(unlimited.get("/users/@me", unlimited.token()).json(), list)


def test_no_headers_leaves_the_body_and_via(unlimited):
    unlimited.mood("no_headers", retry_after=2.5)

    reply = unlimited.get(LIST, unlimited.token())

    assert reply.json() == {"message": "You are being rate limited.", "retry_after": 2.5, "global": False, "code": 0}
    assert reply.headers["Via"] == "1.1 google"
    assert not [name for name in reply.headers if name.lower().startswith(("x-ratelimit", "retry-after"))]


def test_timeout_takes_the_request_and_says_nothing(unlimited):
    unlimited.mood("timeout")
    with raw(unlimited, unlimited.token(), timeout=0.3) as connection:
        with pytest.raises(TimeoutError):
            connection.recv(1)
        waiting = unlimited.requests()[-1]
        assert (waiting["status"], waiting["duration"]) == (None, None)
        assert unlimited.state()["in_flight"] == 1

    wait_until(lambda: unlimited.state()["in_flight"] == 0)
    assert unlimited.requests()[-1]["status"] is None


def wait_until(is_so, seconds=30.0):
    ends = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < ends
        time.sleep(0.01)


def test_drip_gives_the_right_answer_byte_by_byte(unlimited):
    unlimited.mood("drip", latency_ms=2)
    token = unlimited.token("nobody")
    with raw(unlimited, token, "/users/@me") as connection:
        head, _, body = read_head(connection)
        length = int(head["content-length"])
        parts = [body]
        while sum(map(len, parts)) < length:
            parts.append(connection.recv(65536))

    assert len([part for part in parts if part]) > 20
    assert json.loads(b"".join(parts))["username"] == "nobody"


def read_head(connection):
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(1)
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
    return headers, lines[0], body


def test_drip_waits_half_a_second_between_two_bytes():
    assert Mood("drip").drip_pause == 0.5
    assert Mood("drip", latency_ms=20).drip_pause == 0.02
    assert Mood("drip", latency_ms=20).latency == 0


def test_reset_throws_the_connection_away(unlimited):
    unlimited.mood("reset")

    with raw(unlimited, unlimited.token()) as connection, pytest.raises(ConnectionResetError):
        connection.recv(1)

    assert unlimited.requests()[-1]["status"] is None


def test_truncated_promises_more_than_it_sends(unlimited):
    unlimited.mood("truncated")

    with raw(unlimited, unlimited.token()) as connection:
        headers, status, start = read_head(connection)
        body = start + read_all(connection)

    assert status.startswith("HTTP/1.1 200")
    assert 0 < len(body) < int(headers["content-length"])


def test_dead_refresh_gives_tokens_that_nobody_takes(unlimited):
    tokens = unlimited.tokens()
    unlimited.mood("dead_refresh")

    first = unlimited.exchange(grant_type="refresh_token", refresh_token=tokens["refresh_token"])
    refused = unlimited.get("/users/@me", first.json()["access_token"])
    signed_in = unlimited.exchange_code(unlimited.code())
    unlimited.mood("healthy")
    still_refused = unlimited.get("/users/@me", first.json()["access_token"])
    second = unlimited.exchange(grant_type="refresh_token", refresh_token=first.json()["refresh_token"])

    assert [first.status, refused.status, still_refused.status] == [200, 401, 401]
    assert unlimited.get("/users/@me", signed_in.json()["access_token"]).status == 200
    assert unlimited.get("/users/@me", second.json()["access_token"]).status == 200


def test_a_short_page_leaves_the_last_of_two_hundred_out(unlimited):
    unlimited.mood("short_page")
    graces, adas = (unlimited.get(LIST, unlimited.token(person)).json() for person in ("grace", "ada"))

    assert (len(graces), len(adas)) == (199, 12)


def test_raw_sends_what_it_is_given(unlimited):
    unlimited.mood("raw", status=418, headers={"Retry-After": "soon", "X-One": "é"}, body="short and stout")

    with raw(unlimited, unlimited.token()) as connection:
        response = read_all(connection)

    assert response.startswith(b"HTTP/1.1 418 ")
    assert b"\r\nRetry-After: soon\r\n" in response
    assert response.endswith(b"\r\n\r\nshort and stout")
    assert b"Content-Type" not in response


def test_a_mood_may_be_for_some_people_and_routes_only(unlimited):
    ada, grace = unlimited.token("ada"), unlimited.token("grace")
    unlimited.mood("outage", people=["ada"], routes=["/api/v10" + LIST])

    assert unlimited.get(LIST, ada).status == 503
    assert unlimited.get(LIST, grace).status == 200
    assert unlimited.get("/users/@me", ada).status == 200


def test_a_mood_for_a_person_is_there_when_they_sign_in(unlimited):
    code, tokens = unlimited.code("ada"), unlimited.tokens("ada")
    unlimited.mood("outage", people=["ada"], routes=["/oauth2/token"])

    assert unlimited.exchange_code(code).status == 503
    assert unlimited.exchange(grant_type="refresh_token", refresh_token=tokens["refresh_token"]).status == 503
    assert unlimited.exchange_code(unlimited.code("grace")).status == 200
    unlimited.mood("healthy")
    assert unlimited.exchange_code(code).status == 200


def test_a_mood_without_routes_is_for_the_api_and_leaves_the_pages(unlimited):
    unlimited.mood("outage")

    assert unlimited.exchange_code(unlimited.code()).status == 503
    assert unlimited.authorize().status == 200
    assert unlimited.ask("GET", "/cdn/embed/avatars/0.png").status == 200
    assert unlimited.ask("GET", "/_sandbox/").status == 200


def test_a_mood_ends_once_it_has_answered_as_many_requests_as_it_is_for(unlimited):
    token = unlimited.token()
    unlimited.mood("outage", for_requests=2, routes=["/users/@me"])

    assert unlimited.get(LIST, token).status == 200
    assert unlimited.state()["mood"]["for_requests"] == 2
    assert [unlimited.get("/users/@me", token).status for _ in range(3)] == [503, 503, 200]
    assert unlimited.state()["mood"]["mode"] == "healthy"


def test_a_mood_ends_by_itself(unlimited):
    token = unlimited.token()
    unlimited.mood("outage", for_seconds=0.5)

    wait_until(lambda: unlimited.get("/users/@me", token).status == 200)
    assert unlimited.state()["mood"]["mode"] == "healthy"


def test_latency_comes_with_any_mood(unlimited):
    token = unlimited.token()
    for mode, status in (("healthy", 200), ("outage", 503)):
        unlimited.mood(mode, latency_ms=80)
        started = time.monotonic()

        assert unlimited.get("/users/@me", token).status == status
        assert time.monotonic() - started >= 0.08


def test_three_hundred_connections_at_once_are_carried(unlimited):
    token = unlimited.token()
    unlimited.mood("healthy", latency_ms=1500)

    connections = [raw(unlimited, token, "/users/@me") for _ in range(320)]
    starts = [connection.recv(15) for connection in connections]
    for connection in connections:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()

    assert set(starts) == {b"HTTP/1.1 200 OK"}
    assert unlimited.state()["in_flight_max"] >= 300


def test_a_path_belongs_to_the_route_of_the_documentation():
    assert route_of("/users/@me/guilds/123/member") == ("/users/@me/guilds/{guild.id}/member", ("123",))
    assert route_of("/guilds/1/members/2") == ("/guilds/{guild.id}/members/{user.id}", ("1", "2"))
    assert all(route_of(route)[0] == route for route in ROUTES)
    assert route_of("/users/@me/") == ("", ())
