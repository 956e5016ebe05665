"""Running all checks, and keeping what they found for the admin."""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from queue import Empty, SimpleQueue
from typing import Any

import structlog
from django.db import Error, connections
from django.utils.translation import gettext_noop as _

from accounts.clock import database_now
from guilds.models import DoctorReport
from guilds.operations.doctor import discord, site
from guilds.operations.doctor.findings import Finding, Sentence, error, note, translated

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Check:
    """`name` is the part of the site that `run` checks within `timeout` seconds; `run` may raise a database error."""

    name: str
    run: Callable[[], list[Finding]]
    timeout: float


CHECKS = (
    Check("settings", site.check_settings, 20),
    Check("database", site.check_database, 10),
    Check("redis", site.check_redis, 10),
    Check("broker", site.check_broker, 10),
    Check("clocks", site.check_clocks, 10),
    Check("keys", site.check_keys, 20),
    Check("discord", discord.check_discord, 20),
)


def examine(checks: Iterable[Check] = CHECKS) -> Iterator[tuple[str, list[Finding]]]:
    """Run the checks one after the other, and yield the name and the findings of each. Never raises."""
    for check in checks:
        yield check.name, _run(check)


def _run(check: Check) -> list[Finding]:
    """Run the check in a thread of its own: some of its waits have no timeout, and only a thread can be abandoned."""
    results: SimpleQueue[list[Finding]] = SimpleQueue()
    threading.Thread(target=_report, args=(check, results), daemon=True, name=f"doctor-{check.name}").start()
    try:
        return results.get(timeout=check.timeout)
    except Empty:
        return [
            error(
                Sentence(
                    _("The check '%(check)s' did not end within %(seconds)s s."),
                    check=check.name,
                    seconds=f"{check.timeout:g}",
                ),
                Sentence(
                    _("Something that it asks accepts connections and doesn't answer; find out what, and run it again.")
                ),
            )
        ]


def _report(check: Check, results: SimpleQueue[list[Finding]]) -> None:
    try:
        found = check.run()
    except Error:
        sentence = Sentence(_("The check '%(check)s' was skipped, because it needs the database."), check=check.name)
        found = [note(sentence, Sentence(_("Repair that first.")))]
    except Exception as problem:
        logger.exception("doctor_check_failed", check=check.name)
        sentence = Sentence(
            _("The check '%(check)s' failed with %(error)s."), check=check.name, error=type(problem).__name__
        )
        found = [error(sentence, Sentence(_("This is an error in the check; the log has its traceback.")))]
    finally:
        connections.close_all()
    results.put(found)


def as_rows(found: Iterable[tuple[str, Finding]]) -> list[dict[str, str]]:
    """Return the findings as JSON's types: `check`, `level`, `sentence` and `advice` of each."""
    return [{"check": check, **asdict(finding)} for check, finding in found]


def _stored_row(check: str, finding: Finding) -> dict[str, Any]:
    """Return the row of `as_rows`, with the template and the values of each sentence that has them, by its name."""
    said = {name: getattr(finding, name) for name in ("sentence", "advice")}
    templates = {name: [said.template, said.values] for name, said in said.items() if isinstance(said, Sentence)}
    return {"check": check, **asdict(finding), "templates": templates}


def said(row: Mapping[str, Any], name: str) -> str:
    """Return the "sentence" or the "advice" of a stored row in the active language; without a template, in English."""
    template = row.get("templates", {}).get(name)
    return translated(*template) if template else str(row[name])


def store(found: Iterable[tuple[str, Finding]]) -> None:
    """Keep the findings of a complete run for the admin. Without a database, they are only printed."""
    try:
        values = {"examined_at": database_now(), "findings": [_stored_row(*each) for each in found]}
        DoctorReport.objects.update_or_create(pk=1, defaults=values)
    except Error as problem:
        logger.warning("doctor_report_not_stored", error=type(problem).__name__)
