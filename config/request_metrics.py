"""Prometheus metrics of this process and of the requests it serves."""

import time
from collections.abc import Callable
from functools import cache

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from prometheus_client import Counter, Gauge, Histogram

from accounts.metrics import SLOTS, SLOTS_IN_USE
from accounts.version import VERSION

REQUESTS = Counter("guildhall_requests", "Requests served, by route and class of the status.", ["route", "status"])
DURATION = Histogram(
    "guildhall_request_duration_seconds",
    "Time from a request's arrival at the site to its response, by route.",
    ["route"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
VERSION_INFO = Gauge("guildhall_version_info", "1 for the running version.", ["version"], multiprocess_mode="livemax")
STARTED = Gauge(
    "guildhall_newest_process_start_time_seconds",
    "When the newest process of this machine started, since 1970.",
    multiprocess_mode="livemax",
)
# For requests that no route matches, or that middleware answers before a route is sought.
NO_ROUTE = "none"


def describe_process() -> None:
    """Export what stays the same as long as this process serves requests."""
    VERSION_INFO.labels(VERSION).set(1)
    STARTED.set(time.time())
    SLOTS.labels("web").set(settings.WEB_THREADS)


class RequestMetricsMiddleware:
    """Counts requests by the name of their route, never by their path, so that visitors can't add series."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response
        self.in_use = SLOTS_IN_USE.labels("web")

    def __call__(self, request: HttpRequest) -> HttpResponse:
        started = time.perf_counter()
        self.in_use.inc()
        try:
            response = self.get_response(request)
        finally:
            self.in_use.dec()
        match = request.resolver_match
        count, duration = _series(match.view_name if match else NO_ROUTE, response.status_code // 100)
        count.inc()
        duration.observe(time.perf_counter() - started)
        return response


@cache
def _series(route: str, status_class: int) -> tuple[Counter, Histogram]:
    """Return the two series, which prometheus_client takes longer to look up than to change."""
    return REQUESTS.labels(route, f"{status_class}xx"), DURATION.labels(route)
