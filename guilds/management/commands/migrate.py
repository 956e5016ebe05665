"""`manage.py migrate`: Django's command, run by one process at a time."""

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management.base import CommandError
from django.core.management.commands import migrate
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.sqlite3.base import DatabaseWrapper

from guilds.operations import migrations

POLL_SECONDS = 0.2
# An arbitrary number; PostgreSQL's advisory locks have no names, and each database has its own.
ADVISORY_LOCK = 5_018_934_276_150_663


class Command(migrate.Command):
    help = (
        f"{migrate.Command.help} If several processes start at once, one migrates and the others wait. "
        "Names the apps whose models have no migration."
    )
    sleep = staticmethod(time.sleep)

    def handle(self, *args: Any, **options: Any) -> None:
        connection = connections[options["database"]]
        lock = {"postgresql": advisory_lock, "sqlite": file_lock}.get(connection.vendor)
        if lock is None:
            raise CommandError(f"Migrations can't be locked on {connection.vendor}.")
        with lock(connection) as acquire:
            self._wait_for(acquire)
            # Fail early: Django's checks would report an unreadable SQLite database as one without JSON support.
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
            try:
                super().handle(*args, **options)
                # A run for one app leaves others as they are on purpose.
                for problem in [] if options["app_label"] else migrations.problems(connection):
                    self.stderr.write(problem)
            finally:
                # SQLite's last connection cleans up when it closes, and refuses others meanwhile: before they begin.
                if not connection.in_atomic_block:
                    connection.close()

    def _wait_for(self, acquire: Callable[[], bool]) -> None:
        """Retry until the lock is acquired.

        A blocking query would hold a snapshot, and `CREATE INDEX CONCURRENTLY` in the other process would wait for it.
        """
        if acquire():
            return
        self.stderr.write("Waiting for another process that is migrating this database.")
        while not acquire():
            self.sleep(POLL_SECONDS)


@contextmanager
def advisory_lock(connection: BaseDatabaseWrapper) -> Iterator[Callable[[], bool]]:
    """Yield a function that tries PostgreSQL's lock, on a separate connection, since migrations may close theirs."""
    holder = connection.copy()

    def run(function: str) -> bool:
        with holder.cursor() as cursor:
            cursor.execute(f"SELECT {function}(%s)", [ADVISORY_LOCK])
            return bool(cursor.fetchone()[0])

    acquired = False

    def acquire() -> bool:
        nonlocal acquired
        acquired = run("pg_try_advisory_lock")
        return acquired

    try:
        yield acquire
    finally:
        # With a pool, closing doesn't end the connection, so the lock must be released explicitly.
        if acquired:
            run("pg_advisory_unlock")
        holder.close()


@contextmanager
def file_lock(connection: BaseDatabaseWrapper) -> Iterator[Callable[[], bool]]:
    """Yield a function that tries a lock file next to SQLite's, before the first connection can change the journal.

    A database in memory has no file, and no other process.
    """
    if isinstance(connection, DatabaseWrapper) and connection.is_in_memory_db():
        yield lambda: True
        return
    path = f"{connection.settings_dict['NAME']}-migrate.lock"
    try:
        file = open(path, "a")  # noqa: SIM115 - closed below, after the lock's last use
    except OSError as error:
        raise CommandError(f"Can't write {path}: {error.strerror}") from None

    def acquire() -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    with file:
        yield acquire
