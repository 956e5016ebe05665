"""`manage.py refresh_due_lists`: refresh lists before the people who read them come back."""

import signal
import time
from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

import structlog
from django.core.management.base import BaseCommand
from django.db import InterfaceError, OperationalError

from accounts import background
from guilds.engine.sweep import Round, sweep
from guilds.management.database import errors_in_a_line
from guilds.operations import serving_minutes
from guilds.operations.report import GATE_WORDS, at
from guilds.resources.guild_list import GUILD_LIST

logger = structlog.get_logger(__name__)

ROUND_SECONDS = 60
ENDINGS = {
    **GATE_WORDS,
    "brake": "Discord has refused so many requests that the brake is on",
    "busy": "Readers use up the send budget",
    "unavailable": "Discord gives no usable answer",
    "limit": "That is the limit",
}


def people(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"{text} is no number of people; it takes a whole number from 1")
    return int(text)


class Command(BaseCommand):
    help = (
        "Refreshes the lists that are due of people who read lately, within the send budget. "
        "Runs a round a minute until it is stopped; any number of them may run at once."
    )
    sleep = staticmethod(time.sleep)

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--once", action="store_true", help="One round, one line about it, and the end.")
        parser.add_argument("--limit", type=people, metavar="N", help="Ask for at most N people in a round.")

    def handle(self, *args: Any, once: bool, limit: int | None, **options: Any) -> None:
        serving_minutes.start()
        try:
            if once:
                with errors_in_a_line():
                    self.stdout.write(line_of(sweep(GUILD_LIST, limit=limit, sleep=self.sleep)))
            else:
                self.repeat(limit)
        except KeyboardInterrupt:
            self.stdout.write("Stopped.")

    def repeat(self, limit: int | None) -> None:
        # Stopped like Ctrl-C, at once: what is under way is covered by its lease.
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            self._rounds(limit)
        finally:
            signal.signal(signal.SIGTERM, before)

    def _rounds(self, limit: int | None) -> None:
        while True:
            try:
                sweep(GUILD_LIST, limit=limit, sleep=self.sleep)
            except (OperationalError, InterfaceError) as error:
                # It comes back, and so does the next round.
                logger.error("guild_list_sweep_without_database", error=str(error))
            background.release_connection()
            self.sleep(ROUND_SECONDS)


def line_of(done: Round) -> str:
    """One round in one line, for a terminal or cron's mail."""
    reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(done.failed.items()))
    failed = f"{done.failed.total()} ({reasons})" if reasons else "0"
    line = f"Refreshed {done.refreshed}, failed {failed}, skipped {done.skipped}, left {done.left}."
    if not done.ended:
        return line
    until = f", until {at(done.until)}" if done.until else ""
    return f"{line} {ENDINGS[done.ended]}{until}."
