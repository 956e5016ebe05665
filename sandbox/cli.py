"""Running the sandbox: its options, its scenario file, and a clean end.

A scenario is a JSON file of people to create, as PUT /_sandbox/people/NAME takes them, and of moods on a timeline, as
PUT /_sandbox/mood takes them, each with the seconds after the start (or after a reset) when it begins:

    {
      "people": {"mallory": {"count": 120}, "eve": {"guilds": [{"name": "Eve's Garden", "owner": true}]}},
      "moods": [
        {"at_seconds": 20, "mode": "rate_limited", "retry_after": 15, "for_seconds": 30},
        {"at_seconds": 60, "mode": "outage", "routes": ["/users/@me/guilds"], "people": ["mallory"]}
      ]
    }

A mood that somebody sets by hand stays until the next one of the timeline begins.
"""

import argparse
import errno
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

from sandbox.api import BOT
from sandbox.inputs import BadInput, as_number, as_object, parse_json
from sandbox.moods import Mood, mood_from_json
from sandbox.people import first_people, person_from_json
from sandbox.server import Server
from sandbox.state import NOTHING_PLANNED, Sandbox, Scenario

HOST = "127.0.0.1"
PORT = 8001
ENDS = (signal.SIGTERM, signal.SIGINT)
SCENARIO_HELP = (
    'a JSON file: {"people": {NAME: {"guilds": […]} or {"count": n}}, '
    '"moods": [{"at_seconds": s, "mode": …, "for_seconds"?: s, …}]}'
)


T = TypeVar("T")


class CannotRun(Exception):
    """The sandbox did not start. Its text is one sentence that says why."""


def add_options(parser: argparse.ArgumentParser, *, state: Path | None) -> None:
    """The options, with `state` as the state file if none is named."""
    parser.add_argument("--host", default=HOST, help=f"the address to listen on (default: {HOST})")
    parser.add_argument("--port", type=_port, default=PORT, help=f"the port; 0 takes a free one (default: {PORT})")
    parser.add_argument("--scenario", type=Path, metavar="FILE", help=SCENARIO_HELP)
    where = f"default: {state}" if state else "default: nothing is kept"
    words = f"where people and tokens are kept ({where})"
    parser.add_argument("--state", type=Path, metavar="FILE", default=state, help=words)


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"a port is a number from 0 to 65535, not {text!r}")
    return int(text)


def read_scenario(file: Path) -> Scenario:
    """The scenario in the file. Raises BadInput, which names the place."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"it cannot be read: {getattr(error, 'strerror', None) or error}") from None
    data = as_object(parse_json(text), "a scenario", ("people", "moods"))
    people = as_object(data.get("people", {}), "'people'")
    for name, person in people.items():
        _inside(f"people.{name}", partial(person_from_json, name, person, first_people().get(name)))
    planned = data.get("moods", [])
    if not isinstance(planned, list):
        raise BadInput("'moods' has to be a list of objects")
    names = (*first_people(), *people, BOT)
    moods = [_inside(f"moods[{index}]", partial(_planned, mood, names)) for index, mood in enumerate(planned)]
    return Scenario(people, sorted(moods, key=lambda pair: pair[0]))


def _planned(data: Any, names: tuple[str, ...]) -> tuple[float, Mood]:
    mood = mood_from_json(data, now=0.0, people=names, also=("at_seconds",))
    if "at_seconds" not in data:
        raise BadInput("'at_seconds' is missing")
    return as_number(data["at_seconds"], "'at_seconds'"), mood


def _inside(place: str, read: Callable[[], T]) -> T:
    try:
        return read()
    except BadInput as error:
        raise BadInput(f"{place}: {error}") from None


def run(host: str, port: int, *, state: Path | None, scenario: Path | None, say: Callable[[str], Any]) -> None:
    """Serve until SIGTERM or Ctrl-C. Raises CannotRun."""
    try:
        plan = read_scenario(scenario) if scenario else NOTHING_PLANNED
    except BadInput as error:
        raise CannotRun(f"The scenario {scenario} is wrong: {error}.") from None
    # Blocked in every thread and waited for in this one: a handler could run in the middle of anything, and lock up.
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDS)
    try:
        _serve(host, port, state, plan, say)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDS)


def _serve(host: str, port: int, state: Path | None, plan: Scenario, say: Callable[[str], Any]) -> None:
    # The port first: a second sandbox must not touch the state of the one that has it.
    try:
        server = Server(Sandbox(), host, port)
    except (OSError, OverflowError) as error:
        raise CannotRun(_why_not(host, port, error)) from None
    try:
        sandbox = server.sandbox = Sandbox(state_file=state, scenario=plan)
    except BadInput as error:
        server.server_close()
        raise CannotRun(f"The scenario does not fit the people in {state}: {error}.") from None
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, name="sandbox-server", daemon=True)
    thread.start()
    say(f"sandbox listening on {server.url}")
    signal.sigwait(ENDS)
    server.shutdown()
    server.server_close()
    sandbox.stop()


def _why_not(host: str, port: int, error: Exception) -> str:
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return f"Port {port} on {host} is taken; give the sandbox another one with --port, or end what uses it."
    reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno and error.errno > 0 else error
    return f"The sandbox cannot listen on {host}, port {port}: {reason}."


def main(arguments: list[str] | None = None) -> int:
    """`python -m sandbox`; returns the exit code."""
    parser = argparse.ArgumentParser(
        "python -m sandbox", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_options(parser, state=None)
    options = parser.parse_args(arguments)
    try:
        run(
            options.host,
            options.port,
            state=options.state,
            scenario=options.scenario,
            say=lambda line: print(line, flush=True),  # noqa: T201 - the line that whoever started us waits for
        )
    except CannotRun as error:
        print(error, file=sys.stderr)  # noqa: T201 - a person reads it
        return 1
    return 0
