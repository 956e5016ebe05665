"""What `./run dev` does while the settings can't be loaded: it stays, and the next change restarts it."""

import os
import sys
import time
from pathlib import Path
from typing import NoReturn

from config.mysite import FOLDER

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


def _newest() -> float:
    modules = [path for folder in (Path(__file__).parent, FOLDER) for path in folder.rglob("*.py")]
    # An editor may replace a file at this moment.
    return max(path.stat().st_mtime for path in modules if path.exists())
