"""This site's day if one in five visits is behind a role: the engine on lists and members, which share gate and brake.

The page reads the person's list, then their roles in one guild, as `guild_required(role=…)` does. The bot is in half of
the guilds. Elsewhere the person's own allowance limits the requests, by the site's own rules. No roles are stored at
midnight.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accounts import allowance
from accounts.limits import Allowance, Kind, Priority
from bench.fleet.discord import Discord, Response
from bench.fleet.ours import Engine, Guildhall
from bench.fleet.people import DAY, SECOND, Population
from bench.fleet.tally import Tally
from guilds.models import GuildMember
from guilds.resources.member import MEMBER

BEHIND_A_ROLE = 0.2
GUILDS_OF_A_PERSON = 8
PEOPLE_PER_GUILD = 50
NO_GUILD = -1

# The person and the guild.
Key = tuple[int, int]


def bot_is_in(guild: int) -> bool:
    return guild % 2 == 0


def draw_guilds(population: Population, seed: int) -> NDArray[np.int32]:
    """Draw the guild whose roles each view requires, or `NO_GUILD`. All views of one visit require the same."""
    random = np.random.default_rng([seed, 1])
    guilds = max(population.people // PEOPLE_PER_GUILD, GUILDS_OF_A_PERSON)
    # Few guilds have most of the people: the first one has a share of 1 / sqrt(guilds).
    theirs = (guilds * random.random((population.people, GUILDS_OF_A_PERSON)) ** 2).astype(np.int32)
    chosen = random.integers(0, GUILDS_OF_A_PERSON, population.visits)
    behind = random.random(population.visits) < BEHIND_A_ROLE
    return np.where(behind[population.visit], theirs[population.who, chosen[population.visit]], NO_GUILD)


class Roles(Engine[Key]):
    """The site's members. `refused_by_person` counts Discord's 429 for a person's own requests."""

    def __init__(self, site: Guildhall, tally: Tally, seed: int) -> None:
        super().__init__(site.gatekeeper, MEMBER.windows(), tally, site.events, seed)
        self.discord = site.discord
        self.refused_by_person = 0
        self._own, self._bot = allowance.kind_of(allowance.MEMBER), allowance.kind_of(allowance.BOT_MEMBER)
        self._allowances: dict[tuple[str, int], Allowance] = defaultdict(Allowance)
        self._share = {from_bot: _refresh_share(from_bot) for from_bot in (False, True)}

    def _refresh_at(self, key: Key) -> float:
        return self._share[bot_is_in(key[1])]

    def _kind(self, key: Key) -> tuple[Kind, tuple[str, int]]:
        """Return the limit that requests for this member share, and the key of its allowance."""
        person, guild = key
        kind, owner = (self._bot, guild) if bot_is_in(guild) else (self._own, person)
        return kind, (kind.name, owner)

    def _held_until(self, key: Key, now: datetime, priority: Priority) -> datetime | None:
        kind, owner = self._kind(key)
        return self._allowances[owner].closed_until(kind, now, priority)

    def _take(self, key: Key, now: datetime) -> None:
        kind, owner = self._kind(key)
        self._allowances[owner] = self._allowances[owner].taken(kind, now)

    def _limited(self, key: Key, response: Response, now: datetime) -> None:
        kind, owner = self._kind(key)
        self._allowances[owner] = self._allowances[owner].limited(kind, response.wait, now)
        self.refused_by_person += kind is self._own

    def _ask(self, key: Key, at: int, timeout: int) -> Response:
        person, guild = key
        if bot_is_in(guild):
            return self.discord.send_bot_member(guild, at, timeout)
        return self.discord.send_member(person, at, timeout)


def _refresh_share(from_bot: bool) -> float:
    record = GuildMember()
    record.from_bot = from_bot
    return MEMBER.refresh_at(record)


@dataclass(frozen=True, slots=True)
class DayWithRoles:
    """The result of a day, for Discord and for the readers of lists and of roles."""

    discord: Discord
    site: Guildhall
    roles: Roles

    def figures(self) -> dict[str, dict[str, Any]]:
        return {"list": _figures_of(self.site), "roles": _figures_of(self.roles)}

    def broken(self) -> Iterator[str]:
        """Yield the guarantees about roles that this day broke, as sentences."""
        if self.roles.refused_by_person:
            yield f"{self.roles.refused_by_person} requests beyond a person's limit for roles, none allowed"
        if self.roles.tally.max_age >= DAY:
            yield f"roles {self.roles.tally.max_age // SECOND} s old were served, under {DAY // SECOND} s allowed"


def live(population: Population, site: Guildhall, roles: Roles, seed: int) -> DayWithRoles:
    """Play the day. A page that is refused for its list reads no roles."""
    guilds: list[int] = draw_guilds(population, seed).tolist()
    for (at, person), guild in zip(population.views(), guilds, strict=True):
        site.events.run_until(at)
        site.read(at, person, None if guild == NO_GUILD else partial(roles.read, key=(person, guild)))
    site.events.run_out()
    return DayWithRoles(site.discord, site, roles)


def _figures_of(engine: Engine[Any]) -> dict[str, Any]:
    return {
        "views": engine.tally.views,
        "requests": engine.requests,
        "rate_limited": engine.rate_limited,
        **engine.tally.figures(),
    }
