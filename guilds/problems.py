"""What a reader is told instead of a page: one account of each failure, for pages and for the API alike."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import urlencode, urlsplit

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext_lazy as _

from accounts.discord import DiscordUnavailable, MissingScope, Permissions, RateLimited
from accounts.limits import Reason
from accounts.sign_in import SignInUnavailable
from accounts.tokens import ReconnectRequired
from guilds.discord_names import PERMISSIONS
from guilds.services import Membership, NoAnswer, RefreshTooSoon

CSRF_FIELD = "csrfmiddlewaretoken"


@dataclass(frozen=True, slots=True)
class Problem:
    """An RFC 9457 problem. `retry_after` in whole seconds, never shorter than the truth.

    Its `type` is a path, so that it is the same at every site, and leads to the page that explains it. Without a `name`
    there is nothing to explain beyond the status.
    """

    name: str
    status: HTTPStatus
    title: str | Promise
    detail: str | Promise
    retry_after: int | None = None
    reason: str | None = None
    # The age in seconds that the view demands of a list; None where any that may be served would have done.
    max_age: int | None = None
    # Members of this type alone.
    more: Mapping[str, object] = field(default_factory=dict)

    def as_dict(self) -> dict[str, object]:
        members: dict[str, object] = {
            "type": f"/problems/{self.name}" if self.name else "about:blank",
            "title": str(self.title),
            "status": int(self.status),
            "detail": str(self.detail),
        }
        if self.retry_after is not None:
            members["retry_after"] = self.retry_after
        if self.reason is not None:
            members["reason"] = self.reason
        if self.max_age is not None:
            members["max_age"] = self.max_age
        return {**members, **self.more}


# What the web itself says, by the name of its problem: on the site's own pages and through the API.
TITLES: dict[str, str | Promise] = {
    "bad-request": _("That can't be read"),
    "forbidden": _("Not allowed"),
    "not-found": _("Nothing here"),
    "method-not-allowed": _("Not this way"),
    "database-unavailable": _("Back in a moment"),
}
DATABASE_UNAVAILABLE = Problem(
    "database-unavailable",
    HTTPStatus.SERVICE_UNAVAILABLE,
    TITLES["database-unavailable"],
    _("This site can't reach its database. Try again in a few seconds."),
    retry_after=5,
)


class NotInGuild(Http404):
    """The person isn't in the guild that was asked for, or nobody is: both get the same answer."""


class MayNotManage(PermissionDenied):
    """The person is in the guild, but may not manage it."""


class BotNotInGuild(Exception):
    """The page needs the bot in the guild, and it isn't there."""


NOT_SIGNED_IN = Problem("not-signed-in", HTTPStatus.UNAUTHORIZED, _("Not signed in"), _("Sign in with Discord first."))
NOT_IN_GUILD = Problem(
    "not-in-guild", HTTPStatus.NOT_FOUND, _("Not one of your servers"), _("You are not in a server with this id.")
)
BOT_NOT_IN_GUILD = Problem(
    "bot-not-in-guild",
    HTTPStatus.CONFLICT,
    _("The bot isn't in this server"),
    _("This page works once somebody who may manage the server has added the bot to it."),
)

WHY: dict[Reason, str | Promise] = {
    Reason.RATE_LIMITED: _("Discord is limiting how often it may be asked about you."),
    Reason.GLOBAL_LIMIT: _("Discord is limiting this whole site at the moment."),
    Reason.CLOUDFLARE: _("Discord's shield against traffic is keeping this site out at the moment."),
    Reason.UNAVAILABLE: _("Discord isn't answering at the moment."),
    Reason.BRAKE: _("Discord has refused so many requests that this site is giving it a rest."),
    Reason.BUSY: _("A lot of people are asking at once."),
    Reason.IN_PROGRESS: _("Discord is taking its time to answer."),
}


def missing_permission(permission: Permissions) -> Problem:
    """The person is in the guild, but lacks `permission` there, which programs get by Discord's name."""
    names = [flag.name or "" for flag in permission]
    return Problem(
        "missing-permission",
        HTTPStatus.FORBIDDEN,
        _("You may not manage this server") if permission == Permissions.MANAGE_GUILD else _("Not allowed"),
        _("That takes the permission “%(permission)s”. The owner can give you a role that has it.")
        % {"permission": ", ".join(str(PERMISSIONS[flag]) for flag in permission)},
        more={"permission": " ".join(names).lower()},
    )


