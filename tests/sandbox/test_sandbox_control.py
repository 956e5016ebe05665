"""The control API and its page, restarts, startup and shutdown."""

import http.client
import json
import os
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from urllib.parse import urlsplit

import pytest

from sandbox.remote import Remote

LIST = "/users/@me/guilds"


@pytest.mark.parametrize(
    ("mood", "words"),
    [
        ({"mode": "sleepy"}, "no mode 'sleepy'"),
        ({}, "no mode None"),
        ({"mode": ["outage"]}, "no mode ['outage']"),
        ({"mode": "raw", "status": 200, "body": "\ud800"}, "half of a surrogate pair"),
        ([], "an object, not a list"),
        ({"mode": "healthy", "colour": "blue"}, "'colour'"),
        ({"mode": "outage", "retry_after": "soon"}, "'retry_after' must be a number, not a string"),
        ({"mode": "outage", "retry_after": True}, "not a boolean"),
        ({"mode": "outage", "retry_after": -1}, "between 0"),
        ({"mode": "outage", "for_seconds": []}, "'for_seconds'"),
        ({"mode": "outage", "latency_ms": 1.5}, "must be an integer"),
        ({"mode": "outage", "people": "ada"}, "list of strings"),
        ({"mode": "outage", "people": ["mallory"]}, "'mallory', who does not exist"),
        ({"mode": "outage", "routes": ["/nowhere"]}, "'/nowhere', which is unknown"),
        ({"mode": "raw"}, "needs a 'status'"),
        ({"mode": "raw", "status": 99}, "between 200"),
        ({"mode": "raw", "status": 200, "headers": {"A\nB": "c"}}, "cannot be sent as a header"),
        ({"mode": "raw", "status": 200, "headers": {"A": 1}}, "'headers.A'"),
        ({"mode": "outage", "status": 500}, "is only for the mode 'raw'"),
    ],
)
def test_a_wrong_mood_is_named_and_changes_nothing(sandbox, mood, words):
    sandbox.mood("outage")

    reply = sandbox.control("PUT", "mood", mood)

    assert reply.status == 400
    assert words in reply.json()["error"]
    assert sandbox.state()["mood"]["mode"] == "outage"


def test_the_client_for_tests_says_what_was_wrong(unlimited):
    with pytest.raises(ValueError, match=r"refused PUT mood: .*no mode 'sleepy'; the modes are healthy, "):
        Remote(unlimited.url).mood("sleepy")


def test_the_client_for_tests_connects_again_to_a_restarted_sandbox(start_sandbox):
    before = start_sandbox()
    remote = Remote(before.url)
    remote.mood("outage")
    before.stop()

    start_sandbox("--port", str(before.port))

    assert remote.call("GET", "state")["mood"]["mode"] == "healthy"


def test_the_client_for_tests_can_be_used_by_threads_and_forked_processes(sandbox):
    def names_match(prefix):
        names = [f"{prefix}{number}" for number in range(60)]
        return all(remote.call("GET", f"people/{name}")["name"] == name for name in names)

    remote = Remote(sandbox.url)
    for prefix in ("parent", "child", "thread"):
        for number in range(60):
            remote.person(f"{prefix}{number}", count=0)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if names_match("child") else 1
        finally:
            os._exit(code)
    with ThreadPoolExecutor() as threads:
        matches = list(threads.map(names_match, ("parent", "thread") * 2))

    assert matches == [True] * 4
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize(
    ("name", "person", "words"),
    [
        ("Eve", {}, "a-z"),
        ("eve", {"count": -1}, "between 0"),
        ("eve", {"count": 1001}, "between 0 and 1000"),
        ("eve", {"count": "12"}, "not a string"),
        ("eve", {"count": 1, "guilds": []}, "not both"),
        ("eve", {"friends": 3}, "'friends'"),
        ("eve", {"guilds": {}}, "list of objects"),
        ("eve", {"guilds": [3]}, "guilds[0]"),
        ("eve", {"guilds": [{"id": 3}]}, "snowflake"),
        ("eve", {"guilds": [{"id": "03"}]}, "snowflake"),
        ("eve", {"guilds": [{"id": "3"}, {"id": "3"}]}, "twice"),
        ("eve", {"guilds": [{"name": "x"}]}, "2 to 100"),
        ("eve", {"guilds": [{"name": "\ud800\ud800"}]}, "half of a surrogate pair"),
        ("eve", {"guilds": [{"permissions": 8}]}, "permissions"),
        ("eve", {"guilds": [{"icon": "http://x/"}]}, "hexadecimal"),
        ("eve", {"guilds": [{"owner": "yes"}]}, "true or false"),
        ("eve", {"guilds": [{"features": "NEWS"}]}, "list of strings"),
        ("eve", {"guilds": [{"colour": 1}]}, "'colour'"),
        ("eve", {"guilds": [{"bot": 1}]}, "true or false"),
    ],
)
def test_a_wrong_person_is_named_and_not_created(sandbox, name, person, words):
    reply = sandbox.control("PUT", f"people/{name}", person)

    assert reply.status == 400
    assert words in reply.json()["error"]
    assert set(sandbox.state()["people"]) == {"ada", "grace", "linus", "nobody"}


