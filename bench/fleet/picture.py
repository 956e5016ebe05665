"""The picture of the fleet's day: the requests to Discord, and the ages of the lists that people saw."""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

from bench.fleet.discord import PER_SECOND, Weather
from bench.fleet.people import HOUR
from bench.fleet.tally import Tally

# The lines also differ in dashes and width, for printing in greyscale; ours is the thick black one.
STYLES: dict[str, dict[str, Any]] = {
    "naive_ttl": {"color": "#b0413e", "linestyle": "-", "linewidth": 0.9},
    "fail_safe_per_node": {"color": "#d08c2f", "linestyle": (0, (5, 1.5)), "linewidth": 1.3},
    "stale_while_revalidate": {"color": "#4878a8", "linestyle": (0, (1.2, 1.2)), "linewidth": 1.6},
    "guildhall": {"color": "black", "linestyle": "-", "linewidth": 2.2},
}
SMOOTHED_MINUTES = 5
SHADE = "#d9d9d9"


def save(path: Path, per_minute: Mapping[str, Sequence[int]], tallies: Mapping[str, Tally], weather: Weather) -> None:
    with plt.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        figure, (requests, ages) = plt.subplots(2, 1, figsize=(9, 8), height_ratios=(3, 2), layout="constrained")
        _draw_requests(requests, per_minute, weather)
        _draw_ages(ages, tallies)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=110, facecolor="white", metadata={"Software": None})
        plt.close(figure)


def _draw_requests(axes: Any, per_minute: Mapping[str, Sequence[int]], weather: Weather) -> None:
    axes.set_yscale("log", nonpositive="clip")
    for name, counts in per_minute.items():
        means = [
            sum(counts[minute : minute + SMOOTHED_MINUTES]) / SMOOTHED_MINUTES
            for minute in range(0, len(counts), SMOOTHED_MINUTES)
        ]
        hours = [(index + 0.5) * SMOOTHED_MINUTES / 60 for index in range(len(means))]
        axes.plot(hours, means, label=_title(name), **STYLES[name])
    limit = PER_SECOND * 60
    ticks = [10, 30, 100, 300, 1000, 3000, 10_000, 30_000, 100_000]
    # The quiet night sets the lower bound. Our line drops to zero during a wait, which a log axis can't show.
    bottom = min(min(filter(None, counts), default=1) for counts in per_minute.values()) / 2
    top = 1.6 * max(limit, *(max(counts) for counts in per_minute.values()))
    axes.set(xlim=(0, 24), ylim=(max(bottom, 5), top), xticks=range(0, 25, 3), xlabel="hour of the day")
    shown = [tick for tick in ticks if max(bottom, 5) <= tick <= top]
    axes.set_yticks(shown, [f"{tick:,}" for tick in shown])
    axes.minorticks_off()
    axes.set_ylabel("requests to Discord per minute")

    for (start, end), words in ((weather.outage, "outage"), (weather.limit, "global limit, 5 min")):
        axes.axvspan(start / HOUR, end / HOUR, color=SHADE, zorder=0, linewidth=0)
        axes.text((start + end) / 2 / HOUR, top, words, ha="center", va="bottom", color="#444444")
    axes.axhline(limit, color="#777777", linewidth=0.8, zorder=0)
    axes.text(23.9, limit, "Discord's 50 a second", ha="right", va="bottom", color="#444444")
    axes.legend(frameon=False, loc="upper left")


def _draw_ages(axes: Any, tallies: Mapping[str, Tally]) -> None:
    """Draw the ages as shares of all views, so that errors instead of stale lists don't look like fresh lists."""
    for name, tally in tallies.items():
        part = 100 / max(tally.views, 1)
        younger = [part * count for count in accumulate(tally.ages)]
        axes.plot([second / 3600 for second in range(0, len(younger), 60)], younger[::60], **STYLES[name])
    axes.set(xlim=(0, 24), ylim=(0, 101), xticks=range(0, 25, 3), yticks=range(0, 101, 25))
    axes.set(xlabel="age in hours", ylabel="% of views that got a list of\nat most that age; others: an error")


def _title(name: str) -> str:
    return name.replace("_", " ").capitalize().replace("ttl", "TTL")
