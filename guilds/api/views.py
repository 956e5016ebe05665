"""The JSON endpoints. Every answer that shows the list says how old it is, in its body and its headers."""

from datetime import timedelta
from typing import Any, cast

from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.discord import DiscordUnavailable
from accounts.models import User
from guilds import services
from guilds.api.errors import ProblemRaised
from guilds.api.serializers import freshness_json, guild_list_json, membership_json, user_json
from guilds.freshness import Reason
from guilds.problems import NOT_IN_GUILD
from guilds.refresh import windows
from guilds.services import GuildList


class GuildListView(APIView):
    """`GET /api/v1/guilds/`: the person's guilds."""

    def get(self, request: Request) -> Response:
        guild_list = services.get_guild_list(cast(User, request.user))
        return _with_age(guild_list, guild_list_json(guild_list))


class GuildView(APIView):
    """`GET /api/v1/guilds/{id}/`: one of them; 404 for a guild the person isn't in."""

    def get(self, request: Request, guild_id: int) -> Response:
        guild_list = services.get_guild_list(cast(User, request.user))
        membership = guild_list.get(guild_id)
        if membership is None:
            raise ProblemRaised(NOT_IN_GUILD)
        return _with_age(guild_list, {**freshness_json(guild_list), "guild": membership_json(membership)})


class RefreshView(APIView):
    """`POST /api/v1/guilds/refresh/`: ask Discord now. 200 with the new list, or 202 while Discord takes its time."""

    def post(self, request: Request) -> Response:
        try:
            guild_list = services.refresh_guild_list(cast(User, request.user))
        except DiscordUnavailable as error:
            if error.scope != Reason.IN_PROGRESS:
                raise
            return Response({"status": "in_progress"}, status=202, headers={"Retry-After": "1"})
        return _with_age(guild_list, guild_list_json(guild_list))


class MeView(APIView):
    """`GET /api/v1/me/`: who is signed in. Never needs Discord."""

    def get(self, request: Request) -> Response:
        return Response(user_json(cast(User, request.user)), headers={"Cache-Control": "private, no-cache"})


def _with_age(guild_list: GuildList, body: dict[str, Any]) -> Response:
    """`body` with its age: `Age` (RFC 9111), and `Cache-Status` (RFC 9211), whose ttl is negative when stale."""
    age = int(guild_list.age.total_seconds())
    ttl = (windows().fresh - guild_list.age) // timedelta(seconds=1)
    status = f"guildhall; hit; ttl={ttl}" + (f"; detail={guild_list.reason}" if guild_list.reason else "")
    headers = {"Age": str(age), "Cache-Status": status, "Cache-Control": "private, no-cache"}
    return Response(body, headers=headers)
