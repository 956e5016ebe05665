"""Discord's OpenAPI document, an extract with the routes that the sandbox serves."""

import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

DOCUMENT = json.loads((Path(__file__).parent / "discord-openapi.json").read_text())
REGISTRY = Registry().with_resource("urn:discord", Resource.from_contents(DOCUMENT, DRAFT202012))


def check(schema: str, answer: Any) -> None:
    """Raise if the response doesn't match the document's schema for this route and status."""
    Draft202012Validator({"$ref": f"urn:discord#{schema}"}, registry=REGISTRY).validate(answer)


def of_route(path: str, status: str = "200") -> str:
    route = path.replace("/", "~1")
    return f"/paths/{route}/get/responses/{status}/content/application~1json/schema"
