"""The log of requests to the API, their counts, and how many were in flight at once.

A request is counted when it arrives. No secrets are logged: no headers, no bodies, only harmless query parameters.
"""

import re
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

HARMLESS_QUERY = ("after", "before", "limit", "with_counts")
# Longer than any snowflake, so it could be a token.
_LONG_SEGMENT = re.compile(r"[^/]{21,}")
UNKNOWN_PERSON = "(unknown)"
# More than a benchmark of some minutes sends. Older requests are dropped from the log but stay in the counts.
MAX_ENTRIES = 50_000


@dataclass(slots=True, eq=False)
class Entry:
    """One request. `status` is None while it is in flight, and stays None if it got no response. Times in seconds."""

    time: float
    method: str
    path: str
    route: str
    person: str | None
    guild: str | None
    started: float
    query: Mapping[str, str] = field(default_factory=dict)
    status: int | None = None
    duration: float | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "time": round(self.time, 6),
            "method": self.method,
            "path": self.path,
            "route": self.route,
            "query": dict(self.query),
            "person": self.person,
            "guild": self.guild,
            "status": self.status,
            "duration": None if self.duration is None else round(self.duration, 6),
        }


@dataclass(slots=True)
class Journal:
    """The requests since the last reset, which replaces the journal. Requests in flight stay in the old one."""

    entries: deque[Entry] = field(default_factory=lambda: deque(maxlen=MAX_ENTRIES))
    by_route: Counter[str] = field(default_factory=Counter)
    by_person: Counter[str] = field(default_factory=Counter)
    by_guild: Counter[str] = field(default_factory=Counter)
    by_status: Counter[str] = field(default_factory=Counter)
    in_flight: int = 0
    in_flight_max: int = 0

    def arrived(self, entry: Entry) -> None:
        self.entries.append(entry)
        self.by_route[f"{entry.method} {entry.route or '(unknown)'}"] += 1
        self.by_person[entry.person or UNKNOWN_PERSON] += 1
        if entry.guild is not None:
            self.by_guild[entry.guild] += 1
        self.in_flight += 1
        self.in_flight_max = max(self.in_flight, self.in_flight_max)

    def answered(self, entry: Entry, status: int) -> None:
        """Count the response, before it is sent; it counts even if the client disconnects."""
        entry.status = status
        self.by_status[str(status)] += 1

    def left(self, entry: Entry, now: float) -> None:
        if entry.duration is None:
            entry.duration = now - entry.started
            self.in_flight -= 1

    def to_json(self) -> dict[str, Any]:
        return {
            "requests": self.by_route.total(),
            "by_route": dict(sorted(self.by_route.items())),
            "by_status": dict(sorted(self.by_status.items())),
            "by_person": dict(sorted(self.by_person.items())),
            "by_guild": dict(sorted(self.by_guild.items())),
            "in_flight": self.in_flight,
            "in_flight_max": self.in_flight_max,
        }


def harmless_path(path: str) -> str:
    return _LONG_SEGMENT.sub("…", path)[:200]


def harmless_query(query: Mapping[str, str]) -> dict[str, str]:
    return {name: query[name][:20] for name in HARMLESS_QUERY if name in query}
