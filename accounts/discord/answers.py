"""What an HTTP answer of Discord's means.

`classify` is total: whatever comes, it names one of four meanings and never raises. It knows the two families of
error bodies (the API's `message`, `code`; OAuth's `error`, `error_description`) and the answers that never came from
Discord at all, but from Cloudflare in front of it.

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
    DiscordAPIError,
    DiscordUnavailable,
    Forbidden,
    InvalidGrant,
    MissingScope,
    RateLimited,
    RequestRejected,
    Unauthorized,
)

# A ban lasts a day. A wait of more than a week is a broken header, and obeying it would stop the site for good.
LONGEST_WAIT = 7 * 24 * 3600.0

MISSING_OAUTH_SCOPE = 50026
BLOCKED_BY_CLOUDFLARE = 40333

_SECONDS = re.compile(r"[0-9]+(\.[0-9]*)?|\.[0-9]+", re.ASCII)
_NAMES_THE_GRANT = re.compile(r"\b(refresh_token|code)\b")


@dataclass(frozen=True, slots=True)
class Success:
    """2xx and JSON, or nothing at all: `empty` tells an empty body from the payload `null`."""

    payload: Any
    status: int = 200
    empty: bool = False

    scope = None
    retry_after = None
    counts_as_invalid = False


@dataclass(frozen=True, slots=True)
class Limited:
    """429. `retry_after` is what was named, in seconds and unrounded, or None."""

    scope: str
    retry_after: float | None = None
    code: int | None = None
    message: str = ""

    status = 429

    @property
    def counts_as_invalid(self) -> bool:
        return self.scope != "shared"

    def to_error(self, route: str, attempts: int) -> DiscordAPIError:
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
    """Any other 4xx, or a redirect."""

    status: int
    scope: str | None = None
    retry_after: float | None = None
    code: int | None = None
    message: str = ""
    invalid_grant: bool = False

    @property
    def counts_as_invalid(self) -> bool:
        return self.status in (401, 403)

    def to_error(self, route: str, attempts: int) -> DiscordAPIError:
        return self._error_class()(
            message=self.message,
            status=self.status,
            code=self.code,
            scope=self.scope,
            retry_after=self.retry_after,
            attempts=attempts,
            route=route,
        )

    def _error_class(self) -> type[DiscordAPIError]:
        if self.status == 401:
            return Unauthorized
        if self.status == 403:
            return MissingScope if self.code == MISSING_OAUTH_SCOPE else Forbidden
        return InvalidGrant if self.invalid_grant else RequestRejected


@dataclass(frozen=True, slots=True)
class Broken:
    """Nothing usable: 5xx, an impossible status, a 2xx that is not JSON, or (without status) no answer at all."""

    status: int | None = None
    retry_after: float | None = None
    message: str = ""

    scope = None
    counts_as_invalid = False

    def to_error(self, route: str, attempts: int) -> DiscordAPIError:
        return DiscordUnavailable(
            message=self.message,
            status=self.status,
            retry_after=self.retry_after,
            attempts=attempts,
            route=route,
        )


Answer = Success | Limited | Refused | Broken


def classify(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    secrets: Iterable[str] = (),
    now: float | None = None,
) -> Answer:
    """The meaning of one answer. Never raises.

    `secrets` are cut out of any text that is kept. `now` (Unix time) is only for a Retry-After that is a date in an
    answer without a date of its own.
    """
    lowered = {str(name).lower(): str(value).strip() for name, value in headers.items()}
    is_json, payload = _parse(body)
    if 200 <= status < 300:
        return _success(status, body, is_json, payload)

    fields = payload if isinstance(payload, dict) else {}
    retry_after = _longest_wait(lowered, fields, time.time() if now is None else now)
    message = _message(fields, secrets)
    code = _code(fields)
    if status == 429:
        return Limited(_scope(lowered, fields), retry_after, code, message)
    if status == 403 and (code == BLOCKED_BY_CLOUDFLARE or ("via" not in lowered and not fields)):
        return Refused(status, "cloudflare", retry_after, code, message)
    if 300 <= status < 500:
        return Refused(status, None, retry_after, code, message, _is_invalid_grant(fields))
    return Broken(status, retry_after, message)


def _parse(body: bytes) -> tuple[bool, Any]:
    try:
        return True, json.loads(body.decode(), parse_constant=_reject_constant)
    except (ValueError, RecursionError):
        return False, None


def _reject_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _success(status: int, body: bytes, is_json: bool, payload: Any) -> Answer:
    if status == 204 or not body:
        return Success(None, status, empty=True)
    return Success(payload, status) if is_json else Broken(status, message="the answer is not JSON")


def _scope(headers: Mapping[str, str], fields: Mapping[str, Any]) -> str:
    """Who is limited. Never read from the words of a body: "1015" also stands in a member count."""
    named = headers.get("x-ratelimit-scope", "").lower()
    everybody = headers.get("x-ratelimit-global", "").lower() == "true" or fields.get("global") is True
    if everybody or named == "global":
        return "global"
    if named in ("user", "shared"):
        return named
    # Every answer that passed Discord's own front carries Via; Cloudflare's carry neither that nor a retry_after.
    return "user" if "via" in headers or "retry_after" in fields else "cloudflare"


def _longest_wait(headers: Mapping[str, str], fields: Mapping[str, Any], now: float) -> float | None:
    """The longer of header and body. X-RateLimit-Reset-After is no wait: on a shared limit it means something else."""
    named = [*_header_waits(headers, now), _seconds(fields.get("retry_after"))]
    return max((wait for wait in named if wait is not None), default=None)


def _header_waits(headers: Mapping[str, str], now: float) -> list[float | None]:
    value = headers.get("retry-after", "")
    waits = [_seconds(part) for part in value.split(",")]  # a header sent twice arrives joined by a comma
    if any(wait is not None for wait in waits):
        return waits
    until = _unix_time(value)
    sent = _unix_time(headers.get("date", ""))  # the sender's clock, so that ours need not be right
    return [] if until is None else [_seconds(until - (now if sent is None else sent))]


def _seconds(value: object) -> float | None:
    """A positive number of seconds, or None. Zero names no wait: obeyed to the letter it would be a hot loop."""
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
    return seconds if math.isfinite(seconds) and 0 < seconds <= LONGEST_WAIT else None


def _unix_time(http_date: str) -> float | None:
    try:
        return parsedate_to_datetime(http_date).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError, OSError):
        return None


def _message(fields: Mapping[str, Any], secrets: Iterable[str]) -> str:
    """Discord's own sentence. Bodies that are not JSON are never quoted."""
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


def _is_invalid_grant(fields: Mapping[str, Any]) -> bool:
    error, description = fields.get("error"), fields.get("error_description")
    if error == "invalid_grant":
        return True
    if error != "invalid_request" or not isinstance(description, str):
        return False
    # Older answers of Discord's. A complaint about code_verifier is ours to fix, not the person's.
    return _NAMES_THE_GRANT.search(description) is not None
