"""The chaos checker finds each kind of broken guarantee in small handwritten histories."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from bench.chaos import limits, lists, members
from bench.chaos.checker import CHECKS, check
from bench.chaos.known import (
    DAY,
    Change,
    Finding,
    Gap,
    Guilds,
    Mood,
    Nick,
    Read,
    Request,
    Run,
    Settings,
    Version,
)

SETTINGS = Settings(
    lease=6, timeout=2, fresh=60, manual_pause=5, retries=3, brake_soft=4, brake_hard=6, member_window=15
)
ADA, BOB, CAROL = 1, 2, 3
PEOPLE = {ADA: "ada", BOB: "bob", CAROL: "carol"}
LIST: Guilds = frozenset({(7, "Chess Club")})
LISTS, MEMBERSHIPS, GATE = "guildlistverification", "userguildmembership", "discordgate"
ACCOUNTS, REFUSALS = "discordaccount", "discordrefusal"
MEMBERS, ALLOWANCES = "guildmember", "discordallowance"
CHESS = 7
NEW_LIST = {
    **dict.fromkeys(("verified_at", "refresh_after", "not_before", "lease_until")),
    "reason": "",
    "failure_streak": 0,
    "generation": 0,
}


@dataclass
class Story:
    """A builder for histories: each method adds an event at `at`, in order of time."""

    changes: list[Change] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    moods: list[Mood] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    revoked: list[tuple[float, str]] = field(default_factory=list)
    rows: dict[tuple[str, int], dict[str, Any]] = field(default_factory=dict)

    def write(self, at: float, model: str, key: int, /, *, actor: str = "", within: int = 0, **columns: Any) -> None:
        before = self.rows.get((model, key))
        after = {**(before or {}), **columns}
        self.rows[model, key] = after
        number = len(self.changes) + 1
        self.changes.append(Change(number, at, within or number, actor, model, before, after))

    def join(self, at: float, user: int) -> None:
        self.write(at, LISTS, user, user_id=user, **NEW_LIST)
        self.write(at, ACCOUNTS, user, user_id=user, token_version=0, disconnected_at=None)

    def list(self, at: float, user: int, **columns: Any) -> None:
        """Add a write that increments the generation, as every claim and release does."""
        self.write(at, LISTS, user, generation=self.rows[LISTS, user]["generation"] + 1, **columns)

    def claim(self, at: float, user: int) -> None:
        self.list(at, user, lease_until=at + 6)

    def verified(self, at: float, user: int, claimed: float, guilds: Guilds = LIST) -> None:
        within = 1000 + len(self.changes)
        times = {"verified_at": claimed, "refresh_after": claimed + 48, "not_before": None}
        self.list(at, user, within=within, lease_until=None, reason="", failure_streak=0, **times)
        for guild_id, name in guilds:
            row = {"user_id": user, "guild_id": guild_id, "name": name}
            if self.rows.get((MEMBERSHIPS, 100 * user + guild_id)) != row:
                self.write(at + 0.01, MEMBERSHIPS, 100 * user + guild_id, within=within, **row)

    def failed(self, at: float, user: int, reason: str, not_before: float | None) -> None:
        self.list(at, user, lease_until=None, reason=reason, not_before=not_before)

    def ask(self, at: float, person: str | None, status: int | None, lasts: float = 0.1) -> None:
        """Add a request that was admitted just before."""
        self.write(at - 0.05, GATE, 1, tat=at)
        self.requests.append(Request(at, at + lasts, True, person, status))
        if status in (401, 403, 429):
            self.refused(at + lasts + 0.01, status)

    def refused(self, at: float, status: int = 429) -> None:
        self.write(at, REFUSALS, len(self.changes), id=len(self.changes), at=at, status=status)

    def read(self, at: float, user: int, status: int | None = 200, **told: Any) -> None:
        self.reads.append(Read(at, at + 0.1, 0, user, told.pop("kind", "list"), status, **told))

    def join_server(self, at: float, user: int) -> None:
        self.write(
            at, MEMBERS, user, user_id=user, guild_id=CHESS, is_member=False, nick="", silent_at=None, **NEW_LIST
        )
        self.write(at, ALLOWANCES, user, kind="member", owner=user, window_ends_at=None, sent=0, until=None)

    def member(self, at: float, user: int, **columns: Any) -> None:
        """Add a write that increments the generation."""
        self.write(at, MEMBERS, user, generation=self.rows[MEMBERS, user]["generation"] + 1, **columns)

    def ask_for_member(self, at: float, user: int, status: int, *, window_ends_at: float, sent: int) -> None:
        """Add a request that was taken from the allowance and admitted just before."""
        self.write(at - 0.07, ALLOWANCES, user, window_ends_at=window_ends_at, sent=sent)
        self.write(at - 0.05, GATE, 1, tat=at)
        self.requests.append(Request(at, at + 0.1, False, PEOPLE[user], status, CHESS))
        if status in (401, 403, 429):
            self.refused(at + 0.11, status)

    def member_verified(self, at: float, user: int, claimed: float, nick: str | None = "Ada") -> None:
        answer = {"is_member": nick is not None, "nick": nick or ""}
        self.member(at, user, lease_until=None, reason="", verified_at=claimed, refresh_after=claimed + 48, **answer)

    def read_member(self, at: float, user: int, status: int = 200, **told: Any) -> None:
        self.read(at, user, status, kind="member", guild_id=CHESS, **told)

    def run(self) -> Run:
        versions = [Version(0, float("inf"), name, LIST) for name in PEOPLE.values()]
        ordered = sorted(self.changes, key=lambda change: change.at)
        nicks = [Nick(0, float("inf"), name, CHESS, name.title()) for name in PEOPLE.values()]
        told = (self.requests, self.reads, self.moods, self.gaps, versions, self.revoked, nicks)
        return Run(SETTINGS, PEOPLE, ordered, *told)


def a_day() -> Story:
    """A history with events for every guarantee, none of which is broken."""
    story = Story()
    story.write(0, GATE, 1, until=None, tat=None, reason="", streak=0, version=0)
    story.join(1, ADA)
    story.claim(10, ADA)
    story.ask(10.1, "ada", 200)
    story.verified(10.4, ADA, 10)
    story.read(20, ADA, verified_at=10.0, age=10, guilds=LIST)

    story.moods.append(Mood(99, 110, "rate_limited", wait=30.0))
    story.claim(100, ADA)
    story.ask(100.1, "ada", 429)
    story.failed(100.3, ADA, "rate_limited", 131)
    story.read(101, ADA, reason="rate_limited", verified_at=10.0, age=91, guilds=LIST)

    story.moods.append(Mood(139, 141, "global_limit", wait=5.0))
    story.claim(140, ADA)
    story.ask(140.1, "ada", 429)
    story.write(140.3, GATE, 1, until=145.4, reason="global_limit", streak=1)
    story.failed(140.5, ADA, "global_limit", 171)
    story.join(149, BOB)
    story.claim(150, BOB)
    story.write(150.04, GATE, 1, until=156.04, tat=150.05)
    story.requests.append(Request(150.1, 150.2, True, "bob", 200))
    story.write(150.3, GATE, 1, until=None, reason="", streak=0)
    story.verified(150.4, BOB, 150)

    story.claim(200, ADA)
    story.ask(200.1, "ada", None)
    story.gaps.append(Gap(1, 200.2, 203, 203, "killed"))
    story.claim(206.15, ADA)
    story.read(206.1, ADA, verified_at=10.0, age=196, reason="in_progress", guilds=LIST)
    story.ask(206.2, "ada", 200)
    story.verified(206.4, ADA, 206.15)

    story.claim(300, ADA)
    story.ask(300.1, "ada", 401)
    story.ask(300.5, "ada", 401)
    story.write(300.65, ACCOUNTS, ADA, token_version=1, disconnected_at=300.65)
    story.failed(300.7, ADA, "reconnect_required", None)

    story.moods.append(Mood(393, 396, "rate_limited", wait=30.0))
    story.join(390, CAROL)
    story.claim(394, CAROL)
    story.ask(394.1, "carol", 429)
    story.failed(394.3, CAROL, "rate_limited", 430.5)
    story.read(400, CAROL, 429, reason="rate_limited", retry_after=31)
    return story


def a_day_with_members() -> Story:
    story = a_day()
    story.join_server(1600, BOB)
    story.member(1601, BOB, lease_until=1607)
    story.ask_for_member(1601.1, BOB, 200, window_ends_at=1621, sent=1)
    story.member_verified(1601.3, BOB, 1601, "Bob")
    story.read_member(1602, BOB, verified_at=1601.0, age=1, nick="Bob")

    story.moods.append(Mood(1699, 1702, "rate_limited", wait=30.0))
    story.join_server(1690, CAROL)
    story.member(1700, CAROL, lease_until=1706)
    story.ask_for_member(1700.1, CAROL, 429, window_ends_at=1720, sent=1)
    story.write(1700.25, ALLOWANCES, CAROL, until=1730.3)
    story.member(1700.3, CAROL, lease_until=None, reason="rate_limited", not_before=1731)
    story.read_member(1701, CAROL, 429, reason="rate_limited", retry_after=30)

    story.claim(1800, BOB)
    story.ask(1800.1, "bob", 200)
    story.verified(1800.3, BOB, 1800)
    story.member(1800.3, BOB, is_member=False, nick="", verified_at=1800, refresh_after=None, lease_until=None)
    story.read_member(1801, BOB, verified_at=1800.0, age=1)
    return story


def broken(check: Callable[[Run], Finding], story: Story) -> list[str]:
    return [broken.what for broken in check(story.run()).broken]


def test_a_run_that_keeps_every_promise_breaks_none_and_leaves_none_unchecked() -> None:
    for finding in check(a_day_with_members().run()):
        assert finding.checked, finding.promise
        assert not finding.broken, finding.promise


def test_every_check_is_part_of_the_run() -> None:
    rules = {**vars(lists), **vars(limits), **vars(members)}
    named = {name for name in rules if name[0] in "gr" and name[1].isdigit()}

    assert named == {promise.__name__ for promise in CHECKS}


@pytest.mark.parametrize("promise", CHECKS, ids=lambda promise: str(promise.__name__))
def test_a_check_of_nothing_says_that_it_checked_nothing(promise: Callable[[Run], Finding]) -> None:
    finding = promise(Run(SETTINGS, PEOPLE))

    assert (finding.checked, finding.broken) == (0, [])


def test_g1_finds_a_claim_beside_a_lease_that_runs() -> None:
    story = a_day()
    story.claim(500, BOB)
    story.claim(504, BOB)

    assert broken(lists.g1_one_attempt_at_a_time, story) == ["claimed 2.00 s before another lease ended"]


def test_g1_finds_a_lease_that_ends_before_its_attempt() -> None:
    """The process was frozen after it had read the time and before it acquired the lease."""
    story = a_day()
    story.list(508, BOB, lease_until=506)

    assert broken(lists.g1_one_attempt_at_a_time, story) == ["acquired a lease of only -2.00 s"]


def test_g1_finds_a_request_without_a_lease() -> None:
    story = a_day()
    story.ask(500, "bob", 200)

    assert broken(lists.g1_one_attempt_at_a_time, story) == ["bob's list was requested without a lease"]


def test_g1_finds_a_request_after_its_lease() -> None:
    story = a_day()
    story.claim(500, BOB)
    story.ask(506.5, "bob", 200)

    assert broken(lists.g1_one_attempt_at_a_time, story)


@pytest.mark.parametrize("noticed", [508, 509], ids=["at once", "late"])
def test_g1_excuses_what_was_on_its_way_when_its_process_was_frozen(noticed: float) -> None:
    story = a_day()
    story.claim(500, BOB)
    story.gaps.append(Gap(1, 500.1, 508, noticed, "frozen"))
    story.ask(508.1, "bob", 200)

    assert not broken(lists.g1_one_attempt_at_a_time, story)


def test_g1_finds_two_requests_of_one_attempt_at_once() -> None:
    story = a_day()
    story.claim(500, BOB)
    story.ask(500.1, "bob", 200, lasts=1)
    story.ask(500.5, "bob", 200)

    assert broken(lists.g1_one_attempt_at_a_time, story) == ["two requests of one attempt at once"]


def test_g2_finds_a_second_request_after_an_answer_that_needed_none() -> None:
    story = a_day()
    story.claim(500, BOB)
    story.ask(500.1, "bob", 503)
    story.ask(500.5, "bob", 503)

    assert broken(lists.g2_an_attempt_is_one_request_and_its_retries, story)


def test_g2_finds_a_fourth_retry() -> None:
    story = a_day()
    story.claim(500, BOB)
    for retry in range(5):
        story.ask(500.1 + retry, "bob", 429)

    assert broken(lists.g2_an_attempt_is_one_request_and_its_retries, story)


def fail_twice(seconds: float) -> Story:
    story = a_day()
    story.claim(500, BOB)
    story.ask(500.1, "bob", 503)
    story.failed(500.3, BOB, "unavailable", 500.5)
    story.claim(500 + seconds, BOB)
    return story


def test_g2_finds_a_person_asked_for_again_within_30_seconds() -> None:
    story = fail_twice(20)

    assert broken(lists.g2_failing_people_are_asked_once_in_30_seconds, story)
    assert not broken(lists.g2_failing_people_are_asked_once_in_30_seconds, fail_twice(31))


def test_g2_counts_from_the_response_though_its_write_may_wait() -> None:
    story = a_day()
    story.claim(500, BOB)
    story.ask(500.1, "bob", 503)
    story.failed(505, BOB, "unavailable", 530.3)
    story.claim(531, BOB)

    assert not broken(lists.g2_failing_people_are_asked_once_in_30_seconds, story)


def test_g2_takes_into_account_what_the_bench_let_pass() -> None:
    story = fail_twice(20)
    story.changes = [change for change in story.changes if change.at < 520]
    story.write(510, LISTS, BOB, actor="pass", not_before=story.rows[LISTS, BOB]["not_before"] - 3600)
    story.changes += fail_twice(20).changes[-1:]

    assert not broken(lists.g2_failing_people_are_asked_once_in_30_seconds, story)


@pytest.mark.parametrize(
    ("row", "recovered_at", "is_allowed"),
    [
        ({"silent_at": 490}, 500, True),
        ({"silent_at": 490}, 480, False),
        ({"silent_at": None}, 500, False),
        ({"silent_at": 490, "reason": "rate_limited"}, 500, False),
    ],
)
def test_g2_allows_a_claim_once_a_silence_has_ended(row: dict[str, Any], recovered_at: float, is_allowed: bool) -> None:
    story = a_day()
    story.write(498, LISTS, BOB, **{"not_before": 600, "reason": "unavailable", **row})
    story.write(500, GATE, 1, recovered_at=recovered_at)
    story.claim(510, BOB)

    assert broken(lists.g2_nobody_is_asked_before_not_before, story) == (
        [] if is_allowed else ["claimed 90.00 s before not_before"]
    )


def test_g2_finds_a_claim_before_not_before() -> None:
    story = a_day()
    story.write(500, LISTS, BOB, not_before=530)
    story.claim(510, BOB)

    assert broken(lists.g2_nobody_is_asked_before_not_before, story) == ["claimed 20.00 s before not_before"]


@pytest.mark.parametrize(("again", "kept"), [(504.0, False), (505.3, True)])
def test_g2_finds_a_request_before_the_end_of_a_wait_that_discord_named(again: float, kept: bool) -> None:
    story = a_day()
    story.moods.append(Mood(499, 501, "rate_limited", wait=5.0))
    story.claim(500, BOB)
    story.ask(500.1, "bob", 429)
    story.ask(again, "bob", 200)
    story.verified(again + 0.2, BOB, 500)

    assert (not broken(lists.g2_what_discord_told_to_wait_is_waited, story)) is kept


def test_g3_finds_a_lease_that_nobody_takes_over() -> None:
    story = a_day()
    story.claim(500, BOB)
    story.read(506.3, BOB, reason="in_progress", verified_at=150.0, age=356, guilds=LIST)

    assert broken(lists.g3_an_abandoned_list_is_taken_over, story)


def test_g3_is_content_with_a_reason_for_not_asking() -> None:
    story = a_day()
    story.claim(500, BOB)
    story.read(506.3, BOB, reason="global_limit", verified_at=150.0, age=356, guilds=LIST)

    assert not broken(lists.g3_an_abandoned_list_is_taken_over, story)


@pytest.mark.parametrize("status", [None, 429, 500, 503])
def test_g3_finds_an_error_in_place_of_a_stored_list(status: int | None) -> None:
    story = a_day()
    story.read(500, BOB, status)

    assert broken(lists.g3_stored_lists_are_served, story)


def test_g3_finds_a_fault_of_ours_also_where_there_is_no_list() -> None:
    story = a_day()
    story.read(500, CAROL, 500, kind="refresh")

    assert broken(lists.g3_stored_lists_are_served, story)


def test_g3_excuses_the_readers_of_a_process_that_was_killed_or_frozen() -> None:
    story = a_day()
    story.gaps.append(Gap(0, 499, 508, 508, "killed"))
    story.read(500, BOB, None)

    assert not broken(lists.g3_stored_lists_are_served, story)


def test_g4_finds_a_membership_that_changes_after_its_attempt_was_taken_over() -> None:
    story = a_day()
    story.claim(500, BOB)
    story.write(501, MEMBERSHIPS, 207, within=story.changes[-1].within, name="Late")

    assert broken(lists.g4_lists_change_only_with_their_generation, story)


def test_g4_finds_a_membership_that_changes_in_a_transaction_of_its_own() -> None:
    story = a_day()
    story.write(501, MEMBERSHIPS, 207, name="Late")

    assert broken(lists.g4_lists_change_only_with_their_generation, story)


def test_g4_finds_a_list_that_discord_did_not_send() -> None:
    story = a_day()
    story.claim(500, BOB)
    story.ask(500.1, "bob", 200)
    story.verified(500.4, BOB, 500, frozenset({(7, "Older Name")}))

    assert broken(lists.g4_stored_is_what_discord_sent, story)


def test_g4_finds_a_list_that_came_from_a_failure() -> None:
    story = a_day()
    story.claim(500, BOB)
    story.ask(500.1, "bob", 503)
    story.verified(500.4, BOB, 500)

    assert broken(lists.g4_stored_is_what_discord_sent, story)


def shut(story: Story) -> Story:
    story.write(500, GATE, 1, until=520, reason="global_limit", streak=1)
    return story


def test_g5_finds_a_send_through_a_shut_gate() -> None:
    story = shut(a_day())
    story.ask(510, "bob", 200)

    assert broken(limits.g5_nothing_passes_a_shut_gate, story) == [
        "passed the gate 10.05 s before its end (global_limit)"
    ]


def test_g6_finds_a_second_probe() -> None:
    story = shut(a_day())
    story.write(521, GATE, 1, tat=521.1, until=527)
    assert not broken(limits.g5_nothing_passes_a_shut_gate, story)

    story.write(522, GATE, 1, tat=522.1, until=528)

    assert broken(limits.g5_nothing_passes_a_shut_gate, story)


def test_g6_finds_a_probe_that_lets_others_follow() -> None:
    story = shut(a_day())
    story.write(521, GATE, 1, tat=521.1)

    assert broken(limits.g5_nothing_passes_a_shut_gate, story) == ["the probe left the gate open"]


def test_g5_finds_a_request_that_did_not_pass_the_gate() -> None:
    story = shut(a_day())
    story.requests.append(Request(510, 510.1, True, "bob", 200))

    assert broken(limits.g5_every_request_passed_the_gate, story)


def test_g5_finds_two_requests_for_one_admission() -> None:
    story = a_day()
    story.ask(500, "bob", 200)
    story.requests.append(Request(500.01, 500.1, False, "bob", 200))

    assert broken(limits.g5_every_request_passed_the_gate, story)


@pytest.mark.parametrize("until", [None, 503.0])
def test_g5_finds_a_limit_for_everybody_that_shuts_no_gate_or_for_too_short(until: float | None) -> None:
    story = a_day()
    story.moods.append(Mood(499, 501, "global_limit", wait=5.0))
    story.ask(500, "bob", 429)
    if until:
        story.write(500.2, GATE, 1, until=until, reason="global_limit", streak=1)

    assert broken(limits.g5_a_limit_for_all_shuts_the_gate, story)


def test_g7_finds_a_refresh_of_a_stored_list_above_the_soft_limit() -> None:
    story = a_day()
    story.write(405, LISTS, BOB, actor="age")
    story.claim(450, BOB)
    story.ask(450.1, "bob", 200)

    assert broken(limits.g7_the_brake_holds, story) == ["a request for bob was sent after 5 refusals"]


def test_g7_finds_a_request_above_the_hard_limit() -> None:
    story = a_day()
    story.refused(440)
    story.claim(450, CAROL)
    story.ask(450.1, "carol", 200)

    assert broken(limits.g7_the_brake_holds, story) == ["a request for carol was sent after 6 refusals"]


@pytest.mark.parametrize(("first", "kept"), [(439.8, True), (443, False)])
def test_g7_counts_from_the_step_before_the_request(first: float, kept: bool) -> None:
    """A sender that has looked at the brake may wait for its turn to write for long; it looks again at each retry."""
    story = a_day()
    story.claim(439, CAROL)
    story.requests.append(Request(first, first, True, "carol", 503))
    story.refused(440)
    story.ask(443.5, "carol", 200)

    assert (not broken(limits.g7_the_brake_holds, story)) is kept


def test_g7_lets_them_ask_when_the_window_has_moved_on() -> None:
    story = a_day()
    story.refused(440)
    for (model, key), row in list(story.rows.items()):
        if model == REFUSALS:
            story.write(441, REFUSALS, key, actor="pass", at=row["at"] - 3600)
    story.claim(450, CAROL)
    story.ask(450.1, "carol", 200)

    assert not broken(limits.g7_the_brake_holds, story)


def test_g7_finds_a_refusal_that_was_not_counted() -> None:
    story = a_day()
    story.requests.append(Request(500, 500.1, True, "bob", 403))

    assert broken(limits.g7_every_refusal_is_counted, story) == ["a response 403 was not counted"]


@pytest.mark.parametrize(("lasts", "gap"), [(1.9, []), (0.1, [Gap(1, 500.05, 503, 503, "killed")])])
def test_g7_excuses_refusals_that_nobody_lived_to_count(lasts: float, gap: list[Gap]) -> None:
    story = a_day()
    story.requests.append(Request(500, 500 + lasts, True, "bob", 403))
    story.gaps += gap

    assert not broken(limits.g7_every_refusal_is_counted, story)


def test_g7_knows_that_shared_limits_do_not_count() -> None:
    story = a_day()
    story.moods.append(Mood(499, 501, "shared_limit", wait=5.0))
    story.requests.append(Request(500, 500.1, True, "bob", 429))

    assert not broken(limits.g7_every_refusal_is_counted, story)


def test_g8_finds_a_third_request_with_a_dead_token() -> None:
    story = a_day()
    story.claim(500, BOB)
    for again in range(3):
        story.ask(500.1 + again, "bob", 401)

    assert broken(limits.g8_a_dead_token_is_sent_at_most_twice, story) == ["3 requests with dead tokens"]


def test_g8_finds_a_request_for_a_disconnected_person() -> None:
    story = a_day()
    story.claim(500, ADA)
    story.ask(500.1, "ada", 401)

    assert broken(limits.g8_a_dead_token_is_sent_at_most_twice, story) == ["sent while disconnected"]


def test_g8_finds_a_revoked_token_that_is_sent_without_a_lease() -> None:
    story = a_day()
    story.revoked.append((499, "bob"))
    story.claim(500, BOB)
    story.ask(500.1, None, 401)
    assert not broken(limits.g8_a_dead_token_is_sent_at_most_twice, story)

    story.ask(520, None, 401)

    assert broken(limits.g8_a_dead_token_is_sent_at_most_twice, story)


@pytest.mark.parametrize(
    "wrong",
    [
        {"age": int(DAY), "verified_at": 500 - DAY},
        {"age": 340},
        {"age": 352},
        {"verified_at": 151.0, "age": 349},
        {"guilds": frozenset({(7, "Never Stored")})},
    ],
)
def test_g9_finds_an_untrue_age_or_list(wrong: dict[str, Any]) -> None:
    true = {"verified_at": 150.0, "age": 350, "guilds": LIST}
    story = a_day()
    story.read(500, BOB, **true)
    assert not broken(lists.g9_no_list_is_a_day_old_and_its_age_is_true, story)

    story.read(500, BOB, **{**true, **wrong})

    assert broken(lists.g9_no_list_is_a_day_old_and_its_age_is_true, story)


def test_g9_finds_a_request_for_a_fresh_list() -> None:
    story = a_day()
    story.claim(180, BOB)

    assert broken(lists.g9_nothing_fresh_is_asked_for, story) == ["a fresh list was requested"]


def test_g9_lets_refresh_now_ask_for_a_fresh_list() -> None:
    story = a_day()
    story.claim(180, BOB)
    story.read(179.9, BOB, 202, kind="refresh")

    assert not broken(lists.g9_nothing_fresh_is_asked_for, story)


def test_g9_finds_a_claim_for_a_refused_person() -> None:
    story = a_day()
    story.claim(500, ADA)

    assert broken(lists.g9_nothing_fresh_is_asked_for, story) == ["the list of a refused person was requested"]


def test_g11_finds_a_wait_that_was_set_by_another_persons_failure() -> None:
    story = a_day()
    story.write(500, LISTS, BOB, not_before=530)

    assert broken(lists.g11_only_ones_own_attempt_sets_ones_wait, story) == [
        "not_before changed without an attempt for the person"
    ]


def test_g11_finds_a_limit_that_was_another_persons() -> None:
    story = a_day()
    story.claim(500, BOB)
    story.ask(500.1, "bob", 503)
    story.failed(500.3, BOB, "rate_limited", 531)

    assert broken(lists.g11_only_ones_own_attempt_sets_ones_wait, story)


def test_g11_knows_that_renewing_a_token_may_be_limited_too() -> None:
    story = a_day()
    story.claim(500, BOB)
    story.requests.append(Request(500.1, 500.2, False, "bob", 429))
    story.failed(500.3, BOB, "rate_limited", 531)

    assert not broken(lists.g11_only_ones_own_attempt_sets_ones_wait, story)


@pytest.mark.parametrize("told", [None, 0, 12, 40])
def test_g13_finds_a_refusal_with_no_retry_after_or_an_untrue_one(told: int | None) -> None:
    story = a_day()
    story.reads = [replace(read, retry_after=told) if read.status == 429 else read for read in story.reads]

    assert broken(lists.g13_a_refusal_says_truly_how_long, story)


def shut_by_the_reader(brake_at: float | None = None) -> Story:
    """Carol's own attempt shuts the gate until 660, and her own wait ends at 631."""
    story = Story()
    story.write(0, GATE, 1, until=None, tat=None, reason="", streak=0, version=0)
    story.join(590, CAROL)
    for _ in range(0 if brake_at is None else SETTINGS.brake_hard):
        story.refused(brake_at or 0.0)
    story.claim(600.01, CAROL)
    story.write(600.04, GATE, 1, until=660, reason="cloudflare", streak=1)
    story.failed(600.05, CAROL, "cloudflare", 631)
    return story