@pytest.mark.parametrize(
    ("method", "path", "data", "status"),
    [
        ("PUT", "limits", {"per_person": 1}, 400),
        ("PUT", "limits", {"per_second": 0}, 400),
        ("PUT", "limits", {"speed": 1}, 400),
        ("POST", "token", {"person": "mallory"}, 400),
        ("POST", "token", {}, 400),
        ("POST", "token", {"person": "ada", "scopes": ["everything"]}, 400),
        ("POST", "revoke", {"person": 3}, 400),
        ("POST", "state", {}, 405),
        ("GET", "mood", None, 405),
        ("DELETE", "people/ada", None, 405),
        ("GET", "people/mallory", None, 400),
        ("GET", "nothing", None, 404),
    ],
)
def test_every_wrong_call_gets_a_sentence(sandbox, method, path, data, status):
    reply = sandbox.control(method, path, data)

    assert reply.status == status
    assert reply.json()["error"]


def test_what_is_not_json_is_said_to_be(sandbox):
    reply = sandbox.ask("PUT", "/_sandbox/mood", form=None, headers={"Content-Type": "application/json"})
    assert reply.status == 400
    reply = sandbox.ask("PUT", "/_sandbox/people/eve", data=None)
    assert reply.status == 201


def test_a_person_is_completed_and_seen_by_the_site(unlimited):
    guilds = [{"name": "Eve's Garden", "owner": True, "bot": True}, {"id": "42"}, {}]

    created = unlimited.control("PUT", "people/eve", {"guilds": guilds})
    replaced = unlimited.control("PUT", "people/eve", {"guilds": guilds, "global_name": None})
    seen = unlimited.get(LIST, unlimited.token("eve")).json()

    assert (created.status, replaced.status) == (201, 200)
    assert created.json()["id"] == replaced.json()["id"]
    assert [guild["id"] for guild in seen] == [guild["id"] for guild in replaced.json()["guilds"]]
    assert seen[0]["id"] == "42"
    assert {"Eve's Garden"} < {guild["name"] for guild in seen}
    assert unlimited.state()["bot_guilds"] == 18


def test_a_larger_count_keeps_the_servers_that_were_there(unlimited):
    unlimited.control("PUT", "people/eve", {"count": 120})
    token = unlimited.token("eve")
    before = unlimited.get(LIST, token).json()

    unlimited.control("PUT", "people/eve", {"count": 121})
    after = unlimited.get(LIST, token).json()

    assert len(before) == 120
    assert after[:120] == before


def test_a_bot_in_many_servers_pages_through_them(unlimited):
    unlimited.control("PUT", "people/eve", {"count": 450, "bot": True})

    sizes, after = [], "0"
    while page := unlimited.get(f"{LIST}?after={after}", "Bot sandbox-bot").json():
        sizes.append(len(page))
        after = page[-1]["id"]

    assert sizes == [200, 200, 67]


