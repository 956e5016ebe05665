"""Discord's gateway: what happens in the bot's servers, over a WebSocket.

https://docs.discord.com/developers/events/gateway

A session begins with IDENTIFY. From then on, after each change of the sandbox's state, it compares the bot's servers
with what they were before, and sends the differences as events. So every change is announced, however it was made. A
session ends with its connection: RESUME is answered with INVALID_SESSION.
"""

import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from queue import SimpleQueue
from secrets import token_hex
from threading import Thread
from typing import Any

from sandbox.calls import APPLICATION_ID, BOT_USER
from sandbox.guild_routes import bot_member, full_guild
from sandbox.oauth import BOT_TOKEN
from sandbox.people import Guild, moment_of
from sandbox.state import Sandbox
from sandbox.websocket import WebSocket

PATH = "/gateway"
HEARTBEAT_INTERVAL = 41_250  # milliseconds, as Discord's
DISPATCH, HEARTBEAT, IDENTIFY, PRESENCE, VOICE_STATE, RESUME = 0, 1, 2, 3, 4, 6
INVALID_SESSION, HELLO, HEARTBEAT_ACK = 9, 10, 11
GUILDS, GUILD_MEMBERS = 1 << 0, 1 << 1
MAX_INTENTS = 1 << 26
# Bits of the application's flags, for verified applications and for those below Discord's threshold.
MAY_SEE_MEMBERS = 1 << 14 | 1 << 15

Event = tuple[str, dict[str, Any]]
Objects = dict[str, dict[str, Any]]


def url_on(host: str) -> str:
    """Return the gateway's address on the sandbox that the client knows as `host`."""
    return f"ws://{host}{PATH}"


class Refused(Exception):
    """What the client sent ends the connection: Discord's close code and its reason."""


@dataclass(frozen=True, slots=True)
class View:
    """What the bot sees in one of its servers: Discord's objects, by id."""

    guild: dict[str, Any]
    roles: Objects
    channels: Objects
    members: Objects

    @classmethod
    def of(cls, sandbox: Sandbox, guild: Guild) -> "View":
        fields = full_guild(sandbox, guild, with_counts=False)
        roles = fields.pop("roles")
        members = {
            person.id: sandbox.member(person, membership).to_response(person.to_user())
            for person in sandbox.people.values()
            if (membership := person.guild(guild.id))
        }
        return cls(
            guild=fields,
            roles={role["id"]: role for role in roles},
            channels={channel.id: channel.to_response(guild.id) for channel in sandbox.channels(guild.id)},
            members=members | {APPLICATION_ID: bot_member(guild)},
        )

    def created(self) -> Event:
        guild_id = self.guild["id"]
        return "GUILD_CREATE", self.guild | {
            "roles": [*self.roles.values()],
            "channels": [*self.channels.values()],
            "members": [*self.members.values()],
            "member_count": len(self.members),
            "joined_at": moment_of(guild_id).isoformat(),
            "large": False,
            "unavailable": False,
            **{name: [] for name in ("threads", "presences", "voice_states", "stage_instances", "soundboard_sounds")},
            "guild_scheduled_events": [],
        }

    def changes(self, before: "View") -> Iterator[Event]:
        """Yield how this server differs from what it was before."""
        guild_id = self.guild["id"]
        here = {"guild_id": guild_id}
        if self.guild != before.guild:
            yield "GUILD_UPDATE", self.guild | {"roles": [*self.roles.values()]}
        for what, role_id, role in _differences(before.roles, self.roles, "CREATE", "DELETE"):
            yield f"GUILD_ROLE_{what}", here | ({"role_id": role_id} if what == "DELETE" else {"role": role})
        for what, _, channel in _differences(before.channels, self.channels, "CREATE", "DELETE"):
            yield f"CHANNEL_{what}", channel
        for what, _, member in _differences(before.members, self.members, "ADD", "REMOVE"):
            yield f"GUILD_MEMBER_{what}", here | ({"user": member["user"]} if what == "REMOVE" else member)


def _differences(before: Objects, now: Objects, created: str, deleted: str) -> Iterator[tuple[str, str, Any]]:
    """Yield what happened to each object that differs: a word, its id, and the object."""
    for key in now.keys() - before.keys():
        yield created, key, now[key]
    for key in before.keys() & now.keys():
        if before[key] != now[key]:
            yield "UPDATE", key, now[key]
    for key in before.keys() - now.keys():
        yield deleted, key, before[key]


