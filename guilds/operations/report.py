"""The status in words for people, and as JSON's types for programs."""

import math
from dataclasses import asdict
from datetime import datetime
from typing import Any

from accounts import brake
from accounts.templatetags.durations import ago, span
from guilds.operations.status import Failure, Refusal, Status

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
    if status.budget.is_used_up:
        return "busy", (
            f"The send budget is used up: {_number(status.budget.backlog, 'request', 'requests')} ahead at "
            f"{status.budget.rate} a second; people without a list go first. Nothing to do; if it lasts, raise "
            "DISCORD_SEND_RATE (at most 50)."
        )
    return "fine", "Everything is fine."


def as_text(status: Status) -> str:
    """Everything for a terminal; the first line is the verdict."""
    now, lists, budget = status.now, status.lists, status.budget
    rows = {
        "Gate": [_gate_words(status)],
        "Brake": [f"Invalid requests: {brake.in_words(status.brake, now)} Discord bans at 10,000."],
        "Send budget": [f"{budget.rate} requests a second; {_number(budget.backlog, 'request', 'requests')} ahead"],
        "Refreshes": [_lease_words(status)],
        "Lists": [
            f"{lists.fresh:,} fresh, {lists.due:,} due, {lists.stale:,} stale, {lists.expired:,} expired, "
            f"{lists.never_verified:,} never verified, {lists.refused:,} refused"
        ],
        "Last list": [ago_in_words(lists.last_verified_at, now) if lists.last_verified_at else "never"],
        "Failures": [_failure_words(failure, now) for failure in status.failures] or ["none"],
        "Refusals": [_refusal_words(refusal, now) for refusal in status.latest_refusals] or ["none"],
        "As of": [f"{now:%Y-%m-%d} {at(now)}, by the database's clock"],
    }
    # A label stands before the first of its lines only.
    lines = [f"{'' if number else label:<13}{line}" for label, each in rows.items() for number, line in enumerate(each)]
    return "\n".join([verdict(status)[1], "", *lines])


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
    if failure.is_refusal:
        return f"{words}, not asked for until they sign in again"
    if failure.next_attempt_at is None:
        return f"{words}, each asked for at the next read"
    return f"{words}, {failure.waiting:,} waiting, the first until {in_words(failure.next_attempt_at, now)}"


def _refusal_words(refusal: Refusal, now: datetime) -> str:
    scope = f" {refusal.reason}" if refusal.reason else ""
    return f"{refusal.status}{scope} at {ago_in_words(refusal.at, now)}"


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
