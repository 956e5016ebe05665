"""The promises about Discord's limits: the gate (G5), the brake (G7) and dead tokens (G8)."""

from bisect import bisect_right

from bench.chaos.known import (
    BLINK,
    DAY,
    INVALID_WINDOW,
    QUEUE,
    WIRE,
    Change,
    Finding,
    Run,
    by_user,
    during,
    refusals,
)


def g5_nothing_passes_a_shut_gate(run: Run) -> Finding:
    """In the rows: the send clock advances only if the gate is open or for the single probe."""
    found = Finding("G5 G6 gate")
    for change in run.gate:
        before, after = change.before, change.after
        if change.actor or not before or not after or before["tat"] == after["tat"] or not before["streak"]:
            continue
        found.expect(
            (before["until"] or 0) <= change.at + BLINK,
            change.at,
            None,
            f"passed the gate {(before['until'] or 0) - change.at:.2f} s before its end ({before['reason']})",
        )
        found.expect(after["until"] and after["until"] > change.at, change.at, None, "the probe left the gate open")
    return found


def g5_every_request_passed_the_gate(run: Run) -> Finding:
    """The gate admitted each request to Discord just before, once per request."""
    found = Finding("G5 admitted")
    admitted = sorted(
        change.at
        for change in run.gate
        if not change.actor and change.after and change.after["tat"] != (change.before or {}).get("tat")
    )
    free = list(admitted)
    for request in sorted(run.requests, key=lambda request: request.at):
        looked_at = run.looked_at[id(request)]
        place = next((at for at in free if looked_at <= at <= request.at + BLINK), None)
        found.expect(place is not None, request.at, None, f"a request for {request.person} did not pass the gate")
        if place is not None:
            free.remove(place)
        while free and free[0] < request.at - 60:
            free.pop(0)
    return found


def g5_a_limit_for_all_shuts_the_gate(run: Run) -> Finding:
    """After a global 429 or a Cloudflare page the gate is shut for the named wait."""
    found = Finding("G5 the limit is recorded")
    for request in run.requests:
        # Only a mood that limits can have caused a 429, even if the mood was about to end.
        moods = [mood for mood in run.moods_of(request) if mood.limits]
        if request.status != 429 or not moods or not all(mood.limits_all for mood in moods):
            continue
        wait = min(mood.wait or 0.0 for mood in moods)
        rows = during(run.gate, request.end - BLINK, request.end + QUEUE)
        learnt = any(row and row["streak"] and (row["until"] or 0) >= request.end + wait - BLINK for row in rows)
        opened = any(change.actor for change in run.gate if request.at - BLINK <= change.at <= request.end + QUEUE)
        if not learnt and (opened or run.lost(request)):
            continue
        found.expect(
            learnt,
            request.end,
            None,
            f"Discord named {wait:.0f} s for all requests, but the gate did not shut for that long",
        )
    return found


def g7_the_brake_holds(run: Run) -> Finding:
    """At the soft limit only people without a list are refreshed, at the hard limit no requests are sent."""
    found = Finding("G7 brake")
    levels = [
        (at, sum(moment > at - INVALID_WINDOW for moment in moments))
        for at, moments in refusals(run.of("discordrefusal"))
    ]
    warm = {
        id(request)
        for attempt in run.all_attempts()
        for request in attempt.requests
        if attempt.before["verified_at"] and attempt.before["verified_at"] > attempt.at - DAY + WIRE
    }
    for request in run.requests:
        first = bisect_right(levels, run.looked_at[id(request)], key=lambda level: level[0])
        before = levels[first - 1][1] if first else 0
        least = min([before, *(count for at, count in levels[first:] if at <= request.at)])
        if least >= run.settings.brake_soft:
            limit = run.settings.brake_soft if id(request) in warm else run.settings.brake_hard
            found.expect(
                least < limit, request.at, None, f"a request for {request.person} was sent after {least} refusals"
            )
    # Counted as checks, because the absence of requests means something only if a limit was reached.
    found.checked += sum(count >= run.settings.brake_soft for _, count in levels)
    return found


def g7_every_refusal_is_counted(run: Run) -> Finding:
    """Each 401, 403 and non-shared 429 is counted, unless the process that received it was stopped."""
    found = Finding("G7 refusals counted")
    inserted = sorted(change.at for change in run.of("discordrefusal") if change.before is None)
    for request in sorted(run.requests, key=lambda request: request.end):
        if request.status not in (401, 403, 429) or any(mood.mode == "shared_limit" for mood in run.moods_of(request)):
            continue
        if run.lost(request):
            continue
        row = next((at for at in inserted if request.at <= at <= request.end + QUEUE), None)
        if row is not None:
            inserted.remove(row)
        found.expect(row is not None, request.end, None, f"a response {request.status} was not counted")
    return found


def g8_a_dead_token_is_sent_at_most_twice(run: Run) -> Finding:
    """A dead token is sent at most twice in an attempt, and never after the account is disconnected."""
    found = Finding("G8 dead tokens")
    accounts: dict[int, list[Change]] = dict(by_user(run.of("discordaccount")))
    for attempt in run.all_attempts():
        dead_ones = sum(request.status == 401 for request in attempt.requests)
        if dead_ones:
            found.expect(dead_ones <= 2, attempt.at, attempt.user_id, f"{dead_ones} requests with dead tokens")
        changes = accounts.get(attempt.user_id, [])
        for request in attempt.requests:
            rows = during(changes, run.looked_at[id(request)], request.at)
            dead = all(row and row["disconnected_at"] for row in rows)
            found.expect(not dead, request.at, attempt.user_id, "sent while disconnected")
    covered = {id(request) for attempt in run.all_attempts() for request in attempt.perhaps}
    unknown = [request for request in run.requests if request.is_list and request.person is None]
    refused = [request for request in unknown if request.status == 401]
    for request in unknown:
        found.expect(id(request) in covered, request.at, None, "a revoked token was sent without a lease")
    if refused:
        found.expect(
            len(refused) <= 2 * len(run.revoked),
            refused[-1].at,
            None,
            f"{len(refused)} requests with {len(run.revoked)} revoked tokens",
        )
    return found
