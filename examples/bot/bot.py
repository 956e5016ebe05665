"""A bot that reports to the site what happens in its servers, as soon as it happens.

Discord tells a bot about members, roles and channels through its gateway. This one passes on what the site stores, to
`POST /api/v1/bot/events/`, so that the site shows a change within a second. Copy the file, or its parts into your bot.

`DISCORD_BOT_TOKEN`, `SITE_URL` and `SITE_TOKEN` (a service token) must be set; see the README beside this file.
"""

import asyncio
import json
import logging
import os
import random
import sys
import warnings
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
from yarl import URL

with warnings.catch_warnings():
    # discord.py imports audioop, which Python 3.13 removes.
    warnings.simplefilter("ignore", DeprecationWarning)
    import discord
    from discord.gateway import DiscordWebSocket
    from discord.http import Route

log = logging.getLogger("bot")

# Seconds in which events are collected, and what fits into one request to the site (200 events, 64 KiB).
COLLECT_SECONDS = 0.25
MAX_BATCH_EVENTS = 200
MAX_BATCH_BYTES = 60 * 1024
# Events to keep while the site doesn't respond: some 50 MB.
MAX_QUEUED = 100_000
MIN_PAUSE, MAX_PAUSE = 0.5, 30.0
MEMBER_FIELDS = ("roles", "nick", "joined_at", "communication_disabled_until", "pending")
MEMBERS = ("GUILD_MEMBER_ADD", "GUILD_MEMBER_UPDATE", "GUILD_MEMBER_REMOVE")
ROLES = ("GUILD_ROLE_CREATE", "GUILD_ROLE_UPDATE", "GUILD_ROLE_DELETE")
CHANNELS = ("CHANNEL_CREATE", "CHANNEL_UPDATE", "CHANNEL_DELETE")
GUILDS = ("GUILD_CREATE", "GUILD_UPDATE")

Json = dict[str, Any]


class Site:
    """The site's API for bots. Use it in an `async with` block, which opens its connections."""

    def __init__(self, url: str, token: str) -> None:
        self._api = f"{url.rstrip('/')}/api/v1/bot"
        self._headers = {"Authorization": f"Bearer {token}"}
        self._events: deque[Json] = deque()
        self._wake = asyncio.Event()
        self._last = datetime.min.replace(tzinfo=UTC)

    async def __aenter__(self) -> "Site":
        timeout = aiohttp.ClientTimeout(total=20)
        self._http = aiohttp.ClientSession(headers=self._headers, timeout=timeout)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.close()

    # A question

    async def may(self, guild_id: int, discord_id: int, permission: str) -> bool | None:
        """Return whether a person has a permission in a server by what the site knows, None if it doesn't know.

        Needs the scope `bot:members`. Raises `aiohttp.ClientError`.
        """
        url = f"{self._api}/guilds/{guild_id}/members/{discord_id}/"
        async with self._http.get(url, params={"permission": permission}, raise_for_status=True) as response:
            allowed: bool | None = (await response.json())["allowed"]
            return allowed

    # Events

    def report(self, kind: str, **fields: Any) -> None:
        """Queue an event that has just arrived. Of too many, READY remains: after it, the site reads all again."""
        at = self._time()
        if len(self._events) >= MAX_QUEUED:
            log.warning("%d events could not be sent; the site will read again what they changed", len(self._events))
            self._events.clear()
            kind, fields = "READY", {}
        self._events.append({"type": kind, "at": at, **fields})
        self._wake.set()

    def _time(self) -> str:
        """Return the time. The site orders events by it, so a clock that is set back must not reorder them."""
        self._last = max(datetime.now(UTC), self._last + timedelta(microseconds=1))
        return self._last.isoformat()

    @property
    def queued(self) -> int:
        return len(self._events)

    async def send_events(self) -> None:
        """Send the queued events in order, for ever. An event leaves the queue once the site has stored it."""
        while True:
            await self._wake.wait()
            await asyncio.sleep(COLLECT_SECONDS)
            self._wake.clear()
            failures = 0
            while batch := self._next_batch():
                pause = await self._send(batch)
                failures = 0 if pause is None else failures + 1
                if pause is not None:
                    backoff = min(MAX_PAUSE, MIN_PAUSE * 2 ** (failures - 1)) * random.uniform(1, 1.5)
                    await asyncio.sleep(max(pause, backoff))

    def _next_batch(self) -> list[Json]:
        batch: list[Json] = []
        size = 0
        for event in self._events:
            size += len(json.dumps(event)) + 2
            if len(batch) == MAX_BATCH_EVENTS or (batch and size > MAX_BATCH_BYTES):
                break
            batch.append(event)
        return batch

    async def _send(self, batch: list[Json]) -> float | None:
        """Send a batch and return None, or the seconds that the site asks to wait before the next attempt."""
        # Also when the batch is repeated, it is sent now: from this, the site knows how far the clocks differ.
        body = {"sent_at": self._time(), "events": batch}
        try:
            async with self._http.post(f"{self._api}/events/", json=body, allow_redirects=False) as response:
                if response.status == 204:
                    self._remove(batch)
                    return None
                wrong = await _named_by(response) if response.status == 400 else set()
                log.error("The site answers %d: %s", response.status, (await response.text())[:500])
                if wrong:
                    self._remove([event for index, event in enumerate(batch) if index in wrong])
                    return None
                after = response.headers.get("Retry-After", "")
                return float(after) if after.isdecimal() else 0.0
        except (aiohttp.ClientError, TimeoutError) as error:
            log.error("The site can't be reached: %s", error or type(error).__name__)
            return 0.0

    def _remove(self, done: list[Json]) -> None:
        gone = {id(event) for event in done}
        self._events = deque(event for event in self._events if id(event) not in gone)


