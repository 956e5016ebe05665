"""`GET /api/v1/guilds/?…`: some of the guilds, in another order, with fewer members.

A parameter that isn't known or can't be read is a 400 that names it: a program that misspells `manageable` must not get
servers that the person may not manage.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from django.http import QueryDict
from django.utils.translation import gettext as _

from guilds import bot
from guilds.problems import ProblemRaised
from guilds.problems.catalogue import INVALID_PARAMETER
from guilds.resources.memberships import Membership
from guilds.search import is_found, words_of

FIELDS = ("id", "name", "icon", "banner", "owner", "permissions", "can_manage", "features")
ORDERINGS = ("id", "-id", "name", "-name")
LONGEST_SEARCH = 100


@dataclass(frozen=True, slots=True)
class Filters:
    """What the query asked for; None and "" where it asked for nothing."""

    manageable: bool | None = None
    owner: bool | None = None
    has_bot: bool | None = None
    search: str = ""
    ordering: str = "id"
    fields: tuple[str, ...] = FIELDS

    def select(self, memberships: Iterable[Membership]) -> list[dict[str, Any]]:
        words = words_of(self.search)
        found = [
            membership
            for membership in memberships
            if self._wants(membership) and is_found(words, membership.name, membership.guild_id)
        ]
        if self.has_bot is not None:
            with_bot = bot.present_in(membership.guild_id for membership in found) or frozenset()
            found = [membership for membership in found if (membership.guild_id in with_bot) is self.has_bot]
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
    return membership.name.casefold(), membership.guild_id


def parse(query: QueryDict) -> Filters:
    """The filters of a query string. Raises a 400 that names the parameter it can't read."""
    wanted: dict[str, Any] = {}
    for name, values in query.lists():
        if name not in PARSERS:
            raise invalid(name, _("There is no such parameter. Known are %(known)s.") % {"known": ", ".join(PARSERS)})
        if len(values) != 1:
            raise invalid(name, _("It may be given once."))
        try:
            wanted[name] = PARSERS[name](values[0])
        except ValueError as error:
            raise invalid(name, str(error)) from None
    return Filters(**wanted)


def invalid(name: str, why: str) -> ProblemRaised:
    # A name as long as an address can be is of no help to anybody.
    shown = name if len(name) <= 64 else f"{name[:63]}…"
    detail = _("The parameter %(name)s is wrong.") % {"name": json.dumps(shown, ensure_ascii=False)}
    return ProblemRaised(replace(INVALID_PARAMETER, detail=f"{detail} {why}", more={"parameter": shown}))


def _boolean(value: str) -> bool:
    if value not in ("true", "false"):
        raise ValueError(_("It takes true or false."))
    return value == "true"


def _search(value: str) -> str:
    if len(value) > LONGEST_SEARCH or "\0" in value:
        raise ValueError(_("It takes up to %(count)s characters.") % {"count": LONGEST_SEARCH})
    return value.strip()


def _ordering(value: str) -> str:
    if value not in ORDERINGS:
        raise ValueError(_("It takes one of %(known)s.") % {"known": ", ".join(ORDERINGS)})
    return value


def _fields(value: str) -> tuple[str, ...]:
    names = value.split(",")
    if not set(names) <= set(FIELDS):
        raise ValueError(_("It takes one or more of %(known)s, with commas between.") % {"known": ", ".join(FIELDS)})
    # A guild without its id can't be told from another.
    return ("id", *names)


PARSERS: dict[str, Callable[[str], Any]] = {
    "manageable": _boolean,
    "owner": _boolean,
    "has_bot": _boolean,
    "search": _search,
    "ordering": _ordering,
    "fields": _fields,
}
