"""What is stored of the guilds that the bot is in, as Discord's answers change it: one row per guild.

Each row has a `verified_at` of its own, because lists, answers about one guild and news arrive in any order.
"""

from collections.abc import Collection, Iterable
from datetime import datetime

from django.conf import settings
from django.db import transaction
from django.db.models import Case, F, Value, When

from accounts.clock import database_now
from accounts.discord import DiscordClient, MissingAccess, PartialGuild, UnknownGuild, UnusableResponse
from guilds.models import BotGuild, BotGuilds, GuildDirectory, GuildMember, new_tag

STORED_FIELDS = ("name", "icon", "owner", "permissions", "features")


def bot_is_in(guild_id: int) -> bool:
    """Whether the site has a bot that is in the guild, as last stored."""
    return bool(settings.DISCORD_BOT_TOKEN) and BotGuild.objects.filter(pk=guild_id, deleted_at=None).exists()


def learn(guild_id: int, guild: PartialGuild | None, at: datetime, *, was_there: bool = False) -> datetime | None:
    """Store what Discord said about one guild in answer to a request at `at`, or in an event of that moment.

    None means that the bot isn't there. `was_there` says that it left: a guild of which nothing is stored gets a row
    then, so that an earlier event that the bot joined can still arrive. What is older than the row or the last list
    changes nothing; returns the moment of what stays then, else None.
    """
    BotGuilds.objects.get_or_create()
    with transaction.atomic():
        # First, as a list does it: whichever comes second sees the rows of the other.
        listed_at = BotGuilds.objects.select_for_update().get().verified_at
        before = BotGuild.objects.filter(pk=guild_id).first()
        known_at = max(moment or at for moment in (listed_at, before and before.verified_at))
        if known_at > at:
            return known_at
        row = changed_row(guild, before, at) if guild else None
        gone = [guild_id] if guild is None and before and can_be_removed(before, at) else []
        if row or gone:
            BotGuilds.objects.update(tag=new_tag())
            write([row] if row else [], gone, at)
        elif before:
            BotGuild.objects.filter(pk=guild_id).update(verified_at=at)
        elif was_there:
            BotGuild.objects.create(id=guild_id, first_seen_at=at, verified_at=at, deleted_at=at)
    return None


def learn_denial(guild_id: int, denial: UnknownGuild | MissingAccess, client: DiscordClient, at: datetime) -> None:
    """Store that the bot is not in the guild, as Discord said in answer to a request at `at`.

    Discord has also called guilds unknown that the bot was in (discord/discord-api-docs#8445). So for an unknown guild,
    the bot's own list is asked; if the guild is in it, raises `UnusableResponse`.
    """
    guild = None
    if isinstance(denial, UnknownGuild):
        at = database_now()
        guild = client.get_bot_guild(guild_id, settings.DISCORD_BOT_TOKEN)
    learn(guild_id, guild, at)
    if guild is not None:
        raise UnusableResponse(message="the guild is called unknown, but the bot is in it") from denial


def changed_row(guild: PartialGuild, before: BotGuild | None, at: datetime) -> BotGuild | None:
    """Return the new row for `guild`; None if the stored row is already equal, or newer."""
    values = {
        # Discord's limits are well below these. A longer value is cut, so that it does not make the whole list fail.
        "name": guild.name[:100],
        "icon": (guild.icon or "")[:64],
        "owner": guild.owner,
        "permissions": int(guild.permissions),
        "features": list(guild.features),
    }
    if before and before.verified_at > at:
        return None
    if before and before.deleted_at is None and all(getattr(before, name) == values[name] for name in STORED_FIELDS):
        return None
    return BotGuild(id=guild.id, first_seen_at=before.first_seen_at if before else at, verified_at=at, **values)


def can_be_removed(row: BotGuild, at: datetime) -> bool:
    """Whether an answer to a request at `at` that lacks the guild ends the bot's presence there."""
    return row.deleted_at is None and row.verified_at <= at


def write(changed: Iterable[BotGuild], gone: Collection[int], at: datetime) -> None:
    """Store rows that an answer to a request at `at` changed or added, and that the bot left the guilds `gone`."""
    # Rows that were stored since the comparison.
    newer = set(BotGuild.objects.filter(verified_at__gt=at).values_list("pk", flat=True))
    if rows := [row for row in changed if row.pk not in newer]:
        BotGuild.objects.bulk_create(
            rows,
            update_conflicts=True,
            unique_fields=["id"],
            update_fields=[*STORED_FIELDS, "verified_at", "deleted_at"],
        )
        _lift_refusals({row.pk for row in rows})
    if gone:
        BotGuild.objects.filter(pk__in=set(gone) - newer).update(deleted_at=at, verified_at=at)


def _lift_refusals(guild_ids: Collection[int]) -> None:
    """Lift the refusals in guilds where the bot is: they concern the people's own tokens, or its absence.

    A response on its way that says that the bot is absent is dropped.
    """
    GuildMember.objects.filter(GuildMember.refused(), guild_id__in=guild_ids).update(
        reason="", generation=F("generation") + 1
    )
    GuildDirectory.objects.filter(guild_id__in=guild_ids).update(
        reason=Case(When(GuildDirectory.refused(), then=Value("")), default=F("reason")),
        lease_until=None,
        generation=F("generation") + 1,
    )
