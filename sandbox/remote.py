"""A client for a sandbox in a separate process, for tests, benches and scripts."""

import atexit
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

LIST = "/users/@me/guilds"
# Routes as the log of requests names them: a person's own member, and the bot's view of a server.
MEMBER = "/users/@me/guilds/{guild.id}/member"
BOT_MEMBER = "/guilds/{guild.id}/members/{user.id}"
ROLES = "/guilds/{guild.id}/roles"
CHANNELS = "/guilds/{guild.id}/channels"

# Open connections that no thread is using, by the sandbox's URL.
_idle: dict[str, list[HTTPConnection]] = {}


def _close_idle() -> None:
    while _idle:
        for connection in _idle.popitem()[1]:
            connection.close()


# A connection shared by parent and child would deliver one's responses to the other.
os.register_at_fork(after_in_child=_close_idle)
atexit.register(_close_idle)


@dataclass(frozen=True, slots=True)
class Remote:
    """The control API of the sandbox at `url`."""

    url: str

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Send a request to /_sandbox/`path` and return its JSON, or its text if it is not JSON.

        Raises `ValueError` with the sandbox's words for bad input, such as an unknown mood.
        """
        connection, response = self._send(method, path, None if body is None else json.dumps(body).encode())
        try:
            text = response.read().decode()
        except BaseException:
            connection.close()
            raise
        _idle.setdefault(self.url, []).append(connection)
        if response.status >= 400:
            raise ValueError(f"the sandbox refused {method} {path}: {text}")
        return json.loads(text) if text.startswith(("{", "[")) and path != "requests" else text

    def _send(self, method: str, path: str, body: bytes | None) -> tuple[HTTPConnection, HTTPResponse]:
        """Send a request on an idle connection. If the sandbox has closed all of them, open a new one."""
        while True:
            try:
                connection, is_new = _idle[self.url].pop(), False
            except LookupError:
                connection, is_new = HTTPConnection(urlsplit(self.url).netloc, timeout=10), True
            try:
                connection.request(method, f"/_sandbox/{path}", body, {"Content-Type": "application/json"})
                return connection, connection.getresponse()
            except BaseException as error:
                connection.close()
                if is_new or not isinstance(error, ConnectionError):
                    raise

    def mood(self, mode: str = "healthy", **options: Any) -> None:
        self.call("PUT", "mood", {"mode": mode, **options})

    def limits(self, **limits: Any) -> None:
        self.call("PUT", "limits", limits)

    def application(self, **settings: Any) -> None:
        """Change what the application's owner can set in the developer portal, such as `redirect_uris`."""
        self.call("PUT", "application", settings)

    def reset(self, **limits: Any) -> None:
        """Restore the initial state, but for these limits."""
        self.call("POST", "reset", {"limits": limits})

    def requests(self, path: str = LIST, **only: Any) -> list[dict[str, Any]]:
        """Return the requests to `path`, oldest first; `status` is None while a request is in flight.

        `only` selects by other fields: `route` (such as MEMBER), `person` or `guild`.
        """
        lines = [json.loads(line) for line in self.call("GET", "requests").splitlines()]
        return [
            line
            for line in lines
            if line["path"].endswith(path) and all(line[name] == value for name, value in only.items())
        ]

    def forget_requests(self) -> None:
        self.call("DELETE", "requests")

    def token(self, person: str, *scopes: str) -> dict[str, Any]:
        """Issue tokens for the person without a browser and return the token response, with the person as `user`."""
        wanted = {"scopes": list(scopes)} if scopes else {}
        response: dict[str, Any] = self.call("POST", "token", {"person": person, **wanted})
        return response

    def revoke(self, person: str) -> None:
        self.call("POST", "revoke", {"person": person})

    def person(self, name: str, **options: Any) -> None:
        self.call("PUT", f"people/{name}", options)

    def member(self, name: str, guild_id: int | str, **fields: Any) -> None:
        """Change the person's member in this server: `roles` (ids or names), `nick`, `pending` and so on."""
        self.call("PUT", f"members/{name}/{guild_id}", fields)

    def roles(self, guild_id: int | str, *roles: dict[str, Any]) -> None:
        """Replace the server's roles. @everyone and the bot's role stay."""
        self.call("PUT", f"guilds/{guild_id}/roles", list(roles))

    def channels(self, guild_id: int | str, *channels: dict[str, Any]) -> None:
        """Replace the server's channels."""
        self.call("PUT", f"guilds/{guild_id}/channels", list(channels))

    def bot(self, guild_id: int | str, permissions: int | None) -> None:
        """Add the bot to the server with these permissions, or change them; None removes the bot."""
        if permissions is None:
            self.call("DELETE", f"bot/{guild_id}")
        else:
            self.call("PUT", f"bot/{guild_id}", {"permissions": str(permissions)})


@contextmanager
def running(state: Path | None = None, host: str = "127.0.0.1") -> Iterator[Remote]:
    """Run a sandbox on a free port of `host` until the block ends.

    Its people and tokens are stored in the file `state`, if one is given; a sandbox that isn't restarted needs none.
    """
    stored = () if state is None else ("--state", str(state))
    process = subprocess.Popen(
        [sys.executable, "-m", "sandbox", "--host", host, "--port", "0", *stored],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).resolve().parent.parent,
    )
    try:
        assert process.stdout
        yield Remote(process.stdout.readline().split()[-1])
    finally:
        _close_idle()
        process.terminate()
        process.communicate(timeout=10)
