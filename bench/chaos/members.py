"""The promises about members and the allowance that their requests are taken from: R2 to R9."""

from collections import defaultdict

from bench.chaos.known import (
    BLINK,
    COMMIT,
    DAY,
    MEMBERS,
    QUEUE,
    Finding,
    Nick,
    Request,
    Row,
    Run,
    during,
)


def r2_five_requests_in_a_window(run: Run) -> Finding:
    """At most five member requests are sent with a person's token in a window, which begins with the first of them."""
    found = Finding("R2 five in a window")
    for requests in _member_requests(run).values():
        # One that was frozen on its way arrives in a later window than the one it was counted in.
        sent = [request for request in requests if not run.frozen_before(request.at)]
        most, window = run.settings.members, run.settings.member_window
        began, count = float("-inf"), 0
        for request in sent:
            began, count = (began, count + 1) if request.at < began + window else (request.at, 1)
            found.expect(count <= most, request.at, None, f"{count} member requests of {request.person} in a window")
    return found


def _member_requests(run: Run) -> dict[str, list[Request]]:
    found: dict[str, list[Request]] = defaultdict(list)
    for request in sorted(run.requests, key=lambda request: request.at):
        if request.guild_id and request.person:
            found[request.person].append(request)
    return found


def r2_each_request_was_taken(run: Run) -> Finding:
    """Each member request was taken from the person's allowance just before, once, and only while it was open."""
    found = Finding("R2 R3 allowance")
    names = {name: user_id for user_id, name in run.people.items()}
    taken: dict[str, list[float]] = defaultdict(list)
    for user_id, changes in run.allowances.items():
        for change in changes:
            before, after = change.before, change.after
            if (
                not before
                or not after
                or (before["sent"], before["window_ends_at"])
                == (
                    after["sent"],
                    after["window_ends_at"],
                )
            ):
                continue
            taken[run.people.get(user_id, "?")].append(change.at)
            found.expect(
                (before["until"] or 0.0) <= change.at + BLINK, change.at, user_id, "taken during a wait Discord named"
            )
            found.expect(after["sent"] <= run.settings.members, change.at, user_id, f"{after['sent']} in a window")
            found.expect(
                before["window_ends_at"] == after["window_ends_at"]
                or (before["window_ends_at"] or 0.0) <= change.at + BLINK,
                change.at,
                user_id,
                "a window ended too early",
            )
    for person, requests in _member_requests(run).items():
        free = sorted(taken[person])
        for request in requests:
            looked_at = run.looked_at[id(request)]
            place = next((at for at in free if looked_at <= at <= request.at + BLINK), None)
            found.expect(place is not None, request.at, names.get(person), "a member request that was not counted")
            if place is not None:
                free.remove(place)
    return found


def r3_a_wait_closes_the_allowance(run: Run) -> Finding:
    """After a 429 for the person on the member's route their allowance is closed for the wait that it named."""
    found = Finding("R3 the wait is recorded")
    names: dict[str, list[int]] = defaultdict(list)
    for user_id, name in run.people.items():
        names[name].append(user_id)
    for request in run.requests:
        moods = run.moods_of(request)
        if request.status != 429 or not request.guild_id or not request.person:
            continue
        if not moods or any(mood.mode != "rate_limited" for mood in moods) or run.lost(request):
            continue
        wait = min(mood.wait or 0.0 for mood in moods)
        rows = [
            row
            for user_id in names[request.person]
            for row in during(run.allowances.get(user_id, []), request.end - BLINK, request.end + QUEUE)
        ]
        gone = any(
            change.after is None and request.at - BLINK <= change.at <= request.end + QUEUE
            for user_id in names[request.person]
            for change in run.records.get((user_id, 0), [])
        )
        found.expect(
            gone or any(row and (row["until"] or 0.0) >= request.end + wait - BLINK for row in rows),
            request.end,
            None,
            f"Discord named {wait:.0f} s for {request.person}, but the allowance was not closed for that long",
        )
    return found


def r5_members_change_only_with_their_generation(run: Run) -> Finding:
    """A member changes only at the end of the newest attempt, to what Discord sent to it, or with a new list."""
    found = Finding("R5 R6 only with the lease")
    ends = {id(attempt.change): attempt for attempt in run.all_attempts() if attempt.outcome == "verified"}
    nicks: dict[tuple[str, int], list[Nick]] = defaultdict(list)
    for nick in run.nicks:
        nicks[nick.person, nick.guild_id].append(nick)
    for change in run.of(MEMBERS):
        before, after = change.before, change.after
        if change.actor or not before or not after or _answer(before) == _answer(after):
            continue
        if change.id in run.said_by_lists:
            lists = run.rows_during((change.user_id, 0), change.at - COMMIT, change.at + COMMIT)
            found.expect(
                not after["is_member"]
                and after["verified_at"] in (None, *(row["verified_at"] for row in lists if row)),
                change.at,
                change.user_id,
                "a member was changed by a list that was not stored then, or made one",
            )
            continue
        attempt = ends.get(id(change))
        found.expect(attempt, change.at, change.user_id, "a member changed outside the end of the newest attempt")
        if attempt is None:
            continue
        # Without a nickname the stored one is empty.
        sent = {
            None if request.status == 404 else "" for request in attempt.perhaps if request.status in (200, 404)
        } | {
            nick.nick
            for request in attempt.perhaps
            for nick in nicks[attempt.person, attempt.key[1]]
            if request.status == 200 and nick.at <= request.end + BLINK and nick.until >= request.at - BLINK
        }
        stored = _nick(after)
        found.expect(stored in sent, change.at, change.user_id, f"stored {stored!r}, and Discord sent {sent}")
    return found


def _answer(row: Row) -> tuple[object, ...]:
    return row["is_member"], row["nick"], row["verified_at"]


def _nick(row: Row) -> str | None:
    return row["nick"] if row["is_member"] else None


def r9_members_are_true_and_less_than_a_day_old(run: Run) -> Finding:
    """A served member was stored at that time, or a list without that server was, and its age is correct."""
    found = Finding("R4 R6 age and content")
    for read in run.reads:
        if read.kind != "member" or read.status != 200 or read.verified_at is None or read.age is None:
            continue
        verified_at = read.verified_at
        found.expect(read.age < DAY, read.end, read.user_id, f"a member {read.age} s old was served")
        found.expect(
            read.at - verified_at - 1 - BLINK <= read.age <= read.end - verified_at + BLINK,
            read.end,
            read.user_id,
            f"an age of {read.age} s was shown for a member verified {read.at - verified_at:.1f} s before",
        )
        span = read.at - COMMIT, read.end + BLINK
        rows = [row for row in run.rows_during(read.key, *span) if row and _nick(row) == read.nick]
        if read.nick is None:
            rows += [row for row in run.rows_during((read.user_id, 0), *span) if row]
        found.expect(
            any(row["verified_at"] and abs(row["verified_at"] - verified_at) < BLINK for row in rows),
            read.end,
            read.user_id,
            f"{read.nick!r} was shown, which was not stored then",
        )
    return found
