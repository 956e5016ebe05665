"""What the bot's events say, stored at once: `receive` for a batch of them, and a function for each kind.

`at` is when the event arrived, by the database's clock. News that is clearly older than the stored answer changes
nothing, and no event creates a record, because no reader has asked for one. Events only show a change sooner: answers
become due and stale as they do without them, so a receiver that has lost its connection can't make an old answer look
fresh. Where the bot's clock can't decide, the record is due, so that Discord decides.

`member_changed`      GUILD_MEMBER_UPDATE
`member_joined`       GUILD_MEMBER_ADD
`member_left`         GUILD_MEMBER_REMOVE
`directory_changed`   GUILD_ROLE_*, CHANNEL_*
`guild_changed`       GUILD_CREATE, GUILD_UPDATE
`bot_left`            GUILD_DELETE, unless the guild is only unavailable
`after_gap`           READY: a new session, after events may have been missed

The functions take the site's id of the person, which `receive` looks up once for a whole batch.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from accounts.clock import database_now
from accounts.discord import Member, PartialGuild
from accounts.models import User
from guilds.engine import freshness, refresh
from guilds.engine.freshness import MAX_SKEW, Order
from guilds.models import BotGuild, GuildDirectory, GuildMember
from guilds.resources import bot_presence, guild_list
from guilds.resources.bot_guilds import ALL_GUILDS, BOT_GUILDS
from guilds.resources.directory import DIRECTORY
from guilds.resources.guild_list import GUILD_LIST
from guilds.resources.member import MEMBER

# The least that two moments differ by in a database.
MOMENT = timedelta(microseconds=1)
# Events that are older count as this old, which a calendar always has.
MAX_AGE = timedelta(days=365)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An event of Discord's gateway that arrived at the bot at `at`.

    `type` is one of `EVENTS`, and `user_id` is Discord's. The fields that the type doesn't need are None.
    """

    type: str
    at: datetime
    guild_id: int | None = None
    user_id: int | None = None
    member: Member | None = None
    guild: PartialGuild | None = None


def receive(events: Iterable[Event], sent_at: datetime | None = None) -> None:
    """Store what the events say, in the order in which they arrived at the bot. Repeated events overwrite nothing.

    `sent_at` is when the bot sent them, by the same clock as their `at`; None if that clock counts as right. Each event
    is committed by itself, so a batch that fails in the middle can be sent again as a whole.
    """
    now, events = database_now(), sorted(events, key=lambda event: event.at)
    named = {event.user_id for event in events}
    people = dict(User.objects.filter(discord_id__in=named).values_list("discord_id", "pk"))
    placed = by_site_clock([event.at for event in events], now, sent_at)
    for event, (at, is_certain) in zip(events, placed, strict=True):
        person = people.get(event.user_id)
        if event.user_id is None or person:
            EVENTS[event.type].store(replace(event, at=at), person)
        if person and not is_certain and event.guild_id is not None:
            refresh.expire(MEMBER, person, event.guild_id, at=at)


def by_site_clock(
    moments: Sequence[datetime], now: datetime, sent_at: datetime | None = None
) -> list[tuple[datetime, bool]]:
    """Return the site's time for each moment of the bot's clock, in order, and whether that is certain.

    `now` is when the events sent at `sent_at` arrived; their difference is that of the clocks. If it says that the
    bot's is behind, the request may instead have been on its way for long, so that the order of events is uncertain.
    It is too for moments that are in the future even so: they count as now.

    Moments that are equal, here or because they count as now, become distinct in their order. Otherwise only the first
    of the events would be stored, because news as old as an answer isn't later.
    """
    sent_at = sent_at or now
    placed, latest = [], now
    for moment in reversed(moments):
        age = min(sent_at - moment, MAX_AGE)
        latest = min(now - max(age, timedelta(0)), latest)
        placed.append((latest, timedelta(0) <= age and now - sent_at < MAX_SKEW))
        latest -= MOMENT
    return placed[::-1]


def member_changed(user_id: int, guild_id: int, member: Member, at: datetime) -> None:
    """Store the person's new roles, nickname and so on in the guild.

    Permissions follow roles, so the person's list is due unless the stored roles are the same.
    """
    found = MEMBER.find(user_id, guild_id)
    if found is None or tuple(found[0].roles) != member.roles:
        refresh.expire(GUILD_LIST, user_id, at=at)
    _store_member(user_id, guild_id, member, at)


