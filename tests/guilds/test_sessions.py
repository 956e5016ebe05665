"""The session's query: the person and the records of their list and guild come with it, for one look and a moment."""

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.backends.db import SessionStore as StockSession
from django.db import connection
from django.http import HttpRequest
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from pytest_django import DjangoAssertNumQueries, Settings

from accounts.clock import database_now
from accounts.models import Session, User
from accounts.sessions import digest
from guilds import middleware, sessions
from guilds.engine.freshness import Reason
from guilds.models import BotGuilds, GuildListVerification, GuildMember
from guilds.resources.guild_list import GUILD_LIST
from guilds.services import NoAnswer, get_guild_list
from guilds.sessions import SessionStore, peek_member, peek_record, pop_record
from tests.fixtures import let_pass

ClientOf = Callable[[User], Client]
WithList = Callable[..., User]
API = "/api/v1/guilds/"
CLUB = 11
SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)


@pytest.fixture(autouse=True)
def compiled_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test builds and compiles the queries itself; otherwise only the first test of a process would reach them."""
    for query in (sessions._session, sessions._session_of_member):
        monkeypatch.delitem(vars(query), "_compiled", raising=False)


def nothing(request: HttpRequest) -> Any:
    raise AssertionError("no view is called")


@pytest.fixture
def visit(client_of: ClientOf) -> Callable[[User], Any]:
    """A request of that person's browser as a view gets it, with nothing read yet."""

    def visit(user: User) -> Any:
        request: Any = RequestFactory().get("/")
        request.session = SessionStore(client_of(user).cookies["guildhall_session"].value)
        middleware.SignedInMiddleware(nothing).process_request(request)
        middleware.GuildListMiddleware(lambda request: request)(request)
        return request

    return visit


