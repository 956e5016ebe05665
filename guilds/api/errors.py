"""Every error of the API as application/problem+json (RFC 9457)."""

from http import HTTPStatus
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import set_rollback

from guilds.problems import NOT_SIGNED_IN, Problem, problem_of


def exception_handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's handler: a `Problem` for each failure that has one; None, a 500, for faults of ours."""
    problem = _problem(error)
    if problem is None:
        return None
    set_rollback()
    response = Response(problem.as_dict(), status=problem.status, content_type="application/problem+json")
    if problem.retry_after is not None:
        response["Retry-After"] = str(problem.retry_after)
    if problem is NOT_SIGNED_IN:
        response["WWW-Authenticate"] = getattr(error, "auth_header", 'Session realm="guildhall"')
    response["Cache-Control"] = "no-store"
    return response


def _problem(error: Exception) -> Problem | None:
    if ours := problem_of(error):
        return ours
    if isinstance(error, exceptions.NotAuthenticated | exceptions.AuthenticationFailed):
        return NOT_SIGNED_IN
    if isinstance(error, Http404):
        error = exceptions.NotFound()
    elif isinstance(error, PermissionDenied):
        error = exceptions.PermissionDenied()
    if isinstance(error, exceptions.APIException):
        status = HTTPStatus(error.status_code)
        return Problem(status.phrase.lower().replace(" ", "-"), status, status.phrase, str(error.detail))
    return None
