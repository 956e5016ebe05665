"""The last run of each scheduled job, recorded alike whether cron, a timer, Celery or an operator started it."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import structlog
from django.core.management.base import BaseCommand
from django.db import Error

from accounts.clock import database_now
from guilds.models import JobRun

logger = structlog.get_logger(__name__)


@contextmanager
def recorded(command: str) -> Iterator[None]:
    """Record the run of the block, which fails if it raises an exception. A run that is killed leaves no record."""
    started_at = _now()
    try:
        yield
    except Exception:
        _store(command, started_at, succeeded=False)
        raise
    _store(command, started_at, succeeded=True)


def _now() -> datetime | None:
    """The database's time; None if it is down, which the job itself reports."""
    try:
        return database_now()
    except Error:
        return None


def _store(command: str, started_at: datetime | None, *, succeeded: bool) -> None:
    if started_at is None:
        return
    try:
        now = database_now()
        values: dict[str, Any] = {"started_at": started_at, "finished_at": now, "succeeded": succeeded}
        if succeeded:
            values["succeeded_at"] = now
        JobRun.objects.update_or_create(command=command, defaults=values)
    except Error as error:
        logger.warning("job_not_recorded", command=command, error=type(error).__name__)


class JobCommand(BaseCommand):
    """A command that is one run of a job. To record another package's command, list this class before that one."""

    def execute(self, *args: Any, **options: Any) -> str | None:
        with recorded(type(self).__module__.rpartition(".")[2]):
            return super().execute(*args, **options)
