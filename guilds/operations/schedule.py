"""The commands to run again and again, as cron and Celery's beat need them."""

import shlex
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
# When the commands run that run once a day: (hour, minute).
NIGHT = (4, 10)


@dataclass(frozen=True, slots=True)
class Job:
    """A command, how often to run it, and the age of its last success from which it is overdue."""

    command: str
    interval: timedelta
    overdue: timedelta
    arguments: tuple[str, ...] = ()


# The commands that docs/production.md says to schedule. They are overdue as in the alerts of docs/monitoring.md.
COMMANDS = {
    job.command: job
    for job in (
        Job("refresh_due_lists", MINUTE, 30 * MINUTE, ("--once",)),
        Job("sync_bot_guilds", 5 * MINUTE, 30 * MINUTE, ("--if-due",)),
        *(Job(command, DAY, 26 * HOUR) for command in ("purge_memberships", "clearsessions", "clearsocial")),
    )
}


def jobs() -> dict[str, Job]:
    """Return what this site needs: `COMMANDS` and `SCHEDULED_COMMANDS`, which are overdue when they missed a turn."""
    ours = {name: job for name, job in COMMANDS.items() if name != "sync_bot_guilds" or settings.DISCORD_BOT_TOKEN}
    theirs = {
        command: Job(command, interval, 2 * interval, COMMANDS[command].arguments if command in COMMANDS else ())
        for command, interval in settings.SCHEDULED_COMMANDS.items()
    }
    return ours | theirs


def crontab() -> str:
    """Return the lines of a crontab for all jobs."""
    folder = shlex.quote(str(settings.BASE_DIR))
    lines = [
        f"{cron_time(job.interval):<12} cd {folder} && ./run manage {shlex.join([job.command, *job.arguments])}"
        for job in jobs().values()
    ]
    # cron takes a bare "%" for the end of the command.
    return "\n".join(lines).replace("%", r"\%")


def cron_time(interval: timedelta) -> str:
    """Return when cron runs a job of that interval: at the longest interval that cron knows and that isn't longer."""
    hour, minute = NIGHT
    if interval < HOUR:
        return f"{_every(_longest(interval, MINUTE, (30, 20, 15, 12, 10, 6, 5, 4, 3, 2, 1)))} * * * *"
    if interval < DAY:
        return f"0 {_every(_longest(interval, HOUR, (12, 8, 6, 4, 3, 2, 1)))} * * *"
    return f"{minute} {hour} {_every(min(interval // DAY, 28))} * *"


def _longest(interval: timedelta, unit: timedelta, divisors: tuple[int, ...]) -> int:
    return next((count for count in divisors if count * unit <= interval), 1)


def _every(count: int) -> str:
    return "*" if count == 1 else f"*/{count}"
