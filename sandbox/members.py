"""What a person is in one of their servers.

https://docs.discord.com/developers/resources/guild#guild-member-object
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sandbox.inputs import BadInput, as_flag, as_object, as_text, as_texts, kind
from sandbox.people import Guild, moment_of
from sandbox.roles import Role, first_roles_of

_FIELDS = ("roles", "nick", "joined_at", "communication_disabled_until", "pending")


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a server; `roles` are ids, without that of @everyone."""

    roles: tuple[str, ...]
    joined_at: datetime
    nick: str | None = None
    communication_disabled_until: datetime | None = None
    pending: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the member in the format of `member_from_json` and of the state file."""
        until = self.communication_disabled_until
        return {
            "roles": list(self.roles),
            "nick": self.nick,
            "joined_at": self.joined_at.isoformat(),
            "communication_disabled_until": None if until is None else until.isoformat(),
            "pending": self.pending,
        }

    def to_response(self, user: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields of Discord's `GuildMemberResponse`."""
        return {
            **self.to_json(),
            "user": user,
            "avatar": None,
            "banner": None,
            "avatar_decoration_data": None,
            "collectibles": None,
            "premium_since": None,
            "deaf": False,
            "mute": False,
            "flags": 0,
        }


def first_member(guild: Guild) -> Member:
    """Return what a person initially is in this server, which they joined a day after it was created."""
    return Member(first_roles_of(guild.id, guild.permissions), moment_of(guild.id) + timedelta(days=1))


def member_from_json(data: Any, previous: Member, guild_id: str, roles: Sequence[Role]) -> Member:
    """Parse a member of a server with these roles. Missing fields are taken from `previous`. Raises BadInput."""
    data = as_object(data, "a member", _FIELDS)
    changes: dict[str, Any] = {}
    if "roles" in data:
        given = (_role_id(role, guild_id, roles) for role in as_texts(data["roles"], "'roles'"))
        changes["roles"] = tuple(sorted(set(given), key=int))
    if "nick" in data:
        changes["nick"] = None if data["nick"] is None else as_text(data["nick"], "'nick'", maximum=32)
    if "joined_at" in data:
        changes["joined_at"] = _moment(data["joined_at"], "'joined_at'")
    if "communication_disabled_until" in data:
        until = data["communication_disabled_until"]
        changes["communication_disabled_until"] = (
            None if until is None else _moment(until, "'communication_disabled_until'")
        )
    if "pending" in data:
        changes["pending"] = as_flag(data["pending"], "'pending'")
    return replace(previous, **changes)


def _role_id(given: str, guild_id: str, roles: Sequence[Role]) -> str:
    """Return the id of the role that has this id or, if there is only one, this name."""
    if given in (guild_id, "@everyone"):
        raise BadInput("'roles' must not contain @everyone, which every member has")
    if any(role.id == given for role in roles):
        return given
    named = [role.id for role in roles if role.name == given]
    if len(named) == 1:
        return named[0]
    if named:
        raise BadInput(f"'roles' names {given!r}, but {len(named)} roles have this name; use an id")
    choices = ", ".join(f"{role.id} ({role.name})" for role in roles if role.id != guild_id)
    raise BadInput(f"'roles' names {given!r}, which is no role of the server {guild_id}; its roles are {choices}")


def _moment(value: Any, what: str) -> datetime:
    if not isinstance(value, str):
        raise BadInput(f'{what} must be a string such as "2026-01-31T12:00:00+00:00", not {kind(value)}')
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise BadInput(f'{what} must be a time such as "2026-01-31T12:00:00+00:00", not {value[:40]!r}') from None
    if moment.tzinfo is None:
        raise BadInput(f'{what} must have a UTC offset, as in "2026-01-31T12:00:00+00:00"')
    return moment.astimezone(UTC)
