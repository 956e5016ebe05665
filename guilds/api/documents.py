"""The API's documentation: the schema at /api/schema/, the reference at /api/docs/, the errors at /problems/."""

import json
from functools import cache
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import include, path
from django.utils.translation import override
from django.views.decorators.cache import cache_control, never_cache
from django.views.decorators.http import require_safe
from drf_spectacular.generators import SchemaGenerator

from accounts.decorators import open_to_all
from guilds.api.reference import Reference, reference_of
from guilds.problems.catalogue import PROBLEMS


class Generator(SchemaGenerator):
    """Describes only this API, not the endpoints that a site adds."""

    def __init__(self, **options: Any) -> None:
        super().__init__(patterns=[path("api/v1/", include("guilds.api.urls"))], **options)  # type: ignore[no-untyped-call]  # has no types


@cache
def document() -> dict[str, Any]:
    """Return the OpenAPI document, which is built once per process."""
    with override("en"):
        made: dict[str, Any] = Generator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]  # has no types
    return made


@open_to_all
@require_safe
@cache_control(public=True, max_age=300)
def schema(request: HttpRequest) -> HttpResponse:
    text = json.dumps(document(), ensure_ascii=False, separators=(",", ":"))
    return HttpResponse(text, content_type="application/vnd.oai.openapi+json;version=3.1")


@cache
def _reference() -> Reference:
    return reference_of(document())


@open_to_all
@never_cache
@require_safe
def reference(request: HttpRequest) -> HttpResponse:
    """Show every operation of the API with a command to copy; to people who are signed in, also a form to try it."""
    return render(request, "api/reference.html", {"reference": _reference()})


@open_to_all
@require_safe
def problems(request: HttpRequest) -> HttpResponse:
    return render(request, "api/problems.html", {"problems": PROBLEMS.values()})


@open_to_all
@require_safe
def problem(request: HttpRequest, name: str) -> HttpResponse:
    if name not in PROBLEMS:
        raise Http404
    return render(request, "api/problem.html", {"problem": PROBLEMS[name]})
