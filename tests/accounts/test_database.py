"""The classification of database errors, by the codes of both databases."""

import sqlite3
from pathlib import Path

import psycopg
import pytest
from django.db import DatabaseError, InterfaceError, InternalError, OperationalError, ProgrammingError, connection
from django.db.utils import DatabaseErrorWrapper

from accounts.database import explain, is_schema_mismatch, is_unavailable


def wrapped(error: Exception) -> DatabaseError:
    """Return the error as Django raises it."""
    with pytest.raises(DatabaseError) as raised, DatabaseErrorWrapper(connection):
        raise error
    return raised.value


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="PostgreSQL's driver, wrapped by its backend")
@pytest.mark.parametrize(
    ("state", "unavailable", "mismatch"),
    [
        ("25006", True, False),  # read-only
        ("55P03", True, False),  # lock timeout
        ("57P01", True, False),  # shutting down
        ("57P03", True, False),  # starting up
        ("08006", True, False),  # connection failure
        ("53100", True, False),  # disk full
        ("53300", True, False),  # too many connections
        ("40001", True, False),
        ("40P01", True, False),
        ("42P01", False, True),
        ("42703", False, True),
        ("42601", False, False),  # a syntax error
        ("23502", False, False),
        ("22001", False, False),
        ("25P02", False, False),  # a statement after another error in a transaction
    ],
)
def test_a_state_of_postgresql(state: str, unavailable: bool, mismatch: bool) -> None:
    error = wrapped(psycopg.errors.lookup(state)("x"))

    assert (is_unavailable(error), is_schema_mismatch(error)) == (unavailable, mismatch)


def refused_by_sqlite(database: Path, statement: str) -> Exception:
    """SQLite's own errors, from a read-only connection and from a lock held by another connection."""
    with sqlite3.connect(database, isolation_level=None) as holder:
        holder.execute("CREATE TABLE known (a NOT NULL)")
        holder.execute("BEGIN IMMEDIATE")
        mode = "ro" if "known" in statement and "NULL" not in statement else "rw"
        other = sqlite3.connect(f"file:{database}?mode={mode}", uri=True, timeout=0, isolation_level=None)
        with pytest.raises(sqlite3.Error) as raised:
            other.execute(statement)
        other.close()
    holder.close()
    return raised.value


@pytest.mark.skipif("connection.vendor != 'sqlite'", reason="SQLite's driver, wrapped by its backend")
@pytest.mark.parametrize(
    ("statement", "unavailable", "mismatch"),
    [
        ("INSERT INTO known VALUES (1)", True, False),
        ("BEGIN IMMEDIATE", True, False),
        ("SELECT * FROM unknown", False, True),
        ("SELECT unknown FROM sqlite_master", False, True),
        ("SELECT FROM", False, False),
    ],
)
def test_an_error_of_sqlite(tmp_path: Path, statement: str, unavailable: bool, mismatch: bool) -> None:
    error = wrapped(refused_by_sqlite(tmp_path / "site.sqlite3", statement))

    assert (is_unavailable(error), is_schema_mismatch(error)) == (unavailable, mismatch)


@pytest.mark.parametrize(
    "error",
    [
        sqlite3.OperationalError("Could not decode to UTF-8 column 'text'"),
        sqlite3.InterfaceError("bad parameter or other API misuse"),
        psycopg.InterfaceError("the cursor is closed"),
    ],
)
def test_a_statement_that_a_driver_rejects_itself_is_an_error_in_the_code(error: Exception) -> None:
    outer = OperationalError() if isinstance(error, sqlite3.OperationalError) else InterfaceError()
    outer.__cause__ = error

    assert not is_unavailable(outer)


@pytest.mark.parametrize(
    ("error", "unavailable"),
    [
        (OperationalError("no route to host"), True),
        (InterfaceError("the connection is closed"), True),
        (ProgrammingError("the database is closed"), False),
        (InternalError(), False),
        (ValueError(), False),
        (None, False),
    ],
)
def test_without_a_code_the_class_says_whether_there_was_an_answer(error: Exception | None, unavailable: bool) -> None:
    assert is_unavailable(error) is unavailable


def test_an_operator_reads_one_line() -> None:
    assert explain(OperationalError("no route\nto host")) == "The database can't be used: no route to host"
    assert explain(ProgrammingError("at or near SELECT")) is None


@pytest.mark.django_db
def test_a_missing_table_is_told_with_what_makes_it() -> None:
    with pytest.raises(DatabaseError) as raised, connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM no_such_table_here")

    line = explain(raised.value)

    assert line
    assert "./run manage migrate" in line
