"""The mapping from exceptions to problems."""

import math
from dataclasses import replace

from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from accounts import gate
from accounts.database import is_unavailable
from accounts.discord import InvalidGrant, Permissions
from accounts.limits import Priority, Reason
from accounts.names import isolated
from accounts.reasons import reason_of
from accounts.sign_in import SignInUnavailable
from accounts.throttles import Limit, TooManyRequests
from guilds.listing.discord_names import for_programs, in_words
from guilds.problems.catalogue import (
    BOT_MISSING_PERMISSION,
    BOT_NOT_IN_GUILD,
    BOT_PRESENCE_UNKNOWN,
    DATABASE_UNAVAILABLE,
    DISCORD_UNAVAILABLE,
    FORBIDDEN,
    MEMBERSHIP_REQUIRED,
    MISSING_PERMISSION,
    MISSING_ROLE,
    NOT_IN_GUILD,
    RATE_LIMITED,
    REFRESH_TOO_SOON,
    ROWS_BY_REASON,
    TOO_MANY_PASSWORDS,
    TOO_MANY_REQUESTS,
    TOO_MANY_SIGN_INS,
    Problem,
    Text,
    refusal,
    why,
)
from guilds.problems.exceptions import (
    BotMissingPermission,
    BotNotInGuild,
    BotPresenceUnknown,
    MembershipRequired,
    MissingPermission,
    MissingRole,
    NotInGuild,
    ProblemRaised,
    Refusal,
)
from guilds.services import NoAnswer, RefreshTooSoon, role_names, stored_guild_name

# Seconds to wait if the error names no time, as at sign-in. About as long as the engine's first back-off.
UNKNOWN_WAIT = 30.0


def problem_of(error: Exception) -> Problem | None:
    """The problem of `error`; None if the error has no problem and must propagate."""
    match error:
        case ProblemRaised():
            return error.problem
        case NotInGuild():
            return NOT_IN_GUILD
        case MissingPermission() | MissingRole() | MembershipRequired() | Refusal():
            return _not_allowed(error)
        case BotNotInGuild() | BotMissingPermission() | BotPresenceUnknown():
            return _about_the_bot(error)
        case RefreshTooSoon():
            return replace(REFRESH_TOO_SOON, retry_after=whole_seconds(error.retry_after))
        case TooManyRequests():
            return too_many_requests(error.retry_after, error.limit)
        case NoAnswer():
            return problem_of_no_answer(error)
        case SignInUnavailable():
            return _no_list(error.reason, error.retry_after)
        case InvalidGrant():
            return None  # a code works only once; the sign-in handles it
    # Errors of the client, the gate and the tokens: at sign-in, or in a view that sends its own requests to Discord.
    reason = reason_of(error)
    if reason is not None:
        return _no_list(reason, _wait(error, reason))
    return DATABASE_UNAVAILABLE if is_unavailable(error) else None


def problem_of_no_answer(error: NoAnswer) -> Problem:
    if refused := refusal(error.resource, error.reason):
        return refused
    row = RATE_LIMITED if error.reason.is_limit else ROWS_BY_REASON.get(error.reason, DISCORD_UNAVAILABLE)
    detail = why(error.resource, error.reason, limits_guild=error.limits_guild)
    return replace(row, detail=detail, reason=error.reason, retry_after=whole_seconds(error.retry_after))


def too_many_requests(wait: float, limit: Limit | None = None) -> Problem:
    """Return the problem for one of this site's own rate limits, not Discord's. `wait` is in seconds."""
    match limit:
        case Limit.SIGN_IN_ADDRESS:
            row = TOO_MANY_SIGN_INS
        case Limit.PASSWORD_ADDRESS | Limit.PASSWORD_NAME | Limit.PASSWORD_ADDRESS_NAME:
            row = TOO_MANY_PASSWORDS
        case _:
            row = TOO_MANY_REQUESTS
    return replace(row, retry_after=whole_seconds(wait))


