"""What pages, the API and operators read from Discord. `guilds.engine.policy` decides when Discord is asked.

`get_guild_list`      the list if it is recent enough to serve; otherwise raises why not. With `ask=False` the stored
                      list of any age
`refresh_guild_list`  the same, but requested from Discord now
`get_member`          a person in one guild with their roles, by the same rule; `refresh_member` requests them now
`get_directory`       a guild's roles and channels, by the same rule; `refresh_directory` requests them now
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, overload

import structlog
from django.conf import settings
from django.db import Error
from django.db.models import F, Q
from django.utils.functional import cached_property

from accounts import gate
from accounts.clock import database_now
from accounts.database import is_unavailable
from accounts.discord import Channel, Role
from accounts.discord.channel_permissions import permissions_in_channel, permissions_in_guild
from accounts.limits import Priority
from accounts.models import User
from guilds.engine import freshness, policy
from guilds.engine.freshness import Reason, Tier
from guilds.engine.policy import Reading, Served
from guilds.engine.records import Record
from guilds.engine.refusal import NoAnswer
from guilds.models import BotGuild, GuildDirectory, GuildListVerification, GuildMember, UserGuildMembership
from guilds.resources import PERSONAL
from guilds.resources.bot_guilds import is_absent
from guilds.resources.bot_presence import bot_is_in
from guilds.resources.directory import DIRECTORY, channels_of, rank, roles_of
from guilds.resources.guild_list import GUILD_LIST, Tags, tags_of
from guilds.resources.member import MEMBER
from guilds.resources.memberships import Membership, loads, membership_of, stored_memberships_query
from guilds.resources.snapshots import Snapshot, snapshot_of

__all__ = [
    "Directory",
    "GuildList",
    "GuildMembership",
    "Membership",
    "NoAnswer",
    "Reason",
    "RefreshTooSoon",
    "bot_membership",
    "get_directory",
    "get_guild_list",
    "get_member",
    "known_memberships",
    "refresh_directory",
    "refresh_guild_list",
    "refresh_member",
    "relink",
    "role_names",
    "stored_guild_name",
    "stored_member",
    "verify_again",
    "warm_up",
]

logger = structlog.get_logger(__name__)

# A lower maximum age would ask Discord at every page view; Discord allows about one request a second.
MIN_MAX_AGE = timedelta(seconds=5)


@dataclass(frozen=True, kw_only=True)
class GuildList(Served):
    """The guilds that one person is in, ascending by id.

    A list that was read with `ask=False` may also be "expired"; its `reason` and `next_attempt_at` are None.

    `joined_count` and `left_count` count the guilds joined and left at `changed_at`, the last time the list changed.
    """

    snapshot: Snapshot
    joined_count: int = 0
    left_count: int = 0
    tags: Tags = field(default_factory=Tags)
    # Whether the bot's guilds were due when this list was read.
    is_bot_due: bool = False

    @property
    def version(self) -> int:
        return self.snapshot.version

    @cached_property
    def guilds_json(self) -> bytes:
        """The guilds as the API shows them, a JSON array."""
        return self.snapshot.read()

    @cached_property
    def memberships(self) -> tuple[Membership, ...]:
        return loads(self.guilds_json)

    def __iter__(self) -> Iterator[Membership]:
        return iter(self.memberships)

    def __len__(self) -> int:
        return len(self.memberships)

    @cached_property
    def _by_id(self) -> dict[str, Membership]:
        return {str(membership.guild_id): membership for membership in self.memberships}

    def get(self, guild_id: int | str) -> Membership | None:
        """Return the person's membership in one guild; None if they aren't in it. All access checks go through it.

        Ids are numbers here but strings at Discord, in forms and in JSON. Any other string matches no guild.
        """
        return self._by_id.get(str(guild_id))

    @property
    def manageable(self) -> tuple[Membership, ...]:
        return tuple(membership for membership in self.memberships if membership.can_manage)

    @property
    def stored(self) -> "GuildList | None":
        """This list; on an unread `request.guild_list` the stored one, of any age, without asking Discord."""
        return self


@overload
def get_guild_list(user: User, *, ask: Literal[False]) -> GuildList | None: ...
@overload
def get_guild_list(user: User, max_age: timedelta | None = None, *, lazy: bool = False) -> GuildList: ...
def get_guild_list(
    user: User, max_age: timedelta | None = None, *, lazy: bool = False, ask: bool = True
) -> GuildList | None:
    """Return the person's guilds from the stored list, or from Discord if that list is too old.

    `max_age` requires a list verified within that time (at least 5 s); it fails closed. Raises `NoAnswer` if no list
    may be served: `reason` says why, and `retry_after` is the remaining time in seconds. With `lazy`, the guilds are
    not read before the caller first uses them.

    With `ask=False`, Discord is not asked: the result is the stored list of any age, read with one query, for display
    and not for authorization. It is None without a stored list, and if Discord refused the person's tokens.
    """
    if not ask:
        return _stored(user.pk)
    guild_list = _read(user.pk, _possible(max_age), timeout=gate.attempt_budget().total_seconds())
    if not lazy:
        _ = guild_list.guilds_json
    return guild_list


def _possible(max_age: timedelta | None) -> timedelta | None:
    return None if max_age is None else max(max_age, MIN_MAX_AGE)


def _read(
    user_id: int, max_age: timedelta | None, *, timeout: float, clock: Callable[[], float] = time.monotonic
) -> GuildList:
    return guild_list_of(policy.read(GUILD_LIST, user_id, max_age=max_age, timeout=timeout, clock=clock))


def guild_list_of(reading: Reading[GuildListVerification]) -> GuildList:
    """Make a list of the reading, without reading its guilds. Raises `NoAnswer` if it may not be served."""
    record, bot_due_at = reading.record, reading.record.bot_due_at
    is_bot_due = bot_due_at is None or bot_due_at <= reading.now
    return GuildList.of(reading, is_bot_due=is_bot_due, **_of_list(record))


def _of_list(record: GuildListVerification) -> dict[str, Any]:
    return {
        "snapshot": snapshot_of(record),
        "joined_count": record.joined_count,
        "left_count": record.left_count,
        "tags": tags_of(record),
    }


def _stored(user_id: int) -> GuildList | None:
    """Read the record and the guilds with one query, which needs no cache."""
    rows = stored_memberships_query(user_id, GUILD_LIST.columns())
    if not rows:
        return None
    count = len(GUILD_LIST.columns())
    guild_list = stored_list_of(*GUILD_LIST.record_of(rows[0][:count]))
    if guild_list is not None:
        # The value of the cached property, which would otherwise read them again.
        vars(guild_list)["memberships"] = tuple(membership_of(row[count:]) for row in rows if row[count] is not None)
    return guild_list


def stored_list_of(record: GuildListVerification, now: datetime) -> GuildList | None:
    """Return the record's list, whatever its age; None if nothing is stored, or Discord refused the person's tokens."""
    return GuildList.of_record(record, now, **_of_list(record))


@dataclass(frozen=True, kw_only=True)
class GuildMembership(Served):
    """One person in one guild. A person who is not in it has `is_member` False and no roles.

    `roles` are ids, without @everyone. `timed_out_until` may be past. `pending` says whether the person has yet to
    accept the guild's rules.
    """

    guild_id: int
    is_member: bool = False
    roles: frozenset[int] = frozenset()
    nick: str = ""
    joined_at: datetime | None = None
    timed_out_until: datetime | None = None
    pending: bool = False

    def has_any(self, roles: Iterable[int]) -> bool:
        """Whether the person has at least one of these roles. All members have @everyone, whose id is the guild's."""
        return self.is_member and not self.roles.union({self.guild_id}).isdisjoint(roles)


