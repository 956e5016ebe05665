"""The tutorial is done as a reader would do it, in a copy of the project, and leaves a project that is in order."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.apps import apps

ROOT = Path(__file__).parents[2]
TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text()
OURS = {"accounts", "config", "examples", "guilds", "sandbox"}
# A clone in which somebody builds: the tutorial's lines stand elsewhere there, or are done.
OWN_APPS = {app.name for app in apps.get_app_configs() if Path(app.path).parent == ROOT} - OURS

pytestmark = [
    pytest.mark.thorough,
    pytest.mark.skipif(bool(OWN_APPS), reason=f"the site has apps of its own: {', '.join(sorted(OWN_APPS))}"),
]


def blocks(kind: str) -> Iterator[tuple[str, str]]:
    """(path, text) of each block of that kind that stands below the name of a file."""
    yield from re.findall(rf"^`([^`]+)`:\n\n```{kind}\n(.*?)^```$", TUTORIAL, re.MULTILINE | re.DOTALL)


def commands() -> list[list[str]]:
    """What a reader types, as arguments for our Python: ./run is its wrapper."""
    typed = re.findall(r"^\$ \./run (manage|test) (.+)$", TUTORIAL, re.MULTILINE)
    return [
        [*({"manage": ["manage.py"], "test": ["-m", "pytest", "-q", "--numprocesses=0"]}[verb]), *rest.split()]
        for verb, rest in typed
    ]


# What `./run check` and `./run test` look at an app of one's own with; the examples may stand beside it.
GATE = [
    ["-m", "ruff", "check", "."],
    ["-m", "ruff", "format", "--check", "."],
    ["manage.py", "check", "--fail-level", "WARNING"],
    ["manage.py", "makemigrations", "--check", "--dry-run"],
    [
        "-m",
        "pytest",
        "-q",
        "--numprocesses=0",
        "--thorough",
        "tests/docs/test_tutorial.py",
        "tests/config/test_translations.py",
    ],
]


def change(path: Path, diff: str) -> None:
    lines = diff.splitlines(keepends=True)
    before = "".join(line[1:] for line in lines if not line.startswith("+"))
    text = path.read_text()
    assert text.count(before) == 1, f"the tutorial's lines are not in {path.name} any more:\n{before}"
    path.write_text(text.replace(before, "".join(line[1:] for line in lines if not line.startswith("-"))))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    left_out = shutil.ignore_patterns(".*", "__pycache__", "images", "node_modules", "var")
    return Path(shutil.copytree(ROOT, tmp_path / "project", ignore=left_out))


def do(project: Path, command: list[str], **environment: str) -> str:
    ours = {"ENV_FILE": os.devnull, "VAR_DIR": str(project / "var"), "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [sys.executable, *command], cwd=project, env=ours | environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_tutorial_leads_to_a_page_that_works_in_a_project_that_is_in_order(project: Path) -> None:
    for path, text in (*blocks("python"), *blocks("html")):
        (project / path).parent.mkdir(parents=True, exist_ok=True)
        (project / path).write_text(text)
    (project / "welcome" / "__init__.py").touch()
    for path, diff in blocks("diff"):
        change(project / path, diff)

    said = [do(project, command) for command in commands()]

    assert re.search(r"^5 passed", said[-1], re.MULTILINE)
    for command in GATE:
        do(project, command, EXAMPLES="1")
