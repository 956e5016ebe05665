"""What the site adds to a person's list: where the bot is, their favourites, and the servers they opened last.

The cache key contains everything the extras depend on, all of which is read with the list. So a change is never missed,
and a cache hit costs no query.
"""

import json
from dataclasses import dataclass

from guilds import bot
from guilds.engine import sealed_cache
from guilds.preferences import Preferences, preferences_of
from guilds.services import GuildList

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Extras:
    """`with_bot` are the person's guilds that the bot is in; None if the site has no bot."""

    with_bot: frozenset[int] | None
    preferences: Preferences


def get_extras(guild_list: GuildList) -> Extras:
    """The extras from the cache, or from the database with one query for each kind."""
    key = (
        f"{guild_list.snapshot.key}:annotations:{FORMAT}:"
        f"{guild_list.tags.preferences}:{guild_list.tags.bot}:{bot.has_token()}"
    )
    cached = sealed_cache.read(key)
    if cached is not None:
        ids, favourites, recent = json.loads(cached)
        return Extras(None if ids is None else frozenset(ids), Preferences(frozenset(favourites), tuple(recent)))
    extras = Extras(
        bot.present_in(membership.guild_id for membership in guild_list),
        preferences_of(guild_list.snapshot.user_id),
    )
    with_bot = None if extras.with_bot is None else sorted(extras.with_bot)
    parts = (with_bot, sorted(extras.preferences.favourites), extras.preferences.recent)
    sealed_cache.keep(key, json.dumps(parts).encode())
    return extras
