"""This site's strategy, simulated with its own rule, gate and settings.

`decide`, `retry_pause`, `refresh_moment` and the methods of `Gate` are the site's own. The replacements for rows,
threads and sockets follow `policy.read`, `refresh.store`, `gate.gated` and the client's retries step by step. A day
without crashes and refused tokens doesn't need generations, token refreshes and limits on threads, so they are left
out. The sweep doesn't run either: every request is caused by a read.
"""

import random
from abc import ABC, abstractmethod
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Generic, TypeVar

from django.conf import settings

from accounts import gate
from accounts.limits import INVALID_REQUEST_WINDOW, OPEN, Gate, GateShut, Priority
from bench.fleet.discord import Discord, Response
from bench.fleet.peers import Events
from bench.fleet.people import NEVER, SECOND, Population
from bench.fleet.tally import Tally
from guilds.engine.freshness import Decision, Reason, Wait, Windows, decide, refresh_moment, retry_pause, soft_wait_left
from guilds.engine.refresh import MIN_PAUSE, Failed
from guilds.resources.guild_list import GUILD_LIST

MIDNIGHT = datetime(2026, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

# The key of a record.
K = TypeVar("K")
# What a reader goes on to, with the time at which they are served.
Then = Callable[[int], None] | None


def moment(at: int) -> datetime:
    return MIDNIGHT + timedelta(microseconds=at)


@dataclass(slots=True)
class Row:
    """The fields of a person's verification that the rule reads, and the failure streak for the next pause."""

    verified_at: datetime | None = None
    refresh_after: datetime | None = None
    not_before: datetime | None = None
    reason: str = ""
    lease_until: datetime | None = None
    silent_at: datetime | None = None
    # The simulation has no probes of a silence: its crowd always has someone whose wait is over.
    silent_since: datetime | None = None
    recovered_at: datetime | None = None
    probe_after: datetime | None = None
    failure_streak: int = 0


def is_fresh(row: Row, now: datetime) -> bool:
    """Whether `decide` would serve the list as fresh without a request: a shortcut for most views.

    `refresh_after` is set only with a list, and never later than the end of its freshness. There are no refusals here.
    """
    return row.refresh_after is not None and now < row.refresh_after


@dataclass(slots=True)
class Reader:
    """A reader who waits for an attempt: since when, until when, and what they go on to if they are served."""

    since: int
    until: int
    then: Then


@dataclass(slots=True)
class Job(Generic[K]):
    """One attempt for one record: a claim, its requests, and the waiting readers."""

    key: K
    claimed_at: int
    deadline: int
    priority: Priority
    attempts: int = 0
    readers: list[Reader] = field(default_factory=list)


class Gatekeeper:
    """The gate and the brake, which all requests of the site pass."""

    def __init__(self) -> None:
        self.gate: Gate = OPEN
        self.refusals: deque[datetime] = deque(maxlen=settings.DISCORD_BRAKE_HARD)
        self._send_rate: int = settings.DISCORD_SEND_RATE
        self._lease = gate.attempt_lease()
        self._brake = dict.fromkeys(Priority, settings.DISCORD_BRAKE_SOFT)
        self._brake[Priority.COLD] = settings.DISCORD_BRAKE_HARD

    # gate.closed, gate.braked_until

    def closed(self, priority: Priority, now: datetime) -> GateShut | None:
        if shut := self.gate.shut_until(now):
            return GateShut(Reason(self.gate.reason), shut, now)
        if braked := self.braked_until(priority, now):
            return GateShut(Reason.BRAKE, braked, now)
        return None

    def braked_until(self, priority: Priority, now: datetime) -> datetime | None:
        """Return when the oldest refusal that keeps the brake engaged leaves the sliding window."""
        limit = self._brake[priority]
        if len(self.refusals) < limit or self.refusals[-limit] <= now - INVALID_REQUEST_WINDOW:
            return None
        return self.refusals[-limit] + INVALID_REQUEST_WINDOW

    def admit(self, priority: Priority, now: datetime) -> datetime | None:
        """Let a request pass and return the lease of the probe if it is one. Raises `GateShut`."""
        self.gate = self.gate.admit(priority, now, rate=self._send_rate, lease=self._lease)
        return self.gate.until if self.gate.streak else None

    def learn(self, now: datetime, response: Response, probe: datetime | None) -> None:
        """As gate.learn and gate.note_silence do."""
        if response.status == 200:
            self.gate = self.gate.answered(now)
        elif response.status is None or response.status >= 500:
            self.gate = self.gate.silenced(now)
        if response.status == 429:
            self.refusals.append(now)
        if response.limits_site:
            reason = Reason.GLOBAL_LIMIT if response.scope == "global" else Reason.CLOUDFLARE
            self.gate = self.gate.shut(reason, response.wait, now, probe=probe)
        elif probe is not None and response.status is not None and response.status < 500:
            self.gate = self.gate.opened(probe)


class Engine(ABC, Generic[K]):
    """The freshness engine for one resource, with unlimited processes on one database.

    `requests` and `rate_limited` count what was sent to Discord for this resource, and its responses with 429.
    """

    def __init__(self, gatekeeper: Gatekeeper, windows: Windows, tally: Tally, events: Events, seed: int) -> None:
        self.gatekeeper, self.tally, self.events = gatekeeper, tally, events
        self.requests = self.rate_limited = 0
        self._random = random.Random(seed)
        self._windows = windows
        self._budget = gate.attempt_budget() // MICROSECOND
        self._timeout = settings.DISCORD_REQUEST_TIMEOUT_MS * (SECOND // 1000)
        self._jobs: dict[K, Job[K]] = {}
        self._rows: dict[K, Row] = defaultdict(Row)

    # The resource

    @abstractmethod
    def _refresh_at(self, key: K) -> float:
        """`Resource.refresh_at`."""

    @abstractmethod
    def _ask(self, key: K, at: int, timeout: int) -> Response:
        """Send one request."""

    def _held_until(self, key: K, now: datetime, priority: Priority) -> datetime | None:
        """`Resource.held_until`."""
        return None

    def _take(self, key: K, now: datetime) -> None:
        """What `allowance.limited` does before a request. Raises `GateShut`."""

    def _limited(self, key: K, response: Response, now: datetime) -> None:
        """What `allowance.limited` does after a 429 that concerns the owner of the limit alone."""

    # policy.read: decide, act, and decide again on the result.

    def read(self, at: int, key: K, then: Then = None) -> None:
        """Handle one view, and call `then` with the time at which it is served, unless it is refused.

        A reader whose soft wait ends goes on only when the attempt has ended too.
        """
        row, now = self._rows[key], moment(at)
        if not is_fresh(row, now):
            self._read(at, key, at, then)
            return
        self.tally.served(_age(row, now))
        if then:
            then(at)

    def _read(self, at: int, key: K, since: int, then: Then) -> None:
        row, now = self._rows[key], moment(at)
        while True:
            row.recovered_at = self.gatekeeper.gate.recovered_at
            decision = decide(row, now, self._windows)
            if decision.claim:
                started = self._start(at, key, decision)
                if started is None:
                    continue
                decision = started
            if not decision.ask or decision.wait is Wait.NONE:
                break
            until = since + self._budget
            if decision.wait is Wait.SOFT:
                left = soft_wait_left(decision.until, now, self._windows)
                until = min(until, at + left // MICROSECOND)
            if until <= at:
                break
            self._jobs[key].readers.append(Reader(since, until, then))
            return
        if self._serve(row, decision, at, since) and then:
            then(at)

    def _start(self, at: int, key: K, decision: Decision) -> Decision | None:
        """Start an attempt and return the changed decision; None if it ended before it could send."""
        now = moment(at)
        blocks: list[tuple[datetime, Reason]] = []
        if shut := self.gatekeeper.closed(decision.priority, now):
            blocks.append((shut.until, shut.reason))
        if held := self._held_until(key, now, decision.priority):
            blocks.append((held, Reason.RATE_LIMITED))
        if blocks:
            until, reason = max(blocks)
            return decision.not_now(reason, until)
        lease_until = self._claim(at, key, decision)
        return decision.under_way(lease_until) if key in self._jobs else None

    def _serve(self, row: Row, decision: Decision, at: int, since: int) -> bool:
        """Count the view, and return whether it was served."""
        if decision.serve:
            self.tally.served(_age(row, moment(at)), at - since)
        else:
            self.tally.error(since, at - since)
        return decision.serve

    # refresh.claim, refresh.ask, allowance.limited, gate.gated, the client's retries

    def _claim(self, at: int, key: K, decision: Decision) -> datetime:
        lease_until = self._rows[key].lease_until = moment(at) + self._windows.lease
        job = self._jobs[key] = Job(key, at, at + self._budget, decision.priority)
        self._begin(at, job)
        return lease_until

    def _begin(self, at: int, job: Job[K]) -> None:
        """Begin a request: it takes from the allowance once, however long it then waits at the gate."""
        try:
            self._take(job.key, moment(at))
        except GateShut as shut:
            return self._store(at, job, Failed(shut.reason, shut.retry_after, sent=job.attempts > 0))
        return self._send(at, job)

    def _send(self, at: int, job: Job[K]) -> None:
        now = moment(at)
        if at >= job.deadline:
            return self._store(at, job, Failed(Reason.UNAVAILABLE))
        if braked := self.gatekeeper.braked_until(job.priority, now):
            return self._store(at, job, Failed(Reason.BRAKE, (braked - now).total_seconds(), sent=job.attempts > 0))
        try:
            probe = self.gatekeeper.admit(job.priority, now)
        except GateShut as shut:
            turn = at + _microseconds(shut.retry_after)
            if shut.reason is not Reason.BUSY or not job.priority.is_first_list or turn >= job.deadline:
                return self._store(at, job, Failed(shut.reason, shut.retry_after, sent=job.attempts > 0))
            return self.events.plan(turn, self._send, job)
        response = self._ask(job.key, at, min(self._timeout, job.deadline - at))
        job.attempts += 1
        self.requests += 1
        return self.events.plan(response.at, self._answered, job, response, probe)

    def _answered(self, at: int, job: Job[K], response: Response, probe: datetime | None) -> None:
        self.gatekeeper.learn(moment(at), response, probe)
        if response.status == 200:
            return self._store(at, job, None)
        if response.status != 429:
            return self._store(at, job, Failed(Reason.UNAVAILABLE))
        self.rate_limited += 1
        if response.scope == "user":
            self._limited(job.key, response, moment(at))
        # A response that names no wait is a Cloudflare block, which is not retried.
        if response.retry_after is not None and job.attempts <= settings.DISCORD_API_MAX_RETRIES:
            again = at + _microseconds(response.retry_after + self._random.uniform(0.05, 0.25))
            if again < job.deadline:
                return self.events.plan(again, self._begin, job)
        reason = Reason.of_limit(response.scope)
        return self._store(at, job, Failed(reason, response.retry_after))

    # refresh.store

    def _store(self, at: int, job: Job[K], failed: Failed | None) -> None:
        row, now = self._rows[job.key], moment(at)
        left = [reader for reader in job.readers if reader.until <= at]
        # Nothing changed since these readers stopped waiting, so they can be served now as they were then.
        served = [
            self._serve(row, decide(row, moment(reader.until), self._windows), reader.until, reader.since)
            for reader in left
        ]
        if failed is None:
            self._verify(row, job.claimed_at, self._refresh_at(job.key))
        else:
            self._fail(row, failed, now)
        row.lease_until = None
        del self._jobs[job.key]
        for reader, is_served in zip(left, served, strict=True):
            if is_served and reader.then:
                reader.then(at)
        for reader in job.readers:
            if reader.until > at:
                self._read(at, job.key, reader.since, reader.then)

    def _verify(self, row: Row, at: int, refresh_at: float) -> None:
        row.verified_at = moment(at)
        jitter = self._random.uniform(0.9, 1.1)
        row.refresh_after = refresh_moment(row.verified_at, self._windows, refresh_at, jitter)
        row.not_before, row.reason, row.failure_streak = None, "", 0

    def _fail(self, row: Row, failed: Failed, now: datetime) -> None:
        row.reason, row.silent_at = failed.reason, now if failed.is_silence else None
        if failed.sent:
            jitter = self._random.uniform(1, 1.25)
            row.not_before = now + retry_pause(row.failure_streak, failed.retry_after, jitter)
            row.failure_streak += 1
        else:
            row.not_before = now + max(timedelta(seconds=failed.retry_after or 0), MIN_PAUSE)


class Guildhall(Engine[int]):
    """The site's lists; the key of a record is the person."""

    def __init__(self, population: Population, discord: Discord, tally: Tally, events: Events, seed: int) -> None:
        super().__init__(Gatekeeper(), GUILD_LIST.windows(), tally, events, seed)
        self.discord = discord
        for person, verified in enumerate(population.verified.tolist()):
            row = self._rows[person]
            if verified != NEVER:
                self._verify(row, verified, self._refresh_at(person))

    def _refresh_at(self, key: int) -> float:
        share: float = settings.DISCORD_REFRESH_AT
        return share

    def _ask(self, key: int, at: int, timeout: int) -> Response:
        return self.discord.send(key, at, timeout)


def _age(row: Row, now: datetime) -> int:
    assert row.verified_at is not None
    return (now - row.verified_at) // MICROSECOND


def _microseconds(seconds: float) -> int:
    """Convert to microseconds, rounded up, so that no wait ends early."""
    return -int(-seconds * SECOND // 1)
