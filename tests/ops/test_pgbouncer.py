"""The site works through PgBouncer in transaction mode, with the configuration of ops/ and few connections."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import OperationalError, connection, connections
from django.test import Client

from accounts.clock import database_now
from accounts.database import in_chunks
from accounts.models import User
from bench.sites import free_port
from guilds.models import GuildListVerification, ServingMinute
from tests.conftest import REQUIRED
from tests.engine.conftest import eventually
from tests.fixtures import Sandbox, end_jobs, let_pass

ROOT = Path(__file__).parents[2]
# Debian keeps it out of the PATH of everyone but root.
PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
pytestmark = [
    pytest.mark.skipif(connection.vendor != "postgresql", reason="PgBouncer is for PostgreSQL"),
    pytest.mark.skipif(PGBOUNCER is None and "pgbouncer" not in REQUIRED, reason="there is no pgbouncer on the PATH"),
]
# Connections to PostgreSQL in the test, fewer than readers.
SIZE = 2
READERS = 6
# More than a chunk.
ROWS = 2001


@pytest.fixture
def pgbouncer(transactional_db: None) -> Iterator[int]:
    """The port of a PgBouncer before the test's database, through which the site's connections go meanwhile."""
    assert PGBOUNCER, "GUILDHALL_REQUIRE names pgbouncer, and there is none on the PATH"
    place, port = connection.settings_dict, free_port()
    server = f"host={place['HOST']} port={place['PORT']} user={place['USER']} dbname={place['NAME']}"
    with tempfile.TemporaryDirectory() as folder:
        text = (ROOT / "ops" / "pgbouncer.ini").read_text()
        for pattern, value in {
            r"^guildhall = .*": f"{place['NAME']} = {server}",
            r"^listen_port = .*": f"listen_port = {port}\nunix_socket_dir =\nadmin_users = {place['USER']}",
            r"^auth_type = .*": "auth_type = trust",
            r"^auth_file = .*": f"auth_file = {folder}/userlist.txt",
            r"^default_pool_size = .*": f"default_pool_size = {SIZE}",
        }.items():
            text, count = re.subn(pattern, value, text, flags=re.MULTILINE)
            assert count == 1, pattern
        (Path(folder) / "pgbouncer.ini").write_text(text)
        (Path(folder) / "userlist.txt").write_text(f'"{place["USER"]}" "{place["PASSWORD"]}"\n')
        # It doesn't run as root.
        account = ["-u", "nobody"] if os.getuid() == 0 else []
        command = [PGBOUNCER, "-q", *account, f"{folder}/pgbouncer.ini"]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
            try:
                with through(port):
                    eventually(lambda: can_connect(port), "PgBouncer listens")
                    yield port
            finally:
                process.terminate()


@contextmanager
def through(port: int) -> Iterator[None]:
    """Let all threads connect to another port."""
    database: Any = connection
    settings, before = connection.settings_dict, connection.settings_dict["PORT"]

    def change(to: object) -> None:
        end_jobs()
        connections.close_all()
        database.close_pool()
        settings["PORT"] = str(to)

    change(port)
    try:
        yield
    finally:
        change(before)


def can_connect(port: int) -> bool:
    try:
        console(port, "SHOW VERSION")
    except psycopg.OperationalError:
        return False
    return True


def console(port: int, command: str) -> list[dict[str, Any]]:
    """Return the rows that PgBouncer's own console prints."""
    place = connection.settings_dict
    address = f"host=127.0.0.1 port={port} user={place['USER']} dbname=pgbouncer"
    with psycopg.connect(address, autocommit=True, cursor_factory=psycopg.ClientCursor) as found:
        rows = found.execute(command)
        if rows.description is None:
            return []
        names = [column.name for column in rows.description]
        return [dict(zip(names, row, strict=True)) for row in rows]


def test_readers_and_refreshes_share_few_connections(
    pgbouncer: int, with_list: Callable[..., User], client_of: Callable[[User], Client], sandbox: Sandbox
) -> None:
    people = [with_list(name) for name in ("ada", "linus")]
    browsers = [client_of(people[number % 2]) for number in range(READERS)]
    let_pass(hours=5)
    sandbox.forget_requests()

    def read(browser: Client) -> int:
        try:
            return browser.get("/servers/").status_code
        finally:
            connections.close_all()

    with ThreadPoolExecutor(READERS) as threads:
        statuses = [status for _ in range(5) for status in threads.map(read, browsers)]
    end_jobs()

    assert set(statuses) == {200}
    assert len(sandbox.requests()) == 2
    assert GuildListVerification.objects.filter(reason="").count() == 2
    [pool] = [row for row in console(pgbouncer, "SHOW POOLS") if row["database"] == connection.settings_dict["NAME"]]
    assert 1 <= sum(pool[name] for name in ("sv_active", "sv_idle", "sv_used", "sv_tested")) <= SIZE
    assert pool["pool_mode"] == "transaction"


def test_a_cursor_keeps_its_session_between_chunks(pgbouncer: int) -> None:
    now = database_now()
    minutes = [now - timedelta(minutes=number) for number in range(ROWS)]
    ServingMinute.objects.bulk_create(ServingMinute(minute=minute) for minute in minutes)
    place = connection.settings_dict
    address = f"host=127.0.0.1 port={pgbouncer} user={place['USER']} dbname={place['NAME']}"

    rows = in_chunks(ServingMinute.objects.values_list("pk"))
    next(rows)
    with psycopg.connect(address) as other:
        # In a transaction, and so with the session that was used last, if that is free.
        other.execute("SELECT 1")
        rest = list(rows)

    assert len(rest) == ROWS - 1


def test_the_account_has_the_lock_timeout_instead(pgbouncer: int) -> None:
    place = connection.settings_dict
    page = (ROOT / "docs" / "production.md").read_text()
    [statement] = re.findall(r"^ALTER ROLE guildhall .*;$", page, re.MULTILINE)
    statement = statement.replace("ROLE guildhall", f'ROLE "{place["USER"]}"')
    statement = statement.replace("DATABASE guildhall", f'DATABASE "{place["NAME"]}"')
    with connection.cursor() as cursor:
        cursor.execute(statement)
    console(pgbouncer, "RECONNECT")

    eventually(lambda: lock_timeout() == "5s", "a new session has the account's timeout", within=60)


def lock_timeout() -> str | None:
    """None while PgBouncer refuses sessions after RECONNECT, as it sometimes does on a busy machine."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SHOW lock_timeout")
            return str(cursor.fetchone()[0])
    except OperationalError:
        connection.close()
        return None
