"""API errors as application/problem+json (RFC 9457)."""

from dataclasses import replace
from http import HTTPStatus
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse
from rest_framework import exceptions
from rest_framework.settings import api_settings
from rest_framework.views import set_rollback

from guilds.problems import Problem
from guilds.problems.catalogue import (
    BAD_REQUEST,
    FORBIDDEN,
    INSUFFICIENT_SCOPE,
    INVALID_TOKEN,
    METHOD_NOT_ALLOWED,
    NOT_ACCEPTABLE,
    NOT_FOUND,
    NOT_SIGNED_IN,
    VALIDATION_FAILED,
)
from guilds.problems.of_errors import problem_of, too_many_requests
from guilds.problems.responses import challenge, problem_json

# The exceptions that DRF itself raises.
OF_THE_FRAMEWORK: dict[type[exceptions.APIException], Problem] = {
    exceptions.ParseError: BAD_REQUEST,
    exceptions.PermissionDenied: FORBIDDEN,
    exceptions.NotFound: NOT_FOUND,
    exceptions.MethodNotAllowed: METHOD_NOT_ALLOWED,
    exceptions.NotAcceptable: NOT_ACCEPTABLE,
}
# The `error` attribute of the challenge (RFC 6750, section 3). A request without a token gets none.
CHALLENGES = {
    NOT_SIGNED_IN.name: "",
    INVALID_TOKEN.name: ', error="invalid_token"',
    INSUFFICIENT_SCOPE.name: ', error="insufficient_scope"',
}


def exception_handler(error: Exception, context: dict[str, Any]) -> HttpResponse | None:
    """Return the problem response for an exception; None, which leads to a 500, if it has no problem."""
    problem = _problem(error)
    if problem is None:
        return None
    set_rollback()
    response = problem_json(problem)
    if problem.name in CHALLENGES:
        scope = f', scope="{problem.more["scope"]}"' if "scope" in problem.more else ""
        challenge(response, f"{CHALLENGES[problem.name]}{scope}")
    return response


def _problem(error: Exception) -> Problem | None:
    if ours := problem_of(error):
        return ours
    if isinstance(error, exceptions.NotAuthenticated | exceptions.AuthenticationFailed):
        return NOT_SIGNED_IN
    if isinstance(error, exceptions.Throttled):
        wait: float | None = getattr(error, "wait", None)
        return too_many_requests(wait or 0)
    if isinstance(error, Http404):
        error = exceptions.NotFound()
    elif isinstance(error, PermissionDenied):
        error = exceptions.PermissionDenied()
    if isinstance(error, exceptions.APIException):
        return _of_the_framework(error)
    return None


def _of_the_framework(error: exceptions.APIException) -> Problem:
    """Return the problem for a DRF exception. Its type is about:blank if no row fits (RFC 9457, section 4.2.1)."""
    status, errors = HTTPStatus(error.status_code), messages_by_field(error.detail)
    if isinstance(error, exceptions.ValidationError):
        return replace(VALIDATION_FAILED, status=status, more={"errors": errors})
    blank = Problem("", status, status.phrase)
    row = next((row for kind, row in OF_THE_FRAMEWORK.items() if isinstance(error, kind)), blank)
    detail = " ".join(message for messages in errors.values() for message in messages)
    return replace(row, status=status, detail=detail)


def messages_by_field(detail: Any, *path: str) -> dict[str, list[str]]:
    """Flatten DRF's details, nested like the serializers, to messages by path: `{"roles.0.name": ["Too long."]}`."""
    if isinstance(detail, str):
        return {".".join(path) or api_settings.NON_FIELD_ERRORS_KEY: [str(detail)]}
    found: dict[str, list[str]] = {}
    for key, inner in detail.items() if isinstance(detail, dict) else enumerate(detail):
        # A list contains the messages of one field, or one entry for each of several rows.
        deeper = path if isinstance(detail, list) and isinstance(inner, str) else (*path, str(key))
        for field, messages in messages_by_field(inner, *deeper).items():
            found.setdefault(field, []).extend(messages)
    return found
