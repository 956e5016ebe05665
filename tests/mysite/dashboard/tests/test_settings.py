from collections.abc import Callable

from django.test import Client

from accounts.models import User
from mysite.dashboard.models import ServerSettings
from tests.fixtures import Sandbox

ClientOf = Callable[[User], Client]
URL = "/dashboard/1/settings/"


def test_a_manager_saves_the_settings(chess: int, grace: User, client_of: ClientOf, sandbox: Sandbox) -> None:
    sandbox.channels(chess, {"id": "10", "name": "general", "type": "text"})
    sandbox.roles(chess, {"id": "20", "name": "Leader"})
    data = {"points": 3, "decay": 5, "channel_id": 10, "role_id": 20}

    saved = client_of(grace).post(URL, data, follow=True)

    assert "The settings have been saved." in saved.content.decode()
    assert ServerSettings.objects.filter(pk=chess, **data).exists()


def test_a_mistake_is_shown(grace: User, client_of: ClientOf) -> None:
    answer = client_of(grace).post(URL, {"points": 3, "decay": 101})

    assert answer.status_code == 400
    assert "less than or equal to 100" in answer.content.decode()


def test_a_member_gets_403(eve: User, client_of: ClientOf) -> None:
    assert client_of(eve).get(URL).status_code == 403


def test_during_a_rate_limit_the_page_opens_and_saving_fails_closed(
    grace: User, client_of: ClientOf, sandbox: Sandbox
) -> None:
    browser = client_of(grace)
    sandbox.mood("rate_limited", retry_after=60)

    assert browser.get(URL).status_code == 200
    assert browser.post(URL, {"points": 3, "decay": 5}).status_code == 429
    assert not ServerSettings.objects.exists()


def test_the_page_speaks_german(grace: User, client_of: ClientOf) -> None:
    page = client_of(grace).get(URL, headers={"Accept-Language": "de"}).content.decode()

    assert "Punkte je Nachricht" in page
