"""The session, its person, the record of their list and that of `REQUIRED_GUILD`, read by one compiled query.

Django would read the session, then the person, and build and compile both queries for each request; the list's record
would be a third query. Nearly every page needs all three, and of a site for one guild also the person's record there.

`SessionStore`  the session engine; it also stores the person and record read with the session
`signed_in`     the value of `request.user`: Django's check of the session against that person
`pop_record`    their record, for the first access to their list
`peek_member`   their record in `REQUIRED_GUILD`
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user
from django.contrib.auth.models import AnonymousUser
from django.db import connection
from django.db.models import FilteredRelation, Q, QuerySet
from django.http import HttpRequest
from django.utils.crypto import constant_time_compare

from accounts.clock import Now
from accounts.compiled import CompiledQuery
from accounts.models import Session, User
from accounts.sessions import SessionStore as StoredSession
from guilds.models import GuildListVerification, GuildMember
from guilds.resources.guild_list import GUILD_LIST
from guilds.resources.member import MEMBER

# Enough time to get from the session to the view. Code that holds a session for longer reads the record again.
MAX_RECORD_AGE_SECONDS = 1.0
USER_FIELDS = [field.attname for field in User._meta.concrete_fields]


def _columns() -> list[Any]:
    return [
        "session_data",
        *(f"user__{name}" for name in USER_FIELDS),
        *GUILD_LIST.columns("user__guild_list_verification__"),
    ]


def _with_list(stored_key: str) -> "QuerySet[Any, Any]":
    return Session.objects.filter(session_key=stored_key, expire_date__gt=Now()).values_list(*_columns())


def _with_list_and_member(stored_key: str, guild_id: int) -> "QuerySet[Any, Any]":
    in_guild = FilteredRelation("user__member_records", condition=Q(user__member_records__guild_id=guild_id))
    sessions = Session.objects.filter(session_key=stored_key, expire_date__gt=Now()).annotate(member=in_guild)
    return sessions.values_list(*_columns(), *MEMBER.columns("member__"))


_session = CompiledQuery(_with_list, str)
_session_of_member = CompiledQuery(_with_list_and_member, str, int)


@dataclass(slots=True)
class Visitor:
    """A session's person and the record of their list, as of `now` by the database's clock.

    `record` has no primary key if there is none yet; neither has `member`, their record in `REQUIRED_GUILD`, which is
    None on a site without that setting. `read_at` is the same moment by this process's clock.
    """

    user: User
    record: GuildListVerification
    now: datetime
    member: GuildMember | None = None
    read_at: float = field(default_factory=time.monotonic)


class SessionStore(StoredSession):
    visitor: Visitor | None = None

    def find(self, stored_key: str) -> dict[str, Any] | None:
        guild_id = settings.REQUIRED_GUILD
        rows = _session_of_member.rows(stored_key, guild_id) if guild_id else _session.rows(stored_key)
        if not rows:
            return None
        data, *values = rows[0]
        count = len(USER_FIELDS)
        user = User.from_db(connection.alias, USER_FIELDS, values[:count])
        if user.pk is not None:
            member = None
            if guild_id:
                end = count + len(GUILD_LIST.columns())
                member, values = MEMBER.record_of(values[end:])[0], values[:end]
            self.visitor = Visitor(user, *GUILD_LIST.record_of(values[count:]), member)
        return self.decode(data)


def signed_in(request: HttpRequest) -> User | AnonymousUser:
    """Return the session's person, if the session is still valid for them.

    Accepts what `django.contrib.auth.get_user` accepts, and leaves to it what the query didn't read.

    A hash made with a fallback of `SECRET_KEY` is replaced in the same session. Django would give it a new key, which
    signs out a browser whose other requests are on their way with the old one.
    """
    session: Any = request.session
    user_id = session.get(SESSION_KEY)  # reads the session
    visitor: Visitor | None = getattr(session, "visitor", None)
    if (
        visitor
        and visitor.user.is_active
        and str(visitor.user.pk) == user_id
        and session.get(BACKEND_SESSION_KEY) in settings.AUTHENTICATION_BACKENDS
    ):
        stored, current = session.get(HASH_SESSION_KEY, ""), visitor.user.get_session_auth_hash()
        if constant_time_compare(stored, current):
            return visitor.user
        if any(constant_time_compare(stored, older) for older in visitor.user.get_session_auth_fallback_hash()):
            session[HASH_SESSION_KEY] = current
            return visitor.user
    return get_user(request)


def pop_record(
    request: HttpRequest, clock: Callable[[], float] = time.monotonic
) -> tuple[GuildListVerification, datetime] | None:
    """Return the record that was read with the request's person, and the database's time of that read.

    Returns it only once and within `MAX_RECORD_AGE_SECONDS`; otherwise None, also for a person without a session.
    """
    visitor = _visitor(request)
    if visitor is None:
        return None
    cast(SessionStore, request.session).visitor = None
    return (visitor.record, visitor.now) if clock() - visitor.read_at <= MAX_RECORD_AGE_SECONDS else None


def peek_record(request: HttpRequest) -> tuple[GuildListVerification, datetime] | None:
    """Return the same, of any age and without using it up."""
    visitor = _visitor(request)
    return (visitor.record, visitor.now) if visitor else None


def peek_member(
    request: HttpRequest, clock: Callable[[], float] = time.monotonic
) -> tuple[GuildMember, datetime] | None:
    """Return the person's record in `REQUIRED_GUILD` and the database's time, if both were read with the session now.

    Call it before the view, whose access to the list uses up what was read.
    """
    visitor = _visitor_of(request)
    if visitor is None or visitor.member is None or visitor.member.pk is None:
        return None
    return (visitor.member, visitor.now) if clock() - visitor.read_at <= MAX_RECORD_AGE_SECONDS else None


def _visitor(request: HttpRequest) -> Visitor | None:
    """Return the request's person as read with the session, if they have a record."""
    visitor = _visitor_of(request)
    return visitor if visitor is not None and visitor.record.pk is not None else None


def _visitor_of(request: HttpRequest) -> Visitor | None:
    """Return the request's person as read with the session; None if anything else was read."""
    user_id = request.user.pk  # reads the session
    visitor: Visitor | None = getattr(getattr(request, "session", None), "visitor", None)
    return visitor if visitor is not None and visitor.user.pk == user_id else None
