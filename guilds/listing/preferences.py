"""A person's favourites and the servers whose pages they opened last."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from django.db import transaction
from django.db.models import Subquery

from accounts.bookkeeping import bookkeeper
from accounts.clock import Now
from guilds.models import BotGuild, BotGuilds, GuildListVerification, GuildPreference, new_tag

# Opening the same page again within this time writes nothing.
LAST_USED_RESOLUTION = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Preferences:
    """BotIds of favourite guilds, and of opened guilds, most recent first."""

    favourites: frozenset[int] = frozenset()
    recent: tuple[int, ...] = ()


def preferences_of(user_id: int) -> Preferences:
    rows = list(GuildPreference.objects.filter(user_id=user_id).values_list("guild_id", "favourite", "last_used_at"))
    opened = sorted(((used, guild_id) for guild_id, _, used in rows if used), reverse=True)
    return Preferences(
        favourites=frozenset(guild_id for guild_id, favourite, _ in rows if favourite),
        recent=tuple(guild_id for _, guild_id in opened),
    )


def set_favourite(user_id: int, guild_id: int, *, favourite: bool) -> None:
    _write(user_id, guild_id, favourite=favourite)


@dataclass(frozen=True, slots=True)
class OpenedGuild:
    """Additional data for a server's page. `bot_seen_at` is None if the bot is not in the server.

    None is certain only if `is_bot_known`, that is, after the first complete list of the bot's servers.
    """

    is_favourite: bool
    bot_seen_at: datetime | None
    is_bot_known: bool
    bot_permissions: int | None = None
    bot_owns: bool = False


def open_guild(user_id: int, guild_id: int, *, is_visit: bool = True) -> OpenedGuild:
    """Note that the person opened the guild's page now, if this is a visit, and return what the page shows.

    Takes one query. The person's list must have been read before: the query starts from its record.
    """
    preference = GuildPreference.objects.filter(user_id=user_id, guild_id=guild_id)
    seen = BotGuild.objects.filter(pk=guild_id, deleted_at=None)
    favourite, last_used_at, bot_changed_at, bot_permissions, bot_owns, listed_at, now = (
        GuildListVerification.objects.values_list(
            Subquery(preference.values("favourite")),
            Subquery(preference.values("last_used_at")),
            Subquery(seen.values("verified_at")),
            Subquery(seen.values("permissions")),
            Subquery(seen.values("owner")),
            Subquery(BotGuilds.objects.filter(pk=1).values("verified_at")),
            Now(),
        ).get(pk=user_id)
    )
    if is_visit and (last_used_at is None or now - last_used_at >= LAST_USED_RESOLUTION):
        bookkeeper.note(("opened", user_id, guild_id), partial(_write, user_id, guild_id, last_used_at=now))
    bot_seen_at = max(bot_changed_at, listed_at or bot_changed_at) if bot_changed_at else None
    return OpenedGuild(bool(favourite), bot_seen_at, listed_at is not None, bot_permissions, bool(bot_owns))


def _write(user_id: int, guild_id: int, **values: bool | datetime) -> None:
    with transaction.atomic():
        GuildListVerification.objects.filter(pk=user_id).update(preferences_tag=new_tag())
        GuildPreference.objects.bulk_create(
            [GuildPreference(user_id=user_id, guild_id=guild_id, **values)],
            update_conflicts=True,
            unique_fields=["user", "guild_id"],
            update_fields=list(values),
        )
