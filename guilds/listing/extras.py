"""The extras that pages show with a list: where the bot is, the person's favourites and recently opened servers.

The cache key contains everything the extras depend on, and all of it is read together with the list. So a change is
never missed, and a cache hit costs no query.
"""

import json
from dataclasses import dataclass

from guilds.engine import sealed_cache
from guilds.listing import bot
from guilds.listing.bot import Presence
from guilds.listing.preferences import Preferences, preferences_of
from guilds.resources import snapshots
from guilds.services import GuildList

FORMAT = 3


@dataclass(frozen=True, slots=True)
class Extras:
    """The extras of one list. `bot_presence` says which of its guilds have the bot; None if the site has no bot."""

    bot_presence: Presence | None
    preferences: Preferences


def get_extras(guild_list: GuildList) -> Extras:
    """Return the extras, from the cache or with one database query for each kind."""
    bot.refresh_when_due(guild_list)
    place = snapshots.place(snapshots.EXTRAS, guild_list.snapshot.user_id)
    key = (
        f"{guild_list.snapshot.key}:annotations:{FORMAT}:"
        f"{guild_list.tags.preferences}:{guild_list.tags.bot}:{bot.has_token()}"
    )
    cached = sealed_cache.read(place, key)
    if cached is not None:
        present, favourites, recent = json.loads(cached)
        presence = None if present is None else Presence(dict(present[0]), present[1])
        return Extras(presence, Preferences(frozenset(favourites), tuple(recent)))
    extras = Extras(
        bot.present_in(membership.guild_id for membership in guild_list),
        preferences_of(guild_list.snapshot.user_id),
    )
    known = extras.bot_presence
    present = None if known is None else (list(known.present.items()), known.is_complete)
    parts = (present, sorted(extras.preferences.favourites), extras.preferences.recent)
    sealed_cache.write(place, key, json.dumps(parts).encode())
    return extras
