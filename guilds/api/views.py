"""The JSON endpoints. Every answer that shows the list says how old it is, in its body and its headers."""

import hashlib
import json
from datetime import timedelta
from typing import TypeVar, cast

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import get_conditional_response
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.encoders import JSONEncoder
from rest_framework.views import APIView

from accounts.discord import DiscordUnavailable
from accounts.models import User
from guilds import services
from guilds.api.serializers import freshness_json, user_json
from guilds.freshness import Reason
from guilds.problems import NOT_IN_GUILD, ProblemRaised
from guilds.refresh import windows
from guilds.services import GuildList


class GuildListView(APIView):
    """`GET /api/v1/guilds/`: the person's guilds."""

    def get(self, request: Request) -> HttpResponseBase:
        guild_list = services.get_guild_list(cast(User, request.user), lazy=True)
        return _list_response(guild_list, request)


class GuildView(APIView):
    """`GET /api/v1/guilds/{id}/`: one of them; 404 for a guild the person isn't in."""

    def get(self, request: Request, guild_id: int) -> Response:
        guild_list = services.get_guild_list(cast(User, request.user))
        membership = guild_list.get(guild_id)
        if membership is None:
            raise ProblemRaised(NOT_IN_GUILD)
        return _with_age(guild_list, Response({**freshness_json(guild_list), "guild": membership.as_json()}))


class RefreshView(APIView):
    """`POST /api/v1/guilds/refresh/`: ask Discord now. 200 with the new list, or 202 while Discord takes its time."""

    def post(self, request: Request) -> HttpResponseBase:
        try:
            guild_list = services.refresh_guild_list(cast(User, request.user))
        except DiscordUnavailable as error:
            if error.scope != Reason.IN_PROGRESS:
                raise
            return Response({"status": "in_progress"}, status=202, headers={"Retry-After": "1"})
        return _list_response(guild_list)


class MeView(APIView):
    """`GET /api/v1/me/`: who is signed in. Never needs Discord."""

    def get(self, request: Request) -> Response:
        return Response(user_json(cast(User, request.user)), headers={"Cache-Control": "private, no-cache"})


def _list_response(guild_list: GuildList, request: Request | None = None) -> HttpResponseBase:
    """The whole list, its guilds as the snapshot has them; 304 if that is what the reader of `request` has."""
    head = json.dumps(freshness_json(guild_list), cls=JSONEncoder, separators=(",", ":")).encode()
    digest = hashlib.blake2b(guild_list.snapshot.key.encode() + head, digest_size=16).hexdigest()
    etag = f'"{digest}"'
    unchanged = get_conditional_response(request._request, etag) if request else None
    response = unchanged or HttpResponse(
        b'%b,"guilds":%b}' % (head[:-1], guild_list.guilds_json), content_type="application/json"
    )
    response["ETag"] = etag
    return _with_age(guild_list, response)


Answer = TypeVar("Answer", bound=HttpResponseBase)


def _with_age(guild_list: GuildList, response: Answer) -> Answer:
    """`response` with its age: `Age` (RFC 9111), and `Cache-Status` (RFC 9211), whose ttl is negative when stale."""
    age = int(guild_list.age.total_seconds())
    ttl = (windows().fresh - guild_list.age) // timedelta(seconds=1)
    status = f"guildhall; hit; ttl={ttl}" + (f"; detail={guild_list.reason}" if guild_list.reason else "")
    response["Age"] = str(age)
    response["Cache-Status"] = status
    response["Cache-Control"] = "private, no-cache"
    return response
