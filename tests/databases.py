"""The test's database, for other processes, and copies of it."""

import os
import re
import subprocess
import sys
import textwrap
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

from django.conf import settings
from django.db import connection

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "backup.md"
# What the page calls the restored database.
RESTORED = "guildhall_restored"


def database_url(name: str | None = None) -> str:
    """Return the DATABASE_URL of the test's database, or of another one on the same server."""
    place = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{place['NAME']}"
    user, password = quote(place["USER"]), quote(place["PASSWORD"])
    return f"postgres://{user}:{password}@{place['HOST']}:{place['PORT']}/{name or place['NAME']}"


def block(start: str) -> str:
    """Return the commands of the page's only block that begins like this."""
    found = re.findall(r"^( *)```\n(.*?)^\1```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    (commands,) = [text for text in (textwrap.dedent(text) for _indent, text in found) if text.startswith(start)]
    return commands


def copy_migrated_database(file: Path) -> None:
    """Copy the tables of the test's database, without their rows, to a new file for a site of its own.

    Its migrations would take longer than its start. Tests on PostgreSQL leave them to the site.
    """
    if connection.vendor != "sqlite":
        return
    import sqlite3

    kept = {"django_migrations", "django_content_type", "auth_permission"}
    tables = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    with closing(sqlite3.connect(file)) as copy:
        with closing(sqlite3.connect(connection.settings_dict["NAME"])) as source:
            source.backup(copy)
        for (table,) in copy.execute(tables).fetchall():
            if table not in kept:
                copy.execute(f'DELETE FROM "{table}"')
        copy.commit()


class Machine:
    """A folder like that of the project, in which the page's commands run, and a new database to restore into."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.is_sqlite = connection.vendor == "sqlite"
        self.database = f"guildhall_test_{uuid.uuid4().hex[:12]}"
        self.file = folder / "var" / "guildhall.sqlite3"
        self.url = database_url()
        self.restored_url = f"sqlite:///{self.file}" if self.is_sqlite else database_url(self.database)
        self.file.parent.mkdir()
        if self.is_sqlite:
            self.file.symlink_to(connection.settings_dict["NAME"])
        run = folder / "run"
        run.write_text(
            f'#!/bin/sh\nset -e\ncommand=$1; shift\n[ "$command" != prepare ] || set -- migrate --verbosity=0\n'
            f'exec {sys.executable} "${{PROJECT:-{ROOT}}}/manage.py" "$@"\n'
        )
        run.chmod(0o700)

    @property
    def environment(self) -> dict[str, str]:
        """The settings of a site with the restored database."""
        return {
            "PATH": os.environ["PATH"],
            "ENV_FILE": os.devnull,
            "MYSITE": "0",
            "VAR_DIR": str(self.folder / "var"),
            "DATABASE_URL": self.restored_url,
            "SECRET_KEY": os.environ["SECRET_KEY"],
            "TOKEN_KEYS": os.environ["TOKEN_KEYS"],
            "DISCORD_API_URL": settings.DISCORD_API_URL,
            "DISCORD_AUTHORIZE_URL": settings.DISCORD_AUTHORIZE_URL,
            "DISCORD_CDN_URL": settings.DISCORD_CDN_URL,
        }

    def do(self, commands: str, **environment: str) -> str:
        """Run commands of the page, which must succeed, and return what they print. PROJECT is another release."""
        ran = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands.replace(RESTORED, self.database)],
            cwd=self.folder,
            env={**self.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert ran.returncode == 0, ran.stdout
        return ran.stdout

    def back_up(self) -> None:
        self.do(block('sqlite3 var/guildhall.sqlite3 "VACUUM' if self.is_sqlite else "pg_dump"), DATABASE_URL=self.url)

    def restore(self) -> None:
        """Restore the backup, on SQLite in place of a file that other connections left."""
        if self.is_sqlite:
            self.file.unlink()
            for suffix in ("", "-wal", "-shm"):
                self.file.with_name(self.file.name + suffix).write_bytes(b"what was there before")
            self.do(block("mkdir -p var/replaced"))
        else:
            self.do(block("createdb"), DATABASE_URL=self.url, RESTORED_URL=self.restored_url)

    def query(self, sql: str) -> list[tuple[object, ...]]:
        """Return the rows of a query to the restored database."""
        if self.is_sqlite:
            import sqlite3

            with sqlite3.connect(self.file) as file:
                return list(file.execute(sql))
        import psycopg

        with psycopg.connect(self.restored_url) as server:
            return list(server.execute(sql.encode()))


@contextmanager
def machine(folder: Path) -> Iterator[Machine]:
    """A machine whose restored database is deleted in the end."""
    found = Machine(folder)
    try:
        yield found
    finally:
        if not found.is_sqlite:
            with connection.cursor() as cursor:
                cursor.execute(f"DROP DATABASE IF EXISTS {found.database} WITH (FORCE)")
