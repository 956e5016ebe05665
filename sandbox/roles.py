"""The roles of a server: a few in every server at first, and the ones that someone has set.

https://docs.discord.com/developers/topics/permissions#role-object
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sandbox.calls import APPLICATION_ID
from sandbox.inputs import BadInput, as_flag, as_integer, as_object, as_text
from sandbox.people import EVERYTHING, MANAGER, MEMBER, as_permissions, as_snowflake, snowflake

MAX_ROLES = 250
EVERYONE = "@everyone"
_FIELDS = ("id", "name", "permissions", "position", "color", "hoist", "managed", "mentionable")


@dataclass(frozen=True, slots=True)
class Role:
    """A role. Higher positions rank higher; of two roles with the same position the lower id ranks higher."""

    id: str
    name: str
    permissions: str = "0"
    position: int = 1
    color: int = 0
    hoist: bool = False
    managed: bool = False
    mentionable: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the role in the format of `roles_from_json` and of the state file."""
        return asdict(self)

    def to_response(self, guild_id: str) -> dict[str, Any]:
        """Return the fields of Discord's `GuildRoleResponse`."""
        tags: dict[str, Any] = {}
        if self.id == bot_role_id(guild_id):
            tags = {"tags": {"bot_id": APPLICATION_ID}}
        elif self.id == booster_role_id(guild_id):
            tags = {"tags": {"premium_subscriber": None}}
        return {
            **asdict(self),
            "colors": {"primary_color": self.color, "secondary_color": None, "tertiary_color": None},
            "icon": None,
            "unicode_emoji": None,
            "flags": 0,
            **tags,
        }


# A role's id is the server's plus its place here. The bot's own role ranks between moderators and administrators.
_FIRST_ROLES = (
    Role("0", EVERYONE, str(MEMBER), position=0),
    Role("1", "Moderators", str(MANAGER), position=3, color=0x2ECC71, hoist=True, mentionable=True),
    Role("2", "Administrators", str(EVERYTHING), position=5, color=0xE74C3C, hoist=True),
    Role("3", "Supporters", position=1, color=0xF1C40F, mentionable=True),
    Role("4", "Server Booster", position=2, color=0xF47FFF, hoist=True, managed=True),
    Role("5", "Guildhall", position=4, managed=True),
)


def first_roles(guild_id: str) -> tuple[Role, ...]:
    """Return a server's initial roles, by ascending id."""
    return tuple(replace(role, id=_after(guild_id, int(role.id))) for role in _FIRST_ROLES)


def first_roles_of(guild_id: str, permissions: str) -> tuple[str, ...]:
    """Return the ids of the roles that a member with these permissions initially has."""
    granted = int(permissions)
    if granted & 1 << 3:
        return _after(guild_id, 1), _after(guild_id, 2)
    return (_after(guild_id, 1),) if granted & MANAGER == MANAGER else ()


def booster_role_id(guild_id: str) -> str:
    return _after(guild_id, 4)


def bot_role_id(guild_id: str) -> str:
    return _after(guild_id, 5)


def _after(guild_id: str, place: int) -> str:
    return str(int(guild_id) + place)


def roles_from_json(data: Any, guild_id: str, previous: Sequence[Role]) -> tuple[Role, ...]:
    """Parse a server's whole list of roles. Raises BadInput.

    Missing fields are taken from the previous role with the same id. @everyone and the bot's role are kept if the list
    doesn't contain them, because they can't be deleted.
    """
    if not isinstance(data, list):
        raise BadInput("the roles must be a list of objects")
    before = {role.id: role for role in previous}
    roles: dict[str, Role] = {}
    for index, partial in enumerate(data):
        role = _role(partial, f"[{index}]", guild_id, before)
        if role.id in roles:
            raise BadInput(f"'[{index}].id': the list contains the id {role.id} twice")
        roles[role.id] = role
    for fixed in (guild_id, bot_role_id(guild_id)):
        roles.setdefault(fixed, before[fixed])
    if len(roles) > MAX_ROLES:
        raise BadInput(f"a server has at most {MAX_ROLES} roles, not {len(roles)}")
    return tuple(sorted(roles.values(), key=lambda role: int(role.id)))


def _role(partial: Any, what: str, guild_id: str, before: dict[str, Role]) -> Role:
    partial = as_object(partial, f"'{what}'", _FIELDS)
    role_id = as_snowflake(partial["id"], f"'{what}.id'") if "id" in partial else None
    known = before.get(role_id) if role_id else None
    if known is None and "name" not in partial:
        raise BadInput(f"'{what}' must have a 'name', because it is a new role")
    changes: dict[str, Any] = {}
    if "name" in partial:
        changes["name"] = as_name(partial["name"], f"'{what}.name'")
    if "permissions" in partial:
        changes["permissions"] = as_permissions(partial["permissions"], what)
    if "position" in partial:
        changes["position"] = as_integer(partial["position"], f"'{what}.position'", maximum=MAX_ROLES)
    if "color" in partial:
        changes["color"] = as_integer(partial["color"], f"'{what}.color'", maximum=0xFFFFFF)
    for name in ("hoist", "managed", "mentionable"):
        if name in partial:
            changes[name] = as_flag(partial[name], f"'{what}.{name}'")
    role = replace(known or Role(role_id or new_id(f"role {changes['name']}"), changes["name"]), **changes)
    if role.id == guild_id and (role.name, role.position) != (EVERYONE, 0):
        raise BadInput(f"'{what}': the name and the position of {EVERYONE} can't change")
    if role.id != guild_id and role.position == 0:
        raise BadInput(f"'{what}.position' must be at least 1, because 0 is the position of {EVERYONE}")
    return role


def as_name(value: Any, what: str) -> str:
    text = as_text(value, what, maximum=100)
    if not text.strip():
        raise BadInput(f"{what} must not be empty")
    return text


def new_id(seed: str) -> str:
    """Return an id for something that is created now. An id is never used again, as at Discord."""
    now = datetime.now(UTC)
    return snowflake(now, f"{seed} {now.isoformat()}")
