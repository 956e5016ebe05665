"""`manage.py refresh_due_lists`: refresh due lists before their readers come back."""

import signal
import time
from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

import structlog
from django.core.management.base import BaseCommand, CommandError
from django.db import Error

from accounts import background, gate
from accounts.database import is_unavailable
from guilds.engine.resource import Resource
from guilds.engine.sweep import Round, sweep
from guilds.operations import serving_minutes
from guilds.operations.jobs import recorded
from guilds.operations.report import REASON_WORDS, at
from guilds.resources import ALL
from guilds.resources.guild_list import GUILD_LIST

logger = structlog.get_logger(__name__)

ROUND_SECONDS = 60
ENDINGS = {**REASON_WORDS, "limit": "Reached --limit"}


def people(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"{text} isn't a valid number of people; use a whole number, at least 1")
    return int(text)


class Command(BaseCommand):
    help = (
        "Refreshes the due lists of people who were active recently, within the send budget. "
        "Runs one round a minute until it is stopped. Several instances can run at once."
    )
    sleep = staticmethod(time.sleep)

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--once", action="store_true", help="Run one round, print one line about it, and exit.")
        parser.add_argument("--limit", type=people, metavar="N", help="Refresh at most N people's lists in a round.")

    def handle(self, *args: Any, once: bool, limit: int | None, **options: Any) -> None:
        serving_minutes.start()
        try:
            if once:
                if problem := gate.foreign_issuer():
                    raise CommandError(problem)
                for resource, done in self._round(limit):
                    if resource is GUILD_LIST:
                        self.stdout.write(line_of(done))
                    elif done.asked or done.left:
                        self.stdout.write(f"{resource.name}: {line_of(done)}")
            else:
                self.repeat(limit)
        except KeyboardInterrupt:
            self.stdout.write("Stopped.")

    def repeat(self, limit: int | None) -> None:
        # Stop at once, as on Ctrl-C: the lease covers a request in flight.
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            self._rounds(limit)
        finally:
            signal.signal(signal.SIGTERM, before)

    def _round(self, limit: int | None) -> list[tuple[Resource[Any, Any], Round]]:
        with recorded("refresh_due_lists"):
            return [(resource, sweep(resource, limit=limit, sleep=self.sleep)) for resource in swept()]

    def _rounds(self, limit: int | None) -> None:
        while True:
            try:
                self._round(limit)
            except Error as error:
                if not is_unavailable(error):
                    raise
                # The next round tries again.
                logger.error("guild_list_sweep_without_database", error=str(error))
            background.release_connection()
            self.sleep(ROUND_SECONDS)


def swept() -> list[Resource[Any, Any]]:
    return [resource for resource in ALL if resource.is_enabled()]


def line_of(done: Round) -> str:
    """Summarize one round in one line, for a terminal or cron's e-mail."""
    reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(done.failed.items()))
    failed = f"{done.failed.total()} ({reasons})" if reasons else "0"
    line = f"Refreshed {done.refreshed}, failed {failed}, skipped {done.skipped}, left {done.left}."
    if not done.ended:
        return line
    until = f", until {at(done.until)}" if done.until else ""
    return f"{line} {ENDINGS.get(done.ended, done.ended)}{until}."
