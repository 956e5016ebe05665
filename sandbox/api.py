"""The routes of Discord's API, version 10: authentication, permissions and payloads.

https://docs.discord.com/developers/resources/user, /resources/guild, /topics/oauth2
"""

import base64
import binascii
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

from sandbox import gateway, guild_routes, websocket
from sandbox.application import OWNER
from sandbox.calls import APPLICATION_ID, BOT, BOT_USER, TRUE, Call
from sandbox.limits import LIST_WINDOW
from sandbox.oauth import BOT_TOKEN, CLIENT_CREDENTIALS, CLIENT_ID, CLIENT_SECRET, Grant, OAuthError
from sandbox.people import (
    SNOWFLAKE,
    Guild,
    Person,
)
from sandbox.responses import (
    Headers,
    Response,
    api_error,
    bucket_headers,
    json_response,
    missing_scope,
    not_found,
    oauth_error,
    rate_limited,
    unauthorized,
)
from sandbox.state import Sandbox

PAGE = 200
FORM = "application/x-www-form-urlencoded"
LIST_ROUTE = "/users/@me/guilds"
_FALSE = ("false", "False", "0")


def read_form(content_type: str, body: bytes) -> dict[str, str]:
    """Return the fields of a form body, or an empty dict for any other content type."""
    if content_type.partition(";")[0].strip().lower() != FORM:
        return {}
    return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))


def identify(
    sandbox: Sandbox, route: str, authorization: str, form: Mapping[str, str]
) -> tuple[str | None, Grant | None]:
    """Return the name of the person who makes the request, and the grant of its token if that is valid."""
    with sandbox.lock:
        if route.startswith("/oauth2/token"):
            return sandbox.oauth.owner_of(form), None
        scheme, _, token = authorization.partition(" ")
        if scheme == "Bot":
            return (BOT if token == BOT_TOKEN else None), None
        if scheme != "Bearer":
            return None, None
        grant = sandbox.oauth.grant(token)
        if grant is not None and grant.person not in sandbox.people:
            grant = None
        known = sandbox.oauth.by_access.get(token)
        return (known.person if known else None), grant


def respond(sandbox: Sandbox, call: Call, *, dead_refresh: bool = False, page: int = PAGE) -> Response:
    """Return a healthy Discord's response, subject to its limits. `page` is the maximum number of servers in it."""
    now = time.monotonic()
    with sandbox.lock:
        wait = sandbox.limits.wait_for_any(now)
    if wait > 0:
        return rate_limited(call.route, wait, time.time(), scope="global")
    if not call.route:
        return not_found()
    if call.route == "/oauth2/token":
        return _only("POST", call) or _token(sandbox, call, dead_refresh)
    if call.route == "/oauth2/token/revoke":
        return _only("POST", call) or _revoke(sandbox, call)
    if call.route == "/gateway":
        return _only("GET", call) or _gateway(call)
    if call.grant is None and not call.is_bot:
        return _only("GET", call) or unauthorized()
    if call.route == LIST_ROUTE:
        return _only("GET", call) or _list(sandbox, call, page, now)
    return _only("GET", call) or _ROUTES[call.route](sandbox, call)


def _only(method: str, call: Call) -> Response | None:
    if call.method == method or (method == "GET" and call.method == "HEAD"):
        return None
    return api_error(405, "405: Method Not Allowed").with_headers(("Allow", method))


# OAuth


def _token(sandbox: Sandbox, call: Call, dead_refresh: bool) -> Response:
    refusal = _check_client(call)
    if refusal is not None:
        return refusal
    form, registered = call.form, sandbox.application.redirect_uris
    with sandbox.lock:
        code = sandbox.oauth.codes.get(form.get("code", ""))
        try:
            grant = sandbox.oauth.exchange(form, redirect_uris=registered, owner=OWNER, dead=dead_refresh)
        except OAuthError as error:
            sandbox.changed()
            return error.to_response()
        payload = grant.to_json()
        if form["grant_type"] == CLIENT_CREDENTIALS:
            del payload["refresh_token"]
        if code and code.guild_id:
            sandbox.bot[code.guild_id] = code.permissions
            if guild := sandbox.bot_guild(code.guild_id):
                payload["guild"] = guild.to_json(with_counts=False)
        sandbox.changed()
    return json_response(200, payload, (("Cache-Control", "no-store"),))


def _revoke(sandbox: Sandbox, call: Call) -> Response:
    """Revoke a token. An unknown token counts as revoked (RFC 7009)."""
    refusal = _check_client(call)
    if refusal is not None:
        return refusal
    if not call.form.get("token"):
        return oauth_error(400, "invalid_request", 'Missing "token" in request.')
    with sandbox.lock:
        if call.person is not None:
            sandbox.oauth.revoke(call.person)
            sandbox.changed()
    return json_response(200, {})


def _check_client(call: Call) -> Response | None:
    if call.content_type.partition(";")[0].strip().lower() != FORM:
        return oauth_error(400, "invalid_request", f"The body must be {FORM}.")
    credentials = _basic(call.authorization) or (call.form.get("client_id"), call.form.get("client_secret"))
    if credentials not in ((CLIENT_ID, CLIENT_SECRET), (APPLICATION_ID, CLIENT_SECRET)):
        return oauth_error(401, "invalid_client", 'Invalid "client_id" or "client_secret".')
    return None


