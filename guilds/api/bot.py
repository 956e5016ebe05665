"""Where the bot is, as the API tells it: from the rows, never from Discord."""

from collections.abc import Iterable
from typing import Any

from guilds import bot
from guilds.models import Guild


def bot_guild_ids(among: Iterable[int]) -> frozenset[int]:
    """Those of `among` that the bot is in; none where there is no bot."""
    return bot.present_in(among) or frozenset()


def bot_guilds() -> list[dict[str, Any]]:
    """The guilds the bot is in, ascending by id, as the schema's `BotGuild`."""
    rows = Guild.objects.filter(deleted_at=None).order_by("pk") if bot.has_token() else ()
    return [
        {"id": str(guild.pk), "name": guild.name, "icon": guild.icon or None, "verified_at": guild.verified_at}
        for guild in rows
    ]
