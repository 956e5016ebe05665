"""The API's limits as Django REST framework's throttles."""

from collections.abc import Hashable
from typing import TYPE_CHECKING

from django.http import HttpRequest
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from accounts.service_tokens import Service
from accounts.throttles import Limit, address_of, wait_for

if TYPE_CHECKING:
    # A circular import at run time: `views` imports the throttles from the settings, including this one.
    from rest_framework.views import APIView


class UserThrottle(BaseThrottle):
    """The limit per person or service, across all its tokens and sessions. Anonymous callers are counted by address."""

    _wait = 0.0

    def allow_request(self, request: Request, view: "APIView") -> bool:
        who: Hashable = request.user.pk or ("anonymous", address_of(request._request))
        if isinstance(request.user, Service):
            who = ("service", request.user.name)
        self._wait = wait_for(Limit.API_USER, who)
        return self._wait == 0.0

    def wait(self) -> float:
        return self._wait


def wait_of_address(request: HttpRequest) -> float:
    """Count a request of the address. Returns 0 if it is allowed, else the seconds to wait."""
    return wait_for(Limit.API_ADDRESS, address_of(request))
