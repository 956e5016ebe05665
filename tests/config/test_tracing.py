"""A caller's trace reaches the log lines of its request and the tasks that it queues, and never Discord."""

import http.client
import importlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from celery import shared_task
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from pytest_django import Settings

from accounts.models import User
from config.logging import RequestLogMiddleware
from config.tracing import current_traceparent, new_id, trace_of
from tests.fixtures import Sandbox

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


def bound_in_a_request(rf: RequestFactory, **headers: str) -> tuple[dict[str, Any], HttpResponse]:
    """Return what all log lines of a request hold, and its response."""
    seen: dict[str, Any] = {}

    def view(request: HttpRequest) -> HttpResponse:
        seen.update(structlog.contextvars.get_contextvars(), sends=current_traceparent())
        return HttpResponse()

    response = RequestLogMiddleware(view)(rf.get("/", headers=headers))
    return seen, response


def test_a_callers_trace_is_in_the_lines_of_its_request_and_no_other(rf: RequestFactory) -> None:
    seen, response = bound_in_a_request(rf, traceparent=PARENT)
    span = response["X-Request-ID"]

    assert seen == {
        "request_id": span,
        "trace_id": TRACE,
        "span_id": span,
        "trace_flags": "01",
        "sends": f"00-{TRACE}-{span}-01",
    }
    assert "trace_id" not in bound_in_a_request(rf)[0]


@pytest.mark.parametrize(
    "header",
    [
        "",
        TRACE,
        PARENT.upper(),
        f"{PARENT}-more",
        f"{PARENT}\n",
        f" {PARENT}",
        f"ff{PARENT[2:]}",
        f"0{PARENT}",
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[:-1]}g-00f067aa0ba902b7-01",
        f"00-{TRACE}-00f067aa0ba902b7-1",
        f"01-{TRACE}-00f067aa0ba902b7-01more",
        f"{PARENT},{PARENT}",
    ],
)
def test_an_invalid_header_is_ignored(rf: RequestFactory, header: str) -> None:
    seen, response = bound_in_a_request(rf, traceparent=header)

    assert seen == {"request_id": response["X-Request-ID"], "sends": None}


def test_a_later_version_may_say_more() -> None:
    trace = trace_of(f"cc{PARENT[2:]}-what-comes-later", "a" * 16)

    assert trace == {"trace_id": TRACE, "span_id": "a" * 16, "trace_flags": "01"}


def test_discord_is_not_told(
    with_list: Callable[..., User],
    client_of: Callable[[User], Client],
    sandbox: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    browser = client_of(with_list("ada", hours=5))
    sent: list[str] = []
    send = http.client.HTTPConnection.putheader
    monkeypatch.setattr(
        http.client.HTTPConnection,
        "putheader",
        lambda self, name, *values: (sent.append(str(name).lower()), send(self, name, *values))[1],
    )

    browser.get("/servers/", headers={"traceparent": PARENT})

    assert len(sandbox.requests()) == 1
    assert "authorization" in sent
    assert "traceparent" not in sent


@pytest.fixture
def celery(settings: Settings) -> Iterator[Any]:
    """`config.celery` with a broker within this process."""
    settings.CELERY_BROKER_URL = "memory://"
    sys.modules.pop("config.celery", None)
    yield importlib.import_module("config.celery")
    sys.modules.pop("config.celery", None)


def test_a_task_belongs_to_the_trace_of_the_request_that_queues_it(celery: Any) -> None:
    seen: list[dict[str, Any]] = []

    @shared_task(name="look")
    def look() -> None:
        seen.append(structlog.contextvars.get_contextvars())

    with structlog.contextvars.bound_contextvars(**trace_of(PARENT, "a" * 16)):
        look.delay()
    look.delay()
    queued = [message_of(celery.app) for _ in range(2)]

    assert [headers.get("traceparent") for headers in queued] == [f"00-{TRACE}-{'a' * 16}-01", None]
    for headers in queued:
        run(look, headers)
    assert [line.get("trace_id") for line in seen] == [TRACE, None]
    assert seen[0]["span_id"] not in ("a" * 16, new_id())
    assert not structlog.contextvars.get_contextvars()


def test_a_task_that_runs_at_once_leaves_the_requests_trace(celery: Any, tasks_at_once: None) -> None:
    @shared_task(name="rest")
    def rest() -> None: ...

    with structlog.contextvars.bound_contextvars(**trace_of(PARENT, "a" * 16)):
        rest.delay()

        assert current_traceparent() == f"00-{TRACE}-{'a' * 16}-01"


def message_of(app: Any) -> dict[str, Any]:
    """Take the next message from the queue and return its headers."""
    with app.connection_for_read() as connection:
        message = connection.default_channel.basic_get("celery", no_ack=True)
        headers: dict[str, Any] = message.headers
        return headers


def run(task: Any, headers: dict[str, Any]) -> None:
    """Run the task as a worker does with a message of these headers."""
    from celery.app.trace import build_tracer

    trace = build_tracer(task.name, task, app=task.app)
    assert trace(headers["id"], (), {}, {**headers, "args": (), "kwargs": {}})[0] is None
