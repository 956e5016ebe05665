"""The rules of the gate and the send budget, without database, Discord and clock."""

import random
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from accounts.limits import LEASE_MARGIN, MAX_AHEAD, Allowance, Gate, GateShut, Kind, Priority, Reason, is_leased

NOW = datetime(2026, 3, 14, 15, 9, 26, tzinfo=UTC)
SECOND = timedelta(seconds=1)
LEASE = 12 * SECOND


def admit(state: Gate, priority: Priority = Priority.COLD, now: datetime = NOW) -> Gate:
    return state.admit(priority, now, rate=20, lease=LEASE)


def test_an_open_gate_lets_a_send_through_and_moves_the_send_clock() -> None:
    after = admit(Gate())

    assert (after.streak, after.until) == (0, None)
    assert after.tat == NOW + SECOND / 20


def test_a_shut_gate_lets_nothing_through_before_its_end() -> None:
    shut = Gate().shut(Reason.GLOBAL_LIMIT, 40 * SECOND, NOW, probe=None)

    with pytest.raises(GateShut) as refusal:
        admit(shut, now=NOW + 39 * SECOND)

    assert (refusal.value.reason, refusal.value.until) == (Reason.GLOBAL_LIMIT, NOW + 40 * SECOND)
    assert refusal.value.retry_after == 1


def test_after_its_end_exactly_one_probe_goes() -> None:
    end = NOW + 40 * SECOND
    shut = Gate().shut(Reason.GLOBAL_LIMIT, 40 * SECOND, NOW, probe=None)

    probing = admit(shut, now=end)

    assert probing.until == end + LEASE
    with pytest.raises(GateShut):
        admit(probing, now=end + LEASE - SECOND / 100)
    assert admit(probing, now=end + LEASE).until == end + 2 * LEASE


@pytest.mark.parametrize(("ends_in", "is_shut"), [(SECOND, True), (0 * SECOND, False), (-SECOND, False)])
def test_of_a_restored_gate_only_a_wait_that_has_not_ended_counts(ends_in: timedelta, is_shut: bool) -> None:
    silent = Gate(NOW + ends_in, "cloudflare", 3, NOW, 7, "here", NOW - SECOND, NOW - 2 * SECOND)

    restored = silent.restored(NOW)

    wait = (NOW + ends_in, "cloudflare", 3) if is_shut else (None, "", 0)
    assert restored == Gate(*wait, None, 7, "here", None, NOW - 2 * SECOND)
    assert restored.shut_until(NOW) == (NOW + ends_in if is_shut else None)


def test_only_the_probe_itself_opens_the_gate() -> None:
    probing = Gate(until=NOW + LEASE, reason=Reason.GLOBAL_LIMIT, streak=2)

    assert probing.opened(NOW + LEASE) == Gate()
    assert probing.opened(NOW + LEASE - SECOND) == probing


def test_a_probe_that_is_limited_again_shuts_the_gate_for_longer() -> None:
    probing = Gate(until=NOW + LEASE, reason=Reason.CLOUDFLARE, streak=3)

    shut = probing.shut(Reason.CLOUDFLARE, None, NOW, probe=NOW + LEASE)

    assert (shut.streak, shut.until) == (4, NOW + timedelta(seconds=60 * 8))


def test_answers_that_were_on_the_wire_do_not_count_as_new_limits() -> None:
    shut = Gate().shut(Reason.GLOBAL_LIMIT, 40 * SECOND, NOW, probe=None)

    later = shut.shut(Reason.GLOBAL_LIMIT, 10 * SECOND, NOW + SECOND, probe=None)

    assert (later.streak, later.until) == (1, NOW + 40 * SECOND)


def test_an_unnamed_wait_stops_growing_at_an_hour() -> None:
    shut = Gate(until=NOW, reason=Reason.CLOUDFLARE, streak=30).shut(Reason.CLOUDFLARE, None, NOW, probe=None)

    assert shut.until == NOW + timedelta(hours=1)


def test_the_send_budget_lets_cold_readers_before_stale_before_sign_ins_before_due() -> None:
    busy = Gate(tat=NOW + timedelta(milliseconds=300))

    assert admit(busy, Priority.COLD)
    assert admit(busy, Priority.STALE)
    with pytest.raises(GateShut):
        admit(busy, Priority.SIGN_IN)
    with pytest.raises(GateShut) as refusal:
        admit(busy, Priority.DUE)
    assert (refusal.value.reason, refusal.value.until) == (Reason.BUSY, NOW + timedelta(milliseconds=200))
    assert admit(Gate(tat=NOW + Priority.SIGN_IN.value), Priority.SIGN_IN)
    assert Priority.SIGN_IN.value > Priority.DUE.value


def test_no_second_holds_more_than_the_rate_and_one_burst() -> None:
    state, sent = Gate(), 0
    for step in range(400):
        try:
            state = admit(state, Priority.COLD, NOW + step * SECOND / 100)
            sent += 1
        except GateShut:
            pass

    assert 4 * 20 <= sent <= 4 * 20 + 21


