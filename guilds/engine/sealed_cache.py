"""Django's cache for what follows from rows: bytes that nobody but us can have put there.

The cache may be away, empty or full of somebody else's values: what isn't sealed by us for exactly this key counts as
absent, and whoever asked reads the rows.
"""

import hashlib
import hmac
from functools import lru_cache

import structlog
from django.conf import settings
from django.core.cache import cache

logger = structlog.get_logger(__name__)

# Long enough for a session of work; what nobody reads leaves the cache.
KEPT_SECONDS = 3600
SEAL = "sha256"
SEAL_LENGTH = 32


def read(key: str) -> bytes | None:
    """What was kept under `key`; None if there is nothing of ours."""
    try:
        value = cache.get(key)
    except Exception as error:
        # Whatever a cache can raise, down to a value that can't be unpickled: the rows are there.
        logger.warning("cache_unreadable", error=type(error).__name__)
        return None
    return opened(key, value)


def keep(key: str, text: bytes) -> None:
    try:
        cache.set(key, seal(key, text) + text, KEPT_SECONDS)
    except Exception as error:
        logger.warning("cache_not_written", error=type(error).__name__)


def opened(key: str, value: object) -> bytes | None:
    """What `value` holds, if it was sealed for `key`: who can write to the cache must not hand out permissions."""
    if not isinstance(value, bytes) or len(value) < SEAL_LENGTH:
        return None
    text = value[SEAL_LENGTH:]
    return text if hmac.compare_digest(value[:SEAL_LENGTH], seal(key, text)) else None


def seal(key: str, text: bytes) -> bytes:
    return hmac.digest(_secret(settings.SECRET_KEY), key.encode() + b"\0" + text, SEAL)


@lru_cache(maxsize=4)
def _secret(secret_key: str) -> bytes:
    return hashlib.sha256(b"guilds.sealed_cache\0" + secret_key.encode()).digest()
