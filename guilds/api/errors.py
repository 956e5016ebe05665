"""Every error of the API as application/problem+json (RFC 9457)."""

import math
from http import HTTPStatus
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import InterfaceError, OperationalError
from django.http import Http404
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.settings import api_settings
from rest_framework.views import set_rollback

from guilds.problems import DATABASE_UNAVAILABLE, NOT_SIGNED_IN, TITLES, Problem, problem_of

# What DRF raises of its own, in the words of the site's error pages where those have them.
OF_THE_FRAMEWORK: dict[type[exceptions.APIException], tuple[str, str | Promise]] = {
    exceptions.ParseError: ("bad-request", TITLES["bad-request"]),
    exceptions.PermissionDenied: ("forbidden", TITLES["forbidden"]),
    exceptions.NotFound: ("not-found", TITLES["not-found"]),
    exceptions.MethodNotAllowed: ("method-not-allowed", TITLES["method-not-allowed"]),
    exceptions.NotAcceptable: ("not-acceptable", _("There is only JSON")),
}
# RFC 6750, section 3: what to say to whom.
CHALLENGES = {
    "not-signed-in": 'Bearer realm="guildhall"',
    "invalid-token": 'Bearer realm="guildhall", error="invalid_token"',
    "insufficient-scope": 'Bearer realm="guildhall", error="insufficient_scope"',
}


def exception_handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's handler: a `Problem` for each failure that has one; None, a 500, for faults of ours."""
    problem = _problem(error)
    if problem is None:
        return None
    set_rollback()
    response = Response(problem.as_dict(), status=problem.status, content_type="application/problem+json")
    if problem.retry_after is not None:
        response["Retry-After"] = str(problem.retry_after)
    if problem.name in CHALLENGES:
        scope = f', scope="{problem.more["scope"]}"' if "scope" in problem.more else ""
        response["WWW-Authenticate"] = CHALLENGES[problem.name] + scope
    response["Cache-Control"] = "no-store"
    return response


def too_many_requests(wait: float) -> Problem:
    """This site's own limit, which isn't Discord's."""
    return Problem(
        "too-many-requests",
        HTTPStatus.TOO_MANY_REQUESTS,
        _("Too many requests"),
        _("You are asking this site faster than it allows. Discord has nothing to do with it."),
        retry_after=max(math.ceil(wait), 1),
    )


def _problem(error: Exception) -> Problem | None:
    if ours := problem_of(error):
        return ours
    if isinstance(error, exceptions.NotAuthenticated | exceptions.AuthenticationFailed):
        return NOT_SIGNED_IN
    if isinstance(error, exceptions.Throttled):
        wait: float | None = getattr(error, "wait", None)
        return too_many_requests(wait or 0)
    if isinstance(error, OperationalError | InterfaceError):
        return DATABASE_UNAVAILABLE
    if isinstance(error, Http404):
        error = exceptions.NotFound()
    elif isinstance(error, PermissionDenied):
        error = exceptions.PermissionDenied()
    if isinstance(error, exceptions.APIException):
        return _of_the_framework(error)
    return None


def _of_the_framework(error: exceptions.APIException) -> Problem:
    """What DRF or a site's own endpoint raises: a type of ours, or none (RFC 9457, section 4.2.1)."""
    status, errors = HTTPStatus(error.status_code), messages_by_field(error.detail)
    if isinstance(error, exceptions.ValidationError):
        detail = _("“errors” says what is wrong, and with which field.")
        return Problem("validation-failed", status, _("That isn't right yet"), detail, more={"errors": errors})
    blank = ("", status.phrase)
    name, title = next((words for kind, words in OF_THE_FRAMEWORK.items() if isinstance(error, kind)), blank)
    return Problem(name, status, title, " ".join(message for messages in errors.values() for message in messages))


def messages_by_field(detail: Any, *path: str) -> dict[str, list[str]]:
    """DRF's details, which nest as the serializers do, as messages by path: `{"roles.0.name": ["Too long."]}`."""
    if isinstance(detail, str):
        return {".".join(path) or api_settings.NON_FIELD_ERRORS_KEY: [str(detail)]}
    found: dict[str, list[str]] = {}
    for key, inner in detail.items() if isinstance(detail, dict) else enumerate(detail):
        # A list holds the messages of one field, or what is wrong with each of many rows.
        deeper = path if isinstance(detail, list) and isinstance(inner, str) else (*path, str(key))
        for field, messages in messages_by_field(inner, *deeper).items():
            found.setdefault(field, []).extend(messages)
    return found
