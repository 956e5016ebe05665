"""A day of one person's reads: the number of requests to Discord, and what the person sees.

Pages and API reads alternate at a steady rate for 24 hours; for 3 hours in the middle Discord responds with 429. Time
passes by shifting the stored times into the past, minus the duration of the reads themselves; no clock is changed. With
each read, another person's list is requested directly, as a site without a cache would.

The sandbox's rate limits are off, because hours pass in seconds here and the sandbox uses its own clock.
"""

import argparse
import json
import re
import statistics
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.db.models import F
from django.test import Client

from accounts.discord import DiscordAPIError, Tokens
from accounts.models import DiscordAccount, DiscordGate, DiscordRefusal, User
from accounts.tokens import discord_client, sealed
from bench.stage import Stage
from guilds.engine.freshness import retry_pause
from guilds.models import GuildListVerification
from guilds.resources.guild_list import GUILD_LIST
from sandbox.remote import LIST

RATES = (30, 120)
CLAIMED_PERCENT = 99
HEALTHY = {"mode": "healthy"}
# Thirty seconds is longer than an attempt and not longer than our first pause, so our own schedule applies.
LIMITED = {"mode": "rate_limited", "retry_after": 30, "routes": [LIST]}
DAY = ((timedelta(hours=10.5), HEALTHY), (timedelta(hours=3), LIMITED), (timedelta(hours=10.5), HEALTHY))
# The longest pause after a failure.
LONG_STREAK, MAX_JITTER = 10, 1.25
# The smallest jitter of the time at which a list is due.
MIN_JITTER = 0.9
READER, NAIVE = "ada", "linus"
PATHS = ("/servers/", "/api/v1/guilds/")
PAGE_AGE = re.compile(rb'data-age="(\d+)"')


@dataclass(slots=True)
class Day:
    """The result of a day with `rate` reads an hour. The bounds are the maximum that the design allows."""

    rate: int
    reads: int = 0
    requests_healthy: int = 0
    requests_healthy_bound: int = 0
    requests_limited: int = 0
    requests_limited_bound: int = 0
    errors: int = 0
    naive_requests: int = 0
    naive_errors: int = 0
    ages: list[int] = field(default_factory=list, repr=False)

    @property
    def requests(self) -> int:
        return self.requests_healthy + self.requests_limited

    @property
    def stale_reads(self) -> int:
        return sum(age >= GUILD_LIST.windows().fresh.total_seconds() for age in self.ages)

    @property
    def saved_percent(self) -> float:
        return round(100 * (1 - self.requests / self.naive_requests), 2)

    def broken(self) -> list[str]:
        """Return the expectations that were not met, as sentences."""
        oldest = oldest_bound(self.rate).total_seconds()
        expectations = {
            f"{self.requests_healthy} requests while healthy, at most {self.requests_healthy_bound} expected": (
                0 < self.requests_healthy <= self.requests_healthy_bound
            ),
            f"{self.requests_limited} requests while limited, at most {self.requests_limited_bound} expected": (
                0 < self.requests_limited <= self.requests_limited_bound
            ),
            f"{self.errors} errors shown, none expected": self.errors == 0,
            f"{self.naive_requests} naive requests for {self.reads} reads": self.naive_requests == self.reads,
            f"an age of {max(self.ages, default=0)} s was served, under {oldest:.0f} expected": (
                0 < max(self.ages, default=0) < oldest
            ),
        }
        return [f"at {self.rate} reads an hour: {what}" for what, holds in expectations.items() if not holds]


def healthy_bound(stretch: timedelta) -> int:
    """Return the maximum number of requests in a stretch: one at its start, then one per earliest due time."""
    return 1 + stretch // (GUILD_LIST.windows().fresh * settings.DISCORD_REFRESH_AT * MIN_JITTER)


def limited_bound(stretch: timedelta) -> int:
    """Return the maximum number of requests while Discord only sends 429, whose wait exceeds an attempt's budget."""
    attempts, at = 0, timedelta(0)
    while at < stretch:
        at += retry_pause(attempts, None, 1)
        attempts += 1
    return attempts


def oldest_bound(rate: int) -> timedelta:
    """Return the maximum age: a list that was due just before the limit, which ends just after an attempt."""
    limited = sum((stretch for stretch, mood in DAY if mood is LIMITED), timedelta(0))
    return GUILD_LIST.windows().fresh + limited + retry_pause(LONG_STREAK, None, MAX_JITTER) + timedelta(hours=1) / rate


class Site:
    """A signed-in client, and the time between its reads."""

    def __init__(self, user: User) -> None:
        # An exception in a view counts as an error and must not end the bench.
        self.client = Client(raise_request_exception=False, SERVER_NAME="localhost")
        self.client.force_login(user, backend="guilds.backends.DiscordBackend")
        self._read_at = time.monotonic()

    def read(self, day: Day) -> None:
        self._read_at = time.monotonic()
        response = self.client.get(PATHS[day.reads % len(PATHS)])
        day.reads += 1
        if response.status_code != 200:
            day.errors += 1
        else:
            day.ages.append(_age(response.headers, response.content))

    def advance_time(self, interval: timedelta) -> None:
        """Wait for running jobs, then shift time so that the next read is `interval` after the last."""
        for thread in threading.enumerate():
            if thread.name == "guildhall-job":
                thread.join()
        delta = interval - timedelta(seconds=time.monotonic() - self._read_at)
        _shift(max(delta, timedelta(0)))


