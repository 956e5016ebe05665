"""Who asks: a program with a personal access token, or a page of ours with the site's session."""

from dataclasses import replace

from django.utils.translation import gettext
from rest_framework.authentication import BaseAuthentication
from rest_framework.authentication import SessionAuthentication as DjangoSessionAuthentication
from rest_framework.exceptions import PermissionDenied
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request

from accounts import access_tokens
from accounts.models import PersonalAccessToken, User
from guilds.problems import Problem, ProblemRaised
from guilds.problems.catalogue import CSRF_FAILED, INSUFFICIENT_SCOPE, INVALID_TOKEN
from guilds.resources.guild_list import user_with_record


class PersonRequest(Request):
    """For annotations: a request that passed the permission classes, so its user is never anonymous."""

    user: User


class AccessTokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer gdh_…`, for views that name the scope they take in `token_scope`.

    A view that names none takes no token, so that a new one is closed to programs until somebody opens it.
    """

    def authenticate(self, request: Request) -> tuple[User, PersonalAccessToken] | None:
        scheme, _sep, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        row = access_tokens.find(token.strip())
        user = user_with_record(row.user_id) if row else None
        if row is None or user is None:
            raise ProblemRaised(INVALID_TOKEN)
        scope = getattr((request.parser_context or {}).get("view"), "token_scope", None)
        if scope is None or scope not in row.scopes:
            raise ProblemRaised(_insufficient(scope))
        return user, row


class SessionAuthentication(DjangoSessionAuthentication):
    """The site's session, with CSRF protection for unsafe methods."""

    def enforce_csrf(self, request: Request) -> None:
        # The check lets the safe methods pass too, but takes its time for it.
        if request.method in SAFE_METHODS:
            return
        try:
            # The request below DRF's: looking for the token there reads no body that the view doesn't want.
            super().enforce_csrf(request._request)  # type: ignore[arg-type]  # it reads what both have
        except PermissionDenied:
            raise ProblemRaised(CSRF_FAILED) from None


def _insufficient(scope: str | None) -> Problem:
    if not scope:
        return INSUFFICIENT_SCOPE
    detail = gettext("This takes a token with the scope %(scope)s.") % {"scope": scope}
    return replace(INSUFFICIENT_SCOPE, detail=detail, more={"scope": scope})
