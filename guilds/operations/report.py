"""The status in words for people, and as JSON's types for programs."""

import math
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from typing import Any

from django.conf import settings
from django.utils.translation import gettext_lazy as _

from accounts import brake
from accounts.templatetags.durations import ago, span
from guilds.operations.status import Failure, JobStatus, RefusedRequest, ResourceStatus, Status
from guilds.operations.verdict import WINDOW, ServedCounts, Verdict, exit_code, judge

# Why requests were not sent or brought no answer.
REASON_WORDS = {
    "global_limit": "Discord rate-limits the whole site (a global 429)",
    "cloudflare": "Cloudflare, which protects Discord, blocks this site's address",
    "brake": "Discord has refused so many requests that the brake is on",
    "busy": "Interactive requests are using up the send budget",
    "unavailable": "Discord isn't responding",
    "unusable": "Discord is sending unexpected replies",
    "site_refused": "Discord rejects this site's credentials",
    "misconfigured": "This site is misconfigured and can't contact Discord (see discord_status)",
}
CREDENTIALS = {
    "client": "DISCORD_CLIENT_ID or DISCORD_CLIENT_SECRET",
    "redirect_uri": "the redirect URI: register SITE_URL's callback URL in the developer portal",
    "bot": "DISCORD_BOT_TOKEN",
}
# The lines for the resources.
LABELS = {"guild_list": "Lists", "member": "Members", "bot_guilds": "Bot's servers", "directory": "Directories"}
LIMITED = "stale lists are served; people without a list get 429."
MINUTES = WINDOW.seconds // 60
# For the admin's front page.
TITLES = {
    Verdict.FINE: _("Everything is fine."),
    Verdict.BLIND: _("No lists were read in the last few minutes."),
    Verdict.RECOVERING: _("Discord is responding again; people without a list are still waiting."),
    Verdict.PEOPLE_LIMITED: _("Discord is rate-limiting some people; they get no list."),
    Verdict.PEOPLE_REFUSED: _("Some people get no list."),
    Verdict.UNUSABLE: _("Discord sends replies that this site can't use."),
    Verdict.SILENT: _("Discord isn't responding."),
    Verdict.LIMITED: _("Requests to Discord are limited for the whole site."),
    Verdict.MISCONFIGURED: _("The site's settings are wrong."),
}


def at(moment: datetime) -> str:
    return f"{moment:%H:%M:%S} UTC"


def in_words(moment: datetime, now: datetime) -> str:
    """A moment ahead, with its distance; the date too if it is another day's."""
    day = "" if moment.date() == now.date() else f"{moment:%Y-%m-%d} "
    return f"{day}{at(moment)} (in {span(max(math.ceil((moment - now).total_seconds()), 0))})"


def ago_in_words(moment: datetime, now: datetime) -> str:
    day = "" if moment.date() == now.date() else f"{moment:%Y-%m-%d} "
    return f"{day}{at(moment)} ({ago(max(int((now - moment).total_seconds()), 0))})"


def verdict(status: Status) -> tuple[Verdict, str]:
    """The one thing an operator must know, as a name for programs and as words that say what to do."""
    found = judge(status.facts)
    return found, WORDS[found](status)


def _misconfigured(status: Status) -> str:
    if status.misconfigured or not (refused := status.site_refused):
        return status.misconfigured or "The settings were wrong a moment ago."
    return (
        f"Discord refuses this site's credentials: {CREDENTIALS[refused.reason]}. Last at "
        f"{ago_in_words(refused.at, status.now)}. Copy them from the developer portal anew; the log has the routes "
        "(discord_refuses_site_credentials)."
    )


def _limited(status: Status) -> str:
    shut, now = status.gate, status.now
    if shut.state == "shut" and shut.until:
        until = in_words(shut.until, now)
        if shut.reason == "cloudflare":
            return (
                f"Cloudflare, Discord's shield, blocks this site's address until {until}: {LIMITED} Nothing to do now; "
                "if it comes back, find out what else sends requests from this address."
            )
        return f"Discord rate-limits the whole site until {until}: {LIMITED} Nothing to do."
    without = "; people without a list get 503" if status.brake.state == "hard" else ""
    return (
        f"{brake.state_in_words(status.brake, now)} It keeps Discord from banning this address. Stale lists are "
        f"served{without}. Find out why: below are the latest refusals, in the log the routes."
    )


