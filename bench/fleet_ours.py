"""This site's way, played with its own rule, its own gate and its own settings.

`decide`, `retry_pause`, `refresh_moment` and the methods of `Gate` are the site's, called and not copied. What stands
here instead of rows, threads and sockets follows `policy.read`, `refresh.store`, `gate.gated` and the client's
retries step by step. Left out, as a day without crashes and refused tokens doesn't need them: generations, token
refreshes, and the bounds on threads (as many web processes as it takes). The sweep doesn't run either: every request
here was caused by a read.
"""

import random
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from django.conf import settings

from accounts import gate
from accounts.limits import INVALID_REQUEST_WINDOW, OPEN, Gate, GateShut, Priority
from bench.fleet_discord import Answer, Discord
from bench.fleet_peers import Events
from bench.fleet_people import NEVER, SECOND, Population
from bench.fleet_tally import Tally
from guilds.engine.freshness import Decision, Reason, Wait, decide, refresh_moment, retry_pause, soft_wait_left
from guilds.engine.refresh import MIN_PAUSE, Failed
from guilds.resources.guild_list import GUILD_LIST

MIDNIGHT = datetime(2026, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def moment(at: int) -> datetime:
    return MIDNIGHT + timedelta(microseconds=at)


@dataclass(slots=True)
class Row:
    """What the rule reads of one person's verification, and the streak that the next pause depends on."""

    verified_at: datetime | None = None
    refresh_after: datetime | None = None
    not_before: datetime | None = None
    reason: str = ""
    lease_until: datetime | None = None
    failure_streak: int = 0


def is_fresh(row: Row, now: datetime) -> bool:
    """Whether `decide` would serve the list as fresh and ask nobody, told by one comparison: most views end here.

    `refresh_after` exists only with a list, and never lies beyond the end of fresh. There are no refusals here.
    """
    return row.refresh_after is not None and now < row.refresh_after


@dataclass(slots=True)
class Job:
    """One attempt for one person: a claim, its requests, and the readers who wait for its end."""

    person: int
    claimed_at: int
    deadline: int
    priority: Priority
    attempts: int = 0
    readers: list[tuple[int, int]] = field(default_factory=list)
    """(since, until): when the reader came, and how long the reader waits."""


class Guildhall:
    """The freshness engine, in as many processes as it takes, on one database."""

    def __init__(self, population: Population, discord: Discord, tally: Tally, events: Events, seed: int) -> None:
        self.discord, self.tally, self.events = discord, tally, events
        self.gate: Gate = OPEN
        self._random = random.Random(seed)
        self._windows = GUILD_LIST.windows()
        self._budget = gate.attempt_budget() // MICROSECOND
        self._patience = settings.DISCORD_REQUEST_TIMEOUT_MS * (SECOND // 1000)
        self._send_rate: int = settings.DISCORD_SEND_RATE
        self._brake = dict.fromkeys(Priority, settings.DISCORD_BRAKE_SOFT)
        self._brake[Priority.COLD] = settings.DISCORD_BRAKE_HARD
        self._refusals: deque[datetime] = deque(maxlen=settings.DISCORD_BRAKE_HARD)
        self._jobs: dict[int, Job] = {}
        self._rows = [self._as_left(verified) for verified in population.verified.tolist()]

    def _as_left(self, verified: int) -> Row:
        row = Row()
        if verified != NEVER:
            self._verify(row, verified)
        return row

    # policy.read: decide, act, and decide again on what came of it.

    def read(self, at: int, person: int) -> None:
        row, now = self._rows[person], moment(at)
        if is_fresh(row, now):
            self.tally.served(_age(row, now))
        else:
            self._read(at, person, at)

    def _read(self, at: int, person: int, since: int) -> None:
        row, now = self._rows[person], moment(at)
        while True:
            decision = decide(row, now, self._windows)
            if decision.claim:
                started = self._start(at, person, decision)
                if started is None:
                    continue
                decision = started
            if not decision.ask or decision.wait is Wait.NONE:
                return self._serve(row, decision, at, since)
            until = since + self._budget
            if decision.wait is Wait.SOFT:
                left = soft_wait_left(decision.until, now, self._windows)
                until = min(until, at + left // MICROSECOND)
            if until <= at:
                return self._serve(row, decision, at, since)
            self._jobs[person].readers.append((since, until))
            return None

    def _start(self, at: int, person: int, decision: Decision) -> Decision | None:
        """The changed decision; None if the attempt ended before it could send."""
        if shut := self._closed(decision.priority, moment(at)):
            return decision.not_now(shut.reason, shut.until)
        lease_until = self._claim(at, person, decision)
        return decision.under_way(lease_until) if person in self._jobs else None

    def _serve(self, row: Row, decision: Decision, at: int, since: int) -> None:
        if decision.serve:
            self.tally.served(_age(row, moment(at)), at - since)
        else:
            self.tally.error(since, at - since)

    # gate.closed, gate.braked_until

    def _closed(self, priority: Priority, now: datetime) -> GateShut | None:
        if shut := self.gate.shut_until(now):
            return GateShut(Reason(self.gate.reason), shut, now)
        if braked := self._braked_until(priority, now):
            return GateShut(Reason.BRAKE, braked, now)
        return None

    def _braked_until(self, priority: Priority, now: datetime) -> datetime | None:
        """The brake counts the sliding window by its oldest refusal that still presses."""
        limit = self._brake[priority]
        if len(self._refusals) < limit or self._refusals[-limit] <= now - INVALID_REQUEST_WINDOW:
            return None
        return self._refusals[-limit] + INVALID_REQUEST_WINDOW

    # refresh.claim, refresh.ask, gate.gated, the client's retries

    def _claim(self, at: int, person: int, decision: Decision) -> datetime:
        lease_until = self._rows[person].lease_until = moment(at) + self._windows.lease
        job = self._jobs[person] = Job(person, at, at + self._budget, decision.priority)
        self._send(at, job)
        return lease_until

    def _send(self, at: int, job: Job) -> None:
        now = moment(at)
        if at >= job.deadline:
            return self._store(at, job, Failed(Reason.UNAVAILABLE))
        if braked := self._braked_until(job.priority, now):
            return self._store(at, job, Failed(Reason.BRAKE, (braked - now).total_seconds(), sent=job.attempts > 0))
        try:
            self.gate = self.gate.admit(job.priority, now, rate=self._send_rate, lease=self._windows.lease)
        except GateShut as shut:
            turn = at + _microseconds(shut.retry_after)
            if shut.reason is not Reason.BUSY or job.priority is not Priority.COLD or turn >= job.deadline:
                return self._store(at, job, Failed(shut.reason, shut.retry_after, sent=job.attempts > 0))
            return self.events.plan(turn, self._send, job)
        probe = self.gate.until if self.gate.streak else None
        answer = self.discord.send(job.person, at, min(self._patience, job.deadline - at))
        job.attempts += 1
        return self.events.plan(answer.at, self._answered, job, answer, probe)

    def _answered(self, at: int, job: Job, answer: Answer, probe: datetime | None) -> None:
        self._learn(moment(at), answer, probe)
        if answer.status == 200:
            return self._store(at, job, None)
        if answer.status != 429:
            return self._store(at, job, Failed(Reason.UNAVAILABLE))
        # What names no wait is a block of Cloudflare's, which is not retried.
        if answer.retry_after is not None and job.attempts <= settings.DISCORD_API_MAX_RETRIES:
            again = at + _microseconds(answer.retry_after + self._random.uniform(0.05, 0.25))
            if again < job.deadline:
                return self.events.plan(again, self._send, job)
        reason = Reason.of_limit(answer.scope)
        return self._store(at, job, Failed(reason, answer.retry_after))

    def _learn(self, now: datetime, answer: Answer, probe: datetime | None) -> None:
        """As gate.learn does."""
        if answer.status == 429:
            self._refusals.append(now)
        if answer.limits_everybody:
            reason = Reason.GLOBAL_LIMIT if answer.scope == "global" else Reason.CLOUDFLARE
            wait = None if answer.retry_after is None else timedelta(seconds=answer.retry_after)
            self.gate = self.gate.shut(reason, wait, now, probe=probe)
        elif probe is not None and answer.status is not None and answer.status < 500:
            self.gate = self.gate.opened(probe)

    # refresh.store

    def _store(self, at: int, job: Job, failed: Failed | None) -> None:
        row, now = self._rows[job.person], moment(at)
        # Nothing changed since these gave up waiting, so they can be served now as they were then.
        for since, until in job.readers:
            if until <= at:
                self._serve(row, decide(row, moment(until), self._windows), until, since)
        if failed is None:
            self._verify(row, job.claimed_at)
        else:
            self._fail(row, failed, now)
        row.lease_until = None
        del self._jobs[job.person]
        for since, until in job.readers:
            if until > at:
                self._read(at, job.person, since)

    def _verify(self, row: Row, at: int) -> None:
        row.verified_at = moment(at)
        jitter = self._random.uniform(0.9, 1.1)
        row.refresh_after = refresh_moment(row.verified_at, self._windows, settings.DISCORD_REFRESH_AT, jitter)
        row.not_before, row.reason, row.failure_streak = None, "", 0

    def _fail(self, row: Row, failed: Failed, now: datetime) -> None:
        row.reason = failed.reason
        if failed.sent:
            jitter = self._random.uniform(1, 1.25)
            row.not_before = now + retry_pause(row.failure_streak, failed.retry_after, jitter)
            row.failure_streak += 1
        else:
            row.not_before = now + max(timedelta(seconds=failed.retry_after or 0), MIN_PAUSE)


def _age(row: Row, now: datetime) -> int:
    assert row.verified_at is not None
    return (now - row.verified_at) // MICROSECOND


def _microseconds(seconds: float) -> int:
    """Rounded up, so that nobody wakes before the moment that was named."""
    return -int(-seconds * SECOND // 1)
