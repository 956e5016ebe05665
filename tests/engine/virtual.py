"""The engine on a virtual clock: each reader and each job is a greenlet that yields before every statement.

The code is the site's, with replacements for the database's clock, the network, sleeping, and the threads of jobs. Each
step is a statement or a whole transaction, because other processes can't see intermediate states of those.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from unittest.mock import patch

import greenlet
from django.db import connection

from accounts import allowance, background, gate, tokens
from accounts.discord import transport
from accounts.discord.transport import RawResponse
from accounts.tokens import discord_client
from guilds.engine import policy, refresh
from guilds.engine.resource import Claim
from guilds.resources.bot_guilds import BOT_GUILDS
from guilds.resources.directory import DIRECTORY

START = datetime(2026, 3, 14, 15, 9, 26, tzinfo=UTC)
JSON = {"Content-Type": "application/json", "Via": "1.1 google"}


def answer(status: int, body: Any = None, **headers: str) -> RawResponse:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return RawResponse(status, {**JSON, **named}, text)


def guild_list(*ids: int) -> RawResponse:
    one = {"icon": None, "banner": None, "owner": False, "permissions": "0", "features": []}
    return answer(200, [{**one, "id": str(number), "name": f"Server {number}"} for number in ids])


def limited(scope: str, seconds: float) -> RawResponse:
    everybody = {"X_RateLimit_Global": "true"} if scope == "global" else {}
    body = {"message": "You are being rate limited.", "retry_after": seconds, "global": scope == "global"}
    return answer(429, body, Retry_After=str(int(seconds) + 1), X_RateLimit_Scope=scope, **everybody)


SILENCE = RawResponse(None, {}, problem="timeout")
CLOUDFLARE = RawResponse(429, {"Content-Type": "text/html"}, b"<h1>error 1015</h1>")


Key = tuple[int, ...]


@dataclass(eq=False)
class Task:
    """A reader or a job in one process: ready, waiting for the network with a `request`, or asleep until `wakes`.

    `key` is that of the record it is about.
    """

    process: int
    key: Key
    what: str
    on_purpose: bool
    run: Callable[[], Any] = field(repr=False)
    claimed: Claim[Any] | None = None
    request: "Request | None" = None
    wakes: float | None = None
    result: Any = None
    error: BaseException | None = None
    done: bool = False
    replies: "list[tuple[Request, RawResponse]]" = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        self.thread = greenlet.greenlet(self._main)

    def _main(self) -> None:
        try:
            self.result = self.run()
        except greenlet.GreenletExit:
            raise
        except BaseException as error:
            self.error = error
        self.done = True


@dataclass(frozen=True)
class Request:
    """A request on the wire. `after` is the id that a page of a list continues from, or -1."""

    route: str
    token: str
    sent_at: float
    timeout: float
    after: int = -1

    @property
    def ends_at(self) -> float:
        return self.sent_at + self.timeout


class Job:
    """Starts a job as a new task instead of a thread."""

    def __init__(self, world: "World") -> None:
        self.world = world

    def start(self, job: Callable[[], Any], _follow_up: Any) -> Any:
        reader = self.world.running
        assert reader
        assert isinstance(job, partial)
        task = Task(reader.process, reader.key, "job", reader.on_purpose, job, claimed=job.args[0])
        self.world.tasks.append(task)

    def release(self) -> None:
        """A pool that is never full."""


class World:
    """All processes; their tasks run one step at a time."""

    def __init__(self) -> None:
        self.elapsed = 0.0
        self.tasks: list[Task] = []
        self.running: Task | None = None
        self.faults: list[str] = []
        self.main = greenlet.getcurrent()

    @property
    def now(self) -> datetime:
        return START + timedelta(seconds=self.elapsed)

    def start(self, process: int, key: Key, what: str, run: Callable[[], Any], on_purpose: bool = False) -> Task:
        task = Task(process, key, what, on_purpose, run)
        self.tasks.append(task)
        return task

    @property
    def ready(self) -> list[Task]:
        return [task for task in self.tasks if not task.request and (task.wakes or 0.0) <= self.elapsed]

    @property
    def at_the_network(self) -> list[Task]:
        return [task for task in self.tasks if task.request]

    def step(self, task: Task) -> None:
        """Run the task until it yields."""
        task.wakes = None
        self.running = task
        task.thread.switch()
        self.running = None
        if task.done:
            self.tasks.remove(task)

    def deliver(self, task: Task, reply: RawResponse) -> None:
        """Deliver Discord's response, or a timeout if it is too late; the task continues at its next step."""
        assert task.request
        if self.elapsed > task.request.ends_at:
            reply = SILENCE
        task.replies.append((task.request, reply))
        task.request = None

    def crash(self, process: int) -> None:
        """Kill the process as `kill -9` does: its tasks end without any cleanup."""
        for task in [task for task in self.tasks if task.process == process]:
            self.tasks.remove(task)
            if task.thread:
                task.thread.throw(greenlet.GreenletExit)

    # Replacements

    def give_way(self) -> None:
        if self.running:
            self.main.switch()

    def before_statement(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        if not connection.in_atomic_block:
            self.give_way()
        return execute(sql, params, many, context)

    def sleep(self, seconds: float) -> None:
        assert self.running
        self.running.wakes = self.elapsed + seconds
        self.give_way()

    def send(self, _session: Any, method: str, url: str, *, timeout: float, **sent: Any) -> RawResponse:
        task = self.running
        assert task
        token = (sent.get("headers") or {}).get("Authorization") or (sent.get("form") or {}).get("refresh_token", "")
        after = int((sent.get("params") or {}).get("after", -1))
        task.request = Request(f"{method} {url.partition('/v10')[2]}", token, self.elapsed, timeout, after)
        self.give_way()
        return task.replies[-1][1]

    def client(self) -> Any:
        ours: dict[str, Any] = {"clock": lambda: self.elapsed, "sleep": self.sleep, "session": lambda: None}
        return refresh.replace(discord_client(), jitter=lambda: 0.1, **ours)

    def crashed(self, event: str, **_fields: Any) -> None:
        self.faults.append(event)

    @contextmanager
    def installed(self) -> Iterator["World"]:
        """Install all replacements until the block ends."""
        # Statements that the open connection has prepared would go on to use SQLite's own function.
        connection.close()
        connection.ensure_connection()
        moment = "%Y-%m-%d %H:%M:%S.%f"
        # The function that provides the database's time for `Now()` and `database_now()`.
        connection.connection.create_function("STRFTIME", 2, lambda *_: self.now.strftime(moment))
        gated = partial(gate.gated, sleep=self.sleep)
        call = partial(tokens.call, sleep=self.sleep)
        with ExitStack() as stack:
            for place, name, instead in (
                (allowance, "release_connection", lambda: None),
                (background, "release_connection", lambda: None),
                (gate, "release_connection", lambda: None),
                (tokens, "release_connection", lambda: None),
                (tokens, "call", call),
                (background, "reserve", lambda: Job(self)),
                (policy.waiting, "announce", lambda *_: None),
                (policy.waiting, "wait_for_change", lambda *_: False),
                (policy, "discord_client", self.client),
                (gate, "gated", gated),
                (transport, "send", self.send),
                (refresh.logger, "exception", self.crashed),
                (BOT_GUILDS, "sleep", self.sleep),
                (DIRECTORY, "sleep", self.sleep),
            ):
                stack.enter_context(patch.object(place, name, instead))
            stack.enter_context(connection.execute_wrapper(self.before_statement))
            try:
                yield self
            finally:
                for process in {task.process for task in self.tasks}:
                    self.crash(process)
                # A new connection uses the real time again.
                connection.close()
