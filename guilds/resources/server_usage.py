"""How many of the site's people are in each server, and how many of them may manage it.

With millions of memberships, counting takes seconds. So it runs in the background, the result is cached, and pages show
it with its age while a newer count is running.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from django.core.cache import cache
from django.db.models import Count, F, Max, QuerySet

from accounts import background, database
from accounts.clock import database_now
from accounts.names import first_visible
from guilds.engine import sealed_cache
from guilds.models import MAY_MANAGE, UserGuildMembership

SHOWN = 25
RENEWED_AFTER = timedelta(minutes=10)
RETENTION = timedelta(days=7)
# Seconds that a page waits for a new count; on a small site that is enough.
MAX_WAIT = 1.0
KEY = "guild-usage:1"
COUNTING_KEY = f"{KEY}:counting"


@dataclass(frozen=True, slots=True)
class Usage:
    """One server, with the number of the site's people in it and of those who may manage it."""

    guild_id: int
    name: str
    people: int
    managers: int

    @property
    def display_name(self) -> str:
        """The name, or the id if the name shows nothing."""
        return first_visible(self.name, str(self.guild_id))


@dataclass(frozen=True, slots=True)
class Ranking:
    """The servers with the most people, as counted at `at`; None if there is no count yet."""

    at: datetime | None = None
    servers: tuple[Usage, ...] = ()
    is_counting: bool = False


def usage_of(guild_ids: Iterable[int]) -> dict[int, Usage]:
    """Count the given servers now. Returns them by id, without servers in which the site has no people."""
    rows = _by_server(UserGuildMembership.objects.filter(guild_id__in=guild_ids))
    return {row[0]: Usage(*row) for row in rows}


def all_usage() -> Iterator[Usage]:
    """Count all servers now, and iterate over them, the fullest first."""
    return (Usage(*row) for row in database.in_chunks(_fullest_first()))


def ranking() -> Ranking:
    """Return the last count. If it is older than `RENEWED_AFTER` or missing, start a new one and wait a moment."""
    found = _kept()
    if found.at and database_now() - found.at < RENEWED_AFTER:
        return found
    # Without a working cache two processes can count at once, which only costs time.
    if cache.add(COUNTING_KEY, 1, RENEWED_AFTER.total_seconds()):
        try:
            return background.call(_count, timeout=MAX_WAIT)
        except TimeoutError:
            pass
    return replace(found, is_counting=True)


def delete_ranking() -> None:
    """Delete the last count, which for a small server could still reveal that a deleted person was in it."""
    sealed_cache.delete(KEY)


def _count() -> Ranking:
    try:
        at = database_now()
        counted = Ranking(at, tuple(Usage(*row) for row in _fullest_first()[:SHOWN]))
        text = json.dumps([at.isoformat(), [astuple(usage) for usage in counted.servers]]).encode()
        sealed_cache.write(KEY, KEY, text, RETENTION.total_seconds())
    finally:
        cache.delete(COUNTING_KEY)
    return counted


def _kept() -> Ranking:
    kept = sealed_cache.read(KEY, KEY)
    if kept is None:
        return Ranking()
    at, servers = json.loads(kept)
    return Ranking(datetime.fromisoformat(at), tuple(Usage(*row) for row in servers))


def _fullest_first() -> QuerySet[UserGuildMembership, tuple[Any, ...]]:
    return _by_server(UserGuildMembership.objects.all()).order_by(F("people").desc(), "guild_id")


def _by_server(memberships: QuerySet[UserGuildMembership]) -> QuerySet[UserGuildMembership, tuple[Any, ...]]:
    """Select the fields of `Usage`. A server can have several names, since lists have different ages; any will do."""
    grouped = memberships.order_by().values("guild_id")
    counts = grouped.annotate(any_name=Max("name"), people=Count("pk"), managers=Count("pk", filter=MAY_MANAGE))
    return counts.values_list("guild_id", "any_name", "people", "managers")
