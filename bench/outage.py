"""An outage: one person's stale list is read forty times a second by four processes while Discord gives no list.

Three episodes, each with a new person: Discord answers 503, then 429 with Retry-After 20, then never. In each it is
asked once, and no reader sees an error. Before them the same page is read at the same rate with a fresh list: the
ratio of the p99s says what readers feel. Who reads while the one attempt is young waits for it, for the soft wait at
most; the p99s count those readers apart too.
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
from bench.readers import PAGE, Answer, at_rate, percentile_ms
from bench.stage import Stage

PROCESSES, THREADS = 4, 16
RATE = 40
EPISODES: dict[str, dict[str, Any]] = {
    "503": {"mode": "outage"},
    "429": {"mode": "rate_limited", "retry_after": 20},
    "never": {"mode": "timeout"},
}
# The shortest pause after a failure; within it there is one attempt.
LONGEST = 30.0


def seconds_of_an_episode(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds <= LONGEST:
        raise argparse.ArgumentTypeError(f"after {LONGEST:.0f} s Discord is rightly asked again")
    return seconds


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=seconds_of_an_episode, default=LONGEST, help="of each episode")


@dataclass
class Episode:
    name: str
    requests: int
    answers: list[Answer] = field(repr=False)

    @property
    def errors(self) -> int:
        return sum(answer.status != 200 for answer in self.answers)

    @property
    def p99_ms(self) -> float:
        return percentile_ms([answer.seconds for answer in self.answers], 99)

    @property
    def settled_p99_ms(self) -> float:
        """Without those who came while the attempt was younger than the soft wait."""
        first = self.answers[0].due + settings.DISCORD_REFRESH_WAIT_MS / 1000
        return percentile_ms([answer.seconds for answer in self.answers if answer.due > first], 99)


def live(stage: Stage, site: Cluster, name: str, seconds: float, *, age: timedelta, mood: dict[str, Any]) -> Episode:
    """One episode, with a person and a state of its own."""
    DiscordGate.objects.all().delete()
    DiscordRefusal.objects.all().delete()
    person = sign_in(stage, f"reader_{name}", age=age)
    stage.take_requests()
    stage.sandbox.mood(**mood)
    answers = at_rate(RATE, seconds, site.sites, person, PAGE)
    requests = stage.take_requests()[person.name]
    stage.sandbox.mood()
    return Episode(name, requests, answers)


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
    everybody = percentile_ms([answer.seconds for episode in episodes for answer in episode.answers], 99)

    print(f"{'Discord':<12}{'reads':>8}{'requests':>10}{'errors':>8}{'p50 ms':>9}{'p99 ms':>9}{'later p99':>11}")
    for episode in [healthy, *episodes]:
        median = percentile_ms([answer.seconds for answer in episode.answers], 50)
        print(
            f"{episode.name:<12}{len(episode.answers):>8}{episode.requests:>10}{episode.errors:>8}"
            f"{median:>9}{episode.p99_ms:>9}{episode.settled_p99_ms:>11}"
        )
    ratios = {episode.name: round(episode.p99_ms / healthy.p99_ms, 2) for episode in episodes}
    settled = {episode.name: round(episode.settled_p99_ms / healthy.p99_ms, 2) for episode in episodes}
    summary = {
        "database": connection.vendor,
        "reads": sum(len(episode.answers) for episode in episodes),
        "discord_requests": requests,
        "errors": errors,
        "healthy_p99_ms": healthy.p99_ms,
        "p99_ratio": round(everybody / healthy.p99_ms, 2),
        "p99_ratio_by_episode": ratios,
        "p99_ratio_after_soft_wait": settled,
    }
    print(json.dumps(summary))
    return 0 if (requests, errors) == (len(episodes), 0) else 1
