"""`manage.py sync_bot_guilds`: read from Discord which servers the bot is in."""

from argparse import ArgumentParser
from datetime import datetime, timedelta
from typing import Any

from django.core.management.base import CommandError

from accounts import gate
from accounts.clock import database_now
from accounts.limits import Reason
from guilds.engine import freshness, policy
from guilds.engine.freshness import Tier
from guilds.engine.policy import Served
from guilds.engine.refusal import NoAnswer
from guilds.listing import bot
from guilds.models import BotGuild
from guilds.operations import serving_minutes
from guilds.operations.jobs import JobCommand
from guilds.operations.report import REASON_WORDS, at
from guilds.resources.bot_guilds import ALL_GUILDS, BOT_GUILDS


class Command(JobCommand):
    help = (
        "Fetches all of the bot's servers once, and waits for the result. Pages that show the bot fetch them when they "
        "are due, so schedule it only if you want them more recent. Several instances can run at once."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--if-due", action="store_true", help="Do nothing while the stored list is recent enough for readers."
        )

    def handle(self, *args: Any, if_due: bool, **options: Any) -> None:
        serving_minutes.start()
        if not bot.has_token():
            raise CommandError("DISCORD_BOT_TOKEN is not set, so this site has no bot.")
        if problem := gate.foreign_issuer():
            raise CommandError(problem)
        if if_due and (verified_at := _verified_if_fresh()):
            self.stdout.write(f"Listed at {at(verified_at)}; not due yet.")
            return
        before = _present()
        timeout = BOT_GUILDS.windows().lease.total_seconds()
        try:
            Served.of(policy.read(BOT_GUILDS, ALL_GUILDS, max_age=timedelta(0), timeout=timeout))
        except NoAnswer as error:
            raise CommandError(_why(error)) from None
        after = _present()
        counts = f"{len(after - before)} new, {len(before - after)} left"
        self.stdout.write(f"The bot is in {len(after)} servers ({counts}).")


def _verified_if_fresh() -> datetime | None:
    """Return when the list was verified, unless it is due."""
    record, now = BOT_GUILDS.read(ALL_GUILDS)
    is_fresh = freshness.tier(record, now, BOT_GUILDS.windows()) is Tier.FRESH
    return record.verified_at if is_fresh else None


def _present() -> set[int]:
    return set(BotGuild.objects.filter(deleted_at=None).values_list("pk", flat=True))


def _why(error: NoAnswer) -> str:
    if error.reason is Reason.SITE_REFUSED:
        return "Discord rejects DISCORD_BOT_TOKEN; nothing was changed. Copy it again from the developer portal."
    until = at(database_now() + timedelta(seconds=error.retry_after or 0))
    return f"Nothing was changed: {REASON_WORDS.get(error.reason, error.reason)}; try again after {until}."