def test_requests_are_written_down_without_secrets(unlimited):
    token, code = unlimited.token(), unlimited.code()
    unlimited.get(f"{LIST}?limit=5&token={token}", token)
    unlimited.exchange_code(code)
    unlimited.get(f"/unknown/{token}", token)
    unlimited.get("/users/@me", "nobodys")

    lines = unlimited.requests()
    text = json.dumps(lines) + json.dumps(unlimited.state())

    assert [(line["method"], line["path"], line["person"], line["status"]) for line in lines] == [
        ("GET", LIST, "ada", 200),
        ("POST", "/oauth2/token", "ada", 200),
        ("GET", "/unknown/…", "ada", 404),
        ("GET", "/users/@me", None, 401),
    ]
    assert lines[0]["query"] == {"limit": "5"}
    assert all(line["time"] > 0 and line["duration"] >= 0 for line in lines)
    assert token not in text
    assert code not in text


def test_requests_can_be_forgotten_and_nothing_else(unlimited):
    token = unlimited.token()
    unlimited.mood("outage")
    unlimited.get("/users/@me", token)

    unlimited.control("DELETE", "requests")

    assert unlimited.requests() == []
    assert (unlimited.state()["requests"], unlimited.state()["mood"]["mode"]) == (0, "outage")


def test_the_state_counts_requests_by_route_status_and_person(unlimited):
    for person in ("ada", "ada", "grace"):
        unlimited.get(LIST, unlimited.token(person))
    unlimited.get("/users/@me", "nobodys")

    state = unlimited.state()

    assert state["requests"] == 4
    assert state["by_route"] == {"GET /users/@me": 1, f"GET {LIST}": 3}
    assert state["by_status"] == {"200": 3, "401": 1}
    assert state["by_person"] == {"(unknown)": 1, "ada": 2, "grace": 1}
    assert (state["in_flight"], state["in_flight_max"], state["invalid_requests"]) == (0, 1, 1)


def test_revoke_is_what_a_person_does_at_discord(sandbox):
    tokens = sandbox.tokens("ada")

    reply = sandbox.control("POST", "revoke", {"person": "ada"})

    assert reply.json() == {"person": "ada", "revoked": 1}
    assert sandbox.get("/users/@me", tokens["access_token"]).status == 401


def test_reset_is_back_to_the_start(sandbox):
    token = sandbox.token()
    sandbox.control("PUT", "people/eve", {"count": 3})
    sandbox.control("PUT", "limits", {"per_person": False})
    sandbox.mood("outage")
    sandbox.get("/users/@me", token)

    state = sandbox.control("POST", "reset").json()

    assert state["mood"]["mode"] == "healthy"
    assert state["requests"] == state["invalid_requests"] == 0
    assert state["limits"]["per_person"] is True
    assert "eve" not in state["people"]
    assert sandbox.get("/users/@me", token).status == 401


def test_reset_can_set_limits_and_wrong_ones_change_nothing(sandbox):
    sandbox.control("PUT", "limits", {"per_second": 7})
    sandbox.mood("outage")

    wrong = [{"limits": {"per_person": False, "per_second": 0}}, {"limits": []}, {"mood": "outage"}, []]
    statuses = [sandbox.control("POST", "reset", data).status for data in wrong]
    before = sandbox.state()
    after = sandbox.control("POST", "reset", {"limits": {"per_person": False}}).json()

    assert statuses == [400] * 4
    assert (before["mood"]["mode"], before["limits"]["per_second"]) == ("outage", 7)
    assert before["limits"]["per_person"] is True
    assert (after["mood"]["mode"], after["limits"]["per_second"]) == ("healthy", 50)
    assert after["limits"]["per_person"] is False


def test_the_page_shows_and_sets_the_mood_without_a_script(sandbox):
    sandbox.get("/users/@me", sandbox.token("grace"))
    fields = {
        "mode": "rate_limited",
        "retry_after": "7.5",
        "for_seconds": "",
        "routes": LIST,
        "people": "",
        "status": "",
    }

    set_mood = sandbox.ask("POST", "/_sandbox/mood", form=fields)
    page = sandbox.ask("GET", "/_sandbox/")

    assert (set_mood.status, set_mood.headers["Location"]) == (303, "/_sandbox/")
    assert sandbox.state()["mood"]["retry_after"] == 7.5
    assert sandbox.state()["mood"]["routes"] == [LIST]
    assert 'value="rate_limited" checked' in page.text
    assert "grace" in page.text
    assert "GET /users/@me" in page.text