@pytest.mark.parametrize(
    ("brake_at", "told", "kept"),
    [(None, 60, True), (None, 31, False), (100, 100, True), (100, 60, False), (20, 60, True), (20, 31, False)],
)
def test_g13_demands_the_obstacle_that_ends_last(brake_at: float | None, told: int, kept: bool) -> None:
    """This includes the reader whose own attempt shut the gate: before that attempt, their record had no wait."""
    story = shut_by_the_reader(brake_at)
    story.read(600, CAROL, 429, reason="cloudflare", retry_after=told)

    assert bool(broken(lists.g13_a_refusal_says_truly_how_long, story)) is not kept


def test_g13_knows_the_cool_down_of_a_refresh() -> None:
    story = a_day()
    story.claim(100, BOB)
    story.verified(100.2, BOB, 100)
    story.read(101, BOB, 429, kind="refresh", reason="/problems/refresh-too-soon", retry_after=4)
    story.read(101, BOB, 429, kind="refresh", reason="rate_limited", retry_after=4)

    assert len(broken(lists.g13_a_refusal_says_truly_how_long, story)) == 1


def test_r1_finds_a_member_that_was_asked_for_without_a_lease() -> None:
    story = a_day_with_members()
    story.ask_for_member(1900, BOB, 200, window_ends_at=1920, sent=1)

    assert broken(lists.g1_one_attempt_at_a_time, story) == ["bob's member was requested without a lease"]


