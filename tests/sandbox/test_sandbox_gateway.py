"""The gateway: sessions, and the events that follow from changes of the sandbox's state."""

import asyncio
import json
import os
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from yarl import URL

from tests.sandbox.conftest import ROOT, RunningSandbox
from tests.sandbox.test_sandbox_clients import Route, discord

GUILDS, MEMBERS = 1, 2
CLUB = "11"
MAY_SEE_MEMBERS = 1 << 15
BOT = "Bot sandbox-bot"
Connect = Callable[..., "Bot"]


class Bot:
    """A client of the gateway."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        assert self.next()["op"] == 10

    def next(self) -> Any:
        return json.loads(self.connection.recv(timeout=20))

    def send(self, code: int, data: Any = None) -> None:
        self.connection.send(json.dumps({"op": code, "d": data}))

    def identify(self, intents: Any = GUILDS | MEMBERS, token: str = "sandbox-bot", **more: Any) -> None:
        self.send(2, {"token": token, "intents": intents, "properties": {}, **more})

    def events(self) -> list[tuple[str, Any]]:
        """Return the events until now."""
        self.send(1, None)
        events = []
        while (payload := self.next())["op"] != 11:
            events.append((payload["t"], payload["d"]))
        return events

    def started(self, **options: Any) -> "Bot":
        self.identify(**options)
        self.events()
        return self


@pytest.fixture
def club(sandbox: RunningSandbox) -> RunningSandbox:
    """A sandbox whose bot is in one server, with eve; its application may see members."""
    for name in ("ada", "grace", "linus"):
        sandbox.control("PUT", f"people/{name}", {"guilds": []})
    sandbox.control("PUT", "people/eve", {"guilds": [{"id": CLUB, "name": "Club", "bot": True}]})
    sandbox.control("PUT", "application", {"flags": MAY_SEE_MEMBERS})
    return sandbox


@pytest.fixture
def connected(sandbox: RunningSandbox) -> Iterator[Connect]:
    with ExitStack() as stack:

        def connected() -> Bot:
            url = sandbox.get("/gateway/bot", BOT).json()["url"]
            return Bot(stack.enter_context(connect(f"{url}?v=10&encoding=json", proxy=None)))

        yield connected


def test_the_address_is_that_of_the_sandbox(sandbox: RunningSandbox) -> None:
    url = sandbox.get("/gateway").json()["url"]

    assert url == f"ws://127.0.0.1:{sandbox.port}/gateway"
    told = sandbox.get("/gateway/bot", BOT).json()
    assert (told["url"], told["shards"], told["session_start_limit"]["max_concurrency"]) == (url, 1, 1)
    assert sandbox.get("/gateway/bot", sandbox.token()).status == 401
    assert sandbox.get("/gateway/bot").status == 401


def test_a_session_begins_with_the_bots_servers(club: RunningSandbox, connected: Connect) -> None:
    bot = connected()
    bot.identify()

    (ready, session), (created, guild) = bot.events()

    assert (ready, [guild["id"] for guild in session["guilds"]]) == ("READY", [CLUB])
    assert session["user"]["id"] == club.get("/users/@me", BOT).json()["id"]
    assert (created, guild["name"], guild["member_count"]) == ("GUILD_CREATE", "Club", 2)
    assert guild["roles"] == club.get(f"/guilds/{CLUB}/roles", BOT).json()
    assert guild["channels"] == club.get(f"/guilds/{CLUB}/channels", BOT).json()
    for member in guild["members"]:
        assert member == club.get(f"/guilds/{CLUB}/members/{member['user']['id']}", BOT).json()
    assert club.state()["gateway_sessions"] == 1


def put(path: str, data: Any) -> Callable[[RunningSandbox], Any]:
    return lambda sandbox: sandbox.control("PUT", path, data)


def from_club(*added: dict[str, Any], kind: str) -> Callable[[RunningSandbox], Any]:
    """Add to the server's roles or channels."""

    def change(sandbox: RunningSandbox) -> None:
        entries = [{"id": entry["id"]} for entry in sandbox.control("GET", f"guilds/{CLUB}/{kind}").json()]
        sandbox.control("PUT", f"guilds/{CLUB}/{kind}", [*entries, *added])

    return change