def get_member(user: User, guild_id: int, max_age: timedelta | None = None) -> GuildMembership:
    """Return the person's membership in the guild with their roles, as stored or from Discord if that is too old.

    `max_age` and `NoAnswer` are as in `get_guild_list`. Without the bot in the guild, each answer costs one of the few
    requests that Discord allows for a person. None is spent on a guild that is missing from a list that is fresh, or
    as young as `max_age` demands: then the answer is that list's.
    """
    wanted = _possible(max_age)
    reading = policy.look_up(MEMBER, user.pk, guild_id, max_age=wanted)
    if reading is None:
        if absent := _absent_from_list(user.pk, guild_id, wanted):
            return absent
        reading = policy.read(MEMBER, user.pk, guild_id, max_age=wanted, timeout=gate.attempt_budget().total_seconds())
    return guild_membership_of(reading)


def _absent_from_list(user_id: int, guild_id: int, max_age: timedelta | None) -> GuildMembership | None:
    """Answer that the person is not in the guild, if only their own token could tell and a recent list already does."""
    found = None if bot_is_in(guild_id) else GUILD_LIST.find(user_id)
    if found is None:
        return None
    record, now = found
    wanted_since = None if max_age is None else now - max_age
    decision = freshness.decide(record, now, GUILD_LIST.windows(), wanted_since=wanted_since)
    if not decision.serve or decision.tier not in (Tier.FRESH, Tier.DUE):
        return None
    if UserGuildMembership.objects.filter(user_id=user_id, guild_id=guild_id).exists():
        return None
    return GuildMembership.of(Reading(record, decision, now, decision.tier), guild_id=guild_id)


