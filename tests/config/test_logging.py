"""No secret reaches a log line, in any field or text; and each thing that happens is one line."""

import logging
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from io import StringIO
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from pytest_django import Settings

from accounts.models import User
from config.logging import HIDDEN, RequestLogMiddleware, redact
from tests.fixtures import Sandbox


@pytest.mark.parametrize(
    "name", ["token", "access_token", "refresh_token", "client_secret", "Authorization", "cookie", "password", "code"]
)
def test_a_field_named_like_a_secret_is_hidden(name: str) -> None:
    assert redact(None, "info", {"event": "x", name: "abc123"})[name] == HIDDEN


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer mfa.VkO_2G4Qv3T-secret",
        "GET /complete/discord/?code=VkO2G4Qv3T&state=VkO2G4Qv3T",
        '{"access_token": "VkO2G4Qv3T"}',
        "refresh_token=VkO2G4Qv3T",
        "a visitor pasted gdh_VkO2G4Qv3T into an address",
        "an operator pasted gdhs_VkO2G4Qv3T into an address",
    ],
)
def test_a_secret_inside_a_sentence_is_hidden(text: str) -> None:
    line = redact(None, "info", {"event": "x", "detail": text})["detail"]

    assert "VkO" not in line
    assert HIDDEN in line


def test_times_are_told_in_one_format() -> None:
    at = datetime(2026, 11, 28, 9, 30, tzinfo=UTC)

    assert redact(None, "info", {"event": "x", "until": at, "not_before": None}) == {
        "event": "x",
        "until": "2026-11-28T09:30:00+00:00",
        "not_before": None,
    }


def test_what_is_no_secret_stays() -> None:
    line = {"event": "request", "path": "/servers/", "status": 200, "code": 50035, "reason": "rate_limited"}

    assert redact(None, "info", dict(line)) == line


def test_a_request_is_told_without_its_query() -> None:
    request = RequestFactory().get("/complete/discord/?code=abcdef123&state=xyz789")

    assert redact(None, "info", {"event": "x", "request": request})["request"] == "GET /complete/discord/"


def test_a_secret_inside_a_value_is_hidden() -> None:
    answers = [{"access_token": "abcdef123", "left": {"rate_limited": 2}}, "token=abc", OSError("code=VkO2G4Qv3T")]

    line = redact(None, "info", {"event": "x", "answers": answers})

    assert line["answers"][0] == {"access_token": HIDDEN, "left": {"rate_limited": 2}}
    assert line["answers"][2] == f"code={HIDDEN}"


# one line for each thing that happens


@pytest.fixture
def log(settings: Settings) -> Iterator[Callable[[], list[str]]]:
    """The lines that the site writes, as its own handler formats them."""
    [handler] = [each for each in logging.getLogger().handlers if type(each) is logging.StreamHandler]
    written = StringIO()
    before = handler.setStream(written)
    level, logging.getLogger().level = logging.getLogger().level, logging.INFO
    yield lambda: written.getvalue().splitlines()
    logging.getLogger().level = level
    handler.setStream(before)


def requests_in(lines: list[str]) -> list[str]:
    return [line for line in lines if re.search(r"\] request\b", line)]


def test_a_reader_who_has_to_wait_is_one_warning(
    log: Callable[[], list[str]],
    sign_up: Callable[..., User],
    client_of: Callable[[User], Client],
    sandbox: Sandbox,
) -> None:
    browser = client_of(sign_up("ada"))
    sandbox.mood("outage")

    response = browser.get("/servers/")

    assert response.status_code == 503
    assert "django.request" not in "".join(log())
    [line] = requests_in(log())
    assert "[warning" in line
    assert f"request_id={response['X-Request-ID']}" in line
    assert "problem=discord-unavailable" in line


def test_an_attempt_has_the_id_of_the_request_that_started_it(
    log: Callable[[], list[str]],
    sign_up: Callable[..., User],
    client_of: Callable[[User], Client],
    sandbox: Sandbox,
) -> None:
    browser = client_of(sign_up("ada"))
    sandbox.mood("outage")

    response = browser.get("/servers/")

    lines = [line for line in log() if "discord_unavailable" in line or "guild_list_refresh_failed" in line]
    assert len(lines) == 2
    assert all(f"request_id={response['X-Request-ID']}" in line for line in lines)


def lose(*args: Any) -> None:
    raise OperationalError("the database is gone")


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/servers/", "/api/v1/guilds/"])
def test_a_lost_database_is_one_warning_without_a_traceback(
    log: Callable[[], list[str]], client_of: Callable[[User], Client], ada: User, path: str
) -> None:
    browser = client_of(ada)
    browser.raise_request_exception = False

    with connection.execute_wrapper(lose):
        response = browser.get(path)

    assert response.status_code == 503
    assert "Traceback" not in "\n".join(log())
    [line] = requests_in(log())
    assert "problem=database-unavailable" in line


def test_an_exception_in_the_code_is_an_error_with_its_traceback(
    log: Callable[[], list[str]], rf: RequestFactory
) -> None:
    request_logger = logging.getLogger("django.request")
    try:
        raise ZeroDivisionError
    except ZeroDivisionError as error:
        request_logger.error("Internal Server Error: /", exc_info=error)
    request_logger.error("Service Unavailable: /")
    request_logger.warning("Not Found: /")

    assert [line for line in log() if "django.request" in line] == [log()[0]]
    assert "[error" in log()[0]
    assert log()[-1].startswith("ZeroDivisionError")


@pytest.mark.parametrize(("status", "lines"), [(200, 0), (404, 0), (503, 1)])
def test_request_lines_can_be_turned_off(
    log: Callable[[], list[str]], rf: RequestFactory, settings: Settings, status: int, lines: int
) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse(status=status)

    settings.LOG_REQUESTS = True
    RequestLogMiddleware(view)(rf.get("/"))
    assert len(requests_in(log())) == 1

    settings.LOG_REQUESTS = False
    RequestLogMiddleware(view)(rf.get("/"))
    assert len(requests_in(log())) == 1 + lines
