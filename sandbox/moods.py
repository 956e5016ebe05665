"""Moods: the failures of Discord that the sandbox can simulate.

A mood ends after `for_seconds` or after `for_requests` requests. Moods are not stored, so a sandbox starts healthy.
"""

import functools
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sandbox.inputs import BadInput, as_integer, as_number, as_object, as_text, as_texts

MODES = {
    "healthy": "Everything works, within Discord's real limits.",
    "rate_limited": "429: too many requests for this person (scope user).",
    "global_limit": "429: too many requests from the application (scope global).",
    "shared_limit": "429: the resource is busy (scope shared).",
    "cloudflare_html": "429 from Cloudflare with an HTML page.",
    "cloudflare_json": "429 from Cloudflare with JSON that names no wait.",
    "outage": "503: Discord is down.",
    "bad_gateway": "502 with an HTML page.",
    "timeout": "Never responds.",
    "drip": "Sends the response byte by byte.",
    "reset": "Resets the connection without a response.",
    "garbage": "200 with a body that is not valid JSON.",
    "truncated": "Sends only half of the response.",
    "wrong_type": "200 with an object instead of a list, or a list instead of an object.",
    "null_body": "200 with null.",
    "unauthorized": "401: the token is no longer valid.",
    "forbidden": "403: access denied.",
    "no_headers": "429 without Retry-After and X-RateLimit-*; only the body names the wait.",
    "dead_refresh": "Refreshing a token works, but the new token is always refused (401).",
    "short_page": "A page of servers holds one less than its limit: 199 of 200.",
    "raw": "Custom status, headers and body.",
}
# Path templates as in Discord's documentation.
ROUTES = (
    "/users/@me",
    "/users/@me/guilds",
    "/users/@me/guilds/{guild.id}/member",
    "/oauth2/token",
    "/oauth2/token/revoke",
    "/oauth2/@me",
    "/oauth2/applications/@me",
    "/applications/@me",
    "/gateway",
    "/gateway/bot",
    "/guilds/{guild.id}",
    "/guilds/{guild.id}/members/{user.id}",
    "/guilds/{guild.id}/roles",
    "/guilds/{guild.id}/channels",
)
# The routes whose answer is a list.
LISTS = ("/users/@me/guilds", "/guilds/{guild.id}/roles", "/guilds/{guild.id}/channels")
DEFAULT_RETRY_AFTER = 30.0
DEFAULT_DRIP_MS = 500
_PREFIX = re.compile(r"/api(?:/v[0-9]+)?(?=/)")
_PATTERNS = {route: re.compile(re.sub(r"\\{[^}]*\\}", "([^/]+)", re.escape(route))) for route in ROUTES}
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FIELDS = (
    "mode",
    "retry_after",
    "for_seconds",
    "for_requests",
    "people",
    "routes",
    "latency_ms",
    "status",
    "headers",
    "body",
)


@dataclass(frozen=True, slots=True)
class Mood:
    """A way to respond, for some people and routes or for all.

    `until` is a time of the sandbox's clock, `for_requests` the number of requests it still applies to.
    """

    mode: str = "healthy"
    retry_after: float | None = None
    until: float | None = None
    for_requests: int | None = None
    people: tuple[str, ...] | None = None
    routes: tuple[str, ...] | None = None
    latency_ms: int = 0
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: str = ""

    @property
    def wait(self) -> float:
        return DEFAULT_RETRY_AFTER if self.retry_after is None else self.retry_after

    @property
    def latency(self) -> float:
        """Seconds before the response begins; 0 for `drip`, which uses the value as the pause between bytes."""
        return 0.0 if self.mode == "drip" else self.latency_ms / 1000

    @property
    def drip_pause(self) -> float:
        return (self.latency_ms or DEFAULT_DRIP_MS) / 1000

    def applies_to(self, path: str, route: str, person: str | None) -> bool:
        """Whether this mood applies to a request of `person` for `path`, whose template is `route`."""
        if self.people is not None and person not in self.people:
            return False
        if self.routes is None:
            # These moods refuse access tokens. At the token endpoint a 401 would mean a wrong client secret.
            return not (self.mode in ("unauthorized", "forbidden") and route.startswith("/oauth2/token"))
        return path in self.routes or route in self.routes

    def to_json(self, now: float) -> dict[str, Any]:
        fields: dict[str, Any] = {"mode": self.mode, "latency_ms": self.latency_ms}
        fields["retry_after"] = self.retry_after
        fields["for_seconds"] = None if self.until is None else round(self.until - now, 3)
        fields["for_requests"] = self.for_requests
        fields["people"] = None if self.people is None else list(self.people)
        fields["routes"] = None if self.routes is None else list(self.routes)
        if self.mode == "raw":
            fields |= {"status": self.status, "headers": dict(self.headers), "body": self.body}
        return fields


