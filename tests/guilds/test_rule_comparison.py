"""The rule that took the gate, beside the one that doesn't: a reader gets the same from both, in every case."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import product

from accounts.limits import GateShut
from guilds.freshness import Decision, Reason, Record, Tier, Wait, Windows, _wait, decide, tier

NOW = datetime(2026, 3, 14, 15, 9, 26, tzinfo=UTC)
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)
MICROSECOND = timedelta(microseconds=1)
BUSY_PAUSE = 2 * SECOND
WINDOWS = Windows(fresh=HOUR, stale=24 * HOUR, soft_wait=SECOND, lease=12 * SECOND)


@dataclass(frozen=True)
class Row:
    verified_at: datetime | None
    refresh_after: datetime | None
    not_before: datetime | None
    reason: str
    lease_until: datetime | None


def decide_before(
    record: Record, shut: GateShut | None, now: datetime, windows: Windows, *, wanted_since: datetime | None = None
) -> Decision:
    """What a reader at `now` gets of `record`.

    `shut` is what the gate answered, None for open (or not asked, which can't change a decision that doesn't ask).
    `wanted_since` demands a list verified at that moment or later.
    """
    kind = tier(record, now, windows)
    reason = Reason(record.reason) if record.reason else None
    if reason and reason.is_refusal:
        return Decision(kind, serve=False, ask=False, claim=False, wait=Wait.NONE, reason=reason, until=None)

    satisfied = wanted_since is None or (record.verified_at is not None and record.verified_at >= wanted_since)
    serve = satisfied and kind in (Tier.FRESH, Tier.DUE, Tier.STALE)
    if serve and kind is Tier.FRESH:
        return Decision(
            kind, serve=True, ask=False, claim=False, wait=Wait.NONE, reason=None, until=record.refresh_after
        )

    if record.not_before and record.not_before > now:
        until = max(record.not_before, shut.until) if shut else record.not_before
        return Decision(kind, serve, ask=False, claim=False, wait=Wait.NONE, reason=reason or Reason.BUSY, until=until)
    if record.lease_until and record.lease_until > now:
        wait = _wait(kind, serve)
        return Decision(
            kind, serve, ask=True, claim=False, wait=wait, reason=Reason.IN_PROGRESS, until=record.lease_until
        )
    if shut:
        return Decision(kind, serve, ask=False, claim=False, wait=Wait.NONE, reason=shut.reason, until=shut.until)
    return Decision(kind, serve, ask=True, claim=True, wait=_wait(kind, serve), reason=reason, until=now)


def read_before(row: Row, shut: GateShut | None, slot: bool, wanted: datetime | None) -> Decision:
    """A reader's decision, as `services` came to it: by asking the rule a second time with the gate."""
    decision = decide_before(row, None, NOW, WINDOWS, wanted_since=wanted)
    if decision.claim and shut:
        decision = decide_before(row, shut, NOW, WINDOWS, wanted_since=wanted)
    if decision.claim and not slot:
        return replace(decision, ask=False, reason=decision.reason or Reason.BUSY, until=NOW + BUSY_PAUSE)
    if decision.claim:
        return replace(decision, claim=False, reason=Reason.IN_PROGRESS, until=NOW + WINDOWS.lease)
    return decision


def read_now(row: Row, shut: GateShut | None, slot: bool, wanted: datetime | None) -> Decision:
    """A reader's decision, as `services` comes to it."""
    decision = decide(row, NOW, WINDOWS, wanted_since=wanted)
    if not decision.claim:
        return decision
    if shut:
        return decision.not_now(shut.reason, shut.until)
    if not slot:
        return decision.not_now(decision.reason or Reason.BUSY, NOW + BUSY_PAUSE)
    return decision.under_way(NOW + WINDOWS.lease)


def acted_on(decision: Decision) -> Decision:
    """`claim` and `wait` mean nothing to a reader who doesn't ask; the old rule left them as they were."""
    return decision if decision.ask else replace(decision, claim=False, wait=Wait.NONE)


AGES = (
    *(-5 * 60 * SECOND, 0 * SECOND, 10 * 60 * SECOND, 48 * 60 * SECOND - MICROSECOND, 48 * 60 * SECOND),
    *(HOUR - MICROSECOND, HOUR, 24 * HOUR - MICROSECOND, 24 * HOUR, 40 * 24 * HOUR),
)
LISTS = [(None, None), *((NOW - age, due) for age in AGES for due in (NOW - age + 48 * 60 * SECOND, NOW, None))]
BOUNDS = (None, NOW - SECOND, NOW, NOW + MICROSECOND, NOW + 600 * SECOND)
GATES = (
    None,
    *(
        GateShut(reason, NOW + wait, NOW)
        for reason in (Reason.GLOBAL_LIMIT, Reason.CLOUDFLARE, Reason.BRAKE)
        for wait in (MICROSECOND, 40 * SECOND, HOUR)
    ),
)
WANTED = (None, NOW - 11 * 60 * SECOND, NOW - 10 * 60 * SECOND, NOW - 5 * SECOND, NOW)


def test_a_reader_gets_the_same_from_the_old_rule_and_the_new() -> None:
    cases = 0
    tiers: set[Tier] = set()
    for (verified, due), not_before, reason, lease in product(LISTS, BOUNDS, ("", *Reason), BOUNDS):
        row = Row(verified, due, not_before, reason, lease)
        for shut, slot, wanted in product(GATES, (True, False), WANTED):
            before, now = read_before(row, shut, slot, wanted), read_now(row, shut, slot, wanted)
            assert acted_on(now) == acted_on(before), (row, shut, slot, wanted)
            cases += 1
            tiers.add(now.tier)

    assert tiers == set(Tier)
    assert cases == 31 * 5 * 10 * 5 * 10 * 2 * 5
