"""How the site's own tests run. What they share with yours is in `fixtures`."""

import os

import pytest

REQUIRED = os.environ.get("GUILDHALL_REQUIRE", "").split()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--deep", action="store_true", help="the tests that look for ten minutes, and only those")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    wanted = config.getoption("--deep")
    config.hook.pytest_deselected(items=[item for item in items if ("deep" in item.keywords) != wanted])
    # Playwright leaves an event loop running, in which other tests could start none of their own: browsers come last.
    items[:] = sorted(
        (item for item in items if ("deep" in item.keywords) == wanted), key=lambda item: "browser" in item.keywords
    )
