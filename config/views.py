"""The home page, the health checks and the error pages."""

import sys
from dataclasses import replace
from http import HTTPStatus

import structlog
from django.conf import settings
from django.contrib.sessions.exceptions import SessionInterrupted
from django.db import Error, connection
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import REASON_NO_CSRF_COOKIE
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.templatetags.static import static
from django.utils import translation
from django.utils.html import format_html
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from accounts import gate
from accounts.database import explain, is_schema_mismatch, is_unavailable, lock_timeout
from accounts.decorators import open_to_all
from accounts.models import DiscordGate
from accounts.sign_in import SignInFailure, own_path
from accounts.views import go_on
from guilds.operations import status
from guilds.problems import Problem
from guilds.problems.catalogue import (
    BAD_REQUEST,
    DATABASE_UNAVAILABLE,
    FORBIDDEN,
    FOREIGN_FORM,
    FORM_TOO_OLD,
    METHOD_NOT_ALLOWED,
    NO_COOKIES,
    NOT_FOUND,
    OPENED_DIRECTLY,
    SERVER_ERROR,
    SESSION_ENDED,
    SIGN_IN_FAILURES,
)
from guilds.problems.responses import challenge, is_sign_in, name_problem, problem_json, sign_in_failed, wants_json

# Seconds. If another writer holds SQLite's lock for longer, the readiness check fails.
READY_LOCK_SECONDS = 0.5

logger = structlog.get_logger(__name__)


@open_to_all
@require_safe
def home(request: HttpRequest) -> HttpResponse:
    if request.user.is_authenticated:
        return redirect("guilds:picker")
    return render(request, "home.html")


@open_to_all
@require_safe
def favicon(request: HttpRequest) -> HttpResponse:
    return redirect(static("favicon.svg"))


@never_cache
@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    """Return 200 if the database responds, else 503. Independent of Discord, as stored lists are served without it."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Error:
        return HttpResponse(
            "database unavailable\n", status=503, content_type="text/plain", headers={"Retry-After": "5"}
        )
    return HttpResponse("ok\n", content_type="text/plain")


@never_cache
@require_safe
def readyz(request: HttpRequest) -> HttpResponse:
    """Return 200 if the database accepts writes, else 503: stored lists are still served, but sign-in is impossible.

    A second line warns about settings that don't match the database.
    """
    try:
        with lock_timeout(READY_LOCK_SECONDS):
            # If the database is read-only, both PostgreSQL and SQLite refuse the statement even if no row matches.
            DiscordGate.objects.filter(pk=0).update(streak=0)
        misconfigured = status.misconfigured(gate.read()[0])
    except Error as error:
        words = "database refuses writes\n" if is_unavailable(error) else "database schema mismatch\n"
        return HttpResponse(words, status=503, content_type="text/plain", headers={"Retry-After": "5"})
    warning = "warning: misconfigured, see `manage.py discord_status`\n" if misconfigured else ""
    return HttpResponse(f"ok\n{warning}", content_type="text/plain")


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    if isinstance(exception, SessionInterrupted):
        response = _plain(request, SESSION_ENDED)
        return challenge(response)
    return _plain(request, BAD_REQUEST)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _in_house(request, FORBIDDEN)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Respond to a form without a valid CSRF token. From an old sign-in page, a signed-in person is redirected."""
    if reason.startswith(("Origin checking", "Referer checking")):
        return _in_house(request, FOREIGN_FORM)
    has_cookie = reason != REASON_NO_CSRF_COOKIE
    if not is_sign_in(request):
        return _in_house(request, FORM_TOO_OLD if has_cookie else NO_COOKIES)
    if request.user.is_authenticated:
        return go_on(own_path(request, request.POST.get("next", "")))
    failure = SignInFailure.OLD_PAGE if has_cookie else SignInFailure.NO_COOKIES
    return sign_in_failed(request, replace(SIGN_IN_FAILURES[failure], status=HTTPStatus.FORBIDDEN))


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _in_house(request, NOT_FOUND)


def method_not_allowed(request: HttpRequest, allowed: str) -> HttpResponse:
    response = _in_house(request, METHOD_NOT_ALLOWED if wants_json(request) else OPENED_DIRECTLY)
    response["Allow"] = allowed
    return response


def server_error(request: HttpRequest) -> HttpResponse:
    """Respond with 500, or with 503 if the database is unavailable."""
    error = sys.exception()
    if isinstance(error, Error) and is_schema_mismatch(error):
        logger.error("database_schema_mismatch", error=explain(error))
    problem = DATABASE_UNAVAILABLE if is_unavailable(error) else SERVER_ERROR
    response = _plain(request, problem)
    if problem.retry_after:
        response["Retry-After"] = str(problem.retry_after)
    return response


def _in_house(request: HttpRequest, problem: Problem) -> HttpResponse:
    if wants_json(request):
        return problem_json(problem)
    return render(request, "error.html", {"problem": problem}, status=problem.status)


def _plain(request: HttpRequest, problem: Problem) -> HttpResponse:
    """Render the error page without the request, context processors and database, any of which may have failed.

    The thread's language may be another visitor's, because the middleware that sets it may not have run.
    """
    with translation.override(translation.get_language_from_request(request)):
        if wants_json(request):
            return problem_json(problem)
        # An error of the site may be temporary, so the page offers to retry.
        again = request.get_full_path() if problem.status >= 500 and request.method == "GET" else None
        try:
            page = render_to_string("error.html", {"problem": problem, "again": again, "site_name": settings.SITE_NAME})
        except Exception:
            logger.exception("error_page_failed")
            page = format_html(BARE, problem.title, problem.title, problem.detail)
        return name_problem(HttpResponse(page, status=problem.status), problem)


BARE = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{}</title></head>'
    "<body><main><h1>{}</h1><p>{}</p></main></body></html>"
)
