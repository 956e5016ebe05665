"""The moods in which the answer itself is wrong. How an answer goes wrong on its way is the server's part."""

import time

from sandbox.answers import (
    BAD_GATEWAY,
    FROM_DISCORD,
    Answer,
    api_error,
    cloudflare_html,
    cloudflare_json,
    html_answer,
    json_answer,
    limit_without_headers,
    oauth_error,
    rate_limited,
    unauthorized,
)
from sandbox.api import LIST_ROUTE
from sandbox.moods import Mood

GARBAGE = b'[{"id": "80351110224678912", "na\xff'
SCOPES = {"rate_limited": "user", "global_limit": "global", "shared_limit": "shared"}


def failure(mood: Mood, route: str) -> Answer | None:
    """What is said instead of the healthy answer, None if the mood leaves the answer as it is."""
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
            return html_answer(502, BAD_GATEWAY)
        case "garbage":
            return Answer(200, (("Content-Type", "application/json"), *FROM_DISCORD), GARBAGE)
        case "wrong_type":
            return json_answer(200, {"guilds": "soon"} if route == LIST_ROUTE else ["not", "an", "object"])
        case "null_body":
            return json_answer(200, None)
        case "unauthorized":
            return _dead(route)
        case "forbidden":
            return api_error(403, "Missing Access", 50001)
        case "raw":
            return Answer(mood.status, mood.headers, mood.body.encode())
    return None


def _dead(route: str) -> Answer:
    """To a token endpoint, 401 means that the application's own secret is wrong."""
    if route.startswith("/oauth2/token"):
        return oauth_error(401, "invalid_client", 'Invalid "client_id" or "client_secret".')
    return unauthorized()
