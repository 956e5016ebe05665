"""Every page in every state as people see it: rendered here, and shown to Chromium with the site's own headers."""

from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest
from django.conf import settings as django_settings
from django.contrib.staticfiles import finders
from django.http import HttpResponse
from django.template.autoreload import reset_loaders
from django.test import Client
from playwright.sync_api import Browser, Page, Route
from pytest_django import Settings

from accounts.models import User
from tests import states
from tests.browser.looks import TWO_LOOKS, faults_of, inspect
from tests.fixtures import Sandbox
from tests.states import FRAGMENTS, PAGES, Visit

pytestmark = pytest.mark.urls(states.__name__)

# Nobody is there: what the page asks for is answered below.
ADDRESS = "http://testserver/"
CDN_URL = django_settings.DISCORD_CDN_URL


@pytest.fixture(scope="module", autouse=True)
def beside_playwright() -> Iterator[None]:
    """Playwright runs an event loop in this thread, and Django would take its calls for those of an async view."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        yield


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Page]:
    """One page shows all states one after the other: each is a document of its own, and none stores anything."""
    with browser.new_context() as context:
        yield context.new_page()


@pytest.fixture(scope="module")
def faults(page: Page) -> list[str]:
    return faults_of(page)


@pytest.mark.parametrize("name", [name for name in PAGES if name not in FRAGMENTS])
def test_every_state_is_accessible_and_fits(
    with_list: Callable[..., User],
    client_of: Callable[[User], Client],
    sandbox: Sandbox,
    settings: Settings,
    page: Page,
    faults: list[str],
    name: str,
) -> None:
    # The one that the Content-Security-Policy knows, which was made when the settings were read.
    settings.DISCORD_CDN_URL = CDN_URL
    # Rows that this process has drawn before have the sandbox's.
    reset_loaders()
    user = with_list("ada", minutes=10)
    ada, visitor = client_of(user), Client()
    for client in (ada, visitor):
        # Its words are longer.
        client.defaults["HTTP_ACCEPT_LANGUAGE"] = "de"
        client.raise_request_exception = False
    faults.clear()

    shown = PAGES[name][1](Visit(ada, visitor, user, sandbox))
    page.unroute_all()
    page.route("**/*", lambda route: answer(route, shown))
    page.goto(ADDRESS)

    inspect(page, looks=TWO_LOOKS)
    assert faults == []


def answer(route: Route, shown: HttpResponse) -> None:
    """The page itself and its static files; nothing else, as a picture that can't be had is a state too."""
    path = urlsplit(route.request.url).path
    if route.request.url == ADDRESS:
        route.fulfill(status=shown.status_code, headers=dict(shown.headers), body=shown.content)
    elif path.startswith("/static/") and (file := finders.find(path.removeprefix("/static/"))):
        route.fulfill(path=file)
    else:
        route.abort()
