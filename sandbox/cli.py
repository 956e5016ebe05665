"""Running the sandbox: command-line options, scenario files and a clean shutdown.

A scenario is a JSON file with people to create, in the format of PUT /_sandbox/people/NAME, and moods on a timeline, in
the format of PUT /_sandbox/mood plus the seconds after the start (or after a reset) at which each one begins:

    {
      "people": {"mallory": {"count": 120}, "eve": {"guilds": [{"name": "Eve's Garden", "owner": true}]}},
      "moods": [
        {"at_seconds": 20, "mode": "rate_limited", "retry_after": 15, "for_seconds": 30},
        {"at_seconds": 60, "mode": "outage", "routes": ["/users/@me/guilds"], "people": ["mallory"]}
      ]
    }

A mood that is set manually lasts until the next one of the timeline begins.
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

from sandbox import websocket
from sandbox.application import SITE_URL, Application
from sandbox.calls import BOT
from sandbox.inputs import BadInput, as_number, as_object, parse_json
from sandbox.moods import Mood, mood_from_json
from sandbox.people import first_people, person_from_json
from sandbox.server import Server
from sandbox.state import EMPTY_SCENARIO, Sandbox, Scenario

HOST = "127.0.0.1"
PORT = 8001
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
SCENARIO_HELP = (
    'a JSON file: {"people": {NAME: {"guilds": […]} or {"count": n}}, '
    '"moods": [{"at_seconds": s, "mode": …, "for_seconds"?: s, …}]}'
)


T = TypeVar("T")


class StartFailed(Exception):
    """The sandbox could not start. The message is a sentence that says why."""


def add_options(parser: argparse.ArgumentParser, *, state: Path | None, site_url: str = SITE_URL) -> None:
    """Add the options to `parser`; `state` is the default state file, `site_url` the default site."""
    parser.add_argument("--host", default=HOST, help=f"address to listen on (default: {HOST})")
    parser.add_argument(
        "--port", type=_port, default=PORT, help=f"port to listen on; 0 selects a free one (default: {PORT})"
    )
    parser.add_argument(
        "--site-url",
        default=site_url,
        metavar="URL",
        help=f"address of the site, whose redirect URLs are registered (default: {site_url})",
    )
    parser.add_argument("--scenario", type=Path, metavar="FILE", help=SCENARIO_HELP)
    default = f"default: {state}" if state else "default: they are not stored"
    text = f"file that stores people and tokens ({default})"
    parser.add_argument("--state", type=Path, metavar="FILE", default=state, help=text)


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"a port must be a number from 0 to 65535, not {text!r}")
    return int(text)


def read_scenario(file: Path) -> Scenario:
    """Read a scenario file. Raises BadInput, which names the invalid field."""
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
        raise BadInput("'moods' must be a list of objects")
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


def run(
    host: str, port: int, *, state: Path | None, scenario: Path | None, site_url: str, report: Callable[[str], Any]
) -> None:
    """Serve until SIGTERM or Ctrl-C. Calls `report` with a line once it listens. Raises StartFailed."""
    try:
        plan = read_scenario(scenario) if scenario else EMPTY_SCENARIO
    except BadInput as error:
        raise StartFailed(f"The scenario {scenario} is invalid: {error}.") from None
    try:
        Application.of_site(site_url)
    except BadInput as error:
        raise StartFailed(f"The address of the site is invalid: {error}.") from None
    # Signals are blocked in all threads and awaited in this one, because a handler could interrupt code that holds a
    # lock and deadlock.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        _serve(host, port, partial(Sandbox, state_file=state, scenario=plan, site_url=site_url), report)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)


def _serve(host: str, port: int, restored: Callable[[], Sandbox], report: Callable[[str], Any]) -> None:
    # Bind the port first: a second sandbox must not touch the state of the running one.
    try:
        server = Server(Sandbox(), host, port)
    except (OSError, OverflowError) as error:
        raise StartFailed(_start_error(host, port, error)) from None
    try:
        sandbox = server.sandbox = restored()
    except BadInput as error:
        server.server_close()
        raise StartFailed(f"The scenario conflicts with the people in the state file: {error}.") from None
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, name="sandbox-server", daemon=True)
    thread.start()
    off = "" if websocket.AVAILABLE else ", without its gateway (the package websockets is not installed),"
    report(f"sandbox{off} listening on {server.url}")
    signal.sigwait(STOP_SIGNALS)
    server.shutdown()
    server.server_close()
    sandbox.stop()


def _start_error(host: str, port: int, error: Exception) -> str:
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return f"Port {port} on {host} is in use; choose another one with --port, or stop the program that uses it."
    reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno and error.errno > 0 else error
    return f"The sandbox cannot listen on {host}, port {port}: {reason}."


def main(arguments: list[str] | None = None) -> int:
    """Run `python -m sandbox` and return the exit code."""
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
            site_url=options.site_url,
            report=lambda line: print(line, flush=True),  # noqa: T201 - the parent process waits for this line
        )
    except StartFailed as error:
        print(error, file=sys.stderr)  # noqa: T201 - a person reads it
        return 1
    return 0
