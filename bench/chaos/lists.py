"""The promises about what is asked of Discord for a person, and what they are shown and told.

Those are G1 to G4, G9, G11 and G13. What holds for a list holds for a member where a rule goes through all records.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise, product
from typing import TypeVar

from bench.chaos.known import (
    BLINK,
    COMMIT,
    DAY,
    LISTS,
    MEMBERSHIPS,
    REFUSALS,
    WIRE,
    Change,
    Finding,
    Guilds,
    Key,
    Read,
    Row,
    Run,
    Settings,
    Version,
    ending,
    is_claim,
    steps,
)

T = TypeVar("T")

GATE_REASONS = ("global_limit", "cloudflare")
DATABASE_UNAVAILABLE = "/problems/database-unavailable"
TOO_SOON = "/problems/refresh-too-soon"
# The statuses for a reader without a list: the list, accepted, sign-in, a refusal, a wait.
EXPECTED_STATUSES = (200, 202, 302, 401, 403, 429, 503)


def g1_one_attempt_at_a_time(run: Run) -> Finding:
    """A lease is acquired only if none is running, and each request belongs to the attempt that holds it."""
    found = Finding("G1 R1 single flight")
    for (user_id, _), changes in run.records.items():
        for change in changes:
            if is_claim(change) and change.before and change.after:
                lease, generation = change.before["lease_until"], change.before["generation"]
                found.expect(
                    lease is None or lease <= change.at + BLINK,
                    change.at,
                    user_id,
                    f"claimed {(lease or 0) - change.at:.2f} s before another lease ended",
                )
                found.expect(
                    change.after["lease_until"] >= change.at + run.settings.lease - WIRE,
                    change.at,
                    user_id,
                    f"acquired a lease of only {change.after['lease_until'] - change.at:.2f} s",
                )
                found.expect(
                    change.after["generation"] == generation + 1, change.at, user_id, "the claim skipped a generation"
                )
    covered = {id(request) for attempt in run.all_attempts() for request in attempt.perhaps}
    for request in run.requests:
        if request.is_for_record and request.person is not None:
            what = f"{request.person}'s {'list' if request.is_list else 'member'}"
            found.expect(id(request) in covered, request.at, None, f"{what} was requested without a lease")
    for attempt in run.all_attempts():
        for earlier, later in pairwise(attempt.requests):
            found.expect(
                later.at >= earlier.end - BLINK or earlier.status is None,
                later.at,
                attempt.user_id,
                "two requests of one attempt at once",
            )
    return found


def g2_an_attempt_is_one_request_and_its_retries(run: Run) -> Finding:
    """An attempt is one request, plus its retries after 429, plus one more with its own retries after a 401."""
    found = Finding("G2 requests of one attempt")
    for attempt in run.all_attempts():
        sent = attempt.requests
        limited = sum(request.status == 429 for request in sent)
        refused = sum(request.status == 401 for request in sent)
        most = 1 + min(limited, run.settings.retries * (1 + refused)) + refused
        if sent:
            found.expect(
                len(sent) <= most,
                attempt.at,
                attempt.user_id,
                f"{len(sent)} requests with the responses {[request.status for request in sent]}",
            )
    return found


def g2_failing_people_are_asked_once_in_30_seconds(run: Run) -> Finding:
    """Between a failed attempt that sent a request and the next attempt are 30 s, less what the bench skipped.

    A good response after a silence ends the waits that the silence caused.
    """
    found = Finding("G2 30 s after a failure")
    for key, attempts in run.attempts.items():
        for failed, following in pairwise(attempts):
            if failed.outcome != "failed" or not failed.requests or not failed.change or not failed.change.after:
                continue
            # A refusal is final, and global limits are enforced by the gate.
            if failed.change.after["reason"] in (*REFUSALS, *GATE_REASONS):
                continue
            if _has_recovered(run, failed.change.after, following.at - BLINK, following.at):
                continue
            passed = _advanced(run, key, failed.end, following.at)
            reason = failed.change.after["reason"]
            # The wait begins with the response, though the attempt may wait for its turn to write it.
            known = min(failed.end, max(request.end for request in failed.requests))
            found.expect(
                following.at + passed >= known + 30 - WIRE,
                following.at,
                failed.user_id,
                f"retried {following.at - known:.1f} s after a failure ({reason})",
            )
    return found


def _has_recovered(run: Run, row: Row, start: float, end: float) -> bool:
    """Whether the row's wait was for a silence that a good answer had ended, at some moment in between.

    From 30 s on the row may also be the probe that finds out.
    """
    silent_at = row.get("silent_at")
    if row["reason"] != "unavailable" or not silent_at:
        return False
    if end - silent_at >= 30:
        return True
    gates = (gate for _, gate in _in_force(steps(run.gate), start, end))
    return any(gate and (gate.get("recovered_at") or 0.0) > silent_at for gate in gates)


def _advanced(run: Run, key: Key, start: float, end: float) -> float:
    """Return by how many seconds the bench shortened the record's waits in between."""
    passed = 0.0
    for change in run.records.get(key, []):
        if start <= change.at <= end and change.actor and change.before and change.after:
            before, after = change.before["not_before"], change.after["not_before"]
            # A sign-in ends a wait that Discord did not name.
            passed += before - (after or 0.0) if before else 0.0
    return passed


