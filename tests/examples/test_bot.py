"""What the example bot sends to the site, and when. `tests/engine` runs it as a process of its own."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest

from examples.bot import bot
from examples.bot.bot import Site


@dataclass
class Receiver:
    """A site that responds as told, then with 204, and keeps the bodies that it gets."""

    url: str = ""
    responses: list[tuple[int, dict[str, str], Any]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    def stored(self) -> list[list[str]]:
        """Return the guild ids of the events in each batch, in order."""
        return [[event["guild_id"] for event in json.loads(body)["events"]] for body in self.bodies]


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    monkeypatch.setattr(bot, "COLLECT_SECONDS", 0)
    monkeypatch.setattr(bot, "MIN_PAUSE", 0.01)
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            receiver.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            status, headers, body = receiver.responses.pop(0) if receiver.responses else (204, {}, None)
            if status == 0:
                return  # the connection ends without a response
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            if body is not None:
                self.wfile.write(json.dumps(body).encode())

        def do_GET(self) -> None:
            """Respond as a page does, to which a redirect would lead."""
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Keep the requests out of the tests' output."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    receiver.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield receiver
    server.shutdown()
    thread.join()
    server.server_close()


def sent(receiver: Receiver, report: Callable[[Site], None]) -> None:
    """Report events and wait until the site has all of them."""

    async def send() -> None:
        async with Site(receiver.url, "a token") as site:
            report(site)
            sending = asyncio.create_task(site.send_events())
            while site.queued:
                await asyncio.sleep(0)
            sending.cancel()

    asyncio.run(asyncio.wait_for(send(), 30))


def changes(*guild_ids: int, padding: str = "") -> Callable[[Site], None]:
    def report(site: Site) -> None:
        for guild_id in guild_ids:
            site.report("CHANNEL_UPDATE", guild_id=str(guild_id), padding=padding)

    return report


def test_events_go_in_order_and_in_batches_that_the_site_takes(receiver: Receiver) -> None:
    sent(receiver, changes(*range(450)))

    assert [len(batch) for batch in receiver.stored()] == [200, 200, 50]
    assert [guild_id for batch in receiver.stored() for guild_id in batch] == [str(number) for number in range(450)]
    moments = [event["at"] for body in receiver.bodies for event in json.loads(body)["events"]]
    assert moments == sorted(set(moments))


def test_each_request_says_when_it_was_sent(receiver: Receiver) -> None:
    """The site compares it with its own clock, so a batch that is repeated must not say it again."""
    receiver.responses = [(503, {"Retry-After": "0"}, None)]

    sent(receiver, changes(1))

    bodies = [json.loads(body) for body in receiver.bodies]
    assert bodies[0]["events"] == bodies[1]["events"]
    assert bodies[0]["events"][0]["at"] < bodies[0]["sent_at"] < bodies[1]["sent_at"]


def test_large_events_make_small_batches(receiver: Receiver) -> None:
    sent(receiver, changes(*range(20), padding="é" * 3000))

    assert max(map(len, receiver.bodies)) < 64 * 1024
    assert [guild_id for batch in receiver.stored() for guild_id in batch] == [str(number) for number in range(20)]


@pytest.mark.parametrize(
    "failure",
    [
        (429, {"Retry-After": "0"}, None),
        (503, {"Retry-After": "0"}, None),
        (500, {}, None),
        (401, {}, None),
        (301, {"Location": "/"}, None),
        (0, {}, None),
    ],
)
def test_a_batch_is_sent_again_until_it_is_stored(receiver: Receiver, failure: Any) -> None:
    receiver.responses = [failure, failure]

    sent(receiver, changes(*range(201)))

    first, again, finally_, rest = receiver.stored()
    assert first == again == finally_
    assert rest == ["200"]


def test_the_site_says_how_long_to_wait(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    receiver.responses = [(429, {"Retry-After": "17"}, None), (503, {}, None)]
    pauses: list[float] = []
    real = asyncio.sleep

    def sleep(seconds: float) -> Awaitable[None]:
        if seconds:
            pauses.append(seconds)
        return real(0)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    sent(receiver, changes(1))

    assert pauses[0] == 17
    assert 0.02 <= pauses[1] <= 0.03


def test_only_the_event_that_the_site_refuses_is_dropped(receiver: Receiver) -> None:
    receiver.responses = [(400, {}, {"errors": {"events.1.guild_id": ["It must be a Discord ID."]}})]

    sent(receiver, changes(1, 2, 3))

    assert receiver.stored() == [["1", "2", "3"], ["1", "3"]]


def test_too_many_events_become_ready(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bot, "MAX_QUEUED", 3)

    sent(receiver, changes(1, 2, 3, 4, 5))

    events = [event for body in receiver.bodies for event in json.loads(body)["events"]]
    assert [(event["type"], event.get("guild_id")) for event in events] == [("READY", None), ("CHANNEL_UPDATE", "5")]


# Reports of Discord's events


@pytest.fixture
def reports() -> Callable[..., list[Any]]:
    async def reports(*events: tuple[str, Any]) -> list[Any]:
        client = bot.Bot(Site("http://localhost", "a token"))
        return [report for kind, data in events for report in client._reports(kind, data)]

    return lambda *events: asyncio.run(reports(*events))


ABOUT = {"guild_id": "11", "user": {"id": "7", "username": "eve"}}


@pytest.mark.parametrize(
    ("kind", "data", "reported"),
    [
        ("READY", {"guilds": [{"id": "11"}]}, {}),
        ("RESUMED", {}, None),
        ("MESSAGE_CREATE", {"guild_id": "11"}, None),
        (
            "GUILD_MEMBER_ADD",
            ABOUT | {"roles": ["1"], "nick": None, "avatar": None},
            {"guild_id": "11", "user_id": "7", "member": {"roles": ["1"], "nick": None}},
        ),
        ("GUILD_MEMBER_REMOVE", ABOUT, {"guild_id": "11", "user_id": "7"}),
        ("GUILD_ROLE_DELETE", {"guild_id": "11", "role_id": "1"}, {"guild_id": "11"}),
        ("CHANNEL_UPDATE", {"guild_id": "11", "id": "1", "name": "news"}, {"guild_id": "11"}),
        ("GUILD_DELETE", {"id": "11"}, {"guild_id": "11"}),
        ("GUILD_DELETE", {"id": "11", "unavailable": True}, None),
    ],
)
def test_what_the_site_needs_of_an_event_is_reported(
    reports: Callable[..., list[Any]], kind: str, data: Any, reported: Any
) -> None:
    assert reports((kind, data)) == ([] if reported is None else [(kind, reported)])


@pytest.mark.parametrize("missing", ["DISCORD_BOT_TOKEN", "SITE_URL", "SITE_TOKEN"])
def test_a_missing_setting_is_named(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    for name in ("DISCORD_BOT_TOKEN", "SITE_URL", "SITE_TOKEN"):
        monkeypatch.setenv(name, "" if name == missing else "x")

    with pytest.raises(SystemExit, match=f"Set {missing}"):
        bot.main()
