"""Access tokens for requests to Discord on a person's behalf. Use them only through `call`.

Tokens are replaced by compare-and-swap on `token_version`, with no transaction open during HTTP. A refresh token works
once, so a call acquires the lease `renewal_until` before it exchanges the token; other calls for the same person wait
for the result.
"""

import dataclasses
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

import structlog
from django.conf import settings
from django.db.models import F, Q, QuerySet

from accounts import gate, metrics
from accounts.background import release_connection
from accounts.clock import database_now, is_leased
from accounts.discord import (
    DiscordClient,
    DiscordUnavailable,
    InvalidGrant,
    MissingScope,
    SiteRefused,
    Tokens,
    Unauthorized,
    shared_session,
)
from accounts.fields import Sealed
from accounts.limits import LEASE_MARGIN, Reason
from accounts.models import DiscordAccount
from accounts.revocation import Revocation, Revoker

T = TypeVar("T")

logger = structlog.get_logger(__name__)

# A token this close to its expiry is refreshed first: the 401 it might cause counts towards Discord's ban.
EXPIRES_SOON = timedelta(seconds=30)
RENEWAL_POLL_SECONDS = 0.1
# How many accounts `count_unreadable` decrypts: enough to detect wrong keys, within a few milliseconds.
SAMPLE = 20


class ReconnectRequired(Exception):
    """Discord permanently refuses this person's tokens, or there are none; the person has to sign in again."""

    reason = Reason.RECONNECT_REQUIRED


class TokensUnreadable(Exception):
    """This person's stored tokens can't be decrypted, which is a fault of the site and not Discord's."""

    reason = Reason.MISCONFIGURED


class TokensReplaced(Exception):
    """The tokens were replaced while a call used them, so its result is discarded."""


@dataclasses.dataclass(frozen=True, slots=True)
class Credentials:
    """One person's tokens as read from the database."""

    user_id: int
    uid: str
    version: int
    access_token: str = dataclasses.field(repr=False)
    refresh_token: str = dataclasses.field(repr=False)
    scopes: frozenset[str]
    expired: bool


def discord_client() -> DiscordClient:
    """Return a client with the site's settings. Wrap it with `gate.gated` before sending requests."""
    return DiscordClient(
        base_url=settings.DISCORD_API_URL,
        client_id=settings.DISCORD_CLIENT_ID,
        client_secret=settings.DISCORD_CLIENT_SECRET,
        request_timeout=settings.DISCORD_REQUEST_TIMEOUT_MS / 1000,
        budget=gate.attempt_budget().total_seconds(),
        max_retries=settings.DISCORD_API_MAX_RETRIES,
        retry_delay=settings.DISCORD_API_RETRY_DELAY_MS / 1000,
        session=partial(shared_session, settings.SITE_URL, settings.DISCORD_PROXY_URL),
    )


def read(user_id: int) -> Credentials:
    """Return the person's tokens. Raises `ReconnectRequired` if there are no usable ones, or `TokensUnreadable`."""
    account = DiscordAccount.objects.filter(user_id=user_id, disconnected_at=None).first()
    stored = _opened(account) if account else {}
    if account is None or not stored.get("access_token"):
        raise ReconnectRequired
    return Credentials(
        user_id=user_id,
        uid=account.uid,
        version=account.token_version,
        access_token=stored["access_token"],
        refresh_token=stored.get("refresh_token", ""),
        scopes=frozenset(stored.get("scopes", ())),
        expired=database_now().timestamp() > stored.get("expires_at", 0) - EXPIRES_SOON.total_seconds(),
    )


def _opened(account: DiscordAccount) -> dict[str, Any]:
    """Return the row's tokens. Raises `TokensUnreadable` if no key decrypts them or they belong to another row."""
    stored = account.extra_data
    # Tokens stored by the previous release name no owner.
    why = "no_key" if isinstance(stored, Sealed) else "other_owner"
    if why == "no_key" or stored.get("user_id", account.user_id) != account.user_id:
        metrics.TOKENS_NOT_OPENED.labels(why).inc()
        logger.error("discord_tokens_unreadable", user_id=account.user_id, why=why)
        raise TokensUnreadable(why)
    return stored


def count_unreadable() -> int:
    """Count accounts, among the latest `SAMPLE`, whose tokens no key decrypts: all of them if TOKEN_KEYS is wrong."""
    latest = DiscordAccount.objects.filter(disconnected_at=None).order_by("-pk")[:SAMPLE]
    return sum(isinstance(account.extra_data, Sealed) for account in latest)