@pytest.mark.parametrize("module", ["accounts.limits", "guilds.engine.freshness"])
def test_the_rules_are_imported_without_django(module: str) -> None:
    code = f"import sys, {module}; print([name for name in sys.modules if name.partition('.')[0] == 'django'])"

    imported = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert imported.stdout == "[]\n"


@pytest.mark.parametrize(
    ("scope", "reason"),
    [("global", "global_limit"), ("cloudflare", "cloudflare"), ("user", "rate_limited"), ("shared", "rate_limited")],
)
def test_the_scope_of_a_429_says_who_is_limited(scope: str, reason: str) -> None:
    assert Reason.of_limit(scope) == reason
    assert Reason.of_limit(None) == Reason.of_limit("unheard-of") == "rate_limited"


def test_a_request_that_was_not_sent_says_why_and_for_how_long() -> None:
    later, now = GateShut(Reason.BRAKE, NOW + SECOND, NOW), GateShut(Reason.BUSY, NOW - SECOND, NOW)

    assert (str(later), later.sent, later.retry_after) == ("not sent (brake)", False, 1.0)
    assert (str(now), now.sent, now.retry_after) == ("not sent (busy)", False, 0.0)


def test_a_priority_may_send_exactly_as_far_ahead_as_it_says() -> None:
    ahead = Gate(tat=NOW + Priority.STALE.value)

    assert admit(ahead, Priority.STALE).tat == NOW + Priority.STALE.value + SECOND / 20
    with pytest.raises(GateShut):
        admit(ahead, Priority.STALE, NOW - timedelta(microseconds=1))


@pytest.mark.parametrize(("reason", "seconds"), [(Reason.GLOBAL_LIMIT, 1), (Reason.CLOUDFLARE, 60)])
def test_a_first_wait_that_discord_did_not_name_depends_on_who_limits(reason: Reason, seconds: int) -> None:
    assert Gate().shut(reason, None, NOW, probe=None).until == NOW + timedelta(seconds=seconds)


def test_a_limited_probe_waits_as_long_as_discord_says_and_not_until_its_lease_ends() -> None:
    probing = Gate(until=NOW + LEASE, reason=Reason.GLOBAL_LIMIT, streak=1)

    assert probing.shut(Reason.GLOBAL_LIMIT, SECOND, NOW, probe=NOW + LEASE).until == NOW + SECOND


@pytest.mark.parametrize(
    ("ahead", "counts"),
    [
        (timedelta(0), False),
        (timedelta(microseconds=1), True),
        (MAX_AHEAD, True),
        (MAX_AHEAD + timedelta(microseconds=1), False),
        (timedelta(hours=1), False),
        (-timedelta(hours=1), False),
    ],
)
def test_a_send_clock_further_ahead_than_any_send_can_set_it_is_past(ahead: timedelta, counts: bool) -> None:
    """The database's clock jumped back; without this rule, sign-in would fail until it has caught up."""
    gate = Gate(tat=NOW + ahead)

    assert gate.ahead(NOW) == (ahead if counts else timedelta(0))
    if not counts:
        assert admit(gate, Priority.DUE).tat == NOW + SECOND / 20


@pytest.mark.parametrize("rate", [1, 50])
def test_no_send_sets_the_send_clock_further_ahead_than_counts(rate: int) -> None:
    gate = Gate(tat=NOW + Priority.COLD.value).admit(Priority.COLD, NOW, rate=rate, lease=LEASE)

    assert gate.tat
    assert gate.ahead(NOW) == gate.tat - NOW


@pytest.mark.parametrize(
    ("left", "runs"),
    [
        (timedelta(0), False),
        (timedelta(microseconds=1), True),
        (LEASE, True),
        (LEASE + LEASE_MARGIN, True),
        (LEASE + LEASE_MARGIN + timedelta(microseconds=1), False),
        (timedelta(hours=1), False),
        (None, False),
    ],
)
def test_a_lease_longer_than_its_own_length_is_nobodys(left: timedelta | None, runs: bool) -> None:
    assert is_leased(None if left is None else NOW + left, NOW, LEASE) is runs


@pytest.mark.parametrize(("seconds", "ended"), [(0, False), (29.9, False), (30, True), (3600, True)])
def test_a_good_answer_ends_a_silence_that_lasted(seconds: float, ended: bool) -> None:
    later = NOW + timedelta(seconds=seconds)
    silent = Gate().silenced(NOW)

    assert silent.silenced(later) == silent
    assert silent.answered(later) == Gate(recovered_at=later if ended else None)
    assert Gate(recovered_at=NOW).answered(later) == Gate(recovered_at=NOW)


# allowances

FIVE = Kind("member", 5, 305 * SECOND)
NAMED_ONLY = Kind("bot_member")


def after(sent: int, until: datetime | None = None) -> Allowance:
    return Allowance(NOW + 100 * SECOND, sent, until)