def member_joined(user_id: int, guild_id: int, member: Member, at: datetime) -> None:
    """Store the membership, and make the person's list due: it lacks the guild."""
    _store_member(user_id, guild_id, member, at)
    refresh.expire(GUILD_LIST, user_id, at=at)


def member_left(user_id: int, guild_id: int, at: datetime) -> None:
    """End the membership at once, with all roles and permissions, and make the person's list due.

    The news may be late: a membership that later news confirmed stays.
    """
    refresh.push(MEMBER, user_id, guild_id, value=None, at=at)
    found = MEMBER.find(user_id, guild_id)
    if found and found[0].is_member:
        refresh.expire(GUILD_LIST, user_id, at=at)
    else:
        refresh.amend(GUILD_LIST, user_id, at=at, compare=partial(guild_list.without, guild_id))


def directory_changed(guild_id: int, at: datetime) -> None:
    """Make the guild's roles and channels due."""
    refresh.expire(DIRECTORY, guild_id, at=at)


def guild_changed(guild: PartialGuild, at: datetime) -> None:
    """Store that the bot is in the guild, with its permissions there."""
    _bot_is(guild.id, guild, at)


def bot_left(guild_id: int, at: datetime) -> None:
    """Store that the bot is not in the guild any more."""
    _bot_is(guild_id, None, at)


def after_gap(at: datetime) -> None:
    """Make due what events could have changed: the bot's guilds, with the members and directories in them."""
    present = BotGuild.objects.filter(deleted_at=None).values("pk")
    for model in (GuildMember, GuildDirectory):
        refresh.expire_all(model._default_manager.filter(guild_id__in=present), at=at)
    refresh.expire(BOT_GUILDS, ALL_GUILDS, at=at)


def _store_member(user_id: int, guild_id: int, member: Member, at: datetime) -> None:
    """Store the member. Without a record, store the moment in the list, so that `member_left` recognizes late news."""
    if not refresh.push(MEMBER, user_id, guild_id, value=member, at=at):
        guild_list.confirm(user_id, guild_id, at)


def _bot_is(guild_id: int, guild: PartialGuild | None, at: datetime) -> None:
    """Store whether the bot is in the guild. Its list is due if clocks can't tell that what is stored is later."""
    known_at = bot_presence.learn(guild_id, guild, at, was_there=guild is None)
    if known_at and freshness.order(at, known_at) is Order.UNCLEAR:
        refresh.expire(BOT_GUILDS, ALL_GUILDS, at=at)


@dataclass(frozen=True, slots=True)
class EventType:
    """How events of one type are stored, with the site's id of the person if there is one, and what they need."""

    store: Callable[[Any, Any], None]
    needs: tuple[str, ...] = ()


_MEMBER = ("guild_id", "user_id", "member")
_DIRECTORY = EventType(lambda event, _: directory_changed(event.guild_id, event.at), ("guild_id",))
_GUILD = EventType(lambda event, _: guild_changed(event.guild, event.at), ("guild",))
EVENTS: Mapping[str, EventType] = {
    "GUILD_MEMBER_ADD": EventType(
        lambda event, person: member_joined(person, event.guild_id, event.member, event.at), _MEMBER
    ),
    "GUILD_MEMBER_UPDATE": EventType(
        lambda event, person: member_changed(person, event.guild_id, event.member, event.at), _MEMBER
    ),
    "GUILD_MEMBER_REMOVE": EventType(
        lambda event, person: member_left(person, event.guild_id, event.at), ("guild_id", "user_id")
    ),
    "GUILD_ROLE_CREATE": _DIRECTORY,
    "GUILD_ROLE_UPDATE": _DIRECTORY,
    "GUILD_ROLE_DELETE": _DIRECTORY,
    "CHANNEL_CREATE": _DIRECTORY,
    "CHANNEL_UPDATE": _DIRECTORY,
    "CHANNEL_DELETE": _DIRECTORY,
    "GUILD_CREATE": _GUILD,
    "GUILD_UPDATE": _GUILD,
    "GUILD_DELETE": EventType(lambda event, _: bot_left(event.guild_id, event.at), ("guild_id",)),
    "READY": EventType(lambda event, _: after_gap(event.at)),
}
