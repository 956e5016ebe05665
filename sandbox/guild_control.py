"""/_sandbox/members/, /_sandbox/guilds/ and /_sandbox/bot/: what a server has, what a person is in it, and the bot.

    GET, PUT          /_sandbox/members/NAME/GUILD     {"roles": ["Moderators"], "nick": null, "pending": false,
                                                        "joined_at": …, "communication_disabled_until": …}
    GET, PUT          /_sandbox/guilds/GUILD/roles     [{"id": …}, {"name": "Staff", "permissions": "8192"}]
    GET, PUT          /_sandbox/guilds/GUILD/channels  [{"id": …}, {"name": "news", "type": "announcement"}]
    GET, PUT, DELETE  /_sandbox/bot/GUILD              {"permissions": "3072"}: the bot's permissions in the server

A list replaces the previous one: an entry without a known id is new, and an entry that is left out is deleted. Fields
that an entry doesn't name stay as they are.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sandbox.channels import Channel
from sandbox.inputs import BadInput, as_object
from sandbox.people import Guild, Person
from sandbox.roles import Role
from sandbox.state import Sandbox

# Returns the JSON response to a method on the rest of the path, and reads the body only if it needs it.
Answer = Callable[[Sandbox, str, str, Callable[[], Any]], Any]


class WrongMethod(Exception):
    """The path exists, but doesn't accept the method. The argument lists those that it accepts."""


def answer(sandbox: Sandbox, method: str, path: str, data: Callable[[], Any]) -> Any:
    """Return the JSON response to a request, or None for an unknown path. Raises BadInput and WrongMethod."""
    first, _, rest = path.partition("/")
    respond = _ANSWERS.get(first)
    return respond(sandbox, {"HEAD": "GET"}.get(method, method), rest, data) if respond and rest else None


def _member(sandbox: Sandbox, method: str, path: str, data: Callable[[], Any]) -> Any:
    name, _, guild_id = path.partition("/")
    if not guild_id:
        return None
    with sandbox.lock:
        person, guild = _membership(sandbox, name, guild_id)
        if method == "PUT":
            return sandbox.put_member(person, guild, data()).to_json()
        _only("GET", "PUT", method=method)
        return sandbox.member(person, guild).to_json()


def _membership(sandbox: Sandbox, name: str, guild_id: str) -> tuple[Person, Guild]:
    person = sandbox.people.get(name)
    if person is None:
        raise BadInput(f"there is no person {name[:40]!r}; choose one of {', '.join(sorted(sandbox.people))}")
    guild = person.guild(guild_id)
    if guild is None:
        raise BadInput(f"{name} is in no server with the id {guild_id[:40]!r}")
    return person, guild


def _guild(sandbox: Sandbox, method: str, path: str, data: Callable[[], Any]) -> Any:
    guild_id, _, what = path.partition("/")
    if what not in ("roles", "channels"):
        return None
    entries: Sequence[Role | Channel]
    with sandbox.lock:
        sandbox.existing_guild(guild_id)
        if method == "PUT":
            entries = (sandbox.put_roles if what == "roles" else sandbox.put_channels)(guild_id, data())
        else:
            _only("GET", "PUT", method=method)
            entries = (sandbox.roles if what == "roles" else sandbox.channels)(guild_id)
        return [entry.to_json() for entry in entries]


def _bot(sandbox: Sandbox, method: str, guild_id: str, data: Callable[[], Any]) -> Any:
    with sandbox.lock:
        sandbox.existing_guild(guild_id)
        if method == "PUT":
            body = as_object(data(), "the body", ("permissions",))
            if "permissions" not in body:
                raise BadInput("'permissions' is missing")
            sandbox.put_bot(guild_id, body["permissions"])
        elif method == "DELETE":
            sandbox.put_bot(guild_id, None)
        _only("GET", "PUT", "DELETE", method=method)
        return {"permissions": sandbox.bot.get(guild_id)}


def _only(*accepted: str, method: str) -> None:
    if method not in accepted:
        raise WrongMethod(*accepted)


_ANSWERS: Mapping[str, Answer] = {"members": _member, "guilds": _guild, "bot": _bot}
