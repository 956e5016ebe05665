"""`manage.py keys`: which key still seals or signs how much, and `--reseal` to seal all of it with the first."""

from argparse import ArgumentParser
from typing import Any

from django.contrib.admin.models import CHANGE

from guilds.management.operator import OperatorCommand
from guilds.operations import keys


class Command(OperatorCommand):
    help = (
        "Counts the tokens that each key of TOKEN_KEYS encrypts and the sessions that SECRET_KEY and its fallbacks "
        "sign. --reseal encrypts and signs all of them with the first key; the site can keep running."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--reseal", action="store_true", help="Encrypt and sign everything again with the first key."
        )

    def handle(self, *args: Any, reseal: bool, **options: Any) -> None:
        for what, use in (("tokens", keys.tokens(reseal=reseal)), ("sessions", keys.sessions(reseal=reseal))):
            for place, name in enumerate(use.names):
                self.stdout.write(f"{name}: {use.counts[place]:,} {what}{self._advice(place, use.counts[place])}")
            self.stdout.write(f"no key opens: {use.counts[keys.NO_KEY]:,} {what}")
            if reseal:
                self.acted(CHANGE, None, None, f"resealed {use.resealed} {what}")
                self.stdout.write(f"resealed: {use.resealed:,} {what}")

    @staticmethod
    def _advice(place: int, count: int) -> str:
        return " (can be removed, if no machine has it first)" if place and not count else ""
