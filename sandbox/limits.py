"""Discord's limits, counted for real: one list request a second for each person, 50 requests a second in all, and the
ban after 10,000 invalid requests in ten minutes.

Moments are seconds of a monotonic clock and come in as arguments.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sandbox.inputs import as_flag, as_integer, as_object

# Not in Discord's documentation: measured by others, for Bearer and Bot tokens alike.
LIST_WINDOW = 1.0
INVALID_WINDOW = 600.0


@dataclass(slots=True)
class Limits:
    """How much is left, now. `forget` starts the counting afresh and keeps the settings."""

    per_person: bool = True
    per_second: int = 50
    invalid_per_10_minutes: int = 10_000
    _lists: dict[str, float] = field(default_factory=dict)
    _all: deque[float] = field(default_factory=deque)
    _invalid: deque[float] = field(default_factory=deque)

    def forget(self) -> None:
        self._lists.clear()
        self._all.clear()
        self._invalid.clear()

    def change(self, settings: Any) -> None:
        """Take over the settings that are named. Raises BadInput, and then nothing has changed."""
        settings = as_object(settings, "limits", ("per_person", "per_second", "invalid_per_10_minutes"))
        changes: dict[str, Any] = {}
        if "per_person" in settings:
            changes["per_person"] = as_flag(settings["per_person"], "'per_person'")
        for name in ("per_second", "invalid_per_10_minutes"):
            if name in settings:
                changes[name] = as_integer(settings[name], f"'{name}'", least=1)
        for name, value in changes.items():
            setattr(self, name, value)

    def to_json(self) -> Mapping[str, Any]:
        return {
            "per_person": self.per_person,
            "per_second": self.per_second,
            "invalid_per_10_minutes": self.invalid_per_10_minutes,
        }

    def wait_for_any(self, now: float) -> float:
        """Seconds until one more request of any kind is allowed; 0 means it is, and it is counted."""
        _drop_before(self._all, now - 1.0)
        if len(self._all) < self.per_second:
            self._all.append(now)
            return 0.0
        return self._all[-self.per_second] + 1.0 - now

    def wait_for_list(self, who: str, now: float) -> float:
        """Seconds until `who` may ask for the list again; 0 means now, and it is counted."""
        if not self.per_person:
            return 0.0
        free_at = self._lists.get(who, now)
        if free_at > now:
            return free_at - now
        self._lists[who] = now + LIST_WINDOW
        return 0.0

    def note_invalid(self, now: float) -> None:
        self._invalid.append(now)

    def invalid_requests(self, now: float) -> int:
        """How many there were in the last ten minutes."""
        _drop_before(self._invalid, now - INVALID_WINDOW)
        return len(self._invalid)

    def is_banned(self, now: float) -> bool:
        """Whether Cloudflare answers instead.

        Discord's ban lasts 1 to 24 hours; this one ends when the ten minutes are no longer full.
        """
        return self.invalid_requests(now) >= self.invalid_per_10_minutes


def _drop_before(moments: deque[float], bound: float) -> None:
    while moments and moments[0] <= bound:
        moments.popleft()
