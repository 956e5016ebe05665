"""systemd's units and the Procfile: valid, hardened, and they start what exists."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from django.core.management import get_commands

from guilds.operations import schedule
from tests.conftest import REQUIRED

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "ops" / "systemd"
SYSTEMD = shutil.which("systemd-analyze")
needs_systemd = pytest.mark.skipif(
    SYSTEMD is None and "systemd" not in REQUIRED, reason="there is no systemd-analyze on the PATH"
)


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units, for the project in this folder."""
    assert SYSTEMD, "GUILDHALL_REQUIRE names systemd, and there is no systemd-analyze on the PATH"
    folder = tmp_path / "units"
    shutil.copytree(UNITS, folder)
    for file in folder.rglob("guildhall-*.*"):
        if file.is_file():
            file.write_text(file.read_text().replace("/srv/guildhall", str(ROOT)))
    return folder


def analyze(units: Path, *arguments: str) -> str:
    """Return what systemd-analyze objects to."""
    files = [str(file).replace("@.", "@clearsessions.") for file in sorted(units.iterdir()) if file.is_file()]
    files = [file for file in files if arguments[0] == "verify" or file.endswith(".service")]
    environment = {"SYSTEMD_UNIT_PATH": f"{units}:"}
    ran = subprocess.run([str(SYSTEMD), *arguments, *files], env=environment, capture_output=True, text=True)
    return ran.stderr + (ran.stdout if ran.returncode else "")


@needs_systemd
def test_units_are_valid(units: Path) -> None:
    assert analyze(units, "verify") == ""


@needs_systemd
def test_services_may_do_little(units: Path) -> None:
    assert analyze(units, "security", "--offline=yes", "--no-pager", "--threshold=15") == ""


def test_units_and_procfile_start_what_exists() -> None:
    files = [*UNITS.glob("*.service"), ROOT / "ops" / "Procfile"]
    started = [words for file in files for words in re.findall(r"/run ?(.*)$", file.read_text(), re.MULTILINE)]
    of_run = set(re.findall(r"^([a-z]+)\)", (ROOT / "run").read_text(), re.MULTILINE))

    assert len(started) > 8
    for command, argument in (f"{words} ".split(" ", 1) for words in started if words):
        assert command in of_run
        assert command != "manage" or argument.strip() in {*get_commands(), "%i"}


def test_the_documented_timers_start_every_scheduled_command() -> None:
    enabled = re.findall(
        r"guildhall-(?:daily|often)@\{?([\w,]+)\}?\.timer", (ROOT / "docs" / "production.md").read_text()
    )

    assert {*",".join(enabled).split(","), "refresh_due_lists"} == set(schedule.COMMANDS)