@pytest.mark.parametrize(
    ("change", "events"),
    [
        (put("people/linus", {"guilds": [{"id": CLUB, "name": "Club"}]}), ["GUILD_MEMBER_ADD"]),
        (put("people/eve", {"guilds": []}), ["GUILD_DELETE"]),
        (put(f"members/eve/{CLUB}", {"roles": ["Supporters"]}), ["GUILD_MEMBER_UPDATE"]),
        (put("people/eve", {"global_name": "Evelyn"}), ["GUILD_MEMBER_UPDATE"]),
        (from_club({"name": "Staff"}, kind="roles"), ["GUILD_ROLE_CREATE"]),
        (from_club({"name": "news"}, kind="channels"), ["CHANNEL_CREATE"]),
        (put(f"guilds/{CLUB}/roles", []), ["GUILD_ROLE_DELETE"] * 4),
        (put(f"guilds/{CLUB}/channels", []), ["CHANNEL_DELETE"] * 11),
        # The bot's permissions are those of its role.
        (put(f"bot/{CLUB}", {"permissions": "8"}), ["GUILD_ROLE_UPDATE"]),
        (lambda sandbox: sandbox.control("DELETE", f"bot/{CLUB}"), ["GUILD_DELETE"]),
        (put("people/eve", {"guilds": [{"id": CLUB, "name": "Chess"}]}), ["GUILD_UPDATE"]),
        (put("people/linus", {"guilds": [{"id": "22", "name": "New", "bot": True}]}), ["GUILD_CREATE"]),
        # Nothing that the bot can see.
        (put("people/linus", {"guilds": [{"id": "33", "name": "Private"}]}), []),
        (lambda sandbox: sandbox.token("eve"), []),
    ],
)
def test_each_change_is_announced(
    club: RunningSandbox, connected: Connect, change: Callable[[RunningSandbox], Any], events: list[str]
) -> None:
    bot = connected().started()

    change(club)

    assert [name for name, _ in bot.events()] == events


def test_events_have_discords_fields(club: RunningSandbox, connected: Connect) -> None:
    club.control("PUT", "people/linus", {"guilds": [{"id": CLUB, "name": "Club"}]})
    linus = club.control("GET", "people/linus").json()["id"]
    bot = connected().started()

    club.control("PUT", f"members/linus/{CLUB}", {"nick": "L", "roles": ["Supporters"]})
    club.control("PUT", "people/linus", {"guilds": []})
    club.control("PUT", f"guilds/{CLUB}/roles", [{"id": "12", "name": "Mods"}, {"id": "13"}, {"id": "15"}])

    (_, updated), (_, removed), (_, renamed), (_, deleted) = bot.events()
    assert (updated["guild_id"], updated["user"]["id"], updated["nick"], updated["roles"]) == (CLUB, linus, "L", ["14"])
    assert (removed["guild_id"], removed["user"]["id"]) == (CLUB, linus)
    assert (renamed["guild_id"], renamed["role"]["name"]) == (CLUB, "Mods")
    assert deleted == {"guild_id": CLUB, "role_id": "14"}


def test_members_need_their_intent(club: RunningSandbox, connected: Connect) -> None:
    bot = connected().started(intents=GUILDS)

    club.control("PUT", f"members/eve/{CLUB}", {"nick": "E"})
    club.control("PUT", f"guilds/{CLUB}/channels", [])

    assert {name for name, _ in bot.events()} == {"CHANNEL_DELETE"}


def test_each_shard_has_its_servers(club: RunningSandbox, connected: Connect) -> None:
    guild_ids = [str(number << 22) for number in range(1, 5)]
    club.control("PUT", "people/eve", {"guilds": [{"id": guild_id, "bot": True} for guild_id in guild_ids]})
    bots = [connected(), connected()]
    for index, bot in enumerate(bots):
        bot.identify(shard=[index, 2])

    seen = [[data["id"] for name, data in bot.events() if name == "GUILD_CREATE"] for bot in bots]

    assert seen == [guild_ids[1::2], guild_ids[::2]]


def test_a_session_cannot_be_resumed(club: RunningSandbox, connected: Connect) -> None:
    bot = connected()

    bot.send(6, {"token": "sandbox-bot", "session_id": "s", "seq": 1})

    assert bot.next() == {"op": 9, "d": False}
    bot.identify()
    assert [name for name, _ in bot.events()] == ["READY", "GUILD_CREATE"]


@pytest.mark.parametrize(
    ("says", "code"),
    [
        (lambda bot: bot.connection.send("{"), 4002),
        (lambda bot: bot.connection.send("[]"), 4002),
        (lambda bot: bot.send(99), 4001),
        (lambda bot: bot.send(3, {}), 4003),
        (lambda bot: bot.identify(token="wrong"), 4004),
        (lambda bot: bot.started().identify(), 4005),
        (lambda bot: bot.identify(shard=[2, 2]), 4010),
        (lambda bot: bot.identify(intents="all"), 4013),
    ],
)
def test_a_mistake_ends_the_connection_with_discords_code(
    club: RunningSandbox, connected: Connect, says: Callable[[Bot], None], code: int
) -> None:
    bot = connected()

    says(bot)

    with pytest.raises(ConnectionClosed) as closed:
        bot.events()
    assert closed.value.rcvd
    assert closed.value.rcvd.code == code
    # The server forgets a session before it ends the connection.
    assert club.state()["gateway_sessions"] == 0


