"""The soak's checker finds each kind of fault in small handwritten runs, and its plan comes from the seed alone."""

import os
from itertools import islice

import pytest

from bench import soak_checker, soak_run
from bench.chaos.known import Gap, Run, Settings
from bench.soak_checker import ANY, Answer, Favourite, Sample, Shown
from bench.soak_machines import Missing, network

ADA, CHESS, GO = 1, 7, 8
KNOWN = Settings(lease=6, timeout=2, fresh=60, manual_pause=5, retries=3, brake_soft=4, brake_hard=6)
AWAY = Gap(ANY, 10, 15, 20, "killed")


def answer(status: int | None, at: float = 1.0, *, is_safe: bool = True) -> Answer:
    return Answer(at, at + 1, ADA, status, is_safe)


def starred(value: bool, *, acknowledged: bool = True) -> Favourite:
    return Favourite(1, ADA, CHESS, value, acknowledged)


def shown(**stars: bool) -> Shown:
    return Shown(2, ADA, {{"chess": CHESS, "go": GO}[name]: star for name, star in stars.items()})


@pytest.mark.parametrize(
    ("given", "is_broken"),
    [
        (answer(200), False),
        (answer(503), False),
        (answer(429), False),
        (answer(500), True),
        (answer(500, at=12), True),
        (answer(None), True),
        (answer(None, at=12), False),
        (answer(502), True),
        (answer(502, is_safe=False), True),
        (answer(502, at=12), True),
        (answer(502, at=12, is_safe=False), False),
        (answer(504, at=12, is_safe=False), False),
    ],
)
def test_only_a_machine_that_is_gone_may_fail_a_write_or_break_off(given: Answer, is_broken: bool) -> None:
    found = soak_checker.no_errors([given], Run(KNOWN, {}, gaps=[AWAY]))

    assert (found.checked, len(found.broken)) == (1, is_broken)


@pytest.mark.parametrize(
    ("events", "broken"),
    [
        ([shown(chess=False)], 0),
        ([shown(chess=True)], 1),
        ([starred(True), shown(chess=True, go=False)], 0),
        ([starred(True), shown(chess=False)], 1),
        ([starred(True), starred(False), shown(chess=True)], 1),
        ([starred(True, acknowledged=False), shown(chess=True), shown(chess=False)], 0),
        ([starred(True), starred(False, acknowledged=False), shown(chess=True), shown(chess=False)], 0),
        ([starred(True, acknowledged=False), starred(False), shown(chess=True)], 1),
        ([starred(True), shown(go=True)], 1),
    ],
)
def test_what_was_acknowledged_is_shown(events: list[Favourite | Shown], broken: int) -> None:
    assert len(soak_checker.no_lost_writes(events).broken) == broken


def test_connections_follow_the_formula_of_the_docs() -> None:
    # Two machines with 4 workers, 5 processes of jobs, and 4 more workers during a reload.
    assert soak_checker.most_connections(2, 4, 5, pool=8) == 106 + 8 * 4

    found = soak_checker.within_connections([Sample(1, 138, 1), Sample(2, 139, 1)], 138)

    assert [broken.at for broken in found.broken] == [2]


def samples(*memory: float, every: float = 10) -> list[Sample]:
    return [Sample(number * every, 1, size) for number, size in enumerate(memory)]


def test_memory_is_compared_from_minute_two_on() -> None:
    warming = [1.0] * 12
    flat, growing = samples(*warming, *[100] * 10, *[105] * 4), samples(*warming, *[100] * 10, *[106] * 4)

    assert soak_checker.growth(flat) == 0.05
    assert len(soak_checker.flat_memory(flat).broken) == 0
    assert len(soak_checker.flat_memory(growing).broken) == 1


def test_a_short_run_says_nothing_about_memory() -> None:
    assert soak_checker.growth(samples(1, 100, every=100)) is None
    assert soak_checker.flat_memory(samples(1, 100, every=100)).checked == 0


def test_slow_answers_belong_to_the_faults_they_met() -> None:
    answers = [Answer(1, 3, ADA, 200, True), Answer(9, 14, ADA, 200, True), Answer(19, 22, ADA, 503, True)]

    found = soak_checker.slowest(answers, [("redis frozen", 10, 20), ("upgrade", 30, 40)])

    assert found == {"no fault": 2, "redis frozen": 5}


def test_namespaces_need_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 1000)

    with pytest.raises(Missing, match="--namespaces needs root and iproute2"), network(True):
        pytest.fail("there is no network")
    with network(False) as shared:
        assert shared.host().address == shared.address == "127.0.0.1"


def test_the_seed_gives_the_plan() -> None:
    kinds = list(soak_run.FAULTS)

    assert soak_run.draw(1, 60) == soak_run.draw(1, 60) != soak_run.draw(2, 60)
    first, second = (list(islice(soak_run.faults(seed, kinds), 18)) for seed in (1, 2))
    assert first != second
    assert sorted(first[:9]) == sorted(first[9:]) == sorted(kinds)


def test_who_stars_servers_keeps_them() -> None:
    changed = {name for event in soak_run.draw(1, 60) if event.kind in ("list", "revoke") for name in event.people}

    assert changed
    assert not changed & set(soak_run.NAMES[-soak_run.STARRING :])
