"""Logging: one event name with its fields per line, as text or as JSON, without secrets."""

import logging
import logging.config
import logging.handlers
import re
import sys
import time
from collections.abc import Callable, Mapping, MutableMapping
from datetime import datetime
from pathlib import Path
from typing import Any

import structlog
from django.conf import settings
from django.http import HttpRequest, HttpResponse

from config.tracing import new_id, trace_of

SECRET_NAMES = re.compile(r"token|secret|password|authorization|cookie|session_?key|code_verifier|^code$|^state$", re.I)
SECRET_VALUES = re.compile(
    r"\b(Bearer|Bot|Basic)\s+[\w.~+/=-]{6,}"
    r"|(gdhs?_)\w{8,}"
    r"|((?:access_token|refresh_token|client_secret|code_verifier|code|state)[\"']?\s*[=:]\s*[\"']?)[^\s&\"',}]+",
    re.I,
)
HIDDEN = "[hidden]"

logger = structlog.get_logger(__name__)


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Hide values that look like secrets, by field name or by format. Only a second line of defence."""
    for name, value in event.items():
        event[name] = without_secrets(name, value)
    return event


def without_secrets(name: str, value: Any) -> Any:
    """Return the value of a field without what looks like a secret, and a time in ISO 8601."""
    if isinstance(value, int | float | bool | None):
        return value
    if isinstance(value, datetime):
        return value.isoformat()
    if name != "event" and SECRET_NAMES.search(name):
        return HIDDEN
    if isinstance(value, Mapping):
        return {key: without_secrets(str(key), each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [without_secrets(name, each) for each in value]
    if isinstance(value, HttpRequest):
        # Django's own log lines include it, and its repr contains the URL with its query.
        return f"{value.method} {value.path}"
    return SECRET_VALUES.sub(lambda m: f"{m[1]} {HIDDEN}" if m[1] else f"{m[2] or m[3]}{HIDDEN}", str(value))


# A single list for the process: loggers keep a reference to it, so all of them must see new processors when the
# settings are read again.
PROCESSORS: list[Any] = []


LOGGERS: dict[str, dict[str, Any]] = {
    # Whatever the level of the log, since a restored backup is corrected with these.
    "accounts.deletions": {"handlers": ["deletions"], "level": "INFO"},
    "django.request": {"filters": ["faults"]},
    # The development server logs every request, which the site's own line about a request already covers.
    "django.server": {"level": "CRITICAL"},
    "urllib3": {"level": "ERROR"},
}


class DeletionsHandler(logging.handlers.WatchedFileHandler):
    """Appends to the list of deletions, and follows logrotate. A failure is logged and never fails the deletion."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            super().emit(record)
        except OSError:
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the library's name
        logger.error("deletion_not_listed", file=self.baseFilename, error=str(sys.exc_info()[1]))


# What an entry in the list of deletions consists of; a request's id would connect it with other lines of the log.
IN_DELETIONS = ("event", "user_id", "token_id", "timestamp")


def only_deletion(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> dict[str, Any]:
    return {name: event[name] for name in IN_DELETIONS if name in event}


# What completes each line, whether structlog or the standard library's logging wrote it.
SHARED: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.ExtraAdder(),
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]


def logging_config(*, log_format: str, level: str, deletions: Path) -> None:
    """Configure structlog and the standard library to log through one handler on stderr, in one format.

    `deletions` is the file that the list of deletions is appended to.
    """
    processors = [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_last_processors(log_format)]
    of_deletions = [only_deletion, structlog.processors.JSONRenderer()]
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "lines": {
                    "()": structlog.stdlib.ProcessorFormatter,
                    "foreign_pre_chain": SHARED,
                    "processors": processors,
                },
                "deletions": {"()": structlog.stdlib.ProcessorFormatter, "processors": of_deletions},
            },
            "handlers": {
                "stderr": {"class": "logging.StreamHandler", "formatter": "lines", "level": level},
                "deletions": {
                    "()": lambda: DeletionsHandler(deletions, encoding="utf-8", delay=True),
                    "formatter": "deletions",
                },
            },
            "root": {"handlers": ["stderr"], "level": level},
            "filters": {"faults": {"()": lambda: is_fault}},
            "loggers": LOGGERS,
        }
    )
    logging.captureWarnings(True)
    PROCESSORS[:] = [
        structlog.stdlib.filter_by_level,
        *(step for step in SHARED if not isinstance(step, structlog.stdlib.ExtraAdder)),
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
    ]
    structlog.configure(
        processors=PROCESSORS,
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def is_fault(record: logging.LogRecord) -> bool:
    """Whether Django's line about a response has a traceback that an operator should read.

    It logs every 4xx and 5xx, and `RequestLogMiddleware` covers those, with the request's id. A database that is down
    is no fault of the code.
    """
    # Imported here because the settings import this module.
    from accounts.database import is_unavailable

    return bool(record.exc_info) and not is_unavailable(record.exc_info[1] if record.exc_info else None)


def _last_processors(log_format: str) -> list[Any]:
    """Return the processors that hide secrets and render the line as JSON (`json`) or as text."""
    if log_format == "json":
        return [structlog.processors.format_exc_info, redact, structlog.processors.JSONRenderer(default=str)]
    # Plain tracebacks, because rich ones print local variables, which may hold tokens.
    plain = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    return [structlog.processors.format_exc_info, redact, plain]


class RequestLogMiddleware:
    """Binds a request id to all log lines of a request, returns it as `X-Request-ID`, and logs the request once.

    With a valid `traceparent`, the lines also have the caller's trace, in which the request's id is that of a span.
    The path is logged without its query, which may contain an OAuth code. A 5xx is a warning and is logged even
    without `LOG_REQUESTS`: it is intended, such as a wait for Discord, or has an error line of its own.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response
        self.logs_all = settings.LOG_REQUESTS

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request_id = new_id()
        # OpenTelemetry's, if it is on.
        trace = getattr(request, "trace", None) or trace_of(request.headers.get("traceparent"), request_id)
        with structlog.contextvars.bound_contextvars(request_id=request_id, **trace):
            started = time.monotonic()
            response = self.get_response(request)
            has_failed = response.status_code >= 500
            if self.logs_all or has_failed:
                problem = getattr(response, "problem_name", None)
                (logger.warning if has_failed else logger.info)(
                    "request",
                    method=request.method,
                    path=request.path,
                    status=response.status_code,
                    seconds=round(time.monotonic() - started, 3),
                    **({"problem": problem} if problem else {}),
                )
        response["X-Request-ID"] = request_id
        return response
