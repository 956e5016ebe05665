"""What a reader is told instead of a page: one account of each failure, for pages and for the API alike."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import urlencode

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from accounts.discord import DiscordAPIError, DiscordUnavailable, MissingScope, RateLimited
from accounts.tokens import ReconnectRequired
from guilds.freshness import Reason
from guilds.services import RefreshTooSoon


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
        return {**members, **self.more}


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
MAY_NOT_MANAGE = Problem(
    "may-not-manage",
    HTTPStatus.FORBIDDEN,
    _("You may not manage this server"),
    _("That takes the permission “Manage Server”. The owner can give you a role that has it."),
)
MAY_NOT = Problem(
    "missing-permission",
    HTTPStatus.FORBIDDEN,
    _("Not allowed"),
    _("You don't have the permission that this takes there."),
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
            return MAY_NOT_MANAGE
        case BotNotInGuild():
            return BOT_NOT_IN_GUILD
        case ReconnectRequired():
            return Problem(
                "reconnect-required",
                HTTPStatus.FORBIDDEN,
                _("Sign in with Discord again"),
                _("Discord doesn't accept this site's access to your account, or there is none yet."),
                reason=Reason.RECONNECT_REQUIRED,
            )
        case MissingScope():
            return Problem(
                "missing-scope",
                HTTPStatus.FORBIDDEN,
                _("Discord wasn't allowed to share your servers"),
                _("Sign in again and leave “Know what servers you’re in” switched on."),
                reason=Reason.MISSING_SCOPE,
            )
        case RefreshTooSoon():
            return Problem(
                "refresh-too-soon",
                HTTPStatus.TOO_MANY_REQUESTS,
                _("That was a moment ago"),
                _("The list was checked with Discord a moment ago."),
                retry_after=_seconds(error.retry_after),
            )
        case RateLimited():
            reason = _reason(error, Reason.RATE_LIMITED)
            return Problem(
                "rate-limited",
                HTTPStatus.TOO_MANY_REQUESTS,
                _("Discord asks for a pause"),
                WHY[reason],
                retry_after=_seconds(error.retry_after),
                reason=reason,
            )
        case DiscordUnavailable():
            reason = _reason(error, Reason.UNAVAILABLE)
            return Problem(
                "discord-unavailable",
                HTTPStatus.SERVICE_UNAVAILABLE,
                _("Discord is out of reach"),
                WHY[reason],
                retry_after=_seconds(error.retry_after),
                reason=reason,
            )
    return None


def _reason(error: DiscordAPIError, otherwise: Reason) -> Reason:
    by_scope = {"user": Reason.RATE_LIMITED, "shared": Reason.RATE_LIMITED, "global": Reason.GLOBAL_LIMIT}
    try:
        return by_scope.get(error.scope or "") or Reason(error.scope or otherwise)
    except ValueError:
        return otherwise


def _seconds(wait: float | None) -> int:
    return max(math.ceil(wait or 0), 1)


def problem_response(request: HttpRequest, problem: Problem) -> HttpResponse:
    """A page for people, problem+json for programs, both with the same status and Retry-After."""
    if wants_json(request):
        response: HttpResponse = JsonResponse(
            problem.as_dict(), status=problem.status, content_type="application/problem+json"
        )
    else:
        context = {
            "problem": problem,
            "again": _again(request),
            "is_sign_in": _is_sign_in(request),
            "guild_id": request.resolver_match.kwargs.get("guild_id") if request.resolver_match else None,
        }
        response = render(request, "guilds/problem.html", context, status=problem.status)
    if problem.retry_after is not None:
        response["Retry-After"] = str(problem.retry_after)
    response["Cache-Control"] = "no-store"
    return response


def _is_sign_in(request: HttpRequest) -> bool:
    return request.resolver_match is not None and request.resolver_match.namespace == settings.SOCIAL_AUTH_URL_NAMESPACE


def _again(request: HttpRequest) -> str:
    """Where to try again. Discord's answer to a sign-in works once, so that starts anew, with its way back."""
    if _is_sign_in(request):
        way_back = {"next": request.session["next"]} if request.session.get("next") else {}
        return f"{reverse('sign-in')}?{urlencode({'again': 1, **way_back})}"
    return request.get_full_path() if request.method == "GET" else reverse("guilds:picker")


def wants_json(request: HttpRequest) -> bool:
    if request.path.startswith("/api/"):
        return True
    preferred = request.get_preferred_type(["text/html", "application/json", "application/problem+json"])
    return preferred is not None and preferred != "text/html"
