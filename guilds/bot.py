"""Where the bot is: what its token sees of Discord, kept as `Guild` rows, and the way it gets into a server.

Without a bot token nobody asks and the pages say nothing about a bot.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from urllib.parse import urlencode

import structlog
from django.conf import settings
from django.core import signing
from django.db import transaction
from django.urls import reverse

from accounts import background, gate
from accounts.clock import database_now
from accounts.discord import DiscordAPIError, PartialGuild
from accounts.discord import Guild as DiscordGuild
from accounts.limits import GateShut, Priority
from accounts.tokens import discord_client
from guilds.models import BotPresence, Guild, new_tag

logger = structlog.get_logger(__name__)

# Discord answers this list once a second, and every refusal counts towards its ban.
PAGE_PAUSE = 1.1
# How long somebody may spend on Discord's consent page.
STATE_LASTS = 3600
STATE_SALT = "guilds.bot.add"


def has_token() -> bool:
    return bool(settings.DISCORD_BOT_TOKEN)


def present_in(guild_ids: Iterable[int]) -> frozenset[int] | None:
    """Those of the guilds the bot is in, as far as is known; None if there is no bot."""
    if not has_token():
        return None
    return frozenset(Guild.objects.filter(pk__in=guild_ids, deleted_at=None).values_list("pk", flat=True))


# Asking


@dataclass(frozen=True, slots=True)
class Synced:
    """What a complete run found."""

    guilds: int
    joined: int
    left: int


def sync(*, sleep: Callable[[float], None] = time.sleep) -> Synced:
    """Read all of the bot's guilds and store them; those a complete run did not bring are marked as gone.

    Raises what the client and the gate raise; then the pages read so far are stored, and nobody is marked.
    """
    started = database_now()
    client = gate.gated(discord_client(), Priority.STALE)
    pages = client.iter_bot_guilds(settings.DISCORD_BOT_TOKEN)
    guilds = joined = 0
    while True:
        gate.wait_for_place(sleep)
        asked_at = database_now()
        page = next(pages, None)
        if page is None:
            break
        guilds += len(page)
        joined += store(page, asked_at)
        background.release_connection()
        sleep(PAGE_PAUSE)
    gone = Guild.objects.filter(deleted_at=None, verified_at__lt=started)
    with transaction.atomic():
        if left := gone.update(deleted_at=started, verified_at=started):
            _presence_changed()
    logger.info("bot_guilds_synced", guilds=guilds, joined=joined, left=left)
    return Synced(guilds, joined, left)


def check(guild_id: int) -> bool | None:
    """Whether the bot is in that guild, asked now and stored; None if Discord didn't say in time."""
    client = discord_client()
    client = replace(client, deadline=client.clock() + client.request_timeout)
    gated = gate.gated(client, Priority.STALE)

    def ask() -> bool:
        asked_at = database_now()
        guild = gated.get_guild(guild_id, settings.DISCORD_BOT_TOKEN)
        if guild is None:
            known = Guild.objects.filter(pk=guild_id, deleted_at=None, verified_at__lte=asked_at)
            with transaction.atomic():
                if known.update(deleted_at=asked_at, verified_at=asked_at):
                    _presence_changed()
            return False
        store([guild], asked_at)
        return True

    try:
        return background.call(ask, timeout=client.request_timeout)
    except (DiscordAPIError, GateShut, TimeoutError) as error:
        logger.warning("bot_guild_not_checked", guild_id=guild_id, error=str(error) or type(error).__name__)
        return None


def store(page: Iterable[DiscordGuild | PartialGuild], asked_at: datetime) -> int:
    """Write down guilds the bot was in at `asked_at`, but for what is known from later; how many of them are news."""
    found = {guild.id: guild for guild in page}
    with transaction.atomic():
        before = set(Guild.objects.filter(pk__in=found, deleted_at=None).values_list("pk", flat=True))
        Guild.objects.bulk_create(
            [
                Guild(id=guild.id, name=guild.name[:100], first_seen_at=asked_at, verified_at=asked_at)
                for guild in found.values()
            ],
            ignore_conflicts=True,
        )
        rows = list(Guild.objects.select_for_update().filter(pk__in=found, verified_at__lte=asked_at).order_by("pk"))
        for row in rows:
            row.name, row.icon = found[row.pk].name[:100], found[row.pk].icon or ""
            row.verified_at, row.deleted_at = asked_at, None
        Guild.objects.bulk_update(rows, ["name", "icon", "verified_at", "deleted_at"])
        if news := {row.pk for row in rows} - before:
            _presence_changed()
    return len(news)


def _presence_changed() -> None:
    """In the transaction that changed it, and last in it, as everybody's."""
    BotPresence.objects.bulk_create(
        [BotPresence(tag=new_tag())], update_conflicts=True, unique_fields=["id"], update_fields=["tag"]
    )


# Adding


def add_url(user_id: int, guild_id: int) -> str:
    """Discord's page on which the person adds the bot to that guild, and which sends them back to us.

    https://docs.discord.com/developers/topics/oauth2#bot-authorization-flow
    """
    question = {
        "client_id": settings.DISCORD_CLIENT_ID,
        "scope": "bot applications.commands",
        "permissions": str(settings.DISCORD_BOT_PERMISSIONS),
        "guild_id": str(guild_id),
        "disable_guild_select": "true",
        # Only with a code, which nobody needs, Discord comes back at all.
        "response_type": "code",
        "redirect_uri": settings.SITE_URL + reverse("guilds:bot-added"),
        "state": signing.dumps([user_id, guild_id], salt=STATE_SALT),
    }
    return f"{settings.DISCORD_AUTHORIZE_URL}?{urlencode(question)}"


def guild_of_state(user_id: int, state: str) -> int | None:
    """The guild for which this person was sent to Discord; None if it wasn't them, or too long ago.

    The `guild_id` beside it in Discord's answer is only a hint, which anybody can write into an address.
    """
    try:
        whose, guild_id = signing.loads(state, salt=STATE_SALT, max_age=STATE_LASTS)
    except signing.BadSignature:
        return None
    return int(guild_id) if whose == user_id else None
