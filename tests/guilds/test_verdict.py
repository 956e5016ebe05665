"""The rule behind the verdict, for any facts."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guilds.operations import report
from guilds.operations.verdict import Facts, ServedCounts, Verdict, exit_code, judge

counts = st.integers(0, 10_000)
facts = st.builds(
    Facts, served=st.builds(ServedCounts, *[counts] * 8), **dict.fromkeys(Facts.__slots__[1:], st.booleans())
)


@given(facts)
def test_more_than_two_percent_refused_is_never_fine(found: Facts) -> None:
    served = found.served
    if served.refused * 50 > served.reads:
        assert judge(found) is not Verdict.FINE
        assert exit_code(found) == (1 if judge(found) is Verdict.RECOVERING else 2)


@given(
    served=st.builds(ServedCounts, counts, counts, counts, *[counts] * 5).filter(
        lambda served: served.reads and served.refused * 50 <= served.reads
    ),
    recovered=st.booleans(),
)
def test_five_healthy_minutes_are_always_fine(served: ServedCounts, recovered: bool) -> None:
    found = Facts(served=served, has_recovered=recovered)

    assert judge(found) is Verdict.FINE
    assert exit_code(found) == 0


REFUSED = ServedCounts(fresh=90, refused=10)


@pytest.mark.parametrize(
    ("found", "verdict", "code"),
    [
        (Facts(), Verdict.BLIND, 1),
        (Facts(ServedCounts(stale=98, refused=2)), Verdict.FINE, 0),
        (Facts(REFUSED), Verdict.PEOPLE_REFUSED, 2),
        (Facts(replace(REFUSED, limited=3, failed=3)), Verdict.PEOPLE_LIMITED, 2),
        (Facts(replace(REFUSED, limited=3, failed=2, unanswered=2)), Verdict.SILENT, 2),
        (Facts(replace(REFUSED, limited=3), has_recovered=True), Verdict.RECOVERING, 1),
        (Facts(REFUSED, is_unusable=True, has_recovered=True), Verdict.UNUSABLE, 2),
        (Facts(ServedCounts(stale=5), is_silent=True, is_unusable=True), Verdict.SILENT, 1),
        (Facts(REFUSED, is_limited=True, is_silent=True), Verdict.LIMITED, 2),
        (Facts(ServedCounts(fresh=5), is_misconfigured=True, is_limited=True), Verdict.MISCONFIGURED, 2),
    ],
)
def test_the_first_cause_that_applies_decides(found: Facts, verdict: Verdict, code: int) -> None:
    assert (judge(found), exit_code(found)) == (verdict, code)


def test_each_verdict_has_its_words() -> None:
    assert set(report.WORDS) == set(report.TITLES) == set(Verdict)
