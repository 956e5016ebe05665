"""The only code that asks Discord for a resource: `claim`, `ask`, `store`.

Each is at most one transaction, and none is open during the request. A claim is a compare-and-swap on the record's
`generation`, and so is the store: every other change of the record (a takeover, a sign-in, a disconnect, a deletion)
increments it, and a late answer is dropped. Callers pass `now`, which they read from the database.
"""

import random
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import structlog
from django.db import InterfaceError, OperationalError, transaction
from django.db.models import DateTimeField, ExpressionWrapper, F, QuerySet

from accounts import gate
from accounts.background import FollowUp, release_connection
from accounts.clock import Now, database_now
from accounts.discord import (
    DiscordAPIError,
    DiscordClient,
    Forbidden,
    MissingScope,
    RateLimited,
    Unauthorized,
)
from accounts.limits import GateShut
from accounts.tokens import ReconnectRequired, TokensReplaced
from guilds.engine import metrics
from guilds.engine.freshness import Decision, Reason, refresh_moment, retry_pause
from guilds.engine.metrics import Lease
from guilds.engine.resource import Change, Claim, R

logger = structlog.get_logger(__name__)

# Without it a reader whose place in the send budget is milliseconds away would claim again and again.
MIN_PAUSE = timedelta(seconds=1)
# The pause before an answer is stored again that the database failed to store.
STORE_RETRY_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Verified:
    """Discord's complete answer; `change` is how it differs from the one before, once it is stored."""

    value: Any
    change: Change | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """Discord gave no answer. `retry_after` in seconds, if it is known; `sent` is False where we didn't even ask."""

    reason: Reason
    retry_after: float | None = None
    sent: bool = True


Outcome = Verified | Failed


class Fenced(Exception):
    """The claim isn't ours any more."""


def claim(record: R, now: datetime, decision: Decision, client: DiscordClient) -> Claim[R] | None:
    """Take the lease on `record` as it was read; None if somebody was quicker.

    The deadline runs from before the claim, so that the lease outlives the attempt whatever the database took; and the
    lease from the claim itself, not from `now`, because a process may be stopped between reading and claiming.
    """
    deadline = client.clock() + client.budget
    won = _row(record, record.generation).update(
        lease_until=ExpressionWrapper(Now() + record.resource.windows().lease, DateTimeField()),
        generation=record.generation + 1,
    )
    if not won:
        metrics.count_lease(Lease.LOST)
        return None
    metrics.count_lease(Lease.TAKEN_OVER if record.lease_until else Lease.WON)
    return Claim(record, record.generation + 1, now, decision.priority, deadline)


def ask(claimed: Claim[Any], client: DiscordClient) -> Outcome:
    """Ask Discord. Raises `Fenced` if the claim is found lost, `TokensReplaced` if the person has newer tokens."""
    client = gate.gated(
        replace(client, deadline=claimed.deadline), claimed.priority, still_mine=partial(_assert_mine, claimed)
    )
    try:
        return Verified(claimed.record.resource.ask(claimed.record, client))
    except (ReconnectRequired, Unauthorized):
        return Failed(Reason.RECONNECT_REQUIRED)
    except MissingScope:
        return Failed(Reason.MISSING_SCOPE)
    except GateShut as shut:
        return Failed(shut.reason, shut.retry_after, sent=shut.sent)
    except RateLimited as error:
        return Failed(Reason.of_limit(error.scope), error.retry_after)
    except Forbidden as error:
        if error.scope == "cloudflare":
            return Failed(Reason.CLOUDFLARE, error.retry_after)
        return Failed(Reason.RECONNECT_REQUIRED)
    except DiscordAPIError as error:
        logger.warning("discord_unavailable", **_whose(claimed), status=error.status, error=str(error))
        return Failed(Reason.UNAVAILABLE, error.retry_after)


def store(claimed: Claim[Any], answer: Outcome, now: datetime) -> Outcome:
    """Write the answer down and release the lease. Returns the answer, with the change that it brought.

    Raises `Fenced`, with nothing written, if the claim isn't ours any more.
    """
    if isinstance(answer, Verified):
        answer = replace(answer, change=_store_value(claimed, answer.value))
        metrics.count_refresh("verified")
    else:
        _store_failure(claimed, answer, now)
        metrics.count_refresh(answer.reason)
    return answer