def g2_nobody_is_asked_before_not_before(run: Run) -> Finding:
    """No claim before `not_before`, also by processes started later (G12)."""
    found = Finding("G2 G12 0 before not_before")
    for attempt in run.all_attempts():
        bound = attempt.before["not_before"]
        if bound is not None:
            found.expect(
                bound <= attempt.at + BLINK
                or _has_recovered(run, attempt.before, attempt.at - BLINK, attempt.at + BLINK),
                attempt.at,
                attempt.user_id,
                f"claimed {bound - attempt.at:.2f} s before not_before",
            )
    return found


def g2_what_discord_told_to_wait_is_waited(run: Run) -> Finding:
    """A wait named by Discord is obeyed, if the attempt that received it lived to store it."""
    found = Finding("G2 0 before Retry-After")
    for attempt in run.all_attempts():
        for request in attempt.requests:
            if request.status != 429:
                continue
            waits = [mood.wait or 0.0 for mood in run.moods_of(request)]
            wait = min(waits, default=0.0)
            if not wait or attempt.outcome not in ("failed", "verified"):
                continue
            # `request.end` is when the sandbox responded; the site's wait starts later.
            later = [
                other
                for others in run.attempts[attempt.key]
                for other in others.requests
                if other.at > request.at and others.at >= attempt.at
            ]
            for other in later[:1]:
                passed = _advanced(run, attempt.key, request.end, other.at)
                found.expect(
                    other.at + passed >= request.end + wait - BLINK,
                    other.at,
                    attempt.user_id,
                    f"requested {other.at - request.end:.2f} s after a response that named {wait:.0f} s",
                )
    return found


def g3_an_abandoned_list_is_taken_over(run: Run) -> Finding:
    """A read within a second after an abandoned lease's end claims the list, or gets the reason why not.

    The reason may be the database: on SQLite a process may be frozen while it holds the lock for writing.
    """
    found = Finding("G3 takeover")
    reads: dict[int, list[Read]] = defaultdict(list)
    for read in run.reads:
        if read.kind == "list" and read.status is not None:
            reads[read.user_id].append(read)
    told = ("busy", "brake", "rate_limited", "unavailable", "database", DATABASE_UNAVAILABLE, *GATE_REASONS)
    for attempt in run.all_attempts():
        ended = attempt.lease_until
        if not attempt.is_list or attempt.outcome not in ("taken over", "running") or attempt.end < ended:
            continue
        for read in reads[attempt.user_id]:
            if not ended <= read.at <= ended + 1 or run.was_away(read.site, read.at, read.end):
                continue
            rows = run.rows_during(attempt.key, ended, read.at)
            if any(row is None or row["reason"] in REFUSALS or run.served_fresh(row, read) for row in rows):
                continue
            changed = any(
                change.before and change.after and change.before["generation"] != change.after["generation"]
                for change in run.records[attempt.key]
                if ended - BLINK <= change.at <= read.end + BLINK
            )
            found.expect(
                changed or read.reason in told,
                read.at,
                attempt.user_id,
                f"read {read.at - ended:.2f} s after its lease without a new claim ({read.status}, {read.reason})",
            )
    return found


def g3_stored_lists_are_served(run: Run) -> Finding:
    """A person with a servable list gets it from each process that is neither down nor frozen.

    No read results in an error of the site.
    """
    found = Finding("G3 never an error")
    for read in run.reads:
        if run.was_away(read.site, read.at, read.end):
            continue
        rows = run.rows_during(read.key, read.at - COMMIT, read.end + BLINK)
        served = read.kind != "refresh" and all(run.may_be_served(row, read.end) for row in rows)
        found.expect(
            read.status == 200 if served else read.status in EXPECTED_STATUSES,
            read.end,
            read.user_id,
            f"{read.kind} got {read.status} ({read.reason}) from process {read.site} after "
            f"{read.end - read.at:.1f} s{', with a stored list' if served else ''}",
        )
    return found


