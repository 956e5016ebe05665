"""A Discord for the fleet: only its limits and its bad hours, on a virtual clock.

What it does is what Discord's documentation says where that says anything, and what people measured elsewhere:
https://docs.discord.com/developers/topics/rate-limits
"""

import heapq
import math
import random
from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

from bench.fleet_people import DAY, HOUR, MINUTE, NEVER, SECOND

PER_SECOND = 50
# The list route, as measured by several libraries; not documented.
PER_PERSON = SECOND
INVALID_REQUESTS, INVALID_WINDOW = 10_000, 10 * MINUTE
# Reported are an hour and a day; the shorter is the kinder to who is banned.
BAN = HOUR
FASTEST, SLOWEST = SECOND // 10, 3 * SECOND // 10
# A Cloudflare block may name no wait; a minute is what clients assume then.
UNNAMED_WAIT = MINUTE


@dataclass(frozen=True, slots=True)
class Weather:
    """Discord's bad hours: in the outage half the answers are 503 and half never come; the limit is for the site."""

    outage: tuple[int, int] = (11 * HOUR, 12 * HOUR)
    limit: tuple[int, int] = (16 * HOUR, 16 * HOUR + 5 * MINUTE)


class Answer(NamedTuple):
    """What came at the moment `at`; `status` is None for silence, `retry_after` in seconds as the header has it."""

    at: int
    status: int | None
    scope: str | None = None
    retry_after: float | None = None

    @property
    def limits_everybody(self) -> bool:
        return self.scope in ("global", "cloudflare")


@dataclass(slots=True)
class Obedience:
    """Whether a site that was told to wait waits, judged from the wire alone.

    After an answer that limits the whole site nothing may be sent until its time is over, then one request, and the
    others only once that one was answered. What was on the wire before the answer came is nobody's fault.
    """

    disobeyed: int = 0
    _limited: bool = False
    _until: int = NEVER
    _probe_ends: int = NEVER
    _coming: list[tuple[int, int]] = field(default_factory=list)

    def sent(self, at: int, answer: Answer) -> None:
        self._learn(at)
        probes = self._limited and at >= max(self._until, self._probe_ends)
        if probes:
            self._probe_ends = answer.at
        elif self._limited:
            self.disobeyed += 1
        if answer.limits_everybody:
            wait = UNNAMED_WAIT if answer.retry_after is None else int(answer.retry_after * SECOND)
            heapq.heappush(self._coming, (answer.at, answer.at + wait))
        elif probes and answer.status is not None and answer.status < 500:
            heapq.heappush(self._coming, (answer.at, NEVER))

    def _learn(self, now: int) -> None:
        while self._coming and self._coming[0][0] <= now:
            _, until = heapq.heappop(self._coming)
            self._limited = until != NEVER
            self._until = max(self._until, until)


class Discord:
    """What one site meets there. `send` must be called in order of time."""

    def __init__(self, people: int, seed: int, weather: Weather) -> None:
        self.weather = weather
        self.requests = self.rate_limited = self.bans = self.busiest_second = 0
        self.per_minute = [0] * (DAY // MINUTE)
        self.obedience = Obedience()
        self._random = random.Random(seed)
        self._last = [NEVER] * people
        self._second: deque[int] = deque()
        self._accepted: deque[int] = deque(maxlen=PER_SECOND)
        self._invalid: deque[int] = deque()
        self._banned_until = NEVER

    def send(self, person: int, at: int, patience: int) -> Answer:
        """The answer to one request for the list; silence lasts as long as the sender's `patience`."""
        answer = self._answer(person, at, patience)
        self._count(at)
        if answer.status == 429:
            self.rate_limited += 1
            if answer.scope != "cloudflare":
                self._count_invalid(at)
        self.obedience.sent(at, answer)
        return answer

    def _answer(self, person: int, at: int, patience: int) -> Answer:
        arrives = at + FASTEST + int(self._random.random() * (SLOWEST - FASTEST))
        if at < self._banned_until:
            return Answer(arrives, 429, "cloudflare")
        if self.weather.outage[0] <= at < self.weather.outage[1]:
            return Answer(arrives, 503) if self._random.random() < 0.5 else Answer(at + patience, None)
        if self.weather.limit[0] <= at < self.weather.limit[1]:
            return Answer(arrives, 429, "global", _whole_seconds(self.weather.limit[1] - at))
        if len(self._accepted) == PER_SECOND and at - self._accepted[0] < SECOND:
            return Answer(arrives, 429, "global", 1.0)
        self._accepted.append(at)
        if at - self._last[person] < PER_PERSON:
            return Answer(arrives, 429, "user", _whole_seconds(self._last[person] + PER_PERSON - at))
        self._last[person] = at
        return Answer(arrives, 200)

    def _count(self, at: int) -> None:
        self.requests += 1
        self.per_minute[min(at // MINUTE, len(self.per_minute) - 1)] += 1
        self._second.append(at)
        while at - self._second[0] >= SECOND:
            self._second.popleft()
        self.busiest_second = max(self.busiest_second, len(self._second))

    def _count_invalid(self, at: int) -> None:
        self._invalid.append(at)
        while at - self._invalid[0] >= INVALID_WINDOW:
            self._invalid.popleft()
        if len(self._invalid) >= INVALID_REQUESTS:
            self.bans += 1
            self._banned_until = at + BAN
            self._invalid.clear()


def _whole_seconds(wait: int) -> float:
    """As the header has it: rounded up."""
    return float(math.ceil(wait / SECOND))
