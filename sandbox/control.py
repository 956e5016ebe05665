"""/_sandbox/: where a person or a program sees what was asked, and decides how Discord feels.

    GET  /_sandbox/state         the mood, the counts, the limits, the people
    GET  /_sandbox/requests      JSON lines, oldest first; DELETE forgets them and all counts of them
    PUT  /_sandbox/mood          {"mode": "rate_limited", "retry_after": 30, "for_seconds": 60,
                                  "people": ["ada"], "routes": ["/users/@me/guilds"], "latency_ms": 200}
    PUT  /_sandbox/limits        {"per_person": false, "per_second": 1000, "invalid_per_10_minutes": 10000}
    PUT  /_sandbox/people/NAME   {"guilds": [{"name": "…", "owner": true, "bot": true}]} or {"count": 120}
    GET  /_sandbox/people/NAME   the person with all servers
    POST /_sandbox/token         {"person": "ada", "scopes": ["identify", "guilds"]}: tokens without a browser
    POST /_sandbox/revoke        {"person": "ada"}: the person removed the application
    POST /_sandbox/reset         back to the start

A mood replaces the one before, and without `routes` and `people` it is for all of them. What is wrong with an input
comes back as 400 and {"error": …}. The forms of the page send the same as form fields, and are sent back to the page.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sandbox.answers import Answer
from sandbox.api import BOT, FORM, read_form
from sandbox.inputs import BadInput, as_object, as_text, as_texts, parse_json
from sandbox.journal import NO_ONE, Entry, Journal
from sandbox.moods import MODES, ROUTES, Mood, mood_from_json
from sandbox.oauth import OAuthError, read_scopes
from sandbox.pages import Markup, join, page, part
from sandbox.people import Person
from sandbox.state import Sandbox

PAGE = "/_sandbox/"
SHOWN = 30


@dataclass(frozen=True, slots=True)
class Control:
    """One request to /_sandbox/; `path` is what follows."""

    method: str
    path: str
    content_type: str = ""
    body: bytes = field(default=b"", repr=False)

    @property
    def is_form(self) -> bool:
        """Whether the page sent it; curl calls JSON a form too, unless it is told better."""
        is_form = self.content_type.partition(";")[0].strip().lower() == FORM
        return is_form and not self.body.lstrip().startswith((b"{", b"["))

    def data(self) -> Any:
        return _from_form(read_form(self.content_type, self.body)) if self.is_form else parse_json(self.body or b"{}")


def answer(sandbox: Sandbox, control: Control) -> Answer:
    """What /_sandbox/ says; a wrong input never changes anything."""
    try:
        found = _answer(sandbox, control)
    except BadInput as error:
        return _json(400, {"error": str(error)})
    if found is not None:
        return found
    return _json(404, {"error": f"there is no {control.method} /_sandbox/{control.path}; /_sandbox/ is the page"})


def _answer(sandbox: Sandbox, control: Control) -> Answer | None:
    first, _, name = control.path.partition("/")
    if first == "people" and name:
        return _people(sandbox, control, name)
    method = {"HEAD": "GET"}.get(control.method, control.method)
    call = _CALLS.get((method, control.path))
    if call is None:
        allowed = sorted(other for other, path in _CALLS if path == control.path)
        if not allowed:
            return None
        wrong = {"error": f"/_sandbox/{control.path} takes {' and '.join(allowed)}, not {control.method}"}
        return _json(405, wrong).with_headers(("Allow", ", ".join(allowed)))
    found = call(sandbox, control)
    if control.is_form and method == "POST":
        return Answer(303, (("Location", PAGE),))
    return found


def _people(sandbox: Sandbox, control: Control, name: str) -> Answer:
    if control.method == "PUT":
        person, is_new = sandbox.put_person(name, control.data())
        return _json(201 if is_new else 200, _described(person))
    if control.method not in ("GET", "HEAD"):
        return _json(405, {"error": "a person takes GET and PUT"}).with_headers(("Allow", "GET, PUT"))
    return _json(200, _described(_existing(sandbox, name)))


def _described(person: Person) -> dict[str, Any]:
    guilds = [guild.to_json(with_counts=True) for guild in person.guilds]
    return {"name": person.name, **person.to_json(), "count": len(guilds), "guilds": guilds}


def _existing(sandbox: Sandbox, name: Any) -> Person:
    with sandbox.lock:
        person = sandbox.people.get(as_text(name, "'person'"))
        if person is None:
            raise BadInput(f"there is nobody called {name!r}; there are {', '.join(sorted(sandbox.people))}")
        return person


def _state(sandbox: Sandbox, control: Control) -> Answer:
    return _json(200, state(sandbox))


def state(sandbox: Sandbox) -> dict[str, Any]:
    with sandbox.lock:
        now = time.monotonic()
        return {
            "mood": sandbox.mood().to_json(now),
            **sandbox.journal.to_json(),
            "invalid_requests": sandbox.limits.invalid_requests(now),
            "banned": sandbox.limits.is_banned(now),
            "limits": sandbox.limits.to_json(),
            "people": {
                name: {"id": person.id, "guilds": len(person.guilds)} for name, person in sandbox.people.items()
            },
            "bot_guilds": len(sandbox.bot_guilds()),
        }


def _requests(sandbox: Sandbox, control: Control) -> Answer:
    with sandbox.lock:
        rows = [entry.to_json() for entry in sandbox.journal.entries]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    return Answer(200, (("Content-Type", "application/x-ndjson"), ("Cache-Control", "no-store")), lines.encode())


def _forget(sandbox: Sandbox, control: Control) -> Answer:
    with sandbox.lock:
        sandbox.journal = Journal()
        return _json(200, sandbox.journal.to_json())


def _mood(sandbox: Sandbox, control: Control) -> Answer:
    data = control.data()
    with sandbox.lock:
        now = time.monotonic()
        mood = mood_from_json(data, now=now, people=(*sandbox.people, BOT))
        sandbox.set_mood(mood)
    return _json(200, mood.to_json(now))


def _limits(sandbox: Sandbox, control: Control) -> Answer:
    data = control.data()
    with sandbox.lock:
        sandbox.limits.change(data)
        return _json(200, sandbox.limits.to_json())


def _token(sandbox: Sandbox, control: Control) -> Answer:
    data = as_object(control.data(), "the body", ("person", "scopes"))
    person = _existing(sandbox, data.get("person"))
    try:
        scopes = read_scopes(" ".join(as_texts(data.get("scopes", ["identify", "guilds"]), "'scopes'")))
    except OAuthError as error:
        raise BadInput(f"'scopes': {error.description}") from None
    with sandbox.lock:
        grant = sandbox.oauth.issue(person.name, scopes)
        sandbox.changed()
    return _json(200, grant.to_json())


def _revoke(sandbox: Sandbox, control: Control) -> Answer:
    data = as_object(control.data(), "the body", ("person",))
    person = _existing(sandbox, data.get("person"))
    with sandbox.lock:
        revoked = sandbox.oauth.revoke(person.name)
        sandbox.changed()
    return _json(200, {"person": person.name, "revoked": revoked})


def _reset(sandbox: Sandbox, control: Control) -> Answer:
    sandbox.reset()
    return _json(200, state(sandbox))


def _json(status: int, payload: Any) -> Answer:
    headers = (("Content-Type", "application/json"), ("Cache-Control", "no-store"))
    return Answer(status, headers, json.dumps(payload, ensure_ascii=False).encode())


def _from_form(fields: Mapping[str, str]) -> dict[str, Any]:
    """The form's fields as JSON would have them: numbers as numbers, lists as lists, empty ones not at all."""
    data: dict[str, Any] = {name: value for name, value in fields.items() if value != ""}
    for name in ("retry_after", "for_seconds", "for_requests", "latency_ms", "status"):
        if name in data:
            data[name] = _number(name, data[name])
    for name in ("people", "routes"):
        if name in data:
            data[name] = [data[name]]
    if data.get("mode") != "raw":
        for name in ("status", "headers", "body"):
            data.pop(name, None)
    if "headers" in data:
        data["headers"] = parse_json(data["headers"])
    return data


