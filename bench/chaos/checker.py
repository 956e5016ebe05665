"""Checks whether a run kept the guarantees: pure functions over requests, row histories and readers' responses.

Each check is named after its guarantee and returns how many facts it checked and which broke it. All times are Unix
times of one machine. Requests and responses just before a process was stopped break no guarantee; `WIRE` bounds that.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise, product
from typing import Any, TypeVar

T = TypeVar("T")
Row = dict[str, Any]
# A record: the person, and the server if it is a member's record, or else 0.
Key = tuple[int, int]
Guilds = frozenset[tuple[int, str]]

# Seconds from the last read of the rows before a request to its arrival, and from Discord's response until it is
# stored, on a heavily loaded machine.
WIRE = 2.0
# Seconds that a writer may wait for SQLite's lock on such a machine.
QUEUE = 10.0
# Seconds from a statement until its transaction is visible to others.
COMMIT = 0.5
# Seconds between two statements of one step, plus the rounding of SQLite's clock to milliseconds.
BLINK = 0.05
DAY = 24 * 3600.0
REFUSALS = ("reconnect_required", "missing_scope")
GATE_REASONS = ("global_limit", "cloudflare")
INVALID_WINDOW = 600.0
DATABASE_UNAVAILABLE = "/problems/database-unavailable"
TOO_SOON = "/problems/refresh-too-soon"
LISTS, MEMBERS, MEMBERSHIPS = "guildlistverification", "guildmember", "userguildmembership"
ALLOWANCES = "discordallowance"
# The statuses for a reader without a list: the list, accepted, sign-in, a refusal, a wait.
EXPECTED_STATUSES = (200, 202, 302, 401, 403, 429, 503)


@dataclass(frozen=True, slots=True)
class Settings:
    """The processes' settings; times in seconds."""

    lease: float
    timeout: float
    fresh: float
    manual_pause: float
    retries: int
    brake_soft: int
    brake_hard: int
    members: int = 5
    member_window: float = 300.0
    member_margin: float = 5.0


@dataclass(frozen=True, slots=True)
class Change:
    """One write to a row. `actor` is empty for the site, else the bench's action; `within` is the transaction."""

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

    @property
    def key(self) -> Key:
        """The record, if this is a change of one."""
        row = self.after or self.before
        assert row
        return self.user_id, int(row["guild_id"]) if self.model == MEMBERS else 0


@dataclass(frozen=True, slots=True)
class Request:
    """A request that reached Discord; `person` is None for a token that is no longer valid.

    `guild_id` is the server of a request for a member with the person's own token.
    """

    at: float
    end: float
    is_list: bool
    person: str | None
    status: int | None
    guild_id: int = 0

    @property
    def is_for_record(self) -> bool:
        return self.is_list or bool(self.guild_id)


@dataclass(frozen=True, slots=True)
class Read:
    """A reader's response from process `site`; `status` is None if the connection broke."""

    at: float
    end: float
    site: int
    user_id: int
    kind: str  # "list", "page", "refresh" or "member"
    status: int | None
    retry_after: int | None = None
    reason: str | None = None
    verified_at: float | None = None
    age: int | None = None
    guilds: Guilds | None = None
    guild_id: int = 0
    # What a person is in a server: a nickname, or None for nothing.
    nick: str | None = None

    @property
    def key(self) -> Key:
        return self.user_id, self.guild_id


@dataclass(frozen=True, slots=True)
class Mood:
    """Discord's mood between two times; `people` is None for all, `wait` is the wait that its 429 names."""

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
    """The time during which a process was killed, until it was up again, or frozen.

    It may have run again from `resumed` on, and did from `until` on. On a heavily loaded machine, more than a second
    can pass between the two.
    """

    site: int
    at: float
    resumed: float
    until: float
    kind: str  # "killed" or "frozen"


@dataclass(frozen=True, slots=True)
class Version:
    """The list of `person` at Discord between two times."""

    at: float
    until: float
    person: str
    guilds: Guilds


@dataclass(frozen=True, slots=True)
class Nick:
    """The nickname of `person` in a server at Discord between two times."""

    at: float
    until: float
    person: str
    guild_id: int
    nick: str


