"""Response times by the number of people, each in 50 servers, on PostgreSQL; the database generates the rows.

A server has 500 members at any size. Operations keyed by a person must not depend on the number of people.
Times are medians. Growth compares the times relative to a yardstick, reading the gate's row just before each one, so
that a varying load on the machine cancels out.
"""

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.clock import database_now
from accounts.discord import Guild
from accounts.models import DiscordGate, User
from accounts.tokens import discord_client
from bench.cluster import session_of
from bench.stage import Stage
from guilds.engine import freshness, refresh
from guilds.engine.refresh import Verified
from guilds.engine.resource import Claim
from guilds.models import MAY_MANAGE, GuildListVerification, UserGuildMembership
from guilds.resources.guild_list import GUILD_LIST

SIZES = (10_000, 100_000)
FULL = (*SIZES, 1_000_000)
SERVERS, MEMBERS = 50, 500
CHANGES = 5
OPERATOR = 10**12  # greater than all other ids
FIRST_GUILD = 80351110224678912
GROWTH, STATEMENTS = 1.2, 4
ADMIN = {
    "admin, memberships": "guilds/userguildmembership/",
    "admin, verifications": "guilds/guildlistverification/",
    "admin, users": "accounts/user/",
    "admin, who manages": "guilds/userguildmembership/?guild_id={guild_id}&manages=yes",
    "admin, find a person": "guilds/guildlistverification/?q=person{user_id}",
    "admin, find their servers": "guilds/userguildmembership/?q=person{user_id}",
    "admin, find a server": "guilds/userguildmembership/?q=server 1{user_id}",
    "admin, running refreshes": "guilds/refreshlease/",
    "admin, numbers": "guilds/servingminute/",
}
# The operations that must not depend on the number of people. The others may: they read rows that don't fit into the
# database's cache, and "running refreshes" reads all verifications.
KEYED_BY_PERSON = ("API, cold snapshot", "API hit", "refresh, no change", f"refresh, {CHANGES} changes")


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sizes", type=int, nargs="+", metavar="PEOPLE", help="instead of 10000 and 100000")
    parser.add_argument("--full", action="store_true", help="also a million people: 50 million rows, about 20 GB")
    parser.add_argument("--samples", type=int, default=100, help="number of people to measure with (%(default)s)")


@dataclass
class Size:
    """The measurements with this number of people."""

    people: int
    seconds: dict[str, list[float]] = field(default_factory=dict)
    yardsticks: dict[str, list[float]] = field(default_factory=dict)
    statements: int = 0
    bytes_per_membership: float = 0

    @contextmanager
    def timed(self, what: str) -> Iterator[None]:
        yardstick = _clocked(lambda: [list(DiscordGate.objects.all()) for _ in range(5)])
        started = time.perf_counter()
        yield
        self.seconds.setdefault(what, []).append(time.perf_counter() - started)
        self.yardsticks.setdefault(what, []).append(yardstick)

    def milliseconds(self, what: str) -> float:
        return statistics.median(self.seconds[what]) * 1000

    def growth_since(self, smaller: "Size", what: str) -> float:
        return self._measured(what) / smaller._measured(what)

    def _measured(self, what: str) -> float:
        pairs = zip(self.seconds[what], self.yardsticks[what], strict=True)
        return statistics.median(seconds / yardstick for seconds, yardstick in pairs)