def test_session_person_and_record_are_one_query(
    ada: User, visit: Callable[[User], Any], django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    GUILD_LIST.read(ada.pk)
    GuildListVerification.objects.update(generation=4, reason="unavailable")
    BotGuilds.objects.update_or_create(pk=1, defaults={"tag": 7})
    request = visit(ada)

    with django_assert_num_queries(1):
        assert request.user == ada
        known = pop_record(request)

    assert known
    record, now = known
    assert (record.generation, record.reason, record.bot_tag) == (4, "unavailable", 7)
    assert abs(now - database_now()) < 5 * SECOND


def test_what_was_read_is_what_the_database_has(with_list: WithList, visit: Callable[[User], Any]) -> None:
    ada = with_list("ada", minutes=10)
    request = visit(ada)
    person = request.user
    known = pop_record(request)
    assert known

    for ours, theirs in ((person, ada), (known[0], ada.guild_list_verification)):
        theirs.refresh_from_db()
        assert (ours, ours._state.db, ours._state.adding) == (theirs, "default", False)
        for field in theirs._meta.concrete_fields:
            value = getattr(ours, field.attname)
            assert value == getattr(theirs, field.attname)
            assert type(value) is type(getattr(theirs, field.attname))


def test_the_record_serves_once_and_for_a_second(ada: User, visit: Callable[[User], Any]) -> None:
    GUILD_LIST.read(ada.pk)
    soon, late = visit(ada), visit(ada)
    for request in (soon, late):
        assert request.user == ada
        request.session.visitor.read_at = 100.0

    assert pop_record(soon, clock=lambda: 101.0) is not None
    assert pop_record(soon, clock=lambda: 101.0) is None
    assert pop_record(late, clock=lambda: 101.01) is None


def test_a_look_at_the_record_takes_it_at_any_age_and_leaves_it(ada: User, visit: Callable[[User], Any]) -> None:
    GUILD_LIST.read(ada.pk)
    request = visit(ada)
    assert request.user == ada
    visitor = request.session.visitor
    visitor.read_at -= 100

    assert peek_record(request) == (visitor.record, visitor.now)
    assert peek_record(request) == (visitor.record, visitor.now)
    assert visitor.record.user_id == ada.pk


def test_there_is_no_record_before_the_first_list(ada: User, visit: Callable[[User], Any]) -> None:
    request = visit(ada)
    assert request.user == ada

    assert peek_record(request) is None
    assert pop_record(request) is None
    assert request.session.visitor.user == ada


def test_a_request_without_a_session_has_no_record(ada: User) -> None:
    request: Any = RequestFactory().get("/")
    request.user = ada

    assert (pop_record(request), peek_record(request), peek_member(request)) == (None, None, None)


def test_a_person_without_a_record_is_signed_in_all_the_same(ada: User, client_of: ClientOf) -> None:
    with CaptureQueriesContext(connection) as asked:
        response = client_of(ada).get("/api/v1/me/")

    assert response.status_code == 200
    assert not any("INSERT INTO" in query["sql"] and "verification" in query["sql"] for query in asked)


def test_another_person_gets_none_of_it(ada: User, with_list: WithList, visit: Callable[[User], Any]) -> None:
    """The person may come from a sign-in within the request, or from an access token."""
    GUILD_LIST.read(ada.pk)
    request = visit(ada)
    assert request.user == ada

    request.user = with_list("linus")

    assert [guild.guild_id for guild in request.guild_list] == [
        guild.guild_id for guild in get_guild_list(request.user)
    ]
    assert pop_record(request) is None


def test_a_fresh_list_is_not_read_again(with_list: WithList, visit: Callable[[User], Any]) -> None:
    request = visit(with_list("ada", minutes=10))

    with CaptureQueriesContext(connection) as asked:
        assert request.guild_list.freshness == "fresh"

    assert len(asked) == 1


def test_nor_is_a_stale_one_that_may_not_be_refreshed(with_list: WithList, visit: Callable[[User], Any]) -> None:
    request = visit(with_list("ada", hours=5))
    GuildListVerification.objects.update(not_before=database_now() + HOUR, reason="rate_limited")

    with CaptureQueriesContext(connection) as asked:
        assert request.guild_list.reason is Reason.RATE_LIMITED

    reads = [query["sql"] for query in asked if query["sql"].startswith("SELECT")]
    assert len([sql for sql in reads if '"guilds_guildlistverification"' in sql]) == 1


@pytest.mark.parametrize(("seconds", "freshness"), [(3599, "fresh"), (3600, "stale")])
def test_bounds_are_half_open_here_too(
    with_list: WithList, visit: Callable[[User], Any], seconds: int, freshness: str
) -> None:
    request = visit(with_list("ada"))
    assert request.user.is_authenticated
    record, now = request.session.visitor.record, request.session.visitor.now
    record.verified_at = now - timedelta(seconds=seconds)
    record.refresh_after = record.verified_at + timedelta(minutes=48)
    record.not_before, record.reason = now + timedelta(minutes=1), "rate_limited"

    assert request.guild_list.freshness == freshness


@pytest.mark.parametrize(("minutes", "reason"), [(55, ""), (300, ""), (1800, ""), (300, "missing_scope")])
def test_any_other_list_is_read_again(
    with_list: WithList, visit: Callable[[User], Any], minutes: int, reason: str
) -> None:
    request = visit(with_list("ada", minutes=minutes))
    GuildListVerification.objects.update(reason=reason)
    assert request.user.is_authenticated

    with CaptureQueriesContext(connection) as asked, suppress(NoAnswer):
        str(request.guild_list.verified_at)

    assert "guilds_guildlistverification" in asked[0]["sql"]


# The record in REQUIRED_GUILD


@pytest.fixture
def club(settings: Settings) -> Callable[..., GuildMember]:
    """A site for one guild, and a function that stores a person's record there or in another one."""
    settings.REQUIRED_GUILD = CLUB

    def member(user: User, guild_id: int = CLUB, roles: tuple[int, ...] = (7, 5)) -> GuildMember:
        now = database_now()
        dates = {"verified_at": now, "refresh_after": now + HOUR, "joined_at": now - HOUR, "last_read_at": now}
        return GuildMember.objects.create(
            user=user, guild_id=guild_id, is_member=True, roles=list(roles), nick=user.username, version=3, **dates
        )

    return member


def test_the_record_in_the_required_guild_comes_with_the_session(
    ada: User,
    visit: Callable[[User], Any],
    club: Callable[..., GuildMember],
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    GUILD_LIST.read(ada.pk)
    GuildListVerification.objects.update(generation=4, reason="unavailable")
    stored = club(ada)
    request = visit(ada)

    with django_assert_num_queries(1):
        assert request.user == ada
        found, known = peek_member(request), peek_record(request)

    assert found
    assert known
    assert found[1] == known[1]
    for ours, theirs in ((found[0], stored), (known[0], ada.guild_list_verification), (request.user, ada)):
        theirs.refresh_from_db()
        assert (ours, ours._state.db, ours._state.adding) == (theirs, "default", False)
        for field in theirs._meta.concrete_fields:
            assert getattr(ours, field.attname) == getattr(theirs, field.attname)


def test_a_record_elsewhere_or_of_another_person_is_not_taken(
    ada: User, with_list: WithList, visit: Callable[[User], Any], club: Callable[..., GuildMember]
) -> None:
    GUILD_LIST.read(ada.pk)
    club(ada, CLUB + 1)
    club(with_list("linus"))
    request = visit(ada)

    assert request.user == ada
    assert peek_member(request) is None
    assert request.session.visitor.member.pk is None
    known = peek_record(request)
    assert known
    assert known[0].user_id == ada.pk


def test_one_record_is_found_among_several(
    ada: User, with_list: WithList, visit: Callable[[User], Any], club: Callable[..., GuildMember]
) -> None:
    for user in (with_list("linus"), ada):
        for guild_id in (CLUB - 1, CLUB, CLUB + 1):
            club(user, guild_id, (guild_id,))

    found = peek_member(visit(ada))

    assert found
    assert (found[0].user_id, found[0].guild_id, found[0].roles) == (ada.pk, CLUB, [CLUB])


def test_the_record_in_the_required_guild_serves_for_a_second_and_more_than_once(
    ada: User, visit: Callable[[User], Any], club: Callable[..., GuildMember]
) -> None:
    club(ada)
    request = visit(ada)
    found = peek_member(request)
    assert found
    request.session.visitor.read_at = 100.0

    assert peek_member(request, clock=lambda: 101.0) == found
    assert peek_member(request, clock=lambda: 101.0) == found
    assert peek_member(request, clock=lambda: 101.01) is None


def test_another_person_does_not_get_it(
    ada: User, with_list: WithList, visit: Callable[[User], Any], club: Callable[..., GuildMember]
) -> None:
    club(ada)
    request = visit(ada)
    assert peek_member(request)

    request.user = with_list("linus")

    assert peek_member(request) is None
    request.user = AnonymousUser()
    assert peek_member(request) is None


def test_a_site_without_a_required_guild_reads_no_member(
    ada: User, visit: Callable[[User], Any], club: Callable[..., GuildMember], settings: Settings
) -> None:
    club(ada)
    settings.REQUIRED_GUILD = None
    request = visit(ada)

    with CaptureQueriesContext(connection) as asked:
        assert peek_member(request) is None

    assert request.session.visitor.member is None
    assert not any("guildmember" in query["sql"] for query in asked)


# Accepted and rejected sessions


@pytest.mark.django_db
@pytest.mark.parametrize("guild_id", [None, CLUB])
def test_a_session_of_a_visitor_has_its_data_and_no_person(
    client: Client, settings: Settings, guild_id: int | None
) -> None:
    settings.REQUIRED_GUILD = guild_id
    stored = client.session
    stored["next"] = "/servers/"
    stored.save()

    session: Any = SessionStore(stored.session_key)

    assert session["next"] == "/servers/"
    assert session.visitor is None


@pytest.mark.parametrize("guild_id", [None, CLUB])
def test_an_expired_session_is_not_read(
    ada: User, visit: Callable[[User], Any], settings: Settings, guild_id: int | None
) -> None:
    settings.REQUIRED_GUILD = guild_id
    requests = [visit(ada) for _ in range(2)]
    now = database_now()
    for request, end in zip(requests, (now - SECOND, now + HOUR), strict=True):
        Session.objects.filter(session_key=digest(request.session.session_key)).update(expire_date=end)

    expired, current = requests
    assert not expired.user.is_authenticated
    assert getattr(expired.session, "visitor", None) is None
    assert current.user == ada


@pytest.mark.parametrize("change", [{"is_active": False}, {"password": "another"}])
def test_a_person_who_may_not_come_in_any_more_is_signed_out(
    ada: User, client_of: ClientOf, change: dict[str, Any]
) -> None:
    client = client_of(ada)
    assert client.get(API).status_code == 200

    User.objects.update(**change)

    assert client.get(API).status_code == 401


def test_a_session_ends_with_its_person(ada: User, visit: Callable[[User], Any]) -> None:
    request = visit(ada)
    assert ada.delete()[1]["accounts.Session"] == 1

    assert not request.user.is_authenticated


def test_a_session_of_a_backend_that_is_gone_is_nobodys(
    ada: User, visit: Callable[[User], Any], settings: Settings
) -> None:
    settings.AUTHENTICATION_BACKENDS = ["guilds.backends.PasswordBackend"]

    assert not visit(ada).user.is_authenticated


def test_a_session_that_names_another_person_than_its_row_is_that_persons(
    ada: User, with_list: WithList, visit: Callable[[User], Any]
) -> None:
    """The row's column is only for finding sessions; the signed data says who is signed in."""
    linus = with_list("linus")
    request = visit(ada)
    Session.objects.update(user_id=linus.pk)

    assert request.user == ada


def test_a_session_signed_with_an_older_key_is_accepted_and_signed_anew(
    ada: User, visit: Callable[[User], Any], settings: Settings
) -> None:
    request = visit(ada)
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "a new key, of which no session knows"
    key = request.session.session_key

    assert request.user == ada
    assert request.session.session_key == key
    assert request.session.modified
    assert request.session[HASH_SESSION_KEY] == ada.get_session_auth_hash()


def test_another_session_engine_is_read_as_django_does(ada: User) -> None:
    session = StockSession()
    session[SESSION_KEY] = str(ada.pk)
    session[BACKEND_SESSION_KEY] = "guilds.backends.DiscordBackend"
    session[HASH_SESSION_KEY] = ada.get_session_auth_hash()
    request: Any = RequestFactory().get("/")
    request.session = session
    middleware.SignedInMiddleware(nothing).process_request(request)

    assert request.user == ada
    assert pop_record(request) is None


def test_a_record_is_of_no_use_once_time_has_passed_for_it(with_list: WithList, visit: Callable[[User], Any]) -> None:
    request = visit(with_list("ada"))
    let_pass(hours=2)

    assert request.guild_list.waited_from is not None
