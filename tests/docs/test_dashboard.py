"""A whole dashboard, built with the documented names alone, passes its tests and all checks beside the project."""

import os
import re
import shutil
from pathlib import Path

import pytest

from tests.docs.conftest import ROOT, check, do
from tests.docs.test_tutorial import blocks

SITE = ROOT / "tests" / "mysite"
# Tests of the project that would notice strings, settings, endpoints or models of the site where they don't belong.
TESTS = [
    "tests/config/test_translations.py",
    "tests/config/test_settings.py",
    "tests/guilds/test_api_schema.py",
    "tests/guilds/test_export.py",
]


def add_tutorial(project: Path) -> None:
    """Add the tutorial's app to the site, and its settings and URLs under names of their own."""
    for path, text in blocks("python"):
        file = project / path
        file.parent.mkdir(parents=True, exist_ok=True)
        (file.with_name(f"tutorial_{file.name}") if file.exists() else file).write_text(text)
    (project / "mysite" / "welcome" / "__init__.py").touch()
    with (project / "mysite" / "settings.py").open("a") as settings:
        settings.write('INSTALLED_APPS += ["mysite.welcome"]\n')


@pytest.mark.thorough
def test_a_whole_dashboard_is_in_order(project: Path) -> None:
    do(project, ["-m", "config.mysite", "Chess club"])
    shutil.copytree(SITE, project / "mysite", dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))

    said = do(project, ["-m", "pytest", "-q", "--numprocesses=0", "mysite"])

    assert re.search(r"^\d+ passed in", said, re.MULTILINE)
    check(project)
    do(project, ["-m", "pytest", "-q", "--numprocesses=0", *TESTS])
    # The tutorial's code too: mypy needs 13 seconds for the project, and hardly more for two apps.
    add_tutorial(project)
    do(project, ["-m", "mypy", "mysite", f"--cache-dir={os.devnull}"])
