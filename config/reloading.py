"""Restarts of `./run dev` after a mistake: it stays while the settings or a module can't be loaded, until a change."""

import os
import sys
import time
from pathlib import Path
from typing import NoReturn

from django.utils.autoreload import BaseReloader

from config.mysite import FOLDER

ROOT = FOLDER.parent
UNUSED = {"bench", "tests", "var"}  # the server imports nothing of these

# Django's reloader marks the process that it restarts, and restarts it after this status.
MARK, RESTART = "RUN_MAIN", 3


def is_reloaded() -> bool:
    """Whether this process serves `./run dev`, and isn't its first start, which may fail."""
    return os.environ.get(MARK) == "true"


def restart_after_a_change(since: float) -> NoReturn:
    """Wait until a module beside the settings, or of the site, is newer than this time, then let Django start anew."""
    while _newest() <= since:
        time.sleep(0.5)
    sys.exit(RESTART)


def watch_failed_modules(sender: BaseReloader, **kwargs: object) -> None:
    """Let Django's reloader watch all modules of the project and the site. It sends `autoreload_started` to this.

    By itself, it watches those that were imported, and the one that raised. If that is ours, because it refused a
    mistake in another, the change that corrects the mistake wouldn't be noticed.
    """
    for folder in ROOT.glob("[!.]*/"):
        # A virtual environment has more modules than can be looked at each second.
        if folder.name not in UNUSED and not (folder / "pyvenv.cfg").exists():
            modules = folder.rglob("*.py")
            sender.extra_files.update(path for path in modules if UNUSED.isdisjoint(path.relative_to(ROOT).parts))


def _newest() -> float:
    modules = [path for folder in (Path(__file__).parent, FOLDER) for path in folder.rglob("*.py")]
    # An editor may replace a file at this moment.
    return max(path.stat().st_mtime for path in modules if path.exists())
