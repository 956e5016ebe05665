"""/_sandbox/: a page and an API to inspect requests and to control the mood, the limits and the people.

    GET  /_sandbox/state         the mood, the counts, the limits and the people
    GET  /_sandbox/requests      JSON lines, oldest first; DELETE clears them and their counts
    PUT  /_sandbox/mood          {"mode": "rate_limited", "retry_after": 30, "for_seconds": 60,
                                  "people": ["ada"], "routes": ["/users/@me/guilds"], "latency_ms": 200}
    PUT  /_sandbox/limits        {"per_person": false, "per_second": 1000, "invalid_per_10_minutes": 10000,
                                  "members_per_300_seconds": null, "per_guild": 5}
    PUT  /_sandbox/application   {"redirect_uris": ["http://localhost:8000/complete/discord/"], "bot_public": true,
                                  "bot_require_code_grant": false, "bot_application_id": "1041022600642236426",
                                  "flags": 0, "integration_types_config": {"0": {"oauth2_install_params": {…}}},
                                  "event_webhooks_status": 1, "event_webhooks_url": null, "event_webhooks_types": []}
    PUT  /_sandbox/people/NAME   {"guilds": [{"name": "…", "owner": true, "bot": true}]} or {"count": 120}
    GET  /_sandbox/people/NAME   the person with their servers
    PUT  /_sandbox/members/…     members, roles, channels and the bot: see guild_control.py
    POST /_sandbox/token         {"person": "ada", "scopes": ["identify", "guilds"]}: tokens without a browser
    POST /_sandbox/revoke        {"person": "ada"}: revokes the application's authorization, as the person would
    POST /_sandbox/reset         {"limits": {"per_person": false}}: restores the initial state, but for these limits

A mood replaces the previous one, and applies to all routes and people unless it names some. Invalid input results in
400 and {"error": …}. The page's forms send the same data as form fields and are redirected to the page.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sandbox import guild_control
from sandbox.api import FORM, read_form
from sandbox.application_form import application_form, settings_from_form
from sandbox.calls import BOT
from sandbox.guild_page import change, guild_page, server_links
from sandbox.inputs import BadInput, as_object, as_text, as_texts, parse_json
from sandbox.journal import UNKNOWN_PERSON, Entry, Journal
from sandbox.limits import Limits
from sandbox.moods import MODES, ROUTES, Mood, mood_from_json
from sandbox.oauth import OAuthError, read_scopes
from sandbox.pages import ASSETS, PAGE, Markup, asset_response, join, page, part
from sandbox.people import Person
from sandbox.presets import presets
from sandbox.responses import Response
from sandbox.state import Sandbox

SHOWN_REQUESTS = 30


@dataclass(frozen=True, slots=True)
class Control:
    """A request to /_sandbox/; `path` is the rest of the path."""

    method: str
    path: str
    content_type: str = ""
    body: bytes = field(default=b"", repr=False)

    @property
    def is_form(self) -> bool:
        """Whether the page's form sent it. By default curl sends JSON with the content type of a form."""
        is_form = self.content_type.partition(";")[0].strip().lower() == FORM
        return is_form and not self.body.lstrip().startswith((b"{", b"["))

    def data(self) -> Any:
        return _from_form(read_form(self.content_type, self.body)) if self.is_form else parse_json(self.body or b"{}")


def respond(sandbox: Sandbox, control: Control) -> Response:
    """Respond to a request to /_sandbox/. Invalid input changes nothing."""
    try:
        found = _respond(sandbox, control)
    except BadInput as error:
        return _json(400, {"error": str(error)})
    if found is not None:
        return found
    return _json(404, {"error": f"there is no {control.method} /_sandbox/{control.path}; see the page /_sandbox/"})


def _respond(sandbox: Sandbox, control: Control) -> Response | None:
    first, _, name = control.path.partition("/")
    if first == "people" and name:
        return _people(sandbox, control, name)
    if first == "guilds":
        found = _server(sandbox, control, name)
        if found is not None:
            return found
    try:
        answer = guild_control.answer(sandbox, control.method, control.path, control.data)
    except guild_control.WrongMethod as error:
        return _wrong_method(control, error.args)
    if answer is not None:
        return _json(200, answer)
    method = {"HEAD": "GET"}.get(control.method, control.method)
    call = _CALLS.get((method, control.path))
    if call is None:
        allowed = sorted(other for other, path in _CALLS if path == control.path)
        if not allowed:
            return None
        return _wrong_method(control, allowed)
    found = call(sandbox, control)
    if control.is_form and method == "POST":
        return Response(303, (("Location", PAGE),))
    return found


