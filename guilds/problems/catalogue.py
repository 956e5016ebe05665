"""The catalogue of problems: the status, title, detail, meaning and advice of each.

Pages, the API, its schema and the pages under /problems/ read these rows. A new problem is a new row here, and a line
of the table in docs/api.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from accounts import scopes
from accounts.limits import Reason
from accounts.sign_in import SignInFailure

Text = str | Promise


@dataclass(frozen=True, slots=True)
class Problem:
    """An RFC 9457 problem: a row of the catalogue, or a copy for one request, made with `dataclasses.replace`.

    Its `type` is the path of the page that explains it, and so is the same on every site. A problem without a `name`
    has no such page: its status explains it.
    """

    name: str
    status: HTTPStatus
    title: Text
    detail: Text = ""
    # The text of the page at its `type`.
    meaning: Text = ""
    advice: Text = ""
    # Whether every response has a `Retry-After`.
    waits: bool = False
    # In whole seconds, rounded up.
    retry_after: int | None = None
    reason: str | None = None
    # The maximum age in seconds that the view requires; None if any list that may be served is enough.
    max_age: int | None = None
    # Additional members for this type.
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


# By name, in the order in which the error reference lists them.
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
    more: Mapping[str, object] | None = None,
) -> Problem:
    PROBLEMS[name] = Problem(
        name, status, title, detail, meaning, advice, waits, retry_after, reason, more=dict(more or {})
    )
    return PROBLEMS[name]


BAD_REQUEST = _row(
    "bad-request",
    HTTPStatus.BAD_REQUEST,
    _("Bad request"),
    _("Your browser sent a request that this site can't read."),
    meaning=_("The request is malformed."),
    advice=_("Inspect the raw request your client sends."),
)
INVALID_PARAMETER = _row(
    "invalid-parameter",
    HTTPStatus.BAD_REQUEST,
    _("Invalid parameter"),
    meaning=_("A query parameter is unknown, is given more than once or has an invalid value."),
    advice=_("Correct the parameter that `parameter` names; `detail` says which values it accepts."),
)
VALIDATION_FAILED = _row(
    "validation-failed",
    HTTPStatus.BAD_REQUEST,
    _("Invalid input"),
    _("`errors` lists the invalid fields and what is wrong with each."),
    meaning=_("The request is well-formed, but some of its values are invalid."),
    advice=_("Correct the fields that `errors` lists."),
)
NOT_SIGNED_IN = _row(
    "not-signed-in",
    HTTPStatus.UNAUTHORIZED,
    _("Not signed in"),
    _("Sign in with Discord first."),
    meaning=_("The request has neither a session nor an access token."),
    advice=_("Send a personal access token as `Authorization: Bearer`, or sign in."),
)
# The same for people whose session was deleted by another request before theirs was answered.
SESSION_ENDED = replace(
    NOT_SIGNED_IN,
    title=_("Please sign in again"),
    detail=_("You were signed out before this page was ready, perhaps in another tab."),
)
INVALID_TOKEN = _row(
    "invalid-token",
    HTTPStatus.UNAUTHORIZED,
    _("Invalid token"),
    _("This access token doesn't exist or has expired."),
    meaning=_("The access token is misspelt, has expired or was revoked, or its owner's account was deleted."),
    advice=_("Create a new token on your account page. Retrying with this token won't help."),
)
INSUFFICIENT_SCOPE = _row(
    "insufficient-scope",
    HTTPStatus.FORBIDDEN,
    _("Insufficient scope"),
    _("This endpoint needs a session; access tokens are not accepted."),
    meaning=_("The access token is valid, but doesn't have the scope this endpoint needs."),
    advice=_(
        "Create a token with the scope that `scope` names. If `scope` is missing, the endpoint accepts no tokens."
    ),
)
PERSON_REQUIRED = _row(
    "person-required",
    HTTPStatus.FORBIDDEN,
    _("A service can't use this endpoint"),
    _("This endpoint answers for a person, and a service token belongs to none."),
    meaning=_("The service token is valid, but the endpoint answers for the person who asks."),
    advice=_("Use a personal access token. No scope lets a service use this endpoint."),
)
CSRF_FAILED = _row(
    "csrf-failed",
    HTTPStatus.FORBIDDEN,
    _("CSRF check failed"),
    _("A request that uses the session and changes something must send Django's CSRF token in `X-CSRFToken`."),
    meaning=_("The request uses the session cookie and would change something, but has no valid CSRF token."),
    advice=_("Send Django's CSRF token in `X-CSRFToken`, or use an access token."),
)
# The same for people, with what went wrong.
FORM_TOO_OLD = replace(
    CSRF_FAILED,
    title=_("Please try again"),
    detail=_("You signed in or out after this page was opened. Go back, reload it and try again."),
)
NO_COOKIES = replace(
    CSRF_FAILED,
    title=_("Your browser sent no cookie"),
    detail=_("This site needs cookies for its forms. Allow them, go back, reload the page and try again."),
)
FOREIGN_FORM = replace(
    CSRF_FAILED,
    title=_("This form was sent from another site"),
    detail=_("To protect your account, this site accepts only its own forms. Open the page here and try again."),
)
RECONNECT_REQUIRED = _row(
    "reconnect-required",
    HTTPStatus.FORBIDDEN,
    _("Sign in with Discord again"),
    _("This site's connection to your Discord account has expired or was removed."),
    meaning=_("This site's connection to the person's Discord account has expired or was removed."),
    advice=_(
        "Ask the person to sign in with Discord again. Until then, no stored answer is returned, not even a recent one."
    ),
    reason=Reason.RECONNECT_REQUIRED,
)
MISSING_SCOPE = _row(
    "missing-scope",
    HTTPStatus.FORBIDDEN,
    _("You didn't share your servers"),
    _("Sign in again and leave “Know what servers you're in” on."),
    meaning=_("The person hasn't shared what this needs: their servers, or their roles. `scope` names it."),
    advice=_("Ask the person to open `/sign-in/?scope=` with that scope and allow it on Discord."),
    reason=Reason.MISSING_SCOPE,
    more={"scope": scopes.GUILDS},
)
MISSING_PERMISSION = _row(
    "missing-permission",
    HTTPStatus.FORBIDDEN,
    _("Not allowed"),
    meaning=_("The person is in the server but doesn't have the required permission."),
    advice=_(
        "Ask someone who manages the server for a role with this permission; `permission` is Discord's name for it."
    ),
)
MISSING_ROLE = _row(
    "missing-role",
    HTTPStatus.FORBIDDEN,
    _("You don't have the required role"),
    _("This page is for people with a certain role in this server. Ask someone who manages the server for it."),
    meaning=_("The person is in the server but has none of the required roles."),
    advice=_(
        "Ask someone who manages the server for one of the roles whose IDs `roles` lists. If it lists none, only the "
        "server's owner has access."
    ),
)
MEMBERSHIP_REQUIRED = _row(
    "membership-required",
    HTTPStatus.FORBIDDEN,
    _("This site is for members"),
    _("You need to be a member of this site's Discord server."),
    meaning=_("The site is for members of one Discord server, and the person isn't one."),
    advice=_("Ask the person to join the server whose ID `guild_id` gives, then to open the site again."),
)
BOT_NOT_IN_GUILD = _row(
    "bot-not-in-guild",
    HTTPStatus.CONFLICT,
    _("The bot isn't in this server"),
    _("This page needs the bot. Someone who manages the server has to add it first."),
    meaning=_("This needs the bot, and the bot isn't in the server."),
    advice=_("Ask someone who manages the server to add the bot."),
)
BOT_MISSING_PERMISSION = _row(
    "bot-missing-permission",
    HTTPStatus.CONFLICT,
    _("The bot lacks permissions in this server"),
    meaning=_("This needs the bot, and the bot lacks permissions in the server."),
    advice=_(
        "Ask someone who manages the server to give the bot a role with these permissions, or to add it again; "
        "`permission` has Discord's names for them."
    ),
)
BOT_PRESENCE_UNKNOWN = _row(
    "bot-presence-unknown",
    HTTPStatus.SERVICE_UNAVAILABLE,
    _("We're still checking the bot's servers"),
    _("This site hasn't finished checking which servers the bot is in. Try again in a minute."),
    meaning=_("This needs the bot, and the site hasn't finished checking which servers the bot is in."),
    advice=_("Try again after `Retry-After`. Operators: `manage.py discord_status` says why it takes longer."),
    waits=True,
    retry_after=60,
)
FORBIDDEN = _row(
    "forbidden",
    HTTPStatus.FORBIDDEN,
    _("Not allowed"),
    _("You don't have access to this page."),
    meaning=_("The person doesn't have access; parts of the API are for staff only."),
    advice=_("Ask an operator of this site for access."),
)
NOT_IN_GUILD = _row(
    "not-in-guild",
    HTTPStatus.NOT_FOUND,
    _("Not one of your servers"),
    _("You're not in a server with this ID."),
    meaning=_("The person isn't in a server with this ID. The API doesn't reveal whether such a server exists."),
    advice=_("Take the ID from the list and keep it as a string; JavaScript numbers would round it."),
)
NOT_FOUND = _row(
    "not-found",
    HTTPStatus.NOT_FOUND,
    _("Page not found"),
    _("There is no page at this address."),
    meaning=_("Nothing exists at this URL."),
    advice=_("Check the URL against the schema; every URL ends with a slash."),
)
METHOD_NOT_ALLOWED = _row(
    "method-not-allowed",
    HTTPStatus.METHOD_NOT_ALLOWED,
    _("Method not allowed"),
    _("This page can't be opened directly. If you sent a form, go back and send it again."),
    meaning=_("The URL exists but doesn't support this method."),
    advice=_("The `Allow` header lists the supported methods."),
)
# The same for people.
OPENED_DIRECTLY = replace(
    METHOD_NOT_ALLOWED,
    title=_("This page can't be opened directly"),
    detail=_("If you sent a form, go back and send it again."),
)
NOT_ACCEPTABLE = _row(
    "not-acceptable",
    HTTPStatus.NOT_ACCEPTABLE,
    _("Only JSON is available"),
    meaning=_("The request's `Accept` header excludes JSON."),
    advice=_("Accept `application/json`."),
)
PRECONDITION_FAILED = _row(
    "precondition-failed",
    HTTPStatus.PRECONDITION_FAILED,
    _("Precondition failed"),
    _("The current version doesn't match the request's `If-Match`."),
    meaning=_("The list's current version doesn't match the request's `If-Match`."),
    advice=_("Omit `If-Match` when you only read. To skip unchanged responses, send the ETag in `If-None-Match`."),
)
REFRESH_TOO_SOON = _row(
    "refresh-too-soon",
    HTTPStatus.TOO_MANY_REQUESTS,
    _("You just refreshed"),
    _("The list was checked with Discord a moment ago."),
    meaning=_("The list was checked with Discord a moment ago; refreshes have a cool-down."),
    advice=_("Read the list, which is fresh. Refresh again after `Retry-After`."),
    waits=True,
)
RATE_LIMITED = _row(
    "rate-limited",
    HTTPStatus.TOO_MANY_REQUESTS,
    _("Discord is rate-limiting us"),
    meaning=_("Discord is rate-limiting this person or this site, and no stored answer is recent enough."),
    advice=_("Wait for `Retry-After` seconds. `reason` says what is limited."),
    waits=True,
)
TOO_MANY_REQUESTS = _row(
    "too-many-requests",
    HTTPStatus.TOO_MANY_REQUESTS,
    _("Too many requests"),
    _("You're sending requests faster than this site allows. This limit isn't Discord's."),
    meaning=_("You send requests faster than this site allows one person or address. This limit isn't Discord's."),
    advice=_("Wait for `Retry-After` seconds, then send requests less often. Requests with `If-None-Match` count too."),
    waits=True,
)
# The same for people who sign in.
TOO_MANY_SIGN_INS = replace(
    TOO_MANY_REQUESTS,
    title=_("Too many sign-ins"),
    detail=_("Your network has started too many sign-ins. Wait until the countdown ends, then try again."),
)
TOO_MANY_PASSWORDS = replace(
    TOO_MANY_REQUESTS,
    title=_("Too many attempts"),
    detail=_("Too many wrong passwords were entered. Wait until the countdown ends, then try again."),
)
SERVER_ERROR = _row(
    "server-error",
    HTTPStatus.INTERNAL_SERVER_ERROR,
    _("Something went wrong on our side"),
    _("We've logged it. Try again in a minute."),
    meaning=_("Something went wrong on our side, and we've logged it."),
    advice=_("Try again in a minute. If it keeps happening, send the operator the response's `X-Request-ID`."),
)
DISCORD_UNAVAILABLE = _row(
    "discord-unavailable",
    HTTPStatus.SERVICE_UNAVAILABLE,
    _("We can't reach Discord"),
    meaning=_("Discord isn't responding, and no stored answer is recent enough."),
    advice=_("Try again after `Retry-After`. `reason` gives the cause."),
    waits=True,
)
UNEXPECTED_REPLY = _row(
    "unexpected-reply",
    HTTPStatus.SERVICE_UNAVAILABLE,
    _("Discord sent an unexpected reply"),
    meaning=_("Discord sent a reply that this site can't use, and no stored answer is recent enough."),
    advice=_(
        "Try again after `Retry-After`. If it keeps happening, ask the person to sign in again or the operator to "
        "check the log."
    ),
    waits=True,
)
SITE_REFUSED = _row(
    "site-refused",
    HTTPStatus.SERVICE_UNAVAILABLE,
    _("This site's access to Discord is misconfigured"),
    meaning=_(
        "Discord rejects this site's credentials, or its settings don't fit its database, and no stored "
        "answer is recent enough."
    ),
    advice=_("Tell the site's operator; only they can fix it. Try again after `Retry-After`."),
    waits=True,
)
DATABASE_UNAVAILABLE = _row(
    "database-unavailable",
    HTTPStatus.SERVICE_UNAVAILABLE,
    _("We'll be back in a moment"),
    _("This site's database isn't available right now. Try again in a few seconds."),
    meaning=_("This site's database can't be reached, or refuses to save changes."),
    advice=_("Try again after `Retry-After`. No data is lost."),
    waits=True,
    retry_after=5,
)

# The rows for refusals.
REFUSALS = {
    Reason.RECONNECT_REQUIRED: RECONNECT_REQUIRED,
    Reason.MISSING_SCOPE: MISSING_SCOPE,
    Reason.BOT_ABSENT: BOT_NOT_IN_GUILD,
}
# The same where another resource needs other words, or another scope.
REFUSALS_OF = {
    "member": {
        Reason.MISSING_SCOPE: replace(
            MISSING_SCOPE,
            title=_("You didn't share your roles"),
            detail=_("This page depends on your roles in this server, and only Discord can tell this site about them."),
            more={"scope": scopes.MEMBER},
        )
    }
}
# Rows for reasons that are neither a limit nor a refusal; all other reasons use DISCORD_UNAVAILABLE.
ROWS_BY_REASON = {
    Reason.UNUSABLE: UNEXPECTED_REPLY,
    Reason.SITE_REFUSED: SITE_REFUSED,
    Reason.MISCONFIGURED: SITE_REFUSED,
}
# The detail of the rows that wait for Discord.
WHY: dict[Reason, Text] = {
    Reason.RATE_LIMITED: _("Discord is rate-limiting requests for your account."),
    Reason.GLOBAL_LIMIT: _("Discord is rate-limiting this whole site."),
    Reason.CLOUDFLARE: _("Cloudflare, which protects Discord, is blocking this site."),
    Reason.UNAVAILABLE: _("Discord isn't responding at the moment."),
    Reason.UNUSABLE: _("Discord sent a reply that this site can't use."),
    Reason.SITE_REFUSED: _("Discord rejects this site's credentials. Only the site's operator can fix it."),
    Reason.BRAKE: _("Discord has refused so many requests that this site has paused its requests."),
    Reason.BUSY: _("This site is very busy at the moment."),
    Reason.DATABASE: _("This site can't save a new list right now."),
    Reason.IN_PROGRESS: _("Discord is taking a while to respond."),
    Reason.MISCONFIGURED: _(
        "This site is misconfigured and can't contact Discord. Only the site's operator can fix it."
    ),
}
# The same where another resource needs other words.
WHY_OF: dict[str, dict[Reason, Text]] = {
    "directory": {
        Reason.RATE_LIMITED: _("Discord is rate-limiting requests about this server."),
        Reason.DATABASE: _("This site can't save changes right now."),
    }
}


def refusal(resource: str, reason: Reason) -> Problem | None:
    """Return the row for a refusal, in the words of the resource; None if `reason` is none."""
    return REFUSALS_OF.get(resource, {}).get(reason) or REFUSALS.get(reason)


def why(resource: str, reason: Reason, *, limits_guild: bool = False) -> Text:
    """Return why there is no newer answer, in the words of the resource.

    `limits_guild` says whether a limit is one of the bot's in the guild, and not the person's.
    """
    if refused := refusal(resource, reason):
        return refused.title
    if limits_guild and reason is Reason.RATE_LIMITED:
        resource = "directory"
    return WHY_OF.get(resource, {}).get(reason) or WHY[reason]


# Always shown as a page, since programs don't sign in this way.
SIGN_IN_FAILURES: dict[SignInFailure, Problem] = {
    SignInFailure.DENIED: Problem(
        "",
        HTTPStatus.FORBIDDEN,
        _("You cancelled the sign-in"),
        _("Without your consent on Discord, this site can't see your servers. Nothing was stored. You can try again."),
    ),
    SignInFailure.USED_CODE: Problem(
        "",
        HTTPStatus.BAD_REQUEST,
        _("This sign-in link was already used"),
        _("Discord's link works only once and only for a short time. Start again to get a new one."),
    ),
    SignInFailure.EXPIRED: Problem(
        "",
        HTTPStatus.BAD_REQUEST,
        _("This sign-in link has expired"),
        _("You have 30 minutes to confirm on Discord. Start again to get a new link."),
    ),
    SignInFailure.NO_COOKIES: Problem(
        "",
        HTTPStatus.BAD_REQUEST,
        _("Sign-in needs cookies"),
        _("You started in another browser, or cookies are blocked. Allow cookies for this site, then start again."),
    ),
    SignInFailure.UNKNOWN_STATE: Problem(
        "",
        HTTPStatus.BAD_REQUEST,
        _("This sign-in link doesn't work here"),
        _("It was created in another browser, or before you last signed out here. Start again to get a new one."),
    ),
    SignInFailure.OLD_PAGE: Problem(
        "",
        HTTPStatus.FORBIDDEN,
        _("This page was out of date"),
        _("You signed in or out after it was opened. Start again from here."),
    ),
    SignInFailure.IN_USE: Problem(
        "",
        HTTPStatus.CONFLICT,
        _("That's a different Discord account"),
        _("You're signed in here with another account. Sign out first, then sign in with that Discord account."),
    ),
    SignInFailure.INACTIVE: Problem(
        "",
        HTTPStatus.FORBIDDEN,
        _("This account is deactivated"),
        _("An operator of this site has deactivated your account. Only an operator can reactivate it."),
    ),
    SignInFailure.FORGOTTEN: Problem(
        "",
        HTTPStatus.CONFLICT,
        _("Please sign in again"),
        _("Your data on this site was deleted during this sign-in. Start again to create a new account."),
    ),
    SignInFailure.MISCONFIGURED: Problem(
        "",
        HTTPStatus.SERVICE_UNAVAILABLE,
        _("Sign-in is misconfigured"),
        _("Discord rejects this site's credentials. Only the site's operator can fix it; please let them know."),
    ),
    SignInFailure.OTHER_PROVIDER: Problem(
        "",
        HTTPStatus.FORBIDDEN,
        _("Sign in with Discord instead"),
        _("This site accepts only Discord accounts."),
    ),
    SignInFailure.FAILED: Problem(
        "",
        HTTPStatus.BAD_REQUEST,
        _("Sign-in failed"),
        _("Discord sent an unexpected reply. Please start again."),
    ),
}