def _age(headers: Mapping[str, str], content: bytes) -> int:
    """Return the age in seconds in the response: the API's `Age` header or the page's `data-age`."""
    if "Age" in headers:
        return int(headers["Age"])
    shown = PAGE_AGE.search(content)
    if shown is None:
        raise AssertionError("the page does not say how old its list is")
    return int(shown[1])


def _shift(delta: timedelta) -> None:
    GuildListVerification.objects.update(
        **{
            name: F(name) - delta
            for name in ("verified_at", "refresh_after", "not_before", "lease_until", "last_read_at")
        }
    )
    DiscordGate.objects.update(until=F("until") - delta, tat=F("tat") - delta)
    DiscordRefusal.objects.update(at=F("at") - delta)


def live(stage: Stage, rate: int) -> Day:
    """Run one day with `rate` reads an hour on an empty database."""
    call_command("flush", interactive=False, verbosity=0)
    stage.sandbox.reset()
    stage.sandbox.limits(per_person=False, per_second=1_000_000, invalid_per_10_minutes=1_000_000)
    site = Site(_sign_up(Tokens.from_json(stage.sandbox.token(READER))))
    naive_token = Tokens.from_json(stage.sandbox.token(NAIVE)).access_token
    stage.take_requests()

    day, interval = Day(rate), timedelta(hours=1) / rate
    for stretch, mood in DAY:
        stage.sandbox.mood(**mood)
        for _ in range(stretch // interval):
            site.read(day)
            day.naive_errors += not _naive_view_works(naive_token)
            site.advance_time(interval)
        _count(day, stage, stretch, limited=mood is LIMITED)
    return day


def _sign_up(tokens: Tokens) -> User:
    person = discord_client().get_current_user(tokens.access_token)
    user = User.objects.create_user(username=str(person.id), discord_id=person.id, discord_username=person.username)
    stored: Any = sealed(tokens, user.pk)
    DiscordAccount.objects.create(user=user, provider="discord", uid=str(person.id), extra_data=stored)
    return user


def _naive_view_works(token: str) -> bool:
    """Request the list as a view without a cache would, without retries, so that it isn't counted too badly."""
    try:
        replace(discord_client(), max_retries=0).get_user_guilds(token)
    except DiscordAPIError:
        return False
    return True


def _count(day: Day, stage: Stage, stretch: timedelta, *, limited: bool) -> None:
    requests = stage.take_requests()
    day.naive_requests += requests[NAIVE]
    if limited:
        day.requests_limited += requests[READER]
        day.requests_limited_bound += limited_bound(stretch)
    else:
        day.requests_healthy += requests[READER]
        day.requests_healthy_bound += healthy_bound(stretch)


def run(stage: Stage, _options: argparse.Namespace) -> int:
    """Measure and print. Returns the exit code: 0 if the expectations were met."""
    started = time.monotonic()
    days = [live(stage, rate) for rate in RATES]
    seconds = round(time.monotonic() - started, 1)

    _print_table(days)
    broken = [what for day in days for what in day.broken()]
    for what in broken:
        print(f"BROKEN {what}")
    print(json.dumps(_summary(days, seconds)))
    return 1 if broken else 0


def _print_table(days: list[Day]) -> None:
    rows: dict[str, list[object]] = {
        "reads an hour": [day.rate for day in days],
        "reads": [day.reads for day in days],
        "requests, healthy 21 h": [f"{day.requests_healthy} (≤ {day.requests_healthy_bound})" for day in days],
        "requests, limited 3 h": [f"{day.requests_limited} (≤ {day.requests_limited_bound})" for day in days],
        "errors shown": [day.errors for day in days],
        "stale lists served": [day.stale_reads for day in days],
        "median age": [_minutes(statistics.median(day.ages)) for day in days],
        "maximum age": [_minutes(max(day.ages)) for day in days],
        "naive requests": [day.naive_requests for day in days],
        "naive errors": [day.naive_errors for day in days],
        "requests saved": [f"{day.saved_percent} %" for day in days],
        "claimed for such caching": [f"{CLAIMED_PERCENT} %" for _ in days],
    }
    for name, values in rows.items():
        print(f"{name:<24}" + "".join(f"{value!s:>12}" for value in values))


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min"


def _summary(days: list[Day], seconds: float) -> dict[str, Any]:
    """Return the first day's figures, each day's savings, and the other days' figures by rate."""
    first, *others = days
    return {
        **_figures(first),
        **{f"saved_percent_{day.rate}": day.saved_percent for day in days},
        "claimed_percent": CLAIMED_PERCENT,
        "seconds": seconds,
        **{f"at_{day.rate}": _figures(day) for day in others},
    }


def _figures(day: Day) -> dict[str, Any]:
    return {
        "requests_healthy": day.requests_healthy,
        "requests_healthy_bound": day.requests_healthy_bound,
        "requests_limited": day.requests_limited,
        "requests_limited_bound": day.requests_limited_bound,
        "errors": day.errors,
        "naive_requests": day.naive_requests,
        "naive_errors": day.naive_errors,
        "median_age_s": statistics.median(day.ages),
        "max_age_s": max(day.ages),
    }
