"""Provides the fixtures of docs/testing.md to all tests, and runs files in parallel."""

import gc
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from xdist.scheduler import LoadScopeScheduling

pytest_plugins = ["tests.fixtures"]

# The tests of the site run apart from those of the project, with the site's settings: see `tests.settings`.
collect_ignore = [] if settings.MYSITE else ["mysite"]

# Tests in these folders share processes that take seconds to start, so one worker runs all tests of a folder.
TOGETHER = ("tests/browser/", "tests/engine/")

# The longest proofs of a folder in `TOGETHER` that don't use the site of its other files. Another worker can run them
# at the same time.
APART = tuple(
    f"tests/browser/test_{name}.py" for name in ("every_state", "journey", "required", "roles", "sandbox_pages")
)

# The tests of these files share no process at all.
SINGLE = ("tests/engine/test_machine.py",)

# Few tests that take long: each starts the project in processes of its own, or in a copy.
LONG = ("tests/docs/", "tests/ops/", "tests/config/test_dev.py", "tests/config/test_run.py")


class Scheduling(LoadScopeScheduling):
    """Distributes whole files, whose tests share what they load once, such as the admin's pages.

    Those in `TOGETHER` start first because they take longest, then `LONG`, then the files with the most tests.
    """

    def _assign_work_unit(self, node: Any) -> None:
        first = min(self.workqueue, key=lambda scope: (not scope.startswith(TOGETHER), not scope.startswith(LONG)))
        self.workqueue.move_to_end(first, last=False)
        super()._assign_work_unit(node)

    def _split_scope(self, nodeid: str) -> str:
        if nodeid.startswith(SINGLE):
            return nodeid
        folder = next((folder for folder in TOGETHER if nodeid.startswith(folder)), nodeid.partition("::")[0])
        return f"{folder} apart" if nodeid.startswith(APART) else folder


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Turn garbage collection off while tests are collected: the new objects live as long as the process."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling:
    return Scheduling(config, log)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Use two workers more than there are cores, as tests often wait for processes, and none for a single file."""
    paths = [Path(argument.split("::")[0]) for argument in config.args]
    if config.getoption("deep", False) or all(path.is_file() for path in paths):
        return 0
    return 2 + (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
