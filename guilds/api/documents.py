"""The API's own description: for programs at /api/schema/, to try out at /api/docs/, its problems at /problems/."""

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

from guilds.problems.catalogue import PROBLEMS


class Generator(SchemaGenerator):
    """Describes this API alone, whatever other endpoints the site has."""

    def __init__(self, **options: Any) -> None:
        super().__init__(patterns=[path("api/v1/", include("guilds.api.urls"))], **options)  # type: ignore[no-untyped-call]  # has no types


@cache
def document() -> dict[str, Any]:
    """The OpenAPI document; the same in every process, so made once."""
    with override("en"):
        made: dict[str, Any] = Generator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]  # has no types
    return made


@require_safe
@cache_control(public=True, max_age=300)
def schema(request: HttpRequest) -> HttpResponse:
    text = json.dumps(document(), ensure_ascii=False, separators=(",", ":"))
    return HttpResponse(text, content_type="application/vnd.oai.openapi+json;version=3.1")


@never_cache
@require_safe
def explorer(request: HttpRequest) -> HttpResponse:
    return render(request, "api/explorer.html")


@require_safe
def problems(request: HttpRequest) -> HttpResponse:
    return render(request, "api/problems.html", {"problems": PROBLEMS.values()})


@require_safe
def problem(request: HttpRequest, name: str) -> HttpResponse:
    if name not in PROBLEMS:
        raise Http404
    return render(request, "api/problem.html", {"problem": PROBLEMS[name]})
