"""The pages of the site's apps about one server: the tiles on the server's page, and its menu.

An app declares its pages in a module `guild_pages`:

    PAGES = [GuildPage("welcome:edit", "Welcome message", "Greets new members.", permission="manage_guild")]
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

import structlog
from django.apps import apps
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.urls import Resolver404, ResolverMatch, resolve, reverse
from django.utils.functional import Promise
from django.utils.module_loading import module_has_submodule

from accounts.discord import PermissionName, Permissions
from guilds.entered_guild import EnteredGuild
from guilds.services import Membership

logger = structlog.get_logger(__name__)
__all__ = ["GuildPage", "Membership", "page_at", "page_of", "pages_for", "registered_pages"]

MODULE = "guild_pages"
Text = str | Promise


@dataclass(frozen=True, slots=True)
class GuildPage:
    """A page about a server. `view` is the name of its URL, whose only argument is the guild's id.

    People without `permission` in the server, or whom `rule` refuses, don't see the page; the view still needs its own
    guard. `rule` is that of the view, and runs for the menu on each page about the server. `icon` names a template
    `icons/NAME.svg`. `state` returns a short text about the page in this server, such as "Off"; it may read the
    database, because only the server's page shows it.
    """

    view: str
    title: Text
    line: Text = ""
    icon: str = "page"
    permission: PermissionName | Permissions | None = None
    state: Callable[[Membership], Text] | None = None
    rule: Callable[[Any, EnteredGuild], bool | PermissionDenied] | None = None

    def __post_init__(self) -> None:
        # Makes an unknown name fail when the module is imported, not at the first request.
        if self.permission is not None:
            Permissions.named(self.permission)

    @property
    def icon_template(self) -> str:
        return f"icons/{self.icon}.svg"

    def is_for(self, guild: Membership) -> bool:
        return self.permission is None or guild.may(self.permission)

    def admits(self, request: HttpRequest, guild: EnteredGuild) -> bool:
        """Whether `rule` admits the person. A rule that fails is logged, because the menu belongs to all apps."""
        try:
            return self.rule is None or self.rule(request, guild) is True
        except PermissionDenied:
            return False
        except Exception:
            logger.exception("guild_pages_failed", page=self.view)
            return False

    def url(self, guild_id: int) -> str:
        return reverse(self.view, args=[guild_id])


@cache
def registered_pages() -> tuple[GuildPage, ...]:
    """The pages of all apps, in the order of `INSTALLED_APPS`."""
    found: list[GuildPage] = []
    for app in apps.get_app_configs():
        if app.module and module_has_submodule(app.module, MODULE):
            declared: Iterable[GuildPage] = import_module(f"{app.name}.{MODULE}").PAGES
            found.extend(declared)
    return tuple(found)


def pages_for(request: HttpRequest, guild: EnteredGuild) -> list[GuildPage]:
    """The pages that the person may open in the guild. Asks no database, except in the rules of pages."""
    return [page for page in registered_pages() if page.is_for(guild) and page.admits(request, guild)]


def page_of(match: ResolverMatch) -> GuildPage | None:
    """The registered page of a view; for another view of an app with a namespace, that app's first page."""
    pages = registered_pages()
    same_view = [page for page in pages if page.view == match.view_name]
    same_app = [page for page in pages if match.namespace and page.view.rpartition(":")[0] == match.namespace]
    return next(iter(same_view + same_app), None)


def page_at(path: str) -> GuildPage | None:
    """The registered page at an address of this site, as by `page_of`."""
    try:
        return page_of(resolve(path))
    except Resolver404:
        return None
