"""Whether a run kept the promises: pure functions over what Discord was asked, what the rows became, what readers got.

Each check is named after its promise and returns what it looked at and what broke it. All moments are Unix times of one
machine. What a process sent, or was answered, just before somebody stopped it is nobody's fault: `WIRE` bounds that.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any

Row = dict[str, Any]
Guilds = frozenset[tuple[int, str]]

# From the last look at the rows before a send to its arrival, and from Discord's answer to what is written of it, on a
# machine that is busy with everything at once.
WIRE = 2.0
# As long a writer may wait for SQLite's one lock on such a machine.
QUEUE = 10.0
# From a statement until its transaction is seen by others.
COMMIT = 0.5
# Between two statements of one step, and the rounding of SQLite's clock to milliseconds.
BLINK = 0.05
DAY = 24 * 3600.0
REFUSALS = ("reconnect_required", "missing_scope")
GATE_REASONS = ("global_limit", "cloudflare")
INVALID_WINDOW = 600.0
# What a reader without a list may get: the list, "it takes its time", sign-in, a refusal, a wait.
ANSWERS = (200, 202, 302, 401, 403, 429, 503)


@dataclass(frozen=True, slots=True)
class Settings:
    """What the processes were started with; seconds, and numbers."""

    lease: float
    timeout: float
    fresh: float
    manual_pause: float
    retries: int
    brake_soft: int
    brake_hard: int


@dataclass(frozen=True, slots=True)
class Change:
    """One row written; `actor` is empty for the site, else what the bench did. `within` numbers the transaction."""

    id: int
    at: float
    within: int
    actor: str
    model: str
    before: Row | None
    after: Row | None

    @property
    def user_id(self) -> int:
        row = self.after or self.before
        assert row
        return int(row["user_id"])


@dataclass(frozen=True, slots=True)
class Request:
    """One request that reached Discord; `person` None for a token that nobody has any more."""

    at: float
    end: float
    is_list: bool
    person: str | None
    status: int | None


@dataclass(frozen=True, slots=True)
class Read:
    """What a reader got of process `site`; `status` None if the connection broke."""

    at: float
    end: float
    site: int
    user_id: int
    kind: str  # "list", "page" or "refresh"
    status: int | None
    retry_after: int | None = None
    reason: str | None = None
    verified_at: float | None = None
    age: int | None = None
    guilds: Guilds | None = None


@dataclass(frozen=True, slots=True)
class Mood:
    """How Discord felt in between; `people` None for everybody, `wait` what its 429 names."""

    at: float
    until: float
    mode: str
    people: frozenset[str] | None = None
    wait: float | None = None

    @property
    def limits_all(self) -> bool:
        return self.mode in ("global_limit", "cloudflare_html", "cloudflare_json")

    @property
    def limits(self) -> bool:
        return self.limits_all or self.mode in ("rate_limited", "shared_limit", "no_headers")


@dataclass(frozen=True, slots=True)
class Gap:
    """A process that was killed, until it was up again, or frozen, until it went on."""

    site: int
    at: float
    until: float
    kind: str  # "killed" or "frozen"


@dataclass(frozen=True, slots=True)
class Version:
    """The list that Discord has of `person` between two moments."""

    at: float
    until: float
    person: str
    guilds: Guilds


@dataclass(slots=True)
class Attempt:
    """One claim and what became of it: verified, failed, taken over, forgotten or void; "running" to the end."""

    user_id: int
    person: str
    generation: int
    at: float
    before: Row
    lease_until: float
    end: float = float("inf")
    outcome: str = "running"
    change: Change | None = None
    requests: list[Request] = field(default_factory=list)
    """Those that can be of no other attempt."""
    perhaps: list[Request] = field(default_factory=list)
    """Those that may be of it."""


@dataclass(frozen=True, slots=True)
class Broken:
    at: float
    user_id: int | None
    what: str


@dataclass(slots=True)
class Finding:
    """What one check came to. One that had nothing to look at proves nothing."""

    promise: str
    checked: int = 0
    broken: list[Broken] = field(default_factory=list)

    def expect(self, holds: object, at: float, user_id: int | None, what: str) -> None:
        self.checked += 1
        if not holds:
            self.broken.append(Broken(at, user_id, what))


@dataclass
class Run:
    """Everything that is known of a run."""

    settings: Settings
    people: Mapping[int, str]
    changes: Sequence[Change] = ()
    requests: Sequence[Request] = ()
    reads: Sequence[Read] = ()
    moods: Sequence[Mood] = ()
    gaps: Sequence[Gap] = ()
    versions: Sequence[Version] = ()
    revoked: Sequence[tuple[float, str]] = ()

    def of(self, model: str) -> list[Change]:
        return self._by_model.get(model, [])

    @cached_property
    def _by_model(self) -> dict[str, list[Change]]:
        found: dict[str, list[Change]] = defaultdict(list)
        for change in self.changes:
            found[change.model].append(change)
        return found

    @cached_property
    def lists(self) -> dict[int, list[Change]]:
        """The verifications' changes by person, in order."""
        found: dict[int, list[Change]] = defaultdict(list)
        for change in self.of("guildlistverification"):
            found[change.user_id].append(change)
        return found

    @cached_property
    def gate(self) -> list[Change]:
        return self.of("discordgate")

    @cached_property
    def attempts(self) -> dict[int, list[Attempt]]:
        found = {user_id: list(_attempts(self.people, changes)) for user_id, changes in self.lists.items()}
        by_person: dict[str, list[Attempt]] = defaultdict(list)
        for attempts in found.values():
            for attempt in attempts:
                by_person[attempt.person].append(attempt)
        for request in self.requests:
            if not request.is_list:
                continue
            # Whose a revoked token was Discord does not know any more.
            whose = [request.person] if request.person else {person for at, person in self.revoked if at <= request.at}
            candidates = [
                attempt for person in whose for attempt in by_person[person] if self.may_have_sent(attempt, request)
            ]
            for attempt in candidates:
                attempt.perhaps.append(request)
                if len(candidates) == 1 and request.person:
                    attempt.requests.append(request)
        return found

    def all_attempts(self) -> Iterator[Attempt]:
        for attempts in self.attempts.values():
            yield from attempts

    def may_have_sent(self, attempt: Attempt, request: Request) -> bool:
        """Whether `attempt` was live when the request left: just before it arrived, or before a freeze that held it."""
        return attempt.at <= request.at + BLINK and any(
            attempt.at <= sent + BLINK and attempt.end >= sent - WIRE and attempt.lease_until >= sent - BLINK
            for sent in (request.at, *self.frozen_before(request.at))
        )

    def frozen_before(self, at: float) -> list[float]:
        """When the processes were stopped that have gone on just before `at`."""
        return [gap.at for gap in self.gaps if gap.kind == "frozen" and gap.until - BLINK <= at <= gap.until + WIRE]

    def lost(self, request: Request) -> bool:
        """Whether nobody waited for the answer any more, or its reader may have been stopped before writing it down."""
        late = request.end - request.at > self.settings.timeout - COMMIT
        return late or any(request.at - BLINK <= gap.at <= request.end + WIRE for gap in self.gaps)

    def was_away(self, site: int, start: float, end: float) -> bool:
        """Whether that process was down or frozen at some moment in between."""
        return any(gap.site == site and gap.at <= end + BLINK and gap.until >= start - BLINK for gap in self.gaps)

    def served_fresh(self, row: Row, read: Read) -> bool:
        """Whether a reader gets the list of `row` as a fresh one, so that nothing tells whether it was asked for."""
        return row["verified_at"] is not None and read.at < row["verified_at"] + self.settings.fresh

    def moods_of(self, request: Request) -> list[Mood]:
        """How Discord may have felt when `request` arrived; more than one where its mood was just changing."""
        return [
            mood
            for mood in self.moods
            if mood.at - BLINK <= request.at <= mood.until + BLINK
            and (mood.people is None or request.person in mood.people)
        ]

    def rows_during(self, user_id: int, start: float, end: float) -> list[Row | None]:
        """What the person's verification was at some moment in between; None for no row."""
        return _during(self.lists.get(user_id, []), start, end)

    @cached_property
    def stored(self) -> dict[int, list[tuple[Change, Guilds]]]:
        """What each person's stored list became with each transaction."""
        return {user_id: list(_stored(changes)) for user_id, changes in _by_user(self.of("userguildmembership"))}

    def stored_during(self, user_id: int, start: float, end: float) -> list[Guilds]:
        known = self.stored.get(user_id, [])
        first = bisect_right(known, start, key=lambda state: state[0].at)
        before = known[first - 1][1] if first else frozenset()
        return [before, *(guilds for change, guilds in known[first:] if change.at <= end)]

    def stored_with(self, change: Change) -> Guilds:
        """The list as it was when the transaction of `change` ended."""
        states = [guilds for other, guilds in self.stored.get(change.user_id, []) if _is_no_later(other, change)]
        return states[-1] if states else frozenset()

    def may_be_served(self, row: Row | None, at: float) -> bool:
        """Whether `row` has a list for a reader until `at`."""
        return bool(row and row["verified_at"] and row["verified_at"] > at - DAY + 1 and row["reason"] not in REFUSALS)

    def is_fresh(self, row: Row, at: float) -> bool:
        """Whether the list of `row` was fresh, and not yet due, at `at`."""
        verified, due = row["verified_at"], row["refresh_after"]
        return verified is not None and at < verified + self.settings.fresh and (due is None or at < due)