def _number(name: str, text: str) -> float:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        raise BadInput(f"{name!r} has to be a number, not {text[:40]!r}") from None


# The page


def _page(sandbox: Sandbox, control: Control) -> Answer:
    seen = state(sandbox)
    with sandbox.lock:
        mood = sandbox.mood()
        people = list(sandbox.people.values())
        last = list(sandbox.journal.entries)[-SHOWN:]
    body = part(
        "control.html",
        mood=_mood_line(mood, seen["mood"]["for_seconds"]),
        kind="mood" if mood.mode == "healthy" and not mood.latency_ms else "mood ill",
        modes=join([_mode(name, words, name == mood.mode) for name, words in MODES.items()]),
        routes=_options(ROUTES, mood.routes),
        people_options=_options((*(person.name for person in people), BOT), mood.people),
        latency=mood.latency_ms or "",
        counts=_counts(seen),
        people=join([_person_row(person) for person in people]),
        requests=join([_request_row(entry) for entry in reversed(last)]) or Markup("<tr><td>None yet.</td></tr>"),
        requests_total=seen["requests"],
        in_flight=seen["in_flight"],
        in_flight_max=seen["in_flight_max"],
        invalid=seen["invalid_requests"],
        invalid_limit=seen["limits"]["invalid_per_10_minutes"],
    )
    return page(200, f"Sandbox: {mood.mode}", body)


