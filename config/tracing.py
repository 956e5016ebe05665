"""W3C Trace Context: the trace that a request belongs to, in its log lines and in the tasks that it queues.

The site reads `traceparent` and starts no traces itself. Requests to Discord don't carry it, as a trace is not
Discord's business. Fields are named as in OpenTelemetry.
"""

import re
import uuid

import structlog

# Versions above 00 may append fields.
TRACEPARENT = re.compile(
    r"(?!ff)(?P<version>[0-9a-f]{2})-(?!0{32})(?P<trace_id>[0-9a-f]{32})-(?!0{16})[0-9a-f]{16}"
    r"-(?P<trace_flags>[0-9a-f]{2})(?P<more>-.*)?",
    re.ASCII,
)
FIELDS = ("trace_id", "span_id", "trace_flags")


def new_id() -> str:
    """Return 16 hexadecimal digits, never only zeros, so that they are valid as a span's id."""
    return uuid.uuid4().hex[:16]


def trace_of(traceparent: str | None, span_id: str) -> dict[str, str]:
    """Return `FIELDS` for a span of our own, `span_id`, in the caller's trace; nothing if the header is invalid."""
    found = TRACEPARENT.fullmatch(traceparent or "")
    if found is None or (found["version"] == "00" and found["more"]):
        return {}
    return {"trace_id": found["trace_id"], "span_id": span_id, "trace_flags": found["trace_flags"]}


def current_traceparent() -> str | None:
    """Return the header that makes other processes' work part of the current span; None outside of a trace."""
    bound = structlog.contextvars.get_contextvars()
    trace_id, span_id, trace_flags = (bound.get(name) for name in FIELDS)
    return f"00-{trace_id}-{span_id}-{trace_flags}" if trace_id else None
