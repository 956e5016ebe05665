"""The guilds of one version of one person's list as JSON, kept in Django's cache so that they are serialised once.

The rows stay the truth. Each read takes `version` from the database, and the version is part of the key, so a
change shows at the next read, whoever made it, and nothing is ever deleted here.
"""

from dataclasses import dataclass
from datetime import datetime

from guilds.engine import sealed_cache
from guilds.models import GuildListVerification
from guilds.resources import memberships

# Part of the key: another shape of `Membership.as_json` takes another number.
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One version of one person's list.

    `since` tells apart what the numbers can't: a row that was deleted counts its versions anew, and so does a database
    that was restored.
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
        guilds = sealed_cache.read(self.key)
        if guilds is None:
            guilds = memberships.dumps(memberships.stored_memberships(self.user_id))
            sealed_cache.keep(self.key, guilds)
        return guilds


def snapshot_of(record: GuildListVerification) -> Snapshot:
    return Snapshot(record.pk, record.version, record.changed_at or record.verified_at)
