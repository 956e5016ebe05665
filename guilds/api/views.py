"""The JSON endpoints. Every response with a list states its age, in the body and in the headers."""

from django.http.response import HttpResponseBase
from django.urls import reverse
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.token_scopes import Scope
from guilds import services
from guilds.api import filters, responses, schema
from guilds.api.authentication import PersonRequest
from guilds.api.serializers import channels_json, member_json, roles_json, user_json
from guilds.decorators import unguarded
from guilds.permissions import CanManageGuild, GuildAPIRequest, InGuild, ThrottledFirst
from guilds.problems import NotInGuild
from guilds.resources.directory import DIRECTORY
from guilds.resources.guild_list import GUILD_LIST
from guilds.resources.member import MEMBER
from guilds.services import NoAnswer, Reason


class GuildListView(APIView):
    """`GET /api/v1/guilds/`: the person's guilds, all of them or those that the query wants."""

    token_scope = Scope.GUILDS_READ

    @schema.list_guilds
    def get(self, request: PersonRequest) -> HttpResponseBase:
        query = request._request.GET
        wanted = filters.parse(query) if query else None
        guild_list = request.guild_list
        if wanted is None:
            return responses.whole_list(guild_list, request)
        return responses.part(guild_list, {"guilds": wanted.select(guild_list)}, request)


@unguarded("reads the guild from the list of the person who asks")
class GuildView(APIView):
    """`GET /api/v1/guilds/{id}/`: one of them; 404 for a guild the person isn't in."""

    token_scope = Scope.GUILDS_READ

    @schema.get_guild
    def get(self, request: PersonRequest, guild_id: int) -> HttpResponseBase:
        guild_list = request.guild_list
        membership = guild_list.get(guild_id)
        if membership is None:
            raise NotInGuild
        return responses.part(guild_list, {"guild": membership.as_json()}, request)


class MemberView(ThrottledFirst):
    """`GET /api/v1/guilds/{id}/member/`: the person's roles in the guild, nickname and more."""

    token_scope = Scope.GUILDS_READ
    permission_classes = (InGuild.member(),)

    @schema.get_member
    def get(self, request: GuildAPIRequest, guild_id: int) -> HttpResponseBase:
        member = request.guild.member
        return responses.part(member, {"member": member_json(member)}, request, MEMBER)


class RolesView(ThrottledFirst):
    """`GET /api/v1/guilds/{id}/roles/`: the guild's roles; 409 if the bot isn't in it."""

    token_scope = Scope.GUILDS_READ
    permission_classes = (InGuild,)

    @schema.list_roles
    def get(self, request: GuildAPIRequest, guild_id: int) -> HttpResponseBase:
        directory = services.get_directory(guild_id)
        return responses.part(directory, {"roles": roles_json(directory)}, request, DIRECTORY)


class ChannelsView(ThrottledFirst):
    """`GET /api/v1/guilds/{id}/channels/`: the guild's channels, for people who manage it; 409 without the bot.

    Discord hides some channels from ordinary members, and doesn't say which of them a person can see.
    """

    token_scope = Scope.GUILDS_READ
    permission_classes = (CanManageGuild,)

    @schema.list_channels
    def get(self, request: GuildAPIRequest, guild_id: int) -> HttpResponseBase:
        directory = services.get_directory(guild_id)
        return responses.part(directory, {"channels": channels_json(directory)}, request, DIRECTORY)


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
            return responses.in_progress(*GUILD_LIST.read(user.pk), reverse("api:guilds"))
        return responses.whole_list(guild_list)


class MeView(APIView):
    """`GET /api/v1/me/`: who is signed in. Never needs Discord."""

    token_scope = Scope.ME_READ

    @schema.get_me
    def get(self, request: PersonRequest) -> Response:
        return Response(user_json(request.user), headers={"Cache-Control": "private, no-cache"})
