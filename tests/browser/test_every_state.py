"""Every page in every state, rendered in this process and shown in Chromium with the site's own headers."""

from collections.abc import Callable, Iterator

import pytest
from django.conf import settings as django_settings
from django.template.autoreload import reset_loaders
from django.test import Client
from playwright.sync_api import Browser, Page
from pytest_django import Settings

from accounts.models import User
from tests import states
from tests.browser.looks import TWO_LOOKS, check_that_it_fits, faults_of, inspect
from tests.browser.rendered import show
from tests.fixtures import Sandbox
from tests.states import FRAGMENTS, PAGES, Visit

pytestmark = [pytest.mark.thorough, pytest.mark.urls(states.__name__), pytest.mark.usefixtures("beside_playwright")]

CDN_URL = django_settings.DISCORD_CDN_URL


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Page]:
    """One page for all states: each state is a new document, and none stores anything."""
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
    # The URL in the Content-Security-Policy, which was built when the settings were read.
    settings.DISCORD_CDN_URL = CDN_URL
    # Rows rendered earlier in this process contain the sandbox's URL.
    reset_loaders()
    user = with_list("ada", minutes=10)
    ada, visitor = client_of(user), Client()
    for client in (ada, visitor):
        # Its texts are longer.
        client.defaults["HTTP_ACCEPT_LANGUAGE"] = "de"
        client.raise_request_exception = False
    faults.clear()

    shown = PAGES[name][1](Visit(ada, visitor, user, sandbox))
    # Without images from Discord, as a missing image is also a state.
    show(page, shown)

    inspect(page, looks=TWO_LOOKS)
    check_that_it_fits(page)
    assert faults == []
