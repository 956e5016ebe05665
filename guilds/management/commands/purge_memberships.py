"""`manage.py purge_memberships`: delete lists that were last verified longer ago than anybody needs them."""

from typing import Any

from django.core.management.base import BaseCommand

from guilds import personal_data
from guilds.operations import serving_minutes


class Command(BaseCommand):
    help = (
        "Deletes lists last verified more than DISCORD_MEMBERSHIP_RETENTION_DAYS ago, and the numbers of what was "
        f"served that are older than {serving_minutes.RETENTION.days} days. Run it once a day."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        people, memberships = personal_data.purge_memberships()
        minutes = serving_minutes.purge()
        self.stdout.write(f"Deleted {memberships} memberships of {people} people, and {minutes} rows of numbers.")
