"""Access tokens for a person's calls to Discord.

Tokens are replaced by compare-and-swap on `token_version`, with no transaction open over HTTP. The single flight that a
rotating refresh token needs is the caller's: only the holder of the user's refresh lease comes here.
"""

from dataclasses import dataclass, field
from datetime import timedelta

import structlog
from django.conf import settings
from django.db.models import F

from accounts import metrics
from accounts.clock import database_now
from accounts.discord import DiscordClient, DiscordUnavailable, InvalidGrant, Tokens, Unauthorized
from accounts.models import DiscordAccount

logger = structlog.get_logger(__name__)

# A token this close to its end is refreshed first: the 401 it would earn counts towards Discord's ban.
EXPIRES_SOON = timedelta(seconds=30)


class ReconnectRequired(Exception):
    """Discord finally refuses our tokens of this person, or we have none; only signing in again helps."""


class TokensReplaced(Exception):
    """While these tokens were used somebody replaced them; whatever comes back with the old ones is void."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """One person's tokens as they were read."""

    user_id: int
    version: int
    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    scopes: frozenset[str]
    expired: bool


def discord_client() -> DiscordClient:
    """The client with the site's settings. Calls go through `gate.gated`."""
    return DiscordClient(
        base_url=settings.DISCORD_API_URL,
        client_id=settings.DISCORD_CLIENT_ID,
        client_secret=settings.DISCORD_CLIENT_SECRET,
        request_timeout=settings.DISCORD_REQUEST_TIMEOUT_MS / 1000,
        budget=settings.DISCORD_FETCH_BUDGET_MS / 1000,
        max_retries=settings.DISCORD_API_MAX_RETRIES,
        retry_delay=settings.DISCORD_API_RETRY_DELAY_MS / 1000,
    )


def read(user_id: int) -> Credentials:
    """The person's tokens. Raises `ReconnectRequired` if there are none that may be used."""
    account = DiscordAccount.objects.filter(user_id=user_id, disconnected_at=None).first()
    stored = account.extra_data if account else {}
    if account is None or not stored.get("access_token"):
        raise ReconnectRequired
    return Credentials(
        user_id=user_id,
        version=account.token_version,
        access_token=stored["access_token"],
        refresh_token=stored.get("refresh_token", ""),
        scopes=frozenset(stored.get("scopes", ())),
        expired=database_now().timestamp() > stored.get("expires_at", 0) - EXPIRES_SOON.total_seconds(),
    )


def sealed(tokens: Tokens) -> dict[str, object]:
    """What `DiscordAccount.extra_data` keeps of a token response."""
    return {
        "access_token": tokens.access_token,
        "refresh_token": tokens.refresh_token,
        "expires_at": database_now().timestamp() + tokens.expires_in,
        "scopes": sorted(tokens.scopes),
    }


def replace(account: DiscordAccount, tokens: Tokens) -> None:
    """Store what a sign-in brought; from now on everything that older tokens bring is void."""
    DiscordAccount.objects.filter(pk=account.pk).update(
        extra_data=sealed(tokens), token_version=F("token_version") + 1, disconnected_at=None
    )


def refresh(credentials: Credentials, client: DiscordClient) -> Credentials:
    """The rotated tokens, saved at once: Discord has already voided the old ones.

    Raises `ReconnectRequired` when Discord says `invalid_grant`, which is final, and `TokensReplaced` when these were
    no longer the person's tokens.
    """
    try:
        if not credentials.refresh_token:
            raise InvalidGrant(message="there is no refresh token")
        tokens = client.refresh_tokens(credentials.refresh_token)
    except InvalidGrant:
        metrics.TOKEN_REFRESHES.labels("invalid_grant").inc()
        disconnect(credentials)
        raise ReconnectRequired from None
    except Unauthorized as error:
        # At this endpoint 401 is about our client id and secret, not about the person.
        metrics.TOKEN_REFRESHES.labels("site_refused").inc()
        logger.error("discord_refuses_client_credentials", status=error.status)
        raise DiscordUnavailable(message="Discord refuses this site's credentials", status=error.status) from None
    replaced = DiscordAccount.objects.filter(user_id=credentials.user_id, token_version=credentials.version).update(
        extra_data=sealed(tokens), token_version=credentials.version + 1
    )
    metrics.TOKEN_REFRESHES.labels("refreshed" if replaced else "replaced").inc()
    if not replaced:
        raise TokensReplaced
    logger.info("discord_tokens_refreshed", user_id=credentials.user_id)
    return Credentials(
        user_id=credentials.user_id,
        version=credentials.version + 1,
        access_token=tokens.access_token,
        refresh_token=tokens.refresh_token,
        scopes=tokens.scopes,
        expired=False,
    )


def disconnect(credentials: Credentials) -> None:
    """Stop all calls with these tokens until the person signs in again. Raises `TokensReplaced` if they are older."""
    disconnected = DiscordAccount.objects.filter(user_id=credentials.user_id, token_version=credentials.version).update(
        disconnected_at=database_now(), token_version=credentials.version + 1
    )
    if not disconnected:
        raise TokensReplaced
    metrics.DISCONNECTS.inc()
    logger.warning("discord_account_disconnected", user_id=credentials.user_id)
