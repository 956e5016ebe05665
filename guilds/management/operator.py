"""Commands by which operators change something, and who runs them, for the log."""

from getpass import getuser
from typing import Any, ClassVar

from django.contrib.admin.models import ADDITION, CHANGE
from django.core.management.base import BaseCommand
from django.db.models import Model
from django.db.models.signals import post_save

from accounts import audit
from accounts.models import User


def operator() -> str:
    """Return the command line and the name of the system user who runs the command; a container may have none."""
    try:
        return f"manage.py as {getuser()}"
    except (KeyError, OSError):
        return "manage.py as an unknown user"


class OperatorCommand(BaseCommand):
    """A command that changes something and tells the log with `acted`. List it before another package's command."""

    def acted(self, flag: int, model: type[Model] | None, pk: object, details: str) -> None:
        """Log a change, once it is committed; the arguments are those of `accounts.audit.tell`."""
        via = type(self).__module__.rpartition(".")[2]
        audit.tell(flag, by=operator(), via=via, model=model, pk=pk, details=[details])


class AccountCommand(OperatorCommand):
    """A command of Django's that saves one account, which it names to no one; `what` is what it changes."""

    what: ClassVar[str]

    def handle(self, *args: Any, **options: Any) -> str | None:
        post_save.connect(self._saved, sender=User)
        try:
            said: str | None = super().handle(*args, **options)
        finally:
            post_save.disconnect(self._saved, sender=User)
        return said

    def _saved(self, instance: User, created: bool, **_: Any) -> None:
        self.acted(ADDITION if created else CHANGE, User, instance.pk, self.what)
