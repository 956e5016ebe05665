"""The tutorial leads to a site that passes all checks in a copy of the project, after merging a new release too."""

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.conftest import check, do

ROOT = Path(__file__).parents[2]
TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text()

pytestmark = pytest.mark.thorough


def blocks(kind: str) -> Iterator[tuple[str, str]]:
    """(path, text) of each block of that kind that stands below the name of a file."""
    yield from re.findall(rf"^`([^`]+)`:\n\n```{kind}\n(.*?)^```$", TUTORIAL, re.MULTILINE | re.DOTALL)


def commands() -> list[list[str]]:
    """The commands that a reader types, as arguments for Python, which `./run` wraps."""
    python = {
        "new-site": ["-m", "config.mysite"],
        "manage": ["manage.py"],
        "test": ["-m", "pytest", "-q", "--numprocesses=0"],
    }
    typed = re.findall(r"^\$ \./run (new-site|manage|test) (.+)$", TUTORIAL, re.MULTILINE)
    return [[*python[verb], *shlex.split(rest)] for verb, rest in typed]


# What a new release may change: a line of the project, and the line after it.
RELEASE = {
    "config/settings.py": ('    "accounts",\n', '    "django.contrib.sitemaps",\n'),
    "config/urls.py": ('    path("", views.home, name="home"),\n', '    path("next/", views.home, name="next"),\n'),
    "templates/base.html": ("  <body>\n", "    <!-- the next release -->\n"),
    "requirements.in": ("\n", "# the next release\n"),
    "requirements.txt": ("\n", "# the next release\n"),
}


def release(project: Path) -> None:
    for name, (line, added) in RELEASE.items():
        text = (project / name).read_text()
        assert line in text, f"{name} has no line {line!r} any more"
        (project / name).write_text(text.replace(line, line + added, 1))


def git(project: Path, *arguments: str) -> None:
    person = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    done = subprocess.run(["git", *person, *arguments], cwd=project, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_tutorial_leads_to_a_site_that_works_and_follows_a_new_release(project: Path) -> None:
    git(project, "init", "--quiet", "--initial-branch=upstream")
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "--message=A release")
    git(project, "branch", "site")
    release(project)
    git(project, "commit", "--quiet", "--all", "--message=The next release")
    git(project, "checkout", "--quiet", "site")
    new_site, *others = commands()
    do(project, new_site)
    for path, text in (*blocks("python"), *blocks("html")):
        (project / path).parent.mkdir(parents=True, exist_ok=True)
        (project / path).write_text(text)
    (project / "mysite" / "welcome" / "__init__.py").touch()
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "--message=The site")

    git(project, "merge", "--quiet", "--no-edit", "upstream")
    said = [do(project, command) for command in others]

    assert re.search(r"^5 passed", said[-1], re.MULTILINE)
    assert "the next release" in (project / "templates" / "base.html").read_text()
    check(project)