async def _named_by(response: aiohttp.ClientResponse) -> set[int]:
    """Return the places of the events that a 400 names, as in `{"errors": {"events.3.member": …}}`."""
    try:
        paths = [path.split(".") for path in (await response.json(content_type=None))["errors"]]
        return {int(path[1]) for path in paths if path[0] == "events"}
    except (ValueError, KeyError, TypeError, IndexError):
        return set()


class Bot(discord.Client):
    """The connection to Discord. It caches no members but itself."""

    def __init__(self, site: Site) -> None:
        super().__init__(
            intents=discord.Intents(guilds=True, members=True),
            member_cache_flags=discord.MemberCacheFlags.none(),
            chunk_guilds_at_startup=False,
            max_messages=None,
            # For on_socket_raw_receive: only Discord's own events say something about members that aren't cached.
            enable_debug_events=True,
        )
        self.site = site
        self._reported: dict[str, Json] = {}

    async def setup_hook(self) -> None:
        if "DISCORD_API_URL" in os.environ:
            # discord.py knows the address of Discord's gateway; that of a sandbox it must be told.
            _, gateway, _ = await self.http.get_bot_gateway()
            DiscordWebSocket.DEFAULT_GATEWAY = URL(gateway)

    async def on_socket_raw_receive(self, message: str) -> None:
        """Report the event. By now, discord.py has applied it to its own view of the servers."""
        payload = json.loads(message)
        if payload["op"] == DiscordWebSocket.DISPATCH:
            for kind, fields in self._reports(payload["t"], payload["d"]):
                self.site.report(kind, **fields)

    def _reports(self, kind: str, data: Json) -> Iterator[tuple[str, Json]]:
        """Return what to report of one of Discord's events."""
        if kind == "READY":  # a new session; after RESUMED, nothing was missed
            self._reported.clear()
            yield kind, {}
        elif kind in MEMBERS:
            about = {"guild_id": data["guild_id"], "user_id": data["user"]["id"]}
            member = {name: data[name] for name in MEMBER_FIELDS if name in data}
            yield kind, about if kind == "GUILD_MEMBER_REMOVE" else about | {"member": member}
            if data["user"]["id"] == str(self.application_id):
                yield from self._guild("GUILD_UPDATE", data["guild_id"])
        elif kind in CHANNELS:
            yield kind, {"guild_id": data["guild_id"]}
        elif kind in ROLES:
            yield kind, {"guild_id": data["guild_id"]}
            yield from self._guild("GUILD_UPDATE", data["guild_id"])
        elif kind in GUILDS:
            yield from self._guild(kind, data["id"])
        elif kind == "GUILD_DELETE" and not data.get("unavailable"):
            self._reported.pop(data["id"], None)
            yield kind, {"guild_id": data["id"]}

    def _guild(self, kind: str, guild_id: str) -> Iterator[tuple[str, Json]]:
        """Return a report of the server and the bot's permissions in it, unless the last one said the same."""
        guild = self.get_guild(int(guild_id))
        if guild is None or guild.me is None:
            return  # it has left since
        seen = {
            "id": guild_id,
            "name": guild.name,
            "icon": guild.icon.key if guild.icon else None,
            "owner": guild.owner_id == guild.me.id,
            "permissions": str(guild.me.guild_permissions.value),
            "features": guild.features,
        }
        if self._reported.get(guild_id) != seen:
            self._reported[guild_id] = seen
            yield kind, {"guild": seen}


async def run() -> None:
    if "DISCORD_API_URL" in os.environ:
        Route.BASE = os.environ["DISCORD_API_URL"]
    site = Site(os.environ["SITE_URL"], os.environ["SITE_TOKEN"])
    async with site, Bot(site) as bot, asyncio.TaskGroup() as group:
        sending = group.create_task(site.send_events())
        try:
            await bot.start(os.environ["DISCORD_BOT_TOKEN"])
        finally:
            sending.cancel()


def main() -> None:
    missing = [name for name in ("DISCORD_BOT_TOKEN", "SITE_URL", "SITE_TOKEN") if not os.environ.get(name)]
    if missing:
        sys.exit(f"Set {' and '.join(missing)}.")
    discord.utils.setup_logging()
    try:
        asyncio.run(run())
    except* discord.PrivilegedIntentsRequired:
        sys.exit(
            "Switch on the Server Members Intent on the Bot page of your application at "
            "https://discord.com/developers/applications"
        )
    except* discord.LoginFailure:
        sys.exit("Discord doesn't accept DISCORD_BOT_TOKEN. Copy it again from the Bot page of your application.")
    except* KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
