"""How the site stands with Discord: the facts, read from the database. `report` puts them into words.

Counted in SQL, in the database's time. Looking never asks Discord.
"""

import math
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db.models import Count, Max, Min, Q, Sum

from accounts import brake, gate, tokens
from accounts.limits import INVALID_REQUEST_WINDOW, REFUSAL_RETENTION, Gate, Priority
from accounts.models import DiscordRefusal
from guilds.engine.freshness import Reason, Tier, wait_end
from guilds.engine.resource import Resource
from guilds.models import GuildListVerification, JobRun, ServingMinute
from guilds.operations import schedule
from guilds.operations.verdict import WINDOW, Facts, ServedCounts
from guilds.resources import ALL
from guilds.resources.bot_guilds import ALL_GUILDS, BOT_GUILDS
from guilds.resources.guild_list import GUILD_LIST

LATEST = 5
SITE_CREDENTIALS = ("client", "redirect_uri", "bot")


@dataclass(frozen=True, slots=True)
class GateStatus:
    """`open`, `shut`, or `probing`: the time is over, and the next call is the one that tests it."""

    state: str
    reason: str | None
    until: datetime | None
    streak: int


@dataclass(frozen=True, slots=True)
class BudgetStatus:
    """How many requests a second may go, and how many the send clock is ahead by."""

    rate: int
    backlog: int
    backlog_seconds: float

    @property
    def is_used_up(self) -> bool:
        """Whether only people without a list can send: the clock is ahead by more than others tolerate."""
        return self.backlog_seconds > Priority.STALE.value.total_seconds()


@dataclass(frozen=True, slots=True)
class OldestLease:
    user_id: int
    username: str
    generation: int
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class LeaseStatus:
    """`live` refreshes of lists run; `overdue` ones did not end in time, because their process died or hangs."""

    live: int
    overdue: int
    oldest: OldestLease | None


@dataclass(frozen=True, slots=True)
class ResourceStatus:
    """How many records of a resource are in which state; each is counted once, refused before all else.

    `failed` are those whose last attempt failed, whatever their state. `live` and `overdue` are as in `LeaseStatus`.
    """

    total: int
    fresh: int
    due: int
    stale: int
    expired: int
    never_verified: int
    refused: int
    failed: int
    live: int
    overdue: int
    last_verified_at: datetime | None


@dataclass(frozen=True, slots=True)
class Failure:
    """How many people's last attempt failed for `reason`; `waiting` of them may not be asked for before a moment,
    the first at `next_attempt_at`."""

    reason: str
    people: int
    waiting: int
    next_attempt_at: datetime | None

    @property
    def is_refusal(self) -> bool:
        return self.reason in {reason for reason in Reason if reason.is_refusal}


@dataclass(frozen=True, slots=True)
class RefusedRequest:
    at: datetime
    status: int
    reason: str


@dataclass(frozen=True, slots=True)
class BotStatus:
    """When the stored list of the bot's servers was requested; None before the first. `reason` says why the last
    attempt failed; empty if it succeeded. `next_attempt_at` is the end of its own wait; None if that is over."""

    verified_at: datetime | None
    reason: str
    next_attempt_at: datetime | None


@dataclass(frozen=True, slots=True)
class JobStatus:
    """A scheduled job's last finished run and last success; None for what never was."""

    command: str
    started_at: datetime | None = None
    finished_at: datetime | None = None
    succeeded: bool | None = None
    succeeded_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """`misconfigured` is one sentence about settings that don't fit the database; None if they do. `silent_since` is
    the first request that got no response from Discord since its last good one. `resources` has those that the site has
    the credentials for, by name."""

    now: datetime
    facts: Facts
    misconfigured: str | None
    gate: GateStatus
    silent_since: datetime | None
    brake: brake.BrakeStatus
    budget: BudgetStatus
    leases: LeaseStatus
    resources: dict[str, ResourceStatus]
    failures: tuple[Failure, ...]
    latest_refusals: tuple[RefusedRequest, ...]
    site_refusals: tuple[RefusedRequest, ...]
    bot: BotStatus | None
    jobs: tuple[JobStatus, ...]

    @property
    def lists(self) -> ResourceStatus:
        return self.resources[GUILD_LIST.name]

    @property
    def site_refused(self) -> RefusedRequest | None:
        """The latest refusal of the site's own credentials in the brake's window."""
        return _refused_now(self.site_refusals, self.now)


def read() -> Status:
    state, now = gate.read()
    resources = {resource.name: _records(resource, now) for resource in ALL if resource.is_enabled()}
    lists = resources[GUILD_LIST.name]
    braked, problem, site_refusals = brake.read(now), misconfigured(state), _site_refusals(now)
    return Status(
        now=now,
        facts=_facts(state, now, braked.until, problem, site_refusals),
        misconfigured=problem,
        gate=_gate(state, now),
        silent_since=state.silent_since,
        brake=braked,
        budget=_budget(state, now),
        leases=LeaseStatus(lists.live, lists.overdue, _oldest_lease() if lists.live else None),
        resources=resources,
        failures=_failures(now),
        latest_refusals=tuple(
            RefusedRequest(*row)
            for row in DiscordRefusal.objects.order_by("-at").values_list("at", "status", "reason")[:LATEST]
        ),
        site_refusals=site_refusals,
        bot=_bot() if settings.DISCORD_BOT_TOKEN else None,
        jobs=read_jobs(),
    )


def read_facts(state: Gate, now: datetime) -> Facts:
    """What the verdict rests on, in a few small queries; `state` is the gate as it was read at `now`."""
    return _facts(state, now, gate.braked_until(Priority.DUE, now), misconfigured(state), _site_refusals(now))


