"""The API's OpenAPI description: what each operation takes and answers, every status, header and problem.

A view says with one decorator of this module what it is; `_Whole` then writes out what all operations share.
`./run schema` writes the whole to docs/openapi.yaml.
"""

from collections.abc import Callable, Iterable
from http import HTTPStatus
from itertools import groupby
from typing import Any, TypeVar

from django.conf import settings
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.plumbing import ResolvedComponent
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema

from accounts.access_tokens import PREFIX
from guilds.api.authentication import AccessTokenAuthentication, SessionAuthentication
from guilds.api.filters import FIELDS, LONGEST_SEARCH, ORDERINGS
from guilds.engine.freshness import Reason
from guilds.problems.catalogue import PROBLEMS, Problem

View = TypeVar("View", bound=Callable[..., Any])
Json = dict[str, Any]

# What can happen to every request, and to every one that needs the list.
ALWAYS = (
    "bad-request",
    "not-signed-in",
    "invalid-token",
    "insufficient-scope",
    "method-not-allowed",
    "not-acceptable",
    "too-many-requests",
    "server-error",
    "database-unavailable",
)
WITHOUT_LIST = ("reconnect-required", "missing-scope", "rate-limited", "discord-unavailable")


def _ref(name: str, kind: str = "schemas") -> Json:
    return {"$ref": f"#/components/{kind}/{name}"}


def _object(properties: Json, *, required: Iterable[str] | None = None, description: str = "") -> Json:
    named = {"description": description} if description else {}
    needed = list(properties if required is None else required)
    return {"type": "object", **named, "properties": properties, "required": needed, "additionalProperties": False}


def _or_null(schema: Json) -> Json:
    return {"oneOf": [schema, {"type": "null"}]}


SNOWFLAKE = {"type": "string", "pattern": "^[0-9]{1,20}$"}
HASH = {"type": ["string", "null"], "description": "The picture's hash at Discord; null where there is none."}
BOOLEAN = {"type": "boolean"}
MOMENT = {"type": "string", "format": "date-time"}
REASONS = [str(reason) for reason in Reason if not reason.is_refusal]

_GUILD = {
    "id": {**SNOWFLAKE, "description": "Discord's id, as a string: JavaScript's numbers end at 2^53."},
    "name": {"type": "string"},
    "icon": HASH,
    "banner": HASH,
    "owner": {"type": "boolean", "description": "Whether the person owns the guild."},
    "permissions": {
        "type": "string",
        "pattern": "^[0-9]+$",
        "description": "The person's permissions in the whole guild: Discord's bits, as a decimal string.",
    },
    "can_manage": {"type": "boolean", "description": "Owner, or ADMINISTRATOR, or MANAGE_GUILD."},
    "features": {"type": "array", "items": {"type": "string"}},
}
_FRESHNESS = {
    "verified_at": {**MOMENT, "description": "When Discord last confirmed the whole list."},
    "freshness": {"type": "string", "enum": ["fresh", "stale"]},
    "reason": {
        "enum": [*REASONS, None],
        "description": "Why a stale list isn't younger; null for a fresh one.",
    },
    "next_attempt_at": _or_null({**MOMENT, "description": "When Discord will be asked next, at the earliest."}),
}
_STORED = {
    **_FRESHNESS,
    "verified_at": _or_null({**MOMENT, "description": "null if there never was a list."}),
    "freshness": {"type": "string", "enum": ["fresh", "stale", "expired", "none"]},
    "reason": {
        "enum": [*map(str, Reason), None],
        "description": "Why the last attempt brought no list; null if it did.",
    },
}