def call(
    user_id: int,
    scope: str,
    client: DiscordClient,
    ask: Callable[[str], T],
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """Call `ask` with the person's access token and return its result. Renews the token at most once, if needed.

    Raises `MissingScope` if the person did not grant `scope`, `ReconnectRequired` or `Unauthorized` if Discord
    permanently refuses the tokens, `TokensUnreadable` if they can't be decrypted, `TokensReplaced` if they were
    replaced meanwhile, and whatever `ask` raises.
    """
    credentials = read(user_id)
    if scope not in credentials.scopes:
        raise MissingScope(message=f"the person did not grant the scope {scope}")
    if not credentials.expired:
        try:
            return ask(credentials.access_token)
        except Unauthorized:
            pass  # it may have been revoked early, so a new one is tried
    credentials = renew(credentials, client, sleep=sleep)
    try:
        return ask(credentials.access_token)
    except Unauthorized:
        # A new token that is refused stays refused; another request would only count towards a ban.
        disconnect(credentials)
        raise


def renew(
    credentials: Credentials, client: DiscordClient, *, sleep: Callable[[float], None] = time.sleep
) -> Credentials:
    """Return newer tokens than these, from Discord or from another call that is exchanging them now.

    A waiting call fails together with the exchange that it waited for, so that a failing token endpoint gets one
    request instead of one per call. If the lease expires instead, its holder has died, and the next call exchanges the
    token. Raises as `refresh` does, and `DiscordUnavailable` if there are no newer tokens by the client's deadline.
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
        # This matches no row after a success, or if the lease expired and another call has acquired its own.
        _tokens_of(credentials).filter(renewal_until=lease).update(renewal_until=None)


def _tokens_of(credentials: Credentials) -> QuerySet[DiscordAccount]:
    """Select the account if it still has these tokens."""
    return DiscordAccount.objects.filter(user_id=credentials.user_id, token_version=credentials.version)


def _is_renewing() -> Q:
    """Match accounts whose refresh token is being exchanged."""
    return is_leased("renewal_until", gate.attempt_lease())


def _acquire_renewal(credentials: Credentials, client: DiscordClient, deadline: float) -> datetime | None:
    """Acquire the lease and return its end, or None if another call holds one or the tokens have changed.

    The lease covers the attempt up to its deadline, even if the process is suspended meanwhile. So a process that takes
    over the attempt never finds its predecessor's renewal still leased.
    """
    until = database_now() + timedelta(seconds=deadline - client.clock()) + LEASE_MARGIN
    free = _tokens_of(credentials).filter(Q(renewal_until=None) | ~_is_renewing())
    return until if free.update(renewal_until=until) else None


def _wait_for_renewal(
    credentials: Credentials, client: DiscordClient, deadline: float, sleep: Callable[[float], None]
) -> None:
    """Wait until no other call holds the lease on exchanging these tokens."""
    while _tokens_of(credentials).filter(_is_renewing()).exists():
        release_connection()
        left = deadline - client.clock()
        if left <= 0:
            raise DiscordUnavailable(message="another call is still renewing the tokens", route="POST /oauth2/token")
        sleep(min(RENEWAL_POLL_SECONDS, left))


def sealed(tokens: Tokens, user_id: int) -> dict[str, object]:
    """Return `DiscordAccount.extra_data` for a token response. It names its owner, so that no other row can use it."""
    return {
        "user_id": user_id,
        "access_token": tokens.access_token,
        "refresh_token": tokens.refresh_token,
        "expires_at": database_now().timestamp() + tokens.expires_in,
        "scopes": sorted(tokens.scopes),
    }


def store_sign_in(account: DiscordAccount, tokens: Tokens) -> None:
    """Store the tokens from a sign-in. Results obtained with older tokens are discarded from now on."""
    DiscordAccount.objects.filter(pk=account.pk).update(
        extra_data=sealed(tokens, account.user_id),
        token_version=F("token_version") + 1,
        disconnected_at=None,
        renewal_until=None,
    )


def refresh(credentials: Credentials, client: DiscordClient) -> Credentials:
    """Exchange the refresh token and store the new tokens at once, as the old ones no longer work. Only for `renew`.

    Raises `ReconnectRequired` if Discord says `invalid_grant`, which is final, `SiteRefused` if it refuses the site's
    credentials, and `TokensReplaced` if these were no longer the person's tokens.
    """
    try:
        if not credentials.refresh_token:
            raise InvalidGrant(message="there is no refresh token")
        tokens = client.refresh_tokens(credentials.refresh_token)
    except InvalidGrant:
        metrics.TOKEN_REFRESHES.labels("invalid_grant").inc()
        disconnect(credentials)
        raise ReconnectRequired from None
    except SiteRefused:
        metrics.TOKEN_REFRESHES.labels("site_refused").inc()
        raise
    replaced = _tokens_of(credentials).update(
        extra_data=sealed(tokens, credentials.user_id), token_version=credentials.version + 1, renewal_until=None
    )
    metrics.TOKEN_REFRESHES.labels("refreshed" if replaced else "replaced").inc()
    if not replaced:
        if not DiscordAccount.objects.filter(user_id=credentials.user_id).exists():
            # The account was deleted during the exchange, and the revoked token was not this new one.
            revoker.add(Revocation(credentials.user_id, credentials.uid, tokens.refresh_token))
        raise TokensReplaced
    logger.info("discord_tokens_refreshed", user_id=credentials.user_id)
    return Credentials(
        user_id=credentials.user_id,
        uid=credentials.uid,
        version=credentials.version + 1,
        access_token=tokens.access_token,
        refresh_token=tokens.refresh_token,
        scopes=tokens.scopes,
        expired=False,
    )


revoker = Revoker(discord_client)


def revoke(account: DiscordAccount) -> None:
    """Queue the revocation of a deleted account's tokens and return at once.

    Revoking any token ends the whole authorization. The refresh token is preferred because it doesn't expire.
    """
    token = account.extra_data.get("refresh_token") or account.extra_data.get("access_token")
    if token:
        revoker.add(Revocation(account.user_id, account.uid, token))
    else:
        logger.warning("discord_tokens_not_revoked", user_id=account.user_id, reason="there is no readable token")


def disconnect(credentials: Credentials) -> None:
    """Stop using these tokens until the person signs in again. Does nothing if another call already did.

    Raises `TokensReplaced` if there are newer tokens.
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
