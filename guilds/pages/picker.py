"""The picker: which servers a person sees, in which order, and under which heading."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from guilds.preferences import Preferences
from guilds.search import is_found, words_of
from guilds.services import Membership

MAX_RECENT = 4


class Show(StrEnum):
    """The filter: which servers to show. The values appear in the address."""

    ALL = "all"
    MANAGE = "manage"
    OWNER = "owner"

    @classmethod
    def read(cls, text: str) -> "Show":
        return next((show for show in cls if show == text), cls.ALL)

    def wants(self, membership: Membership) -> bool:
        return {Show.ALL: True, Show.MANAGE: membership.can_manage, Show.OWNER: membership.owner}[self]


class Group(StrEnum):
    """The headings, in the order of the page."""

    FAVOURITE = "favourite"
    MANAGED = "managed"
    ADDABLE = "addable"
    REST = "rest"


@dataclass(frozen=True, slots=True)
class Server:
    """One row. `has_bot` is None if the site has no bot; the page then does not mention one."""

    membership: Membership
    has_bot: bool | None
    is_favourite: bool

    @property
    def can_add_bot(self) -> bool:
        return self.has_bot is False and self.membership.can_manage

    @property
    def group(self) -> Group:
        if self.is_favourite:
            return Group.FAVOURITE
        if not self.membership.can_manage:
            return Group.REST
        return Group.ADDABLE if self.can_add_bot else Group.MANAGED


@dataclass(frozen=True, slots=True)
class Section:
    group: Group
    servers: tuple[Server, ...]


def sections(
    memberships: Iterable[Membership],
    with_bot: frozenset[int] | None,
    preferences: Preferences,
    *,
    query: str = "",
    show: Show = Show.ALL,
) -> list[Section]:
    """The servers that match `query` and `show`, grouped by heading and sorted by name."""
    words = words_of(query)
    found = [
        Server(
            membership,
            None if with_bot is None else membership.guild_id in with_bot,
            membership.guild_id in preferences.favourites,
        )
        for membership in memberships
        if show.wants(membership) and is_found(words, membership.name, membership.guild_id)
    ]
    found.sort(key=lambda server: server.membership.name.casefold())
    grouped: dict[Group, list[Server]] = {group: [] for group in Group}
    for server in found:
        grouped[server.group].append(server)
    return [Section(group, tuple(servers)) for group, servers in grouped.items() if servers]


def recently_used(memberships: Iterable[Membership], preferences: Preferences) -> list[Membership]:
    """The servers the person opened last, most recent first."""
    by_id = {membership.guild_id: membership for membership in memberships}
    return [by_id[guild_id] for guild_id in preferences.recent if guild_id in by_id][:MAX_RECENT]
