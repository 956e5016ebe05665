"""Claim, ask and store, each by itself: no sandbox, no threads, no request."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import IntegrityError
from prometheus_client import REGISTRY
from pytest_django import DjangoAssertNumQueries
from structlog.testing import capture_logs

from accounts import gate, tokens
from accounts.clock import database_now
from accounts.discord import (
    DiscordAPIError,
    DiscordClient,
    DiscordUnavailable,
    Forbidden,
    Guild,
    GuildPage,
    MissingScope,
    RateLimited,
    SiteRefused,
    Unauthorized,
    UnusableResponse,
)
from accounts.limits import GateShut, Priority
from accounts.models import DiscordGate, User
from accounts.tokens import ReconnectRequired, TokensReplaced, TokensUnreadable, discord_client
from guilds.engine import refresh
from guilds.engine.freshness import Decision, Reason, Tier, Wait, refresh_moment, retry_pause
from guilds.engine.refresh import Failed, Fenced, Verified
from guilds.engine.refusal import NoAnswer, Refused
from guilds.engine.resource import Change, Claim
from guilds.models import BotGuilds, GuildListVerification, UserGuildMembership
from guilds.resources.guild_list import GUILD_LIST
from tests.guilds.rows import guild, row_of

pytestmark = pytest.mark.django_db

SECOND = timedelta(seconds=1)
STALE = Decision(Tier.STALE, True, True, True, Wait.SOFT, None, None)


@pytest.fixture
def ada() -> User:
    return User.objects.create_user(username="ada", discord_id=1)


@pytest.fixture
def jitter(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, float]]:
    """The ranges that jitter was drawn from; it is always 1.05."""
    ranges: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        ranges.append((low, high))
        return 1.05

    monkeypatch.setattr(refresh.random, "uniform", uniform)
    return ranges


def page(*guilds: Guild) -> GuildPage[Guild]:
    return GuildPage(guilds)


def claimed_by(user: User, **fields: Any) -> Claim[GuildListVerification]:
    """A claim on the person's record, which has `fields`."""
    GUILD_LIST.read(user.pk)
    GuildListVerification.objects.filter(pk=user.pk).update(**fields)
    record, now = GUILD_LIST.read(user.pk)
    claim = refresh.claim(record, now, STALE, discord_client())
    assert claim
    return claim


def counted(name: str, outcome: str, resource: str = "guild_list") -> float:
    return REGISTRY.get_sample_value(f"{name}_total", {"resource": resource, "outcome": outcome}) or 0.0


# read


