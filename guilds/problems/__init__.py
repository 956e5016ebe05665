"""What a reader gets when a request fails: each problem is one row of `catalogue`.

Views raise the exceptions of this package; `of_errors` finds the problem of an exception, and `responses` answers with
it, as a page for people and as problem+json for programs.
"""

from guilds.problems.catalogue import Problem
from guilds.problems.exceptions import BotNotInGuild, MayNotManage, MissingPermission, NotInGuild, ProblemRaised

__all__ = ["BotNotInGuild", "MayNotManage", "MissingPermission", "NotInGuild", "Problem", "ProblemRaised"]
