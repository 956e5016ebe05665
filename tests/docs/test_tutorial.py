"""The tutorial is done as a reader would do it, in a copy of the project."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text()
PARTS = (
    "accounts",
    "config",
    "examples",
    "guilds",
    "sandbox",
    "static",
    "templates",
    "conftest.py",
    "manage.py",
    "pyproject.toml",
)


def blocks(kind: str) -> Iterator[tuple[str, str]]:
    """(path, text) of each block of that kind that stands below the name of a file."""
    yield from re.findall(rf"^`([^`]+)`:\n\n```{kind}\n(.*?)^```$", TUTORIAL, re.MULTILINE | re.DOTALL)


def commands() -> list[list[str]]:
    """What a reader types, as arguments for our Python: ./run is its wrapper."""
    typed = re.findall(r"^\$ \./run (manage|test) (.+)$", TUTORIAL, re.MULTILINE)
    return [[*({"manage": ["manage.py"], "test": ["-m", "pytest", "-q"]}[verb]), *rest.split()] for verb, rest in typed]


def change(path: Path, diff: str) -> None:
    lines = diff.splitlines(keepends=True)
    before = "".join(line[1:] for line in lines if not line.startswith("+"))
    text = path.read_text()
    assert text.count(before) == 1, f"the tutorial's lines are not in {path.name} any more:\n{before}"
    path.write_text(text.replace(before, "".join(line[1:] for line in lines if not line.startswith("-"))))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for part in PARTS:
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        copy(ROOT / part, tmp_path / part)
    (tmp_path / "tests").mkdir()
    for name in ("__init__.py", "conftest.py", "fixtures.py", "settings.py"):
        shutil.copy(ROOT / "tests" / name, tmp_path / "tests" / name)
    return tmp_path


def test_the_tutorial_leads_to_a_page_that_works(project: Path) -> None:
    for path, text in (*blocks("python"), *blocks("html")):
        (project / path).parent.mkdir(parents=True, exist_ok=True)
        (project / path).write_text(text)
    (project / "welcome" / "__init__.py").touch()
    for path, diff in blocks("diff"):
        change(project / path, diff)

    ours = {"ENV_FILE": os.devnull, "VAR_DIR": str(project / "var"), "PATH": os.environ["PATH"]}
    for command in commands():
        done = subprocess.run([sys.executable, *command], cwd=project, env=ours, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^4 passed", done.stdout, re.MULTILINE)


def test_the_example_is_what_the_tutorial_makes() -> None:
    made = {path: text for path, text in (*blocks("python"), *blocks("html")) if path.startswith("welcome/")}

    assert len(made) == 4
    for path, text in made.items():
        assert (ROOT / "examples" / path).read_text() == text


def test_the_example_can_be_put_on_the_site_and_has_its_migration() -> None:
    ours = {**os.environ, "EXAMPLES": "1"}
    code = "from django.urls import reverse; print(reverse('welcome:edit', args=[1]))"
    commands = (["shell", "--no-imports", "-c", code], ["makemigrations", "--check", "--dry-run"], ["check"])
    done = [
        subprocess.run([sys.executable, "manage.py", *command], cwd=ROOT, env=ours, capture_output=True, text=True)
        for command in commands
    ]

    assert [process.returncode for process in done] == [0, 0, 0]
    assert done[0].stdout.strip() == "/examples/welcome/1/"