@pytest.mark.parametrize(("last", "kept"), [(1915.0, True), (1914.9, False)])
def test_r2_finds_a_sixth_request_in_a_window(last: float, kept: bool) -> None:
    story = a_day_with_members()
    for at in (1900, 1901, 1902, 1903, 1904, last):
        story.ask_for_member(at, BOB, 200, window_ends_at=1920, sent=1)

    assert (broken(members.r2_five_requests_in_a_window, story) == []) is kept


def test_r2_excuses_a_request_that_was_frozen_on_its_way() -> None:
    story = a_day_with_members()
    story.gaps.append(Gap(0, 1890, 1905, 1905, "frozen"))
    for at in (1900, 1901, 1902, 1903, 1904, 1905.1):
        story.ask_for_member(at, BOB, 200, window_ends_at=1920, sent=1)

    assert broken(members.r2_five_requests_in_a_window, story) == []


def test_r2_finds_a_request_that_was_not_counted() -> None:
    story = a_day_with_members()
    story.requests.append(Request(1900, 1900.1, False, "bob", 200, CHESS))

    assert broken(members.r2_each_request_was_taken, story) == ["a member request that was not counted"]


@pytest.mark.parametrize(
    ("taken", "what"),
    [
        ({"sent": 6, "window_ends_at": 1720}, "6 in a window"),
        ({"sent": 1, "window_ends_at": 1735}, "a window ended too early"),
        ({"sent": 2, "window_ends_at": 1720}, "taken during a wait Discord named"),
    ],
)
def test_r3_finds_what_was_taken_though_the_allowance_was_closed(taken: dict[str, Any], what: str) -> None:
    story = a_day_with_members()
    story.write(1715, ALLOWANCES, CAROL, **taken)

    assert what in broken(members.r2_each_request_was_taken, story)