@dataclass(slots=True)
class Attempt:
    """A claim and its outcome: verified, failed, taken over, forgotten, void, or running at the end of the run."""

    key: Key
    person: str
    generation: int
    at: float
    before: Row
    lease_until: float
    end: float = float("inf")
    outcome: str = "running"
    change: Change | None = None
    requests: list[Request] = field(default_factory=list)
    """The requests that can only belong to this attempt."""
    perhaps: list[Request] = field(default_factory=list)
    """The requests that may belong to this attempt."""

    @property
    def user_id(self) -> int:
        return self.key[0]

    @property
    def is_list(self) -> bool:
        return not self.key[1]


@dataclass(frozen=True, slots=True)
class Broken:
    at: float
    user_id: int | None
    what: str


@dataclass(slots=True)
class Finding:
    """The result of one check. Without any checked facts it proves nothing."""

    promise: str
    checked: int = 0
    broken: list[Broken] = field(default_factory=list)

    def expect(self, holds: object, at: float, user_id: int | None, what: str) -> None:
        self.checked += 1
        if not holds:
            self.broken.append(Broken(at, user_id, what))


@dataclass
class Run:
    """Everything that is known about a run."""

    settings: Settings
    people: Mapping[int, str]
    changes: Sequence[Change] = ()
    requests: Sequence[Request] = ()
    reads: Sequence[Read] = ()
    moods: Sequence[Mood] = ()
    gaps: Sequence[Gap] = ()
    versions: Sequence[Version] = ()
    revoked: Sequence[tuple[float, str]] = ()
    nicks: Sequence[Nick] = ()

    def of(self, model: str) -> list[Change]:
        return self._by_model.get(model, [])

    @cached_property
    def _by_model(self) -> dict[str, list[Change]]:
        found: dict[str, list[Change]] = defaultdict(list)
        for change in self.changes:
            found[change.model].append(change)
        return found

    @cached_property
    def records(self) -> dict[Key, list[Change]]:
        """The changes of each record, in order."""
        found: dict[Key, list[Change]] = defaultdict(list)
        for change in (*self.of(LISTS), *self.of(MEMBERS)):
            found[change.key].append(change)
        return found

    @cached_property
    def said_by_lists(self) -> set[int]:
        """The changes of members that came with a new list, which leave the due time open, unlike an answer."""
        return {
            change.id
            for change in self.of(MEMBERS)
            if change.before
            and change.after
            and not change.actor
            and change.before["verified_at"] != change.after["verified_at"]
            and change.after["refresh_after"] is None
        }

    @cached_property
    def allowances(self) -> dict[int, list[Change]]:
        """The changes of each person's allowance for members, in order."""
        found: dict[int, list[Change]] = defaultdict(list)
        for change in self.of(ALLOWANCES):
            row = change.after or change.before
            if row and row["kind"] == "member":
                found[row["owner"]].append(change)
        return found

    @cached_property
    def gate(self) -> list[Change]:
        return self.of("discordgate")

    @cached_property
    def attempts(self) -> dict[Key, list[Attempt]]:
        found = {
            key: list(_attempts(self.people, changes, self.said_by_lists)) for key, changes in self.records.items()
        }
        by_person: dict[str, list[Attempt]] = defaultdict(list)
        for attempts in found.values():
            for attempt in attempts:
                by_person[attempt.person].append(attempt)
        for request in self.requests:
            if not request.is_for_record:
                continue
            # Discord no longer knows the owner of a revoked token.
            whose = [request.person] if request.person else {person for at, person in self.revoked if at <= request.at}
            candidates = [
                attempt
                for person in whose
                for attempt in by_person[person]
                if attempt.key[1] == request.guild_id and self.may_have_sent(attempt, request)
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
        """Whether `attempt` was live when the request was sent: just before its arrival or before a freeze."""
        return attempt.at <= request.at + BLINK and any(
            attempt.at <= sent + BLINK and attempt.end >= sent - WIRE and attempt.lease_until >= sent - BLINK
            for sent in (request.at, *self.frozen_before(request.at))
        )

    def frozen_before(self, at: float) -> list[float]:
        """Return when the processes were frozen that resumed just before `at`."""
        return [gap.at for gap in self.gaps if gap.kind == "frozen" and gap.resumed - BLINK <= at <= gap.until + WIRE]

    def lost(self, request: Request) -> bool:
        """Whether the response may have come too late, or its process may have been stopped before storing it."""
        late = request.end - request.at > self.settings.timeout - COMMIT
        return late or any(request.at - BLINK <= gap.at <= request.end + WIRE for gap in self.gaps)

    def was_away(self, site: int, start: float, end: float) -> bool:
        """Whether the process was down or frozen at some time in between."""
        return any(gap.site == site and gap.at <= end + BLINK and gap.until >= start - BLINK for gap in self.gaps)

    def served_fresh(self, row: Row, read: Read) -> bool:
        """Whether the reader gets the list as a fresh one, so that no request to Discord is expected."""
        return row["verified_at"] is not None and read.at < row["verified_at"] + self.settings.fresh

    def moods_of(self, request: Request) -> list[Mood]:
        """Return the moods that may have applied to `request`; several if the mood was just changing."""
        return [
            mood
            for mood in self.moods
            if mood.at - BLINK <= request.at <= mood.until + BLINK
            and (mood.people is None or request.person in mood.people)
        ]

    @cached_property
    def gate_ends(self) -> list[tuple[float, float]]:
        """When the gate opens, or 0 if it is open, after each of its changes."""
        return [(at, (gate["until"] or 0.0) if gate and gate["streak"] else 0.0) for at, gate in _steps(self.gate)]

    @cached_property
    def brake_ends(self) -> list[tuple[float, tuple[float, float]]]:
        """When the brake ends at the soft and the hard limit, or 0 if it is off, after each change of the refusals."""
        limits = (self.settings.brake_soft, self.settings.brake_hard)
        found = []
        for at, moments in _refusals(self.of("discordrefusal")):
            soft, hard = (
                moments[-limit] + INVALID_WINDOW
                if len(moments) >= limit and moments[-limit] > at - INVALID_WINDOW
                else 0.0
                for limit in limits
            )
            found.append((at, (soft, hard)))
        return found

    def rows_during(self, key: Key, start: float, end: float) -> list[Row | None]:
        """Return the states of the record in between; None for no row."""
        return _during(self.records.get(key, []), start, end)

    @cached_property
    def stored(self) -> dict[int, list[tuple[Change, Guilds]]]:
        """Each person's stored list after each transaction."""
        return {user_id: list(_stored(changes)) for user_id, changes in _by_user(self.of(MEMBERSHIPS))}

    def stored_during(self, user_id: int, start: float, end: float) -> list[Guilds]:
        known = self.stored.get(user_id, [])
        first = bisect_right(known, start, key=lambda state: state[0].at)
        before = known[first - 1][1] if first else frozenset()
        return [before, *(guilds for change, guilds in known[first:] if change.at <= end)]

    def stored_with(self, change: Change) -> Guilds:
        """Return the stored list at the end of the transaction of `change`."""
        states = [guilds for other, guilds in self.stored.get(change.user_id, []) if _is_no_later(other, change)]
        return states[-1] if states else frozenset()

    def may_be_served(self, row: Row | None, at: float) -> bool:
        """Whether the answer in `row` may still be served at `at`."""
        return bool(row and row["verified_at"] and row["verified_at"] > at - DAY + 1 and row["reason"] not in REFUSALS)

    def is_fresh(self, row: Row, at: float) -> bool:
        """Whether the list of `row` was fresh and not yet due at `at`."""
        verified, due = row["verified_at"], row["refresh_after"]
        return verified is not None and at < verified + self.settings.fresh and (due is None or at < due)


def _is_no_later(other: Change, change: Change) -> bool:
    return other.id < change.id or other.within == change.within


def _by_user(changes: Iterable[Change]) -> Iterable[tuple[int, list[Change]]]:
    found: dict[int, list[Change]] = defaultdict(list)
    for change in changes:
        found[change.user_id].append(change)
    return found.items()


def _attempts(people: Mapping[int, str], changes: Sequence[Change], by_lists: set[int]) -> Iterator[Attempt]:
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
                change.key,
                people.get(change.user_id, "?"),
                after["generation"],
                change.at,
                before,
                after["lease_until"],
            )
        elif running and (ended := "void" if change.id in by_lists else _ending(change)):
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
    """Yield the list after each transaction, with the transaction's last change."""
    rows: dict[int, str] = {}
    for change, following in zip(changes, [*changes[1:], None], strict=True):
        if change.before:
            rows.pop(change.before["guild_id"], None)
        if change.after:
            rows[change.after["guild_id"]] = change.after["name"]
        if following is None or following.within != change.within:
            yield change, frozenset(rows.items())


