"""Discord's objects as values.

They are parsed once, at the boundary: `from_json` returns a complete value or raises `InvalidPayload`, which names the
field but not its content. Unused fields are ignored, and unknown members of sets that Discord extends (features,
scopes) are kept. `Listing` parses each entry of a list separately.
"""

import difflib
import enum
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Generic, Literal, Protocol, Self, TypeVar

from accounts import snowflakes

_BIT_FIELD = re.compile(r"(0|[1-9][0-9]{0,999})", re.ASCII)  # Python refuses to convert more than 4,300 digits
_BIGINT_LIMIT = 2**63  # what a signed 64-bit column can hold

TOKEN = re.compile(r"[\x21-\x7e]+")  # the characters a header can contain (RFC 6750 allows fewer)


class InvalidPayload(ValueError):
    """A JSON payload that does not have the expected shape."""


class Permissions(enum.IntFlag, boundary=enum.KEEP):
    """Discord's permission bits by their official names. Unnamed bits are kept.

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
        """Whether a person with these `permissions` in the guild can manage it."""
        return Permissions.allow(permissions, owner, Permissions.MANAGE_GUILD)

    @staticmethod
    def allow(permissions: int, owner: bool, wanted: int) -> bool:
        """Whether a person with these `permissions` in the guild has all of `wanted`. All permission checks use this.

        Owners and administrators have every permission, even if the bits are not set: in Discord's own example of an
        owned guild, neither ADMINISTRATOR nor MANAGE_GUILD is set.
        """
        return not Permissions.missing(permissions, owner, wanted)

    @staticmethod
    def missing(permissions: int, owner: bool, wanted: int) -> int:
        """Return those of `wanted` that a member with these `permissions` doesn't have."""
        # Plain ints, because the flags' own operators are ten times slower and a list can have 200 guilds.
        return 0 if owner or permissions & _ADMINISTRATOR else int(wanted) & ~permissions

    @classmethod
    def named(cls, name: "str | Permissions") -> "Permissions":
        """Return the permission with this name, ignoring case.

        Raises `ValueError` for any other name. Its message suggests a name, also for one that Discord's apps show.
        No permission at all, such as `MANAGE_GUILD & BAN_MEMBERS`, is refused too, because everyone would have it.
        """
        if isinstance(name, cls):
            if not name:
                raise ValueError("Permissions(0) is no permission, so everyone has it; combine several with |")
            return name
        if not isinstance(name, str):
            several = "combine several with |, such as Permissions.KICK_MEMBERS | Permissions.BAN_MEMBERS"
            raise ValueError(f"A permission is one of Discord's names, not {name!r}; {several}")
        found = cls.__members__.get(name.upper())
        if found is None:
            near = _suggestion(name)
            hint = f"; did you mean {near.lower()!r}?" if near else ""
            raise ValueError(f"Discord has no permission {name!r}{hint}")
        return found

    @classmethod
    def all_named(cls, names: "Iterable[str | Permissions]") -> "Permissions":
        """Return the permissions with these names together. Raises `ValueError` as `named` does."""
        found = cls(0)
        for name in names:
            found |= cls.named(name)
        return found


