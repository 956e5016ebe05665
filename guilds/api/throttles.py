"""How fast one person, or one address, may ask this site. Discord's limits are another matter: `accounts.gate`.

Each process counts for itself and in memory: a limit against programs that run wild needs no count that all machines
share, and a hit that is answered from the cache shall not pay for one.
"""

import threading
import time
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING

from django.conf import settings
from django.http import HttpRequest
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

if TYPE_CHECKING:
    # That module imports the throttles of the settings, this one among them.
    from rest_framework.views import APIView

Rate = tuple[int, int]


class Meter:
    """GCRA: `count` at once, then as they trickle back over `seconds`; one number a key."""

    MOST_KEYS = 50_000

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._full_again: dict[Hashable, float] = {}
        self._lock = threading.Lock()

    def wait(self, key: Hashable, rate: Rate | None) -> float:
        """0 for a request that may pass, which counts; else in how many seconds one may."""
        if rate is None:
            return 0.0
        count, seconds = rate
        with self._lock:
            now = self.clock()
            full_again = max(self._full_again.get(key, now), now)
            too_early = full_again + seconds / count - now - seconds
            # Sums of fractions, such as sixty sixtieths, end a hair beside the whole.
            if too_early > 1e-6:
                return too_early
            if len(self._full_again) >= self.MOST_KEYS:
                self._full_again = {key: moment for key, moment in self._full_again.items() if moment > now}
            self._full_again[key] = full_again + seconds / count
            return 0.0

    def forget(self) -> None:
        with self._lock:
            self._full_again.clear()


meter = Meter()


class UserThrottle(BaseThrottle):
    """DRF's: one person, with all their tokens and sessions; who isn't signed in is their address."""

    _wait = 0.0

    def allow_request(self, request: Request, view: "APIView") -> bool:
        who = request.user.pk or ("anonymous", address_of(request._request))
        self._wait = meter.wait(who, settings.API_THROTTLE_USER)
        return self._wait == 0.0

    def wait(self) -> float:
        return self._wait


def wait_of_address(request: HttpRequest) -> float:
    """0 if the address may ask now."""
    return meter.wait(address_of(request), settings.API_THROTTLE_ADDRESS)


def address_of(request: HttpRequest) -> str:
    """Behind a proxy of ours it is the one the proxy saw, the last it wrote down."""
    forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "") if settings.BEHIND_TLS_PROXY else ""
    address: str = forwarded.rpartition(",")[2].strip() or request.META.get("REMOTE_ADDR", "")
    return address
