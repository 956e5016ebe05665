"""The site for the engine's tests, optionally with a disabled guard or a wrong system clock.

`/_jobs` returns the number of the process's background jobs, so that a test can tell whether they have ended.
`/_member/<guild id>/` is a page of `bench.member_site`, which returns what the person is in the server.
`/_call?<user id>` sends a request to Discord with the person's token, independent of their list's refresh and lease.
"""

import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import time_machine

# Imported before the models, because it sets Django up.
from bench.member_site import application as django  # isort: split

from accounts import background, gate, tokens
from accounts.background import release_connection
from accounts.discord import DiscordAPIError
from accounts.limits import Priority
from accounts.tokens import ReconnectRequired, TokensReplaced, discord_client
from tests.engine import ablations

ablations.apply(os.environ.get("GUILDHALL_ABLATE", ""))
if skew := float(os.environ.get("CLOCK_SKEW_SECONDS", "0")):
    time_machine.travel(datetime.now(UTC) + timedelta(seconds=skew), tick=True).start()


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    if environ["PATH_INFO"] == "/_jobs":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [str(running_jobs()).encode()]
    if environ["PATH_INFO"] == "/_call":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [outcome_of_a_call(int(environ["QUERY_STRING"])).encode()]
    return django(environ, start_response)


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
