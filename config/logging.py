"""Logs: one event name and its fields a line, readable at a terminal or as JSON, never with a secret in it."""

import logging
import logging.config
import re
import time
import uuid
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

import structlog
from django.http import HttpRequest, HttpResponse

SECRET_NAMES = re.compile(r"token|secret|password|authorization|cookie|session_?key|code_verifier|^code$|^state$", re.I)
SECRET_VALUES = re.compile(
    r"\b(Bearer|Bot|Basic)\s+[\w.~+/=-]{6,}"
    r"|(gdh_)\w{8,}"
    r"|((?:access_token|refresh_token|client_secret|code_verifier|code|state)[\"']?\s*[=:]\s*[\"']?)[^\s&\"',}]+",
    re.I,
)
HIDDEN = "[hidden]"

logger = structlog.get_logger(__name__)


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Hide what looks like a secret, by its field's name or by its shape; the last line of defence, not the first."""
    for name, value in event.items():
        event[name] = _without_secrets(name, value)
    return event


def _without_secrets(name: str, value: Any) -> Any:
    if isinstance(value, int | float | bool | None):
        return value
    if name != "event" and SECRET_NAMES.search(name):
        return HIDDEN
    if isinstance(value, Mapping):
        return {key: _without_secrets(str(key), each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_secrets(name, each) for each in value]
    if isinstance(value, HttpRequest):
        # Django's own lines carry it, and its words would be the address with its query.
        return f"{value.method} {value.path}"
    return SECRET_VALUES.sub(lambda m: f"{m[1]} {HIDDEN}" if m[1] else f"{m[2] or m[3]}{HIDDEN}", str(value))


def logging_config(*, log_format: str, level: str) -> None:
    """Send structlog and the standard library through one handler on stderr, in one format."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    processors = [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_last_processors(log_format)]
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "lines": {
                    "()": structlog.stdlib.ProcessorFormatter,
                    "foreign_pre_chain": shared,
                    "processors": processors,
                }
            },
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "lines"}},
            "root": {"handlers": ["stderr"], "level": level},
            # Django repeats every 4xx; the request line below says it once. Tracebacks of 5xx still come through.
            "loggers": {"django.request": {"level": "ERROR"}, "urllib3": {"level": "ERROR"}},
        }
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *(step for step in shared if not isinstance(step, structlog.stdlib.ExtraAdder)),
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _last_processors(log_format: str) -> list[Any]:
    """Hide secrets and render the line: as JSON for `json`, else readable at a terminal."""
    if log_format == "json":
        return [structlog.processors.format_exc_info, redact, structlog.processors.JSONRenderer(default=str)]
    # Plain tracebacks: the rich ones print local variables, and a local variable may be a token.
    plain = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    return [structlog.processors.format_exc_info, redact, plain]


class RequestLogMiddleware:
    """Bind a request id to every line a request causes, return it as `X-Request-ID`, and log the request once.

    The path is logged without its query, where an OAuth code would stand.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request_id = uuid.uuid4().hex[:16]
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            started = time.monotonic()
            response = self.get_response(request)
            logger.info(
                "request",
                method=request.method,
                path=request.path,
                status=response.status_code,
                seconds=round(time.monotonic() - started, 3),
            )
        response["X-Request-ID"] = request_id
        return response
