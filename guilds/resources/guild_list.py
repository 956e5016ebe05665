"""One person's guild list: asked for with the person's own token, stored as one row for each guild.

The session's query reads the record along with the person, for the first view that wants the list.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import ClassVar

from django.conf import settings
from django.db import connection
from django.db.models import Subquery
from django.db.models.expressions import Combinable

from accounts import gate, tokens
from accounts.background import FollowUp
from accounts.compiled import CompiledQuery
from accounts.discord import DiscordClient, Guild
from accounts.models import User
from guilds import hooks
from guilds.engine.freshness import Windows
from guilds.engine.resource import Change, Claim, Resource
from guilds.hooks import MembershipChange, PermissionsChange
from guilds.models import BotPresence, GuildListVerification, UserGuildMembership

SCOPE = "guilds"
MEMBERSHIP_FIELDS = ("name", "icon", "banner", "owner", "permissions", "features")


class GuildListResource(Resource[GuildListVerification, tuple[Guild, ...]]):
    """The list of the guilds that a person is in."""

    name = "guild_list"
    key = ("user_id",)
    # What pages show beside the list depends on it, and reading it must not take a query of its own.
    beside: ClassVar[Mapping[str, Combinable]] = {"bot_tag": Subquery(BotPresence.objects.filter(pk=1).values("tag"))}

    def windows(self) -> Windows:
        return Windows(
            fresh=timedelta(minutes=settings.DISCORD_GUILD_CACHE_FRESH_MINUTES),
            stale=timedelta(hours=settings.DISCORD_GUILD_CACHE_STALE_HOURS),
            soft_wait=timedelta(milliseconds=settings.DISCORD_REFRESH_WAIT_MS),
            lease=gate.attempt_lease(),
        )

    def refresh_at(self, record: GuildListVerification) -> float:
        share: float = settings.DISCORD_REFRESH_AT
        return share

    def ask(self, record: GuildListVerification, client: DiscordClient) -> tuple[Guild, ...]:
        return tuple(tokens.call(record.user_id, SCOPE, client, client.get_user_guilds))

    def compare(self, claimed: Claim[GuildListVerification], value: tuple[Guild, ...]) -> Change | None:
        user_id = claimed.record.user_id
        wanted = {guild.id: guild for guild in value}
        before = {row.guild_id: row for row in UserGuildMembership.objects.filter(user_id=user_id)}
        changed = [
            row
            for guild_id, guild in sorted(wanted.items())
            if (row := _membership(claimed, guild, before.get(guild_id))) is not None
        ]
        gone = before.keys() - wanted.keys()
        if not changed and not gone:
            return None
        change = _difference(claimed, before, changed, gone)
        return Change(
            fields={"joined_count": len(change.joined), "left_count": len(change.left)},
            write=partial(_write, user_id, changed, gone),
            follow_up=_follow_up(change),
        )


def _write(user_id: int, changed: list[UserGuildMembership], gone: Iterable[int]) -> None:
    if changed:
        UserGuildMembership.objects.bulk_create(
            changed,
            update_conflicts=True,
            unique_fields=["user", "guild_id"],
            update_fields=[*MEMBERSHIP_FIELDS, "changed_at"],
        )
    if gone:
        UserGuildMembership.objects.filter(user_id=user_id, guild_id__in=gone).delete()


def _follow_up(change: MembershipChange) -> FollowUp | None:
    return partial(hooks.notify, change) if change and settings.GUILDHALL_MEMBERSHIP_HOOKS else None


def _difference(
    claimed: Claim[GuildListVerification],
    before: Mapping[int, UserGuildMembership],
    changed: Iterable[UserGuildMembership],
    gone: Iterable[int],
) -> MembershipChange:
    pairs = [(before.get(row.guild_id), row) for row in changed]
    return MembershipChange(
        claimed.record.user_id,
        claimed.at,
        joined=tuple(row.guild_id for old, row in pairs if old is None),
        left=tuple(sorted(gone)),
        permissions=tuple(
            PermissionsChange(row.guild_id, old.permissions, row.permissions, old.owner, row.owner)
            for old, row in pairs
            if old and (old.permissions, old.owner) != (row.permissions, row.owner)
        ),
        is_first=claimed.record.verified_at is None,
    )


def _membership(
    claimed: Claim[GuildListVerification], guild: Guild, before: UserGuildMembership | None
) -> UserGuildMembership | None:
    """The row for `guild`, or None if the stored one says the same already."""
    values = {
        # Discord's own limits are well below these; a longer one must not cost the whole list.
        "name": guild.name[:100],
        "icon": (guild.icon or "")[:64],
        "banner": (guild.banner or "")[:64],
        "owner": guild.owner,
        "permissions": int(guild.permissions),
        "features": list(guild.features),
    }
    if before and all(getattr(before, name) == value for name, value in values.items()):
        return None
    return UserGuildMembership(
        user_id=claimed.record.user_id, guild_id=guild.id, first_seen_at=claimed.at, changed_at=claimed.at, **values
    )


GUILD_LIST = GuildListResource(GuildListVerification)


# Read with the session's person

# Long enough to get from the session to the view. Code that keeps a person for longer reads the record again.
MAX_PRELOADED_SECONDS = 1.0
# The attribute of a person in which `user_with_record` leaves what it read, for `pop_preloaded`.
PRELOADED = "_preloaded_guild_list"
USER_FIELDS = [field.attname for field in User._meta.concrete_fields]
_user_with_record = CompiledQuery(
    lambda user_id: User.objects.filter(pk=user_id, is_active=True).values_list(
        *USER_FIELDS, *GUILD_LIST.columns("guild_list_verification__")
    )
)


@dataclass(slots=True)
class Preloaded:
    """A record and the database's moment at which it was read; `read_at` is the same on this process's clock."""

    record: GuildListVerification
    now: datetime
    read_at: float


def user_with_record(user_id: int, clock: Callable[[], float] = time.monotonic) -> User | None:
    """The person together with the record of their list, in one query. The record is handed to `pop_preloaded`."""
    rows = _user_with_record.rows(user_id)
    if not rows:
        return None
    count = len(USER_FIELDS)
    user = User.from_db(connection.alias, USER_FIELDS, rows[0][:count])
    record, now = GUILD_LIST.record_of(rows[0][count:])
    if record.pk is not None:
        # Not as `user.guild_list_verification`: what a request does to the row must show there.
        setattr(user, PRELOADED, Preloaded(record, now, clock()))
    return user


def pop_preloaded(user: User, clock: Callable[[], float] = time.monotonic) -> Preloaded | None:
    """What `user_with_record` read with `user`, once and only a moment later; else None."""
    preloaded: Preloaded | None = getattr(user, PRELOADED, None)
    if preloaded is None:
        return None
    # Not through `__dict__`: the session's person is wrapped in a lazy object, which has one of its own.
    setattr(user, PRELOADED, None)
    return preloaded if clock() - preloaded.read_at <= MAX_PRELOADED_SECONDS else None


@dataclass(frozen=True, slots=True)
class Tags:
    """Which state of the person's preferences and of the bot's guilds belongs to a list; cache keys contain them."""

    preferences: int = 0
    bot: int | None = None


def tags_of(record: GuildListVerification) -> Tags:
    return Tags(record.preferences_tag, record.bot_tag)
