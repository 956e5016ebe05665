"""API checks before authentication: the rate limit per address, and CORS."""

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.cache import patch_vary_headers

from guilds.api.throttles import wait_of_address
from guilds.problems.of_errors import too_many_requests
from guilds.problems.responses import problem_response

# Includes endpoints that a site adds, and the schema and reference, whose few requests count too.
PREFIX = "/api/"
ALLOWED_METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE"
ALLOWED_HEADERS = "Authorization, Content-Type, If-None-Match"
EXPOSED_HEADERS = (
    "Age, Allow, Cache-Status, Content-Disposition, ETag, Location, Retry-After, WWW-Authenticate, X-Request-ID"
)
PREFLIGHT_SECONDS = "600"


class ApiMiddleware:
    """Throttles each address, and sends CORS headers for the origins in `CORS_ORIGINS`.

    Other origins read with a token, never with the person's cookies: `Access-Control-Allow-Credentials` is never sent,
    so an allowed origin can't find out who is signed in here.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not request.path.startswith(PREFIX):
            return self.get_response(request)
        response = self._preflight(request) or self._throttled(request) or self.get_response(request)
        patch_vary_headers(response, ["Authorization"])
        if settings.CORS_ORIGINS:
            patch_vary_headers(response, ["Origin"])
            if self._is_allowed(request):
                response["Access-Control-Allow-Origin"] = request.headers["Origin"]
                response["Access-Control-Expose-Headers"] = EXPOSED_HEADERS
        return response

    def _preflight(self, request: HttpRequest) -> HttpResponse | None:
        if request.method != "OPTIONS" or not self._is_allowed(request):
            return None
        return HttpResponse(
            status=204,
            headers={
                "Access-Control-Allow-Methods": ALLOWED_METHODS,
                "Access-Control-Allow-Headers": ALLOWED_HEADERS,
                "Access-Control-Max-Age": PREFLIGHT_SECONDS,
            },
        )

    def _throttled(self, request: HttpRequest) -> HttpResponse | None:
        wait = wait_of_address(request)
        return problem_response(request, too_many_requests(wait)) if wait else None

    def _is_allowed(self, request: HttpRequest) -> bool:
        return request.headers.get("Origin") in settings.CORS_ORIGINS
