"""The site as the engine's tests serve it: one part of the engine off or the process's clock wrong, if they say so.

`/_jobs` counts the background jobs of the process, so that a test can tell "still at it" from "done".
"""

import os
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import time_machine

from accounts import background
from config.wsgi import application as django
from tests.engine import ablations

ablations.apply(os.environ.get("GUILDHALL_ABLATE", ""))
if skew := float(os.environ.get("CLOCK_SKEW_SECONDS", "0")):
    time_machine.travel(datetime.now(UTC) + timedelta(seconds=skew), tick=True).start()


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    if environ["PATH_INFO"] == "/_jobs":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [str(running_jobs()).encode()]
    return django(environ, start_response)


def running_jobs() -> int:
    semaphore: Any = background.job_slots._semaphore
    return 0 if semaphore is None else semaphore._initial_value - semaphore._value
