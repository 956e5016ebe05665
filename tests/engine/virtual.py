"""The engine on a virtual clock: each reader and each job is a greenlet that gives way before every statement.

The code is the site's. What is put in its place: the database's clock, the network's edge, sleeping, and the threads of
jobs. A statement, or a transaction as a whole, is what no other process can look into; so those are the steps.
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

from accounts import background, gate, tokens
from accounts.discord import transport
from accounts.discord.transport import Reply
from accounts.tokens import discord_client
from guilds.engine import policy, refresh
from guilds.engine.resource import Claim

START = datetime(2026, 3, 14, 15, 9, 26, tzinfo=UTC)
JSON = {"Content-Type": "application/json", "Via": "1.1 google"}


def answer(status: int, body: Any = None, **headers: str) -> Reply:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, {**JSON, **named}, text)


def guild_list(*ids: int) -> Reply:
    one = {"icon": None, "banner": None, "owner": False, "permissions": "0", "features": []}
    return answer(200, [{**one, "id": str(number), "name": f"Server {number}"} for number in ids])


def limited(scope: str, seconds: float) -> Reply:
    everybody = {"X_RateLimit_Global": "true"} if scope == "global" else {}
    body = {"message": "You are being rate limited.", "retry_after": seconds, "global": scope == "global"}
    return answer(429, body, Retry_After=str(int(seconds) + 1), X_RateLimit_Scope=scope, **everybody)


SILENCE = Reply(None, {}, problem="timeout")
CLOUDFLARE = Reply(429, {"Content-Type": "text/html"}, b"<h1>error 1015</h1>")


@dataclass(eq=False)
class Task:
    """A reader or a job in one process. It is ready, or at the network with a `request`, or asleep until `wakes`."""

    process: int
    user_id: int
    what: str
    on_purpose: bool
    run: Callable[[], Any] = field(repr=False)
    claimed: Claim[Any] | None = None
    request: "Request | None" = None
    wakes: float | None = None
    result: Any = None
    error: BaseException | None = None
    done: bool = False
    replies: list[tuple[str, Reply]] = field(default_factory=list, repr=False)

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
    route: str
    token: str
    sent_at: float
    timeout: float


class Job:
    """What a job's thread would be: a task more."""

    def __init__(self, world: "World") -> None:
        self.world = world

    def start(self, job: Callable[[], Any], _follow_up: Any) -> Any:
        reader = self.world.running
        assert reader
        assert isinstance(job, partial)
        task = Task(reader.process, reader.user_id, "job", reader.on_purpose, job, claimed=job.args[0])
        self.world.tasks.append(task)

    def give_back(self) -> None:
        """There is always room."""


class World:
    """All processes, whose tasks move one step at a time."""

    def __init__(self) -> None:
        self.elapsed = 0.0
        self.tasks: list[Task] = []
        self.running: Task | None = None
        self.faults: list[str] = []
        self.main = greenlet.getcurrent()

    @property
    def now(self) -> datetime:
        return START + timedelta(seconds=self.elapsed)

    def start(self, process: int, user_id: int, what: str, run: Callable[[], Any], on_purpose: bool = False) -> Task:
        task = Task(process, user_id, what, on_purpose, run)
        self.tasks.append(task)
        return task

    @property
    def ready(self) -> list[Task]:
        return [task for task in self.tasks if not task.request and (task.wakes or 0.0) <= self.elapsed]

    @property
    def at_the_network(self) -> list[Task]:
        return [task for task in self.tasks if task.request]

    def step(self, task: Task) -> None:
        """Let it do what it does until it gives way."""
        task.wakes = None
        self.running = task
        task.thread.switch()
        self.running = None
        if task.done:
            self.tasks.remove(task)

    def deliver(self, task: Task, reply: Reply) -> None:
        """Give it Discord's reply, or what comes of one that is too late; it goes on when it is stepped."""
        assert task.request
        if self.elapsed - task.request.sent_at > task.request.timeout:
            reply = SILENCE
        task.replies.append((task.request.token, reply))
        task.request = None

    def crash(self, process: int) -> None:
        """`kill -9`: nothing of the process is left, and nothing of it gets to say so."""
        for task in [task for task in self.tasks if task.process == process]:
            self.tasks.remove(task)
            if task.thread:
                task.thread.throw(greenlet.GreenletExit)

    # What stands in the place of the world outside

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

    def send(self, _session: Any, method: str, url: str, *, timeout: float, **sent: Any) -> Reply:
        task = self.running
        assert task
        token = (sent.get("headers") or {}).get("Authorization") or (sent.get("form") or {}).get("refresh_token", "")
        task.request = Request(f"{method} {url.partition('/v10')[2]}", token, self.elapsed, timeout)
        self.give_way()
        return task.replies[-1][1]

    def client(self) -> Any:
        ours: dict[str, Any] = {"clock": lambda: self.elapsed, "sleep": self.sleep, "session": lambda: None}
        return refresh.replace(discord_client(), jitter=lambda: 0.1, **ours)

    def crashed(self, event: str, **_fields: Any) -> None:
        self.faults.append(event)

    @contextmanager
    def installed(self) -> Iterator["World"]:
        """Everything above in its place, until the block ends."""
        connection.ensure_connection()
        moment = "%Y-%m-%d %H:%M:%S.%f"
        # The one function by which the database tells the time, to `Now()` and to `database_now()`.
        connection.connection.create_function("STRFTIME", 2, lambda *_: self.now.strftime(moment))
        gated = partial(gate.gated, sleep=self.sleep)
        call = partial(tokens.call, sleep=self.sleep)
        with ExitStack() as stack:
            for place, name, instead in (
                (background, "release_connection", lambda: None),
                (gate, "release_connection", lambda: None),
                (tokens, "release_connection", lambda: None),
                (tokens, "call", call),
                (background, "reserve", lambda: Job(self)),
                (policy.waiting, "announce", lambda *_: None),
                (policy, "discord_client", self.client),
                (gate, "gated", gated),
                (transport, "send", self.send),
                (refresh.logger, "exception", self.crashed),
            ):
                stack.enter_context(patch.object(place, name, instead))
            stack.enter_context(connection.execute_wrapper(self.before_statement))
            try:
                yield self
            finally:
                for process in {task.process for task in self.tasks}:
                    self.crash(process)
                # A new connection tells the real time again.
                connection.close()
