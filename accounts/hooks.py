"""Calls to the functions that a setting names, such as `GUILDHALL_SIGN_IN_HOOKS`, or that an app registers.

@on_sign_in
def remember_address(sign_in: SignIn) -> None: ...

The `hooks` module of each app is imported at the start.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import structlog
from asgiref.sync import iscoroutinefunction
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from accounts.discord import CurrentUser
from accounts.models import User

SIGN_IN_HOOKS = "GUILDHALL_SIGN_IN_HOOKS"

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SignIn:
    """A completed sign-in: the person, what Discord said about them, and the scopes they granted."""

    user: User
    profile: CurrentUser
    scopes: frozenset[str]
    is_new: bool


Hook = Callable[[Any], object]
H = TypeVar("H", bound=Hook)
# By setting: the functions that apps registered, by import path.
registered: dict[str, dict[str, Hook]] = {}


def register(setting: str, hook: H) -> H:
    """Call `hook` beside the functions that `setting` names; registered twice, or in both ways, it is called once.

    Raises `ImproperlyConfigured` for an async function.
    """
    path = f"{hook.__module__}.{hook.__qualname__}"
    _refuse_async(path, hook)
    registered.setdefault(setting, {})[path] = hook
    return hook


def _refuse_async(path: str, hook: Hook) -> None:
    """Raise `ImproperlyConfigured` for a hook whose call would only make a coroutine that nothing runs."""
    if iscoroutinefunction(hook):
        raise ImproperlyConfigured(
            f"The hook {path} is async, but hooks are called outside of an event loop. Write def instead of async def, "
            "and call async functions with async_to_sync of asgiref.sync."
        )


def on_sign_in(hook: H) -> H:
    """Call the decorated function at each sign-in, with a `SignIn`."""
    return register(SIGN_IN_HOOKS, hook)


def has_hooks(setting: str) -> bool:
    return bool(getattr(settings, setting) or registered.get(setting))


def load_hooks(setting: str) -> dict[str, Hook]:
    """Return the functions that `setting` names or an app registered, by import path.

    Raises `ImproperlyConfigured` if a path names no callable, or an async function.
    """
    hooks: dict[str, Hook] = {}
    for path in getattr(settings, setting):
        try:
            hook = import_string(path)
        except ImportError as error:
            raise ImproperlyConfigured(f"{setting} is wrong: {error}") from error
        if not callable(hook):
            raise ImproperlyConfigured(f"{setting} is wrong: {path} can't be called")
        _refuse_async(path, cast(Hook, hook))
        hooks[path] = cast(Hook, hook)
    return hooks | registered.get(setting, {})


def call_hooks(setting: str, argument: object, event: str, user_id: int) -> None:
    """Call each function. An exception is logged as `event`, and the remaining hooks still run."""
    for path, hook in load_hooks(setting).items():
        try:
            hook(argument)
        except Exception:
            logger.exception(event, hook=path, user_id=user_id)
