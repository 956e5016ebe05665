"""Query parameters of `GET /api/v1/guilds/`: filters, search, ordering and selection of fields.

An unknown or invalid parameter gets a 400 that names it: a program that misspells `manageable` must not receive servers
that the person may not manage.
"""

import json
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Any

from django.http import QueryDict
from django.utils.translation import gettext as _

from guilds.listing import bot
from guilds.listing.search import is_found, sort_key, words_of
from guilds.problems import BotPresenceUnknown, ProblemRaised
from guilds.problems.catalogue import INVALID_PARAMETER
from guilds.resources.memberships import Membership
from guilds.services import GuildList

FIELDS = ("id", "name", "icon", "banner", "owner", "permissions", "can_manage", "features")
ORDERINGS = ("id", "-id", "name", "-name")
MAX_SEARCH_LENGTH = 100


@dataclass(frozen=True, slots=True)
class Filters:
    """The parsed query. None and "" mean that a filter is not set."""

    manageable: bool | None = None
    owner: bool | None = None
    has_bot: bool | None = None
    search: str = ""
    ordering: str = "id"
    fields: tuple[str, ...] = FIELDS

    def _by_bot(self, found: list[Membership]) -> list[Membership]:
        presence = bot.present_in(membership.guild_id for membership in found)
        if presence and None in {presence.includes(membership.guild_id) for membership in found}:
            raise BotPresenceUnknown
        present = presence.present if presence else {}
        return [membership for membership in found if (membership.guild_id in present) is self.has_bot]

    def select(self, guild_list: GuildList) -> list[dict[str, Any]]:
        words = words_of(self.search)
        found = [
            membership
            for membership in guild_list
            if self._wants(membership) and is_found(words, membership.display_name, membership.guild_id)
        ]
        if self.has_bot is not None:
            bot.refresh_when_due(guild_list)
            found = self._by_bot(found)
        key: Callable[[Membership], Any] = _by_name if self.ordering.endswith("name") else _by_id
        found.sort(key=key, reverse=self.ordering.startswith("-"))
        return [
            {name: value for name, value in membership.as_json().items() if name in self.fields} for membership in found
        ]

    def _wants(self, membership: Membership) -> bool:
        return self.manageable in (None, membership.can_manage) and self.owner in (None, membership.owner)


def _by_id(membership: Membership) -> int:
    return membership.guild_id


def _by_name(membership: Membership) -> tuple[str, int]:
    return sort_key(membership.display_name), membership.guild_id


def parse(query: QueryDict) -> Filters:
    """Parse a query string. Raises `ProblemRaised` (400) that names the first invalid parameter."""
    wanted: dict[str, Any] = {}
    supported(query, PARSERS)
    for name, values in query.lists():
        if len(values) != 1:
            raise invalid(name, _("It can be given only once."))
        try:
            wanted[name] = PARSERS[name](values[0])
        except ValueError as error:
            raise invalid(name, str(error)) from None
    return Filters(**wanted)


def supported(query: QueryDict, names: Collection[str]) -> None:
    """Raise `ProblemRaised` (400) for the first parameter that isn't one of `names`."""
    for name in query:
        if name not in names:
            raise invalid(name, _("It doesn't exist. Supported parameters: %(known)s.") % {"known": ", ".join(names)})


def invalid(name: str, why: str) -> ProblemRaised:
    """Return the problem (400) for an invalid parameter; `why` is a sentence."""
    # The name comes from the URL and can be very long, so it is shortened.
    shown = name if len(name) <= 64 else f"{name[:63]}…"
    detail = _("The parameter %(name)s is invalid.") % {"name": json.dumps(shown, ensure_ascii=False)}
    return ProblemRaised(replace(INVALID_PARAMETER, detail=f"{detail} {why}", more={"parameter": shown}))


def _boolean(value: str) -> bool:
    if value not in ("true", "false"):
        raise ValueError(_("It must be true or false."))
    return value == "true"


def _search(value: str) -> str:
    if len(value) > MAX_SEARCH_LENGTH or "\0" in value:
        raise ValueError(_("It can have up to %(count)s characters.") % {"count": MAX_SEARCH_LENGTH})
    return value.strip()


def _ordering(value: str) -> str:
    if value not in ORDERINGS:
        raise ValueError(_("It must be one of %(known)s.") % {"known": ", ".join(ORDERINGS)})
    return value


def _fields(value: str) -> tuple[str, ...]:
    names = value.split(",")
    if not set(names) <= set(FIELDS):
        raise ValueError(_("It must be one or more of %(known)s, separated by commas.") % {"known": ", ".join(FIELDS)})
    # The id is always included, because nothing else identifies a guild.
    return ("id", *names)


PARSERS: dict[str, Callable[[str], Any]] = {
    "manageable": _boolean,
    "owner": _boolean,
    "has_bot": _boolean,
    "search": _search,
    "ordering": _ordering,
    "fields": _fields,
}
