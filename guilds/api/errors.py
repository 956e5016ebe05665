"""Every error of the API as application/problem+json (RFC 9457)."""

from dataclasses import replace
from http import HTTPStatus
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpResponse
from rest_framework import exceptions
from rest_framework.settings import api_settings
from rest_framework.views import set_rollback

from guilds.problems import Problem
from guilds.problems.catalogue import (
    BAD_REQUEST,
    DATABASE_UNAVAILABLE,
    FORBIDDEN,
    INSUFFICIENT_SCOPE,
    INVALID_TOKEN,
    METHOD_NOT_ALLOWED,
    NOT_ACCEPTABLE,
    NOT_FOUND,
    NOT_SIGNED_IN,
    TOO_MANY_REQUESTS,
    VALIDATION_FAILED,
)
from guilds.problems.of_errors import problem_of, whole_seconds
from guilds.problems.responses import problem_json

# What DRF raises of its own.
OF_THE_FRAMEWORK: dict[type[exceptions.APIException], Problem] = {
    exceptions.ParseError: BAD_REQUEST,
    exceptions.PermissionDenied: FORBIDDEN,
    exceptions.NotFound: NOT_FOUND,
    exceptions.MethodNotAllowed: METHOD_NOT_ALLOWED,
    exceptions.NotAcceptable: NOT_ACCEPTABLE,
}
# RFC 6750, section 3: the error of a challenge; a request without a token gets none.
CHALLENGES = {
    NOT_SIGNED_IN.name: "",
    INVALID_TOKEN.name: ', error="invalid_token"',
    INSUFFICIENT_SCOPE.name: ', error="insufficient_scope"',
}


def exception_handler(error: Exception, context: dict[str, Any]) -> HttpResponse | None:
    """DRF's handler: a `Problem` for each failure that has one; None, a 500, for faults of ours."""
    problem = _problem(error)
    if problem is None:
        return None
    set_rollback()
    response = problem_json(problem)
    if problem.name in CHALLENGES:
        scope = f', scope="{problem.more["scope"]}"' if "scope" in problem.more else ""
        response["WWW-Authenticate"] = f'Bearer realm="guildhall"{CHALLENGES[problem.name]}{scope}'
    return response


def too_many_requests(wait: float) -> Problem:
    """This site's own limit, which isn't Discord's."""
    return replace(TOO_MANY_REQUESTS, retry_after=whole_seconds(wait))


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
        return replace(VALIDATION_FAILED, status=status, more={"errors": errors})
    blank = Problem("", status, status.phrase)
    row = next((row for kind, row in OF_THE_FRAMEWORK.items() if isinstance(error, kind)), blank)
    detail = " ".join(message for messages in errors.values() for message in messages)
    return replace(row, status=status, detail=detail)


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