def _mood_line(mood: Mood, seconds_left: float | None) -> str:
    line = f"{mood.mode}. {MODES[mood.mode]}"
    if mood.routes:
        line += f" Only on {', '.join(mood.routes)}."
    if mood.people:
        line += f" Only for {', '.join(mood.people)}."
    if mood.latency_ms:
        line += f" With {mood.latency_ms} ms of delay."
    if seconds_left is not None:
        line += f" For {seconds_left:.0f} s more."
    if mood.for_requests is not None:
        line += f" Requests left: {mood.for_requests}."
    return line


def _mode(name: str, words: str, checked: bool) -> Markup:
    return part("mode.html", name=name, words=words, checked=Markup("checked") if checked else "")


def _options(values: tuple[str, ...], chosen: tuple[str, ...] | None) -> Markup:
    selected = chosen[0] if chosen else None
    return join(
        [
            part("option.html", value=value, text=value, chosen=Markup("selected") if value == selected else "")
            for value in values
        ]
    )


def _counts(seen: Mapping[str, Any]) -> Markup:
    rows = []
    for title, counts in (
        ("Route", seen["by_route"]),
        ("Status", seen["by_status"]),
        ("Person", seen["by_person"]),
    ):
        for name, count in counts.items():
            rows.append(part("count.html", title=title, name=name, count=count))
    return join(rows) or Markup("<tr><td>None yet.</td></tr>")


def _person_row(person: Person) -> Markup:
    return part("person_row.html", name=person.name, display=person.global_name or "", servers=len(person.guilds))


def _request_row(entry: Entry) -> Markup:
    return part(
        "request.html",
        time=datetime.fromtimestamp(entry.time, UTC).strftime("%H:%M:%S"),
        method=entry.method,
        path=entry.path,
        person=entry.person or NO_ONE,
        status="…" if entry.status is None else entry.status,
        duration="…" if entry.duration is None else f"{entry.duration * 1000:.0f} ms",
    )


_CALLS: Mapping[tuple[str, str], Callable[[Sandbox, Control], Answer]] = {
    ("GET", ""): _page,
    ("GET", "state"): _state,
    ("GET", "requests"): _requests,
    ("DELETE", "requests"): _forget,
    ("PUT", "mood"): _mood,
    ("POST", "mood"): _mood,
    ("PUT", "limits"): _limits,
    ("POST", "token"): _token,
    ("POST", "revoke"): _revoke,
    ("POST", "reset"): _reset,
}
