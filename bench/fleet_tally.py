"""What the people of the fleet got: counted as it happens, in histograms, because millions of views are not kept."""

from dataclasses import dataclass, field

from bench.fleet_discord import Weather
from bench.fleet_people import DAY, HOUR, SECOND

# A wait is counted in steps of this, up to the longest that is told apart.
STEP, LONGEST_WAIT = SECOND // 100, 60 * SECOND
OLDEST = DAY


@dataclass(slots=True)
class Tally:
    """Every view is `served` or an `error`, once."""

    weather: Weather
    views: int = 0
    errors: int = 0
    errors_in_outage: int = 0
    errors_in_limit: int = 0
    stale: int = 0
    max_age: int = 0
    max_wait: int = 0
    ages: list[int] = field(default_factory=lambda: [0] * (OLDEST // SECOND + 1), repr=False)
    waits: list[int] = field(default_factory=lambda: [0] * (LONGEST_WAIT // STEP + 1), repr=False)

    def served(self, age: int, waited: int = 0) -> None:
        self.views += 1
        self.ages[min(age, OLDEST) // SECOND] += 1
        self.max_age = max(self.max_age, age)
        self.stale += age >= HOUR
        self._waited(waited)

    def error(self, asked_at: int, waited: int = 0) -> None:
        self.views += 1
        self.errors += 1
        self.errors_in_outage += self.weather.outage[0] <= asked_at < self.weather.outage[1]
        self.errors_in_limit += self.weather.limit[0] <= asked_at < self.weather.limit[1]
        self._waited(waited)

    def _waited(self, waited: int) -> None:
        self.waits[min(waited, LONGEST_WAIT) // STEP] += 1
        self.max_wait = max(self.max_wait, waited)

    def age(self, part: float) -> int:
        """The age in whole seconds that this part of the lists served did not exceed."""
        return quantile(self.ages, part)

    def wait(self, part: float) -> float:
        """The wait in seconds that this part of all views did not exceed."""
        return quantile(self.waits, part) * STEP / SECOND


def quantile(histogram: list[int], part: float) -> int:
    """The first bin with which `part` of all is reached."""
    needed = part * sum(histogram)
    for number, count in enumerate(histogram):
        needed -= count
        if needed <= 0:
            return number
    return len(histogram) - 1
