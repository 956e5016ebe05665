"""A whole dashboard, built with the documented names alone, passes its tests and all checks beside the project."""

import re
import shutil
from pathlib import Path

import pytest

from tests.docs.conftest import ROOT, check, do

SITE = ROOT / "tests" / "mysite"


@pytest.mark.thorough
def test_a_whole_dashboard_is_in_order(project: Path) -> None:
    do(project, ["-m", "config.mysite", "Chess club"])
    shutil.copytree(SITE, project / "mysite", dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))

    said = do(project, ["-m", "pytest", "-q", "--numprocesses=0", "mysite"])

    assert re.search(r"^\d+ passed in", said, re.MULTILINE)
    check(project)
