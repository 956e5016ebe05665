"""`manage.py open_gate`: send requests to Discord again before the limit that Discord named has ended."""

from typing import Any

from django.contrib.admin.models import CHANGE

from accounts import gate
from accounts.models import DiscordGate
from guilds.management.operator import OperatorCommand, operator
from guilds.operations.report import REASON_WORDS, at


class Command(OperatorCommand):
    help = "Opens the gate. Use it only if you know that Discord's limit has ended. The send budget still applies."

    def handle(self, *args: Any, **options: Any) -> None:
        found = gate.open_gate(by=operator())
        if found is None:
            self.stdout.write("The gate is already open.")
            return
        self.acted(CHANGE, DiscordGate, 1, "opened")
        until = f" until {at(found.until)}" if found.until else ""
        self.stdout.write(
            f"Opened. It was shut{until}: {REASON_WORDS.get(found.reason, found.reason)} (in a row: {found.streak}).\n"
            "Requests resume within the send budget. People who were rate-limited are retried after their own pause. "
            "If Discord still limits the site, its next response shuts the gate again."
        )
