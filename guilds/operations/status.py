"""How the site stands with Discord: one look at the database, for people and for programs.

Counted in SQL, in the database's time. Looking never asks Discord.
"""

import math
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db.models import Count, F, Min, Q

from accounts import brake, gate
from accounts.limits import Gate, Priority
from accounts.models import DiscordRefusal
from accounts.templatetags.durations import ago, span
from guilds.engine.freshness import Reason, Tier
from guilds.models import GuildListVerification
from guilds.resources.guild_list import GUILD_LIST

LATEST = 5
REFUSED = [reason for reason in Reason if reason.is_refusal]
# Behind it only people without a list may send: the clock is past what others tolerate.
BUSY_FROM = Priority.STALE.value


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


@dataclass(frozen=True, slots=True)
class Lease:
    user_id: int
    username: str
    generation: int
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class LeaseStatus:
    """`live` refreshes run; `overdue` ones were not ended in time, because their process died or hangs."""

    live: int
    overdue: int
    oldest: Lease | None


@dataclass(frozen=True, slots=True)
class ListStatus:
    """How many people's lists are in which state; each is counted once, refused before all else."""

    total: int
    fresh: int
    due: int
    stale: int
    expired: int
    never_verified: int
    refused: int
    last_verified_at: datetime | None


@dataclass(frozen=True, slots=True)
class Failure:
    """How many people's last attempt failed for `reason`; `waiting` of them may not be asked for before a moment,
    the first at `next_attempt_at`. `recent` ended no earlier than the last list that Discord gave anybody."""

    reason: str
    people: int
    waiting: int
    recent: int
    next_attempt_at: datetime | None


@dataclass(frozen=True, slots=True)
class Refusal:
    at: datetime
    status: int
    reason: str


@dataclass(frozen=True, slots=True)
class Status:
    now: datetime
    gate: GateStatus
    brake: brake.BrakeStatus
    budget: BudgetStatus
    leases: LeaseStatus
    lists: ListStatus
    failures: tuple[Failure, ...]
    latest_refusals: tuple[Refusal, ...]

    @property
    def silent(self) -> int:
        """For how many people Discord gave no usable answer, with no list for anybody since."""
        return sum(failure.recent for failure in self.failures if failure.reason == Reason.UNAVAILABLE)


def read() -> Status:
    state, now = gate.read()
    lists, live, overdue = _lists(now)
    return Status(
        now=now,
        gate=_gate(state, now),
        brake=brake.read(now),
        budget=_budget(state, now),
        leases=LeaseStatus(live, overdue, _oldest_lease(now) if live else None),
        lists=lists,
        failures=_failures(now, lists.last_verified_at),
        latest_refusals=tuple(
            Refusal(*row)
            for row in DiscordRefusal.objects.order_by("-at").values_list("at", "status", "reason")[:LATEST]
        ),
    )


def _gate(state: Gate, now: datetime) -> GateStatus:
    if not state.streak:
        return GateStatus("open", None, None, 0)
    return GateStatus("shut" if state.shut_until(now) else "probing", state.reason, state.until, state.streak)


def _budget(state: Gate, now: datetime) -> BudgetStatus:
    ahead = state.ahead(now).total_seconds()
    rate = settings.DISCORD_SEND_RATE
    return BudgetStatus(rate, math.ceil(round(ahead * rate, 3)), round(ahead, 3))


def tiers(now: datetime, path: str = "") -> dict[Tier, Q]:
    """The bounds of `freshness.tier`, for filtering and counting in SQL.

    `path` is the lookup prefix from the rows that are queried to the record, such as "user__guild_list_verification__".
    """
    windows = GUILD_LIST.windows()

    def where(column: str, value: datetime | None) -> Q:
        return Q(**{f"{path}{column}": value})

    fresh, not_fresh = where("verified_at__gt", now - windows.fresh), where("verified_at__lte", now - windows.fresh)
    served, expired = where("verified_at__gt", now - windows.stale), where("verified_at__lte", now - windows.stale)
    return {
        Tier.FRESH: fresh & (where("refresh_after", None) | where("refresh_after__gt", now)),
        Tier.DUE: fresh & where("refresh_after__lte", now),
        Tier.STALE: served & not_fresh,
        Tier.EXPIRED: expired,
        Tier.NONE: where("verified_at", None),
    }


