"""The picker: which servers a person sees, in which order, and under which heading."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from guilds.listing.bot import Presence, needed_permissions
from guilds.listing.discord_names import in_words
from guilds.listing.preferences import Preferences
from guilds.listing.search import is_found, sort_key, words_of
from guilds.services import Membership

MAX_RECENT = 4
# The page shows this many servers under a heading, and the others after "Show more".
MAX_UNFOLDED = 12


class Show(StrEnum):
    """The filter: which servers to show. The values appear in the address."""

    ALL = "all"
    MANAGE = "manage"
    OWNER = "owner"

    @classmethod
    def read(cls, text: str) -> "Show":
        return next((show for show in cls if show == text), cls.ALL)

    def wants(self, membership: Membership) -> bool:
        if self is Show.ALL:
            return True
        return membership.owner if self is Show.OWNER else membership.can_manage


class Group(StrEnum):
    """The headings, in the order of the page."""

    FAVOURITE = "favourite"
    MANAGED = "managed"
    ADDABLE = "addable"
    REST = "rest"


@dataclass(frozen=True, slots=True)
class Server:
    """One row. `has_bot` is None if the site has no bot, or doesn't know yet where it is (`is_bot_unknown`)."""

    membership: Membership
    has_bot: bool | None
    is_favourite: bool
    # What the apps need and the bot lacks there.
    missing: int = 0
    is_bot_unknown: bool = False

    @property
    def bot_missing(self) -> str:
        """The permissions that the bot lacks, in the reader's language, for people who can change that."""
        return in_words(self.missing) if self.missing and self.membership.can_manage else ""

    @property
    def can_add_bot(self) -> bool:
        return self.has_bot is False and self.membership.can_manage

    @property
    def is_card(self) -> bool:
        """Whether it is shown as a card. A server that one can only look at is a plain row."""
        return self.is_favourite or self.membership.can_manage

    @property
    def group(self) -> Group:
        if self.is_favourite:
            return Group.FAVOURITE
        if not self.membership.can_manage:
            return Group.REST
        return Group.ADDABLE if self.can_add_bot else Group.MANAGED


@dataclass(frozen=True, slots=True)
class Section:
    """The servers under one heading: those `shown` at once, and those `folded` until the visitor wants them."""

    group: Group
    shown: tuple[Server, ...]
    folded: tuple[Server, ...] = ()

    def __len__(self) -> int:
        return len(self.shown) + len(self.folded)


def sections(
    memberships: Iterable[Membership],
    bot_presence: Presence | None,
    preferences: Preferences,
    *,
    query: str = "",
    show: Show = Show.ALL,
) -> list[Section]:
    """The servers that match `query` and `show`, grouped by heading and sorted by name.

    What was searched for is never folded.
    """
    words, needs = words_of(query), needed_permissions()
    found = [
        _server(membership, bot_presence, preferences, needs)
        for membership in memberships
        if show.wants(membership) and is_found(words, membership.display_name, membership.guild_id)
    ]
    found.sort(key=lambda server: sort_key(server.membership.display_name))
    grouped: dict[Group, list[Server]] = {group: [] for group in Group}
    for server in found:
        grouped[server.group].append(server)
    limit = MAX_UNFOLDED if show is Show.ALL and not words else len(found)
    return [
        Section(group, tuple(servers[:limit]), tuple(servers[limit:])) for group, servers in grouped.items() if servers
    ]


def _server(membership: Membership, bot_presence: Presence | None, preferences: Preferences, needs: int) -> Server:
    guild_id = membership.guild_id
    is_favourite = guild_id in preferences.favourites
    if bot_presence is None:
        return Server(membership, None, is_favourite)
    has_bot = bot_presence.includes(guild_id)
    missing = (bot_presence.missing(guild_id, needs) or 0) if needs else 0
    return Server(membership, has_bot, is_favourite, missing, is_bot_unknown=has_bot is None)


def recently_used(memberships: Iterable[Membership], preferences: Preferences) -> list[Membership]:
    """The servers the person opened last, most recent first, without favourites: these stand first anyway."""
    by_id = {membership.guild_id: membership for membership in memberships}
    opened = [guild_id for guild_id in preferences.recent if guild_id in by_id]
    return [by_id[guild_id] for guild_id in opened if guild_id not in preferences.favourites][:MAX_RECENT]
