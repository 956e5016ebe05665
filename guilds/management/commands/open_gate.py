"""`manage.py open_gate`: let the site ask Discord again before the limit that Discord named is over."""

from getpass import getuser
from typing import Any

from django.core.management.base import BaseCommand

from accounts import gate
from guilds.management.database import errors_in_a_line
from guilds.operations.report import GATE_WORDS, at


class Command(BaseCommand):
    help = "Opens the gate by hand, when you know that Discord's limit is over. The send budget still holds."

    def handle(self, *args: Any, **options: Any) -> None:
        with errors_in_a_line():
            found = gate.open_gate(by=f"manage.py as {operator()}")
        if found is None:
            self.stdout.write("The gate isn't shut; there is nothing to open.")
            return
        until = f" until {at(found.until)}" if found.until else ""
        self.stdout.write(
            f"Opened. It was shut{until}: {GATE_WORDS.get(found.reason, found.reason)} (in a row: {found.streak}).\n"
            "Requests go out again, within the send budget. People whom the limit met are asked for after their own "
            "pause. If Discord still limits the site, its next answer shuts the gate again."
        )


def operator() -> str:
    """Who runs this, as the system knows them; a container may know nobody."""
    try:
        return getuser()
    except (KeyError, OSError):
        return "nobody known"
