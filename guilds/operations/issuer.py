"""Binding the database to another Discord application than the one that issued its tokens and lists."""

from typing import Any

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import F

from accounts import gate
from accounts.clock import database_now
from accounts.models import DiscordAccount, DiscordGate
from guilds.models import BotGuild, BotGuilds, GuildListVerification, UserGuildMembership, new_tag

logger = structlog.get_logger(__name__)

# A record as before its first answer.
NOTHING_VERIFIED: dict[str, Any] = {
    "generation": F("generation") + 1,
    "version": F("version") + 1,
    "lease_until": None,
    "verified_at": None,
    "refresh_after": None,
    "not_before": None,
    "silent_at": None,
    "changed_at": None,
    "reason": "",
    "failure_streak": 0,
}


def change(*, forget: bool) -> int:
    """Bind the database to the issuer in the settings; with `forget`, delete everything from the previous one.

    That deletes tokens, lists and the bot's servers. People, preferences and sessions stay, and each person has to sign
    in with Discord again. Returns the number of people whose tokens were deleted.
    """
    gate.read()
    forgotten = 0
    with transaction.atomic():
        if forget:
            forgotten = _forget()
        DiscordGate.objects.update(issuer=settings.DISCORD_ISSUER, version=F("version") + 1)
    logger.warning("discord_issuer_accepted", issuer=settings.DISCORD_ISSUER, forgotten=forgotten)
    return forgotten


def _forget() -> int:
    # First, to keep the lock order and so that responses in flight are dropped.
    GuildListVerification.objects.update(**NOTHING_VERIFIED)
    UserGuildMembership.objects.all().delete()
    BotGuild.objects.all().delete()
    BotGuilds.objects.update(tag=new_tag(), **NOTHING_VERIFIED)
    return DiscordAccount.objects.update(
        extra_data={}, disconnected_at=database_now(), token_version=F("token_version") + 1, renewal_until=None
    )
