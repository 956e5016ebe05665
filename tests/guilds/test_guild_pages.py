"""A server's page shows the parts and links that apps add."""

from collections.abc import Callable

import pytest
from django.test import Client
from pytest_django import Settings

from accounts.models import User
from tests.fixtures import Sandbox

WithList = Callable[..., User]
ClientOf = Callable[[User], Client]
CHESS, GARDEN = 1, 2
HEADING = "Manage"
LOADERS = ("django.template.loaders.filesystem.Loader", "django.template.loaders.app_directories.Loader")


@pytest.fixture
def manager(with_list: WithList, client_of: ClientOf, sandbox: Sandbox) -> Client:
    """Ada's, who manages the chess club and is a member of the garden."""
    guilds = [{"id": str(CHESS), "name": "<Chess>", "owner": True}, {"id": str(GARDEN), "permissions": "0"}]
    sandbox.person("ada", guilds=guilds)
    return client_of(with_list("ada"))


@pytest.fixture
def add_pages(settings: Settings) -> Callable[[dict[str, str]], None]:
    """Give apps such templates, by label."""

    def add_pages(pages: dict[str, str]) -> None:
        templates = {f"{label}/_guild_pages.html": text for label, text in pages.items()}
        options = settings.TEMPLATES[0]["OPTIONS"] | {
            "loaders": [("django.template.loaders.locmem.Loader", templates), *LOADERS]
        }
        settings.TEMPLATES = [settings.TEMPLATES[0] | {"APP_DIRS": False, "OPTIONS": options}]

    return add_pages


def test_each_app_leads_to_its_pages(manager: Client, add_pages: Callable[[dict[str, str]], None]) -> None:
    link = '<a href="/{}/{{{{ server.guild_id }}}}/">{{{{ server.name }}}}</a>'
    add_pages({"accounts": link.format("polls"), "guilds": link.format("welcome")})

    page = manager.get(f"/servers/{CHESS}/").content.decode()

    assert page.index('<a href="/welcome/1/">&lt;Chess&gt;</a>') < page.index('<a href="/polls/1/">&lt;Chess&gt;</a>')
    assert HEADING in page


def test_nothing_is_announced_where_there_is_nothing(
    manager: Client, add_pages: Callable[[dict[str, str]], None]
) -> None:
    moderate = "{% load guild_access %}\n{% if server|may:'kick_members' %}Moderate{% endif %}"
    add_pages({"accounts": moderate, "guilds": moderate})

    pages = [manager.get(f"/servers/{guild_id}/").content.decode() for guild_id in (CHESS, GARDEN)]

    assert [(HEADING in page, "Moderate" in page) for page in pages] == [(True, True), (False, False)]


def test_one_app_does_not_see_what_another_one_sets(
    manager: Client, add_pages: Callable[[dict[str, str]], None]
) -> None:
    add_pages({"guilds": "{% firstof 'mine' as said %}", "accounts": "({{ said }})"})

    assert "()" in manager.get(f"/servers/{CHESS}/").content.decode()


@pytest.mark.parametrize(
    "fault", ["{% include 'accounts/no_such.html' %}", "{% no_such_tag %}", "{{ server|may:'manage_server' }}"]
)
def test_a_fault_in_an_apps_template_is_logged_and_only_that_part_is_missing(
    fault: str,
    manager: Client,
    add_pages: Callable[[dict[str, str]], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    add_pages({"accounts": "{% load guild_access %}" + fault, "guilds": "Welcome message"})

    response = manager.get(f"/servers/{CHESS}/")

    assert response.status_code == 200
    assert "Welcome message" in response.content.decode()
    failed = [record for record in caplog.records if "guild_pages_failed" in record.getMessage()]
    assert ["accounts" in record.getMessage() for record in failed] == [True]