_ADMINISTRATOR = int(Permissions.ADMINISTRATOR)
# The names of `Permissions`, for type checkers and editors. Any case works, but only these are checked.
PermissionName = Literal[
    "create_instant_invite",
    "kick_members",
    "ban_members",
    "administrator",
    "manage_channels",
    "manage_guild",
    "add_reactions",
    "view_audit_log",
    "priority_speaker",
    "stream",
    "view_channel",
    "send_messages",
    "send_tts_messages",
    "manage_messages",
    "embed_links",
    "attach_files",
    "read_message_history",
    "mention_everyone",
    "use_external_emojis",
    "view_guild_insights",
    "connect",
    "speak",
    "mute_members",
    "deafen_members",
    "move_members",
    "use_vad",
    "change_nickname",
    "manage_nicknames",
    "manage_roles",
    "manage_webhooks",
    "manage_guild_expressions",
    "use_application_commands",
    "request_to_speak",
    "manage_events",
    "manage_threads",
    "create_public_threads",
    "create_private_threads",
    "use_external_stickers",
    "send_messages_in_threads",
    "use_embedded_activities",
    "moderate_members",
    "view_creator_monetization_analytics",
    "use_soundboard",
    "create_guild_expressions",
    "create_events",
    "use_external_sounds",
    "send_voice_messages",
    "set_voice_channel_status",
    "send_polls",
    "use_external_apps",
    "pin_messages",
    "bypass_slowmode",
]
# Names that Discord's apps show, or once showed, where spelling alone doesn't lead to the official name.
_SHOWN_AS = {
    "MANAGE_SERVER": "MANAGE_GUILD",
    "CREATE_INVITE": "CREATE_INSTANT_INVITE",
    "VIDEO": "STREAM",
    "READ_MESSAGES": "VIEW_CHANNEL",
    "USE_EXTERNAL_EMOJI": "USE_EXTERNAL_EMOJIS",
    "VIEW_SERVER_INSIGHTS": "VIEW_GUILD_INSIGHTS",
    "SEND_TEXT_TO_SPEECH_MESSAGES": "SEND_TTS_MESSAGES",
    "MENTION_EVERYONE_HERE_AND_ALL_ROLES": "MENTION_EVERYONE",
    "USE_VOICE_ACTIVITY": "USE_VAD",
    "MANAGE_PERMISSIONS": "MANAGE_ROLES",
    "MANAGE_EMOJIS_AND_STICKERS": "MANAGE_GUILD_EXPRESSIONS",
    "MANAGE_EXPRESSIONS": "MANAGE_GUILD_EXPRESSIONS",
    "CREATE_EXPRESSIONS": "CREATE_GUILD_EXPRESSIONS",
    "USE_SLASH_COMMANDS": "USE_APPLICATION_COMMANDS",
    "USE_ACTIVITIES": "USE_EMBEDDED_ACTIVITIES",
    "TIMEOUT_MEMBERS": "MODERATE_MEMBERS",
    "CREATE_POLLS": "SEND_POLLS",
}


def _suggestion(name: str) -> str | None:
    """Return the official name of the permission that is probably meant; None if none is similar."""
    written = "_".join(re.findall("[A-Z]+", name.upper()))
    known = {member: member for member in Permissions.__members__} | _SHOWN_AS
    if written in known:
        return known[written]
    # An abbreviation, such as "admin".
    longer = [each for each in known if len(written) > 2 and each.startswith(written)]
    near = longer[:1] or difflib.get_close_matches(written, known, n=1)
    return known[near[0]] if near else None


@dataclass(frozen=True, slots=True)
class Guild:
    """A server with one member's view of it: `owner` and `permissions` are that member's."""

    id: int
    name: str
    icon: str | None
    banner: str | None
    owner: bool
    permissions: int  # not `Permissions`: an IntFlag caches every value it has seen, and there are too many
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
            permissions=fields.bits("permissions"),
            features=fields.texts("features"),
        )


@dataclass(frozen=True, slots=True)
class PartialGuild:
    """A server of the bot's list, with the fields that this site uses: `owner` and `permissions` are the bot's."""

    id: int
    name: str
    icon: str | None
    owner: bool = False
    permissions: int = 0  # not `Permissions`, as above
    features: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, value: object) -> Self:
        fields = _Fields(value, "guild")
        return cls(
            id=fields.snowflake("id"),
            name=fields.text("name"),
            icon=fields.text_or_none("icon"),
            owner=fields.boolean("owner"),
            permissions=fields.bits("permissions"),
            features=fields.texts("features"),
        )


@dataclass(frozen=True, slots=True)
class Role:
    """A role of a server. The role @everyone has the server's id."""

    id: int
    name: str
    color: int  # as 0xRRGGBB; 0 for none
    position: int  # a higher role has a higher position; roles with equal positions are ordered by id
    permissions: int
    managed: bool  # belongs to an integration, so that no one can be given it

    @classmethod
    def from_json(cls, value: object) -> Self:
        fields = _Fields(value, "role")
        return cls(
            id=fields.snowflake("id"),
            name=fields.text("name"),
            color=fields.integer_or_none("color") or 0,
            position=fields.integer("position"),
            permissions=fields.bits("permissions"),
            managed=fields.boolean("managed"),
        )


@dataclass(frozen=True, slots=True)
class Overwrite:
    """The permissions that a channel grants to a role or a member, and those that it denies."""

    id: int
    is_role: bool
    allow: int
    deny: int

    @classmethod
    def from_json(cls, value: object) -> Self:
        fields = _Fields(value, "overwrite")
        return cls(
            id=fields.snowflake("id"),
            is_role=fields.integer("type") == 0,
            allow=fields.bits("allow"),
            deny=fields.bits("deny"),
        )


