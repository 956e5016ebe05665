"""Every error of the API as application/problem+json (RFC 9457)."""

import math
from http import HTTPStatus
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import InterfaceError, OperationalError
from django.http import Http404
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import set_rollback

from guilds.problems import NOT_SIGNED_IN, Problem, problem_of

DATABASE_UNAVAILABLE = Problem(
    "database-unavailable",
    HTTPStatus.SERVICE_UNAVAILABLE,
    "Back in a moment",
    "This site can't reach its database.",
    retry_after=5,
)
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
        "Too many requests",
        "You are asking this site faster than it allows. Discord has nothing to do with it.",
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
        status = HTTPStatus(error.status_code)
        return Problem(status.phrase.lower().replace(" ", "-"), status, status.phrase, str(error.detail))
    return None
