"""Three common caching strategies, each as its documentation recommends, and the event queue that all strategies share.

All treat a list as fresh for an hour and, if they serve stale lists at all, serve them for a day, as ours does.
"""

import heapq
import itertools
import random
from array import array
from collections.abc import Callable
from typing import Any, Protocol

from bench.fleet.discord import Discord, Response
from bench.fleet.people import DAY, HOUR, NEVER, SECOND, Population
from bench.fleet.tally import Tally

# The timeout of a request to Discord, as the site's DISCORD_REQUEST_TIMEOUT_MS.
REQUEST_TIMEOUT = 4 * SECOND


class Events:
    """A queue of future events by time; simultaneous ones in the order in which they were planned."""

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
        """Handle one view, which is eventually counted as served or as an error."""


def play(population: Population, strategy: Strategy, events: Events) -> None:
    """Play the whole day, and then the events that are still pending."""
    for at, person in population.views():
        events.run_until(at)
        strategy.read(at, person)
    events.run_out()


class NaiveTTL:
    """A cache with a time to live. A miss sends a request; an error is retried three times at once."""

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
        response = self.discord.send(person, at, REQUEST_TIMEOUT)
        self.events.plan(response.at, self._answered, person, since, retries, at, response)

    def _answered(self, now: int, person: int, since: int, retries: int, asked_at: int, response: Response) -> None:
        if response.status == 200:
            self._verified[person] = max(self._verified[person], asked_at)
            self.tally.served(now - asked_at, now - since)
        elif retries:
            self._ask(now, person, since, retries - 1)
        else:
            self.tally.error(since, now - since)


class FailSafePerNode:
    """A cache in each of four nodes. After an error it serves the old list for up to a day, and pauses for 30 s.

    There is one request at a time per node and person; the load balancer picks a node for each view.
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
            response = self.discord.send(person, at, REQUEST_TIMEOUT)
            self.events.plan(response.at, self._answered, key, at, response)

    def _answered(self, now: int, key: int, asked_at: int, response: Response) -> None:
        if response.status == 200:
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
    """A shared cache that serves a stale list at once and refreshes it in the background, at each such read."""

    def __init__(self, population: Population, discord: Discord, tally: Tally, events: Events, _seed: int) -> None:
        self.discord, self.tally, self.events = discord, tally, events
        self._verified: list[int] = population.verified.tolist()

    def read(self, at: int, person: int) -> None:
        age = at - self._verified[person]
        if age < DAY:
            self.tally.served(age)
        if age >= HOUR:
            response = self.discord.send(person, at, REQUEST_TIMEOUT)
            self.events.plan(response.at, self._answered, person, at, age >= DAY, response)

    def _answered(self, now: int, person: int, asked_at: int, waits: bool, response: Response) -> None:
        if response.status == 200:
            self._verified[person] = max(self._verified[person], asked_at)
        age = now - self._verified[person]
        if waits and age < DAY:
            self.tally.served(age, now - asked_at)
        elif waits:
            self.tally.error(asked_at, now - asked_at)
