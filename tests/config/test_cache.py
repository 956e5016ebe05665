"""Redis as the cache: the same site with it, without it, and while it hangs (the Redis half of G15)."""

import signal
import socket
from collections.abc import Callable
from typing import Any

import pytest
import structlog
from django.core.cache import cache
from django.test import Client
from pytest_django import DjangoAssertNumQueries, Settings

from accounts.models import User
from bench.sites import free_port
from config import cache as ours
from config.cache import Breaker, Serializer
from config.caches import cache_settings
from guilds.services import MIN_MAX_AGE, get_guild_list
from tests.config.conftest import RedisServer, needs_redis
from tests.fixtures import let_pass

API = "/api/v1/guilds/"


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


# the breaker


def test_a_breaker_rests_after_a_failure_and_then_lets_one_try() -> None:
    clock = Clock()
    breaker = Breaker(pause=5, clock=clock)
    assert breaker.admits()

    assert breaker.failed() is True
    clock.now += 4.9
    assert not breaker.admits()
    clock.now += 0.1
    assert [breaker.admits() for _ in range(3)] == [True, False, False]


def test_a_try_that_fails_rests_again_and_one_that_works_ends_it() -> None:
    clock = Clock()
    breaker = Breaker(pause=5, clock=clock)
    breaker.failed()
    clock.now += 5
    assert breaker.admits()

    assert breaker.failed() is False
    assert not breaker.admits()
    clock.now += 5
    assert breaker.admits()
    assert breaker.worked() is True
    assert [breaker.admits() for _ in range(3)] == [True, True, True]
    assert breaker.worked() is False


# stored values


@pytest.mark.parametrize("value", [b"", b"\0\xff raw", b"17", "text", 1.5, None, [1, "a"], {"a": [1]}])
def test_values_come_back_as_they_went(value: object) -> None:
    serializer = Serializer({})

    assert serializer.loads(serializer.dumps(value)) == value


def test_a_pickle_in_redis_is_not_opened() -> None:
    with pytest.raises(UnicodeDecodeError):
        Serializer({}).loads(b"\x80\x04\x95\x0f\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94.")


def test_without_a_url_the_process_is_the_cache() -> None:
    assert cache_settings("")["BACKEND"].endswith("LocMemCache")


def test_redis_is_given_less_time_than_the_database_would_take_to_be_noticed() -> None:
    options = cache_settings("redis://localhost")["OPTIONS"]

    assert options["SOCKET_TIMEOUT"] == options["SOCKET_CONNECT_TIMEOUT"] <= 0.5


# with a real Redis


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of a new breaker, which replaces the process's breaker during the test."""
    clock = Clock()
    monkeypatch.setattr(ours, "breaker", Breaker(clock=clock))
    return clock


@pytest.fixture
def visitor(with_list: Callable[..., User], client_of: Callable[[User], Client]) -> Client:
    return client_of(with_list("ada", minutes=10))


def use(settings: Settings, url: str) -> None:
    settings.CACHES = {"default": cache_settings(url)}


def events(log: list[Any]) -> list[str]:
    return [line["event"] for line in log if line["event"].startswith("cache_")]


