"""SVG charts, drawn on the server. The templates only insert the numbers computed here."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from django.contrib.humanize.templatetags.humanize import intcomma

WIDTH, HEIGHT = 960, 160
# The share of a column's width that is drawn; the rest is the gap to the next column.
FILLED = 0.86


@dataclass(frozen=True, slots=True)
class Series:
    """One colour of a chart. `kind` is its class in the stylesheet, `values` has one number per column."""

    label: str
    kind: str
    values: tuple[int, ...]

    @property
    def total(self) -> int:
        return sum(self.values)


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its position, its row in the table, and the tooltip `words`."""

    x: float
    width: float
    label: str
    values: tuple[int, ...]
    words: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Columns of stacked series. `paths` are the outlines in the order of `series`; the axis ends at `most`."""

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
        cls,
        title: str,
        axis: str,
        labels: Sequence[str],
        series: Sequence[Series],
        ticks: Sequence[str] | None = None,
    ) -> Self:
        """Make a chart. `axis` describes `labels`; `ticks` are spread evenly below the chart, by default the labels."""
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
            ticks=tuple(labels if ticks is None else ticks),
        )

    @property
    def is_empty(self) -> bool:
        return not any(each.total for each in self.series)

    @property
    def rows(self) -> tuple[Column, ...]:
        """The rows of the table: the columns that are not empty."""
        return tuple(column for column in self.columns if any(column.values))


def round_up(number: int) -> int:
    """Round up to a number for the end of an axis: one digit or 25, followed by zeros. At least 1."""
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
