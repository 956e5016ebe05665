"""The rules for sending requests to Discord: the gate, the send budget, allowances, and the reasons for not sending.

Pure: no I/O, no settings, no Django. `accounts.gate` and `accounts.allowance` apply these rules to the rows that all
processes share.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum, StrEnum

# https://discord.com/developers/docs/topics/rate-limits#invalid-request-limit-aka-cloudflare-bans
INVALID_REQUEST_WINDOW = timedelta(minutes=10)
REFUSAL_RETENTION = timedelta(days=1)
# The longest wait if Discord names none: a ban lasts an hour or a day, and an hourly probe is cheap.
MAX_UNNAMED_WAIT = timedelta(hours=1)
# Discord was silent if no request got a response for so long: as long as the first pause after a failure, so that
# single failures among good responses never count.
MIN_SILENCE = timedelta(seconds=30)
# While Discord is silent, one record's wait is cut short this often to find out whether it responds again.
SILENCE_PROBE_PAUSE = timedelta(seconds=5)
# A lease outlives the attempt it covers by this, so that the attempt's outcome can still be stored.
LEASE_MARGIN = timedelta(seconds=2)


def is_leased(until: datetime | None, now: datetime, lease: timedelta) -> bool:
    """Whether a lease of the length `lease` that ends at `until` is running at `now`.

    A lease with more time left than that has expired: it was written before the database's clock jumped back, and no
    process holds it. The margin allows for two statements that read the clock in a different order than they ran.
    """
    return until is not None and now < until <= now + lease + LEASE_MARGIN


class Reason(StrEnum):
    """Why no request was sent to Discord, or why it returned no list. The API and the database use these values."""

    RATE_LIMITED = "rate_limited"
    GLOBAL_LIMIT = "global_limit"
    CLOUDFLARE = "cloudflare"
    UNAVAILABLE = "unavailable"
    UNUSABLE = "unusable"
    SITE_REFUSED = "site_refused"
    BRAKE = "brake"
    BUSY = "busy"
    IN_PROGRESS = "in_progress"
    DATABASE = "database"
    MISCONFIGURED = "misconfigured"
    RECONNECT_REQUIRED = "reconnect_required"
    MISSING_SCOPE = "missing_scope"
    BOT_ABSENT = "bot_absent"

    @property
    def is_limit(self) -> bool:
        """Whether Discord limits us; the API then responds with 429, and with 503 for other failures."""
        return self in (Reason.RATE_LIMITED, Reason.GLOBAL_LIMIT, Reason.CLOUDFLARE)

    @property
    def is_refusal(self) -> bool:
        """Whether Discord refused access. A stored list is served after other failures, but never after a refusal."""
        return self in (Reason.RECONNECT_REQUIRED, Reason.MISSING_SCOPE, Reason.BOT_ABSENT)

    @classmethod
    def of_limit(cls, scope: str | None) -> "Reason":
        """Return the reason for a 429 with this scope, as in `X-RateLimit-Scope` or from the client."""
        return {"global": cls.GLOBAL_LIMIT, "cloudflare": cls.CLOUDFLARE}.get(scope or "", cls.RATE_LIMITED)


class Priority(Enum):
    """How far the send clock may run ahead for a request: people without a list take precedence.

    `SIGN_IN` is for exchanging an OAuth code from a browser. Anyone can invent a code, and only Discord can tell, so
    these requests come after those for people known to the site.
    """

    COLD = timedelta(seconds=1)
    STALE = timedelta(milliseconds=500)
    SIGN_IN = timedelta(milliseconds=250)
    DUE = timedelta(milliseconds=100)

    @property
    def is_first_list(self) -> bool:
        """Whether the person sees nothing until Discord responds. Such requests may wait and use the hard limit."""
        return self in (Priority.COLD, Priority.SIGN_IN)


# The largest priority, plus one request at the lowest rate, which is one per second.
MAX_AHEAD = max(priority.value for priority in Priority) + timedelta(seconds=1)


class GateShut(Exception):
    """A request was not sent; it can be retried at `until`.

    `reason` is GLOBAL_LIMIT, CLOUDFLARE, BRAKE, BUSY, MISCONFIGURED, or RATE_LIMITED if an allowance is used up.
    `retry_after` is in seconds, and `sent` is whether the same attempt had already sent a request.
    """

    def __init__(self, reason: Reason, until: datetime, now: datetime) -> None:
        super().__init__(f"not sent ({reason})")
        self.reason = reason
        self.until = until
        self.sent = False
        self.retry_after = max((until - now).total_seconds(), 0.0)


@dataclass(frozen=True, slots=True)
class Gate:
    """The gate as it was read. Its methods are the rules; they return the new gate.

    `reason` is the `Reason` as the row stores it, empty while the gate is open. `silent_since` is the first failure to
    get an answer since the last good answer; `recovered_at` is the good answer that last ended a silence.
    """

    until: datetime | None = None
    reason: str = ""
    streak: int = 0
    tat: datetime | None = None
    version: int = 0
    # The Discord that the database belongs to; empty until the first start.
    issuer: str = field(default="", compare=False)
    silent_since: datetime | None = None
    recovered_at: datetime | None = None

    def shut_until(self, now: datetime) -> datetime | None:
        """Return when the gate opens for a probe, or None if it is open or a probe may be sent."""
        return self.until if self.streak and self.until and self.until > now else None

    def ahead(self, now: datetime) -> timedelta:
        """Return how far the send clock is ahead of `now`: the backlog of the send budget.

        Zero if it is further ahead than any request can have set it, because the database's clock has jumped back.
        """
        ahead = self.tat - now if self.tat else timedelta(0)
        return ahead if timedelta(0) < ahead <= MAX_AHEAD else timedelta(0)

    def admit(self, priority: Priority, now: datetime, *, rate: int, lease: timedelta) -> "Gate":
        """Return the gate after a request at `now`, which is the probe if the gate's time is up. Raises `GateShut`."""
        if shut := self.shut_until(now):
            raise GateShut(Reason(self.reason), shut, now)
        tat = now + self.ahead(now)
        if tat > now + priority.value:
            raise GateShut(Reason.BUSY, tat - priority.value, now)
        after = replace(self, tat=tat + timedelta(seconds=1) / rate)
        return replace(after, until=now + lease) if self.streak else after

    def shut(self, reason: Reason, wait: timedelta | None, now: datetime, *, probe: datetime | None) -> "Gate":
        """Return the gate after Discord limited the whole installation for `wait`; None if Discord named no wait."""
        again = self.shut_until(now) is not None and self.until != probe
        streak = self.streak if again else self.streak + 1
        if wait is None:
            first = timedelta(seconds=60 if reason is Reason.CLOUDFLARE else 1)
            wait = min(first * 2 ** min(streak - 1, 16), MAX_UNNAMED_WAIT)
        until = now + wait
        if again and self.until:
            until = max(until, self.until)
        return replace(self, until=until, reason=reason, streak=streak)

    def opened(self, probe: datetime) -> "Gate":
        """Return the gate after a response to the probe whose lease ends at `probe`; unchanged for any other probe."""
        return replace(self, until=None, reason="", streak=0) if self.streak and self.until == probe else self

    def silenced(self, now: datetime) -> "Gate":
        """The gate after a request that Discord didn't answer, or answered with a 5xx."""
        return self if self.silent_since else replace(self, silent_since=now)

    def answered(self, now: datetime) -> "Gate":
        """The gate after a good answer; it ends a silence if nothing else was answered for `MIN_SILENCE`."""
        if self.silent_since is None:
            return self
        ended = now - self.silent_since >= MIN_SILENCE
        return replace(self, silent_since=None, recovered_at=now if ended else self.recovered_at)

    def restored(self, now: datetime) -> "Gate":
        """The gate of a database that was restored from a backup: only a wait that has not ended yet still counts."""
        if self.shut_until(now):
            return replace(self, tat=None, silent_since=None)
        return replace(self, until=None, reason="", streak=0, tat=None, silent_since=None)


