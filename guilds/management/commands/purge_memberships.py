"""`manage.py purge_memberships`: delete data past its retention: lists, inactive people, counts."""

from typing import Any

from accounts.tokens import revoker
from guilds import personal_data
from guilds.operations import serving_minutes
from guilds.operations.jobs import JobCommand
from guilds.resources.directory import DIRECTORY
from guilds.resources.guild_list import GUILD_LIST
from guilds.resources.member import MEMBER

# Seconds. Revocations that Discord has not confirmed by then are dropped, and the log says so.
MAX_REVOCATION_WAIT = 120.0


class Command(JobCommand):
    help = (
        "Deletes lists, people's roles, and servers' roles and channels last verified more than "
        "DISCORD_MEMBERSHIP_RETENTION_DAYS ago, everything about people who have not signed in for "
        "DISCORD_ACCOUNT_RETENTION_DAYS days, and usage counts older than "
        f"{serving_minutes.RETENTION.days} days. Run it once a day."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        records, memberships = personal_data.purge_memberships()
        forgotten = personal_data.forget_inactive()
        minutes = serving_minutes.purge()
        self.stdout.write(
            f"Deleted {memberships} memberships of {records[GUILD_LIST.name]} people, the roles of "
            f"{records[MEMBER.name]} members, the roles and channels of {records[DIRECTORY.name]} servers, and "
            f"{minutes} rows of usage counts."
        )
        if forgotten:
            self.stdout.write(f"Inactive people whose data was deleted: {forgotten}.")
        revoker.finish(MAX_REVOCATION_WAIT)
