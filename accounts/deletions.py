"""The list of deletions: what a restored backup brings back, to delete it again.

An entry is an event of the log that names a row by its number. `config.logging` also appends this logger's events to
DELETIONS_LOG, a file outside the database, so the list survives what the backup is restored for. Numbers mean nothing
without the database, and there is no personal data beside them.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import structlog

logger = structlog.get_logger(__name__)

PERSON, ACCESS_TOKEN, SERVICE_TOKEN = "user_forgotten", "access_token_revoked", "service_token_revoked"
# The events that make up the list, with the field that holds the row's number.
NUMBERS = {PERSON: "user_id", ACCESS_TOKEN: "token_id", SERVICE_TOKEN: "token_id"}


@dataclass(frozen=True, order=True, slots=True)
class Deletion:
    """A deleted row: when it was deleted, one of `NUMBERS`, and its primary key."""

    at: datetime
    event: str
    pk: int


class UnreadableEntry(Exception):
    """A line of the list that names one of its events and can't be read."""


def person_forgotten(user_id: int) -> None:
    """Add a person to the list. Call it after the commit."""
    logger.info("user_forgotten", user_id=user_id)


def access_token_revoked(token_id: int) -> None:
    """Add an access token to the list. Call it after the commit."""
    logger.info("access_token_revoked", token_id=token_id)


def service_token_revoked(token_id: int, *, service: str, by: str) -> None:
    """Add a service token to the list. Call it after the commit. Only the log has its service and the operator."""
    logger.info("service_token_revoked", token_id=token_id, service=service, by=by)


def entries(lines: Iterable[str]) -> list[Deletion]:
    """Return the deletions that these lines name, oldest first.

    The lines are those of DELETIONS_LOG or of the site's log in JSON, each perhaps behind the name of a container.
    Others are skipped. Raises `UnreadableEntry` with a line that was cut off.
    """
    found = []
    for line in lines:
        if not any(event in line for event in NUMBERS):
            continue
        try:
            entry = json.loads(line[line.index("{") :])
            event = entry["event"]
            found.append(Deletion(datetime.fromisoformat(entry["timestamp"]), event, int(entry[NUMBERS[event]])))
        except (ValueError, KeyError, TypeError):
            raise UnreadableEntry(line.strip()) from None
    return sorted(found)
