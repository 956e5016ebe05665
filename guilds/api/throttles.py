"""The API's limits as Django REST framework's throttles."""

from typing import TYPE_CHECKING

from django.http import HttpRequest
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from accounts.service_tokens import Service
from accounts.throttles import Limit, address_of, refund, wait_for

if TYPE_CHECKING:
    # A circular import at run time: `views` imports the throttles from the settings, including this one.
    from rest_framework.views import APIView


class UserThrottle(BaseThrottle):
    """The limits per person and per service, across all tokens and sessions. Others are counted by address."""

    _wait = 0.0

    def allow_request(self, request: Request, view: "APIView") -> bool:
        self._wait = _wait_of(request)
        return self._wait == 0.0

    def wait(self) -> float:
        return self._wait


def _wait_of(request: Request) -> float:
    """Count a request of the caller. Returns 0 if it is allowed, else the seconds to wait.

    A service's requests don't count against its address, whose limit is for unknown callers.
    """
    if isinstance(request.user, Service):
        refund(Limit.API_ADDRESS, address_of(request._request))
        return wait_for(Limit.API_SERVICE, request.user.name)
    return wait_for(Limit.API_USER, request.user.pk or ("anonymous", address_of(request._request)))


def wait_of_address(request: HttpRequest) -> float:
    """Count a request of the address. Returns 0 if it is allowed, else the seconds to wait."""
    return wait_for(Limit.API_ADDRESS, address_of(request))
