"""Configuration of the site's own tests. Fixtures for your own tests are in `fixtures`."""

import os
import re
from pathlib import Path

import pytest

# The files of a site: `tests/docs/test_dashboard.py` runs its tests in a copy of the project, in the folder `mysite`.
collect_ignore = ["mysite"]

# Matches the `pytestmark` of a file whose tests are all thorough.
THOROUGH = re.compile(r"^pytestmark = .*\bpytest\.mark\.thorough\b", re.MULTILINE)

REQUIRED = os.environ.get("GUILDHALL_REQUIRE", "").split()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--deep", action="store_true", help="the tests that look for ten minutes, and only those")
    parser.addoption("--thorough", action="store_true", help="also the longest proofs, as .ci/run does")


def named(config: pytest.Config) -> set[Path]:
    """Return the paths in the arguments. A file that is named runs whole."""
    return {Path(argument.partition("::")[0]).resolve() for argument in config.args}


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out files without a wanted test: importing one takes longer than many tests."""
    if collection_path.suffix != ".py" or config.getoption("thorough") or collection_path in named(config):
        return None
    return True if THOROUGH.search(collection_path.read_text()) else None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    deep, thorough, whole = config.getoption("deep"), config.getoption("thorough"), named(config)

    def is_wanted(item: pytest.Item) -> bool:
        is_short = "thorough" not in item.keywords or item.path in whole
        return ("deep" in item.keywords) == deep and (thorough or is_short)

    config.hook.pytest_deselected(items=[item for item in items if not is_wanted(item)])
    items[:] = [item for item in items if is_wanted(item)]
