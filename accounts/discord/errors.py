"""Everything that can go wrong between us and Discord, as types.

    DiscordAPIError
    ├── RateLimited            429, in any scope: "user", "shared", "global", "cloudflare"
    ├── DiscordUnavailable     no usable answer: 5xx, timeout, broken connection, deadline passed, nonsense in a 200
    ├── Unauthorized           401
    ├── Forbidden              403; scope "cloudflare" if it is our address that is blocked
    │   └── MissingScope       403 with code 50026: the person did not grant what this route needs
    └── RequestRejected        any other 4xx, or a redirect
        └── InvalidGrant       the code or the refresh token is used up, expired or revoked: final, never transient

Every attribute has a default, so that a layer that refuses before asking can raise the same types:
`RateLimited(retry_after=12.0, scope="global")`. No error ever holds a token, a code or a body.
"""

import re

MESSAGE_LENGTH = 200  # enough for every sentence of Discord's; a log line should stay a line

_TAG = re.compile(r"<[^>]*>?")
_NOT_PRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


def clean_message(text: str) -> str:
    """One short printable line: no markup, no control characters, at most `MESSAGE_LENGTH` characters."""
    plain = _NOT_PRINTABLE.sub(" ", _TAG.sub(" ", text))
    plain = " ".join(plain.split())
    return plain if len(plain) <= MESSAGE_LENGTH else plain[: MESSAGE_LENGTH - 1] + "…"


class DiscordAPIError(Exception):
    """A request that brought no value. `attempts` counts what was really sent; `retry_after` is in seconds."""

    summary = "Discord's API could not be used"

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
    """429. `retry_after` is None if nobody named a wait."""

    summary = "Discord limits our requests"


class DiscordUnavailable(DiscordAPIError):
    """Nothing was learned: neither that something is so, nor that it is not."""

    summary = "Discord gave no usable answer"


class Unauthorized(DiscordAPIError):
    """401. On the token route it is our own client id or secret that is refused, not the person's token."""

    summary = "Discord refuses the credentials"


class Forbidden(DiscordAPIError):
    """403."""

    summary = "Discord forbids this"


class MissingScope(Forbidden):
    """The token is fine, but was granted for less than this route needs."""

    summary = "Discord asks for a scope that was not granted"


class RequestRejected(DiscordAPIError):
    """Discord understood, and will answer the same to the same request."""

    summary = "Discord rejected the request"


class InvalidGrant(RequestRejected):
    """Only a new sign-in helps. Discord says the same for revoked, expired, used twice and banned."""

    summary = "Discord no longer accepts this grant"
