"""The examples are on the site with EXAMPLES=1: then their own tests run, and their migration is up to date."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# In one process, whose start takes most of its time.
CHECKS = """
import manage
manage.main("check", "--fail-level", "WARNING")
manage.main("makemigrations", "--check", "--dry-run")
"""


@pytest.mark.parametrize(
    "command",
    [
        # A whole run of pytest, which takes longer than all other tests of this folder.
        pytest.param(["-m", "pytest", "-q", "--numprocesses=0", "tests/examples"], marks=pytest.mark.thorough),
        ["-c", CHECKS],
    ],
)
def test_the_examples_are_in_order(command: list[str], tmp_path: Path) -> None:
    environment = {
        "EXAMPLES": "1",
        "ENV_FILE": os.devnull,
        "VAR_DIR": str(tmp_path),
        "PATH": os.environ["PATH"],
    }
    done = subprocess.run([sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True)

    assert done.returncode == 0, done.stdout + done.stderr
