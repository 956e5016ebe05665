"""Access tokens for a person's calls to Discord; `call` is the only way to one.

Tokens are replaced by compare-and-swap on `token_version`, with no transaction open over HTTP. A refresh token works
once, so whoever exchanges it first acquires the lease `renewal_until`; other calls for the same person wait for the
result.
"""

import dataclasses
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TypeVar

import structlog
from django.conf import settings
from django.db.models import F, Q, QuerySet

from accounts import gate, metrics
from accounts.background import release_connection
from accounts.clock import Now, database_now
from accounts.discord import DiscordClient, DiscordUnavailable, InvalidGrant, MissingScope, Tokens, Unauthorized
from accounts.limits import LEASE_MARGIN
from accounts.models import DiscordAccount

T = TypeVar("T")

logger = structlog.get_logger(__name__)

# A token this close to its end is refreshed first: the 401 it would earn counts towards Discord's ban.
EXPIRES_SOON = timedelta(seconds=30)
RENEWAL_POLL_SECONDS = 0.1


class ReconnectRequired(Exception):
    """Discord finally refuses our tokens of this person, or we have none; only signing in again helps."""


class TokensReplaced(Exception):
    """These tokens were replaced while a call used them, so what came back with them is void."""


@dataclasses.dataclass(frozen=True, slots=True)
class Credentials:
    """One person's tokens as they were read."""

    user_id: int
    version: int
    access_token: str = dataclasses.field(repr=False)
    refresh_token: str = dataclasses.field(repr=False)
    scopes: frozenset[str]
    expired: bool


def discord_client() -> DiscordClient:
    """The client with the site's settings. Calls go through `gate.gated`."""
    return DiscordClient(
        base_url=settings.DISCORD_API_URL,
        client_id=settings.DISCORD_CLIENT_ID,
        client_secret=settings.DISCORD_CLIENT_SECRET,
        request_timeout=settings.DISCORD_REQUEST_TIMEOUT_MS / 1000,
        budget=gate.attempt_budget().total_seconds(),
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


def call(
    user_id: int,
    scope: str,
    client: DiscordClient,
    ask: Callable[[str], T],
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """What `ask` returns for the person's access token, which is renewed at most once if it has to be.

    Raises `MissingScope` if the person did not grant `scope`, `ReconnectRequired` or `Unauthorized` if Discord finally
    refuses the tokens, `TokensReplaced` if the answer in hand is about older ones, and what `ask` raises.
    """
    credentials = read(user_id)
    if scope not in credentials.scopes:
        raise MissingScope(message=f"the person did not grant the scope {scope}")
    if not credentials.expired:
        try:
            return ask(credentials.access_token)
        except Unauthorized:
            pass  # it may have been revoked early; a new one decides
    credentials = renew(credentials, client, sleep=sleep)
    try:
        return ask(credentials.access_token)
    except Unauthorized:
        # A token that is refused although it is new stays refused: another request would only count towards a ban.
        disconnect(credentials)
        raise


def renew(
    credentials: Credentials, client: DiscordClient, *, sleep: Callable[[float], None] = time.sleep
) -> Credentials:
    """Newer tokens than these, from Discord or from another call that is exchanging them right now.

    A call that waited fails together with the exchange it waited for, so that a token endpoint in trouble gets one
    request and not one for each call. If the lease runs out instead, its holder has died, and the next call exchanges.
    Raises as `refresh` does, and `DiscordUnavailable` if there are no newer tokens by the client's deadline.
    """
    deadline = client.clock() + client.budget if client.deadline is None else client.deadline
    lease = _acquire_renewal(credentials, client, deadline)
    while lease is None:
        _wait_for_renewal(credentials, client, deadline, sleep)
        current = read(credentials.user_id)
        if current.version != credentials.version:
            return current
        if _tokens_of(credentials).filter(renewal_until=None).exists():
            raise DiscordUnavailable(message="another call could not renew the tokens", route="POST /oauth2/token")
        lease = _acquire_renewal(credentials, client, deadline)
    try:
        return refresh(credentials, dataclasses.replace(client, deadline=deadline))
    finally:
        # After a success this matches nothing; nor does it if the lease ran out and another call has its own now.
        _tokens_of(credentials).filter(renewal_until=lease).update(renewal_until=None)


def _tokens_of(credentials: Credentials) -> QuerySet[DiscordAccount]:
    """The account, as long as it has these tokens."""
    return DiscordAccount.objects.filter(user_id=credentials.user_id, token_version=credentials.version)


def _acquire_renewal(credentials: Credentials, client: DiscordClient, deadline: float) -> datetime | None:
    """The end of the lease that this call holds from now on; None if another call holds one or has newer tokens.

    The lease covers the attempt up to its deadline, however long the process stops in between. So a takeover of the
    attempt never finds the renewal of its predecessor still leased.
    """
    until = database_now() + timedelta(seconds=deadline - client.clock()) + LEASE_MARGIN
    free = _tokens_of(credentials).filter(Q(renewal_until=None) | Q(renewal_until__lte=Now()))
    return until if free.update(renewal_until=until) else None


def _wait_for_renewal(
    credentials: Credentials, client: DiscordClient, deadline: float, sleep: Callable[[float], None]
) -> None:
    """Wait until no other call holds the lease on exchanging these tokens."""
    while _tokens_of(credentials).filter(renewal_until__gt=Now()).exists():
        release_connection()
        left = deadline - client.clock()
        if left <= 0:
            raise DiscordUnavailable(message="another call is still renewing the tokens", route="POST /oauth2/token")
        sleep(min(RENEWAL_POLL_SECONDS, left))


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
        extra_data=sealed(tokens), token_version=F("token_version") + 1, disconnected_at=None, renewal_until=None
    )


def refresh(credentials: Credentials, client: DiscordClient) -> Credentials:
    """The rotated tokens, saved at once: Discord has already voided the old ones. Only `renew` may call it.

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
    replaced = _tokens_of(credentials).update(
        extra_data=sealed(tokens), token_version=credentials.version + 1, renewal_until=None
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
    """Stop all calls with these tokens until the person signs in again; nothing changes if another call already did.

    Raises `TokensReplaced` if there are newer ones.
    """
    disconnected = _tokens_of(credentials).update(
        disconnected_at=database_now(), token_version=credentials.version + 1, renewal_until=None
    )
    if not disconnected:
        if DiscordAccount.objects.filter(user_id=credentials.user_id, disconnected_at=None).exists():
            raise TokensReplaced
        return
    metrics.DISCONNECTS.inc()
    logger.warning("discord_account_disconnected", user_id=credentials.user_id)
