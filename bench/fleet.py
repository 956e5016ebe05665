"""A day of a million people under Discord's limits: four ways to cache, on a virtual clock.

The same views are played against the same Discord for each strategy: 50 requests a second, one a second per person,
a ban for 10,000 invalid requests in 10 minutes, an hour of outage and five minutes of a global limit. Discord's limits
stay what they are however many people there are: with few of them nobody meets a limit, and that says little.
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

from bench import fleet_picture
from bench.fleet_discord import PER_SECOND, Discord, Weather
from bench.fleet_ours import Guildhall
from bench.fleet_peers import Events, FailSafePerNode, NaiveTTL, StaleWhileRevalidate, Strategy, play
from bench.fleet_people import DAY, SECOND, Population, draw
from bench.fleet_tally import Tally

OURS = "guildhall"
STRATEGIES: dict[str, Callable[[Population, Discord, Tally, Events, int], Strategy]] = {
    "naive_ttl": NaiveTTL,
    "fail_safe_per_node": FailSafePerNode,
    "stale_while_revalidate": StaleWhileRevalidate,
    OURS: Guildhall,
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a day came to: for Discord, and for the people."""

    discord: Discord
    tally: Tally

    def broken(self) -> list[str]:
        """The promises of this site that this day broke, in sentences."""
        oldest, disobeyed = self.tally.max_age, self.discord.obedience.disobeyed
        promises = {
            f"{self.discord.bans} bans, none allowed": self.discord.bans == 0,
            f"a list {oldest / SECOND:.0f} s old was served, under {DAY // SECOND} s allowed": oldest < DAY,
            f"{self.discord.busiest_second} requests in one second, {PER_SECOND} allowed": (
                self.discord.busiest_second <= PER_SECOND
            ),
            f"{disobeyed} requests beside the probe while told to wait, none allowed": disobeyed == 0,
        }
        return [what for what, holds in promises.items() if not holds]

    def figures(self) -> dict[str, Any]:
        discord, tally = self.discord, self.tally
        return {
            "requests": discord.requests,
            "rate_limited": discord.rate_limited,
            "bans": discord.bans,
            "sent_while_told_to_wait": discord.obedience.disobeyed,
            "busiest_second": discord.busiest_second,
            "errors": tally.errors,
            "errors_in_outage": tally.errors_in_outage,
            "errors_in_limit": tally.errors_in_limit,
            "errors_else": tally.errors - tally.errors_in_outage - tally.errors_in_limit,
            "stale": tally.stale,
            "age_p50_s": tally.age(0.5),
            "age_p90_s": tally.age(0.9),
            "age_p99_s": tally.age(0.99),
            "age_max_s": tally.max_age // SECOND,
            "wait_p50_s": tally.wait(0.5),
            "wait_p90_s": tally.wait(0.9),
            "wait_p99_s": tally.wait(0.99),
            "wait_max_s": round(tally.max_wait / SECOND, 2),
        }


def live(name: str, population: Population, seed: int, weather: Weather | None = None) -> Outcome:
    """One strategy's day."""
    weather = weather or Weather()
    discord, tally, events = Discord(population.people, seed, weather), Tally(weather), Events()
    play(population, STRATEGIES[name](population, discord, tally, events, seed), events)
    return Outcome(discord, tally)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--people", type=int, default=1_000_000, help="how many people visit that day")
    parser.add_argument("--seed", type=int, default=1, help="the same seed gives the same day")
    parser.add_argument("--send-rate", type=int, default=settings.DISCORD_SEND_RATE, help="DISCORD_SEND_RATE")
    parser.add_argument("--picture", type=Path, default=Path("var/fleet.png"), help="where the picture goes")


def run(_stage: None, options: argparse.Namespace) -> int:
    """Play the day, print, draw, and say by the exit code whether this site kept its promises."""
    started = time.monotonic()
    population = draw(options.people, options.seed)
    views = len(population.moments)
    print(f"{population.people:,} people, {population.visits:,} visits, {views:,} views, seed {options.seed}")

    outcomes: dict[str, Outcome] = {}
    for name in STRATEGIES:
        with override_settings(DISCORD_SEND_RATE=options.send_rate):
            outcomes[name] = live(name, population, options.seed)
    fleet_picture.save(
        options.picture,
        {name: outcome.discord.per_minute for name, outcome in outcomes.items()},
        {name: outcome.tally for name, outcome in outcomes.items()},
        Weather(),
    )

    _print_table(outcomes)
    print(f"picture: {options.picture}")
    broken = outcomes[OURS].broken()
    for what in broken:
        print(f"BROKEN {what}")
    summary = {
        "strategies": {name: outcome.figures() for name, outcome in outcomes.items()},
        "people": population.people,
        "visits": population.visits,
        "views": views,
        "seconds": round(time.monotonic() - started, 1),
    }
    print(json.dumps(summary))
    return 1 if broken else 0


def _print_table(outcomes: dict[str, Outcome]) -> None:
    figures = {name: outcome.figures() for name, outcome in outcomes.items()}
    print(f"{'':<24}" + "".join(f"{name:>24}" for name in figures))
    for row in next(iter(figures.values())):
        print(f"{row.replace('_', ' '):<24}" + "".join(f"{_shown(row, of[row]):>24}" for of in figures.values()))


def _shown(row: str, value: float) -> str:
    if row.startswith("age"):
        return f"{value // 60 // 60:.0f} h {value // 60 % 60:02.0f} min {value % 60:02.0f} s"
    return f"{value:,.2f} s" if row.startswith("wait") else f"{value:,}"
