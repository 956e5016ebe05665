"""`manage.py sync_bot_guilds`: read from Discord which servers the bot is in."""

import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts.discord import DiscordAPIError, Unauthorized
from accounts.limits import GateShut
from guilds import bot
from guilds.management.commands.refresh_due_lists import ENDINGS
from guilds.management.database import errors_in_a_line
from guilds.operations import serving_minutes
from guilds.operations.report import at


class Command(BaseCommand):
    help = "Reads all servers of the bot from Discord, once. Schedule it every few minutes; any number may run at once."
    sleep = staticmethod(time.sleep)

    def handle(self, *args: Any, **options: Any) -> None:
        serving_minutes.start()
        if not bot.has_token():
            raise CommandError("DISCORD_BOT_TOKEN is not set, so there is no bot to ask for.")
        try:
            with errors_in_a_line():
                done = bot.sync(sleep=self.sleep)
        except Unauthorized:
            raise CommandError(
                "Discord refuses DISCORD_BOT_TOKEN. Nothing was changed; copy the token from the developer portal anew."
            ) from None
        except GateShut as shut:
            why = ENDINGS.get(shut.reason, shut.reason)
            raise CommandError(f"Not finished: {why}, until {at(shut.until)}. No server was marked as left.") from None
        except DiscordAPIError as error:
            raise CommandError(f"Not finished: {error}. No server was marked as left.") from None
        self.stdout.write(f"The bot is in {done.guilds} servers ({done.joined} new, {done.left} left).")
