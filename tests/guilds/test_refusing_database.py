"""A database that can be read and refuses writes, or is locked by another process: readers keep their lists."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from accounts.bookkeeping import Bookkeeper, bookkeeper
from accounts.models import PersonalAccessToken, User
from config.settings import LOCK_TIMEOUT_SECONDS
from guilds.models import GuildListVerification
from tests.fixtures import Sandbox, end_jobs

NOTE = Bookkeeper.note

WithList = Callable[..., User]
ClientOf = Callable[[User], Client]
Refusal = Callable[[], AbstractContextManager[None]]


@pytest.fixture(autouse=True)
def bookkeeping_beside_the_requests(bookkeeping_at_once: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Bookkeeper, "note", NOTE)


@contextmanager
def read_only() -> Iterator[None]:
    """Make every connection read-only, as after a failover to a standby or a remount of the file system."""
    if connection.vendor == "sqlite":
        options = connection.settings_dict["OPTIONS"]
        usual = options["init_command"]
        options["init_command"] = f"{usual} PRAGMA query_only=ON;"
        connection.close()
        try:
            yield
        finally:
            bookkeeper.settle()
            options["init_command"] = usual
            connection.close()
        return
    database = connection.ops.quote_name(connection.settings_dict["NAME"])
    _alter(f"ALTER DATABASE {database} SET default_transaction_read_only = on")
    try:
        yield
    finally:
        bookkeeper.settle()
        _alter(
            "SET default_transaction_read_only = off", f"ALTER DATABASE {database} RESET default_transaction_read_only"
        )


def _alter(*statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
    connection.close()
    connection.close_pool()  # type: ignore[attr-defined]  # PostgreSQL's


@contextmanager
def locked() -> Iterator[None]:
    """Another process writes: on SQLite to any table, on PostgreSQL to each person's rows."""
    if connection.vendor == "sqlite":
        holder: Any = sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
    else:
        holder = connection.copy()
        holder.set_autocommit(False)
        with holder.cursor() as cursor:
            for model in (GuildListVerification, PersonalAccessToken):
                cursor.execute(f"SELECT 1 FROM {model._meta.db_table} FOR UPDATE")
    try:
        yield
    finally:
        holder.rollback()
        holder.close()
        bookkeeper.settle()


REFUSALS = pytest.mark.parametrize("refusal", [read_only, locked])


@REFUSALS
@pytest.mark.parametrize("age", [{"minutes": 2}, {"minutes": 59}, {"hours": 3}], ids=["fresh", "due", "stale"])
def test_every_page_of_a_list_is_read(
    with_list: WithList,
    client_of: ClientOf,
    token_of: Callable[..., str],
    sandbox: Sandbox,
    refusal: Refusal,
    age: dict[str, float],
) -> None:
    ada = with_list("ada", **age)
    GuildListVerification.objects.update(last_read_at=None)
    browser, token = client_of(ada), token_of(ada)
    membership = ada.guild_memberships.first()
    assert membership
    pages = [
        *("/servers/", f"/servers/{membership.guild_id}/", "/servers/freshness/", "/account/", "/account/tokens/"),
        *("/api/v1/guilds/", f"/api/v1/guilds/{membership.guild_id}/", "/api/v1/me/"),
    ]

    waits = []

    def get(page: str, client: Client = browser, **headers: str) -> Any:
        began = time.monotonic()
        response = client.get(page, headers=headers)
        waits.append(time.monotonic() - began)
        return response

    with refusal():
        told = get("/api/v1/guilds/").json()
        words = get("/servers/").content.decode()
        statuses = {page: get(page).status_code for page in pages}
        statuses["token"] = get("/api/v1/guilds/", Client(), authorization=f"Bearer {token}").status_code

    assert {page: status for page, status in statuses.items() if status not in (200, 204)} == {}
    assert max(waits) < LOCK_TIMEOUT_SECONDS
    assert sandbox.requests() == []
    is_stale = told["freshness"] == "stale"
    assert told["reason"] == ("database" if is_stale else None)
    assert ("This site can&#x27;t save a new list" in words) is is_stale


@REFUSALS
def test_what_must_write_says_when_to_come_back(
    with_list: WithList, client_of: ClientOf, settings: Any, refusal: Refusal, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = client_of(with_list("ada", minutes=2))
    browser.raise_request_exception = False
    if connection.vendor == "sqlite":
        monkeypatch.setitem(connection.settings_dict["OPTIONS"], "timeout", 0.05)
        connection.close()
    else:
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '50ms'")
    membership = GuildListVerification.objects.get().user.guild_memberships.first()
    assert membership

    try:
        with refusal():
            page = browser.post("/servers/favourites/", {"star": membership.guild_id})
            program = browser.post("/api/v1/guilds/refresh/", headers={"accept": "application/json"})
            healthy = browser.get("/healthz").status_code
            ready = browser.get("/readyz").status_code
    finally:
        if connection.vendor == "sqlite":
            connection.close()
        else:
            # The connection returns to a pool, with what was set.
            _alter("RESET lock_timeout")

    # A row that is locked says nothing of the database, but for SQLite, which has one lock.
    is_ready = refusal is locked and connection.vendor == "postgresql"
    assert (healthy, ready) == (200, 200 if is_ready else 503)
    assert (page.status_code, page["Retry-After"]) == (503, "5")
    assert (program.status_code, program["Retry-After"]) == (503, "5")
    assert program.json()["type"] == "/problems/database-unavailable"


def test_what_was_read_is_written_once_the_database_takes_it(with_list: WithList, client_of: ClientOf) -> None:
    browser = client_of(with_list("ada", minutes=2))
    GuildListVerification.objects.update(last_read_at=None)

    with read_only():
        browser.get("/servers/")
    refused = GuildListVerification.objects.get().last_read_at
    browser.get("/servers/")
    end_jobs()

    assert refused is None
    assert GuildListVerification.objects.get().last_read_at is not None
