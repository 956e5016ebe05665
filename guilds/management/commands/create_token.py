"""`manage.py create_token`: create a token for one of the site's own programs, or replace it without a pause."""

from argparse import ArgumentParser, ArgumentTypeError
from datetime import timedelta
from typing import Any

from django.contrib.admin.models import ADDITION
from django.core.management.base import CommandError

from accounts import service_tokens, token_scopes
from accounts.models import ServiceToken
from guilds.management.operator import OperatorCommand, operator

# Days or hours.
MAX_SPAN = 100_000


class Command(OperatorCommand):
    help = (
        "Prints a new service token, once. Earlier tokens with the same name stay valid until they are revoked, "
        "or for as long as --overlap-hours."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", metavar="NAME", help="The program that uses the token, such as bot.")
        parser.add_argument(
            "--scope",
            dest="scopes",
            metavar="SCOPE",
            action="extend",
            nargs="+",
            default=[],
            help="What the token may do. Without it, the same as the newest token of that name.",
        )
        parser.add_argument("--expires-days", type=_days, metavar="N", help="Without it, the token doesn't expire.")
        parser.add_argument(
            "--overlap-hours",
            type=_hours,
            metavar="N",
            help="End earlier tokens of that name after so many hours; 0 ends them at once.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        name, days, hours = options["name"], options["expires_days"], options["overlap_hours"]
        try:
            row, token = service_tokens.create(
                name,
                options["scopes"],
                lifetime=None if days is None else timedelta(days=days),
                overlap=None if hours is None else timedelta(hours=hours),
                by=operator(),
            )
        except service_tokens.WrongName:
            raise CommandError("NAME may have a-z, 0-9, dots, hyphens and underscores, up to 64 in all.") from None
        except (token_scopes.UnknownScopes, token_scopes.PersonalScopes) as error:
            raise CommandError(str(error)) from None
        except service_tokens.NoScopes:
            names = ", ".join(sorted(token_scopes.for_services()))
            raise CommandError(f"Name what the token may do, with --scope. Scopes for services: {names}.") from None
        except service_tokens.TooManyValid:
            raise CommandError(
                f"Two tokens of {name} are valid already. Revoke one with ./run manage service_tokens --revoke N, or "
                "end both at once with --overlap-hours 0."
            ) from None
        self.acted(ADDITION, ServiceToken, row.pk, f"for {row.name}")
        # Only the token goes to standard output, so that a script can read it.
        self.stderr.write(f"Token {row.pk} of {name}, with {', '.join(row.scopes)}. It is shown only now:")
        self.stdout.write(token)


def _days(text: str) -> int:
    return _between(1, text)


def _hours(text: str) -> int:
    return _between(0, text)


def _between(least: int, text: str) -> int:
    """Return the number in `text`. Much larger ones lead beyond the year 9999, where dates end."""
    if not text.isdecimal() or not least <= int(text) <= MAX_SPAN:
        raise ArgumentTypeError(f"it must be a number from {least} to {MAX_SPAN}")
    return int(text)
