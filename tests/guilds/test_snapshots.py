"""The hot path: a fresh list costs no query of its own, and no change is ever missed for it."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import structlog
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from accounts.models import User
from guilds import personal_data, services
from guilds.engine import sealed_cache
from guilds.models import GuildListVerification, UserGuildMembership
from guilds.resources import server_usage, snapshots
from guilds.resources.memberships import dumps, stored_memberships
from guilds.resources.snapshots import Snapshot, snapshot_of
from guilds.services import GuildList, get_guild_list
from tests.fixtures import Sandbox, let_pass

WithList = Callable[..., User]
ClientOf = Callable[[User], Client]

API = "/api/v1/guilds/"
FRESH: dict[str, float] = {"minutes": 10}
DUMMY = {"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}


@contextmanager
def queries() -> Iterator[list[str]]:
    """The queries of the block."""
    found: list[str] = []
    with CaptureQueriesContext(connection) as captured:
        yield found
    found.extend(query["sql"] for query in captured.captured_queries)


def snapshot(user: User) -> Snapshot:
    return snapshot_of(GuildListVerification.objects.get(pk=user.pk))


def names(client: Client) -> list[str]:
    response = client.get(API)
    assert response.status_code == 200
    return [guild["name"] for guild in response.json()["guilds"]]


def rename(user: User, name: str) -> None:
    """Change the rows and the version together, as a refresh does."""
    UserGuildMembership.objects.filter(user=user).update(name=name)
    row = GuildListVerification.objects.get(pk=user.pk)
    row.version += 1
    row.save()


# no query


@pytest.mark.parametrize("page", [API, "/servers/", "/servers/?q=lisbon&show=manage"])
def test_a_fresh_hit_is_one_query(with_list: WithList, client_of: ClientOf, page: str) -> None:
    client = client_of(with_list("ada", **FRESH))
    client.get(page)

    with queries() as asked:
        response = client.get(page)

    assert response.status_code == 200
    assert [sql.split('"')[1] for sql in asked] == ["accounts_session"]
    assert '"guilds_guildlistverification"' in asked[0]


def test_an_unchanged_list_is_not_even_looked_up(with_list: WithList, client_of: ClientOf) -> None:
    client = client_of(with_list("ada", **FRESH))
    etag = client.get(API)["ETag"]
    cache.clear()

    with queries() as asked:
        response = client.get(API, headers={"If-None-Match": etag})

    assert (response.status_code, response.content, response["ETag"]) == (304, b"", etag)
    assert {"Age", "Cache-Status", "Cache-Control"} <= set(response.headers)
    assert len(asked) == 1


def test_without_a_cache_a_hit_takes_one_query_more(
    with_list: WithList, client_of: ClientOf, settings: Settings
) -> None:
    settings.CACHES = DUMMY
    client = client_of(with_list("ada", **FRESH))
    client.get(API)

    with queries() as asked:
        found = names(client)

    assert len(found) == 12
    assert [sql.split('"')[1] for sql in asked][1:] == ["guilds_userguildmembership"]


# no change is missed


def test_a_change_shows_at_the_next_read(with_list: WithList, client_of: ClientOf) -> None:
    ada = with_list("ada", **FRESH)
    client = client_of(ada)
    before, etag = names(client), client.get(API)["ETag"]

    rename(ada, "Renamed")

    assert set(before) != {"Renamed"}
    assert set(names(client)) == {"Renamed"}
    assert client.get(API, headers={"If-None-Match": etag}).status_code == 200


def test_what_a_refresh_brings_shows_at_once(with_list: WithList, client_of: ClientOf, sandbox: Sandbox) -> None:
    ada = with_list("ada", **FRESH)
    client = client_of(ada)
    kept = names(client)
    sandbox.person("ada", guilds=[])

    let_pass(minutes=2)
    get_guild_list(ada, max_age=services.MIN_MAX_AGE)

    assert kept
    assert names(client) == []


def test_a_new_verification_of_the_same_list_uses_the_same_snapshot(with_list: WithList) -> None:
    ada = with_list("ada", **FRESH)
    before = snapshot(ada)

    get_guild_list(ada, max_age=services.MIN_MAX_AGE)

    assert snapshot(ada) == before


def test_versions_that_begin_anew_are_another_list(with_list: WithList, client_of: ClientOf, sandbox: Sandbox) -> None:
    ada = with_list("ada", **FRESH)
    client = client_of(ada)
    assert len(names(client)) == 12
    first = snapshot(ada)
    GuildListVerification.objects.all().delete()
    UserGuildMembership.objects.all().delete()

    services.get_guild_list(ada)

    assert snapshot(ada).version == first.version
    assert snapshot(ada).key != first.key


def test_a_purge_is_a_new_version(with_list: WithList) -> None:
    ada = with_list("ada")
    before = snapshot(ada)
    let_pass(days=31)

    personal_data.purge_memberships()

    assert snapshot(ada).version == before.version + 1


def test_one_person_never_gets_anothers(with_list: WithList, client_of: ClientOf) -> None:
    ada, linus = with_list("ada", **FRESH), with_list("linus", **FRESH)

    assert len(names(client_of(ada))) == 12
    assert len(names(client_of(linus))) == 1
    assert str(ada.pk) in snapshot(ada).key.split(":")


def test_forgetting_a_person_leaves_nothing_of_them_in_the_cache(with_list: WithList, client_of: ClientOf) -> None:
    ada, linus = with_list("ada", **FRESH), with_list("linus", **FRESH)
    for user in (ada, linus):
        client_of(user).get("/servers/")
    server_usage.ranking()
    places = {user: [snapshots.place(name, user.pk) for name in snapshots.PLACES] for user in (ada, linus)}
    assert len(cache.get_many([*places[ada], server_usage.KEY])) == 3

    personal_data.forget_user(ada)

    assert cache.get_many([*places[ada], server_usage.KEY]) == {}
    assert len(cache.get_many(places[linus])) == 2


# the cache's content is not trusted


def place(user: User) -> str:
    return snapshots.place(snapshots.GUILDS, user.pk)


def poison(user: User, value: Any) -> None:
    cache.set(place(user), value)


@pytest.mark.parametrize(
    "value",
    [b"", b"[]", b"x" * 200, "text", 7, [{"id": "1"}], {"guilds": []}],
    ids=["empty", "unsealed", "garbage", "text", "number", "list", "object"],
)
def test_what_we_did_not_write_is_ignored_and_replaced(with_list: WithList, client_of: ClientOf, value: object) -> None:
    ada = with_list("ada", **FRESH)
    client = client_of(ada)
    poison(ada, value)

    assert len(names(client)) == 12
    with queries() as asked:
        assert len(names(client)) == 12
    assert len(asked) == 1


def test_a_snapshot_under_another_persons_key_is_ignored(with_list: WithList, client_of: ClientOf) -> None:
    ada, linus = with_list("ada", **FRESH), with_list("linus", **FRESH)
    snapshot(ada).read()
    poison(linus, cache.get(place(ada)))

    assert len(names(client_of(linus))) == 1


def test_a_snapshot_with_one_byte_changed_is_ignored(with_list: WithList, client_of: ClientOf) -> None:
    ada = with_list("ada", **FRESH)
    true = snapshot(ada).read()
    poison(ada, cache.get(place(ada)).replace(b'"owner":false', b'"owner":true'))

    assert true in client_of(ada).get(API).content


def test_a_site_with_another_key_reads_its_own_rows(
    with_list: WithList, client_of: ClientOf, settings: Settings
) -> None:
    ada = with_list("ada", **FRESH)
    sealed = sealed_cache.seal("key", b"[]")

    settings.SECRET_KEY = "another"

    assert sealed_cache.opened("key", sealed + b"[]") is None
    assert len(get_guild_list(ada)) == 12


class Broken:
    """A cache that raises on every call."""

    def __init__(self, *_arguments: Any) -> None:
        pass

    def get(self, *_: Any) -> Any:
        raise ValueError("unreadable")

    def set(self, *_: Any) -> None:
        raise ValueError("full")

    def close(self, **_: Any) -> None:
        pass


def test_a_cache_that_raises_costs_a_query_and_a_line(with_list: WithList, settings: Settings) -> None:
    ada = with_list("ada", **FRESH)
    settings.CACHES = {"default": {"BACKEND": f"{__name__}.Broken"}}

    with structlog.testing.capture_logs() as log:
        assert len(get_guild_list(ada)) == 12

    assert [line["event"] for line in log] == ["cache_unreadable", "cache_not_written"]


# one account of the list


def test_the_guilds_come_back_as_they_were_stored(with_list: WithList) -> None:
    grace = with_list("grace", **FRESH)

    assert get_guild_list(grace).memberships == stored_memberships(grace.pk)


def test_the_answer_holds_the_snapshots_bytes(with_list: WithList, client_of: ClientOf) -> None:
    grace = with_list("grace", **FRESH)

    response = client_of(grace).get(API)

    assert dumps(stored_memberships(grace.pk)) in response.content
    assert response["Content-Type"] == "application/json"


# one reader waits, the others don't


@dataclass(frozen=True)
class HangingSnapshot(Snapshot):
    """A list whose cache or database doesn't answer until `answers` is set."""

    asked: threading.Event
    answers: threading.Event

    def read(self) -> bytes:
        self.asked.set()
        assert self.answers.wait(10)
        return b"[]"


def list_with(snapshot: Snapshot) -> GuildList:
    moment = datetime(2026, 3, 14, 15, 9, tzinfo=UTC)
    return GuildList(
        snapshot=snapshot,
        verified_at=moment,
        age=timedelta(0),
        freshness="fresh",
        reason=None,
        next_attempt_at=None,
    )


def test_a_reader_who_waits_for_a_list_holds_up_no_other_reader_of_the_process() -> None:
    hanging = HangingSnapshot(1, 1, None, threading.Event(), threading.Event())
    others = [Snapshot(user_id, 1, None) for user_id in range(2, 17)]
    for other in others:
        sealed_cache.write(snapshots.place(snapshots.GUILDS, other.user_id), other.key, b"[]")

    with ThreadPoolExecutor(16) as pool:
        # `get` goes through every cached property of the list.
        pool.submit(list_with(hanging).get, 1)
        assert hanging.asked.wait(60)
        reads = [pool.submit(list_with(other).get, 1) for other in others]
        held_up = wait(reads, timeout=30).not_done
        hanging.answers.set()

    assert not held_up
