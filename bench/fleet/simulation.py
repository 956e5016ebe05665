"""A simulated day of a million people under Discord's limits, with four caching strategies, on a virtual clock.

Then this site's day once more, with one in five visits behind a role.

Each strategy gets the same views and the same Discord: 50 requests per second, one per second and person, a ban for
10,000 invalid requests in 10 minutes, an hour of outage and five minutes of a global limit. The limits don't depend on
the number of people, so a day with few people meets no limits and shows little.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.test import override_settings

from bench.fleet import roles
from bench.fleet.discord import PER_SECOND, Discord, Weather
from bench.fleet.ours import Guildhall
from bench.fleet.peers import Events, FailSafePerNode, NaiveTTL, StaleWhileRevalidate, Strategy, play
from bench.fleet.people import DAY, SECOND, Population, draw
from bench.fleet.roles import DayWithRoles, Roles
from bench.fleet.tally import Tally

OURS = "guildhall"
STRATEGIES: dict[str, Callable[[Population, Discord, Tally, Events, int], Strategy]] = {
    "naive_ttl": NaiveTTL,
    "fail_safe_per_node": FailSafePerNode,
    "stale_while_revalidate": StaleWhileRevalidate,
    OURS: Guildhall,
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a day, for Discord and for the people."""

    discord: Discord
    tally: Tally

    def broken(self) -> list[str]:
        """Return the guarantees of this site that this day broke, as sentences."""
        oldest, violations = self.tally.max_age, self.discord.compliance.violations
        promises = {
            f"{self.discord.bans} bans, none allowed": self.discord.bans == 0,
            f"a list {oldest / SECOND:.0f} s old was served, under {DAY // SECOND} s allowed": oldest < DAY,
            f"{self.discord.busiest_second} requests in one second, {PER_SECOND} allowed": (
                self.discord.busiest_second <= PER_SECOND
            ),
            f"{violations} requests beside the probe while told to wait, none allowed": violations == 0,
        }
        return [what for what, holds in promises.items() if not holds]

    def figures(self) -> dict[str, Any]:
        discord = self.discord
        return {
            "requests": discord.requests,
            "rate_limited": discord.rate_limited,
            "bans": discord.bans,
            "sent_while_told_to_wait": discord.compliance.violations,
            "busiest_second": discord.busiest_second,
            **self.tally.figures(),
        }


def live(name: str, population: Population, seed: int, weather: Weather | None = None) -> Outcome:
    """Simulate one strategy's day."""
    weather = weather or Weather()
    discord, tally, events = Discord(population.people, seed, weather), Tally(weather), Events()
    play(population, STRATEGIES[name](population, discord, tally, events, seed), events)
    return Outcome(discord, tally)


def live_with_roles(population: Population, seed: int, weather: Weather | None = None) -> DayWithRoles:
    """Simulate this site's day with one in five visits behind a role."""
    weather = weather or Weather()
    discord = Discord(population.people, seed, weather)
    site = Guildhall(population, discord, Tally(weather), Events(), seed)
    return roles.live(population, site, Roles(site, Tally(weather), seed), seed)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--people", type=int, default=1_000_000, help="number of people")
    parser.add_argument("--seed", type=int, default=1, help="the same seed gives the same day")
    parser.add_argument("--send-rate", type=int, default=settings.DISCORD_SEND_RATE, help="DISCORD_SEND_RATE")
    parser.add_argument("--picture", type=Path, default=Path("var/fleet.png"), help="where to save the picture")


def run(_stage: None, options: argparse.Namespace) -> int:
    """Simulate, print and draw. Returns the exit code: 0 if this site kept its guarantees."""
    started = time.monotonic()
    population = draw(options.people, options.seed)
    views = len(population.moments)
    print(f"{population.people:,} people, {population.visits:,} visits, {views:,} views, seed {options.seed}")

    outcomes: dict[str, Outcome] = {}
    for name in STRATEGIES:
        with override_settings(DISCORD_SEND_RATE=options.send_rate):
            outcomes[name] = live(name, population, options.seed)
    from bench.fleet import picture  # its import takes longer than a short day, and only this line draws

    picture.save(
        options.picture,
        {name: outcome.discord.per_minute for name, outcome in outcomes.items()},
        {name: outcome.tally for name, outcome in outcomes.items()},
        Weather(),
    )

    with override_settings(DISCORD_SEND_RATE=options.send_rate):
        with_roles = live_with_roles(population, options.seed)

    _print_table({name: outcome.figures() for name, outcome in outcomes.items()})
    print(f"\n{OURS}, one in five visits behind a role")
    _print_table(with_roles.figures())
    print(f"picture: {options.picture}")
    broken = [*outcomes[OURS].broken(), *Outcome(with_roles.discord, with_roles.site.tally).broken()]
    broken += with_roles.broken()
    for what in broken:
        print(f"BROKEN {what}")
    summary = {
        "strategies": {name: outcome.figures() for name, outcome in outcomes.items()},
        "with_roles": with_roles.figures(),
        "people": population.people,
        "visits": population.visits,
        "views": views,
        "seconds": round(time.monotonic() - started, 1),
    }
    print(json.dumps(summary))
    return 1 if broken else 0


def _print_table(figures: dict[str, dict[str, Any]]) -> None:
    print(f"{'':<24}" + "".join(f"{name:>24}" for name in figures))
    for row in next(iter(figures.values())):
        print(f"{row.replace('_', ' '):<24}" + "".join(f"{_shown(row, of[row]):>24}" for of in figures.values()))


def _shown(row: str, value: float) -> str:
    if row.startswith("age"):
        return f"{value // 60 // 60:.0f} h {value // 60 % 60:02.0f} min {value % 60:02.0f} s"
    return f"{value:,.2f} s" if row.startswith("wait") else f"{value:,}"
