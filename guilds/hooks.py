"""Calls to the registered functions, and to those in `GUILDHALL_MEMBERSHIP_HOOKS`, when memberships change.

    @on_membership_change
    def greet(change: MembershipChange) -> None: ...

Each function is called once per stored change, after the commit, in the process and thread that stored it. Readers who
waited for the list already have it by then.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from accounts import background
from accounts.background import FollowUp
from accounts.discord import PermissionName, Permissions
from accounts.hooks import H, call_hooks, has_hooks, register

MEMBERSHIP_HOOKS = "GUILDHALL_MEMBERSHIP_HOOKS"


@dataclass(frozen=True, slots=True)
class Rights:
    """A person's permissions and ownership in one guild at one time."""

    permissions: int
    owner: bool

    def may(self, permission: PermissionName | Permissions) -> bool:
        """Whether they include `permission`, Discord's name in any case. Raises `ValueError` for an unknown name."""
        return Permissions.allow(self.permissions, self.owner, Permissions.named(permission))


@dataclass(frozen=True, slots=True)
class PermissionsChange:
    """A person's permissions and ownership in one guild, before and after."""

    guild_id: int
    permissions_before: int
    permissions: int
    owner_before: bool
    owner: bool

    @property
    def before(self) -> Rights:
        return Rights(self.permissions_before, self.owner_before)

    @property
    def after(self) -> Rights:
        return Rights(self.permissions, self.owner)


@dataclass(frozen=True, slots=True)
class RolesChange:
    """The ids of the roles that a person got and lost in one guild, in ascending order."""

    guild_id: int
    added: tuple[int, ...]
    removed: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class MembershipChange:
    """The difference of a new answer from the previous one.

    A list of guilds has the guild ids joined and left, and changed permissions; an answer about the person in one guild
    has changed `roles`. A person who left a guild lost all roles there, with or without an entry in `roles`.

    In a first list every guild is in `joined`, in a first answer about a guild all roles are added, and `is_first` is
    true: no earlier answer is stored, so it is unknown when the person joined or got the roles. Deleting a person's
    data calls no hook, because nothing changed at Discord.

    `before` and `after` hold the rights in these guilds, and perhaps in others, by guild id. Guilds joined are only in
    `after`, guilds left only in `before`.
    """

    user_id: int
    at: datetime
    joined: tuple[int, ...]
    left: tuple[int, ...]
    permissions: tuple[PermissionsChange, ...]
    is_first: bool = False
    roles: tuple[RolesChange, ...] = ()
    before: Mapping[int, Rights] = field(default_factory=dict, compare=False, repr=False)
    after: Mapping[int, Rights] = field(default_factory=dict, compare=False, repr=False)

    def __bool__(self) -> bool:
        return bool(self.joined or self.left or self.permissions or self.roles)

    def gained(self, permission: PermissionName | Permissions) -> tuple[int, ...]:
        """Return the ids of the guilds in which the person has the permission now and didn't before, or wasn't."""
        return _only_in(self.after, self.before, permission)

    def lost(self, permission: PermissionName | Permissions) -> tuple[int, ...]:
        """Return the ids of the guilds in which the person had the permission and now doesn't, or isn't any more."""
        return _only_in(self.before, self.after, permission)


def _only_in(
    these: Mapping[int, Rights], others: Mapping[int, Rights], permission: PermissionName | Permissions
) -> tuple[int, ...]:
    granted = sorted(guild_id for guild_id, rights in these.items() if rights.may(permission))
    return tuple(guild_id for guild_id in granted if guild_id not in others or not others[guild_id].may(permission))


def on_membership_change(hook: H) -> H:
    """Call the decorated function with each stored `MembershipChange`."""
    return register(MEMBERSHIP_HOOKS, hook)


def follow_up(change: MembershipChange) -> FollowUp | None:
    """Return the call of the hooks, to be made once `change` is committed; None if there is nothing to call."""
    return partial(notify, change) if change and has_hooks(MEMBERSHIP_HOOKS) else None


def notify(change: MembershipChange) -> None:
    """Call the hooks with a committed change."""
    # A hook can be slow and may not need the database, so it must not hold a connection.
    background.release_connection()
    call_hooks(MEMBERSHIP_HOOKS, change, "membership_hook_failed", change.user_id)