def _is_no_later(other: Change, change: Change) -> bool:
    return other.id < change.id or other.within == change.within


def _by_user(changes: Iterable[Change]) -> Iterable[tuple[int, list[Change]]]:
    found: dict[int, list[Change]] = defaultdict(list)
    for change in changes:
        found[change.user_id].append(change)
    return found.items()


def _attempts(people: Mapping[int, str], changes: Sequence[Change]) -> Iterator[Attempt]:
    running: Attempt | None = None
    for change in changes:
        before, after = change.before, change.after
        if is_claim(change):
            assert before
            assert after
            if running:
                running.end, running.outcome, running.change = change.at, "taken over", change
                yield running
            running = Attempt(
                change.user_id,
                people.get(change.user_id, "?"),
                after["generation"],
                change.at,
                before,
                after["lease_until"],
            )
        elif running and (ended := _ending(change)):
            running.end, running.outcome, running.change = change.at, ended, change
            yield running
            running = None
    if running:
        yield running


def is_claim(change: Change) -> bool:
    before, after = change.before, change.after
    return bool(
        not change.actor
        and before
        and after
        and after["generation"] > before["generation"]
        and after["lease_until"]
        and after["lease_until"] != before["lease_until"]
    )


def _ending(change: Change) -> str:
    before, after = change.before, change.after
    if before is None:
        return ""
    if after is None:
        return "forgotten"
    if after["generation"] == before["generation"]:
        return ""
    if change.actor or after["lease_until"]:
        return "void"
    return "verified" if after["verified_at"] != before["verified_at"] else "failed"


