"""Where a bench plays: a sandbox as a process of its own, and the site in this process on a database of its own.

The environment of whoever calls counts for nothing, so that two machines measure the same site.
"""

import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

OURS = (
    "DISCORD_",
    "SANDBOX_",
    "SITE_",
    "LOG_",
    "WEB_",
    "SECRET_KEY",
    "TOKEN_KEYS",
    "ALLOWED_HOSTS",
    "DEBUG",
    "BEHIND_",
)
LIST = "/users/@me/guilds"


@dataclass(frozen=True, slots=True)
class Stage:
    """The stand-in for Discord, running at `url`; Django is set up and leads to it."""

    url: str

    def call(self, method: str, path: str, body: Any = None) -> str:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"{self.url}/_sandbox/{path}", data, {"Content-Type": "application/json"}, method=method
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            text: str = answer.read().decode()
            return text

    def tokens(self, person: str) -> dict[str, Any]:
        """A token response for the person, without a browser."""
        answer: dict[str, Any] = json.loads(self.call("POST", "token", {"person": person}))
        return answer

    def take_requests(self) -> Counter[str]:
        """How often each person's list was asked for since the last call."""
        lines = [json.loads(line) for line in self.call("GET", "requests").splitlines()]
        self.call("DELETE", "requests")
        return Counter(line["person"] for line in lines if line["path"].endswith(LIST))


@contextmanager
def build_stage() -> Iterator[Stage]:
    with tempfile.TemporaryDirectory(prefix="guildhall-bench-") as name, _sandbox(Path(name)) as url:
        _set_environment(Path(name), url)
        _set_up()
        yield Stage(url)


@contextmanager
def _sandbox(folder: Path) -> Iterator[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "sandbox", "--port", "0", "--state", str(folder / "sandbox.json")],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout
        yield process.stdout.readline().split()[-1]
    finally:
        process.terminate()
        process.communicate(timeout=10)


def _set_environment(folder: Path, url: str) -> None:
    for name in [name for name in os.environ if name.startswith(OURS)]:
        del os.environ[name]
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "ENV_FILE": os.devnull,
        "VAR_DIR": str(folder),
        "DATABASE_URL": f"sqlite:///{folder / 'bench.sqlite3'}",
        "SECRET_KEY": "only for benches",
        "TOKEN_KEYS": "YmVuY2hlcyBzZWFsIHRoZWlyIHRva2VucyBsaWtlIGE=",
        "LOG_LEVEL": "ERROR",
        "DISCORD_API_URL": f"{url}/api/v10",
    }


def _set_up() -> None:
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)
    # Pages name their files by content, as they do for people.
    call_command("collectstatic", interactive=False, verbosity=0)
