"""The Discord API client: strings in, values out.

Knows nothing of Django, of requests to the site or of its users. What may be asked when is decided above it, through
the client's `before_send`; what came of it is told to `on_answer`.
"""

from .answers import Answer, Broken, Limited, Refused, Success, classify
from .client import DEFAULT_BASE_URL, DiscordClient, Exchange
from .errors import (
    DiscordAPIError,
    DiscordUnavailable,
    Forbidden,
    InvalidGrant,
    MissingScope,
    RateLimited,
    RequestRejected,
    Unauthorized,
)
from .transport import USER_AGENT, shared_session
from .types import CurrentUser, Guild, InvalidPayload, PartialGuild, Permissions, Tokens

__all__ = [
    "DEFAULT_BASE_URL",
    "USER_AGENT",
    "Answer",
    "Broken",
    "CurrentUser",
    "DiscordAPIError",
    "DiscordClient",
    "DiscordUnavailable",
    "Exchange",
    "Forbidden",
    "Guild",
    "InvalidGrant",
    "InvalidPayload",
    "Limited",
    "MissingScope",
    "PartialGuild",
    "Permissions",
    "RateLimited",
    "Refused",
    "RequestRejected",
    "Success",
    "Tokens",
    "Unauthorized",
    "classify",
    "shared_session",
]