def _during(changes: Sequence[Change], start: float, end: float) -> list[Row | None]:
    first = bisect_right(changes, start, key=lambda change: change.at)
    before = changes[first - 1].after if first else None
    return [before, *(change.after for change in changes[first:] if change.at <= end)]


def _stored(changes: Sequence[Change]) -> Iterator[tuple[Change, Guilds]]:
    """The list after each transaction, with its last change."""
    rows: dict[int, str] = {}
    for change, following in zip(changes, [*changes[1:], None], strict=True):
        if change.before:
            rows.pop(change.before["guild_id"], None)
        if change.after:
            rows[change.after["guild_id"]] = change.after["name"]
        if following is None or following.within != change.within:
            yield change, frozenset(rows.items())


# The promises


def g1_one_attempt_at_a_time(run: Run) -> Finding:
    """A lease is taken only where none runs, and each request for a list is of the attempt that has it."""
    found = Finding("G1 single flight")
    for user_id, changes in run.lists.items():
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
                    f"took a lease of only {change.after['lease_until'] - change.at:.2f} s",
                )
                found.expect(
                    change.after["generation"] == generation + 1, change.at, user_id, "the claim skipped a generation"
                )
    covered = {id(request) for attempt in run.all_attempts() for request in attempt.perhaps}
    for request in run.requests:
        if request.is_list and request.person is not None:
            found.expect(
                id(request) in covered, request.at, None, f"{request.person}'s list was asked for without a lease"
            )
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
    """One request; after a 429 as many more as there are retries; after a 401 one more, with its own retries."""
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
                f"{len(sent)} requests, answered {[request.status for request in sent]}",
            )
    return found


