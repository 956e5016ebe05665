"""What the site adds to a person's list: where the bot is, what they starred, what they opened last.

Kept in the cache under everything it follows from, all of which comes with the list, so that no change is missed and
reading it again takes no query.
"""

import json
from dataclasses import dataclass

from guilds import bot
from guilds.engine import sealed_cache
from guilds.preferences import Preferences, preferences_of
from guilds.services import GuildList

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Annotations:
    """`with_bot` are those of the person's guilds that the bot is in; None if there is no bot."""

    with_bot: frozenset[int] | None
    preferences: Preferences


def annotations_of(guild_list: GuildList) -> Annotations:
    """From the cache, or from the rows with a query for each kind."""
    key = (
        f"{guild_list.snapshot.key}:annotations:{FORMAT}:"
        f"{guild_list.preferences_tag}:{guild_list.bot_tag}:{bot.has_token()}"
    )
    kept = sealed_cache.read(key)
    if kept is not None:
        ids, favourites, recent = json.loads(kept)
        return Annotations(None if ids is None else frozenset(ids), Preferences(frozenset(favourites), tuple(recent)))
    found = Annotations(
        bot.present_in(membership.guild_id for membership in guild_list),
        preferences_of(guild_list.snapshot.user_id),
    )
    with_bot = None if found.with_bot is None else sorted(found.with_bot)
    parts = (with_bot, sorted(found.preferences.favourites), found.preferences.recent)
    sealed_cache.keep(key, json.dumps(parts).encode())
    return found