OPEN = Gate()


@dataclass(frozen=True, slots=True)
class Kind:
    """A limit of Discord's that several requests of one owner share, such as a person's member requests in all guilds.

    At most `requests` may be sent in a `window`, which is longer than Discord's by `margin`: as long as a request may
    be on its way. If `requests` is None, only the waits that Discord names count.
    """

    name: str
    requests: int | None = None
    window: timedelta = timedelta(0)
    margin: timedelta = timedelta(0)


# How many requests of a window are left for more urgent ones. People without a stored answer may use them all.
RESERVED = {Priority.DUE: 2, Priority.STALE: 1}


@dataclass(frozen=True, slots=True)
class Allowance:
    """An owner's share of a limit, as it was read. Its methods are the rules; they return the new allowance.

    A window begins with its first request and ends at `window_ends_at`; `sent` counts its requests. `until` is the end
    of the last wait that Discord named.
    """

    window_ends_at: datetime | None = None
    sent: int = 0
    until: datetime | None = None
    version: int = 0

    def closed_until(self, kind: Kind, now: datetime, priority: Priority) -> datetime | None:
        """Return when a request of `priority` may be sent; None if it may be sent now."""
        ends = [self.until]
        if kind.requests is not None and self._is_running(kind, now):
            # Even the smallest allowance is enough to refresh a due answer.
            usable = max(kind.requests - RESERVED.get(priority, 0), 1)
            # Near its end, Discord may already count a request in a window of which the site would know nothing.
            is_ending = self.window_ends_at is not None and now >= self.window_ends_at - 2 * kind.margin
            ends.append(self.window_ends_at if self.sent >= usable or is_ending else None)
        return max((end for end in ends if end and end > now), default=None)

    def taken(self, kind: Kind, now: datetime) -> "Allowance":
        """Return the allowance after a request at `now`. Raises `GateShut` if none is left.

        Priorities don't matter here: whether a request is worth its place was decided before the attempt began.
        """
        if until := self.closed_until(kind, now, Priority.COLD):
            raise GateShut(Reason.RATE_LIMITED, until, now)
        if kind.requests is None:
            return self
        if self._is_running(kind, now):
            return replace(self, sent=self.sent + 1)
        return replace(self, window_ends_at=now + kind.window, sent=1)

    def limited(self, kind: Kind, wait: timedelta | None, now: datetime) -> "Allowance":
        """Return the allowance after a 429 that named `wait`, or None, which is then the whole window."""
        until = now + (kind.window if wait is None else wait)
        return replace(self, until=max(until, self.until or until))

    def _is_running(self, kind: Kind, now: datetime) -> bool:
        """Whether a window is running. One that ends too late was begun before the database's clock jumped back."""
        return is_leased(self.window_ends_at, now, kind.window)
