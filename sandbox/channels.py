"""The channels of a server: a few in every server at first, and the ones that someone has set.

https://docs.discord.com/developers/resources/channel
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from sandbox.inputs import BadInput, as_integer, as_object
from sandbox.people import as_permissions, as_snowflake
from sandbox.roles import as_name, new_id

MAX_CHANNELS = 500
VIEW_CHANNEL = 1 << 10
CATEGORY = 4
KINDS = {"text": 0, "voice": 2, "category": CATEGORY, "announcement": 5, "stage": 13, "forum": 15}
_FIELDS = ("id", "name", "type", "position", "parent_id", "permission_overwrites")


@dataclass(frozen=True, slots=True)
class Overwrite:
    """What a channel allows or denies a role (type 0) or a member (type 1)."""

    id: str
    type: int
    allow: str = "0"
    deny: str = "0"


@dataclass(frozen=True, slots=True)
class Channel:
    id: str
    name: str
    type: int = KINDS["text"]
    position: int = 0
    parent_id: str | None = None
    permission_overwrites: tuple[Overwrite, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the channel in the format of `channels_from_json` and of the state file."""
        return asdict(self) | {"permission_overwrites": [asdict(overwrite) for overwrite in self.permission_overwrites]}

    def to_response(self, guild_id: str) -> dict[str, Any]:
        """Return the fields of Discord's `GuildChannelResponse` that this type of channel has."""
        fields = self.to_json() | {"guild_id": guild_id, "flags": 0}
        if self.type == CATEGORY:
            return fields
        fields |= {"nsfw": False, "rate_limit_per_user": 0, "last_message_id": None}
        if self.type in (KINDS["voice"], KINDS["stage"]):
            return fields | {"bitrate": 64_000, "user_limit": 0, "rtc_region": None, "video_quality_mode": 1}
        fields |= {"topic": None, "last_pin_timestamp": None, "default_auto_archive_duration": 4320}
        if self.type == KINDS["forum"]:
            fields |= {
                "available_tags": [],
                "default_reaction_emoji": None,
                "default_sort_order": None,
                "default_forum_layout": 0,
                "default_thread_rate_limit_per_user": 0,
            }
        return fields


# Name, type, and the place of the category in this list. A channel's id is the server's plus 101 plus its own place.
_FIRST_CHANNELS = (
    ("Information", "category", None),
    ("announcements", "announcement", 0),
    ("rules", "text", 0),
    ("Text Channels", "category", None),
    ("general", "text", 3),
    ("bot-commands", "text", 3),
    ("help", "forum", 3),
    ("staff", "text", 3),
    ("Voice Channels", "category", None),
    ("Lounge", "voice", 8),
    ("Town Hall", "stage", 8),
)


def first_channels(guild_id: str) -> tuple[Channel, ...]:
    """Return a server's initial channels, by ascending id. Only moderators see #staff."""
    first = int(guild_id) + 101
    hidden = (
        Overwrite(guild_id, 0, deny=str(VIEW_CHANNEL)),
        Overwrite(str(int(guild_id) + 1), 0, allow=str(VIEW_CHANNEL)),
    )
    return tuple(
        Channel(
            id=str(first + place),
            name=name,
            type=KINDS[kind],
            position=place,
            parent_id=None if parent is None else str(first + parent),
            permission_overwrites=hidden if name == "staff" else (),
        )
        for place, (name, kind, parent) in enumerate(_FIRST_CHANNELS)
    )


def channels_from_json(data: Any, previous: Sequence[Channel]) -> tuple[Channel, ...]:
    """Parse a server's whole list of channels. Raises BadInput.

    Missing fields are taken from the previous channel with the same id. A channel whose category is not in the list
    stays, without a category, as at Discord.
    """
    if not isinstance(data, list):
        raise BadInput("the channels must be a list of objects")
    if len(data) > MAX_CHANNELS:
        raise BadInput(f"a server has at most {MAX_CHANNELS} channels, not {len(data)}")
    before = {channel.id: channel for channel in previous}
    channels: dict[str, Channel] = {}
    for index, partial in enumerate(data):
        channel = _channel(partial, f"[{index}]", before)
        if channel.id in channels:
            raise BadInput(f"'[{index}].id': the list contains the id {channel.id} twice")
        channels[channel.id] = channel
    categories = {channel.id for channel in channels.values() if channel.type == CATEGORY}
    for index, channel in enumerate(list(channels.values())):
        if channel.parent_id in categories or channel.parent_id is None:
            continue
        previous_parent = before.get(channel.parent_id)
        if "parent_id" in data[index] and (previous_parent is None or previous_parent.type != CATEGORY):
            raise BadInput(f"'[{index}].parent_id' names {channel.parent_id}, which is no category in the list")
        channels[channel.id] = replace(channel, parent_id=None)
    return tuple(sorted(channels.values(), key=lambda channel: int(channel.id)))


def _channel(partial: Any, what: str, before: dict[str, Channel]) -> Channel:
    partial = as_object(partial, f"'{what}'", _FIELDS)
    channel_id = as_snowflake(partial["id"], f"'{what}.id'") if "id" in partial else None
    known = before.get(channel_id) if channel_id else None
    if known is None and "name" not in partial:
        raise BadInput(f"'{what}' must have a 'name', because it is a new channel")
    changes: dict[str, Any] = {}
    if "name" in partial:
        changes["name"] = as_name(partial["name"], f"'{what}.name'")
    if "type" in partial:
        changes["type"] = as_kind(partial["type"], f"'{what}.type'")
    if "position" in partial:
        changes["position"] = as_integer(partial["position"], f"'{what}.position'", maximum=MAX_CHANNELS)
    if "parent_id" in partial:
        parent = partial["parent_id"]
        changes["parent_id"] = None if parent is None else as_snowflake(parent, f"'{what}.parent_id'")
    if "permission_overwrites" in partial:
        changes["permission_overwrites"] = _overwrites(partial["permission_overwrites"], what)
    channel = replace(known or Channel(channel_id or new_id(f"channel {changes['name']}"), changes["name"]), **changes)
    if channel.type == CATEGORY and channel.parent_id is not None:
        raise BadInput(f"'{what}.parent_id' must be null, because a category can't be in a category")
    return channel


def as_kind(value: Any, what: str) -> int:
    """Return the number of a channel type, which is given by its number or its name."""
    if isinstance(value, str) and value in KINDS:
        return KINDS[value]
    if value in KINDS.values() and not isinstance(value, bool):
        return int(value)
    names = ", ".join(f"{number} ({name})" for name, number in KINDS.items())
    raise BadInput(f"{what} must be one of {names}, not {value!r}")


def _overwrites(value: Any, what: str) -> tuple[Overwrite, ...]:
    if not isinstance(value, list):
        raise BadInput(f"'{what}.permission_overwrites' must be a list of objects")
    overwrites = []
    for index, partial in enumerate(value):
        place = f"{what}.permission_overwrites[{index}]"
        partial = as_object(partial, f"'{place}'", ("id", "type", "allow", "deny"))
        overwrites.append(
            Overwrite(
                id=as_snowflake(partial.get("id"), f"'{place}.id'"),
                type=as_integer(partial.get("type", 0), f"'{place}.type'", maximum=1),
                allow=as_permissions(partial.get("allow", "0"), place, "allow"),
                deny=as_permissions(partial.get("deny", "0"), place, "deny"),
            )
        )
    return tuple(overwrites)
