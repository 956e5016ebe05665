"""The Discord API client: it takes strings and returns values.

It does not depend on Django, the site's requests or its users. Callers decide when a request may be sent through the
client's `before_send`, and learn the result through `on_response`.
"""

from .client import DEFAULT_BASE_URL, DiscordClient, Exchange
from .errors import (
    DiscordAPIError,
    DiscordUnavailable,
    Forbidden,
    InvalidGrant,
    MissingAccess,
    MissingScope,
    RateLimited,
    RequestRejected,
    SiteRefused,
    Unauthorized,
    UnknownGuild,
    UnknownMember,
    UnusableResponse,
)
from .responses import Broken, DiscordResponse, Limited, Refused, Success, classify
from .transport import shared_session
from .types import (
    Application,
    Channel,
    ChannelKind,
    CurrentUser,
    Guild,
    GuildPage,
    InstallSettings,
    InvalidPayload,
    Listing,
    Member,
    Overwrite,
    PartialGuild,
    PermissionName,
    Permissions,
    Role,
    Tokens,
)

__all__ = [
    "DEFAULT_BASE_URL",
    "Application",
    "Broken",
    "Channel",
    "ChannelKind",
    "CurrentUser",
    "DiscordAPIError",
    "DiscordClient",
    "DiscordResponse",
    "DiscordUnavailable",
    "Exchange",
    "Forbidden",
    "Guild",
    "GuildPage",
    "InstallSettings",
    "InvalidGrant",
    "InvalidPayload",
    "Limited",
    "Listing",
    "Member",
    "MissingAccess",
    "MissingScope",
    "Overwrite",
    "PartialGuild",
    "PermissionName",
    "Permissions",
    "RateLimited",
    "Refused",
    "RequestRejected",
    "Role",
    "SiteRefused",
    "Success",
    "Tokens",
    "Unauthorized",
    "UnknownGuild",
    "UnknownMember",
    "UnusableResponse",
    "classify",
    "shared_session",
]