def g2_failing_people_are_asked_once_in_30_seconds(run: Run) -> Finding:
    """Between a failed attempt that asked Discord and the next one are 30 s, less what the bench let pass."""
    found = Finding("G2 30 s after a failure")
    for user_id, attempts in run.attempts.items():
        for failed, following in pairwise(attempts):
            if failed.outcome != "failed" or not failed.requests or not failed.change or not failed.change.after:
                continue
            # A refusal is final, and a limit for everybody is the gate's to keep.
            if failed.change.after["reason"] in (*REFUSALS, *GATE_REASONS):
                continue
            passed = _let_pass(run, user_id, failed.end, following.at)
            reason = failed.change.after["reason"]
            found.expect(
                following.at + passed >= failed.end + 30 - WIRE,
                following.at,
                user_id,
                f"asked again {following.at - failed.end:.1f} s after a failure ({reason})",
            )
    return found


def _let_pass(run: Run, user_id: int, start: float, end: float) -> float:
    """How many seconds the bench took off the person's waits in between."""
    passed = 0.0
    for change in run.lists.get(user_id, []):
        if start <= change.at <= end and change.actor and change.before and change.after:
            before, after = change.before["not_before"], change.after["not_before"]
            passed += before - after if before and after else 0.0
    return passed


def g2_nobody_is_asked_before_not_before(run: Run) -> Finding:
    """G12 too: also processes that were started since."""
    found = Finding("G2 G12 0 before not_before")
    for attempt in run.all_attempts():
        bound = attempt.before["not_before"]
        if bound is not None:
            found.expect(
                bound <= attempt.at + BLINK,
                attempt.at,
                attempt.user_id,
                f"claimed {bound - attempt.at:.2f} s before not_before",
            )
    return found


def g2_what_discord_told_to_wait_is_waited(run: Run) -> Finding:
    """The answer's own wait, where the attempt that got it lived to write it down."""
    found = Finding("G2 0 before Retry-After")
    for attempt in run.all_attempts():
        for request in attempt.requests:
            if request.status != 429:
                continue
            waits = [mood.wait or 0.0 for mood in run.moods_of(request)]
            wait = min(waits, default=0.0)
            if not wait or attempt.outcome not in ("failed", "verified"):
                continue
            # Answered when the sandbox had decided; the site's clock starts later.
            later = [
                other
                for others in run.attempts[attempt.user_id]
                for other in others.requests
                if other.at > request.at and others.at >= attempt.at
            ]
            for other in later[:1]:
                passed = _let_pass(run, attempt.user_id, request.end, other.at)
                found.expect(
                    other.at + passed >= request.end + wait - BLINK,
                    other.at,
                    attempt.user_id,
                    f"asked {other.at - request.end:.2f} s after an answer that named {wait:.0f} s",
                )
    return found


def g3_an_abandoned_list_is_taken_over(run: Run) -> Finding:
    """Whoever reads in the second after an abandoned lease's end has it claimed, or is told what forbids it."""
    found = Finding("G3 takeover")
    reads: dict[int, list[Read]] = defaultdict(list)
    for read in run.reads:
        if read.kind == "list" and read.status is not None:
            reads[read.user_id].append(read)
    told = ("busy", "brake", "rate_limited", "unavailable", *GATE_REASONS)
    for attempt in run.all_attempts():
        ended = attempt.lease_until
        if attempt.outcome not in ("taken over", "running") or attempt.end < ended:
            continue
        for read in reads[attempt.user_id]:
            if not ended <= read.at <= ended + 1 or run.was_away(read.site, read.at, read.end):
                continue
            rows = run.rows_during(attempt.user_id, ended, read.at)
            if any(row is None or row["reason"] in REFUSALS or run.served_fresh(row, read) for row in rows):
                continue
            changed = any(
                change.before and change.after and change.before["generation"] != change.after["generation"]
                for change in run.lists[attempt.user_id]
                if ended - BLINK <= change.at <= read.end + BLINK
            )
            found.expect(
                changed or read.reason in told,
                read.at,
                attempt.user_id,
                f"read {read.at - ended:.2f} s after its lease, and nobody asked ({read.status}, {read.reason})",
            )
    return found