def test_a_record_is_made_once_and_read_with_the_time_and_the_bots_tag(
    ada: User, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    made, _ = GUILD_LIST.read(ada.pk)
    BotGuilds.objects.update_or_create(pk=1, defaults={"tag": 7})

    with django_assert_num_queries(1):
        read, now = GUILD_LIST.read(ada.pk)

    assert (made.pk, made.generation) == (ada.pk, 0)
    assert (read.pk, read.bot_tag) == (ada.pk, 7)
    assert abs(now - database_now()) < 5 * SECOND


def test_a_record_that_another_reader_makes_first_is_no_error(ada: User, monkeypatch: pytest.MonkeyPatch) -> None:
    create = GUILD_LIST._create

    def overtaken(*key: int) -> Any:
        GuildListVerification.objects.create(user_id=ada.pk, generation=3)
        return create(*key)

    monkeypatch.setattr(GUILD_LIST, "_create", overtaken)

    assert GUILD_LIST.read(ada.pk)[0].generation == 3


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_before", [True, False])
def test_a_person_who_is_forgotten_while_they_read_has_to_sign_in_again(
    ada: User, monkeypatch: pytest.MonkeyPatch, is_before: bool
) -> None:
    key, create = ada.pk, GuildListVerification.objects.create

    def forgotten(**values: Any) -> None:
        row = None if is_before else create(**values)
        User.objects.get(pk=key).delete()
        if row is None:
            create(**values)

    monkeypatch.setattr(GuildListVerification.objects, "create", forgotten)

    with pytest.raises(NoAnswer) as refused:
        GUILD_LIST.read(key)

    assert (refused.value.resource, refused.value.reason) == ("guild_list", Reason.RECONNECT_REQUIRED)


def test_a_record_that_the_schema_refuses_is_a_fault(ada: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """For example for a column that this version doesn't know. That is not a fault of the person's sign-in."""
    create = GuildListVerification.objects.create

    def refused(**values: Any) -> None:
        create(**values, generation=None)

    monkeypatch.setattr(GuildListVerification.objects, "create", refused)

    with pytest.raises(IntegrityError):
        GUILD_LIST.read(ada.pk)


# claim


def test_one_claim_at_a_time_finds_out_whether_a_silence_is_over(ada: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "SILENCE_PROBE_PAUSE", timedelta(minutes=5))
    record, now = GUILD_LIST.read(ada.pk)
    gate.read()
    DiscordGate.objects.update(silent_since=now - timedelta(minutes=1))
    probing = replace(STALE, probes=True)

    first = refresh.claim(record, now, probing, discord_client())
    again, now = GUILD_LIST.read(ada.pk)
    second = refresh.claim(again, now, probing, discord_client())

    assert first
    assert second is None
    assert GUILD_LIST.read(ada.pk)[0].generation == first.generation


@pytest.mark.parametrize(("lease", "outcome"), [(None, "won"), (-SECOND, "taken_over")])
def test_a_claim_takes_the_lease_and_counts_the_generation_up(ada: User, lease: timedelta | None, outcome: str) -> None:
    GUILD_LIST.read(ada.pk)
    until = None if lease is None else database_now() + lease
    GuildListVerification.objects.update(generation=4, failure_streak=3, lease_until=until, verified_at=database_now())
    record, now = GUILD_LIST.read(ada.pk)
    client = replace(discord_client(), clock=lambda: 100.0)
    before = counted("guildhall_refresh_leases", outcome)

    claim = refresh.claim(record, now, STALE, client)

    assert claim == Claim(record, 5, now, Priority.STALE, 0.0)
    assert claim.deadline == 100.0 + GUILD_LIST.windows().budget.total_seconds()
    assert counted("guildhall_refresh_leases", outcome) == before + 1
    row = row_of(ada)
    assert row.generation == 5
    assert row.lease_until
    assert timedelta(0) <= row.lease_until - now - GUILD_LIST.windows().lease < SECOND


def test_of_two_who_claim_one_record_one_loses(ada: User) -> None:
    record, now = GUILD_LIST.read(ada.pk)
    first = refresh.claim(record, now, STALE, discord_client())
    row, before = row_of(ada), counted("guildhall_refresh_leases", "lost")

    assert refresh.claim(record, now, STALE, discord_client()) is None

    assert first
    assert counted("guildhall_refresh_leases", "lost") == before + 1
    assert (row_of(ada).generation, row_of(ada).lease_until) == (row.generation, row.lease_until)


def test_a_claim_touches_no_other_record(ada: User) -> None:
    GUILD_LIST.read(User.objects.create_user(username="linus", discord_id=2).pk)

    claimed_by(ada)

    assert GuildListVerification.objects.exclude(pk=ada.pk).get().generation == 0


# ask


def test_an_attempt_passes_the_gate_with_the_claims_deadline_priority_and_fence(
    ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = claimed_by(ada)
    asked: list[tuple[Any, ...]] = []

    def gated(client: DiscordClient, priority: Priority, *, still_mine: Callable[[], None]) -> DiscordClient:
        assert (client.deadline, client.budget, priority) == (claim.deadline, discord_client().budget, Priority.STALE)
        still_mine()
        GuildListVerification.objects.update(generation=claim.generation + 1)
        with pytest.raises(Fenced):
            still_mine()
        return replace(client, client_id="gated")

    def call(*arguments: Any) -> GuildPage[Guild]:
        asked.append(arguments)
        return page(guild(1))

    monkeypatch.setattr(gate, "gated", gated)
    monkeypatch.setattr(tokens, "call", call)

    assert refresh.ask(claim, discord_client()) == Verified(page(guild(1)))
    [(user_id, scope, client, get_guilds)] = asked
    assert (user_id, scope, client.client_id) == (ada.pk, "guilds", "gated")
    assert get_guilds == client.get_user_guilds


def busy(sent: bool) -> GateShut:
    now = database_now()
    shut = GateShut(Reason.BUSY, now + 3 * SECOND, now)
    shut.sent = sent
    return shut


@pytest.mark.parametrize(
    ("error", "failed"),
    [
        (ReconnectRequired, Failed(Reason.RECONNECT_REQUIRED)),
        (Unauthorized, Failed(Reason.RECONNECT_REQUIRED)),
        (MissingScope, Failed(Reason.MISSING_SCOPE)),
        (lambda: Refused(Reason.BOT_ABSENT), Failed(Reason.BOT_ABSENT)),
        (TokensUnreadable, Failed(Reason.MISCONFIGURED, 30.0, sent=False)),
        (lambda: busy(sent=False), Failed(Reason.BUSY, 3.0, sent=False)),
        (lambda: busy(sent=True), Failed(Reason.BUSY, 3.0, sent=True)),
        (lambda: RateLimited(scope="global", retry_after=4), Failed(Reason.GLOBAL_LIMIT, 4)),
        (lambda: RateLimited(scope="cloudflare", retry_after=4), Failed(Reason.CLOUDFLARE, 4)),
        (lambda: RateLimited(scope="user", retry_after=4), Failed(Reason.RATE_LIMITED, 4)),
        (RateLimited, Failed(Reason.RATE_LIMITED)),
        (lambda: UnusableResponse(retry_after=5), Failed(Reason.UNUSABLE, 5)),
        (SiteRefused, Failed(Reason.SITE_REFUSED)),
        (Forbidden, Failed(Reason.RECONNECT_REQUIRED)),
        (lambda: DiscordUnavailable(retry_after=6), Failed(Reason.UNAVAILABLE, 6)),
        # A refusal ends with a sign-in, not with time.
        (lambda: Unauthorized(retry_after=7), Failed(Reason.RECONNECT_REQUIRED)),
    ],
)
def test_each_way_to_fail_has_its_reason(
    ada: User, monkeypatch: pytest.MonkeyPatch, error: Callable[[], Exception], failed: Failed
) -> None:
    monkeypatch.setattr(tokens, "call", raising(error()))

    assert refresh.ask(claimed_by(ada), discord_client()) == failed


def raising(error: Exception) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


# The names of the events in the log, and what they tell, are those of docs/monitoring.md.


@pytest.mark.parametrize("error", [DiscordUnavailable(status=503), RateLimited(status=429)])
def test_the_log_tells_when_discord_was_unavailable(
    ada: User, monkeypatch: pytest.MonkeyPatch, error: DiscordAPIError
) -> None:
    claim = claimed_by(ada)
    monkeypatch.setattr(tokens, "call", raising(error))

    with capture_logs() as lines:
        refresh.ask(claim, discord_client())

    unavailable = {"event": "discord_unavailable", "log_level": "warning", "user_id": ada.pk, "status": 503}
    assert lines == ([unavailable | {"error": str(error)}] if isinstance(error, DiscordUnavailable) else [])


# store


def test_an_answer_is_stored_with_the_change_it_brought(ada: User, jitter: list[Any]) -> None:
    claim = claimed_by(ada, failure_streak=3, reason="unavailable", not_before=database_now(), version=6)
    before = counted("guildhall_refreshes", "verified")

    stored = refresh.store(claim, Verified(page(guild(1), guild(2))), database_now())

    assert isinstance(stored, Verified)
    assert (stored.value, stored.change is None) == (page(guild(1), guild(2)), False)
    row = row_of(ada)
    assert (row.verified_at, row.changed_at) == (claim.at, claim.at)
    assert row.refresh_after == refresh_moment(claim.at, GUILD_LIST.windows(), 0.8, 1.05)
    assert (row.not_before, row.reason, row.failure_streak, row.lease_until) == (None, "", 0, None)
    assert (row.generation, row.version) == (claim.generation + 1, 7)
    assert (row.joined_count, row.left_count) == (2, 0)
    assert list(UserGuildMembership.objects.values_list("guild_id", flat=True)) == [1, 2]
    assert counted("guildhall_refreshes", "verified") == before + 1
    assert jitter == [(0.9, 1.1)]


def test_the_same_list_again_changes_the_verification_alone(ada: User) -> None:
    refresh.store(claimed_by(ada), Verified(page(guild(1))), database_now())
    before = row_of(ada)
    claim = replace(claimed_by(ada), at=database_now() + SECOND)

    assert refresh.store(claim, Verified(page(guild(1))), database_now()) == Verified(page(guild(1)), change=None)

    row = row_of(ada)
    assert (row.verified_at, row.changed_at, row.version) == (claim.at, before.changed_at, 1)
    assert (row.joined_count, row.left_count) == (1, 0)


def fail(claim: Claim[GuildListVerification], failed: Failed) -> datetime:
    now = database_now()
    assert refresh.store(claim, failed, now) == failed
    return now


@pytest.mark.parametrize("retry_after", [None, 600.0])
def test_a_failure_is_stored_with_a_longer_pause(ada: User, jitter: list[Any], retry_after: float | None) -> None:
    verified_at = database_now() - timedelta(hours=5)
    claim = claimed_by(ada, failure_streak=2, verified_at=verified_at)
    before = counted("guildhall_refreshes", "unavailable")

    now = fail(claim, Failed(Reason.UNAVAILABLE, retry_after))

    row = row_of(ada)
    assert (row.reason, row.failure_streak, row.verified_at, row.lease_until) == ("unavailable", 3, verified_at, None)
    assert row.not_before == now + retry_pause(2, retry_after, 1.05)
    assert row.generation == claim.generation + 1
    assert counted("guildhall_refreshes", "unavailable") == before + 1
    assert jitter == [(1, 1.25)]


@pytest.mark.parametrize(
    ("failed", "is_silent"),
    [
        (Failed(Reason.UNAVAILABLE), True),
        (Failed(Reason.UNAVAILABLE, 600.0), False),
        (Failed(Reason.UNAVAILABLE, sent=False), False),
        (Failed(Reason.RATE_LIMITED), False),
        (Failed(Reason.MISSING_SCOPE), False),
    ],
)
def test_silence_is_stored_with_its_moment_and_ends_with_any_other_failure(
    ada: User, failed: Failed, is_silent: bool
) -> None:
    """A wait after silence ends early once Discord answers another person."""
    now = fail(claimed_by(ada, silent_at=database_now() - SECOND), failed)

    assert row_of(ada).silent_at == (now if is_silent else None)


def test_the_log_tells_of_a_failure_and_when_the_next_attempt_may_be(ada: User) -> None:
    claim = claimed_by(ada)

    with capture_logs() as lines:
        fail(claim, Failed(Reason.RATE_LIMITED, 600.0))

    [line] = lines
    not_before = line.pop("not_before")
    assert line == {
        "event": "guild_list_refresh_failed",
        "log_level": "warning",
        "user_id": ada.pk,
        "reason": "rate_limited",
    }
    assert not_before
    assert not_before == row_of(ada).not_before


def test_a_refusal_sets_no_time_and_no_streak(ada: User) -> None:
    fail(claimed_by(ada, failure_streak=2, not_before=database_now()), Failed(Reason.MISSING_SCOPE))

    row = row_of(ada)
    assert (row.reason, row.failure_streak, row.not_before) == ("missing_scope", 2, None)


@pytest.mark.parametrize(("retry_after", "seconds"), [(None, 1), (0.2, 1), (30.0, 30)])
def test_an_attempt_that_sent_nothing_waits_as_long_as_the_gate_said(
    ada: User, retry_after: float | None, seconds: int
) -> None:
    now = fail(claimed_by(ada, failure_streak=2), Failed(Reason.BUSY, retry_after, sent=False))

    row = row_of(ada)
    assert (row.reason, row.failure_streak, row.not_before) == ("busy", 2, now + timedelta(seconds=seconds))


@pytest.mark.parametrize("answer", [Verified(page(guild(1))), Failed(Reason.UNAVAILABLE)])
def test_an_answer_to_a_claim_that_was_lost_is_dropped(ada: User, answer: Verified | Failed) -> None:
    GUILD_LIST.read(User.objects.create_user(username="linus", discord_id=2).pk)
    claim = claimed_by(ada)
    GuildListVerification.objects.filter(pk=ada.pk).update(generation=claim.generation + 1)
    before = list(GuildListVerification.objects.values())

    with pytest.raises(Fenced):
        refresh.store(claim, answer, database_now())

    assert list(GuildListVerification.objects.values()) == before
    assert not UserGuildMembership.objects.exists()


def test_an_answer_belongs_to_one_person_whatever_the_generation_of_others(ada: User) -> None:
    linus = User.objects.create_user(username="linus", discord_id=2)
    ours, theirs = claimed_by(ada), claimed_by(linus)
    assert ours.generation == theirs.generation

    assert refresh.store(ours, Verified(page(guild(1))), database_now())

    assert row_of(linus).generation == theirs.generation
    assert row_of(linus).lease_until
    with pytest.raises(Fenced):
        refresh._assert_mine(ours)
    refresh._assert_mine(theirs)


# the job


def test_a_job_stores_what_it_was_answered(ada: User, monkeypatch: pytest.MonkeyPatch) -> None:
    claim, client = claimed_by(ada), discord_client()
    asked: list[tuple[Claim[Any], DiscordClient]] = []
    monkeypatch.setattr(refresh, "ask", lambda *by: asked.append(by) or Failed(Reason.RATE_LIMITED, 60))

    assert refresh.run(claim, client) == Failed(Reason.RATE_LIMITED, 60)

    row = row_of(ada)
    assert asked == [(claim, client)]
    assert row.reason == "rate_limited"
    assert row.not_before
    assert 55 * SECOND < row.not_before - database_now() <= 60 * SECOND


def test_a_job_that_is_fenced_stores_nothing(ada: User, monkeypatch: pytest.MonkeyPatch) -> None:
    claim = claimed_by(ada)
    GuildListVerification.objects.update(generation=claim.generation + 1)
    monkeypatch.setattr(refresh, "ask", raising(Fenced()))
    before, fenced = row_of(ada), counted("guildhall_refresh_leases", "fenced")

    with capture_logs() as lines:
        assert refresh.run(claim, discord_client()) is None

    row = row_of(ada)
    assert (row.generation, row.lease_until) == (before.generation, before.lease_until)
    assert counted("guildhall_refresh_leases", "fenced") == fenced + 1
    told = {"event": "guild_list_answer_fenced", "log_level": "warning", "user_id": ada.pk}
    assert lines == [told | {"generation": claim.generation}]


def test_a_job_whose_tokens_were_replaced_stores_nothing_and_releases_its_lease(
    ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = claimed_by(ada, failure_streak=2, reason="unavailable")
    monkeypatch.setattr(tokens, "call", raising(TokensReplaced()))
    before, fenced = row_of(ada), counted("guildhall_refresh_leases", "fenced")

    assert refresh.run(claim, discord_client()) is None

    row = row_of(ada)
    assert (row.lease_until, row.generation) == (None, claim.generation + 1)
    assert (row.reason, row.failure_streak, row.not_before) == (before.reason, 2, before.not_before)
    assert counted("guildhall_refresh_leases", "fenced") == fenced + 1


def test_a_job_that_crashes_counts_as_silence_of_discord(ada: User, monkeypatch: pytest.MonkeyPatch) -> None:
    claim = claimed_by(ada)
    monkeypatch.setattr(refresh, "ask", raising(ValueError("our own fault")))

    with capture_logs() as lines:
        refresh.run(claim, discord_client())

    row = row_of(ada)
    assert (row.reason, row.failure_streak, row.lease_until) == ("unavailable", 1, None)
    crashed, failed = lines
    assert (crashed["event"], crashed["log_level"]) == ("guild_list_refresh_crashed", "error")
    assert (crashed["user_id"], crashed["exc_info"]) == (ada.pk, True)
    assert failed["event"] == "guild_list_refresh_failed"


def nothing() -> None:
    raise AssertionError("it is not to run")


@pytest.mark.parametrize(
    ("outcome", "follow_up"),
    [
        (Verified(page(), Change({}, follow_up=nothing)), nothing),
        (Verified(page(), Change({})), None),
        (Verified(page()), None),
        (Failed(Reason.RATE_LIMITED), None),
        (None, None),
    ],
)
def test_only_a_change_has_work_for_afterwards(outcome: refresh.Outcome | None, follow_up: object) -> None:
    assert refresh.follow_up(outcome) is follow_up


# the end of a refusal


def test_the_end_of_a_refusal_drops_the_answer_in_flight(ada: User) -> None:
    linus = User.objects.create_user(username="linus", discord_id=2)
    others = claimed_by(linus, reason="missing_scope")
    claim = claimed_by(ada, reason="missing_scope", failure_streak=2)
    assert claim.generation == others.generation

    refresh.lift_refusal(GUILD_LIST.read(ada.pk)[0])

    row = row_of(ada)
    assert (row.reason, row.generation, row.failure_streak) == ("", claim.generation + 1, 2)
    with pytest.raises(Fenced):
        refresh.store(claim, Failed(Reason.MISSING_SCOPE), database_now())
    assert (row_of(linus).reason, row_of(linus).generation) == ("missing_scope", others.generation)


def test_a_refusal_that_came_after_the_record_was_read_stays(ada: User) -> None:
    claim = claimed_by(ada)
    refresh.store(claim, Failed(Reason.MISSING_SCOPE), database_now())

    refresh.lift_refusal(claim.record)

    row = row_of(ada)
    assert (row.reason, row.generation) == ("missing_scope", claim.generation + 1)