def _basic(authorization: str) -> tuple[str, str] | None:
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return "", ""
    return user, password


def _authorization(sandbox: Sandbox, call: Call) -> Response:
    if call.grant is None:  # this route doesn't accept bot tokens
        return unauthorized()
    expires = datetime.fromtimestamp(call.grant.expires_at, UTC)
    payload: dict[str, Any] = {
        "application": sandbox.application.public(),
        "scopes": list(call.grant.scopes),
        "expires": expires.isoformat(),
    }
    if "identify" in call.grant.scopes:
        payload["user"] = _person(sandbox, call).to_user()
    return json_response(200, payload)


def _application(sandbox: Sandbox, call: Call) -> Response:
    if not call.is_bot:
        return unauthorized()
    return json_response(
        200,
        sandbox.application.private()
        | {"approximate_guild_count": len(sandbox.bot_guilds()), "owner": sandbox.people[OWNER].to_user()},
    )


# The gateway


def _gateway(call: Call, **more: Any) -> Response:
    if not websocket.AVAILABLE:
        return api_error(503, "The sandbox's gateway is off: the package websockets is not installed")
    return json_response(200, {"url": gateway.url_on(call.host), **more})


def _gateway_bot(sandbox: Sandbox, call: Call) -> Response:
    if not call.is_bot:
        return unauthorized()
    limit = {"total": 1000, "remaining": 1000, "reset_after": 0, "max_concurrency": 1}
    return _gateway(call, shards=1, session_start_limit=limit)


# Users


def _person(sandbox: Sandbox, call: Call) -> Person:
    return sandbox.people[call.person or ""]


def _me(sandbox: Sandbox, call: Call) -> Response:
    if call.is_bot:
        return json_response(200, BOT_USER | {"mfa_enabled": True, "locale": "en-US", "verified": True, "email": None})
    if call.grant is None or "identify" not in call.grant.scopes:
        return missing_scope()
    person = _person(sandbox, call)
    payload = person.to_user() | {"mfa_enabled": False, "locale": "en-US", "premium_type": 0}
    if "email" in call.grant.scopes:
        payload |= {"email": f"{person.name}@sandbox.invalid", "verified": True}
    return json_response(200, payload)


def _list(sandbox: Sandbox, call: Call, page: int, now: float) -> Response:
    """Return the servers of the person or the bot. Each response, also a 400, counts towards the limit per second."""
    if call.grant is not None and "guilds" not in call.grant.scopes:
        return missing_scope()
    with sandbox.lock:
        wait = sandbox.limits.wait_for_list(call.person or "", now)
        limited = sandbox.limits.per_person
        guilds = sandbox.bot_guilds() if call.is_bot else list(_person(sandbox, call).guilds)
    if wait > 0:
        return rate_limited(LIST_ROUTE, wait, time.time())
    headers = _list_headers(limited)
    try:
        selected = _page(guilds, call.query, page)
        with_counts = _boolean(call.query, "with_counts")
    except ValueError:
        return api_error(400, "Invalid Form Body", 50035).with_headers(*headers)
    return json_response(200, [guild.to_json(with_counts=with_counts) for guild in selected], headers)


def _list_headers(limited: bool) -> Headers:
    """Return the bucket headers. If the limit per person is off, the bucket is never empty."""
    limit, remaining = (1, 0) if limited else (50, 49)
    return bucket_headers(LIST_ROUTE, limit=limit, remaining=remaining, reset_after=LIST_WINDOW, now=time.time())


def _page(guilds: list[Guild], query: Mapping[str, str], page: int) -> list[Guild]:
    """Return the guilds that `limit`, `after` and `before` select, by ascending id. Raises ValueError.

    With `before`, the page starts at the lowest id and not just below `before`, as at Discord.
    """
    limit = int(query["limit"]) if "limit" in query else PAGE
    if not 1 <= limit <= PAGE:
        raise ValueError(limit)
    after, before = _cursor(query, "after"), _cursor(query, "before")
    selected = [
        guild
        for guild in guilds
        if (after is None or int(guild.id) > after) and (before is None or int(guild.id) < before)
    ]
    return selected[: min(limit, page)]


def _cursor(query: Mapping[str, str], name: str) -> int | None:
    if name not in query:
        return None
    if not SNOWFLAKE.fullmatch(query[name]):
        raise ValueError(name)
    return int(query[name])


def _boolean(query: Mapping[str, str], name: str) -> bool:
    value = query.get(name, "false")
    if value not in (*TRUE, *_FALSE):
        raise ValueError(name)
    return value in TRUE


_ROUTES: Mapping[str, Callable[[Sandbox, Call], Response]] = {
    "/users/@me": _me,
    "/users/@me/guilds/{guild.id}/member": guild_routes.my_member,
    "/oauth2/@me": _authorization,
    "/oauth2/applications/@me": _application,
    "/applications/@me": _application,
    "/gateway/bot": _gateway_bot,
    "/guilds/{guild.id}": guild_routes.guild,
    "/guilds/{guild.id}/members/{user.id}": guild_routes.guild_member,
    "/guilds/{guild.id}/roles": guild_routes.guild_roles,
    "/guilds/{guild.id}/channels": guild_routes.guild_channels,
}
