"""The routes of Discord's API, version 10: who asks, whether they may, and what they get.

https://docs.discord.com/developers/resources/user, /resources/guild, /topics/oauth2
"""

import base64
import binascii
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl

from sandbox.answers import (
    Answer,
    Headers,
    api_error,
    bucket_headers,
    json_answer,
    missing_scope,
    not_found,
    oauth_error,
    rate_limited,
    unauthorized,
)
from sandbox.limits import LIST_WINDOW
from sandbox.oauth import BOT_TOKEN, CLIENT_ID, CLIENT_SECRET, Grant, OAuthError
from sandbox.people import (
    EVERYTHING,
    MANAGER,
    MEMBER,
    SNOWFLAKE,
    Guild,
    Person,
    image_hash,
    moment_of,
    user_object,
)
from sandbox.state import Sandbox

PAGE = 200
BOT = "(bot)"
APPLICATION_ID = "1041022600642236426"
APPLICATION_NAME = "Guildhall"
BOT_USER = user_object(APPLICATION_ID, "guildhall", None, image_hash("guildhall")) | {"bot": True}
FORM = "application/x-www-form-urlencoded"
LIST_ROUTE = "/users/@me/guilds"
_TRUE = ("true", "True", "1")
_FALSE = ("false", "False", "0")


@dataclass(frozen=True, slots=True)
class Call:
    """One request to the API, read: the template of its path and the ids in it, and who asks."""

    method: str
    path: str
    route: str
    ids: tuple[str, ...]
    query: Mapping[str, str]
    authorization: str = field(repr=False)
    content_type: str = ""
    form: Mapping[str, str] = field(default_factory=dict, repr=False)
    person: str | None = None
    grant: Grant | None = field(default=None, repr=False)

    @property
    def is_bot(self) -> bool:
        return self.person == BOT and self.grant is None


def read_form(content_type: str, body: bytes) -> dict[str, str]:
    """The fields of a form body; none if the body is something else."""
    if content_type.partition(";")[0].strip().lower() != FORM:
        return {}
    return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))


def identify(
    sandbox: Sandbox, route: str, authorization: str, form: Mapping[str, str]
) -> tuple[str | None, Grant | None]:
    """Whose request this is, and the grant of its token if it has a living one."""
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


def answer(sandbox: Sandbox, call: Call, *, dead_refresh: bool = False, page: int = PAGE) -> Answer:
    """A healthy Discord's answer, within its limits. `page` is the most servers in one answer."""
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
    if call.grant is None and not call.is_bot:
        return _only("GET", call) or unauthorized()
    if call.route == LIST_ROUTE:
        return _only("GET", call) or _list(sandbox, call, page, now)
    return _only("GET", call) or _ROUTES[call.route](sandbox, call)


def _only(method: str, call: Call) -> Answer | None:
    if call.method == method or (method == "GET" and call.method == "HEAD"):
        return None
    return api_error(405, "405: Method Not Allowed").with_headers(("Allow", method))


# OAuth


def _token(sandbox: Sandbox, call: Call, dead_refresh: bool) -> Answer:
    refusal = _check_client(call)
    if refusal is not None:
        return refusal
    with sandbox.lock:
        try:
            grant = sandbox.oauth.exchange(call.form, dead=dead_refresh)
        except OAuthError as error:
            sandbox.changed()
            return error.to_answer()
        sandbox.changed()
    return json_answer(200, grant.to_json(), (("Cache-Control", "no-store"),))


def _revoke(sandbox: Sandbox, call: Call) -> Answer:
    """RFC 7009: an unknown token is as good as revoked."""
    refusal = _check_client(call)
    if refusal is not None:
        return refusal
    if not call.form.get("token"):
        return oauth_error(400, "invalid_request", 'Missing "token" in request.')
    with sandbox.lock:
        if call.person is not None:
            sandbox.oauth.revoke(call.person)
            sandbox.changed()
    return json_answer(200, {})


