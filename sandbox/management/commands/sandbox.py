from argparse import RawDescriptionHelpFormatter
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from sandbox import cli


class Command(BaseCommand):
    help = f"Runs the sandbox, a local stand-in for Discord.\n\n{cli.__doc__}"
    # The sandbox needs nothing of the site, and must start even if the site can't.
    requires_system_checks = []  # noqa: RUF012 - as Django declares it

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        return super().create_parser(prog_name, subcommand, formatter_class=RawDescriptionHelpFormatter, **kwargs)

    def add_arguments(self, parser: CommandParser) -> None:
        folder = getattr(settings, "VAR_DIR", None) or settings.BASE_DIR / "var"
        cli.add_options(parser, state=Path(folder) / "sandbox.json", site_url=settings.SITE_URL)

    def handle(self, *args: Any, **options: Any) -> None:
        def report(line: str) -> None:
            self.stdout.write(line)
            self.stdout.flush()

        try:
            cli.run(
                options["host"],
                options["port"],
                state=options["state"],
                scenario=options["scenario"],
                site_url=options["site_url"],
                report=report,
            )
        except cli.StartFailed as error:
            raise CommandError(str(error)) from None
