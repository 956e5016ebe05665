"""/_sandbox/guilds/GUILD: a page to change a server's members, roles, channels and the bot's permissions.

Its forms work without a script. Each changes one member, role or channel by the same functions as the JSON API.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from sandbox.channels import CATEGORY, KINDS, Channel
from sandbox.inputs import BadInput
from sandbox.members import Member
from sandbox.pages import PAGE, Markup, join, page, part
from sandbox.people import MEMBER, Guild, Person
from sandbox.responses import Response
from sandbox.roles import Role, bot_role_id
from sandbox.state import Sandbox

URL = f"{PAGE}guilds/"
_CHECKED = Markup("checked")
_SELECTED = Markup("selected")


def guild_page(sandbox: Sandbox, guild_id: str) -> Response:
    """Return the page. Raises BadInput for an unknown server."""
    with sandbox.lock:
        guild = sandbox.existing_guild(guild_id)
        roles = sorted(sandbox.roles(guild_id), key=lambda role: (-role.position, int(role.id)))
        channels = sandbox.channels(guild_id)
        members = [
            _member_form(person, guild_id, sandbox.member(person, its), roles)
            for person in sandbox.people.values()
            if (its := person.guild(guild_id))
        ]
        others = {person.name: person.name for person in sandbox.people.values() if not person.guild(guild_id)}
        bot = sandbox.bot.get(guild_id)
    body = part(
        "guild.html",
        url=URL + guild_id,
        name=guild.name,
        id=guild_id,
        members=join(members),
        join=part("guild_join.html", url=URL + guild_id, others=_options(others, None)) if others else "",
        roles=join([_role_form(role, guild_id) for role in roles]),
        channels=join([_channel_form(channel, channels, guild_id) for channel in channels]),
        kinds=_options({str(number): name for name, number in KINDS.items()}, "0"),
        categories=_categories(channels, None),
        bot="The bot is in this server." if bot is not None else "The bot is not in this server.",
        permissions=bot or "0",
    )
    return page(200, f"Sandbox: {guild.name}", body)


def server_links(guilds: tuple[Guild, ...]) -> Markup:
    """Return list items that link to the servers' pages."""
    return join([part("guild_link.html", url=URL + guild.id, name=guild.name) for guild in guilds])


def _member_form(person: Person, guild_id: str, member: Member, roles: list[Role]) -> Markup:
    until = member.communication_disabled_until
    ticks = [
        part(
            "guild_tick.html",
            name=f"role.{role.id}",
            text=role.name,
            checked=_CHECKED if role.id in member.roles else "",
        )
        for role in roles
        if role.id not in (guild_id, bot_role_id(guild_id))
    ]
    return part(
        "guild_member.html",
        url=URL + guild_id,
        person=person.name,
        display=person.global_name or person.name,
        nick=member.nick or "",
        joined_at=member.joined_at.isoformat(),
        until="" if until is None else until.isoformat(),
        roles=join(ticks),
        pending=part("guild_tick.html", name="pending", text="Pending", checked=_CHECKED if member.pending else ""),
    )


def _role_form(role: Role, guild_id: str) -> Markup:
    fixed = role.id in (guild_id, bot_role_id(guild_id))
    return part(
        "guild_role.html",
        url=URL + guild_id,
        id=role.id,
        name=role.name,
        permissions=role.permissions,
        position=role.position,
        color=f"#{role.color:06x}",
        delete="" if fixed else part("guild_delete.html", name=role.name),
    )


def _channel_form(channel: Channel, channels: tuple[Channel, ...], guild_id: str) -> Markup:
    return part(
        "guild_channel.html",
        url=URL + guild_id,
        id=channel.id,
        name=channel.name,
        kinds=_options({str(number): name for name, number in KINDS.items()}, str(channel.type)),
        categories=_categories(channels, channel.parent_id),
        delete=part("guild_delete.html", name=channel.name),
    )


def _categories(channels: tuple[Channel, ...], chosen: str | None) -> Markup:
    return _options({channel.id: channel.name for channel in channels if channel.type == CATEGORY}, chosen)


def _options(choices: Mapping[str, str], chosen: str | None) -> Markup:
    return join(
        [
            part("option.html", value=value, text=text, chosen=_SELECTED if value == chosen else "")
            for value, text in choices.items()
        ]
    )