def _lists(now: datetime) -> tuple[ListStatus, int, int]:
    """The lists by state, the live leases and the overdue ones: all of it in one pass."""
    refused = Q(reason__in=REFUSED)
    by_tier = {str(kind): Count("pk", filter=bounds & ~refused) for kind, bounds in tiers(now).items()}
    counts = GuildListVerification.objects.aggregate(
        **by_tier,
        total=Count("pk"),
        refused=Count("pk", filter=refused),
        live=Count("pk", filter=Q(lease_until__gt=now)),
        overdue=Count("pk", filter=Q(lease_until__lte=now)),
    )
    last = GuildListVerification.objects.order_by(F("verified_at").desc(nulls_last=True))
    live, overdue = counts.pop("live"), counts.pop("overdue")
    never = counts.pop(str(Tier.NONE))
    last_verified_at = last.values_list("verified_at", flat=True).first()
    return ListStatus(**counts, never_verified=never, last_verified_at=last_verified_at), live, overdue


def _oldest_lease(now: datetime) -> Lease | None:
    rows = GuildListVerification.objects.filter(lease_until__gt=now).select_related("user").order_by("lease_until")
    row = rows.first()
    if row is None or row.lease_until is None:
        return None
    since = row.lease_until - GUILD_LIST.windows().lease
    return Lease(row.pk, row.user.display_name, row.generation, since, row.lease_until)


def _failures(now: datetime, last_verified_at: datetime | None) -> tuple[Failure, ...]:
    waiting = Q(not_before__gt=now)
    recent = Q(not_before__gt=last_verified_at) if last_verified_at else Q(not_before__isnull=False)
    rows = (
        GuildListVerification.objects.exclude(reason="")
        .values("reason")
        .annotate(
            people=Count("pk"),
            waiting=Count("pk", filter=waiting),
            recent=Count("pk", filter=recent),
            next_attempt_at=Min("not_before", filter=waiting),
        )
        .order_by("-waiting", "-people", "reason")
    )
    return tuple(Failure(**row) for row in rows)


# In words

GATE_WORDS = {
    "global_limit": "Discord limits the whole site (a global 429)",
    "cloudflare": "Cloudflare, Discord's shield, blocks this site's address",
}
LIMITED = "stale lists are served; people without a list get 429."


def at(moment: datetime) -> str:
    return f"{moment:%H:%M:%S} UTC"


def in_words(moment: datetime, now: datetime) -> str:
    """A moment ahead, with its distance; the date too if it is another day's."""
    day = "" if moment.date() == now.date() else f"{moment:%Y-%m-%d} "
    return f"{day}{at(moment)} (in {span(max(math.ceil((moment - now).total_seconds()), 0))})"


def ago_in_words(moment: datetime, now: datetime) -> str:
    day = "" if moment.date() == now.date() else f"{moment:%Y-%m-%d} "
    return f"{day}{at(moment)} ({ago(max(int((now - moment).total_seconds()), 0))})"


def verdict(status: Status) -> tuple[str, str]:
    """The one thing an operator must know, as a name for programs and as words that say what to do."""
    shut, now = status.gate, status.now
    if shut.state == "shut" and shut.until:
        until = in_words(shut.until, now)
        if shut.reason == "cloudflare":
            return "gate_shut", (
                f"Cloudflare, Discord's shield, blocks this site's address until {until}: {LIMITED} Nothing to do now; "
                "if it comes back, find out what else sends requests from this address."
            )
        return "gate_shut", f"Discord limits the whole site until {until}: {LIMITED} Nothing to do."
    if status.brake.until:
        without = "; people without a list get 503" if status.brake.state == "hard" else ""
        return f"brake_{status.brake.state}", (
            f"{brake.state_in_words(status.brake, now)} It keeps Discord from banning this address. Stale lists are "
            f"served{without}. Find out why: below are the latest refusals, in the log the routes."
        )
    if shut.state == "probing":
        return "probing", "The limit of the whole site is over; the next request tests it. Nothing to do."
    if status.silent:
        last = status.lists.last_verified_at
        since = f" The last list it gave was at {ago_in_words(last, now)}." if last else ""
        return "discord_silent", (
            f"Discord gave no usable answer for {_people(status.silent)} lately.{since} Stale lists are served; people "
            "without a list get 503. The site asks again by itself; if it lasts, see discordstatus.com and the log "
            "(discord_unavailable, discord_refuses_client_credentials)."
        )
    if status.budget.backlog_seconds > BUSY_FROM.total_seconds():
        return "busy", (
            f"The send budget is used up: {_number(status.budget.backlog, 'request', 'requests')} ahead at "
            f"{status.budget.rate} a second; people without a list go first. Nothing to do; if it lasts, raise "
            "DISCORD_SEND_RATE (at most 50)."
        )
    return "fine", "Everything is fine."


