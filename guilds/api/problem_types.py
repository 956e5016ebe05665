"""Each problem of the API: what it means and what to do. Its page and the schema are made of this."""

from dataclasses import dataclass
from http import HTTPStatus

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe


@dataclass(frozen=True, slots=True)
class ProblemType:
    name: str
    status: HTTPStatus
    meaning: str | Promise
    advice: str | Promise
    # Whether the answer says when to try again.
    waits: bool = False

    @property
    def path(self) -> str:
        return f"/problems/{self.name}"


_TYPES = (
    ProblemType(
        "bad-request",
        HTTPStatus.BAD_REQUEST,
        _("The request can't be read at all."),
        _("Look at it as it goes over the wire."),
    ),
    ProblemType(
        "invalid-parameter",
        HTTPStatus.BAD_REQUEST,
        _("A parameter of the query isn't known, is given twice or has a value that can't be read."),
        _("Correct it; the member “parameter” names it and “detail” says what it takes."),
    ),
    ProblemType(
        "validation-failed",
        HTTPStatus.BAD_REQUEST,
        _("The request can be read, but holds values that this doesn't take."),
        _("The member “errors” names each field with what is wrong with it."),
    ),
    ProblemType(
        "not-signed-in",
        HTTPStatus.UNAUTHORIZED,
        _("The request carries neither a session nor an access token."),
        _("Send “Authorization: Bearer” with a personal access token, or sign in."),
    ),
    ProblemType(
        "invalid-token",
        HTTPStatus.UNAUTHORIZED,
        _("The access token doesn't exist: it is misspelt, has expired, was revoked, or its owner is gone."),
        _("Make a new one on your account page. Asking again with this one is of no use."),
    ),
    ProblemType(
        "insufficient-scope",
        HTTPStatus.FORBIDDEN,
        _("The access token is good, but wasn't made for this."),
        _("Make a token with the scope that the member “scope” names. Without that member no token will do."),
    ),
    ProblemType(
        "csrf-failed",
        HTTPStatus.FORBIDDEN,
        _("A request with the session's cookie would change something, and doesn't prove that a page of ours sent it."),
        _("Send Django's CSRF token as X-CSRFToken, or use an access token."),
    ),
    ProblemType(
        "reconnect-required",
        HTTPStatus.FORBIDDEN,
        _("Discord doesn't accept this site's access to the person's account, or there is none yet."),
        _("The person signs in with Discord again. Until then no list is served, however young."),
    ),
    ProblemType(
        "missing-scope",
        HTTPStatus.FORBIDDEN,
        _("The person signed in without letting Discord share their servers."),
        _("The person signs in again and leaves that switched on."),
    ),
    ProblemType(
        "missing-permission",
        HTTPStatus.FORBIDDEN,
        _("The person is in the server, but lacks the permission that this takes there."),
        _("Somebody who may gives them a role that has it; the member “permission” names it as Discord does."),
    ),
    ProblemType(
        "bot-not-in-guild",
        HTTPStatus.CONFLICT,
        _("This needs the bot in the server, and it isn't there."),
        _("Somebody who may manage the server adds it."),
    ),
    ProblemType(
        "forbidden",
        HTTPStatus.FORBIDDEN,
        _("The person may not do this here; some of the API is for staff."),
        _("Ask an operator of this site."),
    ),
    ProblemType(
        "not-in-guild",
        HTTPStatus.NOT_FOUND,
        _("The person isn't in a server with this id; whether there is one is not told."),
        _("Take the id from the list, as a string: as a JavaScript number it would be rounded."),
    ),
    ProblemType(
        "not-found",
        HTTPStatus.NOT_FOUND,
        _("There is nothing at this address."),
        _("Compare it with the schema; every address ends with a slash."),
    ),
    ProblemType(
        "method-not-allowed",
        HTTPStatus.METHOD_NOT_ALLOWED,
        _("There is something at this address, but not for this method."),
        _("The header Allow names the methods."),
    ),
    ProblemType(
        "not-acceptable",
        HTTPStatus.NOT_ACCEPTABLE,
        _("The request's Accept wants something other than JSON."),
        _("Accept application/json."),
    ),
    ProblemType(
        "precondition-failed",
        HTTPStatus.PRECONDITION_FAILED,
        _("The list isn't what the request demands by If-Match."),
        _("Leave it away where you only read. To save answers, send the ETag as If-None-Match."),
    ),
    ProblemType(
        "refresh-too-soon",
        HTTPStatus.TOO_MANY_REQUESTS,
        _("The list was checked with Discord a moment ago; a refresh has a cool-down."),
        _("Read the list: it is fresh. Refresh again after Retry-After."),
        waits=True,
    ),
    ProblemType(
        "rate-limited",
        HTTPStatus.TOO_MANY_REQUESTS,
        _("Discord limits this person or this site, and there is no stored list young enough to stand in."),
        _("Try again after Retry-After, which is Discord's own. The member “reason” says who is limited."),
        waits=True,
    ),
    ProblemType(
        "too-many-requests",
        HTTPStatus.TOO_MANY_REQUESTS,
        _("You ask this site faster than it allows one person or one address. Discord has nothing to do with it."),
        _("Wait for Retry-After, and then ask less often: If-None-Match makes it cheap, not free."),
        waits=True,
    ),
    ProblemType(
        "server-error",
        HTTPStatus.INTERNAL_SERVER_ERROR,
        _("Something broke on our side, and has been written down."),
        _("Try again in a minute. Tell the operator what X-Request-ID says if it lasts."),
    ),
    ProblemType(
        "discord-unavailable",
        HTTPStatus.SERVICE_UNAVAILABLE,
        _("Discord doesn't answer, and there is no stored list young enough to stand in."),
        _("Try again after Retry-After. The member “reason” says what is known."),
        waits=True,
    ),
    ProblemType(
        "database-unavailable",
        HTTPStatus.SERVICE_UNAVAILABLE,
        _("This site can't reach its database."),
        _("Try again after Retry-After. Nobody's list is lost."),
        waits=True,
    ),
)
PROBLEM_TYPES = {problem_type.name: problem_type for problem_type in _TYPES}


@require_safe
def index(request: HttpRequest) -> HttpResponse:
    return render(request, "api/problems.html", {"types": PROBLEM_TYPES.values()})


@require_safe
def page(request: HttpRequest, name: str) -> HttpResponse:
    if name not in PROBLEM_TYPES:
        raise Http404
    return render(request, "api/problem.html", {"type": PROBLEM_TYPES[name]})
