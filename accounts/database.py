"""Classification of database errors.

Callers use these functions instead of the exception's class: PostgreSQL's driver reports a read-only server as an
internal error, and SQLite's reports a missing table as an operational one.
"""

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, TypeVar

import psycopg
from django.db import Error, IntegrityError, InterfaceError, OperationalError, connection, transaction
from django.db.models import QuerySet
from psycopg_pool import PoolTimeout

Row = TypeVar("Row")

# SQLSTATE codes or prefixes: connection lost, insufficient resources, operator intervention, system error, read-only
# transaction, lock timeout, serialization failure, deadlock.
# https://www.postgresql.org/docs/current/errcodes-appendix.html
UNAVAILABLE_STATES = ("08", "53", "57", "58", "25006", "55P03", "40001", "40P01")
UNAVAILABLE_RESULTS = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PROTOCOL,
}
# Undefined table, undefined column. SQLite uses one result code for every error in a statement, hence the messages.
UNDEFINED_STATES = ("42P01", "42703")
UNDEFINED_MESSAGES = ("no such table", "no such column", "has no column named")
FOREIGN_KEY_STATE = "23503"
# Only an operator can end these: a wrong password, no such database, missing privileges, damage.
REFUSED_STATES = ("28", "3D000", "42501", "XX")
REFUSED_RESULTS = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH}


def is_unavailable(error: BaseException | None) -> bool:
    """Whether the database can't be reached, or it refuses every such statement for a temporary reason of its own.

    Such reasons are: read-only, shutting down, full, or a lock held for too long. False for a statement that failed,
    which is an error in the code or the schema.
    """
    if not isinstance(error, Error):
        return False
    state, result = _codes(error)
    if state is not None:
        return state.startswith(UNAVAILABLE_STATES)
    if result is not None:
        # The low byte is the primary result code.
        return result & 0xFF in UNAVAILABLE_RESULTS
    # Without a code there was no response, unless SQLite's driver or the cursor rejected the statement itself.
    if isinstance(error.__cause__, sqlite3.Error | psycopg.InterfaceError):
        return False
    return isinstance(error, OperationalError | InterfaceError)


def is_schema_mismatch(error: BaseException | None) -> bool:
    """Whether a table or column is missing, usually because a migration has not run."""
    if not isinstance(error, Error):
        return False
    state, result = _codes(error)
    if state is not None:
        return state in UNDEFINED_STATES
    return result == sqlite3.SQLITE_ERROR and any(message in str(error) for message in UNDEFINED_MESSAGES)


def is_foreign_key_violation(error: IntegrityError) -> bool:
    """Whether the row that the written one refers to is missing."""
    state, result = _codes(error)
    return state == FOREIGN_KEY_STATE or result == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY


def explain(error: Error) -> str | None:
    """Explain the error to an operator in one line; return None for an error in the code, which needs a traceback."""
    reason = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error.__cause__, PoolTimeout) and _pool_log.latest:
        reason = _pool_log.latest
    if is_unavailable(error) or _is_refused(error):
        return f"The database can't be used: {reason}"
    if is_schema_mismatch(error):
        return (
            "The database schema doesn't match the code; run `./run manage migrate`, and before it "
            f"`./run manage makemigrations` if you changed a model: {reason}"
        )
    return None


def _is_refused(error: Error) -> bool:
    state, result = _codes(error)
    return (state or "").startswith(REFUSED_STATES) or (result is not None and result & 0xFF in REFUSED_RESULTS)


class _LatestMessage(logging.Handler):
    latest = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.latest = " ".join(record.getMessage().split())


_pool_log = _LatestMessage()


@contextmanager
def quiet_pool() -> Iterator[None]:
    """Keep the connection pool's warnings, one for each attempt, out of the log; `explain` has the latest."""
    log = logging.getLogger("psycopg.pool")
    log.addHandler(_pool_log)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(_pool_log)
        log.propagate = True


@contextmanager
def lock_timeout(seconds: float) -> Iterator[None]:
    """Limit how long statements wait for a lock; after that they fail with an error that `is_unavailable`.

    On PostgreSQL the block runs in one transaction.
    """
    if connection.vendor == "sqlite":
        usual = connection.settings_dict["OPTIONS"]["timeout"]
        _set_busy_timeout(seconds)
        try:
            yield
        finally:
            _set_busy_timeout(usual)
        return
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL lock_timeout = %s", [f"{int(seconds * 1000)}ms"])
        yield


def _set_busy_timeout(seconds: float) -> None:
    # Bypasses Django, which refuses queries after an error in a transaction and would mask that error.
    connection.ensure_connection()
    connection.connection.execute(f"PRAGMA busy_timeout = {int(seconds * 1000)}")


def _codes(error: Error) -> tuple[str | None, int | None]:
    """Return PostgreSQL's SQLSTATE and SQLite's extended result code from the driver's exception."""
    cause = error.__cause__
    return getattr(cause, "sqlstate", None), getattr(cause, "sqlite_errorcode", None)


def in_chunks(rows: QuerySet[Any, Row]) -> Iterator[Row]:
    """Iterate over many rows without holding all of them.

    On PostgreSQL in a transaction, without which PgBouncer may give the cursor's next rows another session. On SQLite
    without one, which would make all writers wait.
    """
    with transaction.atomic() if connection.vendor == "postgresql" else nullcontext():
        yield from rows.iterator(chunk_size=2000)
