"""The results of the fleet's views, counted in histograms, as storing millions of views would take too much memory."""

from dataclasses import dataclass, field

from bench.fleet.discord import Weather
from bench.fleet.people import DAY, HOUR, SECOND

# The resolution and the upper bound of the histogram of waits.
STEP, MAX_WAIT = SECOND // 100, 60 * SECOND
MAX_AGE = DAY


@dataclass(slots=True)
class Tally:
    """Counts of views; each view is either `served` or an `error`."""

    weather: Weather
    views: int = 0
    errors: int = 0
    errors_in_outage: int = 0
    errors_in_limit: int = 0
    stale: int = 0
    max_age: int = 0
    max_wait: int = 0
    ages: list[int] = field(default_factory=lambda: [0] * (MAX_AGE // SECOND + 1), repr=False)
    waits: list[int] = field(default_factory=lambda: [0] * (MAX_WAIT // STEP + 1), repr=False)

    def served(self, age: int, waited: int = 0) -> None:
        self.views += 1
        self.ages[min(age, MAX_AGE) // SECOND] += 1
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
        self.waits[min(waited, MAX_WAIT) // STEP] += 1
        self.max_wait = max(self.max_wait, waited)

    def figures(self) -> dict[str, float]:
        """Return the counts and quantiles; names that end in `_s` are seconds."""
        return {
            "errors": self.errors,
            "errors_in_outage": self.errors_in_outage,
            "errors_in_limit": self.errors_in_limit,
            "errors_else": self.errors - self.errors_in_outage - self.errors_in_limit,
            "stale": self.stale,
            "age_p50_s": self.age(0.5),
            "age_p90_s": self.age(0.9),
            "age_p99_s": self.age(0.99),
            "age_max_s": self.max_age // SECOND,
            "wait_p50_s": self.wait(0.5),
            "wait_p90_s": self.wait(0.9),
            "wait_p99_s": self.wait(0.99),
            "wait_max_s": round(self.max_wait / SECOND, 2),
        }

    def age(self, part: float) -> int:
        """Return the age in whole seconds that this fraction of the served lists did not exceed."""
        return quantile(self.ages, part)

    def wait(self, part: float) -> float:
        """Return the wait in seconds that this fraction of all views did not exceed."""
        return quantile(self.waits, part) * STEP / SECOND


def quantile(histogram: list[int], part: float) -> int:
    """Return the first bin at which the fraction `part` of all values is reached."""
    needed = part * sum(histogram)
    for number, count in enumerate(histogram):
        needed -= count
        if needed <= 0:
            return number
    return len(histogram) - 1
