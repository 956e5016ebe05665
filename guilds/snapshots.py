"""The guilds of one version of one person's list as JSON, kept in Django's cache so that they are serialised once.

The rows stay the truth. Each read takes `list_version` from the database, and the version is part of the key, so a
change shows at the next read, whoever made it, and nothing is ever deleted here. The cache may be away, empty or full
of somebody else's lists: what isn't sealed by us for exactly this version of this list counts as absent, and the rows
are read.
"""

import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

import structlog
from django.conf import settings
from django.core.cache import cache

from guilds import memberships
from guilds.models import GuildListVerification

logger = structlog.get_logger(__name__)

# Part of the key: another shape of `Membership.as_json` takes another number.
FORMAT = 1
# Long enough for a session of work; a list that nobody reads leaves the cache.
KEPT_SECONDS = 3600
SEAL = "sha256"
SEAL_LENGTH = 32


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One version of one person's list.

    `since` tells apart what the numbers can't: a row that was deleted counts its versions anew, and so does a database
    that was restored.
    """

    user_id: int
    list_version: int
    since: datetime | None

    @property
    def key(self) -> str:
        moment = f"{self.since.timestamp():.6f}" if self.since else "never"
        return f"guild-list:{FORMAT}:{self.user_id}:{self.list_version}:{moment}"

    def read(self) -> bytes:
        """The guilds as a JSON array, from the cache or from the rows."""
        key = self.key
        guilds = _opened(key, _kept(key))
        if guilds is None:
            guilds = memberships.dumps(memberships.stored_memberships(self.user_id))
            _keep(key, _seal(key, guilds) + guilds)
        return guilds


def snapshot_of(record: GuildListVerification) -> Snapshot:
    return Snapshot(record.pk, record.list_version, record.changed_at or record.verified_at)


def _kept(key: str) -> object:
    try:
        return cache.get(key)
    except Exception as error:
        # Whatever a cache can raise, down to a value that can't be unpickled: the rows are there.
        logger.warning("snapshot_unreadable", error=type(error).__name__)
        return None


def _keep(key: str, value: bytes) -> None:
    try:
        cache.set(key, value, KEPT_SECONDS)
    except Exception as error:
        logger.warning("snapshot_not_kept", error=type(error).__name__)


def _opened(key: str, value: object) -> bytes | None:
    """What `value` holds, if it was sealed for `key`: who can write to the cache must not hand out permissions."""
    if not isinstance(value, bytes) or len(value) < SEAL_LENGTH:
        return None
    seal, guilds = value[:SEAL_LENGTH], value[SEAL_LENGTH:]
    return guilds if hmac.compare_digest(seal, _seal(key, guilds)) else None


def _seal(key: str, guilds: bytes) -> bytes:
    return hmac.digest(_secret(settings.SECRET_KEY), key.encode() + b"\0" + guilds, SEAL)


@lru_cache(maxsize=4)
def _secret(secret_key: str) -> bytes:
    return hashlib.sha256(b"guilds.snapshots\0" + secret_key.encode()).digest()
