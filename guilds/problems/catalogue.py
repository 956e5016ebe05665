"""Each problem the site answers with, once: its status, its words, what it means and what to do.

Pages, the API, its schema and the pages under /problems/ read these rows. A new problem is a new row here, and a line
of the table in docs/api.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from accounts.limits import Reason
from accounts.sign_in import SignInFailure

Text = str | Promise


@dataclass(frozen=True, slots=True)
class Problem:
    """An RFC 9457 problem: a row of the catalogue, or, with `dataclasses.replace`, what one request is told.

    Its `type` is a path, so that it is the same at every site, and leads to the page that explains it. Without a `name`
    there is nothing to explain beyond the status.
    """

    name: str
    status: HTTPStatus
    title: Text
    detail: Text = ""
    # What the page at its `type` says.
    meaning: Text = ""
    advice: Text = ""
    # Whether each answer says when to try again.
    waits: bool = False
    # In whole seconds, never shorter than the truth.
    retry_after: int | None = None
    reason: str | None = None
    # The age in seconds that the view demands of a list; None where any that may be served would have done.
    max_age: int | None = None
    # Members of this type alone.
    more: Mapping[str, object] = field(default_factory=dict)

    @property
    def path(self) -> str:
        return f"/problems/{self.name}"

    def as_dict(self) -> dict[str, object]:
        members: dict[str, object] = {
            "type": self.path if self.name else "about:blank",
            "title": str(self.title),
            "status": int(self.status),
            "detail": str(self.detail),
        }
        waits = {"retry_after": self.retry_after, "reason": self.reason, "max_age": self.max_age}
        return {**members, **{name: value for name, value in waits.items() if value is not None}, **self.more}


# By name, in the order of the page that lists them.
PROBLEMS: dict[str, Problem] = {}


def _row(
    name: str,
    status: HTTPStatus,
    title: Text,
    detail: Text = "",
    *,
    meaning: Text,
    advice: Text,
    waits: bool = False,
    retry_after: int | None = None,
    reason: Reason | None = None,
) -> Problem:
    PROBLEMS[name] = Problem(name, status, title, detail, meaning, advice, waits, retry_after, reason)
    return PROBLEMS[name]


BAD_REQUEST = _row(
    "bad-request",
    HTTPStatus.BAD_REQUEST,
    _("That can't be read"),
    _("Your browser sent something this site can't read."),
    meaning=_("The request can't be read at all."),
    advice=_("Look at it as it goes over the wire."),
)
INVALID_PARAMETER = _row(
    "invalid-parameter",
    HTTPStatus.BAD_REQUEST,
    _("Invalid parameter"),
    meaning=_("A parameter of the query isn't known, is given twice or has a value that can't be read."),
    advice=_("Correct it; the member “parameter” names it and “detail” says what it takes."),
)
VALIDATION_FAILED = _row(
    "validation-failed",
    HTTPStatus.BAD_REQUEST,
    _("That isn't right yet"),
    _("“errors” says what is wrong, and with which field."),
    meaning=_("The request can be read, but holds values that this doesn't take."),
    advice=_("The member “errors” names each field with what is wrong with it."),
)
NOT_SIGNED_IN = _row(
    "not-signed-in",
    HTTPStatus.UNAUTHORIZED,
    _("Not signed in"),
    _("Sign in with Discord first."),
    meaning=_("The request carries neither a session nor an access token."),
    advice=_("Send “Authorization: Bearer” with a personal access token, or sign in."),
)
INVALID_TOKEN = _row(
    "invalid-token",
    HTTPStatus.UNAUTHORIZED,
    _("Invalid token"),
    _("There is no such access token, or it has expired."),
    meaning=_("The access token doesn't exist: it is misspelt, has expired, was revoked, or its owner is gone."),
    advice=_("Make a new one on your account page. Asking again with this one is of no use."),
)
INSUFFICIENT_SCOPE = _row(
    "insufficient-scope",
    HTTPStatus.FORBIDDEN,
    _("The token may not do this"),
    _("This takes a session, and no token."),
    meaning=_("The access token is good, but wasn't made for this."),
    advice=_("Make a token with the scope that the member “scope” names. Without that member no token will do."),
)
CSRF_FAILED = _row(
    "csrf-failed",
    HTTPStatus.FORBIDDEN,
    _("No proof that the page is ours"),
    _("A request that changes something, made with the session, carries Django's CSRF token in X-CSRFToken."),
    meaning=_(
        "A request with the session's cookie would change something, and doesn't prove that a page of ours sent it."
    ),
    advice=_("Send Django's CSRF token as X-CSRFToken, or use an access token."),
)
# The same for people, whose form may just be old.
FORM_TOO_OLD = replace(
    CSRF_FAILED,
    title=_("Please try again"),
    detail=_("The page was open for too long, or cookies are off. Go back, reload it and try again."),
)
RECONNECT_REQUIRED = _row(
    "reconnect-required",
    HTTPStatus.FORBIDDEN,
    _("Sign in with Discord again"),
    _("Discord doesn't accept this site's access to your account, or there is none yet."),
    meaning=_("Discord doesn't accept this site's access to the person's account, or there is none yet."),
    advice=_("The person signs in with Discord again. Until then no list is served, however young."),
    reason=Reason.RECONNECT_REQUIRED,
)
MISSING_SCOPE = _row(
    "missing-scope",
    HTTPStatus.FORBIDDEN,
    _("Discord wasn't allowed to share your servers"),
    _("Sign in again and leave “Know what servers you’re in” switched on."),
    meaning=_("The person signed in without letting Discord share their servers."),
    advice=_("The person signs in again and leaves that switched on."),
    reason=Reason.MISSING_SCOPE,
)
MISSING_PERMISSION = _row(
    "missing-permission",
    HTTPStatus.FORBIDDEN,
    _("Not allowed"),
    meaning=_("The person is in the server, but lacks the permission that this takes there."),
    advice=_("Somebody who may gives them a role that has it; the member “permission” names it as Discord does."),
)
BOT_NOT_IN_GUILD = _row(
    "bot-not-in-guild",
    HTTPStatus.CONFLICT,
    _("The bot isn't in this server"),
    _("This page works once somebody who may manage the server has added the bot to it."),
    meaning=_("This needs the bot in the server, and it isn't there."),
    advice=_("Somebody who may manage the server adds it."),
)
FORBIDDEN = _row(
    "forbidden",
    HTTPStatus.FORBIDDEN,
    _("Not allowed"),
    _("You may not see this page."),
    meaning=_("The person may not do this here; some of the API is for staff."),
    advice=_("Ask an operator of this site."),
)
NOT_IN_GUILD = _row(
    "not-in-guild",
    HTTPStatus.NOT_FOUND,
    _("Not one of your servers"),
    _("You are not in a server with this id."),
    meaning=_("The person isn't in a server with this id; whether there is one is not told."),
    advice=_("Take the id from the list, as a string: as a JavaScript number it would be rounded."),
)
NOT_FOUND = _row(
    "not-found",
    HTTPStatus.NOT_FOUND,
    _("Nothing here"),
    _("There is no page with this address."),
    meaning=_("There is nothing at this address."),
    advice=_("Compare it with the schema; every address ends with a slash."),
)
METHOD_NOT_ALLOWED = _row(
    "method-not-allowed",
    HTTPStatus.METHOD_NOT_ALLOWED,
    _("Not this way"),
    _("This address belongs to a form, or only shows something. If you sent a form, go back to it and send it again."),
    meaning=_("There is something at this address, but not for this method."),
    advice=_("The header Allow names the methods."),
)
NOT_ACCEPTABLE = _row(
    "not-acceptable",
    HTTPStatus.NOT_ACCEPTABLE,
    _("There is only JSON"),
    meaning=_("The request's Accept wants something other than JSON."),
    advice=_("Accept application/json."),
)
PRECONDITION_FAILED = _row(
    "precondition-failed",
    HTTPStatus.PRECONDITION_FAILED,
    _("Not what you expected"),
    _("What is here now isn't what the request demands by If-Match."),
    meaning=_("The list isn't what the request demands by If-Match."),
    advice=_("Leave it away where you only read. To save answers, send the ETag as If-None-Match."),
)
REFRESH_TOO_SOON = _row(
    "refresh-too-soon",
    HTTPStatus.TOO_MANY_REQUESTS,
    _("That was a moment ago"),
    _("The list was checked with Discord a moment ago."),
    meaning=_("The list was checked with Discord a moment ago; a refresh has a cool-down."),
    advice=_("Read the list: it is fresh. Refresh again after Retry-After."),
    waits=True,
)
RATE_LIMITED = _row(
    "rate-limited",
    HTTPStatus.TOO_MANY_REQUESTS,
    _("Discord asks for a pause"),
    meaning=_("Discord limits this person or this site, and there is no stored list young enough to stand in."),
    advice=_("Try again after Retry-After, which is Discord's own. The member “reason” says who is limited."),
    waits=True,
)
TOO_MANY_REQUESTS = _row(
    "too-many-requests",
    HTTPStatus.TOO_MANY_REQUESTS,
    _("Too many requests"),
    _("You are asking this site faster than it allows. Discord has nothing to do with it."),
    meaning=_("You ask this site faster than it allows one person or one address. Discord has nothing to do with it."),
    advice=_("Wait for Retry-After, and then ask less often: If-None-Match makes it cheap, not free."),
    waits=True,
)
SERVER_ERROR = _row(
    "server-error",
    HTTPStatus.INTERNAL_SERVER_ERROR,
    _("Something broke on our side"),
    _("It has been written down. Try again in a minute."),
    meaning=_("Something broke on our side, and has been written down."),
    advice=_("Try again in a minute. Tell the operator what X-Request-ID says if it lasts."),
)
DISCORD_UNAVAILABLE = _row(
    "discord-unavailable",
    HTTPStatus.SERVICE_UNAVAILABLE,
    _("Discord is out of reach"),
    meaning=_("Discord doesn't answer, and there is no stored list young enough to stand in."),
    advice=_("Try again after Retry-After. The member “reason” says what is known."),
    waits=True,
)
DATABASE_UNAVAILABLE = _row(
    "database-unavailable",
    HTTPStatus.SERVICE_UNAVAILABLE,
    _("Back in a moment"),
    _("This site can't reach its database. Try again in a few seconds."),
    meaning=_("This site can't reach its database."),
    advice=_("Try again after Retry-After. Nobody's list is lost."),
    waits=True,
    retry_after=5,
)

# By resource: each needs a scope of its own.
MISSING_SCOPES = {"guild_list": MISSING_SCOPE}
# The detail of the two rows that wait for Discord.
WHY: dict[Reason, Text] = {
    Reason.RATE_LIMITED: _("Discord is limiting how often it may be asked about you."),
    Reason.GLOBAL_LIMIT: _("Discord is limiting this whole site at the moment."),
    Reason.CLOUDFLARE: _("Discord's shield against traffic is keeping this site out at the moment."),
    Reason.UNAVAILABLE: _("Discord isn't answering at the moment."),
    Reason.BRAKE: _("Discord has refused so many requests that this site is giving it a rest."),
    Reason.BUSY: _("A lot of people are asking at once."),
    Reason.IN_PROGRESS: _("Discord is taking its time to answer."),
}

# Only ever a page: no program signs in this way.
SIGN_IN_FAILURES: dict[SignInFailure, Problem] = {
    SignInFailure.DENIED: Problem(
        "",
        HTTPStatus.FORBIDDEN,
        _("You didn't allow it"),
        _("Without your consent at Discord this site can't know your servers. Nothing was stored. You can try again."),
    ),
    SignInFailure.USED_CODE: Problem(
        "",
        HTTPStatus.BAD_REQUEST,
        _("This sign-in was used already"),
        _(
            "Discord's answer works once and for a short time only. "
            "Reloading the page doesn't bring it back; start again."
        ),
    ),
    SignInFailure.EXPIRED: Problem(
        "",
        HTTPStatus.BAD_REQUEST,
        _("This sign-in took too long"),
        _(
            "It was started in another browser, or too long ago. "
            "Start again; if that repeats, allow cookies for this site."
        ),
    ),
    SignInFailure.IN_USE: Problem(
        "",
        HTTPStatus.CONFLICT,
        _("That is another Discord account"),
        _("You are signed in here as somebody else. Sign out first, then sign in with that account."),
    ),
    SignInFailure.INACTIVE: Problem(
        "",
        HTTPStatus.FORBIDDEN,
        _("This account is switched off"),
        _("An operator of this site has deactivated your account here. Only they can switch it on again."),
    ),
    SignInFailure.MISCONFIGURED: Problem(
        "",
        HTTPStatus.SERVICE_UNAVAILABLE,
        _("Sign-in isn't set up right"),
        _("Discord refuses this site's own credentials. Only its operator can mend that; please tell them."),
    ),
    SignInFailure.FAILED: Problem(
        "",
        HTTPStatus.BAD_REQUEST,
        _("Sign-in didn't work"),
        _("Discord's answer wasn't what it should be. Please start again."),
    ),
}
