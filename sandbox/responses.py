"""Responses in Discord's format: two kinds of errors, rate limit headers and Cloudflare's pages.

Details matter to clients: discord.py treats JSON with a charset as text, and a 429 without `Via` as a ban.
https://docs.discord.com/developers/topics/rate-limits
"""

import functools
import json
import math
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

Headers = tuple[tuple[str, str], ...]

# Discord's own responses pass Google's load balancer; those of Cloudflare in front of it have no Via header.
FROM_DISCORD: Headers = (("Via", "1.1 google"),)
BLOCKED = (
    "You are being blocked from accessing our API temporarily due to exceeding our rate limits frequently. "
    "Please read our docs at https://discord.com/developers/docs/topics/rate-limits to prevent this moving forward."
)
ERROR_1015 = """<!doctype html>
<html lang="en-US">
<head><title>Access denied | discord.com used Cloudflare to restrict access</title></head>
<body>
<h1>Error 1015</h1>
<h2>You are being rate limited</h2>
<p>The owner of this website (discord.com) has banned you temporarily from accessing this website.</p>
</body>
</html>
"""
BAD_GATEWAY = """<html>
<head><title>502 Bad Gateway</title></head>
<body>
<center><h1>502 Bad Gateway</h1></center>
<hr><center>cloudflare</center>
</body>
</html>
"""


@dataclass(frozen=True, slots=True)
class Response:
    """A complete HTTP response. `Content-Length`, `Date` and `Connection` are added when it is sent."""

    status: int
    headers: Headers = ()
    body: bytes = b""
    # A 429 with the scope "shared" does not count towards the ban for invalid requests.
    shared: bool = False

    def with_headers(self, *headers: tuple[str, str]) -> "Response":
        return Response(self.status, self.headers + headers, self.body, self.shared)


def json_response(status: int, payload: Any, headers: Headers = ()) -> Response:
    body = json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()
    return Response(status, (("Content-Type", "application/json"), *FROM_DISCORD, *headers), body)


def html_response(status: int, text: str, headers: Headers = ()) -> Response:
    return Response(status, (("Content-Type", "text/html; charset=UTF-8"), *headers), text.encode())


def api_error(status: int, message: str, code: int = 0) -> Response:
    """Return an error in the API's format."""
    return json_response(status, {"message": message, "code": code})


def oauth_error(status: int, error: str, description: str) -> Response:
    """Return an error in the OAuth endpoints' format (RFC 6749, section 5.2)."""
    return json_response(status, {"error": error, "error_description": description})


def unauthorized() -> Response:
    return api_error(401, "401: Unauthorized")


def not_found() -> Response:
    return api_error(404, "404: Not Found")


def missing_scope() -> Response:
    return api_error(403, "Missing required OAuth2 scope", 50026)


@functools.cache
def bucket_hash(route: str) -> str:
    """Return the name of a route's bucket, which is the same in every response and every run."""
    return sha256(f"bucket {route}".encode()).hexdigest()[:32]


def bucket_headers(route: str, *, limit: int, remaining: int, reset_after: float, now: float) -> Headers:
    """Return the five bucket headers. `now` is Unix time, `reset_after` in seconds; both get three decimals."""
    return (
        ("X-RateLimit-Limit", str(limit)),
        ("X-RateLimit-Remaining", str(remaining)),
        ("X-RateLimit-Reset", f"{now + reset_after:.3f}"),
        ("X-RateLimit-Reset-After", f"{reset_after:.3f}"),
        ("X-RateLimit-Bucket", bucket_hash(route)),
    )


def rate_limited(route: str, retry_after: float, now: float, *, scope: str = "user", limit: int = 1) -> Response:
    """Return a 429 of Discord's. `scope` is "user", "shared" or "global"; a global one has no bucket."""
    retry_after = _to_the_millisecond(retry_after)
    if scope == "global":
        headers: Headers = (("X-RateLimit-Global", "true"),)
    else:
        headers = bucket_headers(route, limit=limit, remaining=0, reset_after=retry_after, now=now)
    headers = (("Retry-After", str(math.ceil(retry_after))), *headers, ("X-RateLimit-Scope", scope))
    response = json_response(429, limit_body(retry_after, scope=scope), headers)
    return Response(response.status, response.headers, response.body, shared=scope == "shared")


def limit_body(retry_after: float, *, scope: str = "user") -> dict[str, Any]:
    """Return the body of a 429. The documentation calls `code` optional, but the OpenAPI document requires it."""
    who = "The resource is" if scope == "shared" else "You are"
    body: dict[str, Any] = {"message": f"{who} being rate limited.", "retry_after": retry_after}
    return body | {"global": scope == "global", "code": 40062 if scope == "shared" else 0}


def limit_without_headers(retry_after: float) -> Response:
    return json_response(429, limit_body(_to_the_millisecond(retry_after)))


def cloudflare_html(retry_after: float | None = None) -> Response:
    return html_response(429, ERROR_1015, _retry_after(retry_after))


def cloudflare_json(retry_after: float | None = None) -> Response:
    """Return Cloudflare's ban as JSON, which resembles Discord's format but may name no wait."""
    body = json.dumps({"message": BLOCKED, "code": 0}).encode()
    return Response(429, (("Content-Type", "application/json"), *_retry_after(retry_after)), body)


def _retry_after(seconds: float | None) -> Headers:
    return () if seconds is None else (("Retry-After", str(math.ceil(seconds))),)


def _to_the_millisecond(seconds: float) -> float:
    """Round up to milliseconds, so that a client that waits exactly this long is not early."""
    return math.ceil(round(seconds * 1000, 6)) / 1000
