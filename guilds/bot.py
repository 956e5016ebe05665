"""The bot's servers: reading them from Discord into `Guild` rows, and adding the bot to a server.

Without DISCORD_BOT_TOKEN no request is sent and no page mentions a bot.
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

# Discord allows one request per second for this list, and each 429 counts towards its ban.
PAGE_PAUSE = 1.1
# How many seconds the person has on Discord's consent page.
STATE_TTL = 3600
STATE_SALT = "guilds.bot.add"


def has_token() -> bool:
    return bool(settings.DISCORD_BOT_TOKEN)


def present_in(guild_ids: Iterable[int]) -> frozenset[int] | None:
    """Those of the guilds that have the bot, as last stored; None if the site has no bot."""
    if not has_token():
        return None
    return frozenset(Guild.objects.filter(pk__in=guild_ids, deleted_at=None).values_list("pk", flat=True))


# Asking


@dataclass(frozen=True, slots=True)
class SyncResult:
    """The result of a complete run."""

    guilds: int
    joined: int
    left: int


def sync(*, sleep: Callable[[float], None] = time.sleep) -> SyncResult:
    """Read and store all of the bot's guilds. Guilds that a complete run did not see are marked as deleted.

    Raises what the client and the gate raise. In that case the pages read so far are stored and no guild is marked.
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
            _renew_tag()
    logger.info("bot_guilds_synced", guilds=guilds, joined=joined, left=left)
    return SyncResult(guilds, joined, left)


def check(guild_id: int) -> bool | None:
    """Ask Discord now whether the bot is in the guild, and store it; None if Discord didn't answer in time."""
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
                    _renew_tag()
            return False
        store([guild], asked_at)
        return True

    try:
        return background.call(ask, timeout=client.request_timeout)
    except (DiscordAPIError, GateShut, TimeoutError) as error:
        logger.warning("bot_guild_not_checked", guild_id=guild_id, error=str(error) or type(error).__name__)
        return None


def store(page: Iterable[DiscordGuild | PartialGuild], asked_at: datetime) -> int:
    """Store guilds that had the bot at `asked_at`, without overwriting newer rows. Returns how many are new."""
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
        if new := {row.pk for row in rows} - before:
            _renew_tag()
    return len(new)


def _renew_tag() -> None:
    """Invalidate everyone's cached extras.

    Call it last in the transaction that changes the bot's guilds: all such transactions lock this one row.
    """
    BotPresence.objects.bulk_create(
        [BotPresence(tag=new_tag())], update_conflicts=True, unique_fields=["id"], update_fields=["tag"]
    )


# Adding


def add_url(user_id: int, guild_id: int) -> str:
    """The address of Discord's page for adding the bot to the guild. Discord then redirects to `bot_added`.

    https://docs.discord.com/developers/topics/oauth2#bot-authorization-flow
    """
    question = {
        "client_id": settings.DISCORD_CLIENT_ID,
        "scope": "bot applications.commands",
        "permissions": str(settings.DISCORD_BOT_PERMISSIONS),
        "guild_id": str(guild_id),
        "disable_guild_select": "true",
        # Discord redirects back only if a code is requested; we ignore the code.
        "response_type": "code",
        "redirect_uri": settings.SITE_URL + reverse("guilds:bot-added"),
        "state": signing.dumps([user_id, guild_id], salt=STATE_SALT),
    }
    return f"{settings.DISCORD_AUTHORIZE_URL}?{urlencode(question)}"


def guild_of_state(user_id: int, state: str) -> int | None:
    """The guild that `add_url` was made for; None if it was made for another person or has expired.

    The `guild_id` that Discord adds to the redirect is only a hint: anyone can write it into an address.
    """
    try:
        whose, guild_id = signing.loads(state, salt=STATE_SALT, max_age=STATE_TTL)
    except signing.BadSignature:
        return None
    return int(guild_id) if whose == user_id else None
