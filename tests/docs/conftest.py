"""Copies of the project, in which a test builds a site of its own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# What `./run check` looks at an app of one's own with, except mypy; the examples may stand beside it.
CHECKS = [
    ["-m", "ruff", "check", "."],
    ["-m", "ruff", "format", "--check", "."],
    ["-m", "djlint", "mysite", "--check", "--lint"],
    ["manage.py", "check", "--fail-level", "WARNING"],
    ["manage.py", "makemigrations", "--check", "--dry-run"],
]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project, without a site of its own."""
    left_out = shutil.ignore_patterns(".*", "images", "node_modules", "var")
    return Path(shutil.copytree(ROOT, tmp_path / "project", ignore=left_out))


def do(project: Path, command: list[str], **environment: str) -> str:
    """Run Python in the copy with these arguments, and return what it printed; fail if it fails."""
    ours = {"ENV_FILE": os.devnull, "VAR_DIR": str(project / "var"), "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [sys.executable, *command], cwd=project, env=ours | environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def check(project: Path) -> None:
    """Run the checks of the project that a site of one's own could break."""
    for command in CHECKS:
        do(project, command)
