"""Sign-in attempts and their failures. The user-visible texts are in `guilds.problems.catalogue`.

An attempt lasts from the click on "Sign in with Discord" to Discord's callback. Its OAuth state is its key in the
visitor's session, so that several attempts can be open in one browser, each with its own destination.
"""

import time
from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from urllib.parse import urlencode, urlsplit, urlunsplit

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.http import url_has_allowed_host_and_scheme
from social_core.exceptions import (
    AuthAssociationError,
    AuthCanceled,
    AuthConfigurationError,
    AuthInputError,
    AuthPolicyError,
    AuthSessionError,
    SocialAuthBaseException,
)

from accounts import scopes
from accounts.discord import InvalidGrant
from accounts.limits import Reason
from accounts.models import DiscordAccount

# Each takes a few hundred bytes of a session that anyone can create.
MAX_ATTEMPTS = 8
MAX_NEXT_LENGTH = 1000
# Seconds that the person can spend on Discord's consent page.
ATTEMPT_TTL = 1800
# The session's key for used attempts: their destinations by state.
USED_ATTEMPTS = "sign_ins_used"
SCOPES_COOKIE_AGE = 365 * 24 * 3600
# Discord's errors for `prompt=none`, if it has to show a page first (OpenID Connect Core, section 3.1.2.6).
PAGE_REQUIRED = ("consent_required", "interaction_required", "login_required")


class Prompt(StrEnum):
    """Whether Discord shows its consent page. Without the parameter it does so at every sign-in."""

    NONE = "none"
    CONSENT = "consent"


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a sign-in leads: the page after it, and the scopes requested for that page, separated by spaces."""

    next_page: str = ""
    scope: str = ""

    def query(self, **more: str) -> str:
        """Return the query of the sign-in page, with a question mark unless it is empty."""
        named = {**more, "scope": self.scope, "next": self.next_page}
        query = urlencode({name: value for name, value in named.items() if value})
        return f"?{query}" if query else ""


class SignInUnavailable(Exception):
    """No request was sent to Discord, or there was no response in time; `retry_after` is in seconds."""

    def __init__(self, reason: Reason, retry_after: float) -> None:
        super().__init__(f"sign-in is temporarily unavailable ({reason})")
        self.reason = reason
        self.retry_after = retry_after


class SignInFailure(Enum):
    """Why a sign-in failed and has to be started again."""

    DENIED = auto()
    USED_CODE = auto()
    EXPIRED = auto()
    NO_COOKIES = auto()
    UNKNOWN_STATE = auto()
    OLD_PAGE = auto()
    IN_USE = auto()
    INACTIVE = auto()
    FORGOTTEN = auto()
    MISCONFIGURED = auto()
    OTHER_PROVIDER = auto()
    FAILED = auto()


class SignInFailed(Exception):
    """A sign-in failed in a way that social-auth has no exception for."""

    def __init__(self, failure: SignInFailure) -> None:
        super().__init__(failure.name.lower())
        self.failure = failure


class OtherProvider(SignInFailed):
    """A social-auth backend other than Discord's tried to sign a person in; `args` hold its name."""

    def __init__(self, name: str) -> None:
        super().__init__(SignInFailure.OTHER_PROVIDER)
        self.args = (f"the social-auth backend {name} is not Discord",)


class LinkUnconfirmed(Exception):
    """The sign-in would link a Discord account to a local one, and the person has not confirmed that."""


def failure_of(error: Exception) -> SignInFailure | None:
    """Return the failure for an exception from social-auth or for a refused code; None for other errors."""
    match error:
        case SignInFailed():
            return error.failure
        case AuthCanceled():
            return SignInFailure.DENIED
        case InvalidGrant():
            return SignInFailure.USED_CODE
        case AuthSessionError() | AuthInputError():
            return SignInFailure.UNKNOWN_STATE
        case AuthAssociationError():
            return SignInFailure.IN_USE
        case AuthPolicyError():
            return SignInFailure.INACTIVE
        case AuthConfigurationError():
            return SignInFailure.MISCONFIGURED
        case SocialAuthBaseException():
            return SignInFailure.FAILED
    return None


def transaction_key(state: str) -> str:
    """Return the session key of an attempt that waits for Discord's callback."""
    return f"discord_oauth2_state_{state}"


