"""What changed about a person's memberships, told to the functions that `GUILDHALL_MEMBERSHIP_HOOKS` names.

    def greet(change: MembershipChange) -> None: ...

Each is called once for each stored change, after its commit, in the process and thread that stored it. Readers who
waited for the list have it by then.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import cast

import structlog
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from accounts import background

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PermissionsChange:
    """What the person may in one guild, before and after."""

    guild_id: int
    permissions_before: int
    permissions: int
    owner_before: bool
    owner: bool


@dataclass(frozen=True, slots=True)
class MembershipChange:
    """How a new list differs from the one before: ids of guilds joined and left, and permissions changed.

    A first list is all `joined`, and `is_first` tells it from news: there was no list before, or it had been purged, so
    since when the person is there isn't known. Deleting one's data is told to nobody: nothing happened at Discord.
    """

    user_id: int
    at: datetime
    joined: tuple[int, ...]
    left: tuple[int, ...]
    permissions: tuple[PermissionsChange, ...]
    is_first: bool = False

    def __bool__(self) -> bool:
        return bool(self.joined or self.left or self.permissions)


Hook = Callable[[MembershipChange], object]


def load_hooks(paths: Iterable[str]) -> list[Hook]:
    """The functions at `paths`. Raises `ImproperlyConfigured` for a path that leads to none."""
    hooks: list[Hook] = []
    for path in paths:
        try:
            hook = import_string(path)
        except ImportError as error:
            raise ImproperlyConfigured(f"GUILDHALL_MEMBERSHIP_HOOKS is wrong: {error}") from error
        if not callable(hook):
            raise ImproperlyConfigured(f"GUILDHALL_MEMBERSHIP_HOOKS is wrong: {path} can't be called")
        hooks.append(cast(Hook, hook))
    return hooks


def notify(change: MembershipChange) -> None:
    """Call the hooks with a change that is committed."""
    # A hook may take its time and needn't use the database.
    background.release_connection()
    for path, hook in zip(
        settings.GUILDHALL_MEMBERSHIP_HOOKS, load_hooks(settings.GUILDHALL_MEMBERSHIP_HOOKS), strict=True
    ):
        try:
            hook(change)
        except Exception:
            # The list is stored, and the other hooks want to know of it too.
            logger.exception("membership_hook_failed", hook=path, user_id=change.user_id)
