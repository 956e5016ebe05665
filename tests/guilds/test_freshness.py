"""The rule, to the second. No database, no Discord, no clock."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.limits import Priority, is_leased
from guilds.engine.freshness import (
    Decision,
    Reason,
    Tier,
    Wait,
    Windows,
    decide,
    refresh_moment,
    retry_pause,
    soft_wait_left,
    tier,
    wait_end,
)

NOW = datetime(2026, 3, 14, 15, 9, 26, tzinfo=UTC)
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)
WINDOWS = Windows(fresh=HOUR, stale=24 * HOUR, soft_wait=SECOND, lease=12 * SECOND)


@dataclass(frozen=True)
class Row:
    verified_at: datetime | None = None
    refresh_after: datetime | None = None
    not_before: datetime | None = None
    reason: str = ""
    lease_until: datetime | None = None
    silent_at: datetime | None = None
    silent_since: datetime | None = None
    recovered_at: datetime | None = None
    probe_after: datetime | None = None


def aged(age: timedelta, **fields: object) -> Row:
    verified_at = NOW - age
    return Row(verified_at=verified_at, refresh_after=verified_at + timedelta(minutes=48), **fields)  # type: ignore[arg-type]


def of(row: Row, **options: object) -> Decision:
    return decide(row, NOW, WINDOWS, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("age", "expected"),
    [
        (timedelta(0), Tier.FRESH),
        (timedelta(minutes=47, seconds=59), Tier.FRESH),
        (timedelta(minutes=48), Tier.DUE),
        (timedelta(minutes=59, seconds=59), Tier.DUE),
        (timedelta(hours=1), Tier.STALE),
        (timedelta(hours=23, minutes=59, seconds=59), Tier.STALE),
        (timedelta(hours=24), Tier.EXPIRED),
        (timedelta(days=1, minutes=10), Tier.EXPIRED),
        (timedelta(days=40), Tier.EXPIRED),
        (-timedelta(minutes=5), Tier.FRESH),
    ],
)
def test_each_age_has_its_tier_to_the_second(age: timedelta, expected: Tier) -> None:
    assert tier(aged(age), NOW, WINDOWS) is expected


def test_a_list_that_was_never_verified_has_no_age() -> None:
    assert tier(Row(), NOW, WINDOWS) is Tier.NONE


@pytest.mark.parametrize(
    ("age", "serve", "ask", "wait"),
    [
        (timedelta(minutes=10), True, False, Wait.NONE),
        (timedelta(minutes=50), True, True, Wait.NONE),
        (timedelta(hours=5), True, True, Wait.SOFT),
        (timedelta(hours=30), False, True, Wait.BUDGET),
    ],
)
def test_what_a_reader_gets_while_nobody_limits_us(age: timedelta, serve: bool, ask: bool, wait: Wait) -> None:
    decision = of(aged(age))

    assert (decision.serve, decision.ask, decision.wait) == (serve, ask, wait)


def test_a_reader_without_any_list_waits_for_the_first() -> None:
    decision = of(Row())

    assert (decision.serve, decision.claim, decision.wait) == (False, True, Wait.BUDGET)
    assert decision.priority is Priority.COLD


@pytest.mark.parametrize("age", [timedelta(minutes=50), timedelta(hours=5), timedelta(hours=30)])
def test_nobody_asks_before_the_moment_that_a_failure_named(age: timedelta) -> None:
    row = aged(age, not_before=NOW + SECOND, reason="rate_limited")

    decision = of(row)

    assert not decision.ask
    assert (decision.reason, decision.until) == (Reason.RATE_LIMITED, row.not_before)


def test_that_moment_is_half_open() -> None:
    assert of(aged(5 * HOUR, not_before=NOW, reason="unavailable")).claim


def test_a_running_attempt_is_waited_for_and_not_doubled() -> None:
    decision = of(aged(5 * HOUR, lease_until=NOW + 8 * SECOND))

    assert (decision.ask, decision.claim, decision.wait) == (True, False, Wait.SOFT)
    assert decision.reason is Reason.IN_PROGRESS


def test_a_lease_that_ran_out_is_nobodys() -> None:
    assert of(aged(5 * HOUR, lease_until=NOW)).claim


def test_a_lease_of_before_the_clock_jumped_back_is_nobodys() -> None:
    assert of(aged(5 * HOUR, lease_until=NOW + HOUR)).claim


@pytest.mark.parametrize("row", [aged(5 * HOUR), Row()])
def test_a_refresh_that_may_not_start_changes_nothing_about_what_is_served(row: Row) -> None:
    end = NOW + 40 * SECOND

    decision = of(row).not_now(Reason.GLOBAL_LIMIT, end)

    assert (decision.tier, decision.serve) == (of(row).tier, of(row).serve)
    assert (decision.ask, decision.claim, decision.wait) == (False, False, Wait.NONE)
    assert (decision.reason, decision.until) == (Reason.GLOBAL_LIMIT, end)


@pytest.mark.parametrize("row", [aged(timedelta(minutes=50)), aged(5 * HOUR), Row()])
def test_the_reader_who_starts_a_refresh_waits_for_it_like_all_the_others(row: Row) -> None:
    end = NOW + WINDOWS.lease

    decision = of(row).under_way(end)

    assert (decision.ask, decision.claim, decision.wait) == (True, False, of(row).wait)
    assert (decision.reason, decision.until) == (Reason.IN_PROGRESS, end)
    assert decision == of(replace(row, lease_until=end))


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (
            aged(5 * HOUR, reason="missing_scope"),
            Decision(Tier.STALE, False, False, False, Wait.NONE, Reason.MISSING_SCOPE, None),
        ),
        (
            aged(timedelta(minutes=10)),
            Decision(Tier.FRESH, True, False, False, Wait.NONE, None, NOW + timedelta(minutes=38)),
        ),
        (
            aged(5 * HOUR, not_before=NOW + SECOND, reason="unavailable"),
            Decision(Tier.STALE, True, False, False, Wait.NONE, Reason.UNAVAILABLE, NOW + SECOND),
        ),
        (
            aged(timedelta(minutes=50), lease_until=NOW + SECOND),
            Decision(Tier.DUE, True, True, False, Wait.NONE, Reason.IN_PROGRESS, NOW + SECOND),
        ),
        (
            aged(5 * HOUR, not_before=NOW, reason="unavailable"),
            Decision(Tier.STALE, True, True, True, Wait.SOFT, Reason.UNAVAILABLE, NOW),
        ),
    ],
    ids=["refused", "fresh", "not yet", "in progress", "claim"],
)
def test_each_kind_of_decision_is_complete(row: Row, expected: Decision) -> None:
    assert of(row) == expected


@pytest.mark.parametrize(
    ("age", "priority"),
    [
        (timedelta(minutes=50), Priority.DUE),
        (timedelta(hours=5), Priority.STALE),
        (timedelta(hours=30), Priority.COLD),
    ],
)
def test_the_older_the_list_the_earlier_its_refresh_may_be_sent(age: timedelta, priority: Priority) -> None:
    assert of(aged(age)).priority is priority


def test_only_a_429_is_a_limit_and_only_a_no_is_a_refusal() -> None:
    assert {reason for reason in Reason if reason.is_limit} == {"rate_limited", "global_limit", "cloudflare"}
    assert {reason for reason in Reason if reason.is_refusal} == {"reconnect_required", "missing_scope", "bot_absent"}


@pytest.mark.parametrize("reason", ["reconnect_required", "missing_scope", "bot_absent"])
@pytest.mark.parametrize("age", [timedelta(minutes=10), timedelta(minutes=50), timedelta(hours=5), timedelta(hours=30)])
def test_no_list_stands_in_for_a_refusal(reason: str, age: timedelta) -> None:
    decision = of(aged(age, reason=reason))

    assert (decision.serve, decision.ask, decision.reason) == (False, False, Reason(reason))


def test_a_demand_for_a_younger_list_is_not_met_by_a_fresh_one() -> None:
    row = aged(timedelta(minutes=10))

    met = of(row, wanted_since=NOW - timedelta(minutes=10))
    unmet = of(row, wanted_since=NOW - timedelta(minutes=9, seconds=59))

    assert (met.serve, met.ask) == (True, False)
    assert (unmet.serve, unmet.claim, unmet.wait) == (False, True, Wait.BUDGET)


def test_a_demand_fails_closed_while_asking_is_forbidden() -> None:
    decision = of(aged(timedelta(minutes=10), not_before=NOW + SECOND, reason="unavailable"), wanted_since=NOW)

    assert (decision.serve, decision.ask) == (False, False)


def test_the_soft_wait_counts_from_the_start_of_the_refresh() -> None:
    started_now, started_earlier = NOW + WINDOWS.lease, NOW + WINDOWS.lease - timedelta(milliseconds=700)

    assert soft_wait_left(started_now, NOW, WINDOWS) == timedelta(seconds=1)
    assert soft_wait_left(started_earlier, NOW, WINDOWS) == timedelta(milliseconds=300)
    assert soft_wait_left(NOW, NOW, WINDOWS) == timedelta(0)


def test_a_refresh_without_a_lease_is_not_waited_for() -> None:
    assert soft_wait_left(None, NOW, WINDOWS) == timedelta(0)


@pytest.mark.parametrize(("streak", "seconds"), [(0, 30), (1, 60), (2, 120), (4, 480), (5, 900), (60, 900)])
def test_failures_double_the_pause_up_to_a_quarter_of_an_hour(streak: int, seconds: int) -> None:
    assert retry_pause(streak, None, 1.0) == timedelta(seconds=seconds)


def test_jitter_lengthens_the_pause() -> None:
    assert retry_pause(0, None, 1.25) == timedelta(seconds=37.5)


def test_discords_own_wait_is_never_shortened() -> None:
    assert retry_pause(0, 82_721.5, 1.25) == timedelta(seconds=82_721.5)
    assert retry_pause(0, 2.0, 1.0) == timedelta(seconds=30)


moments = st.none() | st.integers(-90_000, 90_000).map(lambda seconds: NOW + timedelta(seconds=seconds))
rows = st.builds(
    Row,
    verified_at=moments,
    refresh_after=moments,
    not_before=moments,
    reason=st.sampled_from(["", *Reason]),
    lease_until=moments,
)


@given(rows, moments)
def test_whatever_the_row_says_no_promise_is_broken(row: Row, wanted: datetime | None) -> None:
    decision = decide(row, NOW, WINDOWS, wanted_since=wanted)

    if decision.serve:
        assert row.verified_at is not None
        assert NOW - row.verified_at < WINDOWS.stale
    if decision.claim:
        assert decision.ask
        assert not (row.not_before and row.not_before > NOW)
        assert not is_leased(row.lease_until, NOW, WINDOWS.lease)
    if not decision.serve and not decision.ask:
        assert decision.reason is not None


@given(rows, moments, st.integers(-(10**7), 10**7))
def test_shifting_all_times_changes_nothing(row: Row, wanted: datetime | None, by: int) -> None:
    delta = timedelta(seconds=by)

    def shifted(moment: datetime | None) -> datetime | None:
        return moment + delta if moment else None

    before = decide(row, NOW, WINDOWS, wanted_since=wanted)
    after = decide(
        Row(
            shifted(row.verified_at),
            shifted(row.refresh_after),
            shifted(row.not_before),
            row.reason,
            shifted(row.lease_until),
        ),
        NOW + delta,
        WINDOWS,
        wanted_since=shifted(wanted),
    )

    assert replace(after, until=before.until) == before
    assert after.until == shifted(before.until)


@given(st.floats(0.9, 1.1))
def test_a_list_comes_due_between_072_and_088_of_the_fresh_window(jitter: float) -> None:
    due = refresh_moment(NOW, WINDOWS, 0.8, jitter)

    assert HOUR * 0.7199 <= due - NOW <= HOUR * 0.8801


def test_a_list_comes_due_at_the_end_of_the_fresh_window_at_the_latest() -> None:
    assert refresh_moment(NOW, WINDOWS, 1.0, 1.1) == NOW + WINDOWS.fresh


@pytest.mark.parametrize(
    ("reason", "silent_at", "recovered_at", "waits"),
    [
        (Reason.UNAVAILABLE, -2, -1, False),
        (Reason.UNAVAILABLE, -1, -1, True),  # silent since then, too
        (Reason.UNAVAILABLE, -1, -2, True),
        (Reason.UNAVAILABLE, -1, None, True),
        (Reason.UNAVAILABLE, None, -1, True),  # Discord named the wait
        (Reason.RATE_LIMITED, -2, -1, True),
        (Reason.BUSY, -2, -1, True),
    ],
)
def test_a_good_answer_ends_the_waits_that_silence_caused(
    reason: Reason, silent_at: int | None, recovered_at: int | None, waits: bool
) -> None:
    row = Row(
        not_before=NOW + HOUR,
        reason=reason,
        silent_at=None if silent_at is None else NOW + silent_at * SECOND,
        recovered_at=None if recovered_at is None else NOW + recovered_at * SECOND,
    )

    assert wait_end(row, NOW) == (NOW + HOUR if waits else None)
    assert wait_end(row, NOW + HOUR) is None
    assert of(row).claim is not waits


@pytest.mark.parametrize(
    ("fields", "probes"),
    [
        ({}, True),
        ({"probe_after": NOW}, True),
        ({"probe_after": NOW + SECOND}, False),  # another reader tries
        ({"silent_at": NOW - 29 * SECOND}, False),
        ({"silent_at": None}, False),  # Discord named the wait
        ({"silent_since": None}, False),  # Discord answers
        ({"reason": "rate_limited"}, False),
    ],
)
def test_who_has_waited_for_half_a_minute_may_find_out_whether_a_silence_is_over(
    fields: dict[str, Any], probes: bool
) -> None:
    silent = Row(
        not_before=NOW + HOUR, reason="unavailable", silent_at=NOW - 30 * SECOND, silent_since=NOW - 90 * SECOND
    )

    decision = of(replace(silent, **fields))

    assert (decision.probes, decision.claim) == (probes, probes)
    assert decision.until == (NOW if probes else NOW + HOUR)