HEALTHY = Mood()


@functools.lru_cache(maxsize=1000)
def route_of(path: str) -> tuple[str, tuple[str, ...]]:
    """Return the template of a path (without /api/v10) and the ids in it, or ("", ()) for an unknown path."""
    for route, pattern in _PATTERNS.items():
        match = pattern.fullmatch(path)
        if match:
            return route, match.groups()
    return "", ()


def mood_from_json(data: Any, *, now: float, people: Iterable[str], also: Iterable[str] = ()) -> Mood:
    """Parse a mood that begins at `now`. Raises BadInput.

    `also` names additional fields that the caller handles (a scenario's `at_seconds`).
    """
    data = as_object(data, "a mood", (*_FIELDS, *also))
    mode = data.get("mode", "healthy" if "latency_ms" in data else None)
    if not isinstance(mode, str) or mode not in MODES:
        raise BadInput(f"there is no mode {mode!r}; the modes are {', '.join(MODES)}")
    _only_for_raw(mode, data)
    lasts = _optional(data, "for_seconds")
    return Mood(
        mode=mode,
        retry_after=_optional(data, "retry_after", maximum=30 * 24 * 3600),
        until=None if lasts is None else now + lasts,
        for_requests=_requests(data),
        people=_people(data, people),
        routes=_routes(data),
        latency_ms=as_integer(data.get("latency_ms", 0), "'latency_ms'", maximum=600_000),
        status=as_integer(data.get("status", 200), "'status'", minimum=200, maximum=599),
        headers=_headers(data.get("headers", {})),
        body=_body(data.get("body", "")),
    )


def _only_for_raw(mode: str, data: Mapping[str, Any]) -> None:
    given = [name for name in ("status", "headers", "body") if name in data]
    if mode == "raw" and "status" not in given:
        raise BadInput("the mode 'raw' needs a 'status'; 'headers' and 'body' are optional")
    if mode != "raw" and given:
        raise BadInput(f"{given[0]!r} is only for the mode 'raw', not for {mode!r}")


def _optional(data: Mapping[str, Any], name: str, *, maximum: float = 10**9) -> float | None:
    value = data.get(name)
    return None if value is None else as_number(value, f"'{name}'", maximum=maximum)


def _requests(data: Mapping[str, Any]) -> int | None:
    value = data.get("for_requests")
    return None if value is None else as_integer(value, "'for_requests'", minimum=1)


def _people(data: Mapping[str, Any], people: Iterable[str]) -> tuple[str, ...] | None:
    if data.get("people") is None:
        return None
    names = as_texts(data["people"], "'people'")
    there = sorted(people)
    for name in names:
        if name not in there:
            raise BadInput(f"'people' names {name!r}, who does not exist; choose from {', '.join(there)}")
    return tuple(names)


def _routes(data: Mapping[str, Any]) -> tuple[str, ...] | None:
    if data.get("routes") is None:
        return None
    routes = tuple(_PREFIX.sub("", route, count=1) for route in as_texts(data["routes"], "'routes'"))
    for route in routes:
        if not route_of(route)[0]:
            raise BadInput(f"'routes' names {route!r}, which is unknown; choose from {', '.join(ROUTES)}")
    return routes


def _headers(headers: Any) -> tuple[tuple[str, str], ...]:
    headers = as_object(headers, "'headers'")
    for name, value in headers.items():
        text = as_text(value, f"'headers.{name}'")
        if not _HEADER_NAME.fullmatch(name) or "\r" in text or "\n" in text:
            raise BadInput(f"'headers' has {name!r}, which cannot be sent as a header")
    return tuple(headers.items())


def _body(body: Any) -> str:
    """Return a string unchanged, and anything else as JSON."""
    if isinstance(body, str):
        return as_text(body, "'body'")
    return json.dumps(body)
