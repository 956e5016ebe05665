"""Who visits on the day of the fleet, and when: drawn once from a seed, the same for every strategy.

Moments are whole microseconds since midnight, those of yesterday below zero.
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
# The last visit of somebody who was never here: older than any cache keeps.
NEVER = -(10**18)

# Visits that begin in each hour of a community site's day, relative to each other: quiet nights, a peak at nine.
HOURLY = (7, 4, 3, 2, 2, 2, 3, 4, 5, 6, 7, 7, 8, 8, 8, 9, 10, 11, 13, 15, 17, 17, 14, 10)
# Visits of a person fall off with this power: two thirds come once, one in a hundred more than fifteen times.
VISITS_EXPONENT, MOST_VISITS = 2.2, 48
MEAN_VIEWS, MOST_VIEWS = 3, 30
# Between two views of one visit: log-normal, so that most are short and some are a pause.
MEDIAN_GAP, GAP_SIGMA = 2 * MINUTE, 0.8
# Of all people, those who came yesterday and those whose list is days old; the others come for the first time.
CAME_YESTERDAY, CAME_EARLIER = 0.45, 0.25
LONGEST_ABSENCE = 30

CHUNK = 100_000

Moments = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Population:
    """`people` with the views of one day in order of time: `moments[i]` is when `who[i]` reads their list."""

    people: int
    visits: int
    moments: Moments
    who: NDArray[np.int32]
    verified: Moments
    """Each person's list as midnight finds it: when it was verified, or `NEVER`."""

    def views(self) -> Iterator[tuple[int, int]]:
        """(moment, person), as plain numbers and a chunk at a time: millions of them would fill the memory."""
        for start in range(0, len(self.moments), CHUNK):
            chunk = slice(start, start + CHUNK)
            yield from zip(self.moments[chunk].tolist(), self.who[chunk].tolist(), strict=True)


def draw(people: int, seed: int) -> Population:
    """The same day for the same arguments."""
    random = np.random.default_rng(seed)
    visitors = np.repeat(np.arange(people, dtype=np.int32), _visits_per_person(people, random))
    starts = _through_the_day(len(visitors), random)

    views = np.minimum(random.geometric(1 / MEAN_VIEWS, len(visitors)), MOST_VIEWS)
    gaps = (random.lognormal(np.log(MEDIAN_GAP), GAP_SIGMA, views.sum())).astype(np.int64)
    first = np.cumsum(views) - views
    gaps[first] = 0
    passed = np.cumsum(gaps)
    moments = np.repeat(starts - passed[first], views) + passed
    who = np.repeat(visitors, views)

    order = np.argsort(moments, kind="stable")
    order = order[moments[order] < DAY]
    return Population(people, len(visitors), moments[order], who[order], _verified(people, random))


def _visits_per_person(people: int, random: np.random.Generator) -> NDArray[Any]:
    counts = np.arange(1, MOST_VISITS + 1)
    weights = counts**-VISITS_EXPONENT
    return random.choice(counts, people, p=weights / weights.sum())


def _through_the_day(count: int, random: np.random.Generator) -> Moments:
    """Moments of one day, spread as `HOURLY` says, straight from one hour's middle to the next."""
    minutes = np.arange(24 * 60)
    weights = np.interp(minutes / 60, np.arange(24) + 0.5, HOURLY, period=24)
    chosen = random.choice(minutes, count, p=weights / weights.sum())
    return (chosen * MINUTE + random.integers(0, MINUTE, count)).astype(np.int64)


def _verified(people: int, random: np.random.Generator) -> Moments:
    """Who came yesterday was verified then; a list of earlier days is too old to be served to anybody."""
    kind = random.random(people)
    yesterday = _through_the_day(people, random) - DAY
    earlier = yesterday - random.integers(1, LONGEST_ABSENCE, people) * DAY
    known = np.where(kind < CAME_YESTERDAY, yesterday, earlier)
    return np.where(kind < CAME_YESTERDAY + CAME_EARLIER, known, NEVER)