class ChannelKind(enum.IntEnum):
    """The kinds of channels that Discord lists for a server.

    https://docs.discord.com/developers/resources/channel#channel-object-channel-types
    """

    TEXT = 0
    VOICE = 2
    CATEGORY = 4
    ANNOUNCEMENT = 5
    STAGE = 13
    DIRECTORY = 14
    FORUM = 15
    MEDIA = 16


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel of a server. `kind` is Discord's number, as in `ChannelKind`; Discord may add kinds."""

    id: int
    kind: int
    name: str
    position: int
    parent_id: int | None  # the category's
    overwrites: tuple[Overwrite, ...]

    @classmethod
    def from_json(cls, value: object) -> Self:
        fields = _Fields(value, "channel")
        return cls(
            id=fields.snowflake("id"),
            kind=fields.integer("type"),
            name=fields.text("name"),
            position=fields.integer("position"),
            parent_id=fields.snowflake_or_none("parent_id"),
            overwrites=tuple(map(Overwrite.from_json, fields.array_or_empty("permission_overwrites"))),
        )


@dataclass(frozen=True, slots=True)
class Member:
    """One person in one server."""

    roles: tuple[int, ...]  # ascending, without @everyone
    nick: str  # empty if there is none
    joined_at: datetime | None  # guests have none
    timed_out_until: datetime | None  # may be past
    pending: bool  # has not yet accepted the server's rules

    @classmethod
    def from_json(cls, value: object) -> Self:
        fields = _Fields(value, "member")
        return cls(
            roles=fields.snowflakes("roles"),
            nick=fields.text_or_none("nick") or "",
            joined_at=fields.moment_or_none("joined_at"),
            timed_out_until=fields.moment_or_none("communication_disabled_until"),
            pending=fields.value.get("pending") is not None and fields.boolean("pending"),
        )


class _HasId(Protocol):
    @property
    def id(self) -> int: ...


E = TypeVar("E", bound=_HasId)
G = TypeVar("G", Guild, PartialGuild)


@dataclass(frozen=True, slots=True)
class Listing(Generic[E]):
    """A list of objects, as far as it could be parsed. `entries` are sorted by id; none of them is in `unreadable`.

    An unreadable entry only shows that the object is in the list, so its stored data must be kept.
    """

    entries: tuple[E, ...] = ()
    unreadable: Mapping[int, str] = field(default_factory=dict)  # the problem by the object's id
    without_id: int = 0  # entries that could be any object

    @property
    def ids(self) -> frozenset[int]:
        """All ids in the list, including those of unreadable entries."""
        return frozenset(entry.id for entry in self.entries).union(self.unreadable)

    @classmethod
    def of(cls, value: object, parse: Callable[[object], E], what: str) -> Self:
        """Parse a JSON array of any length, in which each entry is a `what`.

        Identical entries with the same id count once; if they differ, the object is unreadable.
        """
        if not isinstance(value, list):
            raise InvalidPayload(f"the {what}s are not a list")
        entries: dict[int, E] = {}
        unreadable: dict[int, str] = {}
        without_id = 0
        for each in value:
            try:
                entry_id = _Fields(each, what).snowflake("id")
            except InvalidPayload:
                without_id += 1
                continue
            try:
                entry = parse(each)
            except InvalidPayload as problem:
                unreadable[entry_id] = str(problem)
                continue
            if entries.setdefault(entry_id, entry) != entry:
                unreadable[entry_id] = f"{what}.id is listed twice, with different fields"
        readable = sorted(entries.keys() - unreadable.keys())
        return cls(tuple(entries[entry_id] for entry_id in readable), unreadable, without_id)


class GuildPage(Listing[G]):
    """A list of guilds."""

    __slots__ = ()

    @property
    def guilds(self) -> tuple[G, ...]:
        return self.entries

    @classmethod
    def from_json(cls, value: object, parse: Callable[[object], G]) -> Self:
        """Parse a JSON array; `null` counts as an empty one."""
        return cls() if value is None else cls.of(value, parse, "guild")


@dataclass(frozen=True, slots=True)
class CurrentUser:
    """The person that a token belongs to. Only `id` identifies them; names change and are not unique."""

    id: int
    username: str
    global_name: str | None
    avatar: str | None
    # Only with the scope `email`.
    email: str | None = field(default=None, repr=False)
    email_verified: bool = False

    @classmethod
    def from_json(cls, value: object) -> Self:
        fields = _Fields(value, "user")
        return cls(
            id=fields.snowflake("id"),
            username=fields.text("username"),
            global_name=fields.text_or_none("global_name"),
            avatar=fields.text_or_none("avatar"),
            email=fields.text_or_none("email"),
            email_verified=fields.value.get("verified") is True,
        )


