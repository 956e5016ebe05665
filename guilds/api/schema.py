"""The API's OpenAPI description: the parameters, responses, headers and problems of each operation.

Each view has one decorator of this module; `OperationSchema` adds what all operations have in common.
`./run schema` writes the document to docs/openapi.yaml.
"""

from collections.abc import Callable, Iterable
from http import HTTPStatus
from itertools import groupby
from typing import Any, TypeVar

from django.conf import settings
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.plumbing import ResolvedComponent
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema

from accounts import access_tokens, service_tokens, snowflakes, token_scopes
from accounts.discord import Permissions
from accounts.token_scopes import Holder
from guilds.api import events
from guilds.api.authentication import AccessTokenAuthentication, SessionAuthentication
from guilds.api.filters import FIELDS, MAX_SEARCH_LENGTH, ORDERINGS
from guilds.engine.freshness import Reason
from guilds.news import EVENTS
from guilds.problems.catalogue import PROBLEMS, Problem

View = TypeVar("View", bound=Callable[..., Any])
Json = dict[str, Any]

# The problems of every request, and of every request that needs the list.
ALWAYS = (
    "bad-request",
    "not-signed-in",
    "invalid-token",
    "insufficient-scope",
    "person-required",
    "method-not-allowed",
    "not-acceptable",
    "too-many-requests",
    "server-error",
    "database-unavailable",
)
WITHOUT_LIST = (
    "reconnect-required",
    "missing-scope",
    "rate-limited",
    "discord-unavailable",
    "unexpected-reply",
    "site-refused",
)
# The problems of every request to a site for one guild.
OF_THE_SITE = (*WITHOUT_LIST, "membership-required", "missing-role") if settings.REQUIRED_GUILD else ()


def _ref(name: str, kind: str = "schemas") -> Json:
    return {"$ref": f"#/components/{kind}/{name}"}


def _object(properties: Json, *, required: Iterable[str] | None = None, description: str = "") -> Json:
    named = {"description": description} if description else {}
    needed = list(properties if required is None else required)
    return {"type": "object", **named, "properties": properties, "required": needed, "additionalProperties": False}


def _or_null(schema: Json) -> Json:
    return {"oneOf": [schema, {"type": "null"}]}


SNOWFLAKE = {"type": "string", "pattern": "^[0-9]{1,20}$"}
HASH = {"type": ["string", "null"], "description": "Discord's hash of the image; null if there is none."}
BOOLEAN = {"type": "boolean"}
BITS = {
    "type": "string",
    "pattern": "^(0|[1-9][0-9]{0,999})$",
    "description": "Discord's bit set, as a decimal string.",
}
EVENT_ID = {"type": "string", "pattern": f"^{snowflakes.PATTERN}$"}
TEXT = {"type": "string"}
MOMENT = {"type": "string", "format": "date-time"}
REASONS = [str(reason) for reason in Reason if not reason.is_refusal]

_GUILD = {
    "id": {
        **SNOWFLAKE,
        "description": "Discord's ID, as a string because JavaScript numbers lose precision above 2^53.",
    },
    "name": {"type": "string"},
    "icon": HASH,
    "banner": HASH,
    "owner": {"type": "boolean", "description": "Whether the person owns the guild."},
    "permissions": {
        **BITS,
        "description": "The person's guild-wide permissions: Discord's bit set, as a decimal string.",
    },
    "can_manage": {
        "type": "boolean",
        "description": "Whether the person is the owner or has ADMINISTRATOR or MANAGE_GUILD.",
    },
    "features": {"type": "array", "items": {"type": "string"}},
}
_FRESHNESS = {
    "verified_at": {**MOMENT, "description": "When Discord last confirmed the whole list."},
    "freshness": {"type": "string", "enum": ["fresh", "stale"]},
    "reason": {
        "enum": [*REASONS, None],
        "description": "Why a stale list couldn't be refreshed; null for a fresh list.",
    },
    "next_attempt_at": _or_null({**MOMENT, "description": "The earliest time of the next request to Discord."}),
}
_AGED = {
    "verified_at": MOMENT,
    "freshness": {"type": "string", "enum": ["fresh", "stale", "expired"]},
    "reason": {"type": "null"},
    "next_attempt_at": {"type": "null"},
}
_STORED = {
    **_FRESHNESS,
    "verified_at": _or_null(
        {**MOMENT, "description": "When Discord last confirmed the whole list; null if it never did."}
    ),
    "freshness": {"type": "string", "enum": ["fresh", "stale", "expired", "none"]},
    "reason": {
        "enum": [*map(str, Reason), None],
        "description": "Why the last attempt failed; null if it succeeded.",
    },
}