# The forms


def change(sandbox: Sandbox, guild_id: str, what: str, fields: Mapping[str, str]) -> Response | None:
    """Make the change of a form and redirect to the page, or return None for an unknown form. Raises BadInput.

    The redirect leads to the page /_sandbox/ if the form has the field `back`, or if the server is gone.
    """
    submit = _FORMS.get(what)
    if submit is None:
        return None
    with sandbox.lock:
        sandbox.existing_guild(guild_id)
        submit(sandbox, guild_id, fields)
        stays = "back" not in fields and sandbox.guild(guild_id) is not None
    return Response(303, (("Location", URL + guild_id if stays else PAGE),))


def _member(sandbox: Sandbox, guild_id: str, fields: Mapping[str, str]) -> None:
    name = fields.get("person", "")
    person = sandbox.people.get(name)
    guild = person.guild(guild_id) if person else None
    if person is None or guild is None:
        raise BadInput(f"{name[:40]!r} is not in the server {guild_id}")
    if fields.get("do") == "delete":
        sandbox.leave(person, guild)
        return
    data = {
        "roles": [field.removeprefix("role.") for field in fields if field.startswith("role.")],
        "nick": fields.get("nick") or None,
        "communication_disabled_until": fields.get("communication_disabled_until") or None,
        "pending": "pending" in fields,
    }
    if fields.get("joined_at"):
        data["joined_at"] = fields["joined_at"]
    sandbox.put_member(person, guild, data)


def _join(sandbox: Sandbox, guild_id: str, fields: Mapping[str, str]) -> None:
    """Add a person with the permissions of @everyone."""
    name = fields.get("person", "")
    person = sandbox.people.get(name)
    if person is None:
        raise BadInput(f"there is no person {name[:40]!r}")
    sandbox.join(person, replace(sandbox.existing_guild(guild_id), owner=False, permissions=str(MEMBER)))


def _role(sandbox: Sandbox, guild_id: str, fields: Mapping[str, str]) -> None:
    changed: dict[str, Any] = {name: fields[name] for name in ("id", "name", "permissions") if fields.get(name)}
    if fields.get("position"):
        changed["position"] = _integer(fields["position"], "'position'", 10)
    if fields.get("color"):
        changed["color"] = _integer(fields["color"].removeprefix("#"), "'color'", 16)
    stored = [role.to_json() for role in sandbox.roles(guild_id)]
    sandbox.put_roles(guild_id, _with(stored, changed, delete=fields.get("do") == "delete"))


def _channel(sandbox: Sandbox, guild_id: str, fields: Mapping[str, str]) -> None:
    changed: dict[str, Any] = {name: fields[name] for name in ("id", "name") if fields.get(name)}
    if fields.get("type"):
        changed["type"] = _integer(fields["type"], "'type'", 10)
    changed["parent_id"] = fields.get("parent_id") or None
    stored = [channel.to_json() for channel in sandbox.channels(guild_id)]
    sandbox.put_channels(guild_id, _with(stored, changed, delete=fields.get("do") == "delete"))


def _bot(sandbox: Sandbox, guild_id: str, fields: Mapping[str, str]) -> None:
    sandbox.put_bot(guild_id, None if fields.get("do") == "delete" else fields.get("permissions", ""))


def _with(stored: list[dict[str, Any]], changed: dict[str, Any], *, delete: bool) -> list[dict[str, Any]]:
    """Return the list with one entry changed, added or deleted."""
    there = [entry["id"] for entry in stored]
    if "id" not in changed:
        return [*stored, changed]
    if changed["id"] not in there:
        raise BadInput(f"there is no {changed['id'][:40]!r} in this server any more")
    if delete:
        return [entry for entry in stored if entry["id"] != changed["id"]]
    return [entry | changed if entry["id"] == changed["id"] else entry for entry in stored]


def _integer(text: str, what: str, base: int) -> int:
    try:
        return int(text, base)
    except ValueError:
        raise BadInput(f"{what} must be a number, not {text[:40]!r}") from None


_FORMS: Mapping[str, Callable[[Sandbox, str, Mapping[str, str]], None]] = {
    "member": _member,
    "join": _join,
    "role": _role,
    "channel": _channel,
    "bot": _bot,
}