class TestRedis:
    pytestmark = needs_redis

    def test_a_hit_is_the_same_with_redis(
        self,
        redis: RedisServer,
        visitor: Client,
        settings: Settings,
        clock: Clock,
        django_assert_num_queries: DjangoAssertNumQueries,
    ) -> None:
        in_process = visitor.get(API).json()
        use(settings, redis.url)
        first = visitor.get(API).json()

        with django_assert_num_queries(1):
            second = visitor.get(API).json()

        assert in_process == first == second
        assert len(redis.keys()) == 1

    def test_g15_redis_stopped(self, redis: RedisServer, visitor: Client, settings: Settings, clock: Clock) -> None:
        use(settings, redis.url)
        before = visitor.get(API).json()
        redis.process.kill()
        redis.process.wait(10)

        with structlog.testing.capture_logs() as log:
            responses = [visitor.get(API) for _ in range(5)]

        assert [response.status_code for response in responses] == [200] * 5
        assert all(response.json() == before for response in responses)
        assert events(log) == ["cache_unavailable"]

    def test_g15_redis_hanging_costs_one_reader_its_timeout(
        self, redis: RedisServer, visitor: Client, settings: Settings, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        use(settings, redis.url)
        before = visitor.get(API).json()
        failures = count_failures(monkeypatch)
        redis.signal(signal.SIGSTOP)

        responses = [visitor.get(API) for _ in range(10)]

        assert [(response.status_code, response.json()) for response in responses] == [(200, before)] * 10
        assert failures() == 1
        clock.now += ours.PAUSE_SECONDS
        assert [visitor.get(API).status_code for _ in range(5)] == [200] * 5
        assert failures() == 2

    def test_g15_redis_comes_back(self, redis: RedisServer, visitor: Client, settings: Settings, clock: Clock) -> None:
        use(settings, redis.url)
        redis.signal(signal.SIGSTOP)
        with structlog.testing.capture_logs() as log:
            visitor.get(API)
            redis.signal(signal.SIGCONT)
            visitor.get(API)
            clock.now += ours.PAUSE_SECONDS
            assert visitor.get(API).status_code == 200

        assert events(log) == ["cache_unavailable", "cache_available"]
        assert len(redis.keys()) == 1

    def test_g15_a_change_while_redis_is_away_shows_when_it_is_back(
        self, redis: RedisServer, with_list: Any, client_of: Any, sandbox: Any, settings: Settings, clock: Clock
    ) -> None:
        ada = with_list("ada", minutes=10)
        client = client_of(ada)
        use(settings, redis.url)
        assert len(client.get(API).json()["guilds"]) == 12
        redis.signal(signal.SIGSTOP)
        sandbox.person("ada", guilds=[])
        let_pass(minutes=5)

        assert len(get_guild_list(ada, max_age=MIN_MAX_AGE)) == 0
        redis.signal(signal.SIGCONT)
        clock.now += ours.PAUSE_SECONDS

        assert client.get(API).json()["guilds"] == []

    def test_nobody_waits_for_the_one_who_tries(self, redis: RedisServer, settings: Settings, clock: Clock) -> None:
        use(settings, redis.url)
        redis.signal(signal.SIGSTOP)
        cache.get("key")
        clock.now += ours.PAUSE_SECONDS

        assert ours.breaker.admits()
        assert [cache.get("key", "absent") for _ in range(5)] == ["absent"] * 5

    def test_an_absent_cache_answers_as_an_empty_one(self, settings: Settings, clock: Clock) -> None:
        use(settings, f"redis://127.0.0.1:{free_port()}/0")

        assert cache.get("key", "absent") == "absent"
        assert cache.get_many(["key"]) == {}
        assert cache.has_key("key") is False
        assert cache.add("key", 1) is True
        assert cache.set("key", 1) is False
        assert cache.delete("key") is False
        assert cache.get_or_set("key", lambda: 7) == 7
        cache.clear()

    def test_what_others_keep_there_comes_back(self, redis: RedisServer, settings: Settings, clock: Clock) -> None:
        use(settings, redis.url)

        cache.set("throttle", [1.5, 2.5])
        cache.set("count", 1)

        assert cache.get("throttle") == [1.5, 2.5]
        assert cache.incr("count") == 2
        assert cache.get_many(["throttle", "count"]) == {"throttle": [1.5, 2.5], "count": 2}


def test_g15_a_port_that_swallows_everything(
    visitor: Client, settings: Settings, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = count_failures(monkeypatch)
    with socket.create_server(("127.0.0.1", 0)) as hole:
        use(settings, f"redis://127.0.0.1:{hole.getsockname()[1]}/0")

        responses = [visitor.get(API) for _ in range(10)]

    assert [response.status_code for response in responses] == [200] * 10
    assert failures() == 1


def count_failures(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Count the failures reported to the breaker, which is how often a caller waited for the timeout."""
    failed, found = Breaker.failed, []

    def counted(self: Breaker) -> bool:
        found.append(1)
        return failed(self)

    monkeypatch.setattr(Breaker, "failed", counted)
    return lambda: len(found)
