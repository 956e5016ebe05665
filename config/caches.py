"""The setting `CACHES`, apart from `config.cache`, which imports the Redis client that most sites don't need."""

from typing import Any

# Redis usually responds within a millisecond; a response this slow takes longer than querying the database.
TIMEOUT_SECONDS = 0.25


def cache_settings(url: str) -> dict[str, Any]:
    """Return Django's `CACHES` entry: Redis at `url`, or the process's own memory if `url` is empty."""
    if not url:
        # A snapshot of 100 guilds takes 30 kB.
        return {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "OPTIONS": {"MAX_ENTRIES": 2000}}
    # Imported here because a site without Redis starts faster without its client.
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    return {
        "BACKEND": "config.cache.RedisCache",
        "LOCATION": url,
        "KEY_PREFIX": "guildhall",
        "OPTIONS": {
            "SERIALIZER": "config.cache.Serializer",
            "SOCKET_TIMEOUT": TIMEOUT_SECONDS,
            "SOCKET_CONNECT_TIMEOUT": TIMEOUT_SECONDS,
            # Retries are up to the breaker.
            "CONNECTION_POOL_KWARGS": {"retry": Retry(NoBackoff(), 0)},
        },
    }
