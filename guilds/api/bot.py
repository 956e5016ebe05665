"""Where the bot is: the one place of the API that knows. Nothing, as long as the site keeps no guilds of the bot's.

To be read from the rows of the bot's guilds: those that it hasn't left.
"""

from collections.abc import Iterable
from typing import Any


def bot_guild_ids(among: Iterable[int]) -> frozenset[int]:
    """Those of `among` that the bot is in."""
    return frozenset()


def bot_guilds() -> list[dict[str, Any]]:
    """The guilds the bot is in, ascending by id, as the schema's `BotGuild`."""
    return []
