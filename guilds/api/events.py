"""The body of `POST /api/v1/bot/events/`, as the bot's events."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext as _
from rest_framework import serializers

from accounts.discord import InvalidPayload, Member, PartialGuild
from guilds.news import EVENTS, Event
from guilds.snowflakes import SnowflakeSerializerField

MAX_EVENTS = 200

if TYPE_CHECKING:
    # Generic for the type checker only.
    Field = serializers.Field[Any, Any, Any, Any]
else:
    Field = serializers.Field


class PayloadField(Field):
    """An object as Discord sends it, read with `from_json`."""

    def __init__(self, from_json: Callable[[object], Any], **options: Any) -> None:
        super().__init__(**options)
        self.from_json = from_json

    def to_internal_value(self, data: Any) -> Any:
        try:
            return self.from_json(data)
        except InvalidPayload as error:
            raise serializers.ValidationError(str(error)) from None


class EventSerializer(serializers.Serializer[Event]):
    """One event. Fields that its type doesn't need are ignored, so a bot may pass on more than it must."""

    type = serializers.ChoiceField(list(EVENTS))
    at = serializers.DateTimeField()
    guild_id = SnowflakeSerializerField(required=False)
    user_id = SnowflakeSerializerField(required=False)
    member = PayloadField(Member.from_json, required=False)
    guild = PayloadField(PartialGuild.from_json, required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        needs = EVENTS[attrs["type"]].needs
        if missing := [name for name in needs if attrs.get(name) is None]:
            raise serializers.ValidationError({name: _("An event of this type needs it.") for name in missing})
        return {name: attrs[name] for name in ("type", "at", *needs)}


class EventsSerializer(serializers.Serializer[Any]):
    sent_at = serializers.DateTimeField(required=False)
    events = serializers.ListField(child=EventSerializer(), max_length=MAX_EVENTS)


@dataclass(frozen=True, slots=True)
class Batch:
    """A request's events, and when the bot sent it by its own clock; None if it doesn't say."""

    events: list[Event]
    sent_at: datetime | None


def parse(data: Any) -> Batch:
    """Return what a request's body says. Raises `ValidationError` with the path of each mistake."""
    serializer = EventsSerializer(data=data)
    serializer.is_valid(raise_exception=True)
    body = serializer.validated_data
    return Batch([Event(**event) for event in body["events"]], body.get("sent_at"))
