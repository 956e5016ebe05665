"""The alerts for Prometheus: each fires for its reason, names metrics that exist, and has a section of the runbook."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from guilds.operations.verdict import Verdict
from tests.conftest import REQUIRED

ROOT = Path(__file__).parents[2]
ALERTS = ROOT / "ops" / "alerts.yaml"
RULES = [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]
TESTS = sorted(Path(__file__).parent.glob("alerts*.yaml"))
PROMTOOL = shutil.which("promtool")


@pytest.mark.skipif(PROMTOOL is None and "promtool" not in REQUIRED, reason="there is no promtool on the PATH")
@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.stem)
def test_alerts_fire_for_their_reason(file: Path) -> None:
    assert PROMTOOL, "GUILDHALL_REQUIRE names promtool, and there is none on the PATH"

    ran = subprocess.run([PROMTOOL, "test", "rules", str(file)], capture_output=True, text=True)

    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_each_alert_has_a_test() -> None:
    tested = {name for file in TESTS for name in re.findall(r'alertname="(\w+)"', file.read_text())}

    assert tested == {rule["alert"] for rule in RULES}


def test_the_runbook_has_a_section_for_each_alert() -> None:
    sections = re.findall(r"^## (\w+)$", (ROOT / "docs" / "runbook.md").read_text(), re.MULTILINE)

    assert sections == [rule["alert"] for rule in RULES]


def test_alerts_name_documented_metrics_and_verdicts() -> None:
    used = set(re.findall(r"guildhall_\w+", ALERTS.read_text()))
    # `tests/config/test_metrics.py` compares the page with what /metrics exports.
    documented = set(re.findall(r"`(guildhall_\w+)`", (ROOT / "docs" / "monitoring.md").read_text()))
    verdicts = set(re.findall(r'verdict="(\w+)"', ALERTS.read_text()))

    assert len(used) > 10
    assert used <= documented
    assert verdicts
    assert verdicts < set(Verdict)


def test_each_alert_says_how_bad_it_is_and_what_is_wrong() -> None:
    for rule in RULES:
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["annotations"]["summary"]
