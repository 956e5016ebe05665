"""The roles and channels of one guild, requested by the bot. Names to choose from; they grant no access.

The bot's own roles are part of it: which roles it can assign and which channels it can use follow from them.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from itertools import chain
from typing import Any, ClassVar, NamedTuple

from django.conf import settings
from django.db.models import OuterRef, Subquery
from django.db.models.expressions import Combinable

from accounts import allowance, gate
from accounts.clock import database_now
from accounts.discord import (
    Channel,
    ChannelKind,
    DiscordClient,
    Listing,
    Member,
    MissingAccess,
    Overwrite,
    Role,
    UnknownGuild,
)
from accounts.limits import Priority, Reason
from guilds.engine.freshness import Windows
from guilds.engine.refusal import Refused
from guilds.engine.resource import Change, Claim, Resource
from guilds.models import BotGuild, GuildDirectory
from guilds.resources import bot_presence
from guilds.resources.member import BOT_REFRESH_AT, BOT_ROUTE

FRESH = timedelta(minutes=60)
STALE = timedelta(days=7)
ROUTES = ("GET /guilds/{guild.id}/roles", "GET /guilds/{guild.id}/channels")
MAX_NAME = 100  # Discord's limit; a longer name is cut, so that it does not make the answer fail


class Answer(NamedTuple):
    """Discord's answers about one guild."""

    roles: Listing[Role]
    channels: Listing[Channel]
    bot_id: int
    bot: Member


class DirectoryResource(Resource[GuildDirectory, Answer]):
    """The resource for the roles and channels of one guild."""

    name = "directory"
    key = ("guild_id",)
    beside: ClassVar[Mapping[str, Combinable]] = {
        "bot_owns": Subquery(BotGuild.objects.filter(pk=OuterRef("guild_id")).values("owner"))
    }

    def __init__(self, model: type[GuildDirectory], sleep: Callable[[float], None] = time.sleep) -> None:
        super().__init__(model)
        self.sleep = sleep

    def is_enabled(self) -> bool:
        return bool(settings.DISCORD_BOT_TOKEN)

    def windows(self) -> Windows:
        return Windows(
            fresh=FRESH,
            stale=STALE,
            soft_wait=timedelta(milliseconds=settings.DISCORD_REFRESH_WAIT_MS),
            lease=gate.attempt_lease(),
        )

    def refresh_at(self, record: GuildDirectory) -> float:
        return BOT_REFRESH_AT

    def held_until(self, record: GuildDirectory, now: datetime, priority: Priority) -> datetime | None:
        kinds = (allowance.BOT_DIRECTORY, allowance.BOT_MEMBER)
        held = (allowance.closed_until(kind, record.guild_id, priority) for kind in kinds)
        return max(filter(None, held), default=None)

    def is_refusal_over(self, record: GuildDirectory) -> bool:
        """Whether a stored refusal has ended. Only the bot's absence lasts: no person's sign-in could end another."""
        return record.reason != Reason.BOT_ABSENT

    def ask(self, record: GuildDirectory, client: DiscordClient) -> Answer:
        """Request roles, channels and the bot's member, each with a place in the send budget.

        If Discord says that the bot is not in the guild, that is stored like any news about the bot.
        """
        guild_id, at = record.guild_id, database_now()
        try:
            answer = self._ask(record, client)
        except (UnknownGuild, MissingAccess) as denial:
            bot_presence.learn_denial(guild_id, denial, client, at)
            raise Refused(Reason.BOT_ABSENT) from denial
        if answer is None:
            bot_presence.learn(guild_id, None, at)
            raise Refused(Reason.BOT_ABSENT)
        return answer

    def _ask(self, record: GuildDirectory, client: DiscordClient) -> Answer | None:
        guild_id, token = record.guild_id, settings.DISCORD_BOT_TOKEN
        for route in ROUTES:
            client = allowance.limited(client, allowance.BOT_DIRECTORY, guild_id, route)
        client = allowance.limited(client, allowance.BOT_MEMBER, guild_id, BOT_ROUTE)
        roles = client.get_guild_roles(guild_id, token)
        gate.wait_for_place(self.sleep)
        channels = client.get_guild_channels(guild_id, token)
        gate.wait_for_place(self.sleep)
        bot_id = record.bot_id
        if bot_id is None:
            bot_id = client.get_bot_user(token).id
            gate.wait_for_place(self.sleep)
        bot = client.get_guild_member(guild_id, bot_id, token)
        return None if bot is None else Answer(roles, channels, bot_id, bot)

    def compare(self, claimed: Claim[GuildDirectory], value: Answer) -> Change | None:
        """Return what the answer changes. An entry that can't be read leaves the stored one as it is."""
        record = claimed.record
        fields = {
            "roles": _merged(record.roles, value.roles, _json),
            "channels": _merged(record.channels, value.channels, _channel_json),
            "bot_id": value.bot_id,
            "bot_roles": list(value.bot.roles),
        }
        if all(getattr(record, name) == wanted for name, wanted in fields.items()):
            return None
        return Change(fields)


def _merged(
    stored: Iterable[dict[str, Any]], listing: Listing[Any], to_json: Callable[[Any], dict[str, Any]]
) -> list[dict[str, Any]]:
    """Return the list's entries as JSON. An entry without an id can be any, so such a list removes none."""
    unread = [
        entry
        for entry in stored
        if entry["id"] in listing.unreadable or (listing.without_id and entry["id"] not in listing.ids)
    ]
    return sorted([*map(to_json, listing.entries), *unread], key=lambda entry: int(entry["id"]))


def _json(entry: Role | Channel) -> dict[str, Any]:
    return asdict(entry) | {"name": entry.name[:MAX_NAME]}


def _channel_json(channel: Channel) -> dict[str, Any]:
    return _json(channel) | {"overwrites": [asdict(overwrite) for overwrite in channel.overwrites]}


DIRECTORY = DirectoryResource(GuildDirectory)


def roles_of(record: GuildDirectory) -> tuple[Role, ...]:
    """Return the roles in the order of Discord's settings: the highest first, @everyone last."""
    return tuple(sorted((Role(**role) for role in record.roles), key=rank, reverse=True))


def rank(role: Role) -> tuple[int, int]:
    """The sort key for the hierarchy of roles. Of two roles with the same position, the older is higher."""
    return role.position, -role.id


def channels_of(record: GuildDirectory) -> tuple[Channel, ...]:
    """Return the channels in the order of Discord's sidebar.

    First those without a category, then each category with its channels; voice channels come last in each.
    """
    channels = sorted(map(_channel, record.channels), key=_place)
    categories = [channel for channel in channels if channel.kind == ChannelKind.CATEGORY]
    others = [channel for channel in channels if channel.kind != ChannelKind.CATEGORY]
    known = {category.id for category in categories}
    loose = (channel for channel in others if channel.parent_id not in known)
    below = ((category, *(each for each in others if each.parent_id == category.id)) for category in categories)
    return tuple(chain(loose, *below))


def _channel(fields: dict[str, Any]) -> Channel:
    return Channel(**fields | {"overwrites": tuple(Overwrite(**overwrite) for overwrite in fields["overwrites"])})


def _place(channel: Channel) -> tuple[bool, int, int]:
    return channel.kind in (ChannelKind.VOICE, ChannelKind.STAGE), channel.position, channel.id
