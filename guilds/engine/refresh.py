"""The only code that requests a resource from Discord: `claim`, `ask`, `store`; and what Discord says unasked: `push`.

Each uses at most one transaction, and none is open during the request. A claim is a compare-and-swap on the record's
`generation`, and so is the store: every other change of the record (a takeover, news, a sign-in, a deletion) increments
it, and a late response is dropped. Callers pass `now`, read from the database's clock.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import structlog
from django.db import Error, transaction
from django.db.models import DateTimeField, ExpressionWrapper, F, Q, QuerySet

from accounts import gate
from accounts.background import FollowUp, release_connection
from accounts.clock import Now, database_now
from accounts.database import is_unavailable
from accounts.discord import DiscordAPIError, DiscordClient
from accounts.limits import GateShut, Priority
from accounts.reasons import reason_of
from accounts.tokens import ReconnectRequired, TokensReplaced, TokensUnreadable
from guilds.engine import freshness
from guilds.engine.freshness import MAX_SKEW, Decision, Order, Reason, refresh_moment, retry_pause
from guilds.engine.metrics import LeaseOutcome
from guilds.engine.records import Record
from guilds.engine.refusal import Refused
from guilds.engine.resource import Change, Claim, R, Resource, V

logger = structlog.get_logger(__name__)

# Keeps a reader from claiming over and over when its slot in the send budget is only milliseconds away.
MIN_PAUSE = timedelta(seconds=1)
# The pause before storing is retried after a database error.
STORE_RETRY_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Verified:
    """A complete answer from Discord. `change` is its difference from the previous one, set when it is stored."""

    value: Any
    change: Change | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """An attempt without an answer. `retry_after` is in seconds, if known; `sent` is False if no request was sent."""

    reason: Reason
    retry_after: float | None = None
    sent: bool = True

    @property
    def is_silence(self) -> bool:
        """Whether Discord was asked, and neither answered nor named a wait."""
        return self.reason is Reason.UNAVAILABLE and self.sent and self.retry_after is None


Outcome = Verified | Failed


class Fenced(Exception):
    """The claim was lost: the record's generation has changed."""


def claim(record: R, now: datetime, decision: Decision, client: DiscordClient) -> Claim[R] | None:
    """Acquire the lease on `record` as it was read. Returns None if another reader or process claimed it first.

    A decision that `probes` also gets None if another reader or process is already testing Discord's silence.

    The deadline is measured from before the claim, so the lease outlives the attempt even if the database is slow. The
    lease is measured from the claim, not from `now`, because the process may be paused between reading and claiming.
    """
    if decision.probes and not gate.acquire_silence_probe():
        return None
    windows = record.resource.windows()
    deadline = client.clock() + windows.budget.total_seconds()
    won = _row(record, record.generation).update(
        lease_until=ExpressionWrapper(Now() + windows.lease, DateTimeField()),
        generation=record.generation + 1,
    )
    if not won:
        record.resource.counts.lease(LeaseOutcome.LOST)
        return None
    record.resource.counts.lease(LeaseOutcome.TAKEN_OVER if record.lease_until else LeaseOutcome.WON)
    return Claim(record, record.generation + 1, now, decision.priority, deadline)


def ask(claimed: Claim[Any], client: DiscordClient) -> Outcome:
    """Request the answer from Discord. Raises `Fenced` if the claim is lost, `TokensReplaced` if newer tokens exist."""
    client = gate.gated(
        replace(client, deadline=claimed.deadline), claimed.priority, still_mine=partial(_assert_mine, claimed)
    )
    try:
        return Verified(claimed.record.resource.ask(claimed.record, client))
    except TokensUnreadable:
        return Failed(Reason.MISCONFIGURED, gate.MISCONFIGURED_PAUSE.total_seconds(), sent=False)
    except GateShut as shut:
        return Failed(shut.reason, shut.retry_after, sent=shut.sent)
    except ReconnectRequired:
        return Failed(Reason.RECONNECT_REQUIRED)
    except Refused as refused:
        return Failed(refused.reason)
    except DiscordAPIError as error:
        reason = reason_of(error) or Reason.UNUSABLE
        if reason is Reason.UNAVAILABLE:
            logger.warning("discord_unavailable", **_whose(claimed), status=error.status, error=str(error))
        return Failed(reason, None if reason.is_refusal else error.retry_after)


