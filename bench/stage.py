"""The environment of a bench: a sandbox in a separate process, and the site in this process on its own database.

The caller's environment variables are removed, so that all machines measure the same site.
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

SITE_PREFIXES = (
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
    """The sandbox, which Django's settings point to, and a temporary folder."""

    sandbox: Remote
    folder: Path

    def take_requests(self) -> Counter[str]:
        """Return how often each person's list was requested since the last call, and reset the counts."""
        requests = self.sandbox.requests()
        self.sandbox.forget_requests()
        return Counter(request["person"] for request in requests)


@contextmanager
def build_stage(server: str = "", host: str = "127.0.0.1") -> Iterator[Stage]:
    """Set up a stage on SQLite, or on a new database at the PostgreSQL server with the URL `server`.

    The sandbox listens on `host`.
    """
    with (
        tempfile.TemporaryDirectory(prefix="guildhall-bench-") as name,
        _database(Path(name), server) as database,
        running(Path(name) / "sandbox.json", host) as sandbox,
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
    _execute(server, f"CREATE DATABASE {name}")
    try:
        yield urlsplit(server)._replace(path=f"/{name}").geturl()
    finally:
        _close_pool()
        _execute(server, f"DROP DATABASE {name} WITH (FORCE)")


def _execute(server: str, statement: str) -> None:
    # With a connection of its own, because a bench may restart the server.
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(statement)


def _close_pool() -> None:
    """Close this process's connections before the database is dropped."""
    from django.conf import settings
    from django.db import connection

    if settings.configured and connection.vendor == "postgresql":
        connection.close()
        connection.close_pool()  # type: ignore[attr-defined]  # only on PostgreSQL


@contextmanager
def build_settings() -> Iterator[None]:
    """Set up only Django's settings and models, for a bench without requests and data."""
    with tempfile.TemporaryDirectory(prefix="guildhall-bench-") as name:
        _set_environment(Path(name), "http://127.0.0.1")
        import django

        django.setup()
        yield


def _set_environment(folder: Path, url: str) -> None:
    for name in [name for name in os.environ if name.startswith(SITE_PREFIXES)]:
        del os.environ[name]
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "ENV_FILE": os.devnull,
        "VAR_DIR": str(folder),
        "DATABASE_URL": f"sqlite:///{folder / 'bench.sqlite3'}",
        "SECRET_KEY": "only for benches",
        "TOKEN_KEYS": "YmVuY2hlcyBzZWFsIHRoZWlyIHRva2VucyBsaWtlIGE=",
        "LOG_LEVEL": "ERROR",
        # All readers share one address.
        "API_THROTTLE_USER": "off",
        "API_THROTTLE_SERVICE": "off",
        "API_THROTTLE_ADDRESS": "off",
        "SIGN_IN_THROTTLE_ADDRESS": "off",
        "DISCORD_API_URL": f"{url}/api/v10",
    }


def _set_up() -> None:
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)
    # Pages refer to static files by hashed names, as in production.
    call_command("collectstatic", interactive=False, verbosity=0)
