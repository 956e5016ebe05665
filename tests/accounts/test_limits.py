"""The rules of the gate and the send budget. No database, no Discord, no clock."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from accounts.limits import Gate, GateShut, Priority, Reason

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


def test_the_send_budget_lets_cold_readers_before_stale_before_due() -> None:
    busy = Gate(tat=NOW + timedelta(milliseconds=300))

    assert admit(busy, Priority.COLD)
    assert admit(busy, Priority.STALE)
    with pytest.raises(GateShut) as refusal:
        admit(busy, Priority.DUE)
    assert (refusal.value.reason, refusal.value.until) == (Reason.BUSY, NOW + timedelta(milliseconds=200))


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
