"""Where a bench plays: a sandbox as a process of its own, and the site in this process on a database of its own.

The environment of whoever calls counts for nothing, so that two machines measure the same site.
"""

import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

from sandbox.remote import Remote, running

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
    "API_",
    "CORS_",
    "REDIS_",
    "GUILDHALL_MEMBERSHIP_",
)


@dataclass(frozen=True, slots=True)
class Stage:
    """The stand-in for Discord; Django is set up and leads to it. `folder` is there for files until the end."""

    sandbox: Remote
    folder: Path

    def take_requests(self) -> Counter[str]:
        """How often each person's list was asked for since the last call."""
        requests = self.sandbox.requests()
        self.sandbox.forget_requests()
        return Counter(request["person"] for request in requests)


@contextmanager
def build_stage(server: str = "") -> Iterator[Stage]:
    """A stage on SQLite, or on a database of its own at the PostgreSQL `server`, a URL."""
    with (
        tempfile.TemporaryDirectory(prefix="guildhall-bench-") as name,
        _database(Path(name), server) as database,
        running(Path(name) / "sandbox.json") as sandbox,
    ):
        _set_environment(Path(name), sandbox.url)
        os.environ["DATABASE_URL"] = database
        _set_up()
        yield Stage(sandbox, Path(name))


@contextmanager
def _database(folder: Path, server: str) -> Iterator[str]:
    if not server:
        yield f"sqlite:///{folder / 'bench.sqlite3'}"
        return
    name = f"guildhall_bench_{os.getpid()}"
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
        try:
            yield urlsplit(server)._replace(path=f"/{name}").geturl()
        finally:
            _close_pool()
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _close_pool() -> None:
    """Of this process, which would find its connections dead once the database is gone."""
    from django.conf import settings
    from django.db import connection

    if settings.configured and connection.vendor == "postgresql":
        connection.close()
        connection.close_pool()  # type: ignore[attr-defined]  # PostgreSQL's alone has one


@contextmanager
def build_settings() -> Iterator[None]:
    """Django's settings and models alone, for a bench that asks nobody and stores nothing."""
    with tempfile.TemporaryDirectory(prefix="guildhall-bench-") as name:
        _set_environment(Path(name), "http://127.0.0.1")
        import django

        django.setup()
        yield


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
        # One address plays everybody.
        "API_THROTTLE_USER": "off",
        "API_THROTTLE_ADDRESS": "off",
        "DISCORD_API_URL": f"{url}/api/v10",
    }


def _set_up() -> None:
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)
    # Pages name their files by content, as they do for people.
    call_command("collectstatic", interactive=False, verbosity=0)
