"""Configuration of the site's own tests. Fixtures for your own tests are in `fixtures`."""

import os

import pytest

# The files of a site: `tests/docs/test_dashboard.py` runs its tests in a copy of the project, in the folder `mysite`.
collect_ignore = ["mysite"]

REQUIRED = os.environ.get("GUILDHALL_REQUIRE", "").split()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--deep", action="store_true", help="the tests that look for ten minutes, and only those")
    parser.addoption("--thorough", action="store_true", help="also the tests that take whole tools, as .ci/run does")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    deep, thorough = config.getoption("deep"), config.getoption("thorough")

    def is_wanted(item: pytest.Item) -> bool:
        return ("deep" in item.keywords) == deep and (thorough or "thorough" not in item.keywords)

    config.hook.pytest_deselected(items=[item for item in items if not is_wanted(item)])
    items[:] = [item for item in items if is_wanted(item)]
