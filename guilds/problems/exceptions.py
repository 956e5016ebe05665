"""The failures that views raise."""

from django.core.exceptions import PermissionDenied
from django.http import Http404

from accounts.discord import Permissions
from guilds.problems.catalogue import Problem


class NotInGuild(Http404):
    """The person isn't in the guild that was asked for, or nobody is: both get the same answer."""


class MissingPermission(PermissionDenied):
    """The person is in the guild, but lacks `permission` there."""

    def __init__(self, permission: Permissions) -> None:
        super().__init__(f"missing permission {permission.name}")
        self.permission = permission


class MayNotManage(MissingPermission):
    """The person is in the guild, but may not manage it."""

    def __init__(self) -> None:
        super().__init__(Permissions.MANAGE_GUILD)


class BotNotInGuild(Exception):
    """The page needs the bot in the guild, and it isn't there."""


class ProblemRaised(Exception):
    """Answer with `problem`, for which there is no exception of its own."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.title)
        self.problem = problem
