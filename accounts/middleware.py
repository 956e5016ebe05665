"""A sign-in that fails ends on a page that says what to do."""

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

import structlog
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from social_core.exceptions import (
    AuthAssociationError,
    AuthCanceled,
    AuthConfigurationError,
    AuthInputError,
    AuthPolicyError,
    AuthSessionError,
    SocialAuthBaseException,
)

from accounts.discord import DiscordAPIError, InvalidGrant

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SignInFailure:
    status: HTTPStatus
    title: str | Promise
    advice: str | Promise


DENIED = SignInFailure(
    HTTPStatus.FORBIDDEN,
    _("You didn't allow it"),
    _("Without your consent at Discord this site can't know your servers. Nothing was stored. You can try again."),
)
USED_CODE = SignInFailure(
    HTTPStatus.BAD_REQUEST,
    _("This sign-in was used already"),
    _("Discord's answer works once and for a short time only. Reloading the page doesn't bring it back; start again."),
)
EXPIRED = SignInFailure(
    HTTPStatus.BAD_REQUEST,
    _("This sign-in took too long"),
    _("It was started in another browser, or too long ago. Start again; if that repeats, allow cookies for this site."),
)
IN_USE = SignInFailure(
    HTTPStatus.CONFLICT,
    _("That is another Discord account"),
    _("You are signed in here as somebody else. Sign out first, then sign in with that account."),
)
INACTIVE = SignInFailure(
    HTTPStatus.FORBIDDEN,
    _("This account is switched off"),
    _("An operator of this site has deactivated your account here. Only they can switch it on again."),
)
MISCONFIGURED = SignInFailure(
    HTTPStatus.SERVICE_UNAVAILABLE,
    _("Sign-in isn't set up right"),
    _("Discord refuses this site's own credentials. Only its operator can mend that; please tell them."),
)
FAILED = SignInFailure(
    HTTPStatus.BAD_REQUEST,
    _("Sign-in didn't work"),
    _("Discord's answer wasn't what it should be. Please start again."),
)


class SignInErrorMiddleware:
    """Turns what social-auth and Discord raise during a sign-in into a page; other errors take their way."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        failure = failure_of(exception)
        if failure is None:
            return None
        log = logger.error if failure is MISCONFIGURED else logger.info
        log("sign_in_failed", error=type(exception).__name__, detail=str(exception))
        return render(request, "accounts/sign_in_failed.html", {"failure": failure}, status=failure.status)


def failure_of(error: Exception) -> SignInFailure | None:
    match error:
        case AuthCanceled():
            return DENIED
        case InvalidGrant():
            return USED_CODE
        case AuthSessionError() | AuthInputError():
            return EXPIRED
        case AuthAssociationError():
            return IN_USE
        case AuthPolicyError():
            return INACTIVE
        case AuthConfigurationError() | DiscordAPIError(route="POST /oauth2/token"):
            return MISCONFIGURED
        case SocialAuthBaseException() | DiscordAPIError():
            return FAILED
    return None