def test_an_application_without_the_flag_does_not_see_members(club: RunningSandbox, connected: Connect) -> None:
    club.control("PUT", "application", {"flags": 0})
    bot = connected()

    bot.identify()

    with pytest.raises(ConnectionClosed, match="4014"):
        bot.events()


def test_a_client_can_ask_for_compression(club: RunningSandbox) -> None:
    stream = zlib.decompressobj()
    with connect(f"{club.get('/gateway').json()['url']}?compress=zlib-stream", proxy=None) as connection:
        messages = []
        for _ in range(2):
            data = connection.recv(timeout=20)
            assert data[-4:] == b"\x00\x00\xff\xff"
            messages.append(json.loads(stream.decompress(data)))
            connection.send('{"op": 1, "d": null}')

    assert [message["op"] for message in messages] == [10, 11]


def test_only_websockets_of_this_machine_are_served(sandbox: RunningSandbox) -> None:
    url = sandbox.get("/gateway").json()["url"]

    assert sandbox.ask("GET", "/gateway").status == 426
    with pytest.raises(InvalidStatus, match="403"):
        connect(url, origin="https://evil.example", proxy=None)  # type: ignore[arg-type]  # a plain string will do


def test_without_its_package_the_gateway_is_off_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "websockets.py").write_text("raise ImportError")
    process = subprocess.Popen(
        [sys.executable, "-m", "sandbox", "--port", "0"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout
        line = process.stdout.readline()
        assert "without its gateway (the package websockets is not installed)" in line
        sandbox = RunningSandbox(line.split()[-1], process)
        reply = sandbox.get("/gateway/bot", BOT)
        assert (reply.status, "gateway is off" in reply.text) == (503, True)
        assert sandbox.ask("GET", "/gateway").status == 404
        assert sandbox.get("/users/@me", BOT).status == 200
    finally:
        process.terminate()
        process.communicate(timeout=60)


def test_discord_py_follows_the_bots_servers(club: RunningSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Route, "BASE", f"{club.url}/api/v10")
    gateway = URL(club.get("/gateway").json()["url"])
    monkeypatch.setattr(discord.gateway.DiscordWebSocket, "DEFAULT_GATEWAY", gateway)
    seen: list[Any] = []

    class Watcher(discord.Client):
        async def on_ready(self) -> None:
            guild = self.get_guild(int(CLUB))
            assert guild
            seen.append((guild.chunked, guild.me.guild_permissions.administrator))
            await asyncio.to_thread(club.control, "PUT", "people/linus", {"guilds": [{"id": CLUB, "name": "Club"}]})

        async def on_member_join(self, member: Any) -> None:
            seen.append((member.name, member.guild.name))
            await asyncio.to_thread(club.control, "PUT", "people/linus", {"guilds": []})

        async def on_member_remove(self, member: Any) -> None:
            seen.append(member.name)
            await self.close()

    async def watch() -> None:
        intents = discord.Intents(guilds=True, members=True)
        async with Watcher(intents=intents) as client:
            await asyncio.wait_for(client.start("sandbox-bot"), 30)

    asyncio.run(watch())

    assert seen == [(True, True), ("linus", "Club"), "linus"]


@pytest.mark.parametrize(
    ("token", "flags", "says"),
    [
        ("sandbox-bot", 0, "Switch on the Server Members Intent"),
        ("wrong", MAY_SEE_MEMBERS, "Discord doesn't accept DISCORD_BOT_TOKEN"),
    ],
)
def test_the_example_bot_says_why_discord_refuses_it(club: RunningSandbox, token: str, flags: int, says: str) -> None:
    club.control("PUT", "application", {"flags": flags})
    environment = {
        "PATH": os.environ["PATH"],
        "DISCORD_API_URL": f"{club.url}/api/v10",
        "DISCORD_BOT_TOKEN": token,
        "SITE_URL": "http://127.0.0.1:1",
        "SITE_TOKEN": "a token",
    }

    ended = subprocess.run(
        [sys.executable, "examples/bot/bot.py"], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
    )

    assert (ended.returncode, says in ended.stderr, "Traceback" in ended.stderr) == (1, True, False), ended.stderr
