"""Who asks: a program with a personal access token, or a page of ours with the site's session."""

from http import HTTPStatus

from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from rest_framework.authentication import BaseAuthentication
from rest_framework.authentication import SessionAuthentication as DjangoSessionAuthentication
from rest_framework.exceptions import PermissionDenied
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request

from accounts import access_tokens
from accounts.models import PersonalAccessToken, User
from guilds.problems import Problem, ProblemRaised
from guilds.resources.guild_list import user_with_record

INVALID_TOKEN = Problem(
    "invalid-token",
    HTTPStatus.UNAUTHORIZED,
    _("Invalid token"),
    _("There is no such access token, or it has expired."),
)
CSRF_FAILED = Problem(
    "csrf-failed",
    HTTPStatus.FORBIDDEN,
    _("No proof that the page is ours"),
    _("A request that changes something, made with the session, carries Django's CSRF token in X-CSRFToken."),
)


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

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="guildhall"'


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
    if scope:
        detail = gettext("This takes a token with the scope %(scope)s.") % {"scope": scope}
    else:
        detail = gettext("This takes a session, and no token.")
    more = {"scope": scope} if scope else {}
    return Problem("insufficient-scope", HTTPStatus.FORBIDDEN, _("The token may not do this"), detail, more=more)
