"""Service tokens in the admin: creating, replacing and revoking them, and which operators can."""

import html
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.test import Client

from accounts.models import ServiceToken, User

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = "/admin/accounts/servicetoken/"
ADD = f"{PAGE}add/"


@pytest.fixture
def operator() -> Client:
    return signed_in(User.objects.create_superuser(username="root", password="only for tests"))


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user, backend="guilds.backends.PasswordBackend")
    return client


def operator_with(*permissions: str) -> Client:
    user = User.objects.create_user(username="operator", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return signed_in(user)


def create(operator: Client, **form: Any) -> Any:
    return operator.post(ADD, {"name": "bot", "scopes": ["bot:read"], **form})


def token_on(response: Any) -> str:
    found = re.search(r'id="new-token">(\w+)<', response.content.decode())
    assert found
    return found[1]


def status(token: str) -> int:
    return Client().get("/api/v1/bot/guilds/", headers={"Authorization": f"Bearer {token}"}).status_code


def test_a_new_token_is_shown_once_and_works(operator: Client) -> None:
    response = create(operator, days=90)

    token, row = token_on(response), ServiceToken.objects.get()
    assert (response.status_code, status(token)) == (200, 200)
    assert "no-store" in response["Cache-Control"]
    assert (row.name, row.scopes, row.expires_at) == ("bot", ["bot:read"], row.created_at + timedelta(days=90))
    for page in (ADD, PAGE, f"{PAGE}{row.pk}/change/", f"{PAGE}{row.pk}/history/", "/admin/"):
        assert token not in operator.get(page).content.decode()
    assert LogEntry.objects.get().object_id == str(row.pk)


def test_the_form_offers_the_scopes_that_a_service_can_have(operator: Client) -> None:
    page = html.unescape(operator.get(ADD).content.decode())

    assert "bot:read – Read the bot's servers" in page
    assert "guilds:refresh" not in page
    assert create(operator, scopes=["guilds:refresh"]).status_code == 422


def test_a_replacement_keeps_the_scopes_and_the_earlier_token(operator: Client) -> None:
    first = token_on(create(operator))

    second = token_on(create(operator, scopes=[]))

    assert (status(first), status(second)) == (200, 200)


def test_a_replacement_can_end_the_earlier_tokens(operator: Client) -> None:
    first = token_on(create(operator))

    token_on(create(operator, hours=1))
    ends = [row.expires_at - row.created_at for row in ServiceToken.objects.all() if row.expires_at]
    third = token_on(create(operator, hours=0))

    assert [timedelta(hours=1) <= end < timedelta(hours=1, minutes=1) for end in ends] == [True]
    assert (status(first), status(third)) == (401, 200)


@pytest.mark.parametrize(
    ("form", "says"),
    [
        ({"name": "The bot"}, "A name has a-z, 0-9"),
        ({"name": ""}, "required"),
        ({"scopes": ["bot:burn"]}, "bot:burn is not one of the available choices"),
        ({"scopes": []}, "Choose a scope: the service has no earlier token."),
        ({"days": "0"}, "greater than or equal to 1"),
        ({"hours": "-1"}, "greater than or equal to 0"),
    ],
)
def test_a_wrong_form_creates_none_and_says_why(operator: Client, form: dict[str, Any], says: str) -> None:
    response = create(operator, **form)

    assert response.status_code == 422
    assert says in html.unescape(response.content.decode())
    assert not ServiceToken.objects.exists()


def test_a_third_valid_token_is_refused(operator: Client) -> None:
    create(operator)
    create(operator)

    response = create(operator)

    assert response.status_code == 422
    assert "Two tokens of this service are valid already." in response.content.decode()
    assert ServiceToken.objects.count() == 2


@pytest.mark.parametrize("way", ["page", "action"])
def test_a_deleted_token_is_revoked_and_logged(operator: Client, way: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    token, row = token_on(create(operator)), ServiceToken.objects.get()

    if way == "page":
        operator.post(f"{PAGE}{row.pk}/delete/", {"post": "yes"})
    else:
        operator.post(PAGE, {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"})

    assert status(token) == 401
    operators = User.objects.get().pk
    assert [
        (record.msg["event"], record.msg["by"])  # type: ignore[index,call-overload]  # structlog's message is a dict
        for record in caplog.records
        if "service_token" in str(record.msg)
    ] == [("service_token_created", f"user {operators}"), ("service_token_revoked", f"user {operators}")]


def test_a_token_cannot_be_changed(operator: Client) -> None:
    create(operator)
    row = ServiceToken.objects.get()

    response = operator.post(f"{PAGE}{row.pk}/change/", {"name": "shop", "scopes": '["guilds:read"]'})

    assert response.status_code == 403
    assert ServiceToken.objects.get().name == "bot"


def test_each_right_is_needed(operator: Client) -> None:
    create(operator)
    row = ServiceToken.objects.get()
    reader = operator_with("view_servicetoken")

    statuses = [
        reader.get(PAGE).status_code,
        reader.get(ADD).status_code,
        create(reader).status_code,
        reader.post(f"{PAGE}{row.pk}/delete/", {"post": "yes"}).status_code,
    ]

    assert statuses == [200, 403, 403, 403]
    assert ServiceToken.objects.get() == row


def test_a_form_of_another_site_creates_none(operator: Client) -> None:
    operator.handler.enforce_csrf_checks = True

    assert create(operator).status_code == 403
    assert not ServiceToken.objects.exists()


def test_people_have_no_such_page(ada: User, client_of: Callable[[User], Client]) -> None:
    assert client_of(ada).get(ADD).status_code == 302