def _clocked(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def run(_stage: Stage, options: argparse.Namespace) -> int:
    if connection.vendor != "postgresql":
        print("this bench needs PostgreSQL: --database postgres://postgres@127.0.0.1:5432/postgres", file=sys.stderr)
        return 2
    started = time.monotonic()
    sizes = []
    people = 0
    for wanted in sorted(options.sizes or (FULL if options.full else SIZES)):
        populate(people, wanted)
        people = wanted
        sizes.append(measure(wanted, options.samples))

    print_table(sizes)
    growth = {what: round(sizes[-1].growth_since(sizes[0], what), 2) for what in sizes[0].seconds}
    statements = max(size.statements for size in sizes)
    broken = [f"{what} grew {times} ×" for what, times in growth.items() if what in KEYED_BY_PERSON and times > GROWTH]
    broken += [f"a refresh takes {statements} statements"] if statements > STATEMENTS else []
    for what in broken:
        print(f"BROKEN {what}")
    summary = {
        "people": [size.people for size in sizes],
        "growth": growth,
        "statements": statements,
        "bytes_per_membership": sizes[-1].bytes_per_membership,
        "seconds": round(time.monotonic() - started, 1),
    }
    print(json.dumps(summary))
    return 1 if broken else 0


def populate(first: int, people: int) -> None:
    """Insert the people with numbers from `first` to `people` and their lists, in three statements."""
    print(f"{people:,} people …", file=sys.stderr, flush=True)
    numbers = {"first": first + 1, "last": people, "guilds": people * SERVERS // MEMBERS, "base": FIRST_GUILD}
    with connection.cursor() as cursor:
        cursor.execute(
            """INSERT INTO accounts_user (id, password, is_superuser, username, email, is_staff, is_active, date_joined,
                   discord_id, discord_username, global_name, avatar)
               SELECT n, '!', false, 'person' || n, '', false, true, now(), %(base)s + n, 'person' || n, '', ''
               FROM generate_series(%(first)s, %(last)s) n""",
            numbers,
        )
        cursor.execute(
            """INSERT INTO guilds_guildlistverification (user_id, verified_at, refresh_after, reason, failure_streak,
                   generation, list_version, changed_at, last_read_at, joined_count, left_count)
               SELECT n, now(), now() + interval '48 minutes', '', 0, 0, 1, now(), now(), 0, 0
               FROM generate_series(%(first)s, %(last)s) n""",
            numbers,
        )
        # People with adjacent numbers share servers, so that a server's members are stored close together.
        cursor.execute(
            """INSERT INTO guilds_userguildmembership (user_id, guild_id, name, icon, banner, owner, permissions,
                   features, first_seen_at, changed_at)
               SELECT n, %(base)s + (n / 10 + k * 97) %% %(guilds)s, 'Server ' || (n / 10 + k * 97) %% %(guilds)s,
                   md5(k::text), '', (n + k) %% 500 = 0, CASE WHEN (n + k) %% 25 = 0 THEN 32 ELSE 104324673 END,
                   '["COMMUNITY", "NEWS"]', now(), now()
               FROM generate_series(%(first)s, %(last)s) n, generate_series(0, %(servers)s - 1) k
               ON CONFLICT DO NOTHING""",
            {**numbers, "servers": SERVERS},
        )
        cursor.execute("SELECT setval(pg_get_serial_sequence('accounts_user', 'id'), %(last)s)", numbers)
        for table in ("accounts_user", "guilds_guildlistverification", "guilds_userguildmembership"):
            cursor.execute(f"VACUUM ANALYZE {table}")


def measure(people: int, samples: int) -> Size:
    size = Size(people)
    chosen = random.Random(people).sample(range(1, people + 1), samples)
    read_lists(size, chosen)
    for user_id in chosen:
        refresh_list(size, "refresh, no change", user_id, lambda guilds: guilds)
        refresh_list(size, f"refresh, {CHANGES} changes", user_id, changed)
    for user_id in chosen:
        with size.timed("who can manage"):
            managers(guild_of(user_id))
    look_into_the_admin(size, chosen[:10])
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_total_relation_size('guilds_userguildmembership')::float / count(*)"
            " FROM guilds_userguildmembership"
        )
        size.bytes_per_membership = round(cursor.fetchone()[0])
    return size


def read_lists(size: Size, chosen: list[int]) -> None:
    """Read each person's list three times: to warm up, without its snapshot, and with it."""
    client = Client(SERVER_NAME="localhost")
    for user_id in chosen:
        client.cookies[settings.SESSION_COOKIE_NAME] = session_of(
            User.objects.get(pk=user_id), "guilds.backends.DiscordBackend"
        )
        client.get("/api/v1/guilds/")
        cache.clear()
        for what in ("API, cold snapshot", "API hit"):
            with size.timed(what):
                response = client.get("/api/v1/guilds/")
            assert response.status_code == 200, response.content


def refresh_list(size: Size, what: str, user_id: int, change: Callable[[list[Guild]], list[Guild]]) -> None:
    """Claim and store, as a refresh does around its request to Discord, and count the transaction's statements."""
    guilds = change(stored_guilds(user_id))
    # The cost of capturing is the same at every size.
    with CaptureQueriesContext(connection) as captured, size.timed(what):
        refresh.store(claim(user_id), Verified(tuple(guilds)), database_now())
    statements = [query["sql"] for query in captured.captured_queries]
    inside = statements[statements.index("BEGIN") + 1 : statements.index("COMMIT")]
    size.statements = max(size.statements, len(inside))


def claim(user_id: int) -> Claim[GuildListVerification]:
    record, now = GUILD_LIST.read(user_id)
    since = now + timedelta(seconds=1)
    decision = freshness.decide(record, now, GUILD_LIST.windows(), wanted_since=since)
    claimed = refresh.claim(record, now, decision, discord_client())
    assert claimed
    return claimed


def stored_guilds(user_id: int) -> list[Guild]:
    return [
        Guild(row.guild_id, row.name, row.icon, None, row.owner, row.permissions, tuple(row.features))
        for row in UserGuildMembership.objects.filter(user_id=user_id)
    ]


def changed(guilds: list[Guild]) -> list[Guild]:
    """Return the list with two guilds left, two joined and one renamed."""
    last = guilds[-1]
    joined = [Guild(last.id + 10**12 + number, "New", None, None, False, 0, ("COMMUNITY",)) for number in range(2)]
    renamed = Guild(last.id, "Renamed", last.icon, None, last.owner, last.permissions, last.features)
    return [*guilds[2:-1], renamed, *joined]


def guild_of(user_id: int) -> int:
    row = UserGuildMembership.objects.filter(user_id=user_id)[SERVERS // 2]
    return row.guild_id


def managers(guild_id: int) -> list[int]:
    rows = UserGuildMembership.objects.filter(MAY_MANAGE, guild_id=guild_id)
    return list(rows.order_by("user_id").values_list("user_id", flat=True))


def look_into_the_admin(size: Size, chosen: list[int]) -> None:
    operator, _ = User.objects.get_or_create(pk=OPERATOR, username="operator", is_staff=True, is_superuser=True)
    client = Client(SERVER_NAME="localhost")
    client.cookies[settings.SESSION_COOKIE_NAME] = session_of(operator, "guilds.backends.PasswordBackend")
    for user_id in chosen:
        sought = {"user_id": user_id, "guild_id": guild_of(user_id)}
        for what, page in ADMIN.items():
            with size.timed(what):
                response: Any = client.get("/admin/" + page.format(**sought))
            assert response.status_code == 200


def print_table(sizes: list[Size]) -> None:
    print(f"{'people':<22}" + "".join(f"{size.people:>14,}" for size in sizes) + f"{'growth':>10}")
    for what in sizes[0].seconds:
        cells = "".join(f"{size.milliseconds(what):>11.2f} ms" for size in sizes)
        print(f"{what:<22}{cells}{sizes[-1].growth_since(sizes[0], what):>8.2f} ×")
    print(f"{'bytes per membership':<22}" + "".join(f"{size.bytes_per_membership:>14,}" for size in sizes))
    print(f"{'statements':<22}" + "".join(f"{size.statements:>14}" for size in sizes))
