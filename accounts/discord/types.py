"""What Discord tells us, as values.

Parsed once, at the door: `from_json` gives a complete value or raises `InvalidPayload`, which names the field and
never its content. Fields that we do not use are ignored, whatever they hold; sets that Discord extends
(features, scopes, locales) stay open.
"""

import difflib
import enum
import re
from dataclasses import dataclass, field
from typing import Any, Self

_SNOWFLAKE = re.compile(r"(0|[1-9][0-9]{0,18})", re.ASCII)
_BIGINT_LIMIT = 2**63  # what a signed 64-bit column can hold; snowflakes reach it in 2084

TOKEN = re.compile(r"[\x21-\x7e]+")  # what can stand in a header (RFC 6750 allows less)


class InvalidPayload(ValueError):
    """An answer that is JSON, but not what was asked for."""


class Permissions(enum.IntFlag, boundary=enum.KEEP):
    """Discord's permission bits by their official names. Bits without a name are kept.

    https://docs.discord.com/developers/topics/permissions; bit 47 is not defined.
    """

    CREATE_INSTANT_INVITE = 1 << 0
    KICK_MEMBERS = 1 << 1
    BAN_MEMBERS = 1 << 2
    ADMINISTRATOR = 1 << 3
    MANAGE_CHANNELS = 1 << 4
    MANAGE_GUILD = 1 << 5
    ADD_REACTIONS = 1 << 6
    VIEW_AUDIT_LOG = 1 << 7
    PRIORITY_SPEAKER = 1 << 8
    STREAM = 1 << 9
    VIEW_CHANNEL = 1 << 10
    SEND_MESSAGES = 1 << 11
    SEND_TTS_MESSAGES = 1 << 12
    MANAGE_MESSAGES = 1 << 13
    EMBED_LINKS = 1 << 14
    ATTACH_FILES = 1 << 15
    READ_MESSAGE_HISTORY = 1 << 16
    MENTION_EVERYONE = 1 << 17
    USE_EXTERNAL_EMOJIS = 1 << 18
    VIEW_GUILD_INSIGHTS = 1 << 19
    CONNECT = 1 << 20
    SPEAK = 1 << 21
    MUTE_MEMBERS = 1 << 22
    DEAFEN_MEMBERS = 1 << 23
    MOVE_MEMBERS = 1 << 24
    USE_VAD = 1 << 25
    CHANGE_NICKNAME = 1 << 26
    MANAGE_NICKNAMES = 1 << 27
    MANAGE_ROLES = 1 << 28
    MANAGE_WEBHOOKS = 1 << 29
    MANAGE_GUILD_EXPRESSIONS = 1 << 30
    USE_APPLICATION_COMMANDS = 1 << 31
    REQUEST_TO_SPEAK = 1 << 32
    MANAGE_EVENTS = 1 << 33
    MANAGE_THREADS = 1 << 34
    CREATE_PUBLIC_THREADS = 1 << 35
    CREATE_PRIVATE_THREADS = 1 << 36
    USE_EXTERNAL_STICKERS = 1 << 37
    SEND_MESSAGES_IN_THREADS = 1 << 38
    USE_EMBEDDED_ACTIVITIES = 1 << 39
    MODERATE_MEMBERS = 1 << 40
    VIEW_CREATOR_MONETIZATION_ANALYTICS = 1 << 41
    USE_SOUNDBOARD = 1 << 42
    CREATE_GUILD_EXPRESSIONS = 1 << 43
    CREATE_EVENTS = 1 << 44
    USE_EXTERNAL_SOUNDS = 1 << 45
    SEND_VOICE_MESSAGES = 1 << 46
    SET_VOICE_CHANNEL_STATUS = 1 << 48
    SEND_POLLS = 1 << 49
    USE_EXTERNAL_APPS = 1 << 50
    PIN_MESSAGES = 1 << 51
    BYPASS_SLOWMODE = 1 << 52

    @staticmethod
    def can_manage(permissions: int, owner: bool) -> bool:
        """May this person manage the guild?"""
        return Permissions.allow(permissions, owner, Permissions.MANAGE_GUILD)

    @staticmethod
    def allow(permissions: int, owner: bool, wanted: int) -> bool:
        """May this person do `wanted` in the guild? The one place that decides it.

        An owner and an administrator may everything, also where the bits do not say so: Discord's own example of an
        owned guild has neither ADMINISTRATOR nor MANAGE_GUILD set.
        """
        # On plain ints: the flags' own operators are ten times slower, and lists have hundreds of guilds.
        return owner or bool(permissions & _ADMINISTRATOR) or permissions & int(wanted) == int(wanted)

    @classmethod
    def named(cls, name: "str | Permissions") -> "Permissions":
        """Discord's permission of that name, in any case. Raises `ValueError`, with the nearest name, for any other."""
        if isinstance(name, cls):
            return name
        found = cls.__members__.get(str(name).upper())
        if found is None:
            near = difflib.get_close_matches(str(name).upper(), cls.__members__, n=1)
            hint = f"; did you mean {near[0].lower()!r}?" if near else ""
            raise ValueError(f"Discord has no permission {name!r}{hint}")
        return found


