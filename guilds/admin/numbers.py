"""Charts of an hour, a day, a week or a month, and the month as CSV. Viewing them never sends a request to Discord."""

import csv
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import astuple, dataclass, fields
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from django.conf import settings
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Expression, F, Sum
from django.db.models.functions import Trunc
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts import database
from accounts.admin.kit import DISCORD, ReadOnlyAdmin, Words
from accounts.clock import database_now
from guilds.admin.charts import Chart, Series
from guilds.models import ServingMinute
from guilds.operations import serving_minutes
from guilds.resources.server_usage import Usage, all_usage, ranking


@dataclass(frozen=True, slots=True)
class Period:
    """What the charts span: `length`, up to the end of the current `unit`, in columns of `step`.

    `axis` describes the columns' labels. The labels below the chart are `tick` apart.
    """

    name: Words
    title: Words
    axis: Words
    length: timedelta
    unit: timedelta
    step: timedelta
    label: str
    tick: timedelta
    tick_label: str

    def start(self, now: datetime) -> datetime:
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        return midnight + (now - midnight) // self.unit * self.unit + self.unit - self.length


_EACH_MINUTE = F("minute")
_MINUTE, _HOUR, _DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
HOUR = Period(
    name=_("Hour"),
    title=_("Last hour"),
    axis=_("Minute"),
    length=_HOUR,
    unit=_MINUTE,
    step=_MINUTE,
    label="%H:%M",
    tick=10 * _MINUTE,
    tick_label="%H:%M",
)
DAY = Period(
    name=_("Day"),
    title=_("Last 24 hours"),
    axis=_("15 minutes from"),
    length=_DAY,
    unit=_HOUR,
    step=15 * _MINUTE,
    label="%H:%M",
    tick=4 * _HOUR,
    tick_label="%H:%M",
)
WEEK = Period(
    name=_("Week"),
    title=_("Last 7 days"),
    axis=_("2 hours from"),
    length=7 * _DAY,
    unit=_DAY,
    step=2 * _HOUR,
    label="%Y-%m-%d %H:%M",
    tick=_DAY,
    tick_label="%m-%d",
)
MONTH = Period(
    name=_("Month"),
    title=_("Last 30 days"),
    axis=_("6 hours from"),
    length=30 * _DAY,
    unit=_DAY,
    step=6 * _HOUR,
    label="%Y-%m-%d %H:%M",
    tick=5 * _DAY,
    tick_label="%m-%d",
)
# By the value of `?period=`.
PERIODS = {"hour": HOUR, "day": DAY, "week": WEEK, "month": MONTH}

# Label, class in the stylesheet, column of `ServingMinute`.
Kinds: TypeAlias = "tuple[tuple[Words, str, str], ...]"
SERVED: Kinds = ((_("fresh"), "good", "fresh"), (_("stale"), "fair", "stale"), (_("refused"), "bad", "refused"))
ANSWERS: Kinds = (
    (_("succeeded"), "good", "answered"),
    (_("limited (429)"), "fair", "limited"),
    (_("rejected (4xx)"), "poor", "rejected"),
    (_("failed (5xx)"), "bad", "failed"),
    (_("no response"), "none", "unanswered"),
)
AGES = {
    "within_5_minutes": _("up to 5 min"),
    "within_15_minutes": _("up to 15 min"),
    "within_1_hour": _("up to 1 h"),
    "within_4_hours": _("up to 4 h"),
    "within_1_day": _("up to 24 h"),
    "older": _("older"),
}

# The start of a cell, or of a part that a spreadsheet may split off, before a character that begins a formula. Spaces
# and quotes in between may be dropped. The last four are full-width. Excel also skips a leading tab or line break.
_FORMULA_START = re.compile(
    r"""(?:^|(?<=[,;|\t\r\n\v\f\x85\u2028\u2029]))(?=[\s"']*[=+\-@\uff1d\uff0b\uff0d\uff20])|^(?=[\t\r\n])"""
)


class Echo:
    """A file-like object for `csv` that returns each line instead of writing it."""

    def write(self, line: str) -> str:
        return line