def store(claimed: Claim[Any], answer: Outcome, now: datetime) -> Outcome:
    """Store the outcome and release the lease. Returns the outcome, with its `change`.

    Raises `Fenced` and writes nothing if the claim was lost.
    """
    if isinstance(answer, Verified):
        change = claimed.record.resource.compare(claimed, answer.value)
        _write_answer(claimed, change, not_before=None, reason="", failure_streak=0)
        answer = replace(answer, change=change)
        claimed.record.resource.counts.refresh("verified")
    else:
        _store_failure(claimed, answer, now)
        claimed.record.resource.counts.refresh(answer.reason)
    return answer


def _store_failure(claimed: Claim[Any], failed: Failed, now: datetime) -> None:
    not_before: datetime | None
    silent_at = now if failed.is_silence else None
    streak = claimed.record.failure_streak
    if failed.reason.is_refusal:
        not_before = None
    elif failed.sent:
        jitter = random.uniform(1, 1.25)
        not_before, streak = now + retry_pause(streak, failed.retry_after, jitter), streak + 1
    else:
        not_before = now + max(timedelta(seconds=failed.retry_after or 0), MIN_PAUSE)
    fields = {"not_before": not_before, "silent_at": silent_at, "failure_streak": streak}
    if not _release(claimed, reason=failed.reason, **fields):
        raise Fenced
    event = claimed.record.resource.event("{}_refresh_failed")
    logger.warning(event, **_whose(claimed), reason=str(failed.reason), not_before=not_before)


def _write_answer(claimed: Claim[Any], change: Change | None, **attempt: object) -> None:
    """Store a complete answer by its `change`, and what it means for the columns about the last `attempt`."""
    record, resource = claimed.record, claimed.record.resource
    jitter = random.uniform(0.9, 1.1)
    refresh_after = refresh_moment(claimed.at, resource.windows(), resource.refresh_at(record), jitter)
    _write(claimed, change, verified_at=claimed.at, refresh_after=refresh_after, **attempt)


def _write(claimed: Claim[Any], change: Change | None, **fields: object) -> None:
    """Release the claim with `fields`, and store the change. Raises `Fenced` and writes nothing if the claim was lost.

    Comparing before this transaction is safe: every change of the stored rows increments the generation first, so the
    release would then match no row.
    """
    if change:
        fields |= {"version": F("version") + 1, "changed_at": claimed.at, **change.fields}
    with transaction.atomic():
        if not _release(claimed, **fields):
            raise Fenced
        if change:
            change.write()


def run(claimed: Claim[Any], client: DiscordClient) -> Outcome | None:
    """Ask and store, in a background thread. Returns the stored outcome; None if the claim was lost."""
    try:
        return _store_by_deadline(claimed, _ask_or_fail(claimed, client), client)
    except (Fenced, TokensReplaced):
        # Newer tokens don't increment the generation, so the claim may still be held; release it.
        _release(claimed)
        claimed.record.resource.counts.lease(LeaseOutcome.FENCED)
        event = claimed.record.resource.event("{}_answer_fenced")
        logger.warning(event, **_whose(claimed), generation=claimed.generation)
        return None


def _ask_or_fail(claimed: Claim[Any], client: DiscordClient) -> Outcome:
    """Call `ask` and turn an unexpected exception into a failure, so that the next reader doesn't retry at once."""
    try:
        return ask(claimed, client)
    except (Fenced, TokensReplaced):
        raise
    except Exception:
        logger.exception(claimed.record.resource.event("{}_refresh_crashed"), **_whose(claimed))
        return Failed(Reason.UNAVAILABLE)


def _store_by_deadline(claimed: Claim[Any], answer: Outcome, client: DiscordClient) -> Outcome:
    """Call `store`, and retry while the database fails until the deadline: another request to Discord may be expensive.

    The lease outlives the deadline, so no other process sends a request in the meantime.
    """
    while True:
        try:
            return store(claimed, answer, database_now())
        except Error as error:
            if not is_unavailable(error) or client.clock() + STORE_RETRY_SECONDS >= claimed.deadline:
                raise
            release_connection()
            client.sleep(STORE_RETRY_SECONDS)