def _silent(status: Status) -> str:
    since = f" since {ago_in_words(status.silent_since, status.now)}" if status.silent_since else ""
    return (
        f"Discord isn't responding{since}.{_last_list(status)} Stale lists are served; people without a list get 503. "
        "The site retries automatically; if this lasts, see discordstatus.com and the log (discord_unavailable)."
    )


def _unusable(status: Status) -> str:
    return (
        f"Discord sends unexpected replies.{_last_list(status)} Stale lists are served; people without a list get 503. "
        "See the log (discord_unusable_answer)."
    )


def _recovering(status: Status) -> str:
    return f"Discord is responding again. {_refused_share(status)} Nothing to do: they get their lists within minutes."


def _people_limited(status: Status) -> str:
    return (
        f"Discord limits requests for single people. {_refused_share(status)} Nothing to do; if it lasts, find out "
        "what else sends requests with their tokens or as this application."
    )


def _people_refused(status: Status) -> str:
    busy = " The send budget is used up: raise DISCORD_SEND_RATE (at most 50)." if status.budget.is_used_up else ""
    return f"{_refused_share(status)}{busy} The reasons are below, under Failures."


def _blind(_status: Status) -> str:
    if not settings.SERVING_FLUSH_SECONDS:
        return "What visitors get isn't written down: SERVING_FLUSH_SECONDS is 0."
    return f"No lists were read in the last {MINUTES} minutes, so there is nothing to judge by. Is the site reachable?"


WORDS: dict[Verdict, Callable[[Status], str]] = {
    Verdict.FINE: lambda _status: "Everything is fine.",
    Verdict.BLIND: _blind,
    Verdict.RECOVERING: _recovering,
    Verdict.PEOPLE_LIMITED: _people_limited,
    Verdict.PEOPLE_REFUSED: _people_refused,
    Verdict.UNUSABLE: _unusable,
    Verdict.SILENT: _silent,
    Verdict.LIMITED: _limited,
    Verdict.MISCONFIGURED: _misconfigured,
}


def _last_list(status: Status) -> str:
    last = status.lists.last_verified_at
    return f" The last list it gave was at {ago_in_words(last, status.now)}." if last else ""


def _refused_share(status: Status) -> str:
    served = status.facts.served
    share = served.refused / max(served.reads, 1)
    return f"{share:.0%} of reads were refused in the last {MINUTES} minutes ({served.refused:,} of {served.reads:,})."


def as_text(status: Status) -> str:
    """Everything for a terminal; the first line is the verdict."""
    now, last, budget = status.now, status.lists.last_verified_at, status.budget
    rows = {
        "Visitors": [_served_words(status.facts.served)],
        "Gate": [_gate_words(status)],
        "Brake": [f"Invalid requests: {brake.in_words(status.brake, now)} Discord bans at 10,000."],
        "Send budget": [f"{budget.rate} requests a second; {_number(budget.backlog, 'request', 'requests')} ahead"],
        "Refreshes": [_lease_words(status)],
        **{LABELS[name]: [_records_words(found)] for name, found in status.resources.items()},
        "Last list": [ago_in_words(last, now) if last else "never"],
        "Failures": [_failure_words(failure, now) for failure in status.failures] or ["none"],
        "Credentials": [_credentials_words(refusal, now) for refusal in status.site_refusals] or ["accepted"],
        "Refusals": [_refusal_words(refusal, now) for refusal in status.latest_refusals] or ["none"],
        "Bot": [_bot_words(status)],
        "Jobs": [_job_words(job, now) for job in status.jobs],
        "As of": [f"{now:%Y-%m-%d} {at(now)}, by the database's clock"],
    }
    # A label stands before the first of its lines only.
    lines = [f"{'' if number else label:<15}{line}" for label, each in rows.items() for number, line in enumerate(each)]
    return "\n".join([verdict(status)[1], "", *lines])


