"""Discord's rate limits: per person one list request per second and five member requests in 300 seconds, 50 requests
per second in total, and the ban after 10,000 invalid requests in ten minutes.

Times are arguments, in seconds of a monotonic clock.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sandbox.inputs import as_flag, as_integer, as_object

# Not documented by Discord, but measured by several libraries, for both Bearer and Bot tokens.
LIST_WINDOW = 1.0
INVALID_WINDOW = 600.0
# Not documented either. Applications have observed five requests per person, over all servers; the window begins with
# the first request.
MEMBER_WINDOW = 300.0
# The window of the bot's requests for one server by one route.
GUILD_WINDOW = 1.0
# The headers of a bucket that has no limit here.
_PLENTY = 50


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket after a request: what is left until it resets, in seconds, and whether the request was allowed."""

    limit: int
    remaining: int
    reset_after: float
    allowed: bool


@dataclass(slots=True)
class Limits:
    """The limits' settings and current counts."""

    per_person: bool = True
    per_second: int = 50
    invalid_per_10_minutes: int = 10_000
    members_per_300_seconds: int | None = 5
    per_guild: int | None = 50
    _buckets: dict[tuple[str, ...], tuple[float, int]] = field(default_factory=dict)
    _lists: dict[str, float] = field(default_factory=dict)
    _all: deque[float] = field(default_factory=deque)
    _invalid: deque[float] = field(default_factory=deque)

    def forget(self) -> None:
        """Reset the counts and keep the settings."""
        self._lists.clear()
        self._buckets.clear()
        self._all.clear()
        self._invalid.clear()

    def change(self, settings: Any) -> None:
        """Change the given settings. Raises BadInput without changing any."""
        settings = as_object(settings, "limits", tuple(self.to_json()))
        changes: dict[str, Any] = {}
        if "per_person" in settings:
            changes["per_person"] = as_flag(settings["per_person"], "'per_person'")
        for name in ("per_second", "invalid_per_10_minutes"):
            if name in settings:
                changes[name] = as_integer(settings[name], f"'{name}'", minimum=1)
        for name in ("members_per_300_seconds", "per_guild"):
            if name in settings:
                limit = settings[name]
                changes[name] = None if limit is None else as_integer(limit, f"'{name}'", minimum=1)
        for name, value in changes.items():
            setattr(self, name, value)

    def to_json(self) -> Mapping[str, Any]:
        return {
            "per_person": self.per_person,
            "per_second": self.per_second,
            "invalid_per_10_minutes": self.invalid_per_10_minutes,
            "members_per_300_seconds": self.members_per_300_seconds,
            "per_guild": self.per_guild,
        }

    def wait_for_any(self, now: float) -> float:
        """Count a request and return 0 if it is allowed; otherwise return the seconds until one is."""
        _drop_before(self._all, now - 1.0)
        if len(self._all) < self.per_second:
            self._all.append(now)
            return 0.0
        return self._all[-self.per_second] + 1.0 - now

    def wait_for_list(self, who: str, now: float) -> float:
        """Count a list request of `who` and return 0 if it is allowed; otherwise return the seconds until one is."""
        if not self.per_person:
            return 0.0
        free_at = self._lists.get(who, now)
        if free_at > now:
            return free_at - now
        self._lists[who] = now + LIST_WINDOW
        return 0.0

    def take_member(self, who: str, now: float) -> Bucket:
        """Count a request of `who` for their own member, unless it is refused."""
        return self._take(("member", who), self.members_per_300_seconds, MEMBER_WINDOW, now)

    def take_guild(self, route: str, guild_id: str, now: float) -> Bucket:
        """Count a request of the bot for this server by this route, unless it is refused."""
        return self._take((route, guild_id), self.per_guild, GUILD_WINDOW, now)

    def _take(self, key: tuple[str, ...], limit: int | None, window: float, now: float) -> Bucket:
        if limit is None:
            return Bucket(_PLENTY, _PLENTY - 1, window, allowed=True)
        began, used = self._buckets.get(key, (now, 0))
        if now >= began + window:
            began, used = now, 0
        allowed = used < limit
        self._buckets[key] = (began, used + allowed)
        return Bucket(limit, max(limit - used - 1, 0), began + window - now, allowed)

    def note_invalid(self, now: float) -> None:
        self._invalid.append(now)

    def invalid_requests(self, now: float) -> int:
        """Return the number of invalid requests in the last ten minutes."""
        _drop_before(self._invalid, now - INVALID_WINDOW)
        return len(self._invalid)

    def is_banned(self, now: float) -> bool:
        """Whether the caller is banned, so that Cloudflare responds instead.

        Discord's ban lasts 1 to 24 hours; this one ends when the ten-minute window is below the limit again.
        """
        return self.invalid_requests(now) >= self.invalid_per_10_minutes


def _drop_before(moments: deque[float], bound: float) -> None:
    while moments and moments[0] <= bound:
        moments.popleft()