def refresh_member(user: User, guild_id: int) -> GuildMembership:
    """Request the person's roles in the guild now. Waits and raises as `refresh_guild_list` does."""
    if found := MEMBER.find(user.pk, guild_id):
        _require_cool_down(*found)
    timeout = settings.DISCORD_REFRESH_WAIT_MS / 1000
    return guild_membership_of(policy.read(MEMBER, user.pk, guild_id, max_age=MIN_MAX_AGE, timeout=timeout))


def guild_membership_of(reading: Reading[GuildMember]) -> GuildMembership:
    """Make a membership of the reading. Raises `NoAnswer` if it may not be served."""
    return GuildMembership.of(reading, **_of_member(reading.record))


def stored_member(user: User, guild_id: int) -> GuildMembership | None:
    """Return the stored answer about the person in the guild, of any age, for display and not for authorization.

    It is None without one, and if Discord refused to give it again. Never asks Discord; reads with one query.
    """
    found = MEMBER.find(user.pk, guild_id)
    return GuildMembership.of_record(*found, **_of_member(found[0])) if found else None


def _of_member(record: GuildMember) -> dict[str, Any]:
    return {
        "guild_id": record.guild_id,
        "is_member": record.is_member,
        "roles": frozenset(record.roles),
        "nick": record.nick,
        "joined_at": record.joined_at,
        "timed_out_until": record.timed_out_until,
        "pending": record.pending,
    }


@dataclass(frozen=True, kw_only=True)
class Directory(Served):
    """The roles and channels of one guild, in Discord's order: the highest role first, @everyone last.

    They are names to choose from and may be a week old; nothing may depend on them for access. The channels include
    the categories. `bot_roles` are the ids of the bot's roles, without @everyone.
    """

    guild_id: int
    roles: tuple[Role, ...]
    channels: tuple[Channel, ...]
    bot_id: int
    bot_roles: frozenset[int]
    bot_owns: bool

    @property
    def assignable_roles(self) -> tuple[Role, ...]:
        """The roles that the bot can give to members, if it has the permission "manage_roles".

        They are below its own highest role, and neither @everyone nor managed by an integration.
        """
        own = [rank(role) for role in self.roles if role.id in self.bot_roles or role.id == self.guild_id]
        highest = max(own, default=(0, 0))
        return tuple(
            role
            for role in self.roles
            if not role.managed and role.id != self.guild_id and (self.bot_owns or rank(role) < highest)
        )

    def bot_permissions(self, channel: Channel) -> int:
        """Return the bot's permissions in `channel`; 0 if the bot can't see it."""
        in_guild = permissions_in_guild(self.guild_id, self.bot_roles, self.roles, owns=self.bot_owns)
        return permissions_in_channel(in_guild, self.guild_id, self.bot_id, self.bot_roles, channel)