def test_r3_finds_a_wait_that_did_not_close_the_allowance() -> None:
    story = a_day_with_members()
    story.moods.append(Mood(1899, 1902, "rate_limited", wait=30.0))
    story.ask_for_member(1900, BOB, 429, window_ends_at=1920, sent=1)

    (what,) = broken(members.r3_a_wait_closes_the_allowance, story)
    assert what == "Discord named 30 s for bob, but the allowance was not closed for that long"


def test_r5_finds_a_late_answer_that_was_stored() -> None:
    story = a_day_with_members()
    story.member_verified(1900, BOB, 1890, "Bob")

    (what,) = broken(members.r5_members_change_only_with_their_generation, story)
    assert what == "a member changed outside the end of the newest attempt"


def test_r5_finds_an_answer_that_discord_did_not_send() -> None:
    story = a_day_with_members()
    story.member(1900, BOB, lease_until=1906)
    story.ask_for_member(1900.1, BOB, 200, window_ends_at=1920, sent=1)
    story.member_verified(1900.3, BOB, 1900, "Robert")

    (what,) = broken(members.r5_members_change_only_with_their_generation, story)
    assert what.startswith("stored 'Robert'")


@pytest.mark.parametrize(("nick", "status"), [(None, 200), ("Bob", 404)])
def test_r5_finds_an_absence_that_discord_did_not_tell(nick: str | None, status: int) -> None:
    story = a_day_with_members()
    story.member(1900, BOB, lease_until=1906)
    story.ask_for_member(1900.1, BOB, status, window_ends_at=1920, sent=1)
    story.member_verified(1900.3, BOB, 1900, nick)

    (what,) = broken(members.r5_members_change_only_with_their_generation, story)
    assert what.startswith(f"stored {nick!r}")