SCHEMAS: dict[str, Json] = {
    "Guild": _object(_GUILD, description="The person in one guild."),
    "ListedGuild": _object(
        _GUILD, required=["id"], description="A `Guild`; where `fields` chose some members, those and `id` only."
    ),
    "GuildList": _object({**_FRESHNESS, "guilds": {"type": "array", "items": _ref("ListedGuild")}}),
    "OneGuild": _object({**_FRESHNESS, "guild": _ref("Guild")}),
    "InProgress": _object(
        {"status": {"type": "string", "const": "in_progress"}, **_STORED, "reason": {"const": str(Reason.IN_PROGRESS)}},
        description="Discord is being asked; this is what is stored until it answers.",
    ),
    "Person": _object(
        {
            "id": {"type": "string", "description": "The person's id at this site."},
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
        description="What is stored, however old. To know which servers a person is in, read the list instead.",
    ),
    "BotGuild": _object({"id": SNOWFLAKE, "name": {"type": "string"}, "icon": HASH, "verified_at": MOMENT}),
    "BotGuildList": _object({"guilds": {"type": "array", "items": _ref("BotGuild")}}),
    "Problem": {
        "type": "object",
        "description": "RFC 9457. `type` leads to a page that says what it means and what to do.",
        "properties": {
            "type": {"type": "string", "format": "uri-reference"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "retry_after": {"type": "integer", "minimum": 1, "description": "Seconds, as in Retry-After."},
            "reason": {"type": "string", "enum": [*map(str, Reason)]},
            "parameter": {"type": "string", "description": "The parameter that is wrong."},
            "scope": {"type": "string", "description": "The scope that a token would need."},
        },
        "required": ["type", "title", "status", "detail"],
    },
}


def _header(description: str, schema: Json) -> Json:
    return {"description": description, "required": True, "schema": schema}


TEXT = {"type": "string"}
HEADERS: dict[str, Json] = {
    "Age": _header("How old the list is, in seconds (RFC 9111).", {"type": "integer", "minimum": 0}),
    "Cache-Status": _header(
        "RFC 9211: `hit`, or with `fwd` why Discord was waited for; `ttl` is how long the list stays fresh, negative "
        "when stale; `detail` the reason.",
        TEXT,
    ),
    "Cache-Control": _header("`private` and revalidated each time, or not stored at all.", TEXT),
    "ETag": _header("Send it as If-None-Match; 304 if nothing changed.", TEXT),
    "Allow": _header("The methods that there are.", TEXT),
    "Location": _header("Where the list is.", {"type": "string", "format": "uri-reference"}),
    "Retry-After": _header("Seconds; asking earlier is of no use.", {"type": "integer", "minimum": 1}),
    "WWW-Authenticate": _header("RFC 6750.", TEXT),
    "Content-Disposition": _header("The file's name.", TEXT),
    "X-Request-ID": _header("Under which the site's log knows the request.", TEXT),
}
AGED = ("Age", "Cache-Status")


class AccessTokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # registers itself, untyped
    target_class = AccessTokenAuthentication
    name = "accessToken"

    def get_security_requirement(self, auto_schema: Any) -> Any:
        """None for a view that names no scope, because it takes no token."""
        scope = getattr(auto_schema.view, "token_scope", None)
        return {self.name: [str(scope)]} if scope else None

    def get_security_definition(self, auto_schema: Any) -> Json:
        return {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": f"{PREFIX}…",
            "description": "A personal access token, made on the account page.",
        }


class SessionScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # registers itself, untyped
    target_class = SessionAuthentication
    name = "session"

    def get_security_definition(self, auto_schema: Any) -> Json:
        return {
            "type": "apiKey",
            "in": "cookie",
            "name": settings.SESSION_COOKIE_NAME,
            "description": "The site's session; with X-CSRFToken where something is changed.",
        }


class _Whole:
    """Before drf-spectacular's schema of an operation of ours: adds its problems and headers, and all components.

    So the operation is whole in every document, also in one that a site makes of all its endpoints.
    """

    problems: Iterable[str]
    headers: dict[int, tuple[str, ...]]

    def get_operation(self, *place: Any) -> Json:
        operation: Json = super().get_operation(*place)  # type: ignore[misc]  # of the schema that stands behind
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
        return operation


def _answer(description: str, schema: str, *headers: str) -> tuple[str, str, tuple[str, ...]]:
    return description, schema, headers


def _operation(
    operation_id: str,
    summary: str,
    tag: str,
    answers: dict[int, tuple[str, str, tuple[str, ...]]],
    *,
    problems: Iterable[str] = (),
    parameters: Iterable[OpenApiParameter] = (),
) -> Callable[[View], View]:
    """What one operation is."""
    extend: Callable[[Any], Any] = extend_schema(
        operation_id=operation_id,
        summary=summary,
        tags=[tag],
        request=None,
        parameters=list(parameters),
        responses={
            status: OpenApiResponse(_ref(schema) if schema else None, description)
            for status, (description, schema, _) in answers.items()
        },
    )
    own = {
        "problems": [*ALWAYS, *problems],
        "headers": {status: headers for status, (*_, headers) in answers.items()},
    }

    def decorate(view: View) -> View:
        extended = extend(view)
        extended.kwargs["schema"] = type("OperationSchema", (_Whole, extended.kwargs["schema"]), own)
        return view

    return decorate


def _query(name: str, schema: Json, description: str, **options: Any) -> OpenApiParameter:
    return OpenApiParameter(name, schema, OpenApiParameter.QUERY, description=description, **options)


IF_NONE_MATCH = OpenApiParameter(
    "If-None-Match", TEXT, OpenApiParameter.HEADER, description="The ETag of the answer one has."
)
NOT_MODIFIED = _answer("Nothing changed.", "", "Cache-Control", "ETag", *AGED)

list_guilds = _operation(
    "listGuilds",
    "The person's guilds",
    "guilds",
    {200: _answer("The list.", "GuildList", "Cache-Control", "ETag", *AGED), 304: NOT_MODIFIED},
    problems=(*WITHOUT_LIST, "invalid-parameter", "precondition-failed"),
    parameters=[
        _query("manageable", BOOLEAN, "Only those the person may manage, or may not."),
        _query("owner", BOOLEAN, "Only those the person owns, or doesn't."),
        _query("has_bot", BOOLEAN, "Only those the bot is in, or isn't."),
        _query(
            "search",
            {"type": "string", "maxLength": LONGEST_SEARCH},
            "Only those whose name holds each word of it, whatever case and accents; or of that id.",
        ),
        _query("ordering", {"type": "string", "enum": list(ORDERINGS), "default": "id"}, "`-` for descending."),
        _query(
            "fields",
            {"type": "array", "items": {"type": "string", "enum": list(FIELDS)}, "minItems": 1},
            "Only these members of each guild, and `id`.",
            style="form",
            explode=False,
        ),
        IF_NONE_MATCH,
    ],
)
get_guild = _operation(
    "getGuild",
    "One guild",
    "guilds",
    {200: _answer("The guild.", "OneGuild", "Cache-Control", "ETag", *AGED), 304: NOT_MODIFIED},
    problems=(*WITHOUT_LIST, "not-in-guild", "not-found", "precondition-failed"),
    parameters=[
        OpenApiParameter("guild_id", SNOWFLAKE, OpenApiParameter.PATH, description="Discord's id."),
        IF_NONE_MATCH,
    ],
)
refresh_guilds = _operation(
    "refreshGuilds",
    "Ask Discord now",
    "guilds",
    {
        200: _answer("The new list.", "GuildList", "Cache-Control", "ETag", *AGED),
        202: _answer(
            "Discord takes its time; read the list.", "InProgress", "Cache-Control", "Location", "Retry-After"
        ),
    },
    problems=(*WITHOUT_LIST, "refresh-too-soon", "csrf-failed"),
    parameters=[
        OpenApiParameter(
            "X-CSRFToken",
            TEXT,
            OpenApiParameter.HEADER,
            description="Django's CSRF token, with a session; a token needs none.",
        )
    ],
)
export_memberships = _operation(
    "exportMemberships",
    "All that is stored about the person's servers",
    "people",
    {200: _answer("A file.", "Export", "Cache-Control", "Content-Disposition", "Age?", "Cache-Status?")},
)
get_me = _operation("getMe", "Who is asking", "people", {200: _answer("The person.", "Person", "Cache-Control")})
list_bot_guilds = _operation(
    "listBotGuilds",
    "The guilds the bot is in",
    "bot",
    {200: _answer("From the database.", "BotGuildList", "Cache-Control")},
    problems=("forbidden",),
)


def _headers(*names: str) -> Json:
    """Those that are always there by reference, those with a `?` in full."""
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
        headers.append("WWW-Authenticate?")  # of a token without the scope
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        headers.append("Allow")
    only = {"type": "object", "properties": {"type": {"type": "string", "enum": [each.path for each in problems]}}}
    return {
        "description": "\n".join(f"- `{each.name}`: {each.meaning}" for each in problems),
        "headers": _headers(*headers),
        "content": {"application/problem+json": {"schema": {"allOf": [_ref("Problem"), only]}}},
    }
