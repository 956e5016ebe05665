"""`manage.py change_issuer`: bind the database to another Discord application, or to the sandbox."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.contrib.admin.models import CHANGE

from accounts import gate
from accounts.models import DiscordGate
from guilds.management.operator import OperatorCommand
from guilds.operations import issuer


class Command(OperatorCommand):
    help = "Binds this database to the Discord application in the settings. Needed only if the site refuses to start."

    def add_arguments(self, parser: ArgumentParser) -> None:
        what = parser.add_mutually_exclusive_group(required=True)
        what.add_argument("--forget", action="store_true", help="Delete tokens, lists and the bot's servers.")
        what.add_argument(
            "--keep", action="store_true", help="Keep them, because it is the same application at a different address."
        )

    def handle(self, *args: Any, forget: bool, **options: Any) -> None:
        if gate.foreign_issuer() is None:
            self.stdout.write(f"This database already belongs to {settings.DISCORD_ISSUER}; nothing was changed.")
            return
        forgotten = issuer.change(forget=forget)
        self.acted(
            CHANGE, DiscordGate, 1, f"bound to {settings.DISCORD_ISSUER}, data {'deleted' if forget else 'kept'}"
        )
        signs_in = f" People who have to sign in again: {forgotten}." if forget else ""
        self.stdout.write(f"This database now belongs to {settings.DISCORD_ISSUER}.{signs_in}")
