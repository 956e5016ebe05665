"""The session table: it has a column for the person, and no key that could be used as a cookie."""

from collections.abc import Callable

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth import SESSION_KEY
from django.test import Client

from accounts.models import Session, User
from accounts.sessions import SessionStore

pytestmark = pytest.mark.django_db


def stored() -> list[str]:
    return list(Session.objects.values_list("session_key", flat=True))


def saved(**data: str) -> SessionStore:
    session = SessionStore()
    session.update(data)
    session.save()
    return session


def test_what_is_stored_opens_nothing() -> None:
    session = saved(colour="blue")
    [digest] = stored()

    assert session.session_key not in stored()
    assert SessionStore(session.session_key)["colour"] == "blue"
    assert dict(SessionStore(digest).items()) == {}


def test_a_stored_key_is_no_cookie(ada: User, client_of: Callable[[User], Client]) -> None:
    client = client_of(ada)
    assert client.get("/account/").status_code == 200
    [digest] = stored()

    client.cookies["guildhall_session"] = digest

    assert client.get("/account/").status_code == 302


def test_a_session_is_changed_renewed_and_deleted_by_its_key() -> None:
    session = saved(colour="blue", **{SESSION_KEY: "7"})
    [before] = stored()

    session["colour"] = "red"
    session.save()
    assert stored() == [before]

    old = session.session_key
    session.cycle_key()
    assert not SessionStore().exists(old)
    assert SessionStore().exists(session.session_key)
    assert Session.objects.get().user_id == 7
    assert SessionStore(session.session_key)["colour"] == "red"

    session.flush()
    assert stored() == []


def test_async_views_meet_the_same_table() -> None:
    @async_to_sync
    async def visit() -> str:
        session = SessionStore()
        await session.aset("colour", "blue")
        await session.acreate()
        key: str = session.session_key
        assert await SessionStore().aexists(key)
        assert await SessionStore(key).aget("colour") == "blue"
        await session.aset("colour", "red")
        await session.asave()
        return key

    key = visit()
    assert SessionStore(key)["colour"] == "red"
    assert key not in stored()
    async_to_sync(SessionStore(key).adelete)()
    assert stored() == []


def test_an_expired_session_is_not_found() -> None:
    session = saved(colour="blue")
    Session.objects.update(expire_date="2020-01-01T00:00Z")

    assert SessionStore(session.session_key).get("colour") is None