def _check_client(call: Call) -> Answer | None:
    if call.content_type.partition(";")[0].strip().lower() != FORM:
        return oauth_error(400, "invalid_request", f"The body has to be {FORM}.")
    credentials = _basic(call.authorization) or (call.form.get("client_id"), call.form.get("client_secret"))
    if credentials != (CLIENT_ID, CLIENT_SECRET):
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


def _authorization(sandbox: Sandbox, call: Call) -> Answer:
    if call.grant is None:  # a Bot token is the wrong kind here
        return unauthorized()
    expires = datetime.fromtimestamp(call.grant.expires_at, UTC)
    answer: dict[str, Any] = {
        "application": application(),
        "scopes": list(call.grant.scopes),
        "expires": expires.isoformat(),
    }
    if "identify" in call.grant.scopes:
        answer["user"] = _person(sandbox, call).to_user()
    return json_answer(200, answer)


def _application(sandbox: Sandbox, call: Call) -> Answer:
    if not call.is_bot:
        return unauthorized()
    return json_answer(
        200,
        application() | {"approximate_guild_count": len(sandbox.bot_guilds()), "owner": BOT_USER, "redirect_uris": []},
    )


def application() -> dict[str, Any]:
    return {
        "id": APPLICATION_ID,
        "name": APPLICATION_NAME,
        "icon": image_hash("guildhall"),
        "description": "Knows which servers you are in.",
        "type": None,
        "bot": BOT_USER,
        "bot_public": True,
        "bot_require_code_grant": False,
        "verify_key": image_hash("verify key") * 2,
        "summary": "",
        "flags": 0,
        "flags_new": "0",
    }


# Users


def _person(sandbox: Sandbox, call: Call) -> Person:
    return sandbox.people[call.person or ""]


def _me(sandbox: Sandbox, call: Call) -> Answer:
    if call.is_bot:
        return json_answer(200, BOT_USER | {"mfa_enabled": True, "locale": "en-US", "verified": True, "email": None})
    if call.grant is None or "identify" not in call.grant.scopes:
        return missing_scope()
    person = _person(sandbox, call)
    answer = person.to_user() | {"mfa_enabled": False, "locale": "en-US", "premium_type": 0}
    if "email" in call.grant.scopes:
        answer |= {"email": f"{person.name}@sandbox.invalid", "verified": True}
    return json_answer(200, answer)


def _list(sandbox: Sandbox, call: Call, page: int, now: float) -> Answer:
    """The servers of the person or of the bot. Every answer that got this far counts as the one of its second."""
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
    return json_answer(200, [guild.to_json(with_counts=with_counts) for guild in selected], headers)


def _list_headers(limited: bool) -> Headers:
    """Without the limit per person there is still a bucket, only never an empty one."""
    limit, remaining = (1, 0) if limited else (50, 49)
    return bucket_headers(LIST_ROUTE, limit=limit, remaining=remaining, reset_after=LIST_WINDOW, now=time.time())