# The guarantees


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
            found.expect(
                following.at + passed >= failed.end + 30 - WIRE,
                following.at,
                failed.user_id,
                f"retried {following.at - failed.end:.1f} s after a failure ({reason})",
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
    gates = (gate for _, gate in _in_force(_steps(run.gate), start, end))
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
                and (_ending(last) == "verified" or (change.after is None and _is_forgetting(last))),
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
        earliest = min([request.at, *run.frozen_before(request.at)]) - WIRE
        place = next((at for at in free if earliest <= at <= request.at + BLINK), None)
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
        rows = _during(run.gate, request.end - BLINK, request.end + WIRE)
        learnt = any(row and row["streak"] and (row["until"] or 0) >= request.end + wait - BLINK for row in rows)
        opened = any(change.actor for change in run.gate if request.at - BLINK <= change.at <= request.end + WIRE)
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
        for at, moments in _refusals(run.of("discordrefusal"))
    ]
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
            found.expect(
                least < limit, request.at, None, f"a request for {request.person} was sent after {least} refusals"
            )
    # Counted as checks, because the absence of requests means something only if a limit was reached.
    found.checked += sum(count >= run.settings.brake_soft for _, count in levels)
    return found


def _refusals(changes: Sequence[Change]) -> Iterator[tuple[float, list[float]]]:
    """Yield the sorted times of all refusals after each change."""
    moments: dict[int, float] = {}
    for change in changes:
        if change.before:
            moments.pop(change.before["id"], None)
        if change.after:
            moments[change.after["id"]] = change.after["at"]
        yield change.at, sorted(moments.values())


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
                not dead or run.frozen_before(request.at), request.at, attempt.user_id, "sent while disconnected"
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
    for since, row in _in_force(_steps(run.records.get(read.key, [])), read.at - COMMIT, end):
        if row is None:
            continue
        seen = since if row["not_before"] else since - COMMIT
        is_cold = not row["verified_at"] or row["verified_at"] <= read.end - DAY
        # Only what differs: the gate changes with each request, and its state is combined with each of the brake's.
        shuts = {shut for _, shut in _in_force(run.gate_ends, seen, end)} or {0.0}
        brakes = {ends for _, ends in _in_force(run.brake_ends, seen, end)} or {(0.0, 0.0)}
        held = {0.0}
        if read.guild_id:
            allowances = _in_force(_steps(run.allowances.get(read.user_id, [])), seen, end)
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


def _steps(changes: Iterable[Change]) -> list[tuple[float, Row | None]]:
    return [(change.at, change.after) for change in changes]


def _in_force(steps: Sequence[tuple[float, T]], start: float, end: float) -> list[tuple[float, T]]:
    """Return the steps in force between `start` and `end`, with the time since which, or `start` if later."""
    first = bisect_right(steps, start, key=lambda step: step[0])
    last = bisect_right(steps, end, lo=first, key=lambda step: step[0])
    before = [(start, steps[first - 1][1])] if first else []
    return [*before, *steps[first:last]]


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
            earliest = min([request.at, *run.frozen_before(request.at)]) - WIRE - QUEUE
            place = next((at for at in free if earliest <= at <= request.at + BLINK), None)
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
            for row in _during(run.allowances.get(user_id, []), request.end - BLINK, request.end + QUEUE)
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
    r2_five_requests_in_a_window,
    r2_each_request_was_taken,
    r3_a_wait_closes_the_allowance,
    r5_members_change_only_with_their_generation,
    r9_members_are_true_and_less_than_a_day_old,
)


def check(run: Run) -> list[Finding]:
    return [promise(run) for promise in CHECKS]