def _served_words(served: ServedCounts) -> str:
    every = settings.SERVING_FLUSH_SECONDS
    return (
        f"in the last {MINUTES} minutes {served.fresh:,} fresh and {served.stale:,} stale lists, {served.refused:,} "
        f"refused; of the requests to Discord, {served.answered:,} succeeded, {served.limited:,} were limited, "
        f"{served.rejected:,} rejected and {served.silences:,} got no response "
        + (f"(written every {every} s; newer counts are missing)" if every else "(SERVING_FLUSH_SECONDS is 0)")
    )


def _gate_words(status: Status) -> str:
    shut = status.gate
    if shut.state == "open":
        return "open"
    words = f"{REASON_WORDS.get(shut.reason or '', shut.reason)}, {_number(shut.streak, 'time', 'times')} in a row"
    if shut.state == "shut" and shut.until:
        until = in_words(shut.until, status.now)
        return f"shut until {until}: {words}. If you know that the limit has ended: manage.py open_gate"
    return f"the limit has ended and the next request is the probe. The gate was shut: {words}"


def _lease_words(status: Status) -> str:
    leases = status.leases
    words = f"{leases.live:,} running"
    if oldest := leases.oldest:
        seconds = max(int((status.now - oldest.since).total_seconds()), 0)
        words += f", the oldest for {span(seconds)}: {oldest.username} (user {oldest.user_id})"
    if leases.overdue:
        words += f"; {leases.overdue:,} overdue (the process died or is stuck; the next read starts a new refresh)"
    return words


def _records_words(found: ResourceStatus) -> str:
    words = (
        f"{found.fresh:,} fresh, {found.due:,} due, {found.stale:,} stale, {found.expired:,} expired, "
        f"{found.never_verified:,} never verified, {found.refused:,} refused"
    )
    more = {"failed at the last attempt": found.failed, "running": found.live, "overdue": found.overdue}
    return "; ".join([words, *(f"{number:,} {what}" for what, number in more.items() if number)])


def _failure_words(failure: Failure, now: datetime) -> str:
    words = f"{failure.reason}: {_people(failure.people)}"
    if failure.is_refusal:
        return f"{words}, not retried until they sign in again"
    if failure.next_attempt_at is None:
        return f"{words}, each retried at the next read"
    return f"{words}, {failure.waiting:,} waiting, the first until {in_words(failure.next_attempt_at, now)}"


def _refusal_words(refusal: RefusedRequest, now: datetime) -> str:
    scope = f" {refusal.reason}" if refusal.reason else ""
    return f"{refusal.status}{scope} at {ago_in_words(refusal.at, now)}"


def _credentials_words(refusal: RefusedRequest, now: datetime) -> str:
    return f"{CREDENTIALS[refusal.reason]}: rejected ({refusal.status}), last at {ago_in_words(refusal.at, now)}"


def _bot_words(status: Status) -> str:
    if status.bot is None:
        return "none"
    at = status.bot.verified_at
    words = f"servers listed at {ago_in_words(at, status.now)}" if at else "no complete list of its servers yet"
    if not status.bot.reason:
        return words
    until = status.bot.next_attempt_at
    wait = f"the next is possible at {in_words(until, status.now)}" if until else "its wait is over"
    return f"{words}; the last attempt failed ({status.bot.reason}), {wait}"


def _job_words(job: JobStatus, now: datetime) -> str:
    if job.started_at is None or job.finished_at is None:
        return f"{job.command}: never finished a run"
    seconds = int((job.finished_at - job.started_at).total_seconds())
    last = f"last success at {ago_in_words(job.succeeded_at, now)}" if job.succeeded_at else "never succeeded"
    if not job.succeeded:
        last += f"; the last run failed at {ago_in_words(job.finished_at, now)}"
    return f"{job.command}: {last}, after {span(seconds)}"


def _people(count: int) -> str:
    return _number(count, "person", "people")


def _number(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"


def as_dict(status: Status) -> dict[str, Any]:
    """The same for programs: the verdict, and the fields of `Status` with ISO times."""
    state, words = verdict(status)
    return {"state": str(state), "exit_code": exit_code(status.facts), "verdict": words, **_plain(asdict(status))}


def _plain(value: Any) -> Any:
    match value:
        case datetime():
            return value.isoformat()
        case dict():
            return {name: _plain(member) for name, member in value.items()}
        case list() | tuple():
            return [_plain(member) for member in value]
    return value