_ADMINISTRATOR = int(Permissions.ADMINISTRATOR)


@dataclass(frozen=True, slots=True)
class Guild:
    """One server, as one person (or the bot) is in it: `owner` and `permissions` are theirs."""

    id: int
    name: str
    icon: str | None
    banner: str | None
    owner: bool
    permissions: int  # not `Permissions`: an IntFlag keeps every value it ever saw, and these are endless
    features: tuple[str, ...]  # in alphabetical order, so that equal sets are equal values

    @property
    def can_manage(self) -> bool:
        return Permissions.can_manage(self.permissions, self.owner)

    @classmethod
    def from_json(cls, value: object) -> Self:
        fields = _Fields(value, "guild")
        return cls(
            id=fields.snowflake("id"),
            name=fields.text("name"),
            icon=fields.text_or_none("icon"),
            banner=fields.text_or_none("banner"),
            owner=fields.boolean("owner"),
            permissions=fields.snowflake("permissions"),
            features=fields.texts("features"),
        )


@dataclass(frozen=True, slots=True)
class CurrentUser:
    """The person a token belongs to. Only `id` identifies; names change and are not unique."""

    id: int
    username: str
    global_name: str | None
    avatar: str | None
    locale: str

    @classmethod
    def from_json(cls, value: object) -> Self:
        fields = _Fields(value, "user")
        return cls(
            id=fields.snowflake("id"),
            username=fields.text("username"),
            global_name=fields.text_or_none("global_name"),
            avatar=fields.text_or_none("avatar"),
            locale=fields.text_or_none("locale") or "",
        )


@dataclass(frozen=True, slots=True)
class Tokens:
    """A pair fresh from the token endpoint; the refresh token works once. `scopes` may exceed what was asked for."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_in: int  # seconds, from the moment of the answer
    scopes: frozenset[str]
    token_type: str

    @classmethod
    def from_json(cls, value: object) -> Self:
        fields = _Fields(value, "token")
        return cls(
            access_token=fields.secret("access_token"),
            refresh_token=fields.secret("refresh_token"),
            expires_in=fields.seconds("expires_in"),
            scopes=frozenset(fields.text("scope").split()),
            token_type=fields.text("token_type"),
        )


class _Fields:
    """A JSON object that hands out its fields by kind."""

    def __init__(self, value: object, what: str) -> None:
        if not isinstance(value, dict):
            raise InvalidPayload(f"{what} is not an object")
        self.value: dict[str, Any] = value
        self.what = what

    def snowflake(self, name: str) -> int:
        """An id or a bit field: a decimal string without leading zeros that fits a signed 64-bit integer."""
        text = self.value.get(name)
        if not isinstance(text, str) or not _SNOWFLAKE.fullmatch(text) or int(text) >= _BIGINT_LIMIT:
            raise self._invalid(name, "is not a 63-bit number in a string")
        return int(text)

    def text(self, name: str) -> str:
        text = self.value.get(name)
        if not isinstance(text, str):
            raise self._invalid(name, "is not a string")
        return _storable(text)

    def text_or_none(self, name: str) -> str | None:
        return None if self.value.get(name) is None else self.text(name)

    def texts(self, name: str) -> tuple[str, ...]:
        texts = self.value.get(name)
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise self._invalid(name, "is not a list of strings")
        return tuple(sorted({_storable(text) for text in texts}))

    def boolean(self, name: str) -> bool:
        flag = self.value.get(name)
        if not isinstance(flag, bool):
            raise self._invalid(name, "is not true or false")
        return flag

    def seconds(self, name: str) -> int:
        seconds = self.value.get(name)
        if not isinstance(seconds, int) or isinstance(seconds, bool) or not 0 < seconds < 2**31:
            raise self._invalid(name, "is not a number of seconds")
        return seconds

    def secret(self, name: str) -> str:
        text = self.value.get(name)
        if not isinstance(text, str) or not TOKEN.fullmatch(text):
            raise self._invalid(name, "is not a token")
        return text

    def _invalid(self, name: str, problem: str) -> InvalidPayload:
        return InvalidPayload(f"{self.what}.{name} {problem}")


def _storable(text: str) -> str:
    """The text without what JSON can carry and a database cannot: NUL and halves of surrogate pairs."""
    return text.replace("\x00", "").encode("utf-8", "replace").decode()
