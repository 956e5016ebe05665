"""Authenticated values in Django's cache: bytes derived from database rows that only this site can have written.

A value is stored at a *place* and sealed for a key, which identifies its owner and version exactly. A newer version
replaces the older one at its place, so everything that the cache holds about a person can be deleted by place.

The cache may be down, empty or shared with other software: a value without this site's seal for exactly this key counts
as a miss, and the caller reads the rows instead.
"""

import hashlib
import hmac
from functools import lru_cache

import structlog
from django.conf import settings
from django.core.cache import cache

from guilds.engine.metrics import CACHE_FAILED, CACHE_HIT, CACHE_MISS

logger = structlog.get_logger(__name__)

# Seconds: long enough for a session of work. A value that no request reads again expires.
DEFAULT_TTL = 3600
SEAL = "sha256"
SEAL_LENGTH = 32


def read(place: str, key: str) -> bytes | None:
    """Return the value at `place`; None if it is missing or not sealed for `key`."""
    try:
        value = cache.get(place)
    except Exception as error:
        # A cache backend can raise anything, for example on a value that can't be unpickled. Read the rows instead.
        logger.warning("cache_unreadable", error=type(error).__name__)
        CACHE_FAILED.inc()
        return None
    text = opened(key, value)
    (CACHE_MISS if text is None else CACHE_HIT).inc()
    return text


def write(place: str, key: str, text: bytes, seconds: float = DEFAULT_TTL) -> None:
    try:
        cache.set(place, seal(key, text) + text, seconds)
    except Exception as error:
        logger.warning("cache_not_written", error=type(error).__name__)


def delete(*places: str) -> None:
    try:
        cache.delete_many(places)
    except Exception as error:
        logger.warning("cache_not_written", error=type(error).__name__)


def opened(key: str, value: object) -> bytes | None:
    """Return the content of `value` if it is sealed for `key`. So write access to the cache grants no permissions."""
    if not isinstance(value, bytes) or len(value) < SEAL_LENGTH:
        return None
    text = value[SEAL_LENGTH:]
    return text if hmac.compare_digest(value[:SEAL_LENGTH], seal(key, text)) else None


def seal(key: str, text: bytes) -> bytes:
    return hmac.digest(_secret(settings.SECRET_KEY), key.encode() + b"\0" + text, SEAL)


@lru_cache(maxsize=4)
def _secret(secret_key: str) -> bytes:
    return hashlib.sha256(b"guilds.sealed_cache\0" + secret_key.encode()).digest()
