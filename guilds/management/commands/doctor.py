"""`manage.py doctor`: check the site's setup, here and at Discord."""

import json
import sys
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from django.core.management.base import BaseCommand

from guilds.operations.doctor.examination import as_rows, examine, store
from guilds.operations.doctor.findings import Finding, Level, exit_code

WIDTH = 10


class Command(BaseCommand):
    help = (
        "Checks settings, database, Redis, broker, clocks, keys and the application at Discord, and says what is wrong "
        "and what to do. Sends at most three requests to Discord. The exit code is 0 if all is well, 1 for a warning, "
        "and 2 for an error."
    )
    # They are one of the checks.
    requires_system_checks = []  # noqa: RUF012 - as Django declares it

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="Print JSON.")

    def handle(self, *args: Any, json: bool, **options: Any) -> None:
        found: list[tuple[str, Finding]] = []
        for check, findings in examine():
            found += [(check, finding) for finding in findings]
            if not json:
                for line in as_lines(check, findings):
                    self.stdout.write(line)
        store(found)
        self.stdout.write(as_json(found) if json else summary(finding for _, finding in found))
        if code := exit_code(finding for _, finding in found):
            sys.exit(code)


def as_lines(check: str, findings: list[Finding]) -> Iterator[str]:
    for finding in findings:
        yield f"{check:<{WIDTH}}{finding.level:<{WIDTH}}{finding.sentence}"
        if finding.advice:
            yield f"{'':<{2 * WIDTH}}→ {finding.advice}"


def as_json(found: list[tuple[str, Finding]]) -> str:
    code = exit_code(finding for _, finding in found)
    return json.dumps({"exit_code": code, "findings": as_rows(found)}, indent=2)


def summary(findings: Iterable[Finding]) -> str:
    """Return the last sentence. It says that all is well only if nothing is left to do, or to check by hand."""
    findings = list(findings)
    counts = Counter(finding.level for finding in findings)
    told = [
        f"{counts[level]} {level}{'' if counts[level] == 1 else 's'}"
        for level in (Level.ERROR, Level.WARNING)
        if counts[level]
    ]
    if told:
        return f"Found {' and '.join(told)}."
    advised = sum(bool(finding.advice) for finding in findings)
    if advised:
        return f"Found no error or warning, and {advised} note{'' if advised == 1 else 's'} with advice."
    return "Everything is fine."