_EVENT: Json = {
    "at": {**MOMENT, "description": "When the event arrived at the bot."},
    "guild_id": EVENT_ID,
    "user_id": {**EVENT_ID, "description": "The person's Discord ID."},
    "member": {
        "type": "object",
        "description": "Discord's guild member. A property that is missing counts as empty.",
        "properties": {
            "roles": {"type": "array", "items": EVENT_ID},
            "nick": {"type": ["string", "null"]},
            "joined_at": _or_null(MOMENT),
            "communication_disabled_until": _or_null(MOMENT),
            "pending": {"type": ["boolean", "null"]},
        },
        "required": ["roles"],
    },
    "guild": {
        "type": "object",
        "description": "Discord's partial guild; `owner` and `permissions` are the bot's.",
        "properties": {
            "id": EVENT_ID,
            "name": TEXT,
            "icon": HASH,
            "owner": BOOLEAN,
            "permissions": BITS,
            "features": {"type": "array", "items": TEXT},
        },
        "required": ["id", "name", "owner", "permissions", "features"],
    },
}


def _event(needs: tuple[str, ...]) -> Json:
    """Describe the events whose types need these fields."""
    types = [name for name, event in EVENTS.items() if event.needs == needs]
    kind = {"enum": types, "description": "The name of Discord's gateway event."}
    properties = {"type": kind, **{name: _EVENT[name] for name in ("at", *needs)}}
    return {"type": "object", "properties": properties, "required": list(properties)}


