"""A sandbox that runs as a process of its own, for whoever plays with it from a program: tests, benches, scripts."""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LIST = "/users/@me/guilds"


@dataclass(frozen=True, slots=True)
class Remote:
    """The sandbox at `url`."""

    url: str

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """What /_sandbox/`path` answers: an object, or the text it is."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"{self.url}/_sandbox/{path}", data, {"Content-Type": "application/json"}, method=method
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            text = answer.read().decode()
        return json.loads(text) if text.startswith("{") and path != "requests" else text

    def mood(self, mode: str = "healthy", **options: Any) -> None:
        self.call("PUT", "mood", {"mode": mode, **options})

    def limits(self, **limits: Any) -> None:
        self.call("PUT", "limits", limits)

    def reset(self) -> None:
        self.call("POST", "reset")

    def requests(self, path: str = LIST) -> list[dict[str, Any]]:
        """The requests that arrived at `path`, oldest first; `status` is None while one is on the way."""
        lines = [json.loads(line) for line in self.call("GET", "requests").splitlines()]
        return [line for line in lines if line["path"].endswith(path)]

    def forget_requests(self) -> None:
        self.call("DELETE", "requests")

    def token(self, person: str, *scopes: str) -> dict[str, Any]:
        """A token response for the person, without a browser."""
        wanted = {"scopes": list(scopes)} if scopes else {}
        answer: dict[str, Any] = self.call("POST", "token", {"person": person, **wanted})
        return answer

    def revoke(self, person: str) -> None:
        self.call("POST", "revoke", {"person": person})

    def person(self, name: str, **options: Any) -> None:
        self.call("PUT", f"people/{name}", options)


@contextmanager
def running(state: Path) -> Iterator[Remote]:
    """A sandbox on a free port, which keeps its people and tokens in `state`; it ends with the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "sandbox", "--port", "0", "--state", str(state)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).resolve().parent.parent,
    )
    try:
        assert process.stdout
        yield Remote(process.stdout.readline().split()[-1])
    finally:
        process.terminate()
        process.communicate(timeout=10)
