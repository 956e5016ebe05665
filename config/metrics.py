"""`GET /metrics` for Prometheus: the counters of all processes on this machine, and gauges from the database.

Each process counts separately. If `PROMETHEUS_MULTIPROC_DIR` is set, the counts are in files there: the process that
serves the scrape adds them up, and they outlive a killed process. Shared state is read from the database once per
scrape.
"""

import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import structlog
from django.conf import settings
from django.db import Error, connection
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import REGISTRY, CollectorRegistry, disable_created_metrics, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from accounts import gate, tokens
from accounts.database import is_unavailable
from accounts.limits import Gate
from guilds.operations import status
from guilds.operations.verdict import Verdict, judge
from guilds.resources import ALL

logger = structlog.get_logger(__name__)

# Multi-process mode exports no `_created` series; drop them here too, so that both modes look the same.
disable_created_metrics()  # type: ignore[no-untyped-call]  # has no types


@never_cache
@require_safe
def page(request: HttpRequest) -> HttpResponse:
    """Return the metrics: 404 if `METRICS_TOKEN` isn't set, 401 without it, and 200 even if the database is down."""
    if not settings.METRICS_TOKEN:
        return HttpResponse("not found\n", status=404, content_type="text/plain")
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not constant_time_compare(token.strip(), settings.METRICS_TOKEN):
        return HttpResponse(
            "unauthorized\n",
            status=401,
            content_type="text/plain",
            headers={"WWW-Authenticate": 'Bearer realm="metrics"'},
        )
    return HttpResponse(scrape(), content_type=CONTENT_TYPE_PLAIN_0_0_4)


def scrape() -> bytes:
    """Return all metrics in Prometheus's text format."""
    registry = CollectorRegistry()
    if folder := os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        forget_dead_processes(Path(folder))
        registry.register(MultiProcessCollector(None, folder))  # type: ignore[no-untyped-call]  # has no types
    else:
        registry.register(REGISTRY)
    registry.register(DatabaseCollector())
    return generate_latest(registry)


def forget_dead_processes(folder: Path) -> None:
    """Delete the gauges of dead processes, as a killed worker can't do so itself; their counters are kept.

    If a new process has a dead one's id, the dead one's gauges stay until the new process ends.
    """
    for file in folder.glob("gauge_live*_*.db"):
        if not _is_alive(int(file.stem.rpartition("_")[2])):
            file.unlink(missing_ok=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


class DatabaseCollector(Collector):
    """Gauges from the database, by its own clock. If it is down or a statement fails, only `guildhall_database_up`."""

    def collect(self) -> Iterator[Metric]:
        try:
            state, now = gate.read()
            stored = [
                *_gate(state, now),
                *_tokens(),
                *_records(now),
                _verdict(state, now),
                *_jobs(now),
                *_connections(),
            ]
        except Error as error:
            stored = []
            is_up = not is_unavailable(error)
            if is_up:
                logger.exception("metrics_not_read")
        else:
            is_up = True
        yield GaugeMetricFamily("guildhall_database_up", "Whether the database responds.", value=is_up)
        yield from stored


def _gate(state: Gate, now: datetime) -> Iterator[Metric]:
    shut = state.shut_until(now)
    opens_in = (shut - now).total_seconds() if shut else 0.0

    yield GaugeMetricFamily(
        "guildhall_discord_gate_shut",
        "Whether all requests to Discord are stopped (global limit, Cloudflare).",
        value=bool(shut),
    )
    yield GaugeMetricFamily(
        "guildhall_discord_gate_opens_in_seconds", "Seconds until the gate lets a probe through.", value=opens_in
    )
    yield GaugeMetricFamily(
        "guildhall_discord_invalid_requests",
        "Responses in the last ten minutes that count towards Discord's ban.",
        value=gate.invalid_requests(now).count(),
    )
    yield GaugeMetricFamily(
        "guildhall_discord_send_backlog_seconds",
        "How far the send clock is ahead of the current time.",
        value=state.ahead(now).total_seconds(),
    )


def _tokens() -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "guildhall_discord_tokens_locked",
        f"How many of the latest {tokens.SAMPLE} people have tokens that no key in TOKEN_KEYS decrypts.",
        value=tokens.count_unreadable(),
    )


def _records(now: datetime) -> Iterator[Metric]:
    live = GaugeMetricFamily(
        "guildhall_refresh_leases_live", "Attempts running now, in all processes.", labels=["resource"]
    )
    stored = GaugeMetricFamily("guildhall_records", "Stored records by freshness.", labels=["resource", "freshness"])
    for resource in ALL:
        by_state = {state: Count("pk", filter=where) for state, where in resource.model.states(now).items()}
        running = Count("pk", filter=resource.model.running())
        counts = resource.model._default_manager.aggregate(live=running, **by_state)
        live.add_metric([resource.name], counts.pop("live"))
        for state, count in counts.items():
            stored.add_metric([resource.name, state], count)
    yield live
    yield stored


def _verdict(state: Gate, now: datetime) -> Metric:
    """One series for each verdict; the one that applies is 1."""
    found = judge(status.read_facts(state, now))
    gauge = GaugeMetricFamily(
        "guildhall_verdict", "How the site stands, as discord_status says; 1 for what applies.", labels=["verdict"]
    )
    for each in Verdict:
        gauge.add_metric([each.value], each is found)
    return gauge


def _jobs(now: datetime) -> Iterator[Metric]:
    # Not "job", which Prometheus uses for the name of the scrape.
    age = GaugeMetricFamily(
        "guildhall_job_success_age_seconds", "Time since the job's last success.", labels=["command"]
    )
    duration = GaugeMetricFamily("guildhall_job_duration_seconds", "How long the last run took.", labels=["command"])
    failed = GaugeMetricFamily("guildhall_job_failed", "Whether the last run failed.", labels=["command"])
    for job in status.read_jobs():
        if job.succeeded_at:
            age.add_metric([job.command], (now - job.succeeded_at).total_seconds())
        if job.started_at and job.finished_at:
            duration.add_metric([job.command], (job.finished_at - job.started_at).total_seconds())
            failed.add_metric([job.command], not job.succeeded)
    yield age
    yield duration
    yield failed


def _connections() -> Iterator[Metric]:
    """The connections of all processes and machines to this database; none on SQLite."""
    gauge = GaugeMetricFamily(
        "guildhall_database_connections", "Connections to the PostgreSQL database, by state.", labels=["state"]
    )
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT coalesce(state, 'other'), count(*) FROM pg_stat_activity"
                " WHERE datname = current_database() GROUP BY state"
            )
            for state, count in cursor.fetchall():
                gauge.add_metric([state], count)
    yield gauge
