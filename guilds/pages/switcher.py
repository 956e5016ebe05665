"""The switcher: the person's servers, each with the address of the page that they are looking at."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from guilds.listing.preferences import Preferences
from guilds.listing.search import is_found, sort_key, words_of
from guilds.menu import GuildPage, page_at
from guilds.pages.picker import recently_used
from guilds.services import Membership

SERVER_PAGE = GuildPage("guilds:detail", "")


class Group(StrEnum):
    """The headings, in the order of the page."""

    FAVOURITE = "favourite"
    RECENT = "recent"
    REST = "rest"


@dataclass(frozen=True, slots=True)
class Link:
    guild: Membership
    url: str


def groups(
    memberships: Iterable[Membership], preferences: Preferences, path: str, query: str = ""
) -> list[tuple[Group, list[Link]]]:
    """The servers that match `query`, by heading.

    Each leads to the registered page at `path` about that server, or to the server's own page if there is none, if the
    person may not open it there, or if it has a rule, which could ask the database about each server.
    """
    page = page_at(path) or SERVER_PAGE
    words = words_of(query)
    found = [guild for guild in memberships if is_found(words, guild.display_name, guild.guild_id)]
    recent = recently_used(found, preferences)
    grouped: dict[Group, list[Membership]] = {Group.FAVOURITE: [], Group.RECENT: recent, Group.REST: []}
    for guild in sorted(found, key=lambda guild: sort_key(guild.display_name)):
        if guild.guild_id in preferences.favourites:
            grouped[Group.FAVOURITE].append(guild)
        elif guild not in recent:
            grouped[Group.REST].append(guild)
    return [
        (group, [Link(guild, _url(page, guild)) for guild in guilds]) for group, guilds in grouped.items() if guilds
    ]


def _url(page: GuildPage, guild: Membership) -> str:
    return (page if page.rule is None and page.is_for(guild) else SERVER_PAGE).url(guild.guild_id)
