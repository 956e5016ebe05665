"""Problems: the responses to failed requests. Each problem is one row of `catalogue`.

Views raise the exceptions of this package. `of_errors` finds the problem for an exception, and `responses` sends it, as
a page for people and as problem+json for programs.
"""

from guilds.problems.catalogue import Problem
from guilds.problems.exceptions import (
    BotMissingPermission,
    BotNotInGuild,
    BotPresenceUnknown,
    MayNotManage,
    MembershipRequired,
    MissingPermission,
    MissingRole,
    NotInGuild,
    ProblemRaised,
    Refusal,
)

__all__ = [
    "BotMissingPermission",
    "BotNotInGuild",
    "BotPresenceUnknown",
    "MayNotManage",
    "MembershipRequired",
    "MissingPermission",
    "MissingRole",
    "NotInGuild",
    "Problem",
    "ProblemRaised",
    "Refusal",
]
