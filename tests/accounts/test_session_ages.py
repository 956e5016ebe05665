"""How long a session lasts: an hour for visitors, hours for staff, a month for everyone else."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from asgiref.sync import sync_to_async
from django.contrib.auth import SESSION_KEY
from django.core.management import call_command
from django.db import connections
from django.test import Client, RequestFactory
from pytest_django import Settings

from accounts.models import Session, User
from accounts.sessions import SIGNED_IN_AT, digest
from guilds.middleware import SignedInMiddleware
from guilds.sessions import SessionStore
from tests.accounts.test_sign_in import ask, is_signed_in, sign_in
from tests.fixtures import Sandbox

HOUR = timedelta(hours=1)
MONTH = timedelta(days=30)
OPERATOR = {"username": "root", "password": "only for tests"}
ClientOf = Callable[[User], Client]


def ages(visitor: Client) -> tuple[timedelta, timedelta]:
    """Return how long the session's row and cookie still last, to the minute."""
    row = Session.objects.get(session_key=digest(visitor.cookies["guildhall_session"].value))
    lasts = row.expire_date - datetime.now(UTC)
    cookie = timedelta(seconds=int(visitor.cookies["guildhall_session"]["max-age"]))
    minute = timedelta(minutes=1)
    return round(lasts / minute) * minute, round(cookie / minute) * minute


@pytest.fixture
def visitor(sandbox: Sandbox, transactional_db: None) -> Client:
    return Client(SERVER_NAME="localhost")


@pytest.fixture
def root(db: None) -> Client:
    """A client in which an operator has signed in with a password."""
    User.objects.create_superuser(username=OPERATOR["username"], password=OPERATOR["password"])
    client = Client()
    client.post("/admin/login/", OPERATOR)
    client.get("/admin/")
    return client


def test_a_sign_in_that_was_only_started_leaves_a_session_for_an_hour(visitor: Client) -> None:
    ask(visitor)

    assert ages(visitor) == (HOUR, HOUR)
    with time_machine.travel(datetime.now(UTC) + HOUR + timedelta(seconds=5)):
        call_command("clearsessions")
    assert not Session.objects.exists()


def test_after_the_sign_in_a_session_lasts_a_month(visitor: Client) -> None:
    sign_in(visitor)

    assert ages(visitor) == (MONTH, MONTH)


def test_a_session_of_staff_ends_hours_after_the_sign_in_with_discord(visitor: Client, settings: Settings) -> None:
    sign_in(visitor)
    User.objects.update(is_staff=True)
    visitor.get("/account/")
    first = ages(visitor)
    start = datetime.now(UTC)

    assert first == (12 * HOUR, 12 * HOUR)
    with time_machine.travel(start + 11 * HOUR, tick=False):
        # A visit doesn't extend the session.
        session = visitor.session
        session["anything"] = 1
        session.save()
        assert is_signed_in(visitor)
    with time_machine.travel(start + 12 * HOUR + timedelta(minutes=1), tick=False):
        assert not is_signed_in(visitor)
        assert visitor.get("/admin/").status_code == 302


def test_a_person_who_became_staff_loses_a_session_that_is_too_old(visitor: Client) -> None:
    sign_in(visitor)
    with time_machine.travel(datetime.now(UTC) + 13 * HOUR, tick=False):
        assert is_signed_in(visitor)
        User.objects.update(is_staff=True)

        assert not is_signed_in(visitor)
    assert not Session.objects.exists()


def test_an_operator_who_signs_in_with_a_password_has_hours_too(root: Client, settings: Settings) -> None:
    assert ages(root) == (12 * HOUR, 12 * HOUR)

    settings.STAFF_SESSION_HOURS = 2
    root.get("/admin/")

    assert ages(root) == (2 * HOUR, 2 * HOUR)


def test_signing_in_again_starts_the_hours_anew(root: Client) -> None:
    with time_machine.travel(datetime.now(UTC) + 11 * HOUR, tick=False):
        root.post("/admin/login/", OPERATOR)
        root.get("/admin/")

        assert ages(root) == (12 * HOUR, 12 * HOUR)


def test_a_session_of_staff_from_before_this_rule_ends(staff: User, client_of: ClientOf) -> None:
    client = client_of(staff)
    session = client.session
    del session[SIGNED_IN_AT]
    session.save()

    assert client.get("/admin/").status_code == 302


def test_async_views_have_the_same_rule(staff: User, rf: RequestFactory, client_of: ClientOf) -> None:
    request = rf.get("/")
    request.session = SessionStore(client_of(staff).cookies["guildhall_session"].value)
    SignedInMiddleware(lambda _request: None).process_request(request)  # type: ignore[arg-type,return-value]

    async def is_anonymous() -> bool:
        try:
            return (await request.auser()).is_anonymous
        finally:
            # Otherwise the thread in which Django ran it would keep its connection.
            await sync_to_async(connections.close_all)()

    with time_machine.travel(datetime.now(UTC) + 13 * HOUR, tick=False):
        assert asyncio.run(is_anonymous())

    session = SessionStore()
    asyncio.run(session.aset(SESSION_KEY, "1"))
    assert session[SIGNED_IN_AT]


def test_the_rule_writes_once_for_staff_and_never_for_others(staff: User, ada: User, client_of: ClientOf) -> None:
    operator, person = client_of(staff), client_of(ada)
    operator.get("/account/")
    before = set(Session.objects.values_list("session_data", "expire_date"))

    operator.get("/account/")
    person.get("/account/")

    assert set(Session.objects.values_list("session_data", "expire_date")) == before