def test_a_wrong_form_says_what_is_wrong(sandbox):
    reply = sandbox.ask("POST", "/_sandbox/mood", form={"mode": "outage", "for_seconds": "long"})

    assert reply.status == 400
    assert "for_seconds" in reply.text


def test_the_pages_other_forms_lead_back_to_it(sandbox):
    for form in ({"person": "ada"}, {}):
        reply = sandbox.ask("POST", "/_sandbox/revoke" if form else "/_sandbox/reset", form=form)
        assert (reply.status, reply.headers["Location"]) == (303, "/_sandbox/")


def test_people_codes_and_tokens_survive_a_restart_and_moods_do_not(start_sandbox, tmp_path):
    state = tmp_path / "var" / "sandbox.json"
    before = start_sandbox("--state", str(state))
    before.control("PUT", "people/eve", {"guilds": [{"name": "Eve's Garden", "bot": True}]})
    tokens, code = before.tokens("eve"), before.code("eve")
    before.mood("outage")

    assert before.stop() == 0
    after = start_sandbox("--state", str(state))

    assert after.state()["mood"]["mode"] == "healthy"
    assert after.get(LIST, tokens["access_token"]).json()[0]["name"] == "Eve's Garden"
    assert after.exchange(grant_type="refresh_token", refresh_token=tokens["refresh_token"]).status == 200
    assert after.exchange_code(code).status == 200
    assert after.state()["bot_guilds"] == 18
    assert after.stop() == 0
    assert state.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in state.parent.iterdir()] == ["sandbox.json"]


def test_a_state_that_cannot_be_read_is_put_aside(start_sandbox, tmp_path):
    state = tmp_path / "sandbox.json"
    state.write_text('{"people": {"ada"')

    sandbox = start_sandbox("--state", str(state))

    assert set(sandbox.state()["people"]) == {"ada", "grace", "linus", "nobody"}
    assert (tmp_path / "sandbox.json.broken").read_text() == '{"people": {"ada"'


def test_a_scenario_brings_people_and_moods(start_sandbox, tmp_path):
    scenario = tmp_path / "scenario.json"
    moods = [{"at_seconds": 3600, "mode": "reset"}, {"at_seconds": 0, "mode": "outage", "people": ["eve"]}]
    scenario.write_text(json.dumps({"people": {"eve": {"count": 7}}, "moods": moods}))

    sandbox = start_sandbox("--scenario", str(scenario))

    assert sandbox.state()["people"]["eve"]["guilds"] == 7
    assert sandbox.get("/users/@me", sandbox.token("eve")).status == 503
    assert sandbox.get("/users/@me", sandbox.token("ada")).status == 200


@pytest.mark.parametrize(
    ("scenario", "words"),
    [
        ("{", "not JSON"),
        ('{"mood": []}', "'mood'"),
        ('{"people": {"eve": {"count": "x"}}}', "people.eve: 'count'"),
        ('{"moods": [{"mode": "outage"}]}', "moods[0]: 'at_seconds' is missing"),
        ('{"moods": [{"at_seconds": 1, "mode": "x"}]}', "moods[0]: there is no mode 'x'"),
        (None, "cannot be read"),
    ],
)
def test_a_wrong_scenario_is_one_sentence_and_no_start(start_process, tmp_path, scenario, words):
    file = tmp_path / "scenario.json"
    if scenario is not None:
        file.write_text(scenario)

    out, errors, status = start_process("--port", "0", "--scenario", str(file))

    assert (status, out) == (1, "")
    assert words in errors
    assert len(errors.splitlines()) == 1


def test_a_taken_port_is_one_sentence_and_no_start(sandbox, start_process):
    out, errors, status = start_process("--port", str(sandbox.port))

    assert (status, out) == (1, "")
    assert errors.startswith(f"Port {sandbox.port} on 127.0.0.1 is in use")
    assert len(errors.splitlines()) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly_also_while_somebody_waits(start_sandbox, number):
    sandbox = start_sandbox()
    sandbox.mood("healthy", latency_ms=60_000)
    with socket.create_connection(("127.0.0.1", sandbox.port)) as waiting:
        waiting.sendall(b"GET /api/v10/users/@me HTTP/1.1\r\nHost: localhost\r\n\r\n")
        sandbox.process.send_signal(number)

        assert sandbox.process.wait(timeout=60) == 0