@dataclass(frozen=True, slots=True)
class Tokens:
    """A token endpoint's response. The refresh token works once; `scopes` may exceed the requested ones."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_in: int  # seconds after the response
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


@dataclass(frozen=True, slots=True)
class InstallSettings:
    """What an application's install link requests when it is added to a server."""

    scopes: frozenset[str]
    permissions: int

    @classmethod
    def from_json(cls, value: object) -> Self:
        fields = _Fields(value, "install_params")
        return cls(frozenset(fields.texts("scopes")), fields.bits("permissions"))


@dataclass(frozen=True, slots=True)
class Application:
    """An application as its owner has set it up in Discord's developer portal.

    `guild_install` is None without an install link for servers. Only the bot token shows `redirect_uris` and
    `webhook_status` (1 off, 2 on, 3 switched off by Discord); otherwise they are None.

    https://docs.discord.com/developers/resources/application
    """

    id: int
    is_bot_public: bool
    requires_code_grant: bool
    flags: int
    is_for_guilds: bool
    guild_install: InstallSettings | None
    redirect_uris: tuple[str, ...] | None
    webhook_status: int | None

    @classmethod
    def from_json(cls, value: object) -> Self:
        fields = _Fields(value, "application")
        contexts = fields.object_or_none("integration_types_config") or {}
        params = contexts.get("0") or {}
        install = params.get("oauth2_install_params") if isinstance(params, dict) else None
        install = install or fields.object_or_none("install_params")
        return cls(
            id=fields.snowflake("id"),
            is_bot_public=fields.boolean_or("bot_public", True),
            requires_code_grant=fields.boolean_or("bot_require_code_grant", False),
            flags=fields.integer_or_none("flags") or 0,
            is_for_guilds=not contexts or "0" in contexts,
            guild_install=InstallSettings.from_json(install) if install else None,
            redirect_uris=None if fields.value.get("redirect_uris") is None else fields.texts("redirect_uris"),
            webhook_status=fields.integer_or_none("event_webhooks_status"),
        )


class _Fields:
    """A JSON object with a method for each type of field. They raise `InvalidPayload`."""

    def __init__(self, value: object, what: str) -> None:
        if not isinstance(value, dict):
            raise InvalidPayload(f"{what} is not an object")
        self.value: dict[str, Any] = value
        self.what = what

    def snowflake(self, name: str) -> int:
        """An id: a decimal string without leading zeros that fits a signed 64-bit integer."""
        text = self.value.get(name)
        number = snowflakes.parse(text) if isinstance(text, str) else None
        if number is None:
            raise self._invalid(name, "is not a 63-bit number in a string")
        return number

    def snowflake_or_none(self, name: str) -> int | None:
        return None if self.value.get(name) is None else self.snowflake(name)

    def snowflakes(self, name: str) -> tuple[int, ...]:
        """A list of ids, returned in ascending order without duplicates."""
        ids = self.value.get(name)
        if not isinstance(ids, list):
            raise self._invalid(name, "is not a list of ids")
        return tuple(sorted({_Fields({"id": each}, f"{self.what}.{name}").snowflake("id") for each in ids}))

    def array_or_empty(self, name: str) -> list[Any]:
        array = self.value.get(name)
        if array is not None and not isinstance(array, list):
            raise self._invalid(name, "is not a list")
        return array or []

    def moment_or_none(self, name: str) -> datetime | None:
        """A time in UTC (ISO 8601); one without a time zone counts as UTC."""
        text = self.text_or_none(name)
        if text is None:
            return None
        try:
            moment = datetime.fromisoformat(text)
            return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
        except (ValueError, OverflowError):
            raise self._invalid(name, "is not a time") from None

    def integer(self, name: str) -> int:
        number = self.value.get(name)
        if not isinstance(number, int) or isinstance(number, bool) or not -(2**31) <= number < 2**31:
            raise self._invalid(name, "is not a 32-bit number")
        return number

    def integer_or_none(self, name: str) -> int | None:
        return None if self.value.get(name) is None else self.integer(name)

    def bits(self, name: str) -> int:
        """A bit field: a decimal string without leading zeros. Bits above 62 are dropped: no column can hold them."""
        text = self.value.get(name)
        if not isinstance(text, str) or not _BIT_FIELD.fullmatch(text):
            raise self._invalid(name, "is not a number in a string")
        return int(text) % _BIGINT_LIMIT

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

    def boolean_or(self, name: str, default: bool) -> bool:
        return default if self.value.get(name) is None else self.boolean(name)

    def object_or_none(self, name: str) -> dict[str, Any] | None:
        value = self.value.get(name)
        if value is not None and not isinstance(value, dict):
            raise self._invalid(name, "is not an object")
        return value

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
    """Return the text without what JSON allows but a database can't store: NUL and halves of surrogate pairs."""
    return text.replace("\x00", "").encode("utf-8", "replace").decode()
