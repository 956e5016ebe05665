"""The exception page under DEBUG shows no passwords of URLs."""

import sys

import pytest
from django.test import RequestFactory
from django.views.debug import get_exception_reporter_class
from pytest_django import Settings


@pytest.mark.parametrize("as_text", [False, True])
def test_no_url_shows_its_password(rf: RequestFactory, settings: Settings, as_text: bool) -> None:
    # Assembled at runtime, because the page shows the source lines.
    password = "hunter" + "2"
    settings.DEBUG = True
    settings.REDIS_URL = f"redis://:{password}@cache:6379/0"
    settings.CELERY_BROKER_URL = f"amqp://guildhall:{password}@queue//"
    settings.CACHES = {"default": {"LOCATION": [f"redis://user:{password}@cache"]}}
    request = rf.get("/")
    request.META["DATABASE_URL"] = f"postgres://db/guildhall?user=x&password={password}"
    try:
        conninfo = f"postgres://guildhall:{password}@db/guildhall"
        raise RuntimeError(len(conninfo))
    except RuntimeError:
        reporter = get_exception_reporter_class(request)(request, *sys.exc_info())

    page = reporter.get_traceback_text() if as_text else reporter.get_traceback_html()

    assert "cache:6379/0" in page
    assert "hunter" + "2" not in page