def get_directory(guild_id: int, max_age: timedelta | None = None) -> Directory:
    """Return the guild's roles and channels, as stored or from Discord if that is too old.

    `max_age` and `NoAnswer` are as in `get_guild_list`. The bot requests them, so the reason is `BOT_ABSENT` if it is
    not in the guild. The caller checks first that the person may see the guild.
    """
    wanted = _possible(max_age)
    reading = policy.look_up(DIRECTORY, guild_id, max_age=wanted)
    if reading is None:
        reading = _read_directory(guild_id, wanted, timeout=gate.attempt_budget().total_seconds())
    return _directory_of(reading)


def refresh_directory(guild_id: int) -> Directory:
    """Request the guild's roles and channels from Discord now. Waits and raises as `refresh_guild_list` does."""
    if found := DIRECTORY.find(guild_id):
        _require_cool_down(*found)
    timeout = settings.DISCORD_REFRESH_WAIT_MS / 1000
    return _directory_of(_read_directory(guild_id, MIN_MAX_AGE, timeout=timeout))


def _read_directory(guild_id: int, max_age: timedelta | None, *, timeout: float) -> Reading[GuildDirectory]:
    if is_absent(guild_id):
        raise NoAnswer(DIRECTORY.name, Reason.BOT_ABSENT)
    return policy.read(DIRECTORY, guild_id, max_age=max_age, timeout=timeout)


def _directory_of(reading: Reading[GuildDirectory]) -> Directory:
    record = reading.record
    return Directory.of(
        reading,
        guild_id=record.guild_id,
        roles=roles_of(record),
        channels=channels_of(record),
        bot_id=record.bot_id,
        bot_roles=frozenset(record.bot_roles),
        bot_owns=bool(record.bot_owns),
    )


def role_names(guild_id: int, role_ids: Iterable[int]) -> list[str]:
    """Return the names of those of the roles that the directory knows, the highest first.

    Where the bot is, the directory is read as forms read it, waiting at most the soft wait. Without a recent answer,
    the names are the stored ones, of any age; so they are while the database refuses to store a new one.
    """
    wanted = frozenset(role_ids)
    if wanted and bot_is_in(guild_id):
        try:
            policy.read(DIRECTORY, guild_id, timeout=settings.DISCORD_REFRESH_WAIT_MS / 1000)
        except Error as error:
            if not is_unavailable(error):
                raise
    found = DIRECTORY.find(guild_id)
    return [role.name for role in roles_of(found[0]) if role.id in wanted] if found else []


def bot_membership(guild_id: int) -> Membership | None:
    """Return a membership without any permission in one of the bot's guilds; None if the bot isn't there.

    For people who share no list, of whom the bot knows no more. Whether they are in the guild says `get_member`.
    """
    guild = BotGuild.objects.filter(pk=guild_id, deleted_at=None).first() if settings.DISCORD_BOT_TOKEN else None
    return _without_permissions(guild) if guild else None


def is_member_known(user_id: int, guild_id: int) -> bool:
    """Whether Discord's answer about the person in the guild is stored: of any age, and also if it was a no."""
    found = MEMBER.find(user_id, guild_id)
    return found is not None and found[0].verified_at is not None


