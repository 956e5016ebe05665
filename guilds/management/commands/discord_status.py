"""`manage.py discord_status`: show the site's status with Discord, and what to do about problems."""

import json
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from guilds.operations import report, status
from guilds.operations.verdict import exit_code


class Command(BaseCommand):
    help = (
        "Reports the state of the site's connection to Discord: a verdict and the facts behind it. Sends no request to "
        "Discord. The exit code is 0 if all is well, 1 for a warning, and 2 if visitors get no list or the settings "
        "are wrong."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="Print JSON.")

    def handle(self, *args: Any, json: bool, **options: Any) -> None:
        found = status.read()
        self.stdout.write(as_json(found) if json else report.as_text(found))
        if code := exit_code(found.facts):
            sys.exit(code)


def as_json(found: status.Status) -> str:
    return json.dumps(report.as_dict(found), indent=2)