@admin.register(ServingMinute)
class ServingMinuteAdmin(ReadOnlyAdmin):
    section = DISCORD

    def get_urls(self) -> list[URLPattern]:
        views = (("numbers.csv", self.numbers_csv), ("usage.csv", self.usage_csv))
        own = [path(name, self.admin_site.admin_view(view), name=f"guilds_{name}") for name, view in views]
        # No page for a single row, which is only one process's share of one minute.
        return own + [each for each in super().get_urls() if each.name == "guilds_servingminute_changelist"]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        self._let_pass(request)
        period = PERIODS.get(request.GET.get("period", ""), DAY)
        now, usage = database_now(), ranking()
        context = {
            **self.admin_site.each_context(request),
            "title": str(period.title),
            "opts": self.opts,
            "period": period,
            "periods": PERIODS,
            "charts": charts(now, period),
            "usage": usage,
            "counted_seconds": int((now - usage.at).total_seconds()) if usage.at else None,
            "kept_days": serving_minutes.RETENTION.days,
            "flush_seconds": settings.SERVING_FLUSH_SECONDS,
            **(extra_context or {}),
        }
        return TemplateResponse(request, "admin/numbers.html", context)

    def numbers_csv(self, request: HttpRequest) -> HttpResponseBase:
        """Return all stored counts, one line per minute with any count; ISO times in UTC."""
        self._let_pass(request)
        now = database_now()
        rows = _sums(now - serving_minutes.RETENTION, now, serving_minutes.COUNTS)
        lines = ([minute.isoformat(), *counts] for minute, *counts in database.in_chunks(rows))
        return _csv("numbers.csv", ["minute", *serving_minutes.COUNTS], lines)

    def usage_csv(self, request: HttpRequest) -> HttpResponseBase:
        """Return all servers, counted now. With millions of memberships this takes seconds."""
        self._let_pass(request)
        lines = (list(astuple(usage)) for usage in all_usage())
        return _csv("usage.csv", [field.name for field in fields(Usage)], lines)

    def _let_pass(self, request: HttpRequest) -> None:
        if not self.has_view_permission(request):
            raise PermissionDenied


def charts(now: datetime, period: Period) -> list[Chart]:
    """Make the charts of `period`: what visitors got and what Discord responded over time, and all ages together."""
    start = period.start(now)
    ages = ServingMinute.objects.filter(minute__gte=start).aggregate(**{name: Sum(name, default=0) for name in AGES})
    return [
        *_charts_over_time(now, period, {gettext("Lists served"): SERVED, gettext("Discord's responses"): ANSWERS}),
        Chart.stacked(
            gettext("Age of served lists"),
            gettext("Age"),
            [str(label) for label in AGES.values()],
            [Series(gettext("lists"), "plain", tuple(ages[name] for name in AGES))],
        ),
    ]


def last_hour(now: datetime) -> Chart:
    """Make the chart of what visitors got within the last hour."""
    return _charts_over_time(now, HOUR, {gettext("Lists served in the last hour"): SERVED})[0]


def _charts_over_time(now: datetime, period: Period, kinds: Mapping[str, Kinds]) -> list[Chart]:
    """Make a chart of each of `kinds`, by title."""
    names = [name for each in kinds.values() for _label, _kind, name in each]
    start = period.start(now)
    labels = [f"{start + period.step * index:{period.label}}" for index in range(period.length // period.step)]
    ticks = [f"{start + period.tick * index:{period.tick_label}}" for index in range(period.length // period.tick)]
    columns = {name: [0] * len(labels) for name in names}
    # A month has too many minutes to load one by one.
    at = Trunc("minute", "hour") if period.step >= _HOUR else _EACH_MINUTE
    for moment, *counts in _sums(start, now, names, at):
        for name, count in zip(names, counts, strict=True):
            columns[name][(moment - start) // period.step] += count
    return [
        Chart.stacked(
            title,
            str(period.axis),
            labels,
            [Series(str(label), kind, tuple(columns[name])) for label, kind, name in each],
            ticks,
        )
        for title, each in kinds.items()
    ]


def _sums(since: datetime, until: datetime, names: Iterable[str], at: Expression | F = _EACH_MINUTE) -> Any:
    """Return (`at`, sum over all processes for each of `names`), in ascending order."""
    rows = ServingMinute.objects.filter(minute__range=(since, until)).annotate(at=at).order_by("at").values("at")
    return rows.annotate(**{f"all_{name}": Sum(name) for name in names}).values_list(
        "at", *(f"all_{name}" for name in names)
    )


def _csv(name: str, header: list[str], lines: Iterable[list[Any]]) -> StreamingHttpResponse:
    writer = csv.writer(Echo())

    def written() -> Iterator[str]:
        yield writer.writerow(header)
        for line in lines:
            yield writer.writerow([safe_cell(cell) for cell in line])

    disposition = f'attachment; filename="{name}"'
    return StreamingHttpResponse(
        written(), content_type="text/csv; charset=utf-8", headers={"Content-Disposition": disposition}
    )


def safe_cell(cell: Any) -> Any:
    """Return the cell with an apostrophe wherever a spreadsheet could find the start of a formula.

    A server's name is untrusted text. The characters that separate cells depend on the spreadsheet's language, and
    quotes don't help if it splits at a character other than the comma.
    https://owasp.org/www-community/attacks/CSV_Injection
    """
    return _FORMULA_START.sub("'", cell) if isinstance(cell, str) else cell
