"""The verdict: how the site stands, from what visitors got and what Discord answered lately. Pure, no I/O.

`status` collects the facts, `report` has the words. The first line that applies decides:

    the settings don't fit, or Discord refuses the site's credentials    misconfigured
    the gate is shut, or the brake is on                                 limited
    Discord isn't responding                                             silent
    its lists can't be used                                              unusable
    more than 2 % of reads were refused, and since then …
        a silence or a limit for the whole site has ended                recovering
        Discord left more requests unanswered than it limited            silent
        Discord limited single people                                    people_limited
        neither                                                          people_refused
    no list was read                                                     blind
    none of these                                                        fine
"""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

WINDOW = timedelta(minutes=5)
MAX_REFUSED_SHARE = 0.02


class Verdict(StrEnum):
    FINE = "fine"
    BLIND = "blind"
    RECOVERING = "recovering"
    PEOPLE_LIMITED = "people_limited"
    PEOPLE_REFUSED = "people_refused"
    UNUSABLE = "unusable"
    SILENT = "silent"
    LIMITED = "limited"
    MISCONFIGURED = "misconfigured"


@dataclass(frozen=True, slots=True)
class ServedCounts:
    """What all processes wrote down within `WINDOW`: reads of lists, and requests to Discord by their response."""

    fresh: int = 0
    stale: int = 0
    refused: int = 0
    answered: int = 0
    limited: int = 0
    rejected: int = 0
    failed: int = 0
    unanswered: int = 0

    @property
    def reads(self) -> int:
        return self.fresh + self.stale + self.refused

    @property
    def silences(self) -> int:
        """Requests that got a 5xx or nothing."""
        return self.failed + self.unanswered

    @property
    def has_refused_many(self) -> bool:
        return self.refused > self.reads * MAX_REFUSED_SHARE


@dataclass(frozen=True, slots=True)
class Facts:
    """`has_recovered`: a silence, or a limit for the whole site, ended within `WINDOW`."""

    served: ServedCounts = ServedCounts()
    is_misconfigured: bool = False
    is_limited: bool = False
    is_silent: bool = False
    is_unusable: bool = False
    has_recovered: bool = False


def judge(facts: Facts) -> Verdict:
    causes = {
        Verdict.MISCONFIGURED: facts.is_misconfigured,
        Verdict.LIMITED: facts.is_limited,
        Verdict.SILENT: facts.is_silent,
        Verdict.UNUSABLE: facts.is_unusable,
    }
    for verdict, applies in causes.items():
        if applies:
            return verdict
    served = facts.served
    if served.has_refused_many:
        return _why_refused(facts)
    return Verdict.FINE if served.reads else Verdict.BLIND


def _why_refused(facts: Facts) -> Verdict:
    served = facts.served
    if facts.has_recovered:
        return Verdict.RECOVERING
    if served.silences > served.limited:
        return Verdict.SILENT
    return Verdict.PEOPLE_LIMITED if served.limited else Verdict.PEOPLE_REFUSED


def exit_code(facts: Facts) -> int:
    """As monitoring plugins end: 0 fine, 1 warning, 2 critical, which is when visitors get no list."""
    verdict = judge(facts)
    if verdict is Verdict.FINE:
        return 0
    is_critical = verdict is Verdict.MISCONFIGURED or facts.served.has_refused_many
    return 2 if is_critical and verdict is not Verdict.RECOVERING else 1
