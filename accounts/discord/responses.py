"""Classification of Discord's HTTP responses.

`classify` is total: it assigns one of four meanings to any response and never raises. It knows the two formats of
error bodies (the API's `message` and `code`; OAuth's `error` and `error_description`) and the responses that came from
Cloudflare in front of Discord.

https://docs.discord.com/developers/topics/rate-limits
"""

import json
import math
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from .errors import (
    BotMissingAccess,
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

# Seconds. A ban lasts a day; a wait of over a week is a broken header, and obeying it would stop the site.
MAX_WAIT = 7 * 24 * 3600.0

# The owner of a request's credentials.
PERSON, CLIENT, BOT = "person", "client", "bot"

# https://docs.discord.com/developers/topics/opcodes-and-status-codes#json-json-error-codes
UNKNOWN_GUILD = 10004
UNKNOWN_MEMBER = 10007
UNKNOWN_USER = 10013
MISSING_ACCESS = 50001
MISSING_OAUTH_SCOPE = 50026
BLOCKED_BY_CLOUDFLARE = 40333

# By the owner of the credentials.
_FORBIDDEN: dict[tuple[str, int | None], type[DiscordAPIError]] = {
    (PERSON, MISSING_OAUTH_SCOPE): MissingScope,
    (PERSON, MISSING_ACCESS): MissingAccess,
    (BOT, MISSING_ACCESS): BotMissingAccess,
}
_UNKNOWN: dict[int | None, type[DiscordAPIError]] = {
    UNKNOWN_GUILD: UnknownGuild,
    UNKNOWN_MEMBER: UnknownMember,
    UNKNOWN_USER: UnknownMember,
}

_SECONDS = re.compile(r"[0-9]+(\.[0-9]*)?|\.[0-9]+", re.ASCII)
_NAMES_THE_GRANT = re.compile(r"\b(refresh_token|code)\b")
_NAMES_THE_REDIRECT = re.compile(r"\bredirect_uri\b")


@dataclass(frozen=True, slots=True)
class Success:
    """2xx with JSON or an empty body; `empty` distinguishes an empty body from the payload `null`."""

    payload: Any
    status: int = 200
    empty: bool = False

    scope = None
    retry_after = None
    counts_as_invalid = False


@dataclass(frozen=True, slots=True)
class Limited:
    """429. `retry_after` is the wait that was named, in seconds and unrounded, or None."""

    scope: str
    retry_after: float | None = None
    code: int | None = None
    message: str = ""

    status = 429

    @property
    def counts_as_invalid(self) -> bool:
        return self.scope != "shared"

    def to_error(self, route: str, attempts: int, credentials: str = PERSON) -> DiscordAPIError:
        return RateLimited(
            message=self.message,
            status=self.status,
            code=self.code,
            scope=self.scope,
            retry_after=self.retry_after,
            attempts=attempts,
            route=route,
        )


@dataclass(frozen=True, slots=True)
class Refused:
    """Any other 4xx, or a redirect. `oauth` is what a token endpoint refuses: "grant", "client" or "redirect_uri"."""

    status: int
    scope: str | None = None
    retry_after: float | None = None
    code: int | None = None
    message: str = ""
    oauth: str = ""

    @property
    def counts_as_invalid(self) -> bool:
        return self.status in (401, 403)

    def to_error(self, route: str, attempts: int, credentials: str = PERSON) -> DiscordAPIError:
        facts: dict[str, Any] = {
            "message": self.message,
            "status": self.status,
            "code": self.code,
            "scope": self.scope,
            "retry_after": self.retry_after,
            "attempts": attempts,
            "route": route,
        }
        if refused := self._refused_of_the_site(credentials, route):
            return SiteRefused(credentials=refused, **facts)
        return self._error_class(credentials)(**facts)

    def _refused_of_the_site(self, credentials: str, route: str) -> str:
        """Return which of the site's own credentials Discord refuses; empty if it refuses something else."""
        if self.scope == "cloudflare":
            return ""
        if self.oauth in ("client", "redirect_uri"):
            return self.oauth
        # Missing access is about the guild or channel that the route names, not about the bot's token.
        is_about_a_guild = credentials == BOT and self.code == MISSING_ACCESS and "{" in route
        refused = self.status == 401 or (self.status == 403 and not is_about_a_guild)
        return credentials if refused and credentials != PERSON else ""

    def _error_class(self, credentials: str) -> type[DiscordAPIError]:
        if self.scope == "cloudflare":
            return RateLimited
        if self.status == 401:
            return Unauthorized
        if self.status == 403:
            return _FORBIDDEN.get((credentials, self.code), Forbidden)
        if self.code in _UNKNOWN:
            return _UNKNOWN[self.code]
        return InvalidGrant if self.oauth == "grant" and credentials != BOT else RequestRejected


@dataclass(frozen=True, slots=True)
class Broken:
    """Nothing usable: 5xx, an impossible status, a 2xx that is not JSON, or (without status) no response at all.

    `is_cut_off` is true if the connection broke before the end of a 2xx.
    """

    status: int | None = None
    retry_after: float | None = None
    message: str = ""
    is_cut_off: bool = False

    scope = None
    counts_as_invalid = False

    def to_error(self, route: str, attempts: int, credentials: str = PERSON) -> DiscordAPIError:
        is_silence = self.status is None or self.is_cut_off or 500 <= self.status < 600
        return (DiscordUnavailable if is_silence else UnusableResponse)(
            message=self.message,
            status=self.status,
            retry_after=self.retry_after,
            attempts=attempts,
            route=route,
        )


DiscordResponse = Success | Limited | Refused | Broken


def classify(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    secrets: Iterable[str] = (),
    now: float | None = None,
) -> DiscordResponse:
    """Return the meaning of one response. Never raises.

    `secrets` are removed from any text that is kept. `now` (Unix time) is used only for a Retry-After that is a date,
    in a response without a Date header.
    """
    lowered = {str(name).lower(): str(value).strip() for name, value in headers.items()}
    is_json, payload = _parse(body)
    if 200 <= status < 300:
        return _success(status, body, is_json, payload)

    fields = payload if isinstance(payload, dict) else {}
    retry_after = _max_wait(lowered, fields, time.time() if now is None else now)
    message = _message(fields, secrets)
    code = _code(fields)
    if status == 429:
        return Limited(_scope(lowered, fields), retry_after, code, message)
    if status == 403 and (code == BLOCKED_BY_CLOUDFLARE or ("via" not in lowered and not fields)):
        return Refused(status, "cloudflare", retry_after, code, message)
    if 300 <= status < 500:
        return Refused(status, None, retry_after, code, message, _refused_by_oauth(fields))
    return Broken(status, retry_after, message)


def _parse(body: bytes) -> tuple[bool, Any]:
    try:
        return True, json.loads(body.decode(), parse_constant=_reject_constant)
    except (ValueError, RecursionError):
        return False, None


def _reject_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _success(status: int, body: bytes, is_json: bool, payload: Any) -> DiscordResponse:
    if status == 204 or not body:
        return Success(None, status, empty=True)
    return Success(payload, status) if is_json else Broken(status, message="the response is not JSON")


def _scope(headers: Mapping[str, str], fields: Mapping[str, Any]) -> str:
    """Return the limit's scope. The body's text is never searched: "1015" also occurs in a member count."""
    named = headers.get("x-ratelimit-scope", "").lower()
    is_global = headers.get("x-ratelimit-global", "").lower() == "true" or fields.get("global") is True
    if is_global or named == "global":
        return "global"
    if named in ("user", "shared"):
        return named
    # Responses from Discord's own front end have a Via header; Cloudflare's have neither that nor a retry_after.
    return "user" if "via" in headers or "retry_after" in fields else "cloudflare"


def _max_wait(headers: Mapping[str, str], fields: Mapping[str, Any], now: float) -> float | None:
    """Return the longest wait in headers and body. Ignores X-RateLimit-Reset-After, which is not a wait if shared."""
    named = [*_header_waits(headers, now), _seconds(fields.get("retry_after"))]
    return max((wait for wait in named if wait is not None), default=None)


def _header_waits(headers: Mapping[str, str], now: float) -> list[float | None]:
    value = headers.get("retry-after", "")
    waits = [_seconds(part) for part in value.split(",")]  # a repeated header arrives joined by a comma
    if any(wait is not None for wait in waits):
        return waits
    until = unix_time(value)
    sent = unix_time(headers.get("date", ""))  # the sender's clock, as ours may be wrong
    return [] if until is None else [_seconds(until - (now if sent is None else sent))]


def _seconds(value: object) -> float | None:
    """Parse a positive number of seconds, or return None. Zero counts as no wait, as obeying it would be a hot loop."""
    if isinstance(value, str):
        text = value.strip()
        if not _SECONDS.fullmatch(text):
            return None
        seconds = float(text)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        try:
            seconds = float(value)
        except OverflowError:
            return None
    else:
        return None
    return seconds if math.isfinite(seconds) and 0 < seconds <= MAX_WAIT else None


def unix_time(http_date: str) -> float | None:
    try:
        return parsedate_to_datetime(http_date).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError, OSError):
        return None


def _message(fields: Mapping[str, Any], secrets: Iterable[str]) -> str:
    """Return Discord's own message. Bodies that are not JSON are never quoted."""
    for name in ("message", "error_description", "error"):
        text = fields.get(name)
        if isinstance(text, str) and text:
            for secret in filter(None, secrets):
                text = text.replace(secret, "[hidden]")
            return text
    return ""


def _code(fields: Mapping[str, Any]) -> int | None:
    code = fields.get("code")
    return code if isinstance(code, int) and not isinstance(code, bool) else None


def _refused_by_oauth(fields: Mapping[str, Any]) -> str:
    """Return what a token endpoint refuses (RFC 6749, section 5.2), as in `Refused.oauth`; empty for other errors."""
    error, description = fields.get("error"), fields.get("error_description")
    if error == "invalid_client":
        return "client"
    if error not in ("invalid_grant", "invalid_request"):
        return ""
    described = description if isinstance(description, str) else ""
    if _NAMES_THE_REDIRECT.search(described):
        return "redirect_uri"
    # Discord used to say invalid_request here. An error about code_verifier is a bug in our code, not a refused grant.
    return "grant" if error == "invalid_grant" or _NAMES_THE_GRANT.search(described) else ""
