"""`@open_to_all`: views that stay open to everyone on a site with `REQUIRED_GUILD`."""

from collections.abc import Callable
from typing import Any, TypeVar

View = TypeVar("View", bound=Callable[..., Any])


def open_to_all(view: View) -> View:
    """Leave a view out of `REQUIRED_GUILD` and `REQUIRED_ROLES`; its own guards still apply.

    It decorates functions and classes, and changes nothing else. It doesn't extend to subclasses.
    """
    view.open_to_all = True  # type: ignore[attr-defined]  # read by `guilds.whole_site.required`
    return view
