"""`request.guild_list`."""

from collections.abc import Callable
from typing import cast

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.utils.functional import SimpleLazyObject

from accounts.requests import SignedInRequest
from guilds.services import GuildList, Membership, get_guild_list


class GuildListRequest(SignedInRequest):
    """For annotations: a request that passed `GuildListMiddleware`, from a signed-in person."""

    guild_list: GuildList


class GuildRequest(GuildListRequest):
    """For annotations: a request that passed `guild_required`."""

    guild: Membership


class GuildListMiddleware:
    """Sets a lazy `request.guild_list`: nobody is asked anything before a view reads it.

    Read it in the view, not in the template: there an exception could no longer become a page of its own.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        cast(GuildListRequest, request).guild_list = cast(GuildList, SimpleLazyObject(lambda: _guild_list(request)))
        return self.get_response(request)


def _guild_list(request: HttpRequest) -> GuildList:
    if not request.user.is_authenticated:
        raise PermissionDenied("Nobody is signed in, so there is no guild list. Put @guild_list_required on the view.")
    return get_guild_list(request.user)
