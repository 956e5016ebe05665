"""`manage.py after_restore`: correct a database that was restored from a backup."""

import sys
from argparse import ArgumentParser
from datetime import datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.admin.models import CHANGE
from django.core.management.base import CommandError

from accounts.deletions import Deletion, UnreadableEntry, entries
from accounts.limits import Gate
from accounts.models import User
from accounts.tokens import revoker
from guilds.management.commands.purge_memberships import MAX_REVOCATION_WAIT
from guilds.management.operator import OperatorCommand
from guilds.operations import restore
from guilds.operations.report import REASON_WORDS


class Command(OperatorCommand):
    help = (
        "Corrects a database that was restored from a backup: deletes again the people and access tokens that were "
        "deleted since, ends all sessions, makes fresh lists stale, and resets leases and the gate. Run it before the "
        "site starts; it can be repeated."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        lists = parser.add_mutually_exclusive_group()
        lists.add_argument(
            "deletions",
            nargs="*",
            default=[],
            metavar="FILE",
            help="Lists of deletions, or the site's log in JSON; - reads from standard input. "
            f"The default is DELETIONS_LOG, {settings.DELETIONS_LOG}.",
        )
        lists.add_argument(
            "--no-deletions", action="store_true", help="There is no list; people deleted since the backup come back."
        )
        parser.add_argument("--dry-run", action="store_true", help="Say what would change, and change nothing.")

    def handle(self, *args: Any, deletions: list[str], no_deletions: bool, dry_run: bool, **options: Any) -> None:
        files = [] if no_deletions else deletions or [str(settings.DELETIONS_LOG)]
        listed = sorted(entry for file in files for entry in self._read(file))
        try:
            done = restore.correct(listed, dry_run=dry_run)
        except restore.SchemaOutdated:
            raise CommandError("The backup is from an earlier release. Run ./run prepare first.") from None
        self._say(listed, done, dry_run=dry_run)
        if not dry_run:
            self.acted(CHANGE, None, None, "corrected a restored backup")
            revoker.finish(MAX_REVOCATION_WAIT)
        if done.undeletable:
            names = ", ".join(map(_name, done.undeletable))
            raise CommandError(
                f"The list of deletions names the only superuser of the backup, {names}. Create another one with "
                "./run manage createsuperuser, and run this command again."
            )

    def _read(self, file: str) -> list[Deletion]:
        try:
            return entries(sys.stdin if file == "-" else Path(file).read_text(encoding="utf-8").splitlines())
        except OSError as error:
            raise CommandError(
                f"The list of deletions {file} can't be read: {error.strerror}. Name the files of all machines, or use "
                "--no-deletions if there is none."
            ) from None
        except UnreadableEntry as error:
            raise CommandError(f"A line of {file} can't be read. Complete it, or remove it: {error}") from None

    def _say(self, listed: list[Deletion], done: restore.Corrected, *, dry_run: bool) -> None:
        between = f", from {_day(listed[0].at)} to {_day(listed[-1].at)}" if listed else ""
        operators = User.objects.filter(is_staff=True, is_active=True).order_by("username")
        if dry_run:
            self.stdout.write("Dry run: nothing was changed. Without --dry-run, it would be:")
        for line in (
            f"Entries in the list of deletions: {len(listed):,}{between}.",
            f"People deleted again: {done.people:,}.",
            f"Access tokens revoked again: {done.access_tokens:,}.",
            f"Sessions ended: {done.sessions:,}.",
            f"Fresh answers of Discord made stale: {done.records:,}.",
            f"Leases released: {done.leases:,}.",
            f"Gate: {_gate(done.gate)}.",
            f"Operators, whose rights are those of the backup: {', '.join(map(_name, operators)) or 'none'}.",
        ):
            self.stdout.write(line)


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _gate(gate: Gate) -> str:
    until = gate.until if gate.streak else None
    return f"shut until {_day(until)}: {REASON_WORDS.get(gate.reason, gate.reason)}" if until else "open"


def _name(user: User) -> str:
    return f"{user.discord_username or user.username} (number {user.pk})"