def test_the_management_command_is_the_same_sandbox(start_command, tmp_path):
    sandbox = start_command("--state", str(tmp_path / "sandbox.json"))

    assert sandbox.get("/users/@me", sandbox.token("linus")).json()["username"] == "linus"
    assert sandbox.stop() == 0
    assert (tmp_path / "sandbox.json").exists()


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x00\x01\r\n\r\n",
        b"GET / HTTP/9\r\n\r\n",
        b"POST /api/oauth2/token HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /api/oauth2/token HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"PUT /_sandbox/mood HTTP/1.1\r\nContent-Length: 2\r\n\r\n\xff\xfe",
        b"GET /%ff?%zz HTTP/1.1\r\n\r\n",
        b"FOO /_sandbox/mood HTTP/1.1\r\n\r\n",
        b"GET /_sandbox/state\r\n\r\n",
        b"GET /_sandbox/state HTTP/1.1\r\nHost\r\n\r\n",
        b"GET /_sandbox/state HTTP/1.1\r\nA: b\r\n folded: c\r\n\r\n",
        b"GET /_sandbox/state HTTP/1.1\r\n" + b"A: b\r\n" * 101 + b"\r\n",
        b"GET /_sandbox/state HTTP/1.1\r\nA: " + b"b" * 65536,
        b"GET /" + b"a" * 65536,
    ],
)
def test_a_damaged_request_is_refused_and_the_next_one_is_answered(sandbox, request_bytes):
    with socket.create_connection(("127.0.0.1", sandbox.port), timeout=30) as connection:
        connection.sendall(request_bytes)
        response = connection.recv(100)

    assert response.startswith(b"HTTP/1.1 4")
    assert sandbox.state()["requests"] == 0


@pytest.mark.parametrize(
    ("version", "connection", "stays_open"),
    [
        ("1.1", "", True),
        ("1.1", "Connection: Close\r\n", False),
        ("1.0", "", False),
        ("1.0", "connection:keep-alive\r\n", True),
    ],
)
def test_a_connection_stays_open_as_the_client_wishes(sandbox, version, connection, stays_open):
    request = f"DELETE //_sandbox/requests?a HTTP/{version}\r\n{connection}\r\n".encode()
    with socket.create_connection(("127.0.0.1", sandbox.port), timeout=30) as client:
        client.sendall(request)
        with closing(http.client.HTTPResponse(client)) as first:
            first.begin()
            assert first.status == 200
            first.read()
        assert first.will_close is not stays_open

        if stays_open:
            client.sendall(request)
        assert bool(client.recv(1)) is stays_open


def test_a_client_that_asks_before_it_sends_a_body_is_told_to(sandbox):
    with socket.create_connection(("127.0.0.1", sandbox.port), timeout=30) as client:
        client.sendall(b"PUT /_sandbox/mood HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 17\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 100 ")
        client.sendall(b'{"mode":"outage"}')
        assert client.recv(100).startswith(b"HTTP/1.1 200 ")

    assert sandbox.state()["mood"]["mode"] == "outage"


def status_for(sandbox, method="GET", **headers):
    url = urlsplit(sandbox.url)
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=10)
    with closing(connection):
        connection.request(method, "/_sandbox/state" if method == "GET" else "/_sandbox/reset", headers=headers)
        return connection.getresponse().status


@pytest.mark.parametrize(
    ("host", "served"),
    [
        ("localhost:8001", True),
        ("127.0.0.1", True),
        ("[::1]:8001", True),
        ("evil.example:8001", False),
        ("localhost.evil.example", False),
        ("[", False),
    ],
)
def test_only_a_loopback_host_is_served(sandbox, host, served):
    assert status_for(sandbox, Host=host) == (200 if served else 403)


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:3000"])
def test_a_page_from_elsewhere_changes_nothing(sandbox, origin):
    own = {"Host": "localhost:8001", "Content-Type": "application/x-www-form-urlencoded"}

    assert status_for(sandbox, "POST", Origin=origin, **own) == 403
    assert status_for(sandbox, "POST", Origin="http://localhost:8001", **own) == 303
