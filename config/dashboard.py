"""The dashboard for Grafana, made from the metrics themselves, so that it shows each of them and names no other.

`./run dashboard` prints it.
"""

import json
import sys
from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import Any

from prometheus_client import Metric
from prometheus_client.metrics import MetricWrapperBase

from accounts import metrics as discord
from config import pool_metrics, request_metrics
from config.metrics import DatabaseCollector
from guilds.engine import metrics as engine

WIDTH, HEIGHT, PER_ROW = 8, 8, 3
# Expressions by their legend.
Targets = dict[str, str]


def dashboard() -> dict[str, Any]:
    """Return the dashboard: one row for each module of metrics, and those that each scrape reads from the database."""
    panels: list[dict[str, Any]] = []
    drawn: set[str] = set()
    top = 0
    for title, metrics in {
        "The site, from the database": _collected(DatabaseCollector().collect()),
        "Requests": _defined(request_metrics),
        "Database connections": _defined(pool_metrics),
        "Lists": _defined(engine),
        "Discord, sign-in and limits": _defined(discord),
    }.items():
        panels.append({"type": "row", "title": title, "gridPos": {"x": 0, "y": top, "w": 24, "h": 1}})
        top += 1
        # A module also holds what it imports, and children of its metrics.
        new = {metric.name: (metric, targets) for metric, targets in metrics if metric.name not in drawn}
        drawn |= set(new)
        for number, (metric, targets) in enumerate(new.values()):
            place = {"x": number % PER_ROW * WIDTH, "y": top + number // PER_ROW * HEIGHT, "w": WIDTH, "h": HEIGHT}
            panels.append(_panel(metric, targets, place))
        top += -(-len(new) // PER_ROW) * HEIGHT
    return {
        "uid": "guildhall",
        "title": "Guildhall",
        "schemaVersion": 39,
        "time": {"from": "now-6h", "to": "now"},
        "refresh": "1m",
        "templating": {"list": [{"name": "datasource", "type": "datasource", "query": "prometheus"}]},
        "panels": [{"id": number, **panel} for number, panel in enumerate(panels, start=1)],
    }


def _defined(module: ModuleType) -> Iterator[tuple[Metric, Targets]]:
    """Yield the module's metrics, with their expressions by legend; processes of all machines are added up."""
    for found in vars(module).values():
        if isinstance(found, MetricWrapperBase) and not found._labelvalues:
            [metric] = found.describe()
            yield metric, _targets(metric, tuple(found._labelnames))


def _collected(metrics: Iterable[Metric]) -> Iterator[tuple[Metric, Targets]]:
    """Yield metrics that all machines read from the same database, with their expressions by legend."""
    found = list(metrics)
    if len(found) == 1:
        sys.exit("guildhall: the database can't be read, or has no tables yet; ./run prepare makes them")
    for metric in found:
        labels: tuple[str, ...] = getattr(metric, "_labelnames", ())
        yield metric, {_legend(labels) or "value": f"max{_by(labels)} ({metric.name})"}


def _targets(metric: Metric, labels: tuple[str, ...]) -> Targets:
    if metric.type == "counter":
        return {_legend(labels) or "rate": f"sum{_by(labels)} (rate({metric.name}_total[$__rate_interval]))"}
    if metric.type == "histogram":
        rates = f"sum{_by(('le', *labels))} (rate({metric.name}_bucket[$__rate_interval]))"
        return {
            f"{share} {_legend(labels)}".strip(): f"histogram_quantile({quantile}, {rates})"
            for share, quantile in {"median": 0.5, "99 %": 0.99}.items()
        }
    labels = ("instance", *labels)
    value = f"sum{_by(labels)} ({metric.name})"
    return {_legend(labels): f"time() - {value}" if metric.name.endswith("_time_seconds") else value}


def _by(labels: Iterable[str]) -> str:
    return f" by ({', '.join(labels)})" if labels else ""


def _legend(labels: Iterable[str]) -> str:
    return " ".join(f"{{{{{label}}}}}" for label in labels)


def _panel(metric: Metric, targets: Targets, place: dict[str, int]) -> dict[str, Any]:
    return {
        "type": "timeseries",
        "title": metric.name,
        "description": metric.documentation,
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "fieldConfig": {"defaults": {"unit": "s" if metric.name.endswith("_seconds") else "short"}, "overrides": []},
        "gridPos": place,
        "targets": [
            {"refId": chr(ord("A") + number), "expr": expression, "legendFormat": legend}
            for number, (legend, expression) in enumerate(targets.items())
        ],
    }


def main() -> None:
    sys.stdout.write(json.dumps(dashboard(), indent=2) + "\n")