def _facts(
    state: Gate, now: datetime, braked_until: datetime | None, problem: str | None, refusals: tuple[RefusedRequest, ...]
) -> Facts:
    served, since = _served(now), now - WINDOW
    silent_since, ends = state.silent_since, (state.recovered_at, state.until if state.streak else None)
    return Facts(
        served=served,
        is_misconfigured=bool(problem or _refused_now(refusals, now)),
        is_limited=bool(state.shut_until(now) or braked_until),
        # A silence that no request has met since is over.
        is_silent=silent_since is not None and (silent_since > since or served.silences > 0),
        is_unusable=_is_unusable(since),
        has_recovered=any(end and since < end <= now for end in ends),
    )


def _is_unusable(since: datetime) -> bool:
    """Whether replies that this site can't use are all that Discord sent lately when it was asked for a list."""
    rows = GuildListVerification.objects
    unusable = rows.filter(reason=Reason.UNUSABLE, not_before__gt=since)
    return unusable.exists() and not rows.filter(verified_at__gt=since).exists()


def read_jobs() -> tuple[JobStatus, ...]:
    """Each scheduled job of this site, whether it ever ran or not."""
    names = [field.name for field in fields(JobStatus)]
    found = {row["command"]: JobStatus(**row) for row in JobRun.objects.values(*names)}
    return tuple(found.get(command) or JobStatus(command) for command in schedule.jobs())


def _served(now: datetime) -> ServedCounts:
    """The sums of `WINDOW`. A process writes once in `SERVING_FLUSH_SECONDS`, so its last minute may be missing."""
    names = [field.name for field in fields(ServedCounts)]
    minutes = ServingMinute.objects.filter(minute__gt=now - WINDOW, minute__lte=now)
    return ServedCounts(**minutes.aggregate(**{name: Sum(name, default=0) for name in names}))


def _refused_now(refusals: tuple[RefusedRequest, ...], now: datetime) -> RefusedRequest | None:
    """The latest of the refusals, if it is in the brake's window."""
    latest = max(refusals, key=lambda refusal: refusal.at, default=None)
    return latest if latest and latest.at > now - INVALID_REQUEST_WINDOW else None


def misconfigured(state: Gate) -> str | None:
    """Why Discord can't be asked, in one sentence, if the settings don't fit the database; else None."""
    if problem := gate.foreign_issuer(state):
        return problem
    if not (unreadable := tokens.count_unreadable()):
        return None
    return (
        f"TOKEN_KEYS can't decrypt the Discord tokens of {unreadable} of the latest {tokens.SAMPLE} people. Restore "
        "the keys that encrypted them and restart. Until then, stale lists are served. If the keys are lost, these "
        "people have to sign in again."
    )


def _site_refusals(now: datetime) -> tuple[RefusedRequest, ...]:
    """The latest refusal of each of the site's credentials, as long as refusals are retained."""
    kept = DiscordRefusal.objects.filter(at__gt=now - REFUSAL_RETENTION, reason__in=SITE_CREDENTIALS)
    rows = kept.values("reason").annotate(latest=Max("at"), status=Max("status")).order_by("reason")
    return tuple(RefusedRequest(row["latest"], row["status"], row["reason"]) for row in rows)


def _gate(state: Gate, now: datetime) -> GateStatus:
    if not state.streak:
        return GateStatus("open", None, None, 0)
    return GateStatus("shut" if state.shut_until(now) else "probing", state.reason, state.until, state.streak)


def _budget(state: Gate, now: datetime) -> BudgetStatus:
    ahead = state.ahead(now).total_seconds()
    rate = settings.DISCORD_SEND_RATE
    return BudgetStatus(rate, math.ceil(round(ahead * rate, 3)), round(ahead, 3))


def _records(resource: Resource[Any, Any], now: datetime) -> ResourceStatus:
    """The resource's records by state, and the leases among them: all of it in one pass."""
    model = resource.model
    live = model.running()
    by_state = {state: Count("pk", filter=where) for state, where in model.states(now).items()}
    counts = model._default_manager.aggregate(
        **by_state,
        total=Count("pk"),
        failed=Count("pk", filter=~Q(reason="")),
        live=Count("pk", filter=live),
        overdue=Count("pk", filter=Q(lease_until__isnull=False) & ~live),
        last_verified_at=Max("verified_at"),
    )
    return ResourceStatus(never_verified=counts.pop(str(Tier.NONE)), **counts)


def _bot() -> BotStatus:
    found = BOT_GUILDS.find(ALL_GUILDS)
    if found is None:
        return BotStatus(None, "", None)
    record, now = found
    return BotStatus(record.verified_at, record.reason, wait_end(record, now))


def _oldest_lease() -> OldestLease | None:
    rows = (
        GuildListVerification.objects.filter(GuildListVerification.running())
        .select_related("user")
        .order_by("lease_until")
    )
    row = rows.first()
    if row is None or row.lease_until is None:
        return None
    since = row.lease_until - GUILD_LIST.windows().lease
    return OldestLease(row.pk, str(row.user), row.generation, since, row.lease_until)


def _failures(now: datetime) -> tuple[Failure, ...]:
    waiting = GuildListVerification.pausing(now)
    rows = (
        GuildListVerification.objects.exclude(reason="")
        .values("reason")
        .annotate(
            people=Count("pk"),
            waiting=Count("pk", filter=waiting),
            next_attempt_at=Min("not_before", filter=waiting),
        )
        .order_by("-waiting", "-people", "reason")
    )
    return tuple(Failure(**row) for row in rows)