def as_text(status: Status) -> str:
    """Everything for a terminal; the first line is the verdict."""
    now, lists = status.now, status.lists
    lines = [
        verdict(status)[1],
        "",
        f"Gate         {_gate_words(status)}",
        f"Brake        {brake.in_words(status.brake, now)} Discord bans at 10,000.",
        f"Send budget  {status.budget.rate} requests a second; {_number(status.budget.backlog, 'request', 'requests')} "
        "ahead",
        f"Refreshes    {_lease_words(status)}",
        f"Lists        {lists.fresh:,} fresh, {lists.due:,} due, {lists.stale:,} stale, {lists.expired:,} expired, "
        f"{lists.never_verified:,} never verified, {lists.refused:,} refused",
        "Last list    " + (ago_in_words(lists.last_verified_at, now) if lists.last_verified_at else "never"),
    ]
    for label, failure in zip(["Failures", *[""] * len(status.failures)], status.failures, strict=False):
        lines.append(f"{label:<13}{_failure_words(failure, now)}")
    if not status.failures:
        lines.append("Failures     none")
    for label, refusal in zip(["Refusals", *[""] * LATEST], status.latest_refusals, strict=False):
        why = f" {refusal.reason}" if refusal.reason else ""
        lines.append(f"{label:<13}{refusal.status}{why} at {ago_in_words(refusal.at, now)}")
    if not status.latest_refusals:
        lines.append("Refusals     none")
    lines.append(f"As of        {now:%Y-%m-%d} {at(now)}, by the database's clock")
    return "\n".join(lines)


def _gate_words(status: Status) -> str:
    shut = status.gate
    if shut.state == "open":
        return "open"
    words = f"{GATE_WORDS.get(shut.reason or '', shut.reason)}, {_number(shut.streak, 'time', 'times')} in a row"
    if shut.state == "shut" and shut.until:
        return (
            f"shut until {in_words(shut.until, status.now)}: {words}. If you know that it is over: manage.py open_gate"
        )
    return f"its time is over, the next request is the probe. It was shut: {words}"


def _lease_words(status: Status) -> str:
    leases = status.leases
    words = f"{leases.live:,} running"
    if oldest := leases.oldest:
        seconds = max(int((status.now - oldest.since).total_seconds()), 0)
        words += f", the oldest for {span(seconds)}: {oldest.username} (user {oldest.user_id})"
    if leases.overdue:
        words += f"; {leases.overdue:,} overdue (a process died or hangs; the next read takes over)"
    return words


def _failure_words(failure: Failure, now: datetime) -> str:
    words = f"{failure.reason}: {_people(failure.people)}"
    if failure.reason in REFUSED:
        return f"{words}, not asked for until they sign in again"
    if failure.next_attempt_at is None:
        return f"{words}, each asked for at the next read"
    return f"{words}, {failure.waiting:,} waiting, the first until {in_words(failure.next_attempt_at, now)}"


def _people(count: int) -> str:
    return _number(count, "person", "people")


def _number(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"


def as_dict(status: Status) -> dict[str, Any]:
    """The same for programs: the verdict, and the fields of `Status` with ISO times."""
    state, words = verdict(status)
    return {"state": state, "verdict": words, **_plain(asdict(status))}


def _plain(value: Any) -> Any:
    match value:
        case datetime():
            return value.isoformat()
        case dict():
            return {name: _plain(member) for name, member in value.items()}
        case list() | tuple():
            return [_plain(member) for member in value]
    return value
