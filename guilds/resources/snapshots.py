"""The guilds in one version of a person's list as JSON, cached so that they are serialised only once.

The rows are authoritative. Each read takes `version` from the database, and a snapshot is sealed for its version, so
any change is visible at the next read.
"""

from dataclasses import dataclass
from datetime import datetime

from guilds.engine import sealed_cache
from guilds.models import GuildListVerification
from guilds.resources import memberships

# Part of the key. Increment it whenever `Membership.as_json` changes.
FORMAT = 1
# The cache places of a person's list and its extras. `delete` deletes all of them.
GUILDS, EXTRAS = PLACES = ("guild-list", "guild-list-extras")


def place(name: str, user_id: int) -> str:
    return f"{name}:{user_id}"


def delete(user_id: int) -> None:
    """Delete everything the cache stores about the person."""
    sealed_cache.delete(*(place(name, user_id) for name in PLACES))


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One version of one person's list.

    `since` makes the key unique: after the row is deleted, or a database is restored, version numbers repeat.
    """

    user_id: int
    version: int
    since: datetime | None

    @property
    def key(self) -> str:
        moment = f"{self.since.timestamp():.6f}" if self.since else "never"
        return f"guild-list:{FORMAT}:{self.user_id}:{self.version}:{moment}"

    def read(self) -> bytes:
        """The guilds as a JSON array, from the cache or from the rows."""
        guilds = sealed_cache.read(place(GUILDS, self.user_id), self.key)
        if guilds is None:
            guilds = memberships.dumps(memberships.stored_memberships(self.user_id))
            sealed_cache.write(place(GUILDS, self.user_id), self.key, guilds)
        return guilds


def snapshot_of(record: GuildListVerification) -> Snapshot:
    return Snapshot(record.pk, record.version, record.changed_at or record.verified_at)
