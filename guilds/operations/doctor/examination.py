"""Running all checks, and keeping what they found for the admin."""

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from queue import Empty, SimpleQueue

import structlog
from django.db import Error, connections

from accounts.clock import database_now
from guilds.models import DoctorReport
from guilds.operations.doctor import discord, site
from guilds.operations.doctor.findings import Finding, error, note

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
                f"The check '{check.name}' did not end within {check.timeout:g} s.",
                "Something that it asks accepts connections and doesn't answer; find out what, and run it again.",
            )
        ]


def _report(check: Check, results: SimpleQueue[list[Finding]]) -> None:
    try:
        found = check.run()
    except Error:
        found = [note(f"The check '{check.name}' was skipped, because it needs the database.", "Repair that first.")]
    except Exception as problem:
        logger.exception("doctor_check_failed", check=check.name)
        sentence = f"The check '{check.name}' failed with {type(problem).__name__}."
        found = [error(sentence, "This is an error in the check; the log has its traceback.")]
    finally:
        connections.close_all()
    results.put(found)


def as_rows(found: Iterable[tuple[str, Finding]]) -> list[dict[str, str]]:
    """Return the findings as JSON's types: `check`, `level`, `sentence` and `advice` of each."""
    return [{"check": check, **asdict(finding)} for check, finding in found]


def store(found: Iterable[tuple[str, Finding]]) -> None:
    """Keep the findings of a complete run for the admin. Without a database, they are only printed."""
    try:
        values = {"examined_at": database_now(), "findings": as_rows(found)}
        DoctorReport.objects.update_or_create(pk=1, defaults=values)
    except Error as problem:
        logger.warning("doctor_report_not_stored", error=type(problem).__name__)