def known_memberships(user_id: int) -> list[Membership]:
    """Return the same for each of the bot's guilds that the person is stored as a member of. Never asks Discord."""
    if not settings.DISCORD_BOT_TOKEN:
        return []
    since = database_now() - MEMBER.windows().stale
    members = GuildMember.objects.filter(user_id=user_id, is_member=True, verified_at__gt=since)
    guilds = BotGuild.objects.filter(pk__in=members.values("guild_id"), deleted_at=None)
    return [_without_permissions(guild) for guild in guilds]


def _without_permissions(guild: BotGuild) -> Membership:
    return Membership(guild.pk, guild.name, guild.icon, "", False, 0, tuple(guild.features or ()))


def stored_guild_name(guild_id: int) -> str | None:
    """Return the name of one of the bot's guilds; None if the bot isn't known to be there."""
    guild = BotGuild.objects.filter(pk=guild_id, deleted_at=None).first()
    return guild.display_name if guild else None


def refresh_guild_list(user: User) -> GuildList:
    """Request the list from Discord now, waiting at most the soft wait. Raises what `get_guild_list` raises.

    Raises `RefreshTooSoon` during the cool-down after the last list; its wait lasts until Discord can be asked.
    """
    _require_cool_down(*GUILD_LIST.read(user.pk))
    return _read(user.pk, MIN_MAX_AGE, timeout=settings.DISCORD_REFRESH_WAIT_MS / 1000)


def _require_cool_down(record: Record, now: datetime) -> None:
    if record.verified_at and now < record.verified_at + manual_refresh_pause():
        wait = (record.verified_at + manual_refresh_pause() - now).total_seconds()
        shut = gate.closed(Priority.STALE)
        raise RefreshTooSoon(max(wait, shut.retry_after if shut else 0.0))


def verify_again(user: User) -> GuildList:
    """`refresh_guild_list` for operators, who have no cool-down."""
    return _read(user.pk, MIN_MAX_AGE, timeout=settings.DISCORD_REFRESH_WAIT_MS / 1000)


class RefreshTooSoon(Exception):
    """A refresh was requested during the cool-down, which ends in `retry_after` seconds."""

    def __init__(self, retry_after: float) -> None:
        super().__init__("it was refreshed a moment ago")
        self.retry_after = retry_after


def manual_refresh_pause() -> timedelta:
    """How long "Refresh now" is blocked after a list was verified."""
    return timedelta(seconds=settings.DISCORD_MANUAL_REFRESH_SECONDS)


def refresh_ready_at(served: Served) -> datetime:
    """When "Refresh now" can be used again: after its cool-down, and once Discord may be asked."""
    ready_at = served.verified_at + manual_refresh_pause()
    if served.is_stale and served.next_attempt_at:
        # Until then Discord must not be asked, or is being asked.
        ready_at = max(ready_at, served.next_attempt_at)
    return ready_at


def relink(user_id: int) -> None:
    """Reset the person's records after a sign-in: fence requests in flight with older tokens, clear stored failures.

    The new tokens start without the site's own back-off. A wait that Discord named stays: it applies to the person, or
    to Discord itself, not to the tokens.
    """
    GUILD_LIST.read(user_id)
    limits = [reason for reason in Reason if reason.is_limit]
    is_named = Q(reason__in=limits) | Q(reason=Reason.UNAVAILABLE, silent_at=None)
    for resource in PERSONAL:
        rows = resource.model._default_manager.filter(user_id=user_id)
        rows.update(generation=F("generation") + 1, lease_until=None)
        rows.exclude(is_named).update(reason="", not_before=None, silent_at=None, failure_streak=0)


def warm_up(user_id: int) -> None:
    """Request the list at sign-in, waiting at most the soft wait. A failure is logged; the next page reports it."""
    try:
        _read(user_id, timedelta(0), timeout=settings.DISCORD_REFRESH_WAIT_MS / 1000)
    except NoAnswer as error:
        logger.info("guild_list_not_warm", user_id=user_id, why=str(error.reason))
