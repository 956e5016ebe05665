"""`manage.py runserver`: whitenoise's command, which also names models without migrations, after each reload."""

from django.db import connection
from whitenoise.runserver_nostatic.management.commands import runserver  # type: ignore[import-untyped]  # has no types

from guilds.operations import migrations


class Command(runserver.Command):  # type: ignore[misc]  # has no types
    def check_migrations(self) -> None:
        for problem in migrations.problems(connection):
            self.stderr.write(self.style.WARNING(problem))