def dated_state(secret: str) -> str:
    """Prefix `secret` with the current time, so that an expired state can be told from an unknown one."""
    return f"{int(time.time()):x}-{secret}"


def why_refused(request: HttpRequest, state: str) -> SignInFailure:
    """Return why `state` does not belong to an open attempt of this browser."""
    if state in request.session.get(USED_ATTEMPTS, {}):
        return SignInFailure.USED_CODE
    if _age(state) > ATTEMPT_TTL:
        return SignInFailure.EXPIRED
    if transaction_key(state) in request.session:
        # A concurrent request with the same state has just used it.
        return SignInFailure.USED_CODE
    # The form that starts an attempt sets the CSRF cookie, which outlives the session's.
    if not {settings.SESSION_COOKIE_NAME, settings.CSRF_COOKIE_NAME} & request.COOKIES.keys():
        return SignInFailure.NO_COOKIES
    return SignInFailure.UNKNOWN_STATE


def _age(state: str) -> float:
    try:
        return time.time() - int(state.partition("-")[0], 16)
    except (ValueError, OverflowError):
        return 0.0


def destination_of(request: HttpRequest) -> Destination:
    """Return where the sign-in of this request leads: a form's, the sign-in page's, or the attempt's of a callback.

    The destination is empty if the attempt has none or is unknown.
    """
    state = request.GET.get("state", "")
    attempt = request.session.get(transaction_key(state)) or request.session.get(USED_ATTEMPTS, {}).get(state)
    if isinstance(attempt, dict):
        return Destination(attempt.get("next", ""), attempt.get("scope", ""))
    named = request.POST if request.method == "POST" else request.GET
    return Destination(own_path(request, named.get("next", "")), " ".join(scopes.requestable(named.get("scope", ""))))


def scopes_to_request(request: HttpRequest, scope: str, *, another: bool = False) -> list[str]:
    """Return the scopes of every sign-in, those that the person has granted before, and the ones in `scope`.

    Whether Discord keeps a granted scope that a later sign-in doesn't request is not documented. So a signed-in
    person's scopes are requested again, and otherwise those of the last session in this browser, unless the visitor
    wants to use `another` account.
    """
    if another:
        return scopes.in_order({*scopes.at_sign_in(), *scopes.requestable(scope)})
    user = request.user
    account = DiscordAccount.objects.filter(user_id=user.pk).first() if user.is_authenticated else None
    granted = account.scopes if account else request.COOKIES.get(settings.SCOPES_COOKIE_NAME, "").split()
    return scopes.in_order({*scopes.at_sign_in(), *scopes.requestable(" ".join([scope, *granted]))})


def remember_scopes(response: HttpResponse, granted: Collection[str]) -> None:
    """Store in a cookie what this browser's session has beyond the scopes of every sign-in."""
    more = set(scopes.requestable(" ".join(granted))) - set(scopes.at_sign_in())
    if more:
        response.set_cookie(
            settings.SCOPES_COOKIE_NAME,
            " ".join(scopes.in_order(more)),
            max_age=SCOPES_COOKIE_AGE,
            secure=settings.SESSION_COOKIE_SECURE,
            httponly=True,
            samesite="Lax",
        )
    else:
        forget_scopes(response)


def forget_scopes(response: HttpResponse) -> None:
    response.delete_cookie(settings.SCOPES_COOKIE_NAME, samesite="Lax")


def own_path(request: HttpRequest, url: str) -> str:
    """Return path and query of `url` if it points to this site, else "". A redirect to the result stays on the site."""
    hosts = {request.get_host(), urlsplit(settings.SITE_URL).netloc}
    if len(url) > MAX_NEXT_LENGTH or not url_has_allowed_host_and_scheme(url, hosts):
        return ""
    path = urlunsplit(("", "", *urlsplit(url)[2:]))
    # Without scheme and host, the rest may still be read as a host, as in `//host/`.
    return path if path.startswith("/") and url_has_allowed_host_and_scheme(path, None) else ""


def is_at_site_url(request: HttpRequest) -> bool:
    """Whether the visitor uses the host of SITE_URL, where Discord redirects to. Cookies are per host, not per port."""
    return urlsplit(f"//{request.get_host()}").hostname == urlsplit(settings.SITE_URL).hostname
