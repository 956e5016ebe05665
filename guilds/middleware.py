"""Middleware that sets `request.user` and `request.guild_list`."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, NoReturn, cast

from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.utils.functional import SimpleLazyObject
from django_htmx.middleware import HtmxDetails

from accounts.middleware import AuthenticationMiddleware
from accounts.models import User
from accounts.requests import SignedInRequest
from accounts.service_tokens import Service
from guilds.engine import policy
from guilds.entered_guild import EnteredGuild
from guilds.problems import ProblemRaised
from guilds.problems.catalogue import PERSON_REQUIRED
from guilds.services import GuildList, get_guild_list, guild_list_of, stored_list_of
from guilds.sessions import peek_record, pop_record, signed_in


class GuildListRequest(SignedInRequest):
    """Type of a signed-in person's request after `GuildListMiddleware`, for annotations."""

    guild_list: GuildList
    htmx: HtmxDetails


class GuildRequest(GuildListRequest):
    """Type of a request that passed `guild_required`, for annotations."""

    guild: EnteredGuild


class SignedInMiddleware(AuthenticationMiddleware):
    """Sets `request.user` as `AuthenticationMiddleware` does, to the person who was read with the session."""

    def find_user(self, request: HttpRequest) -> User | AnonymousUser:
        return signed_in(request)


if TYPE_CHECKING:
    _Lazy = SimpleLazyObject[GuildList]
else:
    _Lazy = SimpleLazyObject


class LazyGuildList(_Lazy):
    """The list of a request, read when it is first used, except by `stored`."""

    def __init__(self, request: HttpRequest) -> None:
        super().__init__(partial(_guild_list, request))
        # Set directly, because other assignments go to the list.
        self.__dict__["_request"] = request

    # Templates look at the class, then try an item, before they read an attribute. Neither may read the list.
    __class__ = property(lambda self: GuildList)

    def __getitem__(self, key: object) -> NoReturn:
        raise TypeError("a guild list has no items; use get()")

    @property
    def stored(self) -> GuildList | None:
        """The stored list of any age, for display; None without one, and for anonymous visitors. Never asks Discord.

        It costs one query, or none if the cache has the guilds.
        """
        if "_stored" not in self.__dict__:
            self.__dict__["_stored"] = _stored_list(self.__dict__["_request"])
        stored: GuildList | None = self.__dict__["_stored"]
        return stored


class GuildListMiddleware:
    """Sets a lazy `request.guild_list`: nothing is read until a view uses it.

    Use it in the view, not first in the template, where an exception can no longer become an error page. The guilds
    themselves are read when the view first uses them.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        cast(GuildListRequest, request).guild_list = cast(GuildList, LazyGuildList(request))
        return self.get_response(request)


def _guild_list(request: HttpRequest) -> GuildList:
    if not request.user.is_authenticated:
        raise PermissionDenied("There is no guild list without sign-in. Add @guild_list_required to the view.")
    if isinstance(request.user, Service):
        raise ProblemRaised(PERSON_REQUIRED)
    record = pop_record(request)
    reading = policy.look(*record) if record else None
    return guild_list_of(reading) if reading else get_guild_list(request.user, lazy=True)


def _stored_list(request: HttpRequest) -> GuildList | None:
    if not request.user.is_authenticated or isinstance(request.user, Service):
        return None
    record = peek_record(request)
    if record is None:
        return get_guild_list(request.user, ask=False)
    stored = stored_list_of(*record)
    if stored is not None:
        _ = stored.memberships  # reading it here keeps a template from failing later
    return stored
