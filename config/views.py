"""The front door, the health check and the pages for errors of the web."""

import sys

import structlog
from django.db import DatabaseError, InterfaceError, OperationalError, connection
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.templatetags.static import static
from django.utils import translation
from django.utils.html import format_html
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from guilds.problems import Problem
from guilds.problems.catalogue import (
    BAD_REQUEST,
    DATABASE_UNAVAILABLE,
    FORBIDDEN,
    FORM_TOO_OLD,
    METHOD_NOT_ALLOWED,
    NOT_FOUND,
    SERVER_ERROR,
)
from guilds.problems.responses import problem_json, wants_json

logger = structlog.get_logger(__name__)


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    if request.user.is_authenticated:
        return redirect("guilds:picker")
    return render(request, "home.html")


@require_safe
def favicon(request: HttpRequest) -> HttpResponse:
    return redirect(static("favicon.svg"))


@never_cache
@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    """200 while the database answers, 503 else. Says nothing of Discord: without it the site still serves its lists."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return HttpResponse(
            "database unavailable\n", status=503, content_type="text/plain", headers={"Retry-After": "5"}
        )
    return HttpResponse("ok\n", content_type="text/plain")


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _plain(request, BAD_REQUEST)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _in_house(request, FORBIDDEN)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    return _in_house(request, FORM_TOO_OLD)


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _in_house(request, NOT_FOUND)


def method_not_allowed(request: HttpRequest, allowed: str) -> HttpResponse:
    response = _in_house(request, METHOD_NOT_ALLOWED)
    response["Allow"] = allowed
    return response


def server_error(request: HttpRequest) -> HttpResponse:
    """500, or 503 where the database can't be reached."""
    no_database = isinstance(sys.exception(), OperationalError | InterfaceError)
    problem = DATABASE_UNAVAILABLE if no_database else SERVER_ERROR
    response = _plain(request, problem)
    if problem.retry_after:
        response["Retry-After"] = str(problem.retry_after)
    return response


def _in_house(request: HttpRequest, problem: Problem) -> HttpResponse:
    if wants_json(request):
        return problem_json(problem)
    return render(request, "error.html", {"problem": problem}, status=problem.status)


def _plain(request: HttpRequest, problem: Problem) -> HttpResponse:
    """The same page without request, context processors and database, any of which may be what is at fault.

    The thread may still have the language of somebody else: the middleware that sets it may not have run.
    """
    with translation.override(translation.get_language_from_request(request)):
        if wants_json(request):
            return problem_json(problem)
        # A fault of the site may be over in a moment, one of the request is not.
        again = request.get_full_path() if problem.status >= 500 and request.method == "GET" else None
        try:
            page = render_to_string("error.html", {"problem": problem, "again": again})
        except Exception:
            logger.exception("error_page_failed")
            page = format_html(BARE, problem.title, problem.title, problem.detail)
        return HttpResponse(page, status=problem.status)


BARE = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{}</title></head>'
    "<body><main><h1>{}</h1><p>{}</p></main></body></html>"
)
