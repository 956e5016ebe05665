"""The site as the engine's tests serve it: one part of the engine off or the process's clock wrong, if they say so.

`/_jobs` counts the background jobs of the process, so that a test can tell "still at it" from "done".
`/_call?<user id>` asks Discord with the person's token, beside the refresh of their list and without its lease.
"""

import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import time_machine

# Before the models: it sets Django up.
from config.wsgi import application as django  # isort: split

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
    """The number of guilds that Discord named, or the name of the exception."""
    client = discord_client()
    client = gate.gated(replace(client, deadline=client.clock() + client.budget), Priority.COLD)
    try:
        return str(len(tokens.call(user_id, "guilds", client, client.get_user_guilds)))
    except (DiscordAPIError, ReconnectRequired, TokensReplaced) as error:
        return type(error).__name__
    finally:
        release_connection()


def running_jobs() -> int:
    semaphore: Any = background.job_slots._semaphore
    return 0 if semaphore is None else semaphore._initial_value - semaphore._value
