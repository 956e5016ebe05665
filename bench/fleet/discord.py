"""The fleet's model of Discord: its limits and outages, on a virtual clock.

It follows Discord's documentation, and measurements of others for what is undocumented:
https://docs.discord.com/developers/topics/rate-limits
"""

import heapq
import math
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import NamedTuple

from bench.fleet.people import DAY, HOUR, MINUTE, NEVER, SECOND
from sandbox.limits import Bucket, Limits

PER_SECOND = 50
# The limit of the list route, measured by several libraries; undocumented.
PER_PERSON = SECOND
# The limit of the bot's requests for members of one guild, as an old version of hata has it; undocumented too.
PER_GUILD = 5
INVALID_REQUESTS, INVALID_WINDOW = 10_000, 10 * MINUTE
# Reports say an hour to a day; this is the shortest.
BAN = HOUR
FASTEST, SLOWEST = SECOND // 10, 3 * SECOND // 10
# A Cloudflare block may name no wait; a minute is what clients assume then.
UNNAMED_WAIT = MINUTE


@dataclass(frozen=True, slots=True)
class Weather:
    """Discord's failures. In the outage half of the requests get 503 and half no response; the limit is global."""

    outage: tuple[int, int] = (11 * HOUR, 12 * HOUR)
    limit: tuple[int, int] = (16 * HOUR, 16 * HOUR + 5 * MINUTE)


class Response(NamedTuple):
    """A response at the time `at`; `status` is None for no response, `retry_after` in seconds as in the header."""

    at: int
    status: int | None
    scope: str | None = None
    retry_after: float | None = None

    @property
    def wait(self) -> timedelta | None:
        return None if self.retry_after is None else timedelta(seconds=self.retry_after)

    @property
    def limits_site(self) -> bool:
        return self.scope in ("global", "cloudflare")


@dataclass(slots=True)
class WaitCompliance:
    """Whether a site obeys the waits that it was told, judged by its requests alone.

    After a response that limits the whole site, nothing may be sent until the wait is over; then one request, and the
    others only after its response. Requests that were in flight before the response arrived are no violations.
    """

    violations: int = 0
    _limited: bool = False
    _until: int = NEVER
    _probe_ends: int = NEVER
    _coming: list[tuple[int, int]] = field(default_factory=list)

    def sent(self, at: int, response: Response) -> None:
        self._learn(at)
        probes = self._limited and at >= max(self._until, self._probe_ends)
        if probes:
            self._probe_ends = response.at
        elif self._limited:
            self.violations += 1
        if response.limits_site:
            wait = UNNAMED_WAIT if response.retry_after is None else int(response.retry_after * SECOND)
            heapq.heappush(self._coming, (response.at, response.at + wait))
        elif probes and response.status is not None and response.status < 500:
            heapq.heappush(self._coming, (response.at, NEVER))

    def _learn(self, now: int) -> None:
        while self._coming and self._coming[0][0] <= now:
            _, until = heapq.heappop(self._coming)
            self._limited = until != NEVER
            self._until = max(self._until, until)


class Discord:
    """Discord as one site sees it. `send` must be called in order of time."""

    def __init__(self, people: int, seed: int, weather: Weather) -> None:
        self.weather = weather
        self.requests = self.rate_limited = self.bans = self.busiest_second = 0
        self.per_minute = [0] * (DAY // MINUTE)
        self.compliance = WaitCompliance()
        self._random = random.Random(seed)
        self._last = [NEVER] * people
        self._second: deque[int] = deque()
        self._accepted: deque[int] = deque(maxlen=PER_SECOND)
        self._invalid: deque[int] = deque()
        self._banned_until = NEVER
        self._members = Limits(per_guild=PER_GUILD)

    def send(self, person: int, at: int, timeout: int) -> Response:
        """Return the response to a list request; without one, `at` is when the sender's `timeout` ends."""
        return self._send(at, timeout, partial(self._wait_for_list, person))

    def send_member(self, person: int, at: int, timeout: int) -> Response:
        """Return the response to a request for one of a person's roles with their own token, as `send` does."""
        return self._send(at, timeout, lambda at: _wait_for(self._members.take_member(str(person), at / SECOND)))

    def send_bot_member(self, guild: int, at: int, timeout: int) -> Response:
        """Return the response to a request of the bot for a member of a guild, as `send` does."""
        return self._send(
            at, timeout, lambda at: _wait_for(self._members.take_guild("member", str(guild), at / SECOND))
        )

    def _send(self, at: int, timeout: int, wait_for: Callable[[int], int]) -> Response:
        response = self._respond(at, timeout, wait_for)
        self._count(at)
        if response.status == 429:
            self.rate_limited += 1
            if response.scope != "cloudflare":
                self._count_invalid(at)
        self.compliance.sent(at, response)
        return response

    def _respond(self, at: int, timeout: int, wait_for: Callable[[int], int]) -> Response:
        arrives = at + FASTEST + int(self._random.random() * (SLOWEST - FASTEST))
        if at < self._banned_until:
            return Response(arrives, 429, "cloudflare")
        if self.weather.outage[0] <= at < self.weather.outage[1]:
            return Response(arrives, 503) if self._random.random() < 0.5 else Response(at + timeout, None)
        if self.weather.limit[0] <= at < self.weather.limit[1]:
            return Response(arrives, 429, "global", _whole_seconds(self.weather.limit[1] - at))
        if len(self._accepted) == PER_SECOND and at - self._accepted[0] < SECOND:
            return Response(arrives, 429, "global", 1.0)
        self._accepted.append(at)
        if wait := wait_for(at):
            return Response(arrives, 429, "user", _whole_seconds(wait))
        return Response(arrives, 200)

    def _wait_for_list(self, person: int, at: int) -> int:
        """Take the request for the person's list and return 0, or return how long Discord still refuses it."""
        if at - self._last[person] < PER_PERSON:
            return self._last[person] + PER_PERSON - at
        self._last[person] = at
        return 0

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


def _wait_for(bucket: Bucket) -> int:
    return 0 if bucket.allowed else int(bucket.reset_after * SECOND)


def _whole_seconds(wait: int) -> float:
    """Return the wait as in the header: rounded up to whole seconds."""
    return float(math.ceil(wait / SECOND))
