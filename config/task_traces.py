"""Celery tasks belong to the trace of the request that queues them: the message's header `traceparent` says which."""

from typing import Any

import structlog
from celery.signals import before_task_publish, task_postrun, task_prerun

from config.tracing import current_traceparent, new_id, trace_of


@before_task_publish.connect  # type: ignore[untyped-decorator]  # Celery has no types
def send(headers: dict[str, Any], **_: Any) -> None:
    if traceparent := current_traceparent():
        headers.setdefault("traceparent", traceparent)


@task_prerun.connect  # type: ignore[untyped-decorator]  # as above
def bind(task: Any, **_: Any) -> None:
    trace = trace_of(getattr(task.request, "traceparent", None), new_id())
    # Restored afterwards: a task that runs where it is queued leaves the request its trace.
    task.request.trace_tokens = structlog.contextvars.bind_contextvars(**trace)


@task_postrun.connect  # type: ignore[untyped-decorator]  # as above
def unbind(task: Any, **_: Any) -> None:
    structlog.contextvars.reset_contextvars(**task.request.trace_tokens)
