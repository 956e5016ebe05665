"""Redis as Django's cache, which nobody has to wait for: while it is away, there is simply nothing in it.

An error, or an answer that takes longer than the socket timeout, lets Redis rest: for `REST_SECONDS` nobody of this
process asks it; then one caller tries, and only its success ends the rest.
"""

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import structlog
from django.core.exceptions import ImproperlyConfigured
from django_redis.cache import RedisCache as DjangoRedisCache
from django_redis.serializers.base import BaseSerializer
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

logger = structlog.get_logger(__name__)

# An answer from Redis takes less than a millisecond; one that takes this long is slower than asking the database.
TIMEOUT_SECONDS = 0.25
REST_SECONDS = 5.0


class Breaker:
    """Whether Redis may be asked now."""

    def __init__(self, rest: float = REST_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self.rest = rest
        self.clock = clock
        self._lock = threading.Lock()
        self._resting_until: float | None = None

    def admits(self) -> bool:
        if self._resting_until is None:
            return True
        with self._lock:
            now = self.clock()
            if self._resting_until is None or now < self._resting_until:
                return self._resting_until is None
            # Who gets through is the one who tries; the others rest on.
            self._resting_until = now + self.rest
            return True

    def failed(self) -> bool:
        """Rest from now on; True if this is the first failure of a series."""
        with self._lock:
            first = self._resting_until is None
            self._resting_until = self.clock() + self.rest
            return first

    def worked(self) -> bool:
        """Back to normal; True if this ended a rest."""
        if self._resting_until is None:
            return False
        with self._lock:
            self._resting_until = None
            return True


# One for all threads: Django makes a cache object for each.
breaker = Breaker()


class RedisCache(DjangoRedisCache):
    """django-redis behind the breaker; each method answers what an empty cache would while Redis is away."""

    def _ask(self, otherwise: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        if not breaker.admits():
            return otherwise
        try:
            answer = getattr(super(), name)(*args, **kwargs)
        except (RedisError, OSError) as error:
            if breaker.failed():
                logger.warning("cache_unavailable", error=type(error).__name__)
            return otherwise
        if breaker.worked():
            logger.info("cache_available")
        return answer

    def get(self, key: Any, default: Any = None, version: Any = None, client: Any = None) -> Any:
        return self._ask(default, "get", key, default, version, client)

    def get_many(self, *args: Any, **kwargs: Any) -> Any:
        return self._ask({}, "get_many", *args, **kwargs)

    def set(self, *args: Any, **kwargs: Any) -> Any:
        return self._ask(False, "set", *args, **kwargs)

    def set_many(self, *args: Any, **kwargs: Any) -> Any:
        return self._ask([], "set_many", *args, **kwargs)

    def add(self, *args: Any, **kwargs: Any) -> Any:
        # As if it had been added: "somebody else has it" would be believed until the key ends.
        return self._ask(True, "add", *args, **kwargs)

    def incr(self, *args: Any, **kwargs: Any) -> Any:
        return self._ask(1, "incr", *args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> Any:
        return self._ask(False, "delete", *args, **kwargs)

    def delete_many(self, *args: Any, **kwargs: Any) -> Any:
        return self._ask(0, "delete_many", *args, **kwargs)

    def has_key(self, *args: Any, **kwargs: Any) -> Any:
        return self._ask(False, "has_key", *args, **kwargs)

    def touch(self, *args: Any, **kwargs: Any) -> Any:
        return self._ask(False, "touch", *args, **kwargs)

    def clear(self) -> Any:
        return self._ask(None, "clear")


class Serializer(BaseSerializer):
    """Bytes as they are, the rest as JSON: nothing in Redis is ever executed, as a pickle would be."""

    RAW = b"\0"

    def dumps(self, value: Any) -> bytes:
        return self.RAW + value if isinstance(value, bytes) else json.dumps(value).encode()

    def loads(self, value: bytes) -> Any:
        return value[1:] if value[:1] == self.RAW else json.loads(value)


def cache_settings(url: str) -> dict[str, Any]:
    """Django's `CACHES` entry: Redis at `url`, or the process's own memory without one."""
    if not url:
        # A snapshot of 100 guilds has 30 kB.
        return {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "OPTIONS": {"MAX_ENTRIES": 2000}}
    if not url.startswith(("redis://", "rediss://", "unix://")):
        raise ImproperlyConfigured("REDIS_URL is wrong: it takes redis://, rediss:// or unix://")
    return {
        "BACKEND": "config.cache.RedisCache",
        "LOCATION": url,
        "KEY_PREFIX": "guildhall",
        "OPTIONS": {
            "SERIALIZER": "config.cache.Serializer",
            "SOCKET_TIMEOUT": TIMEOUT_SECONDS,
            "SOCKET_CONNECT_TIMEOUT": TIMEOUT_SECONDS,
            # Trying again is the breaker's business.
            "CONNECTION_POOL_KWARGS": {"retry": Retry(NoBackoff(), 0)},
        },
    }
