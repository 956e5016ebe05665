"""Three ways to cache that are in use, each as its documentation recommends it, and the clock all strategies share.

All keep a list for an hour and, where they stand in with an old one at all, for a day, as ours does.
"""

import heapq
import itertools
import random
from array import array
from collections.abc import Callable
from typing import Any, Protocol

from bench.fleet_discord import Answer, Discord
from bench.fleet_people import DAY, HOUR, NEVER, SECOND, Population
from bench.fleet_tally import Tally

# How long anybody waits for one answer of Discord's; the site's DISCORD_REQUEST_TIMEOUT_MS.
PATIENCE = 4 * SECOND


class Events:
    """What is to happen later, in order of time; at one moment, in the order it was planned."""

    def __init__(self) -> None:
        self._queue: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._number = itertools.count()

    def plan(self, at: int, do: Callable[..., None], *arguments: Any) -> None:
        """Call `do(at, *arguments)` at `at`."""
        heapq.heappush(self._queue, (at, next(self._number), do, arguments))

    def run_until(self, moment: int) -> None:
        queue = self._queue
        while queue and queue[0][0] <= moment:
            at, _, do, arguments = heapq.heappop(queue)
            do(at, *arguments)

    def run_out(self) -> None:
        while self._queue:
            self.run_until(self._queue[0][0])


class Strategy(Protocol):
    def read(self, at: int, person: int) -> None:
        """One view: sooner or later it is counted as served or as an error."""


def play(population: Population, strategy: Strategy, events: Events) -> None:
    """The whole day, and after it what is still under way."""
    for at, person in population.views():
        events.run_until(at)
        strategy.read(at, person)
    events.run_out()


class NaiveTTL:
    """A cache with a time to live. A miss asks, and an error is asked again at once, three times, as dashboards do."""

    RETRIES = 3

    def __init__(self, population: Population, discord: Discord, tally: Tally, events: Events, _seed: int) -> None:
        self.discord, self.tally, self.events = discord, tally, events
        self._verified: list[int] = population.verified.tolist()

    def read(self, at: int, person: int) -> None:
        age = at - self._verified[person]
        if age < HOUR:
            self.tally.served(age)
        else:
            self._ask(at, person, at, self.RETRIES)

    def _ask(self, at: int, person: int, since: int, retries: int) -> None:
        answer = self.discord.send(person, at, PATIENCE)
        self.events.plan(answer.at, self._answered, person, since, retries, at, answer)

    def _answered(self, now: int, person: int, since: int, retries: int, asked_at: int, answer: Answer) -> None:
        if answer.status == 200:
            self._verified[person] = max(self._verified[person], asked_at)
            self.tally.served(now - asked_at, now - since)
        elif retries:
            self._ask(now, person, since, retries - 1)
        else:
            self.tally.error(since, now - since)


class FailSafePerNode:
    """A cache in each of four nodes that stands in for an error for a day, then leaves Discord alone for 30 s.

    One request at a time per node and person; the load balancer picks a node for each view.
    """

    NODES = 4
    THROTTLE = 30 * SECOND

    def __init__(self, population: Population, discord: Discord, tally: Tally, events: Events, seed: int) -> None:
        self.discord, self.tally, self.events = discord, tally, events
        self._random = random.Random(seed)
        self._verified = array("q", [NEVER]) * (population.people * self.NODES)
        self._throttled = array("q", [NEVER]) * (population.people * self.NODES)
        self._readers: dict[int, list[int]] = {}
        for person, verified in enumerate(population.verified.tolist()):
            self._verified[self._key(person)] = verified

    def _key(self, person: int) -> int:
        return person * self.NODES + int(self._random.random() * self.NODES)

    def read(self, at: int, person: int) -> None:
        key = self._key(person)
        age = at - self._verified[key]
        if age < HOUR:
            self.tally.served(age)
        elif at < self._throttled[key]:
            self._stand_in(at, key, at)
        elif key in self._readers:
            self._readers[key].append(at)
        else:
            self._readers[key] = [at]
            answer = self.discord.send(person, at, PATIENCE)
            self.events.plan(answer.at, self._answered, key, at, answer)

    def _answered(self, now: int, key: int, asked_at: int, answer: Answer) -> None:
        if answer.status == 200:
            self._verified[key] = asked_at
        else:
            self._throttled[key] = now + self.THROTTLE
        for since in self._readers.pop(key):
            self._stand_in(now, key, since)

    def _stand_in(self, now: int, key: int, since: int) -> None:
        age = now - self._verified[key]
        if age < DAY:
            self.tally.served(age, now - since)
        else:
            self.tally.error(since, now - since)


class StaleWhileRevalidate:
    """A shared cache that serves an old list at once and asks behind it, at each read of an old one."""

    def __init__(self, population: Population, discord: Discord, tally: Tally, events: Events, _seed: int) -> None:
        self.discord, self.tally, self.events = discord, tally, events
        self._verified: list[int] = population.verified.tolist()

    def read(self, at: int, person: int) -> None:
        age = at - self._verified[person]
        if age < DAY:
            self.tally.served(age)
        if age >= HOUR:
            answer = self.discord.send(person, at, PATIENCE)
            self.events.plan(answer.at, self._answered, person, at, age >= DAY, answer)

    def _answered(self, now: int, person: int, asked_at: int, waits: bool, answer: Answer) -> None:
        if answer.status == 200:
            self._verified[person] = max(self._verified[person], asked_at)
        age = now - self._verified[person]
        if waits and age < DAY:
            self.tally.served(age, now - asked_at)
        elif waits:
            self.tally.error(asked_at, now - asked_at)