def _server(sandbox: Sandbox, control: Control, path: str) -> Response | None:
    """Respond to the page of a server and to its forms. The rest is the JSON API's."""
    guild_id, _, form = path.partition("/")
    if control.method == "POST" and control.is_form:
        return change(sandbox, guild_id, form, read_form(control.content_type, control.body))
    return guild_page(sandbox, guild_id) if control.method in ("GET", "HEAD") and guild_id and not form else None


def _wrong_method(control: Control, allowed: Sequence[str]) -> Response:
    wrong = {"error": f"/_sandbox/{control.path} accepts {' and '.join(allowed)}, not {control.method}"}
    return _json(405, wrong).with_headers(("Allow", ", ".join(allowed)))


def _people(sandbox: Sandbox, control: Control, name: str) -> Response:
    if control.method == "PUT":
        person, is_new = sandbox.put_person(name, control.data())
        return _json(201 if is_new else 200, _described(person))
    if control.method not in ("GET", "HEAD"):
        return _json(405, {"error": "/_sandbox/people/NAME accepts GET and PUT"}).with_headers(("Allow", "GET, PUT"))
    return _json(200, _described(_existing(sandbox, name)))


def _described(person: Person) -> dict[str, Any]:
    guilds = [guild.to_json(with_counts=True) for guild in person.guilds]
    return {"name": person.name, **person.to_json(), "count": len(guilds), "guilds": guilds}


def _existing(sandbox: Sandbox, name: Any) -> Person:
    with sandbox.lock:
        person = sandbox.people.get(as_text(name, "'person'"))
        if person is None:
            raise BadInput(f"there is no person {name!r}; choose one of {', '.join(sorted(sandbox.people))}")
        return person


def _state(sandbox: Sandbox, control: Control) -> Response:
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
            "application": sandbox.application.to_json(),
            "people": {
                name: {"id": person.id, "guilds": len(person.guilds)} for name, person in sandbox.people.items()
            },
            "bot_guilds": len(sandbox.bot_guilds()),
            "gateway_sessions": len(sandbox.gateway_sessions),
        }


def _requests(sandbox: Sandbox, control: Control) -> Response:
    with sandbox.lock:
        rows = [entry.to_json() for entry in sandbox.journal.entries]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    return Response(200, (("Content-Type", "application/x-ndjson"), ("Cache-Control", "no-store")), lines.encode())


def _forget(sandbox: Sandbox, control: Control) -> Response:
    with sandbox.lock:
        sandbox.journal = Journal()
        return _json(200, sandbox.journal.to_json())


def _asset(sandbox: Sandbox, control: Control) -> Response:
    return asset_response(control.path)


def _mood(sandbox: Sandbox, control: Control) -> Response:
    data = control.data()
    with sandbox.lock:
        now = time.monotonic()
        mood = mood_from_json(data, now=now, people=(*sandbox.people, BOT))
        sandbox.set_mood(mood)
    return _json(200, mood.to_json(now))


def _limits(sandbox: Sandbox, control: Control) -> Response:
    data = control.data()
    with sandbox.lock:
        sandbox.limits.change(data)
        return _json(200, sandbox.limits.to_json())


def _application(sandbox: Sandbox, control: Control) -> Response:
    if control.is_form:
        data: Any = settings_from_form(read_form(control.content_type, control.body))
    else:
        data = control.data()
    with sandbox.lock:
        sandbox.application = sandbox.application.changed(data)
        return _json(200, sandbox.application.to_json())


def _token(sandbox: Sandbox, control: Control) -> Response:
    data = as_object(control.data(), "the body", ("person", "scopes"))
    person = _existing(sandbox, data.get("person"))
    try:
        scopes = read_scopes(" ".join(as_texts(data.get("scopes", ["identify", "guilds"]), "'scopes'")))
    except OAuthError as error:
        raise BadInput(f"'scopes': {error.description}") from None
    with sandbox.lock:
        grant = sandbox.oauth.issue(person.name, scopes)
        sandbox.changed()
    return _json(200, grant.to_json() | {"user": person.to_user()})


def _revoke(sandbox: Sandbox, control: Control) -> Response:
    data = as_object(control.data(), "the body", ("person",))
    person = _existing(sandbox, data.get("person"))
    with sandbox.lock:
        revoked = sandbox.oauth.revoke(person.name)
        sandbox.changed()
    return _json(200, {"person": person.name, "revoked": revoked})


def _reset(sandbox: Sandbox, control: Control) -> Response:
    data = {} if control.is_form else as_object(control.data(), "the body", ("limits",))
    limits = Limits()
    limits.change(data.get("limits", {}))
    sandbox.reset(limits)
    return _json(200, state(sandbox))


def _rejoin(sandbox: Sandbox, control: Control) -> Response:
    sandbox.rejoin()
    return _json(200, state(sandbox))


