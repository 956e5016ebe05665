"""The client's exceptions.

    DiscordAPIError
    ├── RateLimited            429 in any scope: "user", "shared", "global", "cloudflare"; 403 by Cloudflare
    ├── DiscordUnavailable     no response: 5xx, timeout, broken connection, deadline passed
    ├── Unauthorized           401 for the person's token
    ├── Forbidden              403 for the person's token
    │   ├── MissingScope       403 with code 50026: the person did not grant what this route needs
    │   └── MissingAccess      403 with code 50001: the token's owner is not in the guild
    │       └── BotMissingAccess   the same for the bot's token, on a route about one guild
    ├── SiteRefused            this site's own credentials: its client id or secret, redirect URI or bot token
    ├── InvalidGrant           the code or the refresh token was used, expired or revoked: final, never transient
    ├── UnknownGuild           404 with code 10004
    ├── UnknownMember          404 with code 10007 or 10013
    └── UnusableResponse       an unusable response: a 2xx of the wrong shape
        └── RequestRejected    any other 4xx, or a redirect

Every attribute has a default, so that a caller that refuses to send a request can raise the same types:
`RateLimited(retry_after=12.0, scope="global")`. No error holds a token, a code or a body.
"""

import re
from typing import Any

MESSAGE_LENGTH = 200  # enough for all of Discord's messages, and keeps a log line short

_TAG = re.compile(r"<[^>]*>?")
_NOT_PRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


def clean_message(text: str) -> str:
    """Return one printable line without markup or control characters, of at most `MESSAGE_LENGTH` characters."""
    plain = _NOT_PRINTABLE.sub(" ", _TAG.sub(" ", text))
    plain = " ".join(plain.split())
    return plain if len(plain) <= MESSAGE_LENGTH else plain[: MESSAGE_LENGTH - 1] + "…"


class DiscordAPIError(Exception):
    """A request failed. `attempts` counts the requests that were sent; `retry_after` is in seconds."""

    summary = "the request to Discord failed"

    def __init__(
        self,
        *,
        message: str = "",
        status: int | None = None,
        code: int | None = None,
        scope: str | None = None,
        retry_after: float | None = None,
        attempts: int = 0,
        route: str = "",
    ) -> None:
        super().__init__()
        self.message = clean_message(message)
        self.status = status
        self.code = code
        self.scope = scope
        self.retry_after = retry_after
        self.attempts = attempts
        self.route = route

    def __str__(self) -> str:
        facts = [
            f"status {self.status}" if self.status is not None else "",
            f"code {self.code}" if self.code else "",
            f"scope {self.scope}" if self.scope else "",
            f"retry after {self.retry_after:g} s" if self.retry_after is not None else "",
            f"{self.attempts} attempts" if self.attempts > 1 else "",
        ]
        sentence = f"{self.route}: {self.summary}" if self.route else self.summary
        if known := ", ".join(filter(None, facts)):
            sentence += f" ({known})"
        return f"{sentence}: {self.message}" if self.message else sentence

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self}>"


class RateLimited(DiscordAPIError):
    """429, or 403 if Cloudflare blocks our address. `retry_after` is None if no wait was named."""

    summary = "Discord is rate-limiting us"


class DiscordUnavailable(DiscordAPIError):
    """There was no usable response, so nothing is known about the request's subject."""

    summary = "Discord did not respond"


class Unauthorized(DiscordAPIError):
    """401 for the person's token."""

    summary = "Discord refuses the token"


class Forbidden(DiscordAPIError):
    """403."""

    summary = "Discord forbids this"


class MissingScope(Forbidden):
    """The token is valid but lacks a scope that this route needs."""

    summary = "the token lacks a required scope"


class MissingAccess(Forbidden):
    """The token is valid, but its owner is not in the guild or can't see it."""

    summary = "the token's owner has no access"


class BotMissingAccess(MissingAccess):
    """The bot's token is valid, but the bot can't see the guild or channel that the route names."""

    summary = "the bot has no access"


class SiteRefused(DiscordAPIError):
    """The site's own credentials are refused: `credentials` is "client", "redirect_uri" or "bot". For the operator."""

    summary = "Discord refuses this site's credentials"

    def __init__(self, *, credentials: str = "client", **facts: Any) -> None:
        super().__init__(**facts)
        self.credentials = credentials


class UnknownGuild(DiscordAPIError):
    """The guild does not exist, or the token's owner is not in it."""

    summary = "Discord knows no such guild"


class UnknownMember(DiscordAPIError):
    """The guild has no such member, or Discord no such user."""

    summary = "Discord knows no such member"


class UnusableResponse(DiscordAPIError):
    """Discord responded, but this site can't use the response."""

    summary = "Discord sent an unexpected reply"


class RequestRejected(UnusableResponse):
    """Discord rejected the request and would reject the same request again."""

    summary = "Discord rejected the request"


class InvalidGrant(DiscordAPIError):
    """The person has to sign in again. Discord's response is the same for revoked, expired, reused and banned."""

    summary = "Discord no longer accepts this grant"
