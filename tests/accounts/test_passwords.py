"""Limits on guessing an operator's password, by address and by name, with logs and metrics."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth import authenticate
from django.test import Client
from prometheus_client import REGISTRY
from pytest_django import Settings
from structlog.testing import capture_logs

from accounts.models import User
from accounts.throttles import TooManyRequests
from guilds.backends import PasswordBackend
from tests.accounts.test_sign_in import words_of

pytestmark = pytest.mark.django_db
LOGIN = "/admin/login/?next=/admin/"
PASSWORD = "only for tests"
HERE, ELSEWHERE = "192.0.2.1", "192.0.2.2"


@pytest.fixture(autouse=True)
def root(db: None) -> User:
    return User.objects.create_superuser(username="root", password=PASSWORD)


@pytest.fixture(autouse=True)
def limits(settings: Settings) -> Settings:
    settings.PASSWORD_THROTTLE_ADDRESS_NAME = (2, 3600)
    settings.PASSWORD_THROTTLE_ADDRESS = (4, 3600)
    settings.PASSWORD_THROTTLE_NAME = (3, 3600)
    return settings


@pytest.fixture
def events() -> Iterator[list[Any]]:
    with capture_logs() as events:
        yield events


def enter(name: str, password: str = "guess", address: str = HERE, client: Client | None = None) -> Any:
    return (client or Client()).post(LOGIN, {"username": name, "password": password}, REMOTE_ADDR=address)


def count(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_one_address_may_guess_one_name_a_few_times_and_the_right_password_is_refused_after_that() -> None:
    statuses = [enter("root").status_code for _ in range(2)]

    response = enter("root", PASSWORD)

    assert statuses == [200, 200]
    assert (response.status_code, response["Retry-After"]) == (429, "1800")
    assert "Too many wrong passwords were entered." in words_of(response)
    assert "guildhall_session" not in response.cookies
    assert enter("root", PASSWORD, ELSEWHERE).status_code == 302


def test_one_address_may_not_try_many_names() -> None:
    statuses = [enter(f"name {number}").status_code for number in range(5)]

    assert statuses == [200] * 4 + [429]


def test_a_name_that_does_not_exist_is_limited_as_one_that_does() -> None:
    statuses = {
        name: [enter(name, address=f"192.0.2.{number}").status_code for number in range(4)]
        for name in ("root", "nobody")
    }

    assert statuses["root"] == statuses["nobody"] == [200, 200, 200, 429]


def test_many_addresses_lock_nobody_out_of_a_browser_that_has_signed_in_before() -> None:
    known = Client()
    assert enter("root", PASSWORD, client=known).status_code == 302
    known.post("/sign-out/")
    for number in range(10, 20):
        enter("root", address=f"192.0.2.{number}")

    assert enter("root", PASSWORD, ELSEWHERE).status_code == 429
    assert enter("root", PASSWORD, ELSEWHERE, client=known).status_code == 302


def test_the_device_cookie_names_one_name_and_cannot_be_made_up(settings: Settings) -> None:
    User.objects.create_superuser(username="grace", password=PASSWORD)
    known = Client()
    enter("root", PASSWORD, client=known)
    cookie = known.cookies["guildhall_device"]
    for number in range(10, 20):
        enter("grace", address=f"192.0.2.{number}")
        enter("root", address=f"192.0.2.{number}")

    forged = Client()
    forged.cookies["guildhall_device"] = cookie.value.partition(":")[0]
    assert enter("grace", PASSWORD, ELSEWHERE, client=known).status_code == 429
    assert enter("root", PASSWORD, ELSEWHERE, client=forged).status_code == 429
    assert (cookie["httponly"], cookie["samesite"], "root" in cookie.value) == (True, "Lax", False)


def test_a_known_browser_may_not_guess_without_end_either() -> None:
    known = Client()
    enter("root", PASSWORD, client=known)

    assert [enter("root", client=known).status_code for _ in range(3)] == [200, 200, 429]


def test_a_right_password_does_not_count() -> None:
    statuses = [enter("root", PASSWORD).status_code for _ in range(6)]

    assert statuses == [302] * 6


def test_another_form_and_async_code_meet_the_same_limits() -> None:
    for _ in range(2):
        assert authenticate(None, username="root", password="guess") is None

    with pytest.raises(TooManyRequests):
        authenticate(None, username="root", password=PASSWORD)
    with pytest.raises(TooManyRequests):
        asyncio.run(PasswordBackend().aauthenticate(None, username="root", password=PASSWORD))


def test_a_wrong_old_password_counts_and_a_weak_new_one_does_not(client: Client) -> None:
    enter("root", PASSWORD, client=client)

    def change(old: str, new: str) -> int:
        form = {"old_password": old, "new_password1": new, "new_password2": new}
        return client.post("/admin/password_change/", form, REMOTE_ADDR=HERE).status_code

    assert client.get("/admin/password_change/").status_code == 200
    assert [change(PASSWORD, "1") for _ in range(5)] == [200] * 5
    assert [change("guess", "entirely new words") for _ in range(2)] == [200, 200]
    assert change(PASSWORD, "entirely new words") == 429


def test_each_refusal_is_logged_and_counted_without_the_name(root: User, events: list[Any]) -> None:
    refused, throttled = (
        ("guildhall_password_attempts_total", {"outcome": "refused"}),
        ("guildhall_requests_throttled_total", {"limit": "password_address_name"}),
    )
    before = count(refused[0], **refused[1]), count(throttled[0], **throttled[1])

    enter("root")
    enter("hunter2 by mistake")
    enter("root")
    enter("root")

    of_passwords = [event for event in events if event["event"] in ("password_refused", "throttled")]
    assert [(event["event"], event["address"], event.get("user_id")) for event in of_passwords] == [
        ("password_refused", HERE, root.pk),
        ("password_refused", HERE, None),
        ("password_refused", HERE, root.pk),
        ("throttled", HERE, None),
    ]
    assert "hunter2" not in str(events)
    assert "guess" not in str(events)
    assert (count(refused[0], **refused[1]), count(throttled[0], **throttled[1])) == (before[0] + 3, before[1] + 1)