def g4_lists_change_only_with_their_generation(run: Run) -> Finding:
    """Memberships change in the transaction that ends the newest attempt, or the person is forgotten."""
    found = Finding("G4 only with the lease")
    latest: dict[int, Change] = {}
    for change in run.changes:
        if change.model == "guildlistverification":
            latest[change.user_id] = change
        elif change.model == "userguildmembership" and not change.actor:
            last = latest.get(change.user_id)
            found.expect(
                last
                and last.within == change.within
                and (_ending(last) == "verified" or (change.after is None and _is_forgetting(last))),
                change.at,
                change.user_id,
                "a membership changed, and not with the end of the newest attempt",
            )
    return found


def _is_forgetting(change: Change) -> bool:
    if change.before is None or change.after is None:
        return change.after is None
    return {**change.before, "generation": 0} == {**change.after, "generation": 0}


def g4_stored_is_what_discord_sent(run: Run) -> Finding:
    """The list after an attempt is one that Discord had while it answered that attempt."""
    found = Finding("G4 stored as sent")
    versions: dict[str, list[Version]] = defaultdict(list)
    for version in run.versions:
        versions[version.person].append(version)
    for attempt in run.all_attempts():
        if attempt.outcome != "verified":
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


def g5_nothing_passes_a_shut_gate(run: Run) -> Finding:
    """In the rows: whoever takes a place in the send clock finds the gate open, or is the one probe."""
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
        found.expect(
            after["until"] and after["until"] > change.at, change.at, None, "the probe left the gate open behind it"
        )
    return found


def g5_every_request_passed_the_gate(run: Run) -> Finding:
    """Each request that reached Discord is one that the gate admitted just before, and no two are the same one."""
    found = Finding("G5 admitted")
    admitted = sorted(
        change.at
        for change in run.gate
        if not change.actor and change.after and change.after["tat"] != (change.before or {}).get("tat")
    )
    free = list(admitted)
    for request in sorted(run.requests, key=lambda request: request.at):
        earliest = min([request.at, *run.frozen_before(request.at)]) - WIRE
        place = next((at for at in free if earliest <= at <= request.at + BLINK), None)
        found.expect(place is not None, request.at, None, f"{request.person} was asked for without passing the gate")
        if place is not None:
            free.remove(place)
        while free and free[0] < request.at - 60:
            free.pop(0)
    return found


def g5_a_limit_for_all_shuts_the_gate(run: Run) -> Finding:
    """After a global 429 or a Cloudflare page the gate is shut for as long as was named."""
    found = Finding("G5 the limit is learnt")
    for request in run.requests:
        # Only a mood that limits can have answered 429, also if its end was near.
        moods = [mood for mood in run.moods_of(request) if mood.limits]
        if request.status != 429 or not moods or not all(mood.limits_all for mood in moods):
            continue
        wait = min(mood.wait or 0.0 for mood in moods)
        rows = _during(run.gate, request.end - BLINK, request.end + WIRE)
        learnt = any(row and row["streak"] and (row["until"] or 0) >= request.end + wait - BLINK for row in rows)
        opened = any(change.actor for change in run.gate if request.at - BLINK <= change.at <= request.end + WIRE)
        if not learnt and (opened or run.lost(request)):
            continue
        found.expect(
            learnt, request.end, None, f"Discord named {wait:.0f} s for everybody, and the gate did not shut for that"
        )
    return found


