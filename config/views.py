"""The front door, the health check and the pages for errors of the web."""

import sys

from django.db import DatabaseError, InterfaceError, OperationalError, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.templatetags.static import static
from django.utils.html import format_html
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from guilds.problems import wants_json

PROBLEMS = {
    400: "bad-request",
    403: "forbidden",
    404: "not-found",
    500: "server-error",
    503: "database-unavailable",
}


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


def _error(request: HttpRequest, status: int, title: str, text: str) -> HttpResponse:
    if wants_json(request):
        return _problem(status, title, text)
    return render(request, "error.html", {"title": title, "text": text}, status=status)


def _problem(status: int, title: str, text: str, **headers: str) -> HttpResponse:
    body = {"type": f"/problems/{PROBLEMS[status]}", "title": title, "status": status, "detail": text}
    if "Retry-After" in headers:
        body["retry_after"] = int(headers["Retry-After"])
    headers["Cache-Control"] = "no-store"
    return JsonResponse(body, status=status, content_type="application/problem+json", headers=headers)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _error(request, 400, "Bad request", "Your browser sent something this site can't read.")


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _error(request, 403, "Not allowed", "You may not see this page.")


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    text = "The page was open for too long, or cookies are off. Go back, reload it and try again."
    return _error(request, 403, "Please try again", text)


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _error(request, 404, "Nothing here", "There is no such page, or it is about a server you are not in.")


def server_error(request: HttpRequest) -> HttpResponse:
    """500, or 503 where the database can't be reached. Needs neither database nor context processors itself."""
    if isinstance(sys.exception(), OperationalError | InterfaceError):
        title, text, status = "Back in a moment", "This site can't reach its database. Try again in a few seconds.", 503
    else:
        title, text, status = "Something broke on our side", "It has been written down. Try again in a minute.", 500
    headers = {"Retry-After": "5"} if status == 503 else {}
    if wants_json(request):
        return _problem(status, title, text, **headers)
    page = format_html(
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{}</title></head>'
        "<body><main><h1>{}</h1><p>{}</p></main></body></html>",
        title,
        title,
        text,
    )
    return HttpResponse(page, status=status, headers=headers)
