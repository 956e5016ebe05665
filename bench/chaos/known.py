"""Everything that is known about a run: settings, changes of rows, requests and responses, and what follows from them.

All times are Unix times of one machine.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import Any

Row = dict[str, Any]
# A record: the person, and the server if it is a member's record, or else 0.
Key = tuple[int, int]
Guilds = frozenset[tuple[int, str]]

# Seconds from the last read of the rows before a request to its arrival, and from Discord's response until it is
# stored, on a heavily loaded machine.
WIRE = 2.0
# Seconds from a process's resumption until it has sent what it was about to send, which all its waiting readers delay.
THAW = 5.0
# Seconds that a writer may wait for SQLite's lock on such a machine.
QUEUE = 10.0
# Seconds from a statement until its transaction is visible to others.
COMMIT = 0.5
# Seconds between two statements of one step, plus the rounding of SQLite's clock to milliseconds.
BLINK = 0.05
DAY = 24 * 3600.0
REFUSALS = ("reconnect_required", "missing_scope")
INVALID_WINDOW = 600.0
LISTS, MEMBERS, MEMBERSHIPS = "guildlistverification", "guildmember", "userguildmembership"
ALLOWANCES = "discordallowance"


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
        by_person = _by_person(found.values())
        for request in self.requests:
            if not request.is_for_record:
                continue
            candidates = self._senders(request, by_person)
            for attempt in candidates:
                attempt.perhaps.append(request)
                if len(candidates) == 1 and request.person:
                    attempt.requests.append(request)
        return found

    @cached_property
    def looked_at(self) -> dict[int, float]:
        """The earliest moment at which the sender of each request may have looked at the gate and the brake, by `id`.

        A sender looks after its claim and after the response to its previous request, and then waits for its turn to
        write. On a machine that stalls, only these two say when that was.
        """
        by_person = _by_person(self.attempts.values())
        found = {}
        for request in self.requests:
            steps = [
                max([attempt.at, *(earlier.end for earlier in attempt.requests if earlier.end <= request.at)])
                for attempt in self._senders(request, by_person)
            ]
            # Without a claim, such as when the tokens of people who left are revoked, the wait to write is added.
            longest = WIRE if steps else WIRE + QUEUE
            found[id(request)] = min([*(at - longest for at in self._sent_at(request)), *steps])
        return found

    def _senders(self, request: Request, by_person: Mapping[str, Sequence[Attempt]]) -> list[Attempt]:
        """Return the attempts that may have sent the request: for its person and record, and live at that time."""
        # Discord no longer knows the owner of a revoked token.
        whose = [request.person] if request.person else {person for at, person in self.revoked if at <= request.at}
        moments = self._sent_at(request)
        return [
            attempt
            for person in whose
            for attempt in by_person.get(person, ())
            if (attempt.key[1] == request.guild_id or not request.is_for_record)
            and any(
                attempt.at <= sent + BLINK and attempt.end >= sent - WIRE and attempt.lease_until >= sent - BLINK
                for sent in moments
            )
        ]

    def _sent_at(self, request: Request) -> list[float]:
        """Return when the request may have been sent: just before its arrival or before a freeze."""
        return [request.at, *self.frozen_before(request.at)]

    def all_attempts(self) -> Iterator[Attempt]:
        for attempts in self.attempts.values():
            yield from attempts

    def frozen_before(self, at: float) -> list[float]:
        """Return when the processes were frozen that resumed just before `at`."""
        return [gap.at for gap in self.gaps if gap.kind == "frozen" and gap.resumed - BLINK <= at <= gap.until + THAW]

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
        return [(at, (gate["until"] or 0.0) if gate and gate["streak"] else 0.0) for at, gate in steps(self.gate)]

    @cached_property
    def brake_ends(self) -> list[tuple[float, tuple[float, float]]]:
        """When the brake ends at the soft and the hard limit, or 0 if it is off, after each change of the refusals."""
        limits = (self.settings.brake_soft, self.settings.brake_hard)
        found = []
        for at, moments in refusals(self.of("discordrefusal")):
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
        return during(self.records.get(key, []), start, end)

    @cached_property
    def stored(self) -> dict[int, list[tuple[Change, Guilds]]]:
        """Each person's stored list after each transaction."""
        return {user_id: list(_stored(changes)) for user_id, changes in by_user(self.of(MEMBERSHIPS))}

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


def by_user(changes: Iterable[Change]) -> Iterable[tuple[int, list[Change]]]:
    found: dict[int, list[Change]] = defaultdict(list)
    for change in changes:
        found[change.user_id].append(change)
    return found.items()


def _by_person(attempts: Iterable[Sequence[Attempt]]) -> dict[str, list[Attempt]]:
    found: dict[str, list[Attempt]] = defaultdict(list)
    for attempt in chain.from_iterable(attempts):
        found[attempt.person].append(attempt)
    return found


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
        elif running and (ended := "void" if change.id in by_lists else ending(change)):
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


def ending(change: Change) -> str:
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


def during(changes: Sequence[Change], start: float, end: float) -> list[Row | None]:
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


def refusals(changes: Sequence[Change]) -> Iterator[tuple[float, list[float]]]:
    """Yield the sorted times of all refusals after each change."""
    moments: dict[int, float] = {}
    for change in changes:
        if change.before:
            moments.pop(change.before["id"], None)
        if change.after:
            moments[change.after["id"]] = change.after["at"]
        yield change.at, sorted(moments.values())


def steps(changes: Iterable[Change]) -> list[tuple[float, Row | None]]:
    return [(change.at, change.after) for change in changes]