def g7_the_brake_holds(run: Run) -> Finding:
    """At the soft limit only people without a list may ask, at the hard one nobody, until the window moves on."""
    found = Finding("G7 brake")
    levels = list(_refusals(run.of("discordrefusal")))
    warm = {
        id(request)
        for attempt in run.all_attempts()
        for request in attempt.requests
        if attempt.before["verified_at"] and attempt.before["verified_at"] > attempt.at - DAY + WIRE
    }
    for request in run.requests:
        since = min([request.at, *run.frozen_before(request.at)]) - WIRE
        first = bisect_right(levels, since, key=lambda level: level[0])
        before = levels[first - 1][1] if first else 0
        least = min([before, *(count for at, count in levels[first:] if at <= request.at)])
        if least >= run.settings.brake_soft:
            limit = run.settings.brake_soft if id(request) in warm else run.settings.brake_hard
            found.expect(least < limit, request.at, None, f"{request.person} was asked for after {least} refusals")
    # That it was reached at all is what makes the silence after it mean something.
    found.checked += sum(count >= run.settings.brake_soft for _, count in levels)
    return found


def _refusals(changes: Sequence[Change]) -> Iterator[tuple[float, int]]:
    """How many refusals were within the window, after each change."""
    moments: dict[int, float] = {}
    for change in changes:
        if change.before:
            moments.pop(change.before["id"], None)
        if change.after:
            moments[change.after["id"]] = change.after["at"]
        yield change.at, sum(at > change.at - INVALID_WINDOW for at in moments.values())


def g7_every_refusal_is_counted(run: Run) -> Finding:
    """Each 401, 403 or 429 but a shared one, unless the process that met it was stopped."""
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
        found.expect(row is not None, request.end, None, f"an answer {request.status} was not counted")
    return found


def g8_a_dead_token_is_sent_at_most_twice(run: Run) -> Finding:
    """Twice in one attempt, and never once the account is disconnected."""
    found = Finding("G8 dead tokens")
    accounts: dict[int, list[Change]] = dict(_by_user(run.of("discordaccount")))
    for attempt in run.all_attempts():
        dead_ones = sum(request.status == 401 for request in attempt.requests)
        if dead_ones:
            found.expect(dead_ones <= 2, attempt.at, attempt.user_id, f"{dead_ones} requests with dead tokens")
        changes = accounts.get(attempt.user_id, [])
        for request in attempt.requests:
            rows = _during(changes, request.at - WIRE, request.at)
            dead = all(row and row["disconnected_at"] for row in rows)
            found.expect(
                not dead or run.frozen_before(request.at), request.at, attempt.user_id, "asked while disconnected"
            )
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


def g9_no_list_is_a_day_old_and_its_age_is_true(run: Run) -> Finding:
    """What a reader was shown was stored while they read, is that old, and younger than a day."""
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
            f"told {read.age} s, and verified {read.at - verified_at:.1f} s before",
        )
        rows = run.rows_during(read.user_id, read.at - COMMIT, read.end + BLINK)
        found.expect(
            any(row and row["verified_at"] and abs(row["verified_at"] - verified_at) < BLINK for row in rows),
            read.end,
            read.user_id,
            "told a moment of verification that was not stored then",
        )
        found.expect(
            read.guilds in run.stored_during(read.user_id, read.at - COMMIT, read.end + BLINK),
            read.end,
            read.user_id,
            f"shown {sorted(read.guilds)[:3]}, which was not stored then",
        )
    return found


def g9_nothing_fresh_is_asked_for(run: Run) -> Finding:
    """A claim's list was due, stale or missing, or somebody had pressed "refresh now"."""
    found = Finding("G9 fresh is not asked")
    pressed: dict[int, list[Read]] = defaultdict(list)
    for read in run.reads:
        if read.kind == "refresh":
            pressed[read.user_id].append(read)
    for attempt in run.all_attempts():
        on_purpose = any(read.at - BLINK <= attempt.at <= read.end + WIRE for read in pressed[attempt.user_id])
        found.expect(
            on_purpose or not run.is_fresh(attempt.before, attempt.at),
            attempt.at,
            attempt.user_id,
            "a fresh list was asked for",
        )
        found.expect(
            attempt.before["reason"] not in REFUSALS, attempt.at, attempt.user_id, "a refused person was asked for"
        )
    return found


