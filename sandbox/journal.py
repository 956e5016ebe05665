"""What was asked: the requests that reached the API, the counts, and how many were on the way at once.

A request is counted when it arrives. Secrets never get in: no header, no body, no query but the known harmless ones.
"""

import re
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

HARMLESS_QUERY = ("after", "before", "limit", "with_counts")
# Longer than any snowflake: in a path it could be a token.
_LONG_SEGMENT = re.compile(r"[^/]{21,}")
NO_ONE = "(unknown)"
# More than a benchmark of some minutes sends; older requests are dropped from the log, not from the counts.
KEPT = 50_000


@dataclass(slots=True, eq=False)
class Entry:
    """One request. `status` is None while it is on the way, and stays None if it was never answered."""

    time: float
    method: str
    path: str
    route: str
    person: str | None
    started: float
    query: Mapping[str, str] = field(default_factory=dict)
    status: int | None = None
    duration: float | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "time": round(self.time, 6),
            "method": self.method,
            "path": self.path,
            "query": dict(self.query),
            "person": self.person,
            "status": self.status,
            "duration": None if self.duration is None else round(self.duration, 6),
        }


@dataclass(slots=True)
class Journal:
    """The requests since a reset. A new one takes its place then; who was on the way is counted in the old one."""

    entries: deque[Entry] = field(default_factory=lambda: deque(maxlen=KEPT))
    by_route: Counter[str] = field(default_factory=Counter)
    by_person: Counter[str] = field(default_factory=Counter)
    by_status: Counter[str] = field(default_factory=Counter)
    in_flight: int = 0
    in_flight_max: int = 0

    def arrived(self, entry: Entry) -> None:
        self.entries.append(entry)
        self.by_route[f"{entry.method} {entry.route or '(unknown)'}"] += 1
        self.by_person[entry.person or NO_ONE] += 1
        self.in_flight += 1
        self.in_flight_max = max(self.in_flight, self.in_flight_max)

    def answered(self, entry: Entry, status: int) -> None:
        """The answer is decided; it counts as one even if the client does not wait for all of it."""
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
            "in_flight": self.in_flight,
            "in_flight_max": self.in_flight_max,
        }


def harmless_path(path: str) -> str:
    return _LONG_SEGMENT.sub("…", path)[:200]


def harmless_query(query: Mapping[str, str]) -> dict[str, str]:
    return {name: query[name][:20] for name in HARMLESS_QUERY if name in query}