def whole_seconds(wait: float | None) -> int:
    return max(math.ceil(UNKNOWN_WAIT if wait is None else wait), 1)


def _wait(error: Exception, reason: Reason) -> float | None:
    """Return the seconds to wait: Discord's `Retry-After`, or until the gate and the brake allow a request, if later.

    The response itself may have shut the gate.
    """
    told: float | None = getattr(error, "retry_after", None)
    shut = None if reason.is_refusal else gate.closed(Priority.COLD)
    return told if shut is None else max(shut.retry_after, told or 0.0)


def _no_list(reason: Reason, retry_after: float | None = None) -> Problem:
    return problem_of_no_answer(NoAnswer("guild_list", reason, retry_after))


def _not_allowed(error: MissingPermission | MissingRole | MembershipRequired | Refusal) -> Problem:
    match error:
        case MissingPermission():
            return _missing_permission(error.permission)
        case MissingRole():
            return _missing_role(error)
        case MembershipRequired():
            return _membership_required(error)
    return replace(FORBIDDEN, detail=error.detail or FORBIDDEN.detail)


def _missing_permission(permission: Permissions) -> Problem:
    """Return the problem with the permission in the reader's language, and under Discord's name for programs."""
    manages = permission == Permissions.MANAGE_GUILD
    return replace(
        MISSING_PERMISSION,
        title=_("You can't manage this server") if manages else MISSING_PERMISSION.title,
        detail=_("You need the “%(permission)s” permission. The server's owner can give you a role that has it.")
        % {"permission": in_words(permission)},
        more={"permission": for_programs(permission)},
    )


def _missing_role(error: MissingRole) -> Problem:
    """Return the problem with the roles' names where the site knows them, and their ids for programs."""
    names = [isolated(name) for name in role_names(error.guild_id, error.roles)]
    detail = MISSING_ROLE.detail
    more: dict[str, object] = {"roles": [str(role) for role in error.roles]}
    if error.whole_site:
        detail = _of_the_site(error.guild_id, names)
        more["guild_id"] = str(error.guild_id)
    elif not error.roles:
        detail = _("No role gives access to this page yet. Only the server's owner can open it.")
    elif names:
        detail = ngettext(
            "You need the role %(roles)s in this server.",
            "You need one of these roles in this server: %(roles)s.",
            len(names),
        ) % {"roles": ", ".join(names)}
    return replace(MISSING_ROLE, detail=detail, more=more)


def _of_the_site(guild_id: int, names: list[str]) -> Text:
    """Return which role gives access to the whole site, as far as the site knows the names."""
    server = stored_guild_name(guild_id)
    if not names or server is None:
        return _("This site is for people with a certain role in its Discord server.")
    words = ngettext(
        "This site is for people with the role %(roles)s in the server %(server)s.",
        "This site is for people with one of these roles in the server %(server)s: %(roles)s.",
        len(names),
    )
    return words % {"roles": ", ".join(names), "server": isolated(server)}


def _membership_required(error: MembershipRequired) -> Problem:
    server, detail = stored_guild_name(error.guild_id), MEMBERSHIP_REQUIRED.detail
    if server is not None:
        detail = _("You need to be a member of the Discord server %(server)s.") % {"server": isolated(server)}
    return replace(MEMBERSHIP_REQUIRED, detail=detail, more={"guild_id": str(error.guild_id)})


def _about_the_bot(error: BotNotInGuild | BotMissingPermission | BotPresenceUnknown) -> Problem:
    if not isinstance(error, BotMissingPermission):
        return BOT_NOT_IN_GUILD if isinstance(error, BotNotInGuild) else BOT_PRESENCE_UNKNOWN
    missing = in_words(error.permissions)
    return replace(
        BOT_MISSING_PERMISSION,
        detail=_("The bot lacks permissions that this page needs: %(permissions)s.") % {"permissions": missing},
        more={"permission": for_programs(error.permissions)},
    )
