"""Every folder with tests has the fixtures of docs/testing.md; a run of more than one file is spread over workers."""

import os
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

pytest_plugins = ["tests.fixtures"]

# Their tests share processes that take seconds to start: one worker starts them, and runs all of these tests.
TOGETHER = ("tests/browser/", "tests/engine/")


class Scheduling(LoadScopeScheduling):
    """Each test for itself, but for those of `TOGETHER`, which begin first because they take longest."""

    def _split_scope(self, nodeid: str) -> str:
        return next((folder for folder in TOGETHER if nodeid.startswith(folder)), nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling:
    return Scheduling(config, log)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One worker more than there are cores, because tests often wait for other processes; none for a single file."""
    paths = [Path(argument.split("::")[0]) for argument in config.args]
    if config.getoption("deep", False) or all(path.is_file() for path in paths):
        return 0
    return len(os.sched_getaffinity(0)) + 1 if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1) + 1
