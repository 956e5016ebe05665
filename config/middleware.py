"""Middleware for monitoring, security headers, caching and the 405 page."""

from collections.abc import Callable

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.core.handlers.exception import response_for_exception
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.middleware.security import SecurityMiddleware

from config import metrics, views

MONITORING_VIEWS = {"/healthz": views.healthz, "/readyz": views.readyz, "/metrics": metrics.page}


class MonitoringMiddleware:
    """Serves the health checks and Prometheus for any host and scheme.

    These clients use a machine's address instead of the site's name, and plain HTTP, which `ALLOWED_HOSTS` and the
    redirect to https would refuse. The responses echo nothing of the request, and these requests are not logged.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return MONITORING_VIEWS.get(request.path_info, self.get_response)(request)


# No page uses these features, so an injected script can't use them either.
PERMISSIONS_POLICY = ", ".join(
    f"{feature}=()"
    for feature in ("camera", "display-capture", "geolocation", "microphone", "payment", "usb", "browsing-topics")
)


class HostMiddleware:
    """Adds `Permissions-Policy`, and Django's security headers if the redirect to https is refused for its host.

    In that case `SecurityMiddleware` raises before it adds its headers. Other requests' hosts are checked later.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response
        self.security = SecurityMiddleware(get_response)

    def __call__(self, request: HttpRequest) -> HttpResponse:
        try:
            if settings.SECURE_SSL_REDIRECT and not request.is_secure():
                request.get_host()
        except DisallowedHost as error:
            response = self.security.process_response(request, response_for_exception(request, error))
        else:
            response = self.get_response(request)
        response.setdefault("Permissions-Policy", PERMISSIONS_POLICY)
        return response


class PrivateMiddleware:
    """Forbids caching of responses to a browser with a session, unless the view sets `Cache-Control`."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        session = getattr(request, "session", None)
        if settings.SESSION_COOKIE_NAME in request.COOKIES or (session is not None and session.accessed):
            response.setdefault("Cache-Control", "private, no-store")
        return response


class MethodNotAllowedMiddleware:
    """Replaces the empty 405 of Django's views and decorators with our error page, as Django has no `handler405`."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if isinstance(response, HttpResponseNotAllowed) and not response.content:
            return views.method_not_allowed(request, response["Allow"])
        return response
