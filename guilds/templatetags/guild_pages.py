"""The pages and parts that the site's apps add to a server's page."""

from dataclasses import dataclass

import structlog
from django import template
from django.apps import apps
from django.template import Context, TemplateDoesNotExist
from django.urls import ResolverMatch
from django.utils.functional import Promise
from django.utils.safestring import SafeString, mark_safe

from guilds.entered_guild import EnteredGuild
from guilds.menu import GuildPage, Membership, page_of, pages_for, registered_pages

register = template.Library()
logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Tile:
    """A page as the server's page shows it."""

    page: GuildPage
    url: str
    state: str | Promise


@register.simple_tag(takes_context=True)
def guild_tiles(context: Context, guild: EnteredGuild) -> list[Tile]:
    """The registered pages that the person may open in the guild, each with its state there.

    A state that fails is logged and omitted, because the page belongs to all apps.
    """
    return [Tile(page, page.url(guild.guild_id), _state(page, guild)) for page in pages_for(context["request"], guild)]


@dataclass(frozen=True, slots=True)
class Tab:
    """A page in the menu of a server. `is_current` is also true on other pages of the same app."""

    title: str | Promise
    url: str
    is_current: bool


@register.simple_tag(takes_context=True)
def guild_tabs(context: Context, guild: EnteredGuild, match: ResolverMatch) -> list[Tab]:
    """The menu for a page at `match`: the registered pages that the person may open in the guild."""
    current = page_of(match)
    return [Tab(page.title, page.url(guild.guild_id), page is current) for page in pages_for(context["request"], guild)]


@register.simple_tag
def has_registered_pages() -> bool:
    return bool(registered_pages())


def _state(page: GuildPage, guild: Membership) -> str | Promise:
    if page.state is None:
        return ""
    try:
        return page.state(guild)
    except Exception:
        logger.exception("guild_pages_failed", page=page.view)
        return ""


@register.simple_tag(takes_context=True)
def pages_of_apps(context: Context) -> SafeString:
    """Render the template `LABEL/_guild_pages.html` of each app that has one, in the order of `INSTALLED_APPS`.

    A template that fails is logged and omitted, because the page belongs to all apps.

    The templates see the page's variables, such as `server` (the person's membership) and `guild_list`. Returns an
    empty string if no template renders anything.
    """
    found = []
    for app in apps.get_app_configs():
        name = f"{app.label}/_guild_pages.html"
        try:
            part = context.template.engine.get_template(name)  # type: ignore[union-attr]
            with context.push():
                found.append(part.render(context).strip())
        except TemplateDoesNotExist as error:
            # The app has no such template, unless it is another one that is missing, which that template includes.
            if str(error) != name:
                logger.exception("guild_pages_failed", app=app.label)
        except Exception:
            logger.exception("guild_pages_failed", app=app.label)
    return mark_safe("\n".join(filter(None, found)))  # noqa: S308 - the templates' own output, escaped by them
