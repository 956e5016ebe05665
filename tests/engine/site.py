"""The site for the engine's tests, optionally with a disabled guard or a wrong system clock.

`/_jobs` returns the number of the process's background jobs, so that a test can tell whether they have ended.
`/_finish` waits until there are none, and returns their number as well.
`/_read/<resource>/<key>/…` reads any resource's record as a page does, and returns what the reader is told.
`/_member/<guild id>/` is a page of `bench.member_site`, which returns what the person is in the server.
`/_hold` lets the process leave all further responses of Discord unread until it is sent SIGCONT.
`/_call?<user id>` sends a request to Discord with the person's token, independent of their list's refresh and lease.
The header `X-Queries` of all other pages is the number of queries that the page took.
"""

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

# Imported before the models, because it sets Django up.
from bench.member_site import application as django  # isort: split

from django.db import connection

from accounts import background, gate, tokens
from accounts.background import release_connection
from accounts.discord import DiscordAPIError, transport
from accounts.limits import Priority
from accounts.tokens import ReconnectRequired, TokensReplaced, discord_client
from guilds.engine import policy
from guilds.engine.policy import Served
from guilds.engine.refusal import NoAnswer
from guilds.resources import ALL, bot_guilds
from tests.engine import ablations

ablations.apply(os.environ.get("GUILDHALL_ABLATE", ""))
if skew := float(os.environ.get("CLOCK_SKEW_SECONDS", "0")):
    import time_machine  # it imports pytest, which takes a tenth of a process's start

    time_machine.travel(datetime.now(UTC) + timedelta(seconds=skew), tick=True).start()

# The sandbox has no limit per person and second here.
bot_guilds.PAGE_PAUSE = 0.0
# Seconds, longer than any job's budget.
MAX_WAIT = 15
# Set while responses of Discord are read as soon as they arrive.
may_read = threading.Event()
may_read.set()
signal.signal(signal.SIGCONT, lambda *_: may_read.set())


class Connection(transport._Connection):
    def getresponse(self) -> Any:
        may_read.wait()
        return super().getresponse()


transport._Pool.ConnectionCls = Connection


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    if environ["PATH_INFO"] in ("/_jobs", "/_finish"):
        end = time.monotonic() + (MAX_WAIT if environ["PATH_INFO"] == "/_finish" else 0)
        while running_jobs() and time.monotonic() < end:
            time.sleep(0.005)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [str(running_jobs()).encode()]
    if environ["PATH_INFO"] == "/_hold":
        may_read.clear()
        start_response("204 No Content", [])
        return []
    if environ["PATH_INFO"] == "/_call":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [outcome_of_a_call(int(environ["QUERY_STRING"])).encode()]
    if environ["PATH_INFO"].startswith("/_read/"):
        _, _, name, *key, _ = environ["PATH_INFO"].split("/")
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(told_to_a_reader(name, *map(int, key))).encode()]
    return with_queries(environ, start_response)


def with_queries(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Call Django, and add the number of queries to the response's headers."""
    queries = 0

    def count(execute: Callable[..., Any], *arguments: Any) -> Any:
        nonlocal queries
        queries += 1
        return execute(*arguments)

    def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
        return start_response(status, [*headers, ("X-Queries", str(queries))], *more)

    with connection.execute_wrapper(count):
        return django(environ, start)


def told_to_a_reader(name: str, *key: int) -> dict[str, Any]:
    """Return the freshness of a record that is served, or None; the reason, and the wait in seconds if none is."""
    (resource,) = (resource for resource in ALL if resource.name == name)
    try:
        served = Served.of(policy.read(resource, *key, timeout=discord_client().budget))
        return {"freshness": served.freshness, "reason": served.reason, "retry_after": None}
    except NoAnswer as error:
        return {"freshness": None, "reason": error.reason, "retry_after": error.retry_after}
    finally:
        release_connection()


def outcome_of_a_call(user_id: int) -> str:
    """Return the number of guilds in Discord's response, or the name of the exception."""
    client = discord_client()
    client = gate.gated(replace(client, deadline=client.clock() + client.budget), Priority.COLD)
    try:
        return str(len(tokens.call(user_id, "guilds", client, client.get_user_guilds).guilds))
    except (DiscordAPIError, ReconnectRequired, TokensReplaced) as error:
        return type(error).__name__
    finally:
        release_connection()


def running_jobs() -> int:
    semaphore: Any = background.job_slots._semaphore
    return 0 if semaphore is None else semaphore._initial_value - semaphore._value
