"""What is answered around the site: before anything looks at the request, and where Django has no handler for it."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed

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


class MethodNotAllowedMiddleware:
    """Gives the 405 of Django's views and decorators, an empty one, the page that `handler405` would be for."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if isinstance(response, HttpResponseNotAllowed) and not response.content:
            return views.method_not_allowed(request, response["Allow"])
        return response