class ProblemRaised(Exception):
    """Answer with `problem`."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.title)
        self.problem = problem


def problem_of(error: Exception) -> Problem | None:
    """The account of `error`; None if it is not one of ours and should take its way."""
    match error:
        case ProblemRaised():
            return error.problem
        case NotInGuild():
            return NOT_IN_GUILD
        case MayNotManage():
            return missing_permission(Permissions.MANAGE_GUILD)
        case BotNotInGuild():
            return BOT_NOT_IN_GUILD
        case NoAnswer():
            return problem_of_no_answer(error)
        case SignInUnavailable():
            return problem_of_no_answer(NoAnswer("guild_list", error.reason, error.retry_after))
        case ReconnectRequired():
            return problem_of_no_answer(NoAnswer("guild_list", Reason.RECONNECT_REQUIRED))
        case MissingScope():
            return problem_of_no_answer(NoAnswer("guild_list", Reason.MISSING_SCOPE))
        case RateLimited():
            return problem_of_no_answer(NoAnswer("guild_list", Reason.of_limit(error.scope), error.retry_after))
        case DiscordUnavailable():
            return problem_of_no_answer(NoAnswer("guild_list", Reason.UNAVAILABLE, error.retry_after))
        case RefreshTooSoon():
            return Problem(
                "refresh-too-soon",
                HTTPStatus.TOO_MANY_REQUESTS,
                _("That was a moment ago"),
                _("The list was checked with Discord a moment ago."),
                retry_after=whole_seconds(error.retry_after),
            )
    return None


def problem_of_no_answer(error: NoAnswer) -> Problem:
    reason = error.reason
    if reason is Reason.RECONNECT_REQUIRED:
        return Problem(
            "reconnect-required",
            HTTPStatus.FORBIDDEN,
            _("Sign in with Discord again"),
            _("Discord doesn't accept this site's access to your account, or there is none yet."),
            reason=reason,
        )
    if reason is Reason.MISSING_SCOPE:
        return Problem(
            "missing-scope",
            HTTPStatus.FORBIDDEN,
            _("Discord wasn't allowed to share your servers"),
            _("Sign in again and leave “Know what servers you’re in” switched on."),
            reason=reason,
        )
    wait = whole_seconds(error.retry_after)
    if reason.is_limit:
        status, title = HTTPStatus.TOO_MANY_REQUESTS, _("Discord asks for a pause")
        return Problem("rate-limited", status, title, WHY[reason], retry_after=wait, reason=reason)
    status, title = HTTPStatus.SERVICE_UNAVAILABLE, _("Discord is out of reach")
    return Problem("discord-unavailable", status, title, WHY[reason], retry_after=wait, reason=reason)


# Where nobody named a wait, as at sign-in, for which none is kept: about what the engine waits after a failure.
UNKNOWN_WAIT = 30.0


def whole_seconds(wait: float | None) -> int:
    return max(math.ceil(UNKNOWN_WAIT if wait is None else wait), 1)


def problem_response(request: HttpRequest, problem: Problem) -> HttpResponse:
    """A page for people, problem+json for programs, both with the same status and Retry-After."""
    if wants_json(request):
        response: HttpResponse = JsonResponse(
            problem.as_dict(), status=problem.status, content_type="application/problem+json"
        )
    else:
        guild: Membership | None = getattr(request, "guild", None)
        changes = not is_safe(request) and not _is_sign_in(request)
        context = {
            "problem": problem,
            "again": _again(request),
            "is_sign_in": _is_sign_in(request),
            "changes": changes,
            # A button alone is no form that somebody filled in.
            "has_text": changes and bool(request.POST.keys() - {CSRF_FIELD}),
            "has_form": changes and came_from(request) is not None,
            # Of a page without a door, as its URL names it.
            "guild_id": guild.guild_id if guild else _url_argument(request, "guild_id"),
            "can_add_bot": problem is BOT_NOT_IN_GUILD and guild is not None and guild.can_manage,
        }
        response = render(request, "guilds/problem.html", context, status=problem.status)
    if problem.retry_after is not None:
        response["Retry-After"] = str(problem.retry_after)
    response["Cache-Control"] = "no-store"
    return response


def _url_argument(request: HttpRequest, name: str) -> object:
    return request.resolver_match.kwargs.get(name) if request.resolver_match else None


def _is_sign_in(request: HttpRequest) -> bool:
    return request.resolver_match is not None and request.resolver_match.namespace == settings.SOCIAL_AUTH_URL_NAMESPACE


def _again(request: HttpRequest) -> str:
    """Where to try again. Discord's answer to a sign-in works once, so that starts anew, with its way back."""
    if _is_sign_in(request):
        kept = {"next": request.session["next"]} if request.session.get("next") else {}
        return f"{reverse('sign-in')}?{urlencode({'again': 1, **kept})}"
    return way_back(request)


def way_back(request: HttpRequest) -> str:
    """Where the person can go on: this address, or, if it only takes what a form sends, the form's page."""
    return request.get_full_path() if is_safe(request) else came_from(request) or reverse("guilds:picker")


def is_safe(request: HttpRequest) -> bool:
    """Whether the request only reads (RFC 9110, section 9.2.1)."""
    return request.method in ("GET", "HEAD", "OPTIONS", "TRACE")


def came_from(request: HttpRequest) -> str | None:
    """The page of this site on which a form was sent, or a link followed, as the browser says; None if it doesn't."""
    referer = request.headers.get("Referer", "")
    # Browsers send the whole address; what has no scheme or host is somebody else's idea of one.
    ours = urlsplit(referer).netloc and url_has_allowed_host_and_scheme(
        referer, {request.get_host()}, require_https=request.is_secure()
    )
    return referer if ours else None


def wants_json(request: HttpRequest) -> bool:
    if request.path.startswith("/api/"):
        return True
    preferred = request.get_preferred_type(["text/html", "application/json", "application/problem+json"])
    return preferred is not None and preferred != "text/html"
