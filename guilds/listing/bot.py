"""The bot's servers: where the bot is, as last stored, and adding the bot to a server.

Without DISCORD_BOT_TOKEN no request is sent and no page mentions a bot.
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

import structlog
from django.apps import apps
from django.conf import settings
from django.core import signing
from django.core.cache import cache
from django.db import Error
from django.urls import reverse

from accounts.database import is_unavailable
from accounts.discord import Permissions
from accounts.storage import use_once
from guilds.engine import policy
from guilds.engine.policy import Served
from guilds.engine.refusal import NoAnswer
from guilds.models import BotGuild, BotGuilds
from guilds.resources.bot_guilds import ALL_GUILDS, BOT_GUILDS, NO_ANSWER, ask_now
from guilds.services import GuildList

logger = structlog.get_logger(__name__)

# How many seconds the person has on Discord's consent page.
STATE_TTL = 3600
STATE_SALT = "guilds.bot.add"
GUILD_INSTALL = "0"
# The permissions of the application's install link, how many seconds they are kept, and a failure to read them.
INSTALL_KEY = "install-permissions:1"
INSTALL_TTL = 3600
INSTALL_RETRY = 60


def has_token() -> bool:
    return bool(settings.DISCORD_BOT_TOKEN)


@dataclass(frozen=True, slots=True)
class Presence:
    """Which of the given guilds have the bot: `present`. For the others this is known once a list `is_complete`."""

    # The bot's permissions by guild; None while they are unknown.
    present: Mapping[int, int | None]
    is_complete: bool

    def includes(self, guild_id: int) -> bool | None:
        """Whether the bot is in the guild; None if it isn't known."""
        return True if guild_id in self.present else False if self.is_complete else None

    def missing(self, guild_id: int, wanted: int) -> int | None:
        """Return those of the `wanted` permissions that the bot lacks in the guild; None if that isn't known."""
        has = self.present.get(guild_id)
        return None if has is None else Permissions.missing(has, False, wanted)


def present_in(guild_ids: Iterable[int]) -> Presence | None:
    """Return which of the guilds have the bot, as last stored; None if the site has no bot."""
    if not has_token():
        return None
    rows = BotGuild.objects.filter(pk__in=guild_ids, deleted_at=None).values_list("pk", "permissions", "owner")
    present = {pk: effective_permissions(permissions, owner) for pk, permissions, owner in rows}
    return Presence(present, BotGuilds.last_verified_at() is not None)


def effective_permissions(permissions: int | None, owner: bool) -> int | None:
    """Return a row's permissions with what owning the guild adds; None while they are unknown."""
    return int(Permissions.ADMINISTRATOR) if owner else permissions


def needed_permissions() -> Permissions:
    """Return the permissions that the pages of the installed apps need the bot to have: their `bot_permissions`."""
    return Permissions.all_named(name for app in apps.get_app_configs() for name in getattr(app, "bot_permissions", ()))


def missing_permissions(permissions: int | None, owner: bool) -> int:
    """Return what the apps need and a bot with these `permissions` in a guild lacks; nothing while that is unknown."""
    return 0 if permissions is None else Permissions.missing(permissions, owner, needed_permissions())


def refresh_when_due(guild_list: GuildList) -> None:
    """Refresh the bot's guilds in the background if they were due when `guild_list` was read. Never waits for Discord.

    Call it wherever a page or an endpoint says where the bot is. Takes no query unless they were due.
    """
    if guild_list.is_bot_due and has_token():
        # Without an answer there is nothing to serve yet, and the attempt is running or has to wait.
        try:
            Served.of(policy.read(BOT_GUILDS, ALL_GUILDS, timeout=0))
        except NoAnswer:
            pass
        except Error as error:
            if not is_unavailable(error):
                raise
            logger.warning("bot_guilds_not_refreshed", error=type(error).__name__)


# Adding the bot


def wanted_permissions(guild_id: int, also: int = 0) -> int:
    """Return the permissions to request for the bot in the guild: what it has there and what the apps need.

    A bot that isn't there has none, and requests the default ones. `also` are permissions to add.
    """
    row = BotGuild.objects.filter(pk=guild_id, deleted_at=None).only("permissions").first()
    has = default_permissions() if row is None or row.permissions is None else row.permissions
    return int(has) | int(needed_permissions()) | also


def default_permissions() -> int:
    """Return the permissions of the settings; without the setting, those of the application's install link at Discord.

    Discord itself uses its install link only for addresses without a redirect URL, and we have one. It is asked once an
    hour; without an answer, the result is 0, and the next attempt follows a minute later.
    """
    if settings.DISCORD_BOT_PERMISSIONS is not None:
        return int(settings.DISCORD_BOT_PERMISSIONS)
    stored = cache.get(INSTALL_KEY)
    if stored is not None:
        return int(stored)
    try:
        application = ask_now(lambda client: client.get_application(settings.DISCORD_BOT_TOKEN))
    except NO_ANSWER as error:
        logger.warning("install_link_not_read", error=str(error) or type(error).__name__)
        permissions, ttl = 0, INSTALL_RETRY
    else:
        install = application.guild_install
        permissions, ttl = install.permissions if install else 0, INSTALL_TTL
    cache.set(INSTALL_KEY, permissions, ttl)
    return permissions


def add_url(user_id: int, guild_id: int, permissions: int) -> str:
    """The address of Discord's page for adding the bot to the guild. Discord then redirects to `bot_added`.

    There the person can give the bot `permissions`, also if it is in the guild already.

    https://docs.discord.com/developers/topics/oauth2#bot-authorization-flow
    """
    question = {
        "client_id": settings.DISCORD_CLIENT_ID,
        "scope": "bot applications.commands",
        # To the server, also if people can install the application to their own account.
        "integration_type": GUILD_INSTALL,
        "permissions": str(permissions),
        "guild_id": str(guild_id),
        "disable_guild_select": "true",
        # Discord redirects back only if a code is requested; we ignore the code.
        "response_type": "code",
        "redirect_uri": settings.SITE_URL + reverse("guilds:bot-added"),
        "state": signing.dumps([user_id, guild_id, int(time.time())], salt=STATE_SALT),
    }
    return f"{settings.DISCORD_AUTHORIZE_URL}?{urlencode(question)}"


def guild_of_state(user_id: int, state: str) -> int | None:
    """Return the guild that `add_url` was made for; None if it was made for another person or has expired.

    The `guild_id` that Discord adds to the redirect is only a hint: anyone can write it into an address.
    """
    try:
        whose, guild_id, _issued_at = signing.loads(state, salt=STATE_SALT, max_age=STATE_TTL)
    # ValueError: a state issued by an earlier release has two parts.
    except (signing.BadSignature, ValueError):
        return None
    return int(guild_id) if whose == user_id else None


def is_first_return(state: str) -> bool:
    """Whether this valid state is used for the first time. Each state allows one request to Discord."""
    *_, issued_at = signing.loads(state, salt=STATE_SALT)
    return use_once(STATE_SALT, state, issued_at)


def is_first_return_this_minute(user_id: int, guild_id: int) -> bool:
    """Like `is_first_return`, for a return without a state, from a link that this site did not create."""
    return use_once(STATE_SALT, f"{user_id} {guild_id}", int(time.time()) // 60 * 60)
