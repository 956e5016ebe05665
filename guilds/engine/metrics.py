"""This process's counters of reads, leases and refreshes, for each resource.

`config/metrics.py` adds up all processes and exports the sums.
"""

from datetime import timedelta
from enum import StrEnum

from prometheus_client import Counter, Histogram

from guilds.engine.freshness import Reason, Tier


class ReadOutcome(StrEnum):
    """The result of one read."""

    HIT = "hit"  # the stored answer, without waiting
    MISS_REFRESHED = "miss_refreshed"  # the new answer, after waiting for it
    STALE_SERVED = "stale_served"  # the old answer, because there is no new one
    REFUSED = "refused"  # no answer


class LeaseOutcome(StrEnum):
    WON = "won"
    TAKEN_OVER = "taken_over"  # won, from a process that let it expire
    LOST = "lost"  # another reader was quicker
    FENCED = "fenced"  # lost during the request; the response was dropped


READS = Counter(
    "guildhall_reads",
    "Reads, by how fresh the stored answer was found and by what the reader got.",
    ["resource", "freshness", "outcome"],
)
SERVED_AGE = Histogram(
    "guildhall_served_age_seconds",
    "How old the answers were that were served.",
    ["resource"],
    buckets=(60, 300, 900, 1800, 2880, 3600, 7200, 14400, 28800, 57600, 86400),
)
LEASES = Counter("guildhall_refresh_leases", "What became of claims to ask Discord.", ["resource", "outcome"])
REFRESHES = Counter(
    "guildhall_refreshes",
    "Attempts whose end was stored: verified, or why there is no new answer; and answers that Discord pushed.",
    ["resource", "outcome"],
)
CACHE_READS = Counter("guildhall_cache_reads", "Lists and permissions looked up in the cache.", ["outcome"])
CACHE_HIT, CACHE_MISS, CACHE_FAILED = (CACHE_READS.labels(each) for each in ("hit", "miss", "failed"))
CACHE_FAILURES = Counter(
    "guildhall_cache_failures", "Commands that Redis failed or didn't answer in time; while it is down, few are sent."
)


class Counts:
    """The counters of one resource, looked up once because every page view increments one."""

    def __init__(self, resource: str) -> None:
        self._reads = {
            (tier, outcome): READS.labels(resource, tier.value, outcome.value)
            for tier in Tier
            for outcome in ReadOutcome
        }
        self._age = SERVED_AGE.labels(resource)
        self._leases = {lease: LEASES.labels(resource, lease.value) for lease in LeaseOutcome}
        outcomes = ("verified", "pushed", *(reason.value for reason in Reason))
        self._refreshes = {outcome: REFRESHES.labels(resource, outcome) for outcome in outcomes}

    def read(self, found: Tier, outcome: ReadOutcome) -> None:
        self._reads[found, outcome].inc()

    def served(self, found: Tier, age: timedelta, *, stale: bool, waited: bool) -> None:
        self.read(
            found, ReadOutcome.STALE_SERVED if stale else ReadOutcome.MISS_REFRESHED if waited else ReadOutcome.HIT
        )
        self._age.observe(age.total_seconds())

    def lease(self, lease: LeaseOutcome) -> None:
        self._leases[lease].inc()

    def refresh(self, outcome: str) -> None:
        """Count what was stored: "verified", "pushed", or the value of the `Reason` for the failure."""
        self._refreshes[outcome].inc()
