"""What this process counts of the lists it serves. `config/metrics.py` adds the processes up and shows them."""

from datetime import timedelta
from enum import StrEnum

from prometheus_client import Counter, Histogram

from guilds.engine.freshness import Reason, Tier


class Outcome(StrEnum):
    """What a reader got."""

    HIT = "hit"  # the list, without waiting
    MISS_REFRESHED = "miss_refreshed"  # the new list, after waiting for it
    STALE_SERVED = "stale_served"  # the old list, which stands in
    REFUSED = "refused"  # none


class Lease(StrEnum):
    WON = "won"
    TAKEN_OVER = "taken_over"  # won, from somebody who let it run out
    LOST = "lost"  # somebody was quicker
    FENCED = "fenced"  # lost while asking; the answer was dropped


READS = Counter(
    "guildhall_guild_list_reads",
    "Lists that were read, by how fresh the stored one was found and by what the reader got.",
    ["freshness", "outcome"],
)
SERVED_AGE = Histogram(
    "guildhall_guild_list_served_age_seconds",
    "How old the lists were that were served.",
    buckets=(60, 300, 900, 1800, 2880, 3600, 7200, 14400, 28800, 57600, 86400),
)
LEASES = Counter("guildhall_refresh_leases", "What became of claims to ask Discord for a list.", ["outcome"])
REFRESHES = Counter(
    "guildhall_refreshes", "Attempts whose end was written down: verified, or why there is no new list.", ["outcome"]
)

# Looked up once: a read is counted on its way to the page.
_reads = {(tier, outcome): READS.labels(tier.value, outcome.value) for tier in Tier for outcome in Outcome}
_leases = {lease: LEASES.labels(lease.value) for lease in Lease}
_refreshes = {outcome: REFRESHES.labels(outcome) for outcome in ("verified", *(reason.value for reason in Reason))}


def count_read(found: Tier, outcome: Outcome) -> None:
    _reads[found, outcome].inc()


def count_served(found: Tier, age: timedelta, *, stale: bool, waited: bool) -> None:
    count_read(found, Outcome.STALE_SERVED if stale else Outcome.MISS_REFRESHED if waited else Outcome.HIT)
    SERVED_AGE.observe(age.total_seconds())


def count_lease(lease: Lease) -> None:
    _leases[lease].inc()


def count_refresh(outcome: str) -> None:
    """`outcome` is verified, or the `Reason` why not."""
    _refreshes[outcome].inc()
