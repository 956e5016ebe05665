"""The ways a sign-in can fail. The words that people read are in `guilds.problems.catalogue`."""

from enum import Enum, auto

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
from accounts.limits import Reason


class SignInUnavailable(Exception):
    """Discord could not be asked, or did not answer in time; `retry_after` is in seconds."""

    def __init__(self, reason: Reason, retry_after: float) -> None:
        super().__init__(f"sign-in is not possible now ({reason})")
        self.reason = reason
        self.retry_after = retry_after


class SignInFailure(Enum):
    """Why a sign-in failed that has to start again."""

    DENIED = auto()
    USED_CODE = auto()
    EXPIRED = auto()
    IN_USE = auto()
    INACTIVE = auto()
    MISCONFIGURED = auto()
    FAILED = auto()


def failure_of(error: Exception) -> SignInFailure | None:
    """Which failure it is that social-auth or the client raised; None for other errors."""
    match error:
        case AuthCanceled():
            return SignInFailure.DENIED
        case InvalidGrant():
            return SignInFailure.USED_CODE
        case AuthSessionError() | AuthInputError():
            return SignInFailure.EXPIRED
        case AuthAssociationError():
            return SignInFailure.IN_USE
        case AuthPolicyError():
            return SignInFailure.INACTIVE
        case AuthConfigurationError() | DiscordAPIError(route="POST /oauth2/token"):
            return SignInFailure.MISCONFIGURED
        case SocialAuthBaseException() | DiscordAPIError():
            return SignInFailure.FAILED
    return None
