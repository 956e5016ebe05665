"""Scheduled work through Celery: beat schedules the management commands, and workers run them.

No data depends on it. The next run or the next reader does any work that is late or lost, and runs may overlap,
because leases, the gate and the send budget are in the database.
"""

import os
from io import StringIO
from typing import Any

import structlog
from celery import Celery
from celery.schedules import crontab
from celery.signals import setup_logging
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.db import Error

from accounts import database
from config import task_traces  # noqa: F401 - connects the receivers of signals
from config.keys import private_folder
from guilds.operations import schedule

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
logger = structlog.get_logger(__name__)


# A name instead of a command, so that write access to the broker doesn't allow arbitrary commands.
JOBS = {job.command.replace("_", "-"): job for job in schedule.jobs().values()}

if not settings.CELERY_BROKER_URL:
    raise ImproperlyConfigured("CELERY_BROKER_URL is empty, and so is REDIS_URL: Celery needs a broker.")

# Beat keeps its schedule there, perhaps on a machine where the site never ran.
private_folder(settings.VAR_DIR)
app = Celery("guildhall", broker=settings.CELERY_BROKER_URL)
# For all threads of the web process, and not only for the one that imports this.
app.set_default()
# The modules `tasks` of all apps.
app.autodiscover_tasks()
app.conf.update(
    task_ignore_result=True,
    task_serializer="json",
    accept_content=["json"],
    # A worker prefetches no jobs, so that none waits behind a sweep, which may take a minute.
    worker_prefetch_multiplier=1,
    task_soft_time_limit=30 * 60,
    broker_connection_retry_on_startup=True,
    beat_schedule_filename=str(settings.VAR_DIR / "celery-beat"),
    beat_schedule={
        name: {
            "task": "guildhall.run",
            "schedule": crontab(*reversed(schedule.NIGHT)) if job.interval == schedule.DAY else job.interval,
            "args": [name],
            # From then on, the next run makes it redundant.
            "options": {"expires": 0.9 * job.interval.total_seconds()},
        }
        for name, job in JOBS.items()
    },
)


@setup_logging.connect  # type: ignore[untyped-decorator]  # Celery has no types
def keep_our_logging(**_: Any) -> None:
    """Keep the logging of Django's settings: Celery sets up its own only if this signal has no receiver."""


@app.task(name="guildhall.run", shared=False)  # type: ignore[untyped-decorator]  # as above
def run(name: str) -> None:
    """Run one of `JOBS` and log its output or why it failed."""
    said, job = StringIO(), JOBS[name]
    try:
        call_command(job.command, *job.arguments, stdout=said)
    except CommandError as error:
        logger.error("scheduled_work_failed", job=name, error=str(error))
    except Error as error:
        reason = database.explain(error)
        if reason is None:
            raise
        logger.error("scheduled_work_failed", job=name, error=reason)
    else:
        logger.info("scheduled_work_done", job=name, said=said.getvalue().strip())