def _page(guilds: list[Guild], query: Mapping[str, str], page: int) -> list[Guild]:
    """What `limit`, `after` and `before` select, by ascending id. Raises ValueError.

    With `before`, Discord gives the first ones below it and not the nearest, and so do we.
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
    if value not in (*_TRUE, *_FALSE):
        raise ValueError(name)
    return value in _TRUE


def _my_member(sandbox: Sandbox, call: Call) -> Answer:
    if call.grant is None:
        return unauthorized()
    if "guilds.members.read" not in call.grant.scopes:
        return missing_scope()
    person = _person(sandbox, call)
    guild = person.guild(call.ids[0])
    if guild is None:
        return api_error(404, "Unknown Guild", 10004)
    return json_answer(200, _member(person, guild) | {"banner": None, "permissions": guild.permissions})


# What the bot sees


def _guild(sandbox: Sandbox, call: Call) -> Answer:
    guild = _guild_of_the_bot(sandbox, call)
    if isinstance(guild, Answer):
        return guild
    return json_answer(200, _full_guild(sandbox, guild, with_counts=call.query.get("with_counts") in _TRUE))


def _guild_member(sandbox: Sandbox, call: Call) -> Answer:
    guild = _guild_of_the_bot(sandbox, call)
    if isinstance(guild, Answer):
        return guild
    with sandbox.lock:
        person = sandbox.person_by_id(call.ids[1])
    membership = person.guild(guild.id) if person else None
    if person is None or membership is None:
        return api_error(404, "Unknown Member", 10007)
    return json_answer(200, _member(person, membership))


def _guild_of_the_bot(sandbox: Sandbox, call: Call) -> Guild | Answer:
    if not call.is_bot:
        return unauthorized()
    guild = next((guild for guild in sandbox.bot_guilds() if guild.id == call.ids[0]), None)
    return api_error(404, "Unknown Guild", 10004) if guild is None else guild


def _member(person: Person, guild: Guild) -> dict[str, Any]:
    joined = moment_of(guild.id) + timedelta(days=1)
    roles = [role["id"] for role in _roles(guild)[1:] if int(role["permissions"]) & ~int(guild.permissions) == 0]
    return {
        "user": person.to_user(),
        "nick": None,
        "avatar": None,
        "banner": None,
        "avatar_decoration_data": None,
        "collectibles": None,
        "roles": roles,
        "joined_at": joined.isoformat(),
        "premium_since": None,
        "communication_disabled_until": None,
        "deaf": False,
        "mute": False,
        "pending": False,
        "flags": 0,
    }


def _roles(guild: Guild) -> list[dict[str, Any]]:
    """@everyone, whose id is the guild's; moderators; administrators."""
    kinds = (("@everyone", MEMBER), ("Moderators", MANAGER), ("Administrators", EVERYTHING))
    return [
        {
            "id": str(int(guild.id) + position),
            "name": name,
            "color": 0,
            "colors": {"primary_color": 0, "secondary_color": None, "tertiary_color": None},
            "hoist": False,
            "icon": None,
            "unicode_emoji": None,
            "position": position,
            "permissions": str(permissions),
            "managed": False,
            "mentionable": False,
            "flags": 0,
        }
        for position, (name, permissions) in enumerate(kinds)
    ]


def _full_guild(sandbox: Sandbox, guild: Guild, *, with_counts: bool) -> dict[str, Any]:
    with sandbox.lock:
        owners = (person for person in sandbox.people.values() if (its := person.guild(guild.id)) and its.owner)
        owner = next(owners, None)
    answer = guild.to_json(with_counts=with_counts)
    del answer["owner"], answer["permissions"]
    return answer | {
        # Nobody here owns it: somebody who is not one of our people, the same one every time.
        "owner_id": owner.id if owner else str(int(guild.id) - 1),
        "roles": _roles(guild),
        "emojis": [],
        "stickers": [],
        "description": None,
        "splash": None,
        "discovery_splash": None,
        "home_header": None,
        "region": "deprecated",
        "afk_channel_id": None,
        "afk_timeout": 300,
        "system_channel_id": None,
        "system_channel_flags": 0,
        "rules_channel_id": None,
        "public_updates_channel_id": None,
        "safety_alerts_channel_id": None,
        "application_id": None,
        "widget_enabled": False,
        "widget_channel_id": None,
        "verification_level": 1,
        "default_message_notifications": 1,
        "explicit_content_filter": 2,
        "mfa_level": 0,
        "max_presences": None,
        "max_members": 500_000,
        "max_video_channel_users": 25,
        "max_stage_video_channel_users": 50,
        "vanity_url_code": None,
        "premium_tier": 0,
        "premium_subscription_count": 0,
        "premium_progress_bar_enabled": False,
        "preferred_locale": "en-US",
        "nsfw": False,
        "nsfw_level": 0,
        "incidents_data": None,
    }


_ROUTES: Mapping[str, Callable[[Sandbox, Call], Answer]] = {
    "/users/@me": _me,
    "/users/@me/guilds/{guild.id}/member": _my_member,
    "/oauth2/@me": _authorization,
    "/oauth2/applications/@me": _application,
    "/applications/@me": _application,
    "/guilds/{guild.id}": _guild,
    "/guilds/{guild.id}/members/{user.id}": _guild_member,
}
