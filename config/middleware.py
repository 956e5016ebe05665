"""What is answered before anything of the site looks at the request."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from config import metrics, views

ANSWERS = {"/healthz": views.healthz, "/metrics": metrics.page}


class MonitoringMiddleware:
    """Answers the health check and Prometheus, whatever host and scheme they ask by.

    They know one machine's address, not the site's name, and speak plain HTTP to it: further in stand `ALLOWED_HOSTS`,
    a 400, and the redirect to https. Neither answer repeats anything of the request, and the log holds neither.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return ANSWERS.get(request.path_info, self.get_response)(request)