def g11_only_ones_own_attempt_sets_ones_wait(run: Run) -> Finding:
    """`not_before` changes with the end of the person's own attempt; "rate_limited" is of its own 429."""
    found = Finding("G11 waits are one's own")
    limited = [request for request in run.requests if request.status == 429 and not request.is_list]
    for attempt in run.all_attempts():
        if attempt.outcome == "failed" and attempt.change and attempt.change.after:
            # A token that is being renewed may be limited too, and a revoked one is nobody's.
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
                "told that Discord limits them, which it did not say",
            )
    ends = {id(attempt.change) for attempt in run.all_attempts()}
    for user_id, changes in run.lists.items():
        for change in changes:
            if change.actor or not change.before or not change.after:
                continue
            if change.before["not_before"] != change.after["not_before"]:
                found.expect(id(change) in ends, change.at, user_id, "not_before changed without an attempt of theirs")
    return found


def g13_a_refusal_says_truly_how_long(run: Run) -> Finding:
    """Every 429 and 503 names whole seconds, from one on, that end with what is in the way, and not sooner."""
    found = Finding("G13 Retry-After")
    for read in run.reads:
        if read.status not in (429, 503):
            continue
        told = read.retry_after
        found.expect(told is not None and told >= 1, read.end, read.user_id, f"{read.status} without Retry-After")
        # What a page says of the reason is for people, and "about:blank" is about our database.
        if told is None or read.kind == "page" or read.reason == "about:blank":
            continue
        found.expect(
            told <= 2 or any(_is_true(read, told, bound) for bound in _bounds(run, read)),
            read.end,
            read.user_id,
            f"{read.status} {read.reason}: told {told} s, which is no bound that was stored",
        )
    return found


def _is_true(read: Read, told: int, bound: float) -> bool:
    return bound - read.end - BLINK <= told <= bound - read.at + 1 + BLINK


def _bounds(run: Run, read: Read) -> Iterator[float]:
    """What may have been in the way of this read: the person's waits, the gate's, the brake's, the cool-down."""
    start, end = read.at - COMMIT, read.end + BLINK
    rows = [row for row in run.rows_during(read.user_id, start, end) if row]
    gates = [row["until"] for row in _during(run.gate, start, end) if row and row["until"]]
    for row in rows:
        yield from (bound for bound in (row["not_before"], row["lease_until"]) if bound)
        if row["verified_at"]:
            yield row["verified_at"] + run.settings.manual_pause
    yield from gates
    if read.reason == "brake":
        yield from (
            change.after["at"] + INVALID_WINDOW
            for change in run.of("discordrefusal")
            if change.after and change.at <= end
        )


def g3_stored_lists_are_served(run: Run) -> Finding:
    """Whoever has a list that may be served gets it, from each process that is neither down nor frozen.

    Nobody meets a fault of ours, whatever they asked for.
    """
    found = Finding("G3 never an error")
    for read in run.reads:
        if run.was_away(read.site, read.at, read.end):
            continue
        rows = run.rows_during(read.user_id, read.at - COMMIT, read.end + BLINK)
        served = read.kind != "refresh" and all(run.may_be_served(row, read.end) for row in rows)
        found.expect(
            read.status == 200 if served else read.status in ANSWERS,
            read.end,
            read.user_id,
            f"{read.kind} answered {read.status} ({read.reason}) by process {read.site} after "
            f"{read.end - read.at:.1f} s{', with a list in store' if served else ''}",
        )
    return found


CHECKS: tuple[Callable[[Run], Finding], ...] = (
    g1_one_attempt_at_a_time,
    g2_an_attempt_is_one_request_and_its_retries,
    g2_failing_people_are_asked_once_in_30_seconds,
    g2_nobody_is_asked_before_not_before,
    g2_what_discord_told_to_wait_is_waited,
    g3_an_abandoned_list_is_taken_over,
    g3_stored_lists_are_served,
    g4_lists_change_only_with_their_generation,
    g4_stored_is_what_discord_sent,
    g5_nothing_passes_a_shut_gate,
    g5_every_request_passed_the_gate,
    g5_a_limit_for_all_shuts_the_gate,
    g7_the_brake_holds,
    g7_every_refusal_is_counted,
    g8_a_dead_token_is_sent_at_most_twice,
    g9_no_list_is_a_day_old_and_its_age_is_true,
    g9_nothing_fresh_is_asked_for,
    g11_only_ones_own_attempt_sets_ones_wait,
    g13_a_refusal_says_truly_how_long,
)


def check(run: Run) -> list[Finding]:
    return [promise(run) for promise in CHECKS]
