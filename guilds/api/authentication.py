"""API authentication: an access token of a person or a service, or the session for the site's own pages."""

from dataclasses import replace

from django.http import HttpRequest
from django.utils.translation import gettext
from rest_framework.authentication import BaseAuthentication
from rest_framework.authentication import SessionAuthentication as DjangoSessionAuthentication
from rest_framework.exceptions import MethodNotAllowed, PermissionDenied
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request

from accounts import access_tokens, service_tokens, token_scopes
from accounts.models import PersonalAccessToken, ServiceToken, User
from accounts.service_tokens import Service
from guilds.problems import Problem, ProblemRaised
from guilds.problems.catalogue import CSRF_FAILED, FORBIDDEN, INSUFFICIENT_SCOPE, INVALID_TOKEN, PERSON_REQUIRED
from guilds.services import GuildList


class PersonRequest(Request):
    """Type of a request that passed the permission classes, so its user is never anonymous. For annotations.

    `guild_list` comes from Django's request and belongs to `user`.
    """

    user: User
    guild_list: GuildList


class ServiceRequest(Request):
    """Type of a request to a view with `accepts_services`, for annotations. `guild_list` needs a person."""

    user: User | Service  # type: ignore[assignment]  # REST framework's types know only Django's users


AccessToken = PersonalAccessToken | ServiceToken


def bearer_token(request: HttpRequest) -> str | None:
    """Return the token that the request carries, valid or not."""
    scheme, _sep, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def valid_token(request: HttpRequest) -> AccessToken | None:
    """Return the row of the request's token; None if the request has none.

    Raises the problem `invalid-token`. Reads the token once for each request.
    """
    token = bearer_token(request)
    if token is None:
        return None
    row: AccessToken | None = getattr(request, "access_token", None)
    if row is None:
        row = service_tokens.find(token) or access_tokens.find(token)
        if row is None:
            raise ProblemRaised(INVALID_TOKEN)
        request.access_token = row  # type: ignore[attr-defined]  # HttpRequest is open to attributes
    return row


class AccessTokenAuthentication(BaseAuthentication):
    """Accepts `Authorization: Bearer …` in views that set `token_scope` to the scope they require.

    `token_scope` is one scope for all methods, or a scope for each: `{"GET": "votes:read", "POST": "votes:write"}`.
    Without it a view accepts no token, so a new view is closed to programs by default. Service tokens are accepted
    only with `accepts_services = True`, since they belong to no person.
    """

    def authenticate(self, request: Request) -> tuple[User | Service, AccessToken] | None:
        row = valid_token(request._request)
        if row is None:
            return None
        view = (request.parser_context or {}).get("view")
        scope = token_scopes.scope_of(getattr(view, "token_scope", None), str(request.method))
        if scope is None and _is_missing(view, request):
            raise MethodNotAllowed(str(request.method))
        if isinstance(row, ServiceToken):
            return _service(row, view, scope), row
        if scope is None or scope not in row.scopes:
            raise ProblemRaised(_insufficient(scope))
        if not access_tokens.may_have(row.user, scope):
            raise ProblemRaised(FORBIDDEN)
        return row.user, row


class SessionAuthentication(DjangoSessionAuthentication):
    """The site's session, with CSRF protection for unsafe methods."""

    def enforce_csrf(self, request: Request) -> None:
        # Django's check also passes safe methods, but more slowly.
        if request.method in SAFE_METHODS:
            return
        try:
            # Django's request, because looking for the token in DRF's would parse a body that the view may not accept.
            super().enforce_csrf(request._request)  # type: ignore[arg-type]  # it only uses what both requests have
        except PermissionDenied:
            raise ProblemRaised(CSRF_FAILED) from None


def _service(row: ServiceToken, view: object, scope: str | None) -> Service:
    if scope is not None and not getattr(view, "accepts_services", False):
        raise ProblemRaised(PERSON_REQUIRED)
    if scope is None or scope not in row.scopes:
        raise ProblemRaised(_insufficient(scope))
    return Service(row.name)


def _is_missing(view: object, request: Request) -> bool:
    """Whether the view has no such method, so that a scope for it would be pointless."""
    return not hasattr(view, str(request.method).lower())


def _insufficient(scope: str | None) -> Problem:
    if not scope:
        return INSUFFICIENT_SCOPE
    detail = gettext("This endpoint needs a token with the scope `%(scope)s`.") % {"scope": scope}
    return replace(INSUFFICIENT_SCOPE, detail=detail, more={"scope": scope})
