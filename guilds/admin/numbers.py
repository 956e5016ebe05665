"""The numbers of the last day as charts, and those of the last thirty as CSV. Looking never asks Discord."""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import astuple, fields
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Sum
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.admin.kit import ReadOnlyAdmin, Words
from accounts.clock import database_now
from guilds.admin.charts import Chart, Series
from guilds.models import ServingMinute
from guilds.operations import serving_minutes
from guilds.operations.server_usage import Usage, all_usage, ranking

DAY = timedelta(days=1)
STEP = timedelta(minutes=15)
TICK_EVERY = 16  # four hours

# Label, class in the stylesheet, column of `ServingMinute`.
SERVED = ((_("fresh"), "good", "fresh"), (_("stale"), "fair", "stale"), (_("refused"), "bad", "refused"))
ANSWERS = (
    (_("answered"), "good", "answered"),
    (_("limited (429)"), "fair", "limited"),
    (_("rejected (4xx)"), "poor", "rejected"),
    (_("failed (5xx)"), "bad", "failed"),
    (_("unanswered"), "none", "unanswered"),
)
AGES = {
    "within_5_minutes": _("up to 5 min"),
    "within_15_minutes": _("to 15 min"),
    "within_1_hour": _("to 1 h"),
    "within_4_hours": _("to 4 h"),
    "within_1_day": _("to 24 h"),
    "older": _("older"),
}


class Echo:
    """What `csv` takes for a file, and which gives each line back."""

    def write(self, line: str) -> str:
        return line


@admin.register(ServingMinute)
class ServingMinuteAdmin(ReadOnlyAdmin):
    def get_urls(self) -> list[URLPattern]:
        views = (("numbers.csv", self.numbers_csv), ("usage.csv", self.usage_csv))
        own = [path(name, self.admin_site.admin_view(view), name=f"guilds_{name}") for name, view in views]
        # A row alone says nothing: one process's share of one minute.
        return own + [each for each in super().get_urls() if each.name == "guilds_servingminute_changelist"]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        self._let_pass(request)
        now, usage = database_now(), ranking()
        context = {
            **self.admin_site.each_context(request),
            "title": gettext("Numbers of the last day"),
            "opts": self.opts,
            "charts": charts(now),
            "usage": usage,
            "counted_seconds": int((now - usage.at).total_seconds()) if usage.at else None,
            "kept_days": serving_minutes.RETENTION.days,
            "flush_seconds": settings.SERVING_FLUSH_SECONDS,
            **(extra_context or {}),
        }
        return TemplateResponse(request, "admin/numbers.html", context)

    def numbers_csv(self, request: HttpRequest) -> HttpResponseBase:
        """All that is kept, a line a minute in which anything was counted; ISO times in UTC."""
        self._let_pass(request)
        now = database_now()
        rows = _sums(now - serving_minutes.RETENTION, now, serving_minutes.COUNTS)
        lines = ([minute.isoformat(), *counts] for minute, *counts in rows.iterator(chunk_size=2000))
        return _csv("numbers.csv", ["minute", *serving_minutes.COUNTS], lines)

    def usage_csv(self, request: HttpRequest) -> HttpResponseBase:
        """All servers, counted now, which over millions of memberships takes seconds."""
        self._let_pass(request)
        lines = (list(astuple(usage)) for usage in all_usage())
        return _csv("usage.csv", [field.name for field in fields(Usage)], lines)

    def _let_pass(self, request: HttpRequest) -> None:
        if not self.has_view_permission(request):
            raise PermissionDenied


def charts(now: datetime) -> list[Chart]:
    """The present hour and the 23 before it, in quarters of an hour; the ages over all of it."""
    names = [name for _label, _kind, name in (*SERVED, *ANSWERS)]
    start = now.replace(minute=0, second=0, microsecond=0) - DAY + timedelta(hours=1)
    labels = [f"{start + STEP * index:%H:%M}" for index in range(DAY // STEP)]
    columns = {name: [0] * len(labels) for name in names}
    for minute, *counts in _sums(start, now, names):
        for name, count in zip(names, counts, strict=True):
            columns[name][(minute - start) // STEP] += count

    def series(kinds: Iterable[tuple[Words, str, str]]) -> list[Series]:
        return [Series(str(label), kind, tuple(columns[name])) for label, kind, name in kinds]

    ages = ServingMinute.objects.filter(minute__gte=start).aggregate(**{name: Sum(name, default=0) for name in AGES})
    quarter = gettext("Quarter of an hour from")
    return [
        Chart.stacked(gettext("Lists served"), quarter, labels, series(SERVED), tick_every=TICK_EVERY),
        Chart.stacked(gettext("Discord’s answers"), quarter, labels, series(ANSWERS), tick_every=TICK_EVERY),
        Chart.stacked(
            gettext("Age of the lists served"),
            gettext("Age"),
            [str(label) for label in AGES.values()],
            [Series(gettext("lists"), "good", tuple(ages[name] for name in AGES))],
        ),
    ]


def _sums(since: datetime, until: datetime, names: Iterable[str]) -> Any:
    """(minute, sum of all processes for each of `names`), ascending."""
    rows = ServingMinute.objects.filter(minute__range=(since, until)).order_by("minute").values("minute")
    return rows.annotate(**{f"all_{name}": Sum(name) for name in names}).values_list(
        "minute", *(f"all_{name}" for name in names)
    )


def _csv(name: str, header: list[str], lines: Iterable[list[Any]]) -> StreamingHttpResponse:
    writer = csv.writer(Echo())

    def written() -> Iterator[str]:
        yield writer.writerow(header)
        for line in lines:
            yield writer.writerow([_harmless(cell) for cell in line])

    disposition = f'attachment; filename="{name}"'
    return StreamingHttpResponse(
        written(), content_type="text/csv; charset=utf-8", headers={"Content-Disposition": disposition}
    )


def _harmless(cell: Any) -> Any:
    """A server's name is anybody's text, and a spreadsheet would run one that looks like a formula."""
    return f"'{cell}" if isinstance(cell, str) and cell.lstrip()[:1] in ("=", "+", "-", "@") else cell