def push(resource: Resource[R, V], *key: int, value: V, at: datetime, create: bool = False) -> bool:
    """Store a value that Discord sent by itself and that arrived at `at`, like the answer to a request of that moment.

    Returns False and stores nothing if the record's answer isn't earlier, or if there is no record and `create` is
    False, since no reader has asked for it. A response in flight is dropped. A wait and the count of failures stay,
    because only a response shows that they are over; a refusal ends, because the value has a source.
    """

    def write(news: Claim[R], change: Change | None) -> None:
        _write_answer(news, change, **{"reason": ""} if news.record.is_refused else {})

    find = partial(resource.read if create else resource.find, *key)
    return _store_news(find, at, lambda news: resource.compare(news, value), write)


def amend(resource: Resource[R, Any], *key: int, at: datetime, compare: Callable[[Claim[R]], Change | None]) -> bool:
    """Store what changed in one part of the answer at `at`, as `compare` finds it. The rest keeps its age, and is due.

    Returns False and stores nothing if there is no answer, or if it isn't earlier. A response in flight is dropped.
    """

    def find() -> tuple[R, datetime] | None:
        found = resource.find(*key)
        return found if found and found[0].verified_at else None

    return _store_news(find, at, compare, lambda news, change: _write(news, change, refresh_after=news.at))


def _store_news(
    find: Callable[[], tuple[R, datetime] | None],
    at: datetime,
    compare: Callable[[Claim[R]], Change | None],
    write: Callable[[Claim[R], Change | None], None],
) -> bool:
    """Store news of the moment `at`, again if another answer overtakes it. Returns whether it was stored.

    A record that the news contradicts is due if it isn't clear which of them is later.
    """
    while True:
        found = find()
        if found is None:
            return False
        record, now = found
        at = min(at, now)
        # Its generation is the record's own, so that the news is stored only while the record is as it was read.
        news = Claim(record, record.generation, at, Priority.DUE, 0.0)
        order = freshness.order(at, record.verified_at)
        if order is not Order.LATER:
            if order is Order.UNCLEAR and compare(news):
                expire_all(type(record)._default_manager.filter(pk=record.pk), at=at)
            return False
        try:
            change = compare(news)
            write(news, change)
        except Fenced:
            continue
        record.resource.counts.refresh("pushed")
        if change and change.follow_up:
            transaction.on_commit(change.follow_up)
        return True


def lift_refusal(record: Record) -> None:
    """End the record's refusal, unless the record has changed since it was read. A response in flight is dropped."""
    _row(record, record.generation).update(reason="", generation=record.generation + 1)


def expire(resource: Resource[Any, Any], *key: int, at: datetime) -> bool:
    """Make the record due: something changed at `at`, and it isn't known what. A response in flight is dropped.

    Returns False if there is nothing to change: no record, an answer that is clearly later, or one that is due already.
    Nothing is requested before the next reader or sweep.
    """
    rows = resource.model._default_manager.filter(**dict(zip(resource.key, key, strict=True)))
    return bool(expire_all(rows, at=at))


def expire_all(records: "QuerySet[Any, Any]", *, at: datetime) -> int:
    """`expire` each of the records, with one statement. Returns the number of those that weren't due, or in flight."""
    older = records.filter(Q(verified_at=None) | Q(verified_at__lt=at + MAX_SKEW))
    rows = older.filter(Q(refresh_after=None) | Q(refresh_after__gt=at) | Q(lease_until__isnull=False))
    return rows.update(refresh_after=at, lease_until=None, generation=F("generation") + 1)


def follow_up(outcome: Outcome | None) -> FollowUp | None:
    """Return the work to do after the waiting readers are released; None if there is none."""
    return outcome.change.follow_up if isinstance(outcome, Verified) and outcome.change else None


def _row(record: R, generation: int) -> "QuerySet[R, R]":
    """Return the query for the record's row, which is empty if its generation has changed."""
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
