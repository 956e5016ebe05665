"""The JSON endpoints. Every answer that shows the list says how old it is, in its body and its headers."""

from typing import Any

from django.http.response import HttpResponseBase
from django.urls import reverse
from rest_framework.permissions import IsAdminUser
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.access_tokens import Scope
from guilds import bot, services
from guilds.api import filters, responses, schema
from guilds.api.authentication import PersonRequest
from guilds.api.serializers import stored_freshness_json, user_json
from guilds.models import Guild
from guilds.problems import NotInGuild
from guilds.resources.guild_list import GUILD_LIST
from guilds.services import NoAnswer, Reason


class GuildListView(APIView):
    """`GET /api/v1/guilds/`: the person's guilds, all of them or those that the query wants."""

    token_scope = Scope.GUILDS_READ

    @schema.list_guilds
    def get(self, request: PersonRequest) -> HttpResponseBase:
        query = request._request.GET
        wanted = filters.parse(query) if query else None
        guild_list = services.get_guild_list(request.user, lazy=True)
        if wanted is None:
            return responses.whole_list(guild_list, request)
        return responses.part(guild_list, {"guilds": wanted.select(guild_list)}, request)


class GuildView(APIView):
    """`GET /api/v1/guilds/{id}/`: one of them; 404 for a guild the person isn't in."""

    token_scope = Scope.GUILDS_READ

    @schema.get_guild
    def get(self, request: PersonRequest, guild_id: int) -> HttpResponseBase:
        guild_list = services.get_guild_list(request.user)
        membership = guild_list.get(guild_id)
        if membership is None:
            raise NotInGuild
        return responses.part(guild_list, {"guild": membership.as_json()}, request)


class RefreshView(APIView):
    """`POST /api/v1/guilds/refresh/`: ask Discord now. 200 with the new list, or 202 while Discord takes its time."""

    token_scope = Scope.GUILDS_REFRESH

    @schema.refresh_guilds
    def post(self, request: PersonRequest) -> HttpResponseBase:
        user = request.user
        try:
            guild_list = services.refresh_guild_list(user)
        except NoAnswer as error:
            if error.reason is not Reason.IN_PROGRESS:
                raise
            stored = {**stored_freshness_json(*GUILD_LIST.read(user.pk)), "reason": Reason.IN_PROGRESS}
            headers = {"Location": reverse("api:guilds"), "Retry-After": "1", "Cache-Control": "private, no-cache"}
            return Response({"status": "in_progress", **stored}, status=202, headers=headers)
        return responses.whole_list(guild_list)


class MeView(APIView):
    """`GET /api/v1/me/`: who is signed in. Never needs Discord."""

    token_scope = Scope.ME_READ

    @schema.get_me
    def get(self, request: PersonRequest) -> Response:
        return Response(user_json(request.user), headers={"Cache-Control": "private, no-cache"})


class BotGuildsView(APIView):
    """`GET /api/v1/bot/guilds/`: for staff, from the database. Never needs Discord."""

    token_scope = Scope.BOT_READ
    permission_classes = (IsAdminUser,)

    @schema.list_bot_guilds
    def get(self, request: PersonRequest) -> Response:
        return Response({"guilds": _bot_guilds()}, headers={"Cache-Control": "private, no-cache"})


def _bot_guilds() -> list[dict[str, Any]]:
    """The guilds the bot is in, ascending by id, as the schema's `BotGuild`."""
    rows = Guild.objects.filter(deleted_at=None).order_by("pk") if bot.has_token() else ()
    return [
        {"id": str(guild.pk), "name": guild.name, "icon": guild.icon or None, "verified_at": guild.verified_at}
        for guild in rows
    ]
