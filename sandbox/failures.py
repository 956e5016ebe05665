"""The moods that change the response itself. The server implements those that disturb its transmission."""

import time

from sandbox.moods import LISTS, Mood
from sandbox.responses import (
    BAD_GATEWAY,
    FROM_DISCORD,
    Response,
    api_error,
    cloudflare_html,
    cloudflare_json,
    html_response,
    json_response,
    limit_without_headers,
    oauth_error,
    rate_limited,
    unauthorized,
)

GARBAGE = b'[{"id": "80351110224678912", "na\xff'
SCOPES = {"rate_limited": "user", "global_limit": "global", "shared_limit": "shared"}


def failure(mood: Mood, route: str) -> Response | None:
    """Return the response that replaces the healthy one, or None if the mood doesn't replace it."""
    if mood.mode in SCOPES:
        return rate_limited(route, mood.wait, time.time(), scope=SCOPES[mood.mode])
    match mood.mode:
        case "no_headers":
            return limit_without_headers(mood.wait)
        case "cloudflare_html":
            return cloudflare_html(mood.retry_after)
        case "cloudflare_json":
            return cloudflare_json(mood.retry_after)
        case "outage":
            return api_error(503, "503: Service Unavailable")
        case "bad_gateway":
            return html_response(502, BAD_GATEWAY)
        case "garbage":
            return Response(200, (("Content-Type", "application/json"), *FROM_DISCORD), GARBAGE)
        case "wrong_type":
            return json_response(200, {"guilds": "soon"} if route in LISTS else ["not", "an", "object"])
        case "null_body":
            return json_response(200, None)
        case "unauthorized":
            return _unauthorized_response(route)
        case "forbidden":
            return api_error(403, "Missing Access", 50001)
        case "raw":
            return Response(mood.status, mood.headers, mood.body.encode())
    return None


def _unauthorized_response(route: str) -> Response:
    """Return a 401. From a token endpoint it means that the application's own secret is wrong."""
    if route.startswith("/oauth2/token"):
        return oauth_error(401, "invalid_client", 'Invalid "client_id" or "client_secret".')
    return unauthorized()
