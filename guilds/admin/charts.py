"""Charts as SVG, drawn on the server: a template needs nothing but the numbers that these give it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from django.contrib.humanize.templatetags.humanize import intcomma

WIDTH, HEIGHT = 960, 160
# Of a column's place; the rest is the gap to the next.
FILLED = 0.86


@dataclass(frozen=True, slots=True)
class Series:
    """One colour of a chart. `kind` is its class in the stylesheet, `values` has one number a column."""

    label: str
    kind: str
    values: tuple[int, ...]

    @property
    def total(self) -> int:
        return sum(self.values)


@dataclass(frozen=True, slots=True)
class Column:
    """Where a column stands, and what it says to whoever points at it or reads the table."""

    x: float
    width: float
    label: str
    values: tuple[int, ...]
    words: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Columns of stacked series: `paths` are the outlines, in the order of `series`; `most` is where the axis ends."""

    title: str
    axis: str
    series: tuple[Series, ...]
    columns: tuple[Column, ...]
    paths: tuple[tuple[str, str], ...]
    most: int
    ticks: tuple[str, ...]

    width, height = WIDTH, HEIGHT

    @classmethod
    def stacked(
        cls, title: str, axis: str, labels: Sequence[str], series: Sequence[Series], *, tick_every: int = 1
    ) -> Self:
        """`axis` says what `labels` names from left to right; every `tick_every`th of them stands below the chart.

        It must divide their number, as the ticks are spread evenly.
        """
        place = WIDTH / max(len(labels), 1)
        stacks = list(zip(*(each.values for each in series), strict=True))
        most = round_up(max(map(sum, stacks), default=0))
        columns = tuple(
            Column(round(place * index, 2), round(place, 2), label, values, _words(label, series, values))
            for index, (label, values) in enumerate(zip(labels, stacks, strict=True))
        )
        return cls(
            title=title,
            axis=axis,
            series=tuple(series),
            columns=columns,
            paths=tuple((each.kind, _path(stacks, number, most)) for number, each in enumerate(series)),
            most=most,
            ticks=tuple(labels[::tick_every]),
        )

    @property
    def is_empty(self) -> bool:
        return not any(each.total for each in self.series)

    @property
    def rows(self) -> tuple[Column, ...]:
        """What the table shows: the columns in which there is anything."""
        return tuple(column for column in self.columns if any(column.values))


def round_up(number: int) -> int:
    """The next number of one digit and noughts, or 25 and noughts: where an axis may end. At least 1."""
    power = 1
    while True:
        for step in (1, 2, 2.5, 4, 5, 8, 10):
            if (end := step * power) >= number and end == int(end):
                return int(end)
        power *= 10


def _path(stacks: Sequence[tuple[int, ...]], number: int, most: int) -> str:
    place = WIDTH / max(len(stacks), 1)
    parts = []
    for index, values in enumerate(stacks):
        if values[number]:
            height = HEIGHT * values[number] / most
            bottom = HEIGHT - HEIGHT * sum(values[:number]) / most
            width = place * FILLED
            parts.append(f"M{place * index:.1f} {bottom:.1f}v{-height:.1f}h{width:.1f}v{height:.1f}z")
    return "".join(parts)


def _words(label: str, series: Sequence[Series], values: Sequence[int]) -> str:
    return f"{label}: " + ", ".join(
        f"{intcomma(value)} {each.label}" for each, value in zip(series, values, strict=True)
    )
