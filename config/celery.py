"""Scheduled work through Celery: a beat that says when, and workers that run the management commands.

Nothing depends on it. Whatever is late or lost is done by the next run or by the next reader, and any number of runs
may overlap: leases, the gate and the send budget are in the database.
"""

import os
from dataclasses import dataclass
from datetime import timedelta
from io import StringIO
from typing import Any

import structlog
from celery import Celery
from celery.schedules import crontab
from celery.signals import setup_logging
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """A command, when it runs, and how long it may lie in the queue: an older one would only repeat a younger one."""

    command: tuple[str, ...]
    schedule: timedelta | crontab
    expires: timedelta


MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
NIGHTLY = (("purge_memberships",), ("clearsessions",), ("clearsocial",))
JOBS = {
    "refresh-due-lists": Job(("refresh_due_lists", "--once"), MINUTE, 0.9 * MINUTE),
    "sync-bot-guilds": Job(("sync_bot_guilds",), 5 * MINUTE, 4 * MINUTE),
    **{command[0].replace("_", "-"): Job(command, crontab(hour="4", minute="10"), 12 * HOUR) for command in NIGHTLY},
}

if not settings.CELERY_BROKER_URL:
    raise ImproperlyConfigured("CELERY_BROKER_URL is empty, and so is REDIS_URL: Celery needs a broker.")

app = Celery("guildhall", broker=settings.CELERY_BROKER_URL)
app.conf.update(
    task_ignore_result=True,
    task_serializer="json",
    accept_content=["json"],
    # A worker takes one job at a time: a sweep may last a minute, and others needn't wait behind it.
    worker_prefetch_multiplier=1,
    task_soft_time_limit=30 * 60,
    broker_connection_retry_on_startup=True,
    beat_schedule_filename=str(settings.VAR_DIR / "celery-beat"),
    beat_schedule={
        name: {
            "task": "guildhall.run",
            "schedule": job.schedule,
            "args": [name],
            "options": {"expires": job.expires.total_seconds()},
        }
        for name, job in JOBS.items()
        if name != "sync-bot-guilds" or settings.DISCORD_BOT_TOKEN
    },
)


@setup_logging.connect  # type: ignore[untyped-decorator]  # Celery has no types
def keep_our_logging(**_: Any) -> None:
    """Whoever answers this signal sets up logging in Celery's stead: Django's settings did."""


@app.task(name="guildhall.run", shared=False)  # type: ignore[untyped-decorator]  # as above
def run(name: str) -> None:
    """Run one of `JOBS`; its last word, or why it could not be done, is a line in the log.

    By name and not by command: who can write to the broker may not run any command there is.
    """
    said = StringIO()
    try:
        call_command(*JOBS[name].command, stdout=said)
    except CommandError as error:
        logger.error("scheduled_work_failed", job=name, error=str(error))
    else:
        logger.info("scheduled_work_done", job=name, said=said.getvalue().strip())