class Session:
    """A client's connection. `put` takes what is to be sent, and doesn't wait."""

    def __init__(self, sandbox: Sandbox, url: str, put: Callable[[dict[str, Any]], None]) -> None:
        self._sandbox = sandbox
        self._url = url
        self._put = put
        self._sequence = 0
        self._intents = 0
        self._shard = (0, 1)
        self._views: dict[str, View] = {}
        self._put({"op": HELLO, "d": {"heartbeat_interval": HEARTBEAT_INTERVAL}})

    def receive(self, message: str) -> None:
        """Handle a client's message. Raises Refused."""
        try:
            payload = json.loads(message)
            code, data = payload["op"], payload.get("d")
        except (ValueError, TypeError, KeyError, AttributeError):
            raise Refused(4002, "Error while decoding payload.") from None
        if code == HEARTBEAT:
            self._put({"op": HEARTBEAT_ACK})
        elif code == IDENTIFY:
            self._identify(data if isinstance(data, dict) else {})
        elif code == RESUME:
            self._put({"op": INVALID_SESSION, "d": False})
        elif code not in (PRESENCE, VOICE_STATE):
            raise Refused(4001, "Unknown opcode.")
        elif not self._sequence:
            raise Refused(4003, "Not authenticated.")

    def _identify(self, data: Mapping[str, Any]) -> None:
        if self._sequence:
            raise Refused(4005, "Already authenticated.")
        if data.get("token") not in (BOT_TOKEN, f"Bot {BOT_TOKEN}"):
            raise Refused(4004, "Authentication failed.")
        self._shard = _shard(data.get("shard", [0, 1]))
        with self._sandbox.lock:
            self._intents = _intents(data.get("intents"), self._sandbox.application.flags)
            self._views = self._look()
            self._dispatch("READY", self._ready())
            if self._intents & GUILDS:
                for view in self._views.values():
                    self._dispatch(*view.created())
            self._sandbox.gateway_sessions.append(self.announce)

    def _ready(self) -> dict[str, Any]:
        return {
            "v": 10,
            "user": BOT_USER | {"mfa_enabled": True, "verified": True, "email": None},
            "guilds": [{"id": guild_id, "unavailable": True} for guild_id in self._views],
            "session_id": token_hex(16),
            "resume_gateway_url": self._url,
            "shard": list(self._shard),
            "application": {"id": APPLICATION_ID, "flags": self._sandbox.application.flags},
        }

    def announce(self) -> None:
        """Send what has changed in the bot's servers. The caller holds the sandbox's lock."""
        before, self._views = self._views, self._look()
        for guild_id in before.keys() - self._views.keys():
            self._dispatch_if_wanted("GUILD_DELETE", {"id": guild_id})
        for guild_id, view in self._views.items():
            events = view.changes(before[guild_id]) if guild_id in before else [view.created()]
            for name, data in events:
                self._dispatch_if_wanted(name, data)

    def close(self) -> None:
        """Announce nothing more."""
        with self._sandbox.lock, suppress(ValueError):
            self._sandbox.gateway_sessions.remove(self.announce)

    def _look(self) -> dict[str, View]:
        index, count = self._shard
        guilds = self._sandbox.bot_guilds()
        return {guild.id: View.of(self._sandbox, guild) for guild in guilds if (int(guild.id) >> 22) % count == index}

    def _dispatch_if_wanted(self, name: str, data: dict[str, Any]) -> None:
        is_about_the_bot = name == "GUILD_MEMBER_UPDATE" and data["user"]["id"] == APPLICATION_ID
        intent = GUILD_MEMBERS if name.startswith("GUILD_MEMBER_") else GUILDS
        if self._intents & intent or is_about_the_bot:
            self._dispatch(name, data)

    def _dispatch(self, name: str, data: dict[str, Any]) -> None:
        self._sequence += 1
        self._put({"op": DISPATCH, "t": name, "s": self._sequence, "d": data})


def _shard(given: Any) -> tuple[int, int]:
    match given:
        case [int(index), int(count)] if 0 <= index < count:
            return index, count
    raise Refused(4010, "Invalid shard.")


def _intents(given: Any, flags: int) -> int:
    if not isinstance(given, int) or not 0 <= given < MAX_INTENTS:
        raise Refused(4013, "Invalid intent(s).")
    if given & GUILD_MEMBERS and not flags & MAY_SEE_MEMBERS:
        raise Refused(4014, "Disallowed intent(s).")
    return given


def serve(sandbox: Sandbox, websocket: WebSocket, url: str, *, compressed: bool) -> None:
    """Speak with a client until its connection ends. `url` is the gateway's own, `compressed` is for zlib-stream."""
    outgoing: SimpleQueue[dict[str, Any] | None] = SimpleQueue()
    sender = Thread(target=_send_all, args=(websocket, outgoing, compressed), name="sandbox-gateway", daemon=True)
    sender.start()
    session = Session(sandbox, url, outgoing.put)
    try:
        with closing(session):
            for message in websocket.messages():
                session.receive(message)
    except Refused as refusal:
        websocket.close(*refusal.args)
    finally:
        outgoing.put(None)
        sender.join()


def _send_all(websocket: WebSocket, outgoing: "SimpleQueue[dict[str, Any] | None]", compressed: bool) -> None:
    stream = zlib.compressobj() if compressed else None
    with suppress(OSError):
        while (payload := outgoing.get()) is not None:
            text = json.dumps(payload, ensure_ascii=False)
            websocket.send(stream.compress(text.encode()) + stream.flush(zlib.Z_SYNC_FLUSH) if stream else text)
