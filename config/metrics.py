"""`GET /metrics` for Prometheus: what all processes of this machine have counted, and what the database says now.

Each process counts for itself; where `PROMETHEUS_MULTIPROC_DIR` is set, in files there, which whoever is asked adds up
and which outlive a killed process. What all processes share is read from the database once per scrape.
"""

import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from django.conf import settings
from django.db import DatabaseError, InterfaceError
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import REGISTRY, CollectorRegistry, disable_created_metrics, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from accounts import gate
from accounts.limits import Gate
from guilds.models import GuildListVerification
from guilds.operations import status

# Several processes have none, and one shall not differ.
disable_created_metrics()  # type: ignore[no-untyped-call]  # has no types


@never_cache
@require_safe
def page(request: HttpRequest) -> HttpResponse:
    """404 while there is no `METRICS_TOKEN`, 401 without it; 200 also while the database is out of reach."""
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
    registry = CollectorRegistry()
    if folder := os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        forget_dead_processes(Path(folder))
        registry.register(MultiProcessCollector(None, folder))  # type: ignore[no-untyped-call]  # has no types
    else:
        registry.register(REGISTRY)
    registry.register(DatabaseCollector())
    return generate_latest(registry)


def forget_dead_processes(folder: Path) -> None:
    """Drop what dead processes had in use; their counts stay. A killed worker has no other way to say that it is gone.

    A process that got a dead one's id hides it, until it ends too.
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
    """What the database says, by its own clock. While it is out of reach, only that."""

    def collect(self) -> Iterator[Metric]:
        try:
            state, now = gate.read()
            stored = [*_gate(state, now), *_lists(now)]
        except (DatabaseError, InterfaceError):
            stored = []
        yield GaugeMetricFamily("guildhall_database_up", "Whether the database answers.", value=bool(stored))
        yield from stored


def _gate(state: Gate, now: datetime) -> Iterator[Metric]:
    shut = state.shut_until(now)
    opens_in = (shut - now).total_seconds() if shut else 0.0

    yield GaugeMetricFamily(
        "guildhall_discord_gate_shut", "Whether nobody may ask Discord (global limit, Cloudflare).", value=bool(shut)
    )
    yield GaugeMetricFamily(
        "guildhall_discord_gate_opens_in_seconds", "Until the gate lets a probe through.", value=opens_in
    )
    yield GaugeMetricFamily(
        "guildhall_discord_invalid_requests",
        "Answers of the last ten minutes that count towards Discord's ban.",
        value=gate.invalid_requests(now).count(),
    )
    yield GaugeMetricFamily(
        "guildhall_discord_send_backlog_seconds",
        "How far the send clock runs ahead of time.",
        value=state.ahead(now).total_seconds(),
    )


def _lists(now: datetime) -> Iterator[Metric]:
    by_tier = {tier.value: Count("pk", filter=bounds) for tier, bounds in status.tiers(now).items()}
    lists = GuildListVerification.objects.aggregate(live=Count("pk", filter=Q(lease_until__gt=now)), **by_tier)

    yield GaugeMetricFamily(
        "guildhall_refresh_leases_live", "Attempts that run now, in whichever process.", value=lists["live"]
    )
    stored = GaugeMetricFamily("guildhall_guild_lists", "Stored lists by how fresh they are.", labels=["freshness"])
    for tier in by_tier:
        stored.add_metric([tier], lists[tier])
    yield stored
