"""The dashboard for Grafana shows each metric of /metrics, with queries that Prometheus can read."""

import json
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.db import OperationalError, connection

from config import dashboard, metrics
from tests.conftest import REQUIRED

PROMTOOL = shutil.which("promtool")


@pytest.fixture
def panels(db: None) -> list[dict[str, Any]]:
    return [panel for panel in dashboard.dashboard()["panels"] if panel["type"] != "row"]


def test_each_metric_has_one_panel(panels: list[dict[str, Any]]) -> None:
    shown = re.findall(r"^# TYPE (guildhall_\w+) ", metrics.scrape().decode(), re.MULTILINE)

    assert len(shown) > 30
    assert Counter(panel["title"] for panel in panels) == Counter(name.removesuffix("_total") for name in shown)


def test_queries_name_the_panels_metric_and_its_labels(panels: list[dict[str, Any]]) -> None:
    expressions = {panel["title"]: [target["expr"] for target in panel["targets"]] for panel in panels}

    assert expressions["guildhall_verdict"] == ["max by (verdict) (guildhall_verdict)"]
    assert expressions["guildhall_discord_retries"] == [
        "sum by (route) (rate(guildhall_discord_retries_total[$__rate_interval]))"
    ]
    assert expressions["guildhall_served_age_seconds"] == [
        f"histogram_quantile({quantile}, "
        "sum by (le, resource) (rate(guildhall_served_age_seconds_bucket[$__rate_interval])))"
        for quantile in (0.5, 0.99)
    ]
    assert expressions["guildhall_slots_in_use"] == ["sum by (instance, pool) (guildhall_slots_in_use)"]


def test_no_panel_covers_another(panels: list[dict[str, Any]]) -> None:
    places = Counter((panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels)

    assert set(places.values()) == {1}
    assert all(x + dashboard.WIDTH <= 24 for x, _ in places)


@pytest.mark.skipif(PROMTOOL is None and "promtool" not in REQUIRED, reason="there is no promtool on the PATH")
def test_prometheus_reads_the_queries(panels: list[dict[str, Any]], tmp_path: Path) -> None:
    assert PROMTOOL, "GUILDHALL_REQUIRE names promtool, and there is none on the PATH"
    expressions = {target["expr"] for panel in panels for target in panel["targets"]}
    rules = [
        {"record": f"query:{number}", "expr": expression.replace("$__rate_interval", "1m")}
        for number, expression in enumerate(sorted(expressions))
    ]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))

    ran = subprocess.run([PROMTOOL, "check", "rules", str(file)], capture_output=True, text=True)

    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_it_is_printed_as_json(db: None, capsys: pytest.CaptureFixture[str]) -> None:
    dashboard.main()

    assert json.loads(capsys.readouterr().out)["title"] == "Guildhall"


def test_without_a_database_there_is_none(db: None) -> None:
    def refuse(*_: Any) -> None:
        raise OperationalError("connection is bad")

    with connection.execute_wrapper(refuse), pytest.raises(SystemExit, match="database can't be read"):
        dashboard.dashboard()
