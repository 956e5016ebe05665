"""The API for the bot, which counts messages, and for the programs of people who manage a server."""

from typing import Any

from django.db import transaction
from django.db.models import F
from rest_framework import serializers, status
from rest_framework.generics import RetrieveAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from guilds.decorators import unguarded
from guilds.permissions import CanManageGuild, IsService, ThrottledFirst

from .models import Score, ServerSettings


class SettingsSerializer(serializers.ModelSerializer[ServerSettings]):
    # Text, because JavaScript's numbers are exact only up to 2^53.
    channel_id = serializers.CharField()
    role_id = serializers.CharField()

    class Meta:
        model = ServerSettings
        fields = ["points", "channel_id", "role_id"]


class Settings(ThrottledFirst, RetrieveAPIView[ServerSettings]):
    token_scope = "settings:read"
    accepts_services = True
    permission_classes = [IsService | CanManageGuild]
    serializer_class = SettingsSerializer

    def get_object(self) -> ServerSettings:
        return ServerSettings.of(self.kwargs["guild_id"])


class MessagesSerializer(serializers.Serializer[Any]):
    """How many messages a member has written since the bot last reported them."""

    discord_id = serializers.IntegerField(min_value=1, max_value=2**63 - 1)
    name = serializers.CharField(max_length=32)
    messages = serializers.IntegerField(min_value=1, max_value=1000)


@unguarded("the bot reports for each of its servers")
class Scores(ThrottledFirst):
    token_scope = "scores:report"
    accepts_services = True
    permission_classes = [IsService]

    def post(self, request: Request, guild_id: int) -> Response:
        reported = MessagesSerializer(data=request.data, many=True)
        reported.is_valid(raise_exception=True)
        worth = ServerSettings.of(guild_id).points
        with transaction.atomic():
            for member in reported.validated_data:
                Score.objects.update_or_create(
                    guild_id=guild_id,
                    person_id=member["discord_id"],
                    create_defaults={"name": member["name"], "points": worth * member["messages"]},
                    defaults={"name": member["name"], "points": F("points") + worth * member["messages"]},
                )
        return Response(status=status.HTTP_204_NO_CONTENT)
