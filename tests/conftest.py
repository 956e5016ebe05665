"""Configuration of the site's own tests. Fixtures for your own tests are in `fixtures`."""

import os
from pathlib import Path

import pytest

# The files of a site: `tests/docs/test_dashboard.py` runs its tests in a copy of the project, in the folder `mysite`.
collect_ignore = ["mysite"]

REQUIRED = os.environ.get("GUILDHALL_REQUIRE", "").split()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--deep", action="store_true", help="the tests that look for ten minutes, and only those")
    parser.addoption("--thorough", action="store_true", help="also the longest proofs, as .ci/run does")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    deep, thorough = config.getoption("deep"), config.getoption("thorough")
    # A file that is named runs whole.
    named = {Path(argument.partition("::")[0]).resolve() for argument in config.args}

    def is_wanted(item: pytest.Item) -> bool:
        is_short = "thorough" not in item.keywords or item.path in named
        return ("deep" in item.keywords) == deep and (thorough or is_short)

    config.hook.pytest_deselected(items=[item for item in items if not is_wanted(item)])
    items[:] = [item for item in items if is_wanted(item)]