def _store_failure(claimed: Claim[Any], failed: Failed, now: datetime) -> None:
    not_before: datetime | None
    streak = claimed.record.failure_streak
    if failed.reason.is_refusal:
        not_before = None
    elif failed.sent:
        jitter = random.uniform(1, 1.25)
        not_before, streak = now + retry_pause(streak, failed.retry_after, jitter), streak + 1
    else:
        not_before = now + max(timedelta(seconds=failed.retry_after or 0), MIN_PAUSE)
    if not _release(claimed, not_before=not_before, reason=failed.reason, failure_streak=streak):
        raise Fenced
    event = claimed.record.resource.event("{}_refresh_failed")
    logger.warning(event, **_whose(claimed), reason=str(failed.reason), not_before=str(not_before))


def _store_value(claimed: Claim[Any], value: Any) -> Change | None:
    record, resource = claimed.record, claimed.record.resource
    # Comparing before the transaction is safe: every change of what is stored increments the generation first, so the
    # release below would match nothing.
    change: Change | None = resource.compare(claimed, value)
    jitter = random.uniform(0.9, 1.1)
    fields: dict[str, object] = {
        "verified_at": claimed.at,
        "refresh_after": refresh_moment(claimed.at, resource.windows(), resource.refresh_at(record), jitter),
        "not_before": None,
        "reason": "",
        "failure_streak": 0,
    }
    if change:
        fields |= {"version": F("version") + 1, "changed_at": claimed.at, **change.fields}
    with transaction.atomic():
        if not _release(claimed, **fields):
            raise Fenced
        if change:
            change.write()
    return change


def run(claimed: Claim[Any], client: DiscordClient) -> Outcome | None:
    """Ask and store: the job of a background thread. Returns what was stored; None if the claim was lost meanwhile."""
    try:
        return _store_by_deadline(claimed, _ask_or_fail(claimed, client), client)
    except (Fenced, TokensReplaced):
        # Another attempt's newer tokens don't count the generation up: the claim is still ours, and released.
        _release(claimed)
        metrics.count_lease(Lease.FENCED)
        event = claimed.record.resource.event("{}_answer_fenced")
        logger.warning(event, **_whose(claimed), generation=claimed.generation)
        return None


def _ask_or_fail(claimed: Claim[Any], client: DiscordClient) -> Outcome:
    """`ask`, with an unexpected exception stored as a failure, so that the next reader does not try again at once."""
    try:
        return ask(claimed, client)
    except (Fenced, TokensReplaced):
        raise
    except Exception:
        logger.exception(claimed.record.resource.event("{}_refresh_crashed"), **_whose(claimed))
        return Failed(Reason.UNAVAILABLE)


def _store_by_deadline(claimed: Claim[Any], answer: Outcome, client: DiscordClient) -> Outcome:
    """`store`, repeated while the database fails and the deadline has not passed: another request may be expensive.

    The lease outlives the deadline, so nobody else has asked by then.
    """
    while True:
        try:
            return store(claimed, answer, database_now())
        except (OperationalError, InterfaceError):
            if client.clock() + STORE_RETRY_SECONDS >= claimed.deadline:
                raise
            release_connection()
            client.sleep(STORE_RETRY_SECONDS)


def follow_up(outcome: Outcome | None) -> FollowUp | None:
    """What remains to do once the readers who wait have been released."""
    return outcome.change.follow_up if isinstance(outcome, Verified) and outcome.change else None


def _row(record: R, generation: int) -> "QuerySet[R, R]":
    """The record's row, if it still has that generation."""
    return type(record)._default_manager.filter(pk=record.pk, generation=generation)


def _assert_mine(claimed: Claim[Any]) -> None:
    if not _row(claimed.record, claimed.generation).exists():
        raise Fenced


def _release(claimed: Claim[Any], **fields: object) -> bool:
    row = _row(claimed.record, claimed.generation)
    return bool(row.update(lease_until=None, generation=claimed.generation + 1, **fields))


def _whose(claimed: Claim[Any]) -> dict[str, object]:
    whose: dict[str, object] = claimed.record.resource.whose(claimed.record)
    return whose
