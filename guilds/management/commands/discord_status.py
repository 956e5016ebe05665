"""`manage.py discord_status`: how the site stands with Discord, and what to do about it."""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from guilds.management.database import errors_in_a_line
from guilds.operations import report, status


class Command(BaseCommand):
    help = "Says how the site stands with Discord: a verdict, then what it rests on. Looking never asks Discord."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="The same for programs.")

    def handle(self, *args: Any, json: bool, **options: Any) -> None:
        with errors_in_a_line():
            found = status.read()
        self.stdout.write(as_json(found) if json else report.as_text(found))


def as_json(found: status.Status) -> str:
    return json.dumps(report.as_dict(found), indent=2)