def g4_lists_change_only_with_their_generation(run: Run) -> Finding:
    """Memberships change only in the transaction that ends the newest attempt, or when the person is forgotten."""
    found = Finding("G4 only with the lease")
    latest: dict[int, Change] = {}
    for change in run.changes:
        if change.model == LISTS:
            latest[change.user_id] = change
        elif change.model == MEMBERSHIPS and not change.actor:
            last = latest.get(change.user_id)
            found.expect(
                last
                and last.within == change.within
                and (ending(last) == "verified" or (change.after is None and _is_forgetting(last))),
                change.at,
                change.user_id,
                "a membership changed outside the end of the newest attempt",
            )
    return found


def _is_forgetting(change: Change) -> bool:
    if change.before is None or change.after is None:
        return change.after is None
    return {**change.before, "generation": 0} == {**change.after, "generation": 0}


def g4_stored_is_what_discord_sent(run: Run) -> Finding:
    """The list stored by an attempt is one that Discord had while it responded to that attempt."""
    found = Finding("G4 stored as sent")
    versions: dict[str, list[Version]] = defaultdict(list)
    for version in run.versions:
        versions[version.person].append(version)
    for attempt in run.all_attempts():
        if not attempt.is_list or attempt.outcome != "verified":
            continue
        sent: list[Guilds] = []
        for request in attempt.perhaps:
            if request.status != 200:
                continue
            sent += [
                version.guilds
                for version in versions[attempt.person]
                if version.at <= request.end + BLINK and version.until >= request.at - BLINK
            ]
            if any(mood.mode == "null_body" for mood in run.moods_of(request)):
                sent.append(frozenset())
        assert attempt.change
        stored = run.stored_with(attempt.change)
        found.expect(stored in sent, attempt.end, attempt.user_id, f"stored {sorted(stored)[:3]}, which was not sent")
    return found


def g9_no_list_is_a_day_old_and_its_age_is_true(run: Run) -> Finding:
    """A served list was stored at the time of the read, its age is correct, and it is less than a day old."""
    found = Finding("G9 age and content")
    for read in run.reads:
        if read.status != 200 or read.verified_at is None or read.age is None or read.guilds is None:
            continue
        verified_at = read.verified_at
        found.expect(read.age < DAY, read.end, read.user_id, f"a list {read.age} s old was served")
        found.expect(
            read.at - verified_at - 1 - BLINK <= read.age <= read.end - verified_at + BLINK,
            read.end,
            read.user_id,
            f"an age of {read.age} s was shown for a list verified {read.at - verified_at:.1f} s before",
        )
        rows = run.rows_during(read.key, read.at - COMMIT, read.end + BLINK)
        found.expect(
            any(row and row["verified_at"] and abs(row["verified_at"] - verified_at) < BLINK for row in rows),
            read.end,
            read.user_id,
            "a verification time was shown that was not stored then",
        )
        found.expect(
            read.guilds in run.stored_during(read.user_id, read.at - COMMIT, read.end + BLINK),
            read.end,
            read.user_id,
            f"the list {sorted(read.guilds)[:3]} was shown, which was not stored then",
        )
    return found


def g9_nothing_fresh_is_asked_for(run: Run) -> Finding:
    """A claimed list was due, stale or missing, or the person had pressed "refresh now"."""
    found = Finding("G9 fresh is not requested")
    pressed: dict[int, list[Read]] = defaultdict(list)
    for read in run.reads:
        if read.kind == "refresh":
            pressed[read.user_id].append(read)
    for attempt in run.all_attempts():
        on_purpose = attempt.is_list and any(
            read.at - BLINK <= attempt.at <= read.end + WIRE for read in pressed[attempt.user_id]
        )
        found.expect(
            on_purpose or not run.is_fresh(attempt.before, attempt.at),
            attempt.at,
            attempt.user_id,
            "a fresh list was requested",
        )
        found.expect(
            attempt.before["reason"] not in REFUSALS,
            attempt.at,
            attempt.user_id,
            "the list of a refused person was requested",
        )
    return found


