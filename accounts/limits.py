"""The rules for sending to Discord: what the gate and the send budget allow, and the reasons for not sending.

Pure: no I/O, no settings, no Django. `accounts.gate` applies these rules to the row that all processes share.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum, StrEnum

# https://discord.com/developers/docs/topics/rate-limits#invalid-request-limit-aka-cloudflare-bans
INVALID_REQUEST_WINDOW = timedelta(minutes=10)
REFUSAL_RETENTION = timedelta(days=1)
# A wait that Discord didn't name grows no longer: a ban lasts an hour or a day, and an hourly probe is cheap.
MAX_UNNAMED_WAIT = timedelta(hours=1)
# A lease outlives the attempt it covers by this, so that the attempt's outcome can still be stored.
LEASE_MARGIN = timedelta(seconds=2)


class Reason(StrEnum):
    """Why Discord was not asked, or gave no list; the API and the database use these words."""

    RATE_LIMITED = "rate_limited"
    GLOBAL_LIMIT = "global_limit"
    CLOUDFLARE = "cloudflare"
    UNAVAILABLE = "unavailable"
    BRAKE = "brake"
    BUSY = "busy"
    IN_PROGRESS = "in_progress"
    RECONNECT_REQUIRED = "reconnect_required"
    MISSING_SCOPE = "missing_scope"

    @property
    def is_limit(self) -> bool:
        """Whether Discord limits us: a 429 to the reader, where other silence is a 503."""
        return self in (Reason.RATE_LIMITED, Reason.GLOBAL_LIMIT, Reason.CLOUDFLARE)

    @property
    def is_refusal(self) -> bool:
        """Whether Discord said no. A stored list stands in for silence, never for a refusal."""
        return self in (Reason.RECONNECT_REQUIRED, Reason.MISSING_SCOPE)

    @classmethod
    def of_limit(cls, scope: str | None) -> "Reason":
        """The reason for a 429 of this scope, as Discord's `X-RateLimit-Scope` or the client names it."""
        return {"global": cls.GLOBAL_LIMIT, "cloudflare": cls.CLOUDFLARE}.get(scope or "", cls.RATE_LIMITED)


class Priority(Enum):
    """How far the send clock may run ahead for a request: people without a list go before those with an old one."""

    COLD = timedelta(seconds=1)
    STALE = timedelta(milliseconds=500)
    DUE = timedelta(milliseconds=100)


class GateShut(Exception):
    """A request was not sent: `reason` is GLOBAL_LIMIT, CLOUDFLARE, BRAKE or BUSY; retrying makes sense at `until`.

    `sent` says whether the same attempt had sent an earlier request.
    """

    def __init__(self, reason: Reason, until: datetime, now: datetime) -> None:
        super().__init__(f"not sent ({reason})")
        self.reason = reason
        self.until = until
        self.sent = False
        self.retry_after = max((until - now).total_seconds(), 0.0)


@dataclass(frozen=True, slots=True)
class Gate:
    """The gate as it was read; its methods are the rules and return the gate as it should become.

    `reason` is the `Reason` as the row stores it, empty while the gate is open.
    """

    until: datetime | None = None
    reason: str = ""
    streak: int = 0
    tat: datetime | None = None
    version: int = 0

    def shut_until(self, now: datetime) -> datetime | None:
        return self.until if self.streak and self.until and self.until > now else None

    def ahead(self, now: datetime) -> timedelta:
        """How far the send clock runs ahead of `now`: the backlog of the send budget."""
        return max(self.tat - now, timedelta(0)) if self.tat else timedelta(0)

    def admit(self, priority: Priority, now: datetime, *, rate: int, lease: timedelta) -> "Gate":
        """The gate after one send at `now`, which is the probe if the gate's time is over. Raises `GateShut`."""
        if shut := self.shut_until(now):
            raise GateShut(Reason(self.reason), shut, now)
        tat = max(self.tat or now, now)
        if tat > now + priority.value:
            raise GateShut(Reason.BUSY, tat - priority.value, now)
        after = replace(self, tat=tat + timedelta(seconds=1) / rate)
        return replace(after, until=now + lease) if self.streak else after

    def shut(self, reason: Reason, wait: timedelta | None, now: datetime, *, probe: datetime | None) -> "Gate":
        """The gate after Discord limited the whole installation for `wait`, or for a time it did not name."""
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
        """The gate after the probe whose lease ends at `probe` was answered; unchanged if the probe is another's."""
        return replace(self, until=None, reason="", streak=0) if self.streak and self.until == probe else self


OPEN = Gate()
