"""The mapping from exceptions of the client, the tokens and the gate to reasons, shared by all callers."""

from accounts.discord import (
    BotMissingAccess,
    DiscordAPIError,
    DiscordUnavailable,
    Forbidden,
    InvalidGrant,
    MissingScope,
    RateLimited,
    SiteRefused,
    Unauthorized,
)
from accounts.limits import GateShut, Reason
from accounts.tokens import ReconnectRequired, TokensUnreadable


def reason_of(error: Exception) -> Reason | None:
    """Return the reason for `error`, or None if it came neither from Discord nor from the code that calls Discord."""
    match error:
        case GateShut():
            return error.reason
        case RateLimited():
            return Reason.of_limit(error.scope)
        case DiscordUnavailable():
            return Reason.UNAVAILABLE
        case SiteRefused():
            return Reason.SITE_REFUSED
        case BotMissingAccess():
            return Reason.BOT_ABSENT
        case MissingScope():
            return Reason.MISSING_SCOPE
        case TokensUnreadable():
            return error.reason
        case ReconnectRequired() | Unauthorized() | Forbidden() | InvalidGrant():
            return Reason.RECONNECT_REQUIRED
        case DiscordAPIError():
            return Reason.UNUSABLE
    return None
