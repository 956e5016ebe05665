"""Checks a soak: pure functions over what readers, writers, Discord's sandbox and the machines saw.

What Discord was sent, what readers were shown and how long they were told to wait is checked by the rules of the chaos
test, with each fault as a gap of the whole site.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.chaos import limits, lists
from bench.chaos.known import Finding, Run

# The number of the site in gaps and reads: any machine, for nginx chooses one.
ANY = 0
# Of what Discord may be sent, and of what is shown and said. The others are about what a process without a database
# can't store, or about members.
RULES = (
    lists.g1_one_attempt_at_a_time,
    lists.g2_an_attempt_is_one_request_and_its_retries,
    lists.g2_failing_people_are_asked_once_in_30_seconds,
    lists.g2_nobody_is_asked_before_not_before,
    lists.g2_what_discord_told_to_wait_is_waited,
    lists.g3_stored_lists_are_served,
    lists.g4_lists_change_only_with_their_generation,
    lists.g4_stored_is_what_discord_sent,
    limits.g5_nothing_passes_a_shut_gate,
    limits.g5_every_request_passed_the_gate,
    limits.g7_the_brake_holds,
    limits.g8_a_dead_token_is_sent_at_most_twice,
    lists.g9_no_list_is_a_day_old_and_its_age_is_true,
    lists.g9_nothing_fresh_is_asked_for,
    lists.g13_a_refusal_says_truly_how_long,
)
# Seconds. Before, workers fill their caches and pools.
WARM, LAST = 120.0, 30.0
MAX_GROWTH = 0.05


@dataclass(frozen=True, slots=True)
class Favourite:
    """A server that a person starred or unstarred; `acknowledged` if the site said so."""

    at: float
    user_id: int
    guild_id: int
    starred: bool
    acknowledged: bool


@dataclass(frozen=True, slots=True)
class Shown:
    """The servers that a page showed to a person, and whether each was starred."""

    at: float
    user_id: int
    starred: dict[int, bool]


@dataclass(frozen=True, slots=True)
class Sample:
    """The sites' connections to PostgreSQL, and the mean memory of a worker in bytes."""

    at: float
    connections: int
    memory: float


@dataclass(frozen=True, slots=True)
class Answer:
    """The status of any request; None if the connection broke. `is_safe` if nginx may repeat it on another machine."""

    at: float
    end: float
    user_id: int
    status: int | None
    is_safe: bool


def no_errors(answers: Iterable[Answer], run: Run) -> Finding:
    """Each request gets an answer that is no error.

    Unless its machine was killed or cut off meanwhile: then nginx says 502 or 504 to a request that writes, and a
    response that nginx was passing on breaks off.
    """
    found = Finding("no error, no lost connection")
    for answer in answers:
        is_good = answer.status is not None and (answer.status < 500 or answer.status == 503)
        may_fail = answer.status is None or (answer.status in (502, 504) and not answer.is_safe)
        found.expect(
            is_good or (may_fail and run.was_away(ANY, answer.at, answer.end)),
            answer.end,
            answer.user_id,
            f"got {answer.status}",
        )
    return found


def no_lost_writes(events: Sequence[Favourite | Shown]) -> Finding:
    """A person sees what they were told is stored; what was not acknowledged may be stored or not.

    The events of one person follow each other.
    """
    found = Finding("no lost write")
    possible: dict[tuple[int, int], set[bool]] = defaultdict(lambda: {False})
    for event in events:
        if isinstance(event, Favourite):
            before = set() if event.acknowledged else possible[event.user_id, event.guild_id]
            possible[event.user_id, event.guild_id] = {*before, event.starred}
            continue
        for guild_id, starred in event.starred.items():
            found.expect(
                starred in possible[event.user_id, guild_id],
                event.at,
                event.user_id,
                f"server {guild_id} was shown {'with' if starred else 'without'} a star",
            )
    return found


def most_connections(machines: int, workers: int, jobs: int, pool: int) -> int:
    """Return the most connections to PostgreSQL by docs/production.md, while one machine reloads."""
    return pool * (machines * workers + workers + jobs) + 2


def within_connections(samples: Iterable[Sample], most: int) -> Finding:
    found = Finding("connections to PostgreSQL")
    for sample in samples:
        found.expect(sample.connections <= most, sample.at, None, f"{sample.connections} connections, not {most}")
    return found


def growth(samples: Sequence[Sample]) -> float | None:
    """Return by which share a worker's memory grew from minute 2 to the end, or None if the run was too short for that.

    Both are averages over half a minute.
    """
    start, end = samples[0].at, samples[-1].at
    if end - start < 2 * WARM:
        return None
    first = [sample.memory for sample in samples if start + WARM <= sample.at <= start + WARM + LAST]
    last = [sample.memory for sample in samples if sample.at >= end - LAST]
    return round(sum(last) / len(last) / (sum(first) / len(first)) - 1, 3)


def flat_memory(samples: Sequence[Sample]) -> Finding:
    found = Finding("memory")
    if (share := growth(samples)) is not None:
        found.expect(share <= MAX_GROWTH, samples[-1].at, None, f"a worker grew by {share:.1%}")
    return found


def slowest(answers: Iterable[Answer], struck: Iterable[tuple[str, float, float]]) -> dict[str, float]:
    """Return the seconds of the slowest answer during each kind of fault, and otherwise.

    Faults are given with their beginning and end.
    """
    found: dict[str, float] = defaultdict(float)
    spans = list(struck)
    for answer in answers:
        for kind in {kind for kind, began, ended in spans if began <= answer.end and answer.at <= ended} or {
            "no fault"
        }:
            found[kind] = max(found[kind], round(answer.end - answer.at, 1))
    return dict(found)


def check(
    run: Run, answers: Sequence[Answer], events: Sequence[Favourite | Shown], samples: Sequence[Sample], most: int
) -> list[Finding]:
    own = [
        no_errors(answers, run),
        no_lost_writes(events),
        within_connections(samples, most),
        flat_memory(samples),
    ]
    return [*own, *(rule(run) for rule in RULES)]
