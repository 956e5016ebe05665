"""The history of each row, recorded by triggers for all processes.

The bench's own writes are labelled with its action. No column contains tokens.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from django.db import connection, transaction

from accounts.models import DiscordAccount, DiscordAllowance, DiscordGate, DiscordRefusal
from bench.chaos.known import Change, Row
from guilds.models import GuildListVerification, GuildMember, UserGuildMembership

RECORD = (
    *("user_id", "verified_at", "refresh_after", "not_before", "lease_until"),
    *("reason", "failure_streak", "generation", "silent_at"),
)
COLUMNS = {
    GuildListVerification: RECORD,
    GuildMember: (*RECORD, "guild_id", "is_member", "nick"),
    DiscordAllowance: ("kind", "owner", "window_ends_at", "sent", "until"),
    UserGuildMembership: ("user_id", "guild_id", "name"),
    DiscordGate: ("until", "tat", "reason", "streak", "version", "recovered_at"),
    DiscordAccount: ("user_id", "token_version", "disconnected_at"),
    DiscordRefusal: ("id", "at", "status"),
}
TABLES = {model._meta.db_table: model._meta.model_name or "" for model in COLUMNS}
MOMENTS = frozenset(
    {
        *("verified_at", "refresh_after", "not_before", "lease_until", "silent_at"),
        *("until", "tat", "window_ends_at", "recovered_at", "disconnected_at", "at"),
    }
)
SIDES = {"INSERT": ("NEW",), "UPDATE": ("OLD", "NEW"), "DELETE": ("OLD",)}

DIALECTS = {
    "sqlite": {
        "id": "INTEGER PRIMARY KEY AUTOINCREMENT",
        "now": "(julianday('now') - 2440587.5) * 86400.0",
        "transaction": "0",
        "object": "json_object",
    },
    "postgresql": {
        "id": "BIGSERIAL PRIMARY KEY",
        "now": "extract(epoch from clock_timestamp())::double precision",
        "transaction": "txid_current()",
        "object": "json_build_object",
    },
}


def install() -> None:
    """Record every change from now on."""
    dialect = DIALECTS[connection.vendor]
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            # A process may be frozen while it holds the lock.
            cursor.execute("PRAGMA busy_timeout = 30000")
        cursor.execute("CREATE TABLE chaos_actor (name TEXT NOT NULL)")
        cursor.execute("INSERT INTO chaos_actor VALUES ('')")
        cursor.execute(
            f"CREATE TABLE chaos_history (id {dialect['id']}, at DOUBLE PRECISION NOT NULL, "
            "within BIGINT NOT NULL, actor TEXT NOT NULL, relation TEXT NOT NULL, before TEXT, after TEXT)"
        )
        for model, columns in COLUMNS.items():
            for operation, sides in SIDES.items():
                _install(cursor, dialect, model._meta.db_table, columns, operation, sides)


def _install(
    cursor: Any, dialect: dict[str, str], table: str, columns: tuple[str, ...], operation: str, sides: tuple[str, ...]
) -> None:
    def row(side: str) -> str:
        if side not in sides:
            return "NULL"
        members = ", ".join(f"'{column}', {side}.{column}" for column in columns)
        return f"CAST({dialect['object']}({members}) AS TEXT)"

    note = (
        "INSERT INTO chaos_history (at, within, actor, relation, before, after) VALUES "
        f"({dialect['now']}, {dialect['transaction']}, (SELECT name FROM chaos_actor), "
        f"'{table}', {row('OLD')}, {row('NEW')});"
    )
    name = f"chaos_{table}_{operation.lower()}"
    if connection.vendor == "sqlite":
        cursor.execute(f"CREATE TRIGGER {name} AFTER {operation} ON {table} BEGIN {note} END")
        return
    cursor.execute(f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {note} RETURN NULL; END $$")
    cursor.execute(f"CREATE TRIGGER {name} AFTER {operation} ON {table} FOR EACH ROW EXECUTE FUNCTION {name}()")


@contextmanager
def acting_as(name: str) -> Iterator[None]:
    """Label the writes of one transaction as the bench's. Other transactions never see the label."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("UPDATE chaos_actor SET name = %s", [name])
        yield
        cursor.execute("UPDATE chaos_actor SET name = ''")


def read() -> list[Change]:
    """Return all changes so far, in the order of writing."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT id, at, within, actor, relation, before, after FROM chaos_history ORDER BY id")
        changes = [
            Change(number, at, within, actor, TABLES[relation], _row(before), _row(after))
            for number, at, within, actor, relation, before, after in cursor.fetchall()
        ]
    return changes if connection.vendor == "postgresql" else list(_numbered(changes))


def _numbered(changes: Iterable[Change]) -> Iterator[Change]:
    """Add transaction numbers, which SQLite lacks: a writer's memberships directly follow their verification."""
    lists = (GuildListVerification._meta.model_name, UserGuildMembership._meta.model_name)
    previous: Change | None = None
    for change in changes:
        within = change.id
        if change.model == lists[1] and previous and previous.model in lists and previous.user_id == change.user_id:
            within = previous.within
        previous = replace(change, within=within)
        yield previous


def _row(text: str | None) -> Row | None:
    if text is None:
        return None
    return {name: _moment(value) if name in MOMENTS else value for name, value in json.loads(text).items()}


def _moment(value: str | None) -> float | None:
    if value is None:
        return None
    moment = datetime.fromisoformat(value)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