def _person(sandbox: Sandbox, control: Control) -> Response:
    """Create a person in generated servers, from the page's form."""
    data = as_object(control.data(), "the body", ("name", "count"))
    person, _ = sandbox.put_person(as_text(data.get("name", ""), "'name'"), {"count": data.get("count")})
    return _json(201, _described(person))


def _json(status: int, payload: Any) -> Response:
    headers = (("Content-Type", "application/json"), ("Cache-Control", "no-store"))
    return Response(status, headers, json.dumps(payload, ensure_ascii=False).encode())


def _from_form(fields: Mapping[str, str]) -> dict[str, Any]:
    """Convert form fields to the types of the JSON API, and drop empty ones."""
    data: dict[str, Any] = {name: value for name, value in fields.items() if value != ""}
    for name in ("retry_after", "for_seconds", "for_requests", "latency_ms", "status", "count"):
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
        raise BadInput(f"{name!r} must be a number, not {text[:40]!r}") from None


# The page


def _page(sandbox: Sandbox, control: Control) -> Response:
    seen = state(sandbox)
    with sandbox.lock:
        mood = sandbox.mood()
        people = list(sandbox.people.values())
        application = sandbox.application
        last = list(sandbox.journal.entries)[-SHOWN_REQUESTS:]
        offered = presets(sandbox, mood)
    body = part(
        "control.html",
        mode=mood.mode,
        mood=_mood_line(mood),
        ends=_mood_ends(mood, seen["mood"]["for_seconds"]),
        kind="mood" if mood.mode == "healthy" and not mood.latency_ms else "mood ill",
        presets=offered,
        modes=join([_mode(name, words, name == mood.mode) for name, words in MODES.items()]),
        routes=_options(ROUTES, mood.routes),
        people_options=_options((*(person.name for person in people), BOT), mood.people),
        latency=mood.latency_ms or "",
        counts=_counts(seen),
        application=application_form(application),
        people=join([_person_row(person) for person in people]),
        requests=join([_request_row(entry) for entry in reversed(last)]) or part("no_requests.html"),
        requests_total=seen["requests"],
        in_flight=seen["in_flight"],
        in_flight_max=seen["in_flight_max"],
        invalid=seen["invalid_requests"],
        invalid_limit=seen["limits"]["invalid_per_10_minutes"],
    )
    return page(200, f"Sandbox: {mood.mode}", body, live=True)


def _mood_line(mood: Mood) -> str:
    line = MODES[mood.mode]
    if mood.routes:
        line += f" Only for {', '.join(mood.routes)}."
    if mood.people:
        line += f" Only for {', '.join(mood.people)}."
    if mood.latency_ms:
        line += f" Delay: {mood.latency_ms} ms."
    return line


def _mood_ends(mood: Mood, seconds_left: float | None) -> str:
    """Return when the mood ends, apart from the line that screen readers announce, as it changes each second."""
    line = "" if seconds_left is None else f"Ends in {seconds_left:.0f} s."
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
        ("Server", seen["by_guild"]),
    ):
        for name, count in counts.items():
            rows.append(part("count.html", title=title, name=name, count=count))
    return join(rows) or Markup("<tr><td>None yet.</td></tr>")


def _person_row(person: Person) -> Markup:
    count = len(person.guilds)
    return part(
        "person_row.html",
        name=person.name,
        display=person.global_name or person.name,
        servers="one server" if count == 1 else f"{count} servers",
        links=server_links(person.guilds),
    )


def _request_row(entry: Entry) -> Markup:
    return part(
        "request.html",
        time=datetime.fromtimestamp(entry.time, UTC).strftime("%H:%M:%S UTC"),
        method=entry.method,
        path=entry.path,
        person=entry.person or UNKNOWN_PERSON,
        kind="failed" if entry.status and entry.status >= 400 else "",
        status="…" if entry.status is None else entry.status,
        duration="" if entry.duration is None else f", {entry.duration * 1000:.0f} ms",
    )


_CALLS: Mapping[tuple[str, str], Callable[[Sandbox, Control], Response]] = {
    ("GET", ""): _page,
    ("GET", "state"): _state,
    ("GET", "requests"): _requests,
    ("DELETE", "requests"): _forget,
    ("PUT", "mood"): _mood,
    ("POST", "mood"): _mood,
    ("PUT", "limits"): _limits,
    ("PUT", "application"): _application,
    ("POST", "application"): _application,
    ("POST", "token"): _token,
    ("POST", "revoke"): _revoke,
    ("POST", "reset"): _reset,
    ("POST", "rejoin"): _rejoin,
    ("POST", "person"): _person,
    **{("GET", name): _asset for name in ASSETS},
}
