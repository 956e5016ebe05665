"""`manage.py service_tokens`: list the tokens of the site's own programs, and `--revoke` to end one at once."""

from argparse import ArgumentParser
from datetime import datetime
from typing import Any

from django.contrib.admin.models import DELETION
from django.core.management.base import CommandError

from accounts import service_tokens
from accounts.clock import database_now
from accounts.models import ServiceToken
from guilds.management.operator import OperatorCommand, operator


class Command(OperatorCommand):
    help = "Lists the service tokens, without the tokens themselves. --revoke ends one at once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--revoke", type=int, metavar="N", help="The number of the token to revoke.")

    def handle(self, *args: Any, revoke: int | None, **options: Any) -> None:
        if revoke is not None:
            if not service_tokens.revoke(ServiceToken.objects.filter(pk=revoke), by=operator()):
                raise CommandError(f"There is no service token {revoke}.")
            self.acted(DELETION, ServiceToken, revoke, "revoked")
            self.stdout.write(f"Revoked token {revoke}.")
            return
        now = database_now()
        for row in ServiceToken.objects.order_by("name", "-created_at"):
            used = f"last used {_at(row.last_used_at)}" if row.last_used_at else "never used"
            facts = f"created {_at(row.created_at)}, {used}, {_end(row, now)}"
            self.stdout.write(f"{row.pk}: {row.name}, {', '.join(row.scopes)}; {facts}")


def _end(row: ServiceToken, now: datetime) -> str:
    if row.expires_at is None:
        return "doesn't expire"
    return f"{'expires' if row.expires_at > now else 'expired'} {_at(row.expires_at)}"


def _at(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
