"""Redis as Django's cache behind a circuit breaker: while Redis is down, the cache looks empty.

An error or a response slower than the socket timeout opens the breaker: this process sends no command to Redis for
`PAUSE_SECONDS`. Then one caller tries, and only a success closes the breaker.
"""

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import structlog
from django_redis.cache import RedisCache as DjangoRedisCache
from django_redis.serializers.base import BaseSerializer
from redis.exceptions import RedisError

logger = structlog.get_logger(__name__)

PAUSE_SECONDS = 5.0


class Breaker:
    """A circuit breaker for Redis, shared by the process's threads. `pause` is in seconds."""

    def __init__(self, pause: float = PAUSE_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self.pause = pause
        self.clock = clock
        self._lock = threading.Lock()
        self._open_until: float | None = None

    def admits(self) -> bool:
        """Whether the caller may send a command now."""
        if self._open_until is None:
            return True
        with self._lock:
            now = self.clock()
            if self._open_until is None or now < self._open_until:
                return self._open_until is None
            # This caller tries; the breaker stays open for the others.
            self._open_until = now + self.pause
            return True

    def failed(self) -> bool:
        """Open the breaker. Returns True for the first failure of a series."""
        with self._lock:
            first = self._open_until is None
            self._open_until = self.clock() + self.pause
            return first

    def worked(self) -> bool:
        """Close the breaker. Returns True if it was open."""
        if self._open_until is None:
            return False
        with self._lock:
            self._open_until = None
            return True


# One for all threads, because Django creates a cache object per thread.
breaker = Breaker()


def _count_failure() -> None:
    # Imported here because the settings import this module, and may set the folder that prometheus_client needs.
    from guilds.engine.metrics import CACHE_FAILURES

    CACHE_FAILURES.inc()


class RedisCache(DjangoRedisCache):
    """django-redis behind the breaker. While Redis is down, each method returns what an empty cache would."""

    def _call(self, otherwise: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        if not breaker.admits():
            return otherwise
        try:
            result = getattr(super(), name)(*args, **kwargs)
        except (RedisError, OSError) as error:
            _count_failure()
            if breaker.failed():
                logger.warning("cache_unavailable", error=type(error).__name__)
            return otherwise
        if breaker.worked():
            logger.info("cache_available")
        return result

    def get(self, key: Any, default: Any = None, version: Any = None, client: Any = None) -> Any:
        return self._call(default, "get", key, default, version, client)

    def get_many(self, *args: Any, **kwargs: Any) -> Any:
        return self._call({}, "get_many", *args, **kwargs)

    def set(self, *args: Any, **kwargs: Any) -> Any:
        return self._call(False, "set", *args, **kwargs)

    def set_many(self, *args: Any, **kwargs: Any) -> Any:
        return self._call([], "set_many", *args, **kwargs)

    def add(self, *args: Any, **kwargs: Any) -> Any:
        # True, as if the key had been added: callers take False to mean that another process holds it.
        return self._call(True, "add", *args, **kwargs)

    def incr(self, *args: Any, **kwargs: Any) -> Any:
        return self._call(1, "incr", *args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> Any:
        return self._call(False, "delete", *args, **kwargs)

    def delete_many(self, *args: Any, **kwargs: Any) -> Any:
        return self._call(0, "delete_many", *args, **kwargs)

    def has_key(self, *args: Any, **kwargs: Any) -> Any:
        return self._call(False, "has_key", *args, **kwargs)

    def touch(self, *args: Any, **kwargs: Any) -> Any:
        return self._call(False, "touch", *args, **kwargs)

    def clear(self) -> Any:
        return self._call(None, "clear")


class Serializer(BaseSerializer):
    """Stores bytes unchanged and other values as JSON. Unlike pickles, neither can execute code when loaded."""

    RAW = b"\0"

    def dumps(self, value: Any) -> bytes:
        return self.RAW + value if isinstance(value, bytes) else json.dumps(value).encode()

    def loads(self, value: bytes) -> Any:
        return value[1:] if value[:1] == self.RAW else json.loads(value)
