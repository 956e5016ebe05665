"""The guilds of the site's bot: requested with the bot token, all pages, and stored as one row per guild.

A guild can also be requested by itself, after the bot was added to it, while a long list is being read. So each row has
a `verified_at` of its own, and a list changes only rows that are older than its first request.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TypeVar

import structlog
from django.conf import settings

from accounts import background, gate
from accounts.clock import database_now
from accounts.discord import DiscordAPIError, DiscordClient, GuildPage, PartialGuild, UnusableResponse
from accounts.limits import LEASE_MARGIN, GateShut, Priority
from accounts.tokens import discord_client
from guilds.engine.freshness import Windows
from guilds.engine.resource import Change, Claim, Resource
from guilds.models import BotGuild, BotGuilds, new_tag
from guilds.resources.bot_presence import bot_is_in, can_be_removed, changed_row, learn, write

T = TypeVar("T")

logger = structlog.get_logger(__name__)

NO_ANSWER = (DiscordAPIError, GateShut, TimeoutError)
# The key of the single record.
ALL_GUILDS = 1
# Seconds. Discord allows one request per second for this list, and each 429 counts towards its ban.
PAGE_PAUSE = 1.1
FRESH = timedelta(minutes=60)
# The list is served at any age: an old one is better than none, and it grants no access by itself.
FOREVER = timedelta(days=36500)
REFRESH_AT = 0.8


class BotGuildsResource(Resource[BotGuilds, GuildPage[PartialGuild]]):
    """The resource for the list of guilds that the bot is in."""

    name = "bot_guilds"
    key = ("id",)
    # The list holds no personal data.
    is_purged = False

    def __init__(self, model: type[BotGuilds], sleep: Callable[[float], None] = time.sleep) -> None:
        super().__init__(model)
        self.sleep = sleep

    def is_enabled(self) -> bool:
        return bool(settings.DISCORD_BOT_TOKEN)

    def windows(self) -> Windows:
        return Windows(
            fresh=FRESH,
            stale=FOREVER,
            soft_wait=timedelta(milliseconds=settings.DISCORD_REFRESH_WAIT_MS),
            lease=timedelta(milliseconds=settings.DISCORD_BOT_FETCH_BUDGET_MS) + LEASE_MARGIN,
        )

    def refresh_at(self, record: BotGuilds) -> float:
        return REFRESH_AT

    def is_refusal_over(self, record: BotGuilds) -> bool:
        """Whether a stored refusal has ended. All have: the bot's list has no person whose sign-in could end one."""
        return True

    def ask(self, record: BotGuilds, client: DiscordClient) -> GuildPage[PartialGuild]:
        """Request all pages, each with a place in the send budget.

        An entry without an id can be any of the bot's guilds, so such a list says of no guild that the bot isn't there.
        """
        pages = client.iter_bot_guilds(settings.DISCORD_BOT_TOKEN)
        found: GuildPage[PartialGuild] = GuildPage()
        while True:
            gate.wait_for_place(self.sleep)
            page = next(pages, None)
            if page is None:
                return found
            if page.without_id:
                raise UnusableResponse(message="the list has a guild without a readable id")
            found = GuildPage(found.guilds + page.guilds, {**found.unreadable, **page.unreadable})
            self.sleep(PAGE_PAUSE)

    def compare(self, claimed: Claim[BotGuilds], value: GuildPage[PartialGuild]) -> Change | None:
        """Return what the readable entries change. An unreadable entry leaves the stored row of its guild as it is."""
        at = claimed.at
        before = {row.pk: row for row in BotGuild.objects.all()}
        changed = [row for guild in value.guilds if (row := changed_row(guild, before.get(guild.id), at)) is not None]
        gone = [pk for pk in before.keys() - value.ids if can_be_removed(before[pk], at)]
        if not changed and not gone and claimed.record.verified_at is not None:
            return None
        return Change({"tag": new_tag()}, partial(write, changed, gone, at))


BOT_GUILDS = BotGuildsResource(BotGuilds)


def is_absent(guild_id: int) -> bool:
    """Whether the bot is known not to be in the guild. It isn't known before the first complete list."""
    if not BOT_GUILDS.is_enabled():
        return True
    return not bot_is_in(guild_id) and BotGuilds.last_verified_at() is not None


def verify_one(guild_id: int) -> bool | None:
    """Ask Discord now whether the bot is in the guild, and store the answer. None if there was no answer in time."""

    def ask(client: DiscordClient) -> bool:
        at = database_now()
        guild = client.get_bot_guild(guild_id, settings.DISCORD_BOT_TOKEN)
        learn(guild_id, guild, at)
        return guild is not None

    try:
        return ask_now(ask)
    except NO_ANSWER as error:
        logger.warning("bot_guild_not_checked", guild_id=guild_id, error=str(error) or type(error).__name__)
        return None


def ask_now(ask: Callable[[DiscordClient], T]) -> T:
    """Return the result of `ask`, which sends one request for a visitor who waits. Raises one of `NO_ANSWER`."""
    client = discord_client()
    client = replace(client, deadline=client.clock() + client.request_timeout)
    gated = gate.gated(client, Priority.STALE)
    return background.call(partial(ask, gated), timeout=client.request_timeout)
