"""What Discord's answers look like on the wire: two shapes of errors, the headers of a limit, Cloudflare's pages.

Clients in the wild look closely: discord.py takes JSON with a charset for text, and a 429 without `Via` for a ban.
https://docs.discord.com/developers/topics/rate-limits
"""

import json
import math
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

Headers = tuple[tuple[str, str], ...]

# Discord's own answers come through Google's load balancer; what Cloudflare answers in front of it has no Via.
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
class Answer:
    """A complete HTTP answer. `Content-Length`, `Date` and `Connection` are added when it is sent."""

    status: int
    headers: Headers = ()
    body: bytes = b""
    # An answer of the shared scope does not count towards the invalid-request ban.
    shared: bool = False

    def with_headers(self, *headers: tuple[str, str]) -> "Answer":
        return Answer(self.status, self.headers + headers, self.body, self.shared)

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


def json_answer(status: int, payload: Any, headers: Headers = ()) -> Answer:
    body = json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()
    return Answer(status, (("Content-Type", "application/json"), *FROM_DISCORD, *headers), body)


def html_answer(status: int, text: str, headers: Headers = ()) -> Answer:
    return Answer(status, (("Content-Type", "text/html; charset=UTF-8"), *headers), text.encode())


def api_error(status: int, message: str, code: int = 0) -> Answer:
    """The shape of the API's errors."""
    return json_answer(status, {"message": message, "code": code})


def oauth_error(status: int, error: str, description: str) -> Answer:
    """The shape of the OAuth endpoints' errors (RFC 6749, section 5.2)."""
    return json_answer(status, {"error": error, "error_description": description})


def unauthorized() -> Answer:
    return api_error(401, "401: Unauthorized")


def not_found() -> Answer:
    return api_error(404, "404: Not Found")


def missing_scope() -> Answer:
    return api_error(403, "Missing required OAuth2 scope", 50026)


def bucket_hash(route: str) -> str:
    """The name of a route's bucket, the same in every answer and every run."""
    return sha256(f"bucket {route}".encode()).hexdigest()[:32]


def bucket_headers(route: str, *, limit: int, remaining: int, reset_after: float, now: float) -> Headers:
    """The five bucket headers; `now` is the Unix time, the rest are seconds with three decimals."""
    return (
        ("X-RateLimit-Limit", str(limit)),
        ("X-RateLimit-Remaining", str(remaining)),
        ("X-RateLimit-Reset", f"{now + reset_after:.3f}"),
        ("X-RateLimit-Reset-After", f"{reset_after:.3f}"),
        ("X-RateLimit-Bucket", bucket_hash(route)),
    )


def rate_limited(route: str, retry_after: float, now: float, *, scope: str = "user") -> Answer:
    """A 429 of Discord's. `scope` is user, shared or global; the global one has no bucket."""
    retry_after = _to_the_millisecond(retry_after)
    if scope == "global":
        headers: Headers = (("X-RateLimit-Global", "true"),)
    else:
        headers = bucket_headers(route, limit=1, remaining=0, reset_after=retry_after, now=now)
    headers = (("Retry-After", str(math.ceil(retry_after))), *headers, ("X-RateLimit-Scope", scope))
    answer = json_answer(429, limit_body(retry_after, scope=scope), headers)
    return Answer(answer.status, answer.headers, answer.body, shared=scope == "shared")


def limit_body(retry_after: float, *, scope: str = "user") -> dict[str, Any]:
    """The body of a 429. The documentation calls `code` optional, the OpenAPI document requires it."""
    who = "The resource is" if scope == "shared" else "You are"
    body: dict[str, Any] = {"message": f"{who} being rate limited.", "retry_after": retry_after}
    return body | {"global": scope == "global", "code": 40062 if scope == "shared" else 0}


def limit_without_headers(retry_after: float) -> Answer:
    return json_answer(429, limit_body(_to_the_millisecond(retry_after)))


def cloudflare_html(retry_after: float | None = None) -> Answer:
    return html_answer(429, ERROR_1015, _retry_after(retry_after))


def cloudflare_json(retry_after: float | None = None) -> Answer:
    """The ban as JSON, stored at Cloudflare: it looks like Discord's shape and knows no time."""
    body = json.dumps({"message": BLOCKED, "code": 0}).encode()
    return Answer(429, (("Content-Type", "application/json"), *_retry_after(retry_after)), body)


def _retry_after(seconds: float | None) -> Headers:
    return () if seconds is None else (("Retry-After", str(math.ceil(seconds))),)


def _to_the_millisecond(seconds: float) -> float:
    """Upwards, so that a client who waits exactly that long is not early."""
    return math.ceil(round(seconds * 1000, 6)) / 1000
