"""The site's own rate limits, by person, address or name. `accounts.gate` handles Discord's.

Each process counts separately, in memory. The limits stop runaway programs and password guessing, neither of which
needs an exact count over all machines, and a cache hit must not pay for a shared counter.
"""

import threading
import time
from collections.abc import Callable, Hashable
from enum import StrEnum
from functools import wraps
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any, TypeVar, cast

import structlog
from django.conf import settings
from django.http import HttpRequest

from accounts import metrics

logger = structlog.get_logger(__name__)

Rate = tuple[int, int]
View = TypeVar("View", bound=Callable[..., Any])


class Limit(StrEnum):
    """The limits; each value is the name of the setting that holds the limit's rate."""

    API_USER = "API_THROTTLE_USER"
    API_SERVICE = "API_THROTTLE_SERVICE"
    API_ADDRESS = "API_THROTTLE_ADDRESS"
    MEMBER_USER = "MEMBER_THROTTLE_USER"
    SIGN_IN_ADDRESS = "SIGN_IN_THROTTLE_ADDRESS"
    PASSWORD_ADDRESS = "PASSWORD_THROTTLE_ADDRESS"  # noqa: S105 - the name of a setting
    PASSWORD_NAME = "PASSWORD_THROTTLE_NAME"  # noqa: S105 - as above
    PASSWORD_ADDRESS_NAME = "PASSWORD_THROTTLE_ADDRESS_NAME"  # noqa: S105 - as above

    @property
    def label(self) -> str:
        return self.name.lower()


# Exported from the first scrape on, so that `rate()` sees the first increase.
for _limit in Limit:
    metrics.THROTTLED.labels(_limit.label)


class TooManyRequests(Exception):
    """The request exceeds one of the site's own limits; `retry_after` is in seconds."""

    def __init__(self, limit: Limit, retry_after: float) -> None:
        super().__init__(f"too many requests ({limit.label})")
        self.limit = limit
        self.retry_after = retry_after


class Meter:
    """GCRA: `count` requests at once, then `count` per `seconds`. Stores one number per key."""

    MAX_KEYS = 50_000

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._full_again: dict[Hashable, float] = {}
        self._lock = threading.Lock()

    def wait(self, key: Hashable, rate: Rate | None) -> float:
        """Count a request and return 0 if it is allowed; otherwise return the seconds until one is."""
        if rate is None:
            return 0.0
        count, seconds = rate
        with self._lock:
            now = self.clock()
            full_again = max(self._full_again.get(key, now), now)
            too_early = full_again + seconds / count - now - seconds
            # Sums of fractions, such as sixty sixtieths, have rounding errors.
            if too_early > 1e-6:
                return too_early
            if len(self._full_again) >= self.MAX_KEYS:
                self._shrink(now)
            self._full_again[key] = full_again + seconds / count
            return 0.0

    def refund(self, key: Hashable, rate: Rate | None) -> None:
        """Uncount one allowed request that turned out to be harmless."""
        if rate is None:
            return
        count, seconds = rate
        with self._lock:
            if key in self._full_again:
                self._full_again[key] -= seconds / count

    def forget(self) -> None:
        """Drop all counts."""
        with self._lock:
            self._full_again.clear()

    def _shrink(self, now: float) -> None:
        """Drop the keys with no recent requests, and at least half of all keys: those that recover the soonest.

        Clients choose some keys, so their number must be bounded, and a full meter must not shrink at every request.
        """
        busy = sorted(self._full_again.items(), key=lambda entry: entry[1], reverse=True)[: self.MAX_KEYS // 2]
        self._full_again = {key: moment for key, moment in busy if moment > now}


meter = Meter()


def rate_of(limit: Limit) -> Rate | None:
    rate: Rate | None = getattr(settings, limit)
    return rate


def wait_for(limit: Limit, *who: Hashable) -> float:
    """Count a request of `who` and return 0 if it is allowed; otherwise return the seconds until one is."""
    wait = meter.wait((limit, *who), rate_of(limit))
    if wait:
        metrics.THROTTLED.labels(limit.label).inc()
    return wait


def require(limit: Limit, request: HttpRequest | None, *who: Hashable) -> None:
    """Count a request of `who`. If there were too many, log it and raise `TooManyRequests`."""
    if wait := wait_for(limit, *who):
        logger.warning("throttled", limit=limit.label, address=address_of(request), retry_after=round(wait, 1))
        raise TooManyRequests(limit, wait)


def refund(limit: Limit, *who: Hashable) -> None:
    """Uncount one request of `who` that `require` allowed."""
    meter.refund((limit, *who), rate_of(limit))


def throttled_by_address(limit: Limit) -> Callable[[View], View]:
    """Limit a view's requests per address. The decorated view raises `TooManyRequests`."""

    def decorate(view: View) -> View:
        @wraps(view)
        def throttled(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            require(limit, request, view.__qualname__, address_of(request))
            return view(request, *args, **kwargs)

        return cast(View, throttled)

    return decorate


def address_of(request: HttpRequest | None) -> str:
    """Return the visitor's address, or its /64 network for IPv6; empty if there is no request.

    Behind our own proxy this is the address that the proxy saw, the last one in `X-Forwarded-For`. Providers assign at
    least a /64 to each customer, so a single IPv6 address identifies no one.
    """
    if request is None:
        return ""
    forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "") if settings.BEHIND_TLS_PROXY else ""
    text: str = forwarded.rpartition(",")[2].strip() or request.META.get("REMOTE_ADDR", "")
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return text
    if not isinstance(address, IPv6Address):
        return str(address)
    return str(address.ipv4_mapped or ip_network((int(address), 64), strict=False))
