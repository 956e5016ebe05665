"""How many of the site's people are in each server, and how many of them may manage it.

Over millions of memberships counting takes seconds. So it is done beside the requests, kept in the cache, and shown
with its age while a newer count is on its way.
"""

from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from django.core.cache import cache
from django.db.models import Count, F, Max, QuerySet

from accounts import background
from accounts.clock import database_now
from guilds.models import MAY_MANAGE, UserGuildMembership

SHOWN = 25
RENEWED_AFTER = timedelta(minutes=10)
RETENTION = timedelta(days=7)
# Who opens the page waits so long for a count; of a small site it is there at once.
MAX_WAIT = 1.0
KEY = "guild-usage:1"
COUNTING_KEY = f"{KEY}:counting"


@dataclass(frozen=True, slots=True)
class Usage:
    """One server: how many of our people are in it, and how many of those may manage it."""

    guild_id: int
    name: str
    people: int
    managers: int


@dataclass(frozen=True, slots=True)
class Ranking:
    """The servers with most of our people, as counted at `at`; None if that was never done."""

    at: datetime | None = None
    servers: tuple[Usage, ...] = ()
    is_counting: bool = False


def usage_of(guild_ids: Iterable[int]) -> dict[int, Usage]:
    """Those servers by id, counted now; one with none of our people isn't among them."""
    rows = _by_server(UserGuildMembership.objects.filter(guild_id__in=guild_ids))
    return {row[0]: Usage(*row) for row in rows}


def all_usage() -> Iterator[Usage]:
    """Every server with one of our people, the fullest first, counted now and read row by row."""
    rows = _fullest_first().iterator(chunk_size=2000)
    return (Usage(*row) for row in rows)


def ranking() -> Ranking:
    """The last count. If it is `RENEWED_AFTER` old or there is none, a new one is begun, and waited for a moment."""
    found = _kept()
    if found.at and database_now() - found.at < RENEWED_AFTER:
        return found
    # Without a cache two may count at once; that costs time only.
    if cache.add(COUNTING_KEY, 1, RENEWED_AFTER.total_seconds()):
        try:
            return background.call(_count, timeout=MAX_WAIT)
        except TimeoutError:
            pass
    return replace(found, is_counting=True)


def _count() -> Ranking:
    try:
        at = database_now()
        counted = Ranking(at, tuple(Usage(*row) for row in _fullest_first()[:SHOWN]))
        cache.set(KEY, [at.isoformat(), [astuple(usage) for usage in counted.servers]], RETENTION.total_seconds())
    finally:
        cache.delete(COUNTING_KEY)
    return counted


def _kept() -> Ranking:
    kept = cache.get(KEY)
    if kept is None:
        return Ranking()
    at, servers = kept
    return Ranking(datetime.fromisoformat(at), tuple(Usage(*row) for row in servers))


def _fullest_first() -> QuerySet[UserGuildMembership, tuple[Any, ...]]:
    return _by_server(UserGuildMembership.objects.all()).order_by(F("people").desc(), "guild_id")


def _by_server(memberships: QuerySet[UserGuildMembership]) -> QuerySet[UserGuildMembership, tuple[Any, ...]]:
    """`Usage`'s fields. Lists are of different ages, so that a server may have several names; any of them will do."""
    grouped = memberships.order_by().values("guild_id")
    counts = grouped.annotate(any_name=Max("name"), people=Count("pk"), managers=Count("pk", filter=MAY_MANAGE))
    return counts.values_list("guild_id", "any_name", "people", "managers")