SCHEMAS: dict[str, Json] = {
    "Guild": _object(_GUILD, description="The person's membership in one guild."),
    "ListedGuild": _object(
        _GUILD, required=["id"], description="A `Guild`. If the request has `fields`, only those properties and `id`."
    ),
    "GuildList": _object({**_FRESHNESS, "guilds": {"type": "array", "items": _ref("ListedGuild")}}),
    "OneGuild": _object({**_FRESHNESS, "guild": _ref("Guild")}),
    "OneGuildMember": _object({**_FRESHNESS, "member": _ref("GuildMember")}),
    "GuildMember": _object(
        {
            "roles": {
                "type": "array",
                "items": SNOWFLAKE,
                "description": "The IDs of the person's roles, ascending, without @everyone.",
            },
            "nick": {"type": ["string", "null"], "description": "The person's nickname in the guild."},
            "joined_at": _or_null(MOMENT),
            "timed_out_until": _or_null({**MOMENT, "description": "The end of the time-out, which may be past."}),
            "pending": {"type": "boolean", "description": "Whether the person has yet to accept the guild's rules."},
        },
        description="The person in one guild.",
    ),
    "RoleList": _object({**_FRESHNESS, "roles": {"type": "array", "items": _ref("GuildRole")}}),
    "GuildRole": _object(
        {
            "id": SNOWFLAKE,
            "name": {"type": "string"},
            "color": {"type": "integer", "description": "0xRRGGBB as a number; 0 for no color."},
            "position": {"type": "integer", "description": "Higher roles have higher positions."},
            "permissions": BITS,
            "managed": {"type": "boolean", "description": "Whether the role belongs to an integration."},
            "assignable": {
                "type": "boolean",
                "description": "Whether the bot can give the role to members, if it has MANAGE_ROLES.",
            },
        }
    ),
    "ChannelList": _object({**_FRESHNESS, "channels": {"type": "array", "items": _ref("GuildChannel")}}),
    "GuildChannel": _object(
        {
            "id": SNOWFLAKE,
            "name": {"type": "string"},
            "type": {"type": "integer", "description": "Discord's number for the kind of channel; 4 is a category."},
            "position": {"type": "integer"},
            "parent_id": _or_null({**SNOWFLAKE, "description": "The ID of the category."}),
            "bot_permissions": {**BITS, "description": "What the bot can do there; 0 if it can't see the channel."},
        }
    ),
    "InProgress": _object(
        {"status": {"type": "string", "const": "in_progress"}, **_STORED, "reason": {"const": str(Reason.IN_PROGRESS)}},
        description="A refresh is in progress; these are the values stored so far.",
    ),
    "Person": _object(
        {
            "id": {"type": "string", "description": "The person's ID on this site."},
            "discord_id": _or_null(SNOWFLAKE),
            "username": {"type": "string"},
            "global_name": {"type": ["string", "null"]},
            "avatar": HASH,
        }
    ),
    "StoredGuild": _object({**_GUILD, "first_seen_at": MOMENT, "changed_at": MOMENT}),
    "Export": _object(
        {
            **_STORED,
            "guilds": {"type": "array", "items": _ref("StoredGuild")},
        },
        description="The stored data, however old. To find out which servers the person is in, read the list instead.",
    ),
    "BotGuild": _object(
        {
            "id": SNOWFLAKE,
            "name": {"type": "string"},
            "icon": HASH,
            "permissions": {
                "type": ["string", "null"],
                "description": "The bot's permissions as a decimal number; null while they are unknown.",
            },
            "missing_permissions": {
                "type": "array",
                "items": {"type": "string"},
                "description": "Discord's names of the permissions that the site's apps need and the bot lacks.",
            },
            "verified_at": MOMENT,
        }
    ),
    "BotMember": _object(
        {
            "has_signed_in": {"type": "boolean", "description": "false for a person of whom the site knows nothing."},
            "is_member": {
                "type": ["boolean", "null"],
                "description": "Whether the person is in the guild; null if nothing recent enough is stored.",
            },
            "allowed": {
                "type": ["boolean", "null"],
                "description": "Whether they also have the permission and one of the roles; null if it isn't known.",
            },
            "list": _or_null(
                _object(
                    {**_AGED, "guild": _or_null(_ref("Guild"))},
                    description="The person's stored list, of any age.",
                )
            ),
            "member": _or_null(
                _object(
                    {**_AGED, "member": _or_null(_ref("GuildMember"))},
                    description="The stored answer about the person in the guild, of any age.",
                )
            ),
        }
    ),
    "BotEvent": {"oneOf": [*map(_event, sorted({event.needs for event in EVENTS.values()}))]},
    "BotEvents": {
        "type": "object",
        "properties": {
            "sent_at": {**MOMENT, "description": "When this request is sent, by the bot's clock, also if repeated."},
            "events": {"type": "array", "items": _ref("BotEvent"), "maxItems": events.MAX_EVENTS},
        },
        "required": ["events"],
    },
    "BotGuildList": _object({"guilds": {"type": "array", "items": _ref("BotGuild")}}),
    "Problem": {
        "type": "object",
        "description": "An RFC 9457 problem. `type` links to a page that explains the problem and what to do.",
        "properties": {
            "type": {"type": "string", "format": "uri-reference"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "retry_after": {"type": "integer", "minimum": 1, "description": "Seconds to wait, as in `Retry-After`."},
            "reason": {"type": "string", "enum": [*map(str, Reason)]},
            "parameter": {"type": "string", "description": "The name of the invalid parameter."},
            "roles": {
                "type": "array",
                "items": SNOWFLAKE,
                "description": "The IDs of the roles that give access; empty if none does.",
            },
            "scope": {"type": "string", "description": "The scope that a token needs."},
        },
        "required": ["type", "title", "status", "detail"],
    },
}


def _header(description: str, schema: Json) -> Json:
    return {"description": description, "required": True, "schema": schema}


HEADERS: dict[str, Json] = {
    "Age": _header("The list's age in seconds (RFC 9111).", {"type": "integer", "minimum": 0}),
    "Cache-Status": _header(
        "RFC 9211. `hit` means that the list was stored; `fwd` says why the response waited for Discord. `ttl` is the "
        "number of seconds that the list stays fresh, negative if it is stale; `detail` is the reason.",
        TEXT,
    ),
    "Cache-Control": _header("`private` with revalidation, or `no-store`.", TEXT),
    "ETag": _header("Send it in `If-None-Match` to get 304 if nothing changed.", TEXT),
    "Allow": _header("The supported methods.", TEXT),
    "Location": _header("The URL of the list.", {"type": "string", "format": "uri-reference"}),
    "Retry-After": _header("Seconds to wait. Earlier requests won't succeed.", {"type": "integer", "minimum": 1}),
    "WWW-Authenticate": _header("The authentication challenge (RFC 6750).", TEXT),
    "Content-Disposition": _header("The file name.", TEXT),
    "X-Request-ID": _header("The request's ID in the site's log.", TEXT),
}
AGED = ("Age", "Cache-Status")


def _bearer(prefix: str, description: str) -> Json:
    return {"type": "http", "scheme": "bearer", "bearerFormat": f"{prefix}…", "description": description}


class AccessTokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # registers itself, untyped
    target_class = AccessTokenAuthentication
    # Two, because one authentication class reads both kinds of tokens.
    name = ("accessToken", "serviceToken")  # type: ignore[assignment]  # declared as a string or a list

    def get_security_requirement(self, auto_schema: Any) -> list[dict[str, list[str]]]:
        """Return the kinds of tokens that the operation accepts, with the scope; none for a view without a scope."""
        view = auto_schema.view
        scope = token_scopes.scope_of(getattr(view, "token_scope", None), auto_schema.method)
        if scope is None:
            return []
        declared = token_scopes.declared().get(scope)
        accepts = (
            declared is None or declared.holder is not Holder.SERVICE,
            getattr(view, "accepts_services", False),
        )
        return [{kind: [str(scope)]} for kind, accepted in zip(self.name, accepts, strict=True) if accepted]

    def get_security_definition(self, auto_schema: Any) -> list[Json]:
        return [
            _bearer(access_tokens.PREFIX, "A personal access token, created on the account page."),
            _bearer(service_tokens.PREFIX, "A token of one of the site's own programs, created by an operator."),
        ]


class SessionScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # registers itself, untyped
    target_class = SessionAuthentication
    name = "session"

    def get_security_definition(self, auto_schema: Any) -> Json:
        return {
            "type": "apiKey",
            "in": "cookie",
            "name": settings.SESSION_COOKIE_NAME,
            "description": "The site's session. Requests that change something also need `X-CSRFToken`.",
        }


class OperationSchema:
    """A mixin for drf-spectacular's schema class that adds an operation's problems and headers, and all components.

    So the operation is complete in every document, including one that a site generates for all its endpoints.
    """

    problems: Iterable[str]
    headers: dict[int, tuple[str, ...]]

    def get_operation(self, *place: Any) -> Json:
        operation: Json = super().get_operation(*place)  # type: ignore[misc]  # the schema class it is mixed into
        for kind, components in (("schemas", SCHEMAS), ("headers", HEADERS)):
            for name, component in components.items():
                self.registry.register_on_missing(  # type: ignore[attr-defined]  # as above
                    ResolvedComponent(name, kind, component, object=components)  # type: ignore[no-untyped-call]
                )
        responses = operation["responses"]
        for status, headers in self.headers.items():
            responses[str(status)]["headers"] = _headers(*headers)
        by_status = sorted((PROBLEMS[name] for name in self.problems), key=lambda each: each.status)
        for problem_status, problems in groupby(by_status, key=lambda each: each.status):
            responses[str(int(problem_status))] = _problems(problem_status, list(problems))
        operation["responses"] = dict(sorted(responses.items()))
        if "requestBody" in operation:
            operation["requestBody"]["required"] = True
        return operation


def _response(description: str, schema: str, *headers: str) -> tuple[str, str, tuple[str, ...]]:
    return description, schema, headers


def _operation(
    operation_id: str,
    summary: str,
    tag: str,
    responses: dict[int, tuple[str, str, tuple[str, ...]]],
    *,
    problems: Iterable[str] = (),
    parameters: Iterable[OpenApiParameter] = (),
    body: str | None = None,
) -> Callable[[View], View]:
    """Make the decorator that describes one operation."""
    extend: Callable[[Any], Any] = extend_schema(
        operation_id=operation_id,
        summary=summary,
        tags=[tag],
        request={"application/json": _ref(body)} if body else None,
        parameters=list(parameters),
        responses={
            status: OpenApiResponse(_ref(schema) if schema else None, description)
            for status, (description, schema, _) in responses.items()
        },
    )
    own = {
        "problems": list(dict.fromkeys([*ALWAYS, *OF_THE_SITE, *problems])),
        "headers": {status: headers for status, (*_, headers) in responses.items()},
    }

    def decorate(view: View) -> View:
        extended = extend(view)
        extended.kwargs["schema"] = type("OperationSchema", (OperationSchema, extended.kwargs["schema"]), own)
        return view

    return decorate


def _query(name: str, schema: Json, description: str, **options: Any) -> OpenApiParameter:
    return OpenApiParameter(name, schema, OpenApiParameter.QUERY, description=description, **options)


IF_NONE_MATCH = OpenApiParameter(
    "If-None-Match", TEXT, OpenApiParameter.HEADER, description="The ETag of the response you already have."
)
GUILD_ID = OpenApiParameter("guild_id", SNOWFLAKE, OpenApiParameter.PATH, description="Discord's id.")
NOT_MODIFIED = _response("Nothing changed.", "", "Cache-Control", "ETag", *AGED)


def _about_one_guild(
    operation_id: str, summary: str, description: str, schema: str, *, problems: Iterable[str] = ()
) -> Callable[[View], View]:
    return _operation(
        operation_id,
        summary,
        "guilds",
        {200: _response(description, schema, "Cache-Control", "ETag", *AGED), 304: NOT_MODIFIED},
        problems=(*WITHOUT_LIST, "not-in-guild", "not-found", "precondition-failed", *problems),
        parameters=[GUILD_ID, IF_NONE_MATCH],
    )


IN_PROGRESS = _response(
    "Discord hasn't responded yet; read the answer later.", "InProgress", "Cache-Control", "Location", "Retry-After"
)

list_guilds = _operation(
    "listGuilds",
    "The person's guilds",
    "guilds",
    {200: _response("The list.", "GuildList", "Cache-Control", "ETag", *AGED), 304: NOT_MODIFIED},
    problems=(*WITHOUT_LIST, "invalid-parameter", "precondition-failed", "bot-presence-unknown"),
    parameters=[
        _query("manageable", BOOLEAN, "true: only guilds the person can manage; false: only the others."),
        _query("owner", BOOLEAN, "true: only guilds the person owns; false: only the others."),
        _query("has_bot", BOOLEAN, "true: only guilds the bot is in; false: only the others."),
        _query(
            "search",
            {"type": "string", "maxLength": MAX_SEARCH_LENGTH},
            "Only guilds whose name contains every word, ignoring case and accents, or whose ID this is.",
        ),
        _query(
            "ordering",
            {"type": "string", "enum": list(ORDERINGS), "default": "id"},
            "The sort order; `-` means descending.",
        ),
        _query(
            "fields",
            {"type": "array", "items": {"type": "string", "enum": list(FIELDS)}, "minItems": 1},
            "Only these properties of each guild, and `id`.",
            style="form",
            explode=False,
        ),
        IF_NONE_MATCH,
    ],
)
get_guild = _about_one_guild("getGuild", "One guild", "The guild.", "OneGuild")
get_member = _about_one_guild(
    "getMember", "The person's roles in one guild", "The person in the guild.", "OneGuildMember"
)
list_roles = _about_one_guild(
    "listRoles", "A guild's roles, the highest first", "The roles.", "RoleList", problems=["bot-not-in-guild"]
)
list_channels = _about_one_guild(
    "listChannels",
    "A guild's channels and categories, in the order of Discord's sidebar, for people who manage the guild",
    "The channels.",
    "ChannelList",
    problems=["missing-permission", "bot-not-in-guild"],
)
refresh_guilds = _operation(
    "refreshGuilds",
    "Refresh the list from Discord",
    "guilds",
    {
        200: _response("The new list.", "GuildList", "Cache-Control", "ETag", *AGED),
        202: IN_PROGRESS,
    },
    problems=(*WITHOUT_LIST, "refresh-too-soon", "csrf-failed"),
    parameters=[
        OpenApiParameter(
            "X-CSRFToken",
            TEXT,
            OpenApiParameter.HEADER,
            description="Django's CSRF token. Needed with a session, not with an access token.",
        )
    ],
)
export_memberships = _operation(
    "exportMemberships",
    "Everything stored about the person's guilds",
    "people",
    {200: _response("The export file.", "Export", "Cache-Control", "Content-Disposition", "Age?", "Cache-Status?")},
)
get_me = _operation(
    "getMe", "The person who is signed in", "people", {200: _response("The person.", "Person", "Cache-Control")}
)
list_bot_guilds = _operation(
    "listBotGuilds",
    "The guilds the bot is in",
    "bot",
    {200: _response("The bot's guilds, from the database.", "BotGuildList", "Cache-Control")},
    problems=("forbidden",),
)

_ABOUT_MEMBER = (
    GUILD_ID,
    OpenApiParameter("discord_id", SNOWFLAKE, OpenApiParameter.PATH, description="The person's Discord ID."),
    _query(
        "permission",
        {"type": "string", "enum": [permission.name for permission in Permissions]},
        "A permission that the person needs.",
    ),
    _query(
        "role",
        {"type": "array", "items": {"type": "string", "pattern": f"^{snowflakes.PATTERN}$"}},
        "IDs of roles of which the person needs one.",
    ),
)
get_bot_member = _operation(
    "getBotMember",
    "What a person may do in a guild, as stored",
    "bot",
    {200: _response("The stored answers.", "BotMember", "Cache-Control")},
    problems=("forbidden", "invalid-parameter", "not-found"),
    parameters=_ABOUT_MEMBER,
)
verify_bot_member = _operation(
    "verifyBotMember",
    "What a person may do in a guild, after asking Discord",
    "bot",
    {200: _response("What Discord said.", "BotMember", "Cache-Control"), 202: IN_PROGRESS},
    problems=("forbidden", "invalid-parameter", "not-found", "refresh-too-soon", *WITHOUT_LIST),
    parameters=_ABOUT_MEMBER,
)
send_bot_events = _operation(
    "sendBotEvents",
    "Report Discord's events",
    "bot",
    {204: _response("All events are stored.", "", "Cache-Control")},
    problems=("forbidden", "validation-failed"),
    body="BotEvents",
)


def _headers(*names: str) -> Json:
    """Refer to the headers that are always sent; write out those with a `?`, which are optional."""
    return {name: _ref(name, "headers") for name in (*names, "X-Request-ID") if name in HEADERS} | {
        name[:-1]: {**HEADERS[name[:-1]], "required": False} for name in names if name.endswith("?")
    }


def _problems(status: HTTPStatus, problems: list[Problem]) -> Json:
    headers = ["Cache-Control"]
    if all(each.waits for each in problems):
        headers.append("Retry-After")
    if status == HTTPStatus.UNAUTHORIZED:
        headers.append("WWW-Authenticate")
    if status == HTTPStatus.FORBIDDEN:
        headers.append("WWW-Authenticate?")  # for a token without the scope
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        headers.append("Allow")
    only = {"type": "object", "properties": {"type": {"type": "string", "enum": [each.path for each in problems]}}}
    return {
        "description": "\n".join(f"- `{each.name}`: {each.meaning}" for each in problems),
        "headers": _headers(*headers),
        "content": {"application/problem+json": {"schema": {"allOf": [_ref("Problem"), only]}}},
    }
