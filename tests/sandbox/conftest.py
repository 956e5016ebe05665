"""A sandbox in a separate process, and a plain HTTP client for it."""

import http.client
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

ROOT = Path(__file__).resolve().parents[2]
CALLBACK = "http://localhost:8000/complete/discord/"


@dataclass
class Reply:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def redirect(self) -> dict[str, str]:
        """The parameters of the URL that the response redirects to."""
        return {name: values[0] for name, values in parse_qs(urlsplit(self.headers["Location"]).query).items()}


@dataclass
class RunningSandbox:
    url: str
    process: subprocess.Popen[str] = field(repr=False)

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 0

    def ask(
        self,
        method: str,
        path: str,
        *,
        token: str = "",
        data: Any = None,
        form: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Reply:
        headers = dict(headers or {})
        body = None
        if token:
            headers["Authorization"] = token if " " in token else f"Bearer {token}"
        if data is not None:
            body, headers["Content-Type"] = json.dumps(data), headers.get("Content-Type", "application/json")
        if form is not None:
            body, headers["Content-Type"] = urlencode(form), "application/x-www-form-urlencoded"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return Reply(response.status, response.headers, response.read())
        finally:
            connection.close()

    def get(self, path: str, token: str = "", **options: Any) -> Reply:
        return self.ask("GET", f"/api/v10{path}", token=token, **options)

    def control(self, method: str, path: str, data: Any = None) -> Reply:
        return self.ask(method, f"/_sandbox/{path}", data=data)

    def mood(self, mode: str, **options: Any) -> None:
        reply = self.control("PUT", "mood", {"mode": mode, **options})
        assert reply.status == 200, reply.text

    def tokens(self, person: str = "ada", *scopes: str) -> dict[str, Any]:
        reply = self.control("POST", "token", {"person": person, "scopes": list(scopes or ("identify", "guilds"))})
        assert reply.status == 200, reply.text
        return reply.json()

    def token(self, person: str = "ada", *scopes: str) -> str:
        return str(self.tokens(person, *scopes)["access_token"])

    def authorize(self, **params: str) -> Reply:
        asked = {
            "client_id": "guildhall",
            "response_type": "code",
            "scope": "identify guilds",
            "redirect_uri": CALLBACK,
            "state": "s",
        }
        return self.ask("GET", "/oauth2/authorize?" + urlencode({k: v for k, v in (asked | params).items() if v}))

    def code(self, person: str = "ada", **params: str) -> str:
        return self.authorize(**{"as": person}, **params).redirect["code"]

    def exchange(self, **form: str) -> Reply:
        own = {"client_id": "guildhall", "client_secret": "sandbox"}
        return self.ask("POST", "/api/v10/oauth2/token", form=own | form)

    def exchange_code(self, code: str, **form: str) -> Reply:
        return self.exchange(grant_type="authorization_code", code=code, **{"redirect_uri": CALLBACK} | form)

    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = self.control("GET", "state").json()
        return state

    def requests(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.control("GET", "requests").text.splitlines()]

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)


Start = Callable[..., RunningSandbox]


def _popen(*command: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *command], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def _started(*command: str) -> Iterator[Start]:
    processes = []

    def start(*arguments: str) -> RunningSandbox:
        process = _popen(*command, "--port", "0", *arguments)
        processes.append(process)
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("sandbox listening on http://127.0.0.1:"), line
        return RunningSandbox(line.split()[-1], process)

    yield start
    for process in processes:
        if process.poll() is None:
            process.terminate()
        _, errors = process.communicate(timeout=60)
        # A traceback in the sandbox fails the test, even if the client got a response.
        assert "Traceback" not in errors, errors


@pytest.fixture(scope="session")
def start_sandbox() -> Iterator[Start]:
    """Starts sandboxes on free ports with the given options; they end with the tests."""
    yield from _started("-m", "sandbox")


@pytest.fixture
def start_command() -> Iterator[Start]:
    """The same, with Django's management command."""
    yield from _started("manage.py", "sandbox")


@pytest.fixture
def start_process() -> Callable[..., tuple[str, str, int]]:
    """Runs a sandbox that can't start, and returns its stdout, stderr and exit code."""

    def start(*arguments: str) -> tuple[str, str, int]:
        process = _popen("-m", "sandbox", *arguments)
        out, errors = process.communicate(timeout=60)
        return out, errors, process.returncode

    return start


@pytest.fixture(scope="session")
def shared_sandbox(start_sandbox: Start) -> RunningSandbox:
    return start_sandbox()


@pytest.fixture
def sandbox(shared_sandbox: RunningSandbox) -> RunningSandbox:
    """The sandbox in its initial state, with Discord's limits."""
    shared_sandbox.control("POST", "reset")
    return shared_sandbox


@pytest.fixture
def unlimited(shared_sandbox: RunningSandbox) -> RunningSandbox:
    """The sandbox in its initial state, without limits per second, person and server."""
    limits = {"per_person": False, "per_second": 100_000, "members_per_300_seconds": None, "per_guild": None}
    shared_sandbox.control("POST", "reset", {"limits": limits})
    return shared_sandbox
