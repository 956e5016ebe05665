"""Optional reports of exceptions to Sentry and traces by OpenTelemetry, both off unless the environment asks for them.

What leaves the site is a list of what may, not of what may not: no bodies, headers, cookies, queries, local variables,
log lines or people.
"""

import os
from collections.abc import Callable
from types import ModuleType
from typing import Any

import structlog
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured, MiddlewareNotUsed
from django.http import HttpRequest, HttpResponse

from accounts.version import VERSION
from config.logging import without_secrets

INSTALL = "install it with ./run install observability"
# What a report may have, apart from the exception. `transaction` is the route.
IN_REPORTS = ("event_id", "timestamp", "level", "platform", "transaction", "release", "environment", "sdk")
IN_EXCEPTIONS = ("type", "module", "mechanism")
# By these, the log has more about the request.
TAGS = ("request_id", "trace_id")
OTEL_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


def start() -> None:
    """Start what the environment asks for, in this process. Raises `ImproperlyConfigured` if a package is missing."""
    if settings.SENTRY_DSN:
        _start_sentry()
    if traces_are_on():
        _start_traces()


def _start_sentry() -> None:
    try:
        import sentry_sdk
        from sentry_sdk.integrations.logging import LoggingIntegration
    except ImportError:
        raise ImproperlyConfigured(f"SENTRY_DSN is set, but sentry-sdk is missing; {INSTALL}") from None
    try:
        sentry_sdk.init(
            dsn=settings.SENTRY_DSN,
            release=VERSION,
            before_send=scrubbed,
            # Nothing of a trace is sent to Discord.
            trace_propagation_targets=[],
            send_default_pii=False,
            include_local_variables=False,
            max_request_body_size="never",
            max_breadcrumbs=0,
            auto_session_tracking=False,
            # Our events hold the numbers of people.
            integrations=[LoggingIntegration(level=None, event_level=None)],
        )
    except ValueError:
        # Without the cause, which quotes the key.
        raise ImproperlyConfigured("SENTRY_DSN is invalid: it is not the DSN of a Sentry project") from None


def scrubbed(event: Any, _hint: Any) -> Any:
    """Return what of an event is reported: the exception with its stack, and the route and id of the request."""
    bound = structlog.contextvars.get_contextvars()
    return {
        **{name: event[name] for name in IN_REPORTS if name in event},
        "tags": {name: bound[name] for name in TAGS if name in bound},
        "exception": {"values": [_exception(each) for each in event.get("exception", {}).get("values", ())]},
    }


def _exception(found: dict[str, Any]) -> dict[str, Any]:
    """Return an exception with the first line of its text; further lines of a database's errors quote rows."""
    frames = (found.get("stacktrace") or {}).get("frames", ())
    return {
        **{name: found[name] for name in IN_EXCEPTIONS if name in found},
        "value": without_secrets("value", str(found.get("value", "")).partition("\n")[0]),
        "stacktrace": {"frames": [{name: each for name, each in frame.items() if name != "vars"} for frame in frames]},
    }


def traces_are_on() -> bool:
    """Whether the standard variables of OpenTelemetry name a receiver of traces."""
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    exporter = os.environ.get("OTEL_TRACES_EXPORTER", "")
    if exporter not in ("", "otlp", "none"):
        raise ImproperlyConfigured("OTEL_TRACES_EXPORTER is invalid: it must be otlp or none")
    return exporter != "none" and any(os.environ.get(name) for name in OTEL_ENDPOINTS)


def _start_traces() -> None:
    try:
        from opentelemetry import trace
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        names = " or ".join(name for name in OTEL_ENDPOINTS if os.environ.get(name))
        raise ImproperlyConfigured(f"{names} is set, but OpenTelemetry is missing; {INSTALL}") from None
    name = os.environ.get("OTEL_SERVICE_NAME") or "guildhall"
    provider = TracerProvider(resource=Resource.create({"service.name": name, "service.version": VERSION}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)


class TraceMiddleware:
    """Makes each request a span with its route and status, in the caller's trace if it sent one.

    The span's ids are those in the request's log lines. Without OpenTelemetry the middleware removes itself.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        if not traces_are_on():
            raise MiddlewareNotUsed
        from opentelemetry import trace

        self.get_response = get_response
        self.api: ModuleType = trace
        self.tracer = trace.get_tracer("guildhall", VERSION)

    def __call__(self, request: HttpRequest) -> HttpResponse:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        headers = {name.lower(): value for name, value in request.headers.items()}
        caller = TraceContextTextMapPropagator().extract(headers)
        method = request.method or ""
        with self.tracer.start_as_current_span(
            method, context=caller, kind=self.api.SpanKind.SERVER, record_exception=False
        ) as span:
            context = span.get_span_context()
            request.trace = {  # type: ignore[attr-defined]  # read by RequestLogMiddleware
                "trace_id": self.api.format_trace_id(context.trace_id),
                "span_id": self.api.format_span_id(context.span_id),
                "trace_flags": f"{context.trace_flags:02x}",
            }
            response = self.get_response(request)
            route = request.resolver_match.route if request.resolver_match else ""
            span.update_name(f"{method} {route}".strip())
            span.set_attributes(
                {
                    "http.request.method": method,
                    "http.route": route,
                    "http.response.status_code": response.status_code,
                }
            )
            if response.status_code >= 500:
                span.set_status(self.api.StatusCode.ERROR)
        return response
