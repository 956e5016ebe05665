"""A site for the members of one guild, or for some of its roles: `REQUIRED_GUILD` and `REQUIRED_ROLES`."""

from collections.abc import Callable
from typing import Any, cast

from django.conf import settings
from django.core.exceptions import MiddlewareNotUsed
from django.http import HttpRequest, HttpResponse

from accounts.models import PersonalAccessToken, User
from guilds.api.authentication import AccessTokenAuthentication, valid_token
from guilds.api.errors import exception_handler
from guilds.decorators import not_signed_in
from guilds.engine import policy
from guilds.problems import MembershipRequired, MissingRole, ProblemRaised
from guilds.problems.catalogue import DATABASE_UNAVAILABLE, NOT_SIGNED_IN
from guilds.problems.of_errors import problem_of
from guilds.problems.responses import problem_response, wants_json
from guilds.services import GuildMembership, get_member, guild_membership_of
from guilds.sessions import peek_member


class RequiredGuildMiddleware:
    """Runs a view only for people in `REQUIRED_GUILD`, with one of `REQUIRED_ROLES` if there are any.

    Open to everyone are views with `@open_to_all` and the admin, which admits only staff. Staff can open all views.
    Only the person's record in that guild is read, so the bot there makes the scope "identify" sufficient.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        if settings.REQUIRED_GUILD is None:
            raise MiddlewareNotUsed
        self.guild_id: int = settings.REQUIRED_GUILD
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> HttpResponse | None:
        """Return the response to a person who may not open the view, else None.

        Django passes no exception of this method to `ProblemMiddleware`, so it makes the response itself.
        """
        if _is_open(request, view):
            return None
        try:
            return _refuse(request, view, self.guild_id)
        except Exception as error:
            problem = problem_of(error)
            if problem is None or problem is DATABASE_UNAVAILABLE:
                raise
            return exception_handler(error, {}) if wants_json(request) else problem_response(request, problem)


def _is_open(request: HttpRequest, view: Any) -> bool:
    cls = getattr(view, "view_class", None) or getattr(view, "cls", None)
    if hasattr(view, "open_to_all") or (cls is not None and "open_to_all" in vars(cls)):
        return True
    return request.resolver_match is not None and "admin" in request.resolver_match.app_names


def _refuse(request: HttpRequest, view: Any, guild_id: int) -> HttpResponse | None:
    """Redirect an anonymous visitor to sign-in, or raise why the person may not open the view."""
    row = valid_token(request) if _takes_tokens(view) else None
    if row is not None:
        # A service is no person, so it can't be a member; the view's authentication decides about it.
        if isinstance(row, PersonalAccessToken) and not row.user.is_staff:
            _require(get_member(row.user, guild_id))
        return None
    if not request.user.is_authenticated:
        if wants_json(request):
            raise ProblemRaised(NOT_SIGNED_IN)
        return not_signed_in(request)
    if not request.user.is_staff:
        _require(_member_of(request, guild_id))
    return None


def _takes_tokens(view: Any) -> bool:
    """Whether the REST framework view identifies a person by a token before it looks at the session."""
    classes: list[type] = list(getattr(getattr(view, "cls", None), "authentication_classes", ()))
    return bool(classes) and issubclass(classes[0], AccessTokenAuthentication)


def _member_of(request: HttpRequest, guild_id: int) -> GuildMembership:
    """Return the membership of the session's person, without a query if it was read with the session."""
    found = peek_member(request)
    reading = policy.look(*found) if found else None
    return guild_membership_of(reading) if reading else get_member(cast(User, request.user), guild_id)


def _require(member: GuildMembership) -> None:
    if not member.is_member:
        raise MembershipRequired(member.guild_id)
    if settings.REQUIRED_ROLES and not member.has_any(settings.REQUIRED_ROLES):
        raise MissingRole(member.guild_id, settings.REQUIRED_ROLES, whole_site=True)
