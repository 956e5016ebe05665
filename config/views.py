"""The front door, the health check and the pages for errors of the web."""

import sys
from dataclasses import dataclass
from http import HTTPStatus

import structlog
from django.db import DatabaseError, InterfaceError, OperationalError, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.templatetags.static import static
from django.utils import translation
from django.utils.functional import Promise
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from guilds.problems import DATABASE_UNAVAILABLE, TITLES, wants_json

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


@dataclass(frozen=True, slots=True)
class Fault:
    """What the web itself has to say. `again`: whether the same address may answer otherwise in a moment."""

    name: str
    status: HTTPStatus
    title: str | Promise
    text: str | Promise
    again: bool = False
    retry_after: int | None = None


BAD_REQUEST = Fault(
    "bad-request",
    HTTPStatus.BAD_REQUEST,
    TITLES["bad-request"],
    _("Your browser sent something this site can't read."),
)
NOT_ALLOWED = Fault("forbidden", HTTPStatus.FORBIDDEN, TITLES["forbidden"], _("You may not see this page."))
FORM_TOO_OLD = Fault(
    "csrf-failed",
    HTTPStatus.FORBIDDEN,
    _("Please try again"),
    _("The page was open for too long, or cookies are off. Go back, reload it and try again."),
)
NOT_THIS_WAY = Fault(
    "method-not-allowed",
    HTTPStatus.METHOD_NOT_ALLOWED,
    TITLES["method-not-allowed"],
    _("This address belongs to a form, or only shows something. If you sent a form, go back to it and send it again."),
)
NOTHING_HERE = Fault("not-found", HTTPStatus.NOT_FOUND, TITLES["not-found"], _("There is no page with this address."))
BROKEN = Fault(
    "server-error",
    HTTPStatus.INTERNAL_SERVER_ERROR,
    _("Something broke on our side"),
    _("It has been written down. Try again in a minute."),
    again=True,
)
NO_DATABASE = Fault(
    DATABASE_UNAVAILABLE.name,
    DATABASE_UNAVAILABLE.status,
    DATABASE_UNAVAILABLE.title,
    DATABASE_UNAVAILABLE.detail,
    again=True,
    retry_after=DATABASE_UNAVAILABLE.retry_after,
)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _plain(request, BAD_REQUEST)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _in_house(request, NOT_ALLOWED)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    return _in_house(request, FORM_TOO_OLD)


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _in_house(request, NOTHING_HERE)


def method_not_allowed(request: HttpRequest, allowed: str) -> HttpResponse:
    response = _in_house(request, NOT_THIS_WAY)
    response["Allow"] = allowed
    return response


def server_error(request: HttpRequest) -> HttpResponse:
    """500, or 503 where the database can't be reached."""
    no_database = isinstance(sys.exception(), OperationalError | InterfaceError)
    fault = NO_DATABASE if no_database else BROKEN
    response = _plain(request, fault)
    if fault.retry_after:
        response["Retry-After"] = str(fault.retry_after)
    return response


def _in_house(request: HttpRequest, fault: Fault) -> HttpResponse:
    if wants_json(request):
        return _as_problem(fault)
    return render(request, "error.html", {"fault": fault}, status=fault.status)


def _plain(request: HttpRequest, fault: Fault) -> HttpResponse:
    """The same page without request, context processors and database, any of which may be what is at fault.

    The thread may still have the language of somebody else: the middleware that sets it may not have run.
    """
    with translation.override(translation.get_language_from_request(request)):
        if wants_json(request):
            return _as_problem(fault)
        again = request.get_full_path() if fault.again and request.method == "GET" else None
        try:
            page = render_to_string("error.html", {"fault": fault, "again": again})
        except Exception:
            logger.exception("error_page_failed")
            page = format_html(BARE, fault.title, fault.title, fault.text)
        return HttpResponse(page, status=fault.status)


BARE = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{}</title></head>'
    "<body><main><h1>{}</h1><p>{}</p></main></body></html>"
)


def _as_problem(fault: Fault) -> HttpResponse:
    body = {"type": f"/problems/{fault.name}", "title": str(fault.title), "status": fault.status}
    body |= {"detail": str(fault.text), **({"retry_after": fault.retry_after} if fault.retry_after else {})}
    response = JsonResponse(body, status=fault.status, content_type="application/problem+json")
    response["Cache-Control"] = "no-store"
    return response
