"""Which problem a failure is."""

import math
from dataclasses import replace

from django.utils.translation import gettext_lazy as _

from accounts.discord import DiscordUnavailable, MissingScope, Permissions, RateLimited
from accounts.limits import Reason
from accounts.sign_in import SignInUnavailable
from accounts.tokens import ReconnectRequired
from guilds.discord_names import PERMISSIONS
from guilds.problems.catalogue import (
    BOT_NOT_IN_GUILD,
    DISCORD_UNAVAILABLE,
    MISSING_PERMISSION,
    MISSING_SCOPES,
    NOT_IN_GUILD,
    RATE_LIMITED,
    RECONNECT_REQUIRED,
    REFRESH_TOO_SOON,
    WHY,
    Problem,
)
from guilds.problems.exceptions import BotNotInGuild, MissingPermission, NotInGuild, ProblemRaised
from guilds.services import NoAnswer, RefreshTooSoon

# Where nobody named a wait, as at sign-in, for which none is kept: about what the engine waits after a failure.
UNKNOWN_WAIT = 30.0


def problem_of(error: Exception) -> Problem | None:
    """The problem of `error`; None if the error has no problem and must propagate."""
    match error:
        case ProblemRaised():
            return error.problem
        case NotInGuild():
            return NOT_IN_GUILD
        case MissingPermission():
            return _missing_permission(error.permission)
        case BotNotInGuild():
            return BOT_NOT_IN_GUILD
        case RefreshTooSoon():
            return replace(REFRESH_TOO_SOON, retry_after=whole_seconds(error.retry_after))
        case NoAnswer():
            return problem_of_no_answer(error)
        case SignInUnavailable():
            return _no_list(error.reason, error.retry_after)
        # Of the client and the tokens: at sign-in, or in a view that asks Discord itself.
        case ReconnectRequired():
            return _no_list(Reason.RECONNECT_REQUIRED)
        case MissingScope():
            return _no_list(Reason.MISSING_SCOPE)
        case RateLimited():
            return _no_list(Reason.of_limit(error.scope), error.retry_after)
        case DiscordUnavailable():
            return _no_list(Reason.UNAVAILABLE, error.retry_after)
    return None


def problem_of_no_answer(error: NoAnswer) -> Problem:
    if error.reason is Reason.RECONNECT_REQUIRED:
        return RECONNECT_REQUIRED
    if error.reason is Reason.MISSING_SCOPE:
        return MISSING_SCOPES[error.resource]
    row = RATE_LIMITED if error.reason.is_limit else DISCORD_UNAVAILABLE
    return replace(row, detail=WHY[error.reason], reason=error.reason, retry_after=whole_seconds(error.retry_after))


def whole_seconds(wait: float | None) -> int:
    return max(math.ceil(UNKNOWN_WAIT if wait is None else wait), 1)


def _no_list(reason: Reason, retry_after: float | None = None) -> Problem:
    return problem_of_no_answer(NoAnswer("guild_list", reason, retry_after))


def _missing_permission(permission: Permissions) -> Problem:
    """Its permission is named in the reader's language, and for programs as Discord does."""
    names = [flag.name or "" for flag in permission]
    manages = permission == Permissions.MANAGE_GUILD
    return replace(
        MISSING_PERMISSION,
        title=_("You may not manage this server") if manages else MISSING_PERMISSION.title,
        detail=_("That takes the permission “%(permission)s”. The owner can give you a role that has it.")
        % {"permission": ", ".join(str(PERMISSIONS[flag]) for flag in permission)},
        more={"permission": " ".join(names).lower()},
    )