def test_r6_finds_a_member_changed_by_no_list() -> None:
    story = a_day_with_members()
    story.member(1900, BOB, verified_at=1890, refresh_after=None)

    (what,) = broken(members.r5_members_change_only_with_their_generation, story)
    assert what == "a member was changed by a list that was not stored then, or made one"


@pytest.mark.parametrize(
    ("told", "what"),
    [
        ({"verified_at": 1800.0, "age": 90000}, "a member 90000 s old was served"),
        ({"verified_at": 1800.0, "age": 3}, "an age of 3 s was shown for a member verified 100.0 s before"),
        ({"verified_at": 1800.0, "age": 100, "nick": "Bob"}, "'Bob' was shown, which was not stored then"),
    ],
)
def test_r4_finds_a_member_that_is_too_old_or_was_not_stored(told: dict[str, Any], what: str) -> None:
    story = a_day_with_members()
    story.read_member(1900, BOB, **told)

    assert what in broken(members.r9_members_are_true_and_less_than_a_day_old, story)


@pytest.mark.parametrize(("retry_after", "kept"), [(20, True), (30, False)])
def test_g13_counts_the_allowance_of_a_member(retry_after: int, kept: bool) -> None:
    """The record's own wait is over, and the window ends in 20 s."""
    story = a_day_with_members()
    story.member(1890, BOB, verified_at=None, not_before=1895)
    story.write(1895, ALLOWANCES, BOB, window_ends_at=1920, sent=5)
    story.read_member(1900, BOB, 429, reason="rate_limited", retry_after=retry_after)

    assert (broken(lists.g13_a_refusal_says_truly_how_long, story) == []) is kept