@pytest.mark.parametrize(
    ("priority", "usable"), [(Priority.COLD, 5), (Priority.SIGN_IN, 5), (Priority.STALE, 4), (Priority.DUE, 3)]
)
def test_due_answers_leave_two_requests_stale_ones_one_and_readers_without_an_answer_none(
    priority: Priority, usable: int
) -> None:
    closed = [after(sent).closed_until(FIVE, NOW, priority) for sent in range(7)]

    assert closed == [None] * usable + [NOW + 100 * SECOND] * (7 - usable)


@pytest.mark.parametrize("priority", list(Priority))
def test_the_smallest_allowance_is_enough_for_every_priority(priority: Priority) -> None:
    smallest = Kind("member", 1, SECOND)

    assert Allowance().closed_until(smallest, NOW, priority) is None
    assert Allowance(NOW + SECOND, 0).closed_until(smallest, NOW, priority) is None
    assert Allowance(NOW + SECOND, 1).closed_until(smallest, NOW, priority) == NOW + SECOND


def test_a_window_begins_with_its_first_request() -> None:
    first = Allowance().taken(FIVE, NOW)
    second = first.taken(FIVE, NOW + 200 * SECOND)

    assert (first.window_ends_at, first.sent) == (NOW + 305 * SECOND, 1)
    assert (second.window_ends_at, second.sent) == (NOW + 305 * SECOND, 2)
    third = second.taken(FIVE, NOW + 305 * SECOND)
    assert (third.window_ends_at, third.sent) == (NOW + 610 * SECOND, 1)


def test_a_used_up_allowance_refuses_until_the_end_of_its_window() -> None:
    with pytest.raises(GateShut) as refusal:
        after(5).taken(FIVE, NOW)

    assert (refusal.value.reason, refusal.value.until) == (Reason.RATE_LIMITED, NOW + 100 * SECOND)
    assert after(5).taken(FIVE, NOW + 100 * SECOND).sent == 1


def test_a_window_that_ends_too_late_was_written_before_the_clock_jumped_back() -> None:
    jumped = Allowance(NOW + 305 * SECOND + LEASE_MARGIN + SECOND, 5)

    assert jumped.closed_until(FIVE, NOW, Priority.DUE) is None
    assert jumped.taken(FIVE, NOW) == Allowance(NOW + 305 * SECOND, 1)


@pytest.mark.parametrize(("wait", "seconds"), [(40 * SECOND, 40), (None, 305)])
def test_a_limit_closes_an_allowance_for_the_named_wait_or_a_whole_window(wait: timedelta | None, seconds: int) -> None:
    limited = after(1).limited(FIVE, wait, NOW)

    end = NOW + seconds * SECOND
    assert limited == after(1, end)
    assert limited.closed_until(FIVE, NOW, Priority.COLD) == end
    assert limited.closed_until(FIVE, end, Priority.COLD) is None


def test_a_shorter_wait_does_not_shorten_a_longer_one() -> None:
    assert after(1, NOW + 40 * SECOND).limited(FIVE, SECOND, NOW).until == NOW + 40 * SECOND


@pytest.mark.parametrize(("until", "last"), [(99, 100), (101, 101)])
def test_the_obstacle_that_ends_last_counts(until: int, last: int) -> None:
    found = after(5, NOW + until * SECOND).closed_until(FIVE, NOW, Priority.COLD)

    assert found == NOW + last * SECOND


def test_a_limit_without_a_number_knows_only_named_waits() -> None:
    assert Allowance().taken(NAMED_ONLY, NOW) == Allowance()
    assert after(99).closed_until(NAMED_ONLY, NOW, Priority.DUE) is None
    with pytest.raises(GateShut):
        Allowance(until=NOW + SECOND).taken(NAMED_ONLY, NOW)


def test_no_window_of_discords_gets_a_sixth_request() -> None:
    """Its windows begin with a request too, when it arrives, up to five seconds after it was sent."""
    kind = Kind("member", 5, 305 * SECOND, 5 * SECOND)
    for seed in range(300):
        chance = random.Random(seed)
        ours, arrivals, now = Allowance(), [], NOW
        for _ in range(60):
            now += chance.choice((1, 1, 1, 20, 100, 290)) * chance.random() * SECOND
            if ours.closed_until(kind, now, Priority.COLD) is None:
                ours = ours.taken(kind, now)
                arrivals.append(now + 5 * chance.random() * SECOND)
        began, count = arrivals[0] - 300 * SECOND, 0
        for arrival in sorted(arrivals):
            began, count = (began, count + 1) if arrival < began + 300 * SECOND else (arrival, 1)
            assert count <= 5, f"seed {seed}"


def test_nothing_is_sent_while_a_window_may_have_ended_at_discord() -> None:
    kind = Kind("member", 5, 305 * SECOND, 5 * SECOND)
    begun = Allowance().taken(kind, NOW)

    assert begun.closed_until(kind, NOW + 294 * SECOND, Priority.DUE) is None
    assert begun.closed_until(kind, NOW + 295 * SECOND, Priority.COLD) == NOW + 305 * SECOND
    assert begun.closed_until(kind, NOW + 305 * SECOND, Priority.DUE) is None
