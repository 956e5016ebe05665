"""An outage: one person's stale list is read forty times a second from four processes while Discord fails.

There are three episodes, each with a new person: Discord responds with 503, with 429 and Retry-After 20, or never. In
each one it gets one request, and no reader sees an error. Before that, the same page is read at the same rate with a
fresh list: the ratio of the p99s shows the effect on readers. Reads at the start of the attempt wait for it, at most
for the soft wait; the p99s are also given without them.
"""

import argparse
import json
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import connection

from accounts.models import DiscordGate, DiscordRefusal
from bench.cluster import Cluster, cluster, sign_in
from bench.readers import PAGE, Response, at_rate, percentile_ms
from bench.stage import Stage

PROCESSES, THREADS = 4, 16
RATE = 40
EPISODES: dict[str, dict[str, Any]] = {
    "503": {"mode": "outage"},
    "429": {"mode": "rate_limited", "retry_after": 20},
    "never": {"mode": "timeout"},
}
# The shortest pause after a failure, during which there is one attempt.
MAX_SECONDS = 30.0


def seconds_of_an_episode(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds <= MAX_SECONDS:
        raise argparse.ArgumentTypeError(f"must be at most {MAX_SECONDS:.0f} s, after which the site retries")
    return seconds


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=seconds_of_an_episode, default=MAX_SECONDS, help="duration of each episode")


@dataclass
class Episode:
    name: str
    requests: int
    responses: list[Response] = field(repr=False)

    @property
    def errors(self) -> int:
        return sum(response.status != 200 for response in self.responses)

    @property
    def p99_ms(self) -> float:
        return percentile_ms([response.seconds for response in self.responses], 99)

    @property
    def settled_p99_ms(self) -> float:
        """The p99 without the reads that came within the soft wait after the attempt's start."""
        first = self.responses[0].due + settings.DISCORD_REFRESH_WAIT_MS / 1000
        return percentile_ms([response.seconds for response in self.responses if response.due > first], 99)


def live(stage: Stage, site: Cluster, name: str, seconds: float, *, age: timedelta, mood: dict[str, Any]) -> Episode:
    """Run one episode with a new person and a fresh state."""
    DiscordGate.objects.all().delete()
    DiscordRefusal.objects.all().delete()
    person = sign_in(stage, f"reader_{name}", age=age)
    stage.take_requests()
    stage.sandbox.mood(**mood)
    responses = at_rate(RATE, seconds, site.sites, person, PAGE)
    requests = stage.take_requests()[person.name]
    stage.sandbox.mood()
    return Episode(name, requests, responses)


def run(stage: Stage, options: argparse.Namespace) -> int:
    fresh, stale = timedelta(minutes=5), timedelta(hours=2)
    with cluster(stage, PROCESSES, THREADS) as site:
        # Each process imports its views with the first page.
        live(stage, site, "first", min(options.seconds, 2), age=fresh, mood={})
        healthy = live(stage, site, "healthy", options.seconds, age=fresh, mood={})
        episodes = [live(stage, site, name, options.seconds, age=stale, mood=mood) for name, mood in EPISODES.items()]
    return _report(healthy, episodes)


def _report(healthy: Episode, episodes: list[Episode]) -> int:
    requests = sum(episode.requests for episode in episodes)
    errors = sum(episode.errors for episode in episodes)
    all_readers = percentile_ms([response.seconds for episode in episodes for response in episode.responses], 99)

    print(f"{'Discord':<12}{'reads':>8}{'requests':>10}{'errors':>8}{'p50 ms':>9}{'p99 ms':>9}{'later p99':>11}")
    for episode in [healthy, *episodes]:
        median = percentile_ms([response.seconds for response in episode.responses], 50)
        print(
            f"{episode.name:<12}{len(episode.responses):>8}{episode.requests:>10}{episode.errors:>8}"
            f"{median:>9}{episode.p99_ms:>9}{episode.settled_p99_ms:>11}"
        )
    ratios = {episode.name: round(episode.p99_ms / healthy.p99_ms, 2) for episode in episodes}
    settled = {episode.name: round(episode.settled_p99_ms / healthy.p99_ms, 2) for episode in episodes}
    summary = {
        "database": connection.vendor,
        "reads": sum(len(episode.responses) for episode in episodes),
        "discord_requests": requests,
        "errors": errors,
        "healthy_p99_ms": healthy.p99_ms,
        "p99_ratio": round(all_readers / healthy.p99_ms, 2),
        "p99_ratio_by_episode": ratios,
        "p99_ratio_after_soft_wait": settled,
    }
    print(json.dumps(summary))
    return 0 if (requests, errors) == (len(episodes), 0) else 1
