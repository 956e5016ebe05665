"""The fleet's visitors and the times of their visits, drawn from a seed; the same for every strategy.

Times are whole microseconds since midnight; yesterday's are negative.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
# The last visit of a new person: older than any cache entry.
NEVER = -(10**18)

# The relative number of visits that begin in each hour of a community site's day, with a peak at nine in the evening.
HOURLY = (7, 4, 3, 2, 2, 2, 3, 4, 5, 6, 7, 7, 8, 8, 8, 9, 10, 11, 13, 15, 17, 17, 14, 10)
# Visits per person follow this power law: two thirds come once, one in a hundred more than fifteen times.
VISITS_EXPONENT, MAX_VISITS = 2.2, 48
MEAN_VIEWS, MAX_VIEWS = 3, 30
# The time between two views of a visit is log-normal: most are short, some are long.
MEDIAN_GAP, GAP_SIGMA = 2 * MINUTE, 0.8
# The shares of people who came yesterday and of people whose list is days old; the others come for the first time.
CAME_YESTERDAY, CAME_EARLIER = 0.45, 0.25
MAX_ABSENCE_DAYS = 30

CHUNK = 100_000

Moments = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Population:
    """The views of one day in order of time: at `moments[i]` the person `who[i]` reads their list."""

    people: int
    visits: int
    moments: Moments
    who: NDArray[np.int32]
    visit: NDArray[np.int32]
    """The number of the visit that each view belongs to."""
    verified: Moments
    """When each person's list was verified as of midnight, or `NEVER`."""

    def views(self) -> Iterator[tuple[int, int]]:
        """Yield (time, person) as plain ints, converted in chunks to save memory."""
        for start in range(0, len(self.moments), CHUNK):
            chunk = slice(start, start + CHUNK)
            yield from zip(self.moments[chunk].tolist(), self.who[chunk].tolist(), strict=True)


def draw(people: int, seed: int) -> Population:
    """Draw a day; the same arguments yield the same day."""
    random = np.random.default_rng(seed)
    visitors = np.repeat(np.arange(people, dtype=np.int32), _visits_per_person(people, random))
    starts = _through_the_day(len(visitors), random)

    views = np.minimum(random.geometric(1 / MEAN_VIEWS, len(visitors)), MAX_VIEWS)
    gaps = (random.lognormal(np.log(MEDIAN_GAP), GAP_SIGMA, views.sum())).astype(np.int64)
    first = np.cumsum(views) - views
    gaps[first] = 0
    passed = np.cumsum(gaps)
    moments = np.repeat(starts - passed[first], views) + passed
    visit = np.repeat(np.arange(len(visitors), dtype=np.int32), views)

    order = np.argsort(moments, kind="stable")
    order = order[moments[order] < DAY]
    visit = visit[order]
    return Population(people, len(visitors), moments[order], visitors[visit], visit, _verified(people, random))


def _visits_per_person(people: int, random: np.random.Generator) -> NDArray[Any]:
    counts = np.arange(1, MAX_VISITS + 1)
    weights = counts**-VISITS_EXPONENT
    return random.choice(counts, people, p=weights / weights.sum())


def _through_the_day(count: int, random: np.random.Generator) -> Moments:
    """Draw times of one day, distributed as in `HOURLY`, interpolated between the middles of the hours."""
    minutes = np.arange(24 * 60)
    weights = np.interp(minutes / 60, np.arange(24) + 0.5, HOURLY, period=24)
    chosen = random.choice(minutes, count, p=weights / weights.sum())
    return (chosen * MINUTE + random.integers(0, MINUTE, count)).astype(np.int64)


def _verified(people: int, random: np.random.Generator) -> Moments:
    """Draw when each list was verified: yesterday, earlier (too old to be served), or never."""
    kind = random.random(people)
    yesterday = _through_the_day(people, random) - DAY
    earlier = yesterday - random.integers(1, MAX_ABSENCE_DAYS, people) * DAY
    known = np.where(kind < CAME_YESTERDAY, yesterday, earlier)
    return np.where(kind < CAME_YESTERDAY + CAME_EARLIER, known, NEVER)