def g11_only_ones_own_attempt_sets_ones_wait(run: Run) -> Finding:
    """`not_before` changes only at the end of the person's own attempt, and "rate_limited" needs a 429 of its own."""
    found = Finding("G11 waits are one's own")
    limited = [request for request in run.requests if request.status == 429 and not request.is_for_record]
    for attempt in run.all_attempts():
        # A member's may also come from the allowance, which R3 is about.
        if attempt.is_list and attempt.outcome == "failed" and attempt.change and attempt.change.after:
            # A token renewal may be limited too, and a revoked token has no owner.
            renewals = (
                request
                for request in limited
                if attempt.at - BLINK <= request.at <= attempt.end and request.person in (attempt.person, None)
            )
            found.expect(
                attempt.change.after["reason"] != "rate_limited"
                or any(request.status == 429 for request in attempt.perhaps)
                or any(renewals),
                attempt.end,
                attempt.user_id,
                "the reason is rate_limited although Discord sent no 429",
            )
    ends = {id(attempt.change) for attempt in run.all_attempts()}
    for (user_id, _), changes in run.records.items():
        for change in changes:
            if change.actor or not change.before or not change.after:
                continue
            if change.before["not_before"] != change.after["not_before"]:
                found.expect(
                    id(change) in ends, change.at, user_id, "not_before changed without an attempt for the person"
                )
    return found


def g13_a_refusal_says_truly_how_long(run: Run) -> Finding:
    """Every 429 and 503 names a Retry-After of at least one second that ends with the last obstacle."""
    found = Finding("G13 Retry-After")
    for read in run.reads:
        if read.status not in (429, 503):
            continue
        told = read.retry_after
        found.expect(told is not None and told >= 1, read.end, read.user_id, f"{read.status} without Retry-After")
        # A page has no machine-readable reason. A database problem (a process was frozen while it waited for a
        # connection) has a constant wait, because the site can't know when it ends.
        if told is None or read.kind == "page" or read.reason == DATABASE_UNAVAILABLE:
            continue
        found.expect(
            told <= 2 or any(_is_true(read, told, end) for end in _last_ends(run, read)),
            read.end,
            read.user_id,
            f"{read.status} {read.reason}: Retry-After is {told} s, which is not when the last obstacle ends",
        )
    return found


def _is_true(read: Read, told: int, bound: float) -> bool:
    return bound - read.end - BLINK <= told <= bound - read.at + 1 + BLINK


def _last_ends(run: Run, read: Read) -> Iterator[float]:
    """Yield when the last obstacle ends, for each state that this read may have seen.

    A read looks at the record first and at the gate, the brake and the allowance afterwards, so a record is paired only
    with their states from when it was written or later. One written just before may still have been invisible then,
    except to the attempt that wrote it, which gave the record its wait.
    """
    end = read.end + BLINK
    for since, row in _in_force(steps(run.records.get(read.key, [])), read.at - COMMIT, end):
        if row is None:
            continue
        seen = since if row["not_before"] else since - COMMIT
        is_cold = not row["verified_at"] or row["verified_at"] <= read.end - DAY
        # Only what differs: the gate changes with each request, and its state is combined with each of the brake's.
        shuts = {shut for _, shut in _in_force(run.gate_ends, seen, end)} or {0.0}
        brakes = {ends for _, ends in _in_force(run.brake_ends, seen, end)} or {(0.0, 0.0)}
        held = {0.0}
        if read.guild_id:
            allowances = _in_force(steps(run.allowances.get(read.user_id, [])), seen, end)
            held = {used for _, each in allowances for used in _closed_until(run.settings, each, end)} or held
        for shut, brake, used_up in product(shuts, brakes, held):
            if read.reason == TOO_SOON:
                if row["verified_at"]:
                    yield max(row["verified_at"] + run.settings.manual_pause, shut, brake[0])
                continue
            yield max(row["not_before"] or 0.0, shut, brake[1 if is_cold else 0], used_up)
            if _has_recovered(run, row, since, end):
                yield max(shut, brake[1 if is_cold else 0], used_up)


def _closed_until(settings: Settings, allowance: Row | None, now: float) -> Iterator[float]:
    """Yield until when a person without a stored answer may have to wait for their allowance; 0 if they needn't.

    Near the end of a window the site sends nothing, because Discord's may have begun a little later.
    """
    if allowance is None:
        yield 0.0
        return
    window_ends_at, until = allowance["window_ends_at"] or 0.0, allowance["until"] or 0.0
    if allowance["sent"] < settings.members:
        yield until
    if allowance["sent"] >= settings.members or window_ends_at - 2 * settings.member_margin <= now < window_ends_at:
        yield max(until, window_ends_at)


def _in_force(steps: Sequence[tuple[float, T]], start: float, end: float) -> list[tuple[float, T]]:
    """Return the steps in force between `start` and `end`, with the time since which, or `start` if later."""
    first = bisect_right(steps, start, key=lambda step: step[0])
    last = bisect_right(steps, end, lo=first, key=lambda step: step[0])
    before = [(start, steps[first - 1][1])] if first else []
    return [*before, *steps[first:last]]
