"""What /api/docs/ shows: the OpenAPI document, without references, in the order and nesting of that page."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from django.conf import settings

from accounts.access_tokens import curl_command
from guilds.problems.catalogue import PROBLEMS, Problem

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Field:
    """A property of a JSON object, a parameter, or a header. `kind` is its type in words, such as "array of string"."""

    name: str
    kind: str
    description: str = ""
    is_required: bool = True
    # "path", "query" or "header" for a parameter.
    place: str = ""
    # What an enumeration allows, without null.
    values: tuple[str, ...] = ()
    # The properties of the object, or of each object in the array.
    fields: tuple["Field", ...] = ()


@dataclass(frozen=True)
class Answer:
    """A response other than an error."""

    status: HTTPStatus
    description: str
    fields: tuple[Field, ...]
    headers: tuple[Field, ...]


@dataclass(frozen=True)
class Operation:
    """An endpoint and a method. `scopes` are what a token needs; `command` has `$TOKEN` for that token.

    `body` are the properties of the JSON object to send; the command reads it from the file body.json.
    """

    id: str
    method: str
    path: str
    summary: str
    description: str
    scopes: tuple[str, ...]
    allows_people: bool
    allows_services: bool
    allows_sessions: bool
    body: tuple[Field, ...]
    parameters: tuple[Field, ...]
    answers: tuple[Answer, ...]
    problems: tuple[Problem, ...]
    command: str

    @property
    def steps(self) -> list[str]:
        """The parts of the path, between which a narrow page may break it."""
        return self.path.strip("/").split("/")

    @property
    def inputs(self) -> tuple[Field, ...]:
        """The parameters to fill in; a browser sends the headers by itself."""
        return tuple(parameter for parameter in self.parameters if parameter.place != "header")


@dataclass(frozen=True)
class Chapter:
    """The operations of one tag."""

    name: str
    description: str
    operations: tuple[Operation, ...]


@dataclass(frozen=True)
class Reference:
    """The whole page. `problem` are the properties of an error; `logins` are the ways to authenticate."""

    description: str
    logins: tuple[Field, ...]
    chapters: tuple[Chapter, ...]
    problem: tuple[Field, ...]


def reference_of(document: Json) -> Reference:
    """Return what the page shows of an OpenAPI document that `guilds.api.schema` describes."""
    reader = _Reader(document)
    operations = [
        (operation["tags"][0], reader.operation(path, method, operation))
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    chapters = (
        Chapter(
            tag["name"],
            tag["description"].removesuffix("."),
            tuple(operation for name, operation in operations if name == tag["name"]),
        )
        for tag in document["tags"]
    )
    logins = document["components"]["securitySchemes"].items()
    return Reference(
        description=document["info"]["description"],
        logins=tuple(Field(name, login.get("bearerFormat", ""), login["description"]) for name, login in logins),
        chapters=tuple(chapter for chapter in chapters if chapter.operations),
        problem=reader.properties(document["components"]["schemas"]["Problem"]),
    )


class _Reader:
    """Reads parts of one document, whose references it follows."""

    def __init__(self, document: Json) -> None:
        self.components = document["components"]

    def operation(self, path: str, method: str, operation: Json) -> Operation:
        security = operation["security"]
        answers = operation["responses"].items()
        errors = [answer for status, answer in answers if int(status) >= 400]
        ways = {name: scopes for way in security for name, scopes in way.items()}
        body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
        return Operation(
            id=operation["operationId"],
            method=method.upper(),
            path=path,
            summary=operation["summary"],
            description=_without_path(operation["description"]),
            scopes=tuple(ways.get("accessToken") or ways.get("serviceToken", ())),
            allows_people="accessToken" in ways,
            allows_services="serviceToken" in ways,
            allows_sessions="session" in ways,
            body=self.properties(self._resolved(body)[0]),
            parameters=tuple(self._parameter(parameter) for parameter in operation.get("parameters", ())),
            answers=tuple(self._answer(status, answer) for status, answer in answers if int(status) < 400),
            problems=tuple(problem for error in errors for problem in _problems(error)),
            command=curl_command(method.upper(), settings.SITE_URL + path, "$TOKEN", body="@body.json" if body else ""),
        )

    def properties(self, schema: Json) -> tuple[Field, ...]:
        required = schema.get("required", ())
        named = schema.get("properties", {}).items()
        return tuple(self._field(name, part, is_required=name in required) for name, part in named)

    def _field(self, name: str, schema: Json, *, is_required: bool) -> Field:
        schema, is_nullable = self._resolved(schema)
        kind, inner = schema.get("type", "string"), schema
        if kind == "array":
            inner, _ = self._resolved(schema["items"])
            kind = f"array of {inner.get('type', 'string')}"
        kind = schema.get("format", kind)
        return Field(
            name=name,
            kind=f"{kind} or null" if is_nullable else kind,
            description=schema.get("description", ""),
            is_required=is_required,
            values=tuple(value for value in inner.get("enum", ()) if value is not None),
            fields=self.properties(inner),
        )

    def _parameter(self, parameter: Json) -> Field:
        field = self._field(parameter["name"], parameter["schema"], is_required=parameter.get("required", False))
        return Field(
            field.name, field.kind, parameter["description"], field.is_required, parameter["in"], values=field.values
        )

    def _answer(self, status: str, answer: Json) -> Answer:
        content = next(iter(answer.get("content", {}).values()), None)
        schema = self._resolved(content["schema"])[0] if content else {}
        headers = ((name, self._referred(header)) for name, header in answer.get("headers", {}).items())
        return Answer(
            status=HTTPStatus(int(status)),
            description=answer["description"],
            fields=self.properties(schema),
            headers=tuple(Field(name, "", header["description"]) for name, header in headers),
        )

    def _referred(self, part: Json) -> Json:
        if "$ref" not in part:
            return part
        *_, kind, name = part["$ref"].split("/")
        found: Json = self.components[kind][name]
        return found

    def _resolved(self, schema: Json) -> tuple[Json, bool]:
        """Return the schema without its null alternative, and whether it has one."""
        schema = self._referred(schema)
        if "oneOf" in schema:
            options = [self._referred(option) for option in schema["oneOf"] if option.get("type") != "null"]
            merged = options[0] if len(options) == 1 else _merged(options)
            return merged, len(options) < len(schema["oneOf"])
        kinds = schema.get("type")
        if isinstance(kinds, list):
            return {**schema, "type": next(kind for kind in kinds if kind != "null")}, "null" in kinds
        return schema, None in schema.get("enum", ())


def _merged(options: Sequence[Json]) -> Json:
    """Return one object with the properties of all: required where each requires it, with the values of all."""
    named: dict[str, dict[str, Any]] = {}
    for option in options:
        for name, part in option["properties"].items():
            merged = named.setdefault(name, {**part, "enum": []})
            merged["enum"] = [*merged["enum"], *part.get("enum", ())]
    required = set.intersection(*(set(option["required"]) for option in options))
    return {"type": "object", "properties": named, "required": sorted(required)}


def _problems(answer: Json) -> Iterable[Problem]:
    for part in answer["content"]["application/problem+json"]["schema"]["allOf"]:
        for path in part.get("properties", {}).get("type", {}).get("enum", ()):
            yield PROBLEMS[path.removeprefix("/problems/")]


def _without_path(description: str) -> str:
    """Return the description of a view without the method and path that it starts with, which the page shows anyway."""
    text = re.sub(r"\A`[A-Z]+ [^`]+`:?\s*", "", description)
    return text[:1].upper() + text[1:]
