"""`manage.py crontab`: print the scheduled commands as the lines of a crontab."""

from typing import Any

from django.core.management.base import BaseCommand

from guilds.operations import schedule


class Command(BaseCommand):
    help = "Prints the lines of a crontab that runs the scheduled commands, those in SCHEDULED_COMMANDS too."

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(schedule.crontab())
