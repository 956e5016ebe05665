"""The exceptions that views raise for a problem."""

from collections.abc import Collection

from django.core.exceptions import PermissionDenied
from django.http import Http404
from django.utils.functional import Promise

from accounts.discord import Permissions
from guilds.problems.catalogue import Problem


class NotInGuild(Http404):
    """The person isn't in the requested guild. A guild that doesn't exist gets the same response."""


class MissingPermission(PermissionDenied):
    """The person is in the guild, but lacks `permission` there."""

    def __init__(self, permission: Permissions) -> None:
        super().__init__(f"missing permission {permission.name}")
        self.permission = permission


class MayNotManage(MissingPermission):
    """The person is in the guild, but may not manage it."""

    def __init__(self) -> None:
        super().__init__(Permissions.MANAGE_GUILD)


class MissingRole(PermissionDenied):
    """The person is in the guild, but has none of `roles`, the ids of the roles that give access.

    With `whole_site`, they give access to the whole site and not only to a page about the guild.
    """

    def __init__(self, guild_id: int, roles: Collection[int], *, whole_site: bool = False) -> None:
        super().__init__("missing role")
        self.guild_id = guild_id
        self.roles = sorted(roles)
        self.whole_site = whole_site


class MembershipRequired(PermissionDenied):
    """The site is for members of the guild, and the person isn't one."""

    def __init__(self, guild_id: int) -> None:
        super().__init__("not a member of the required guild")
        self.guild_id = guild_id


class Refusal(PermissionDenied):
    """A rule of the view's own refuses the person. `detail` says why, in the reader's language.

    A rule returns it, or raises it.
    """

    def __init__(self, detail: str | Promise = "") -> None:
        super().__init__("refused by the view's rule")
        self.detail = detail


class BotNotInGuild(Exception):
    """The page needs the bot in the guild, and it isn't there."""


class BotMissingPermission(Exception):
    """The page needs the bot, which is in the guild but lacks `permissions` there."""

    def __init__(self, permissions: Permissions) -> None:
        super().__init__(f"the bot lacks {permissions.name}")
        self.permissions = permissions


class BotPresenceUnknown(Exception):
    """The page needs the bot, and it isn't known yet whether the bot is in the guild or what it may do there."""


class ProblemRaised(Exception):
    """Respond with `problem`, which has no exception class of its own."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.title)
        self.problem = problem
