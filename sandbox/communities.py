"""The roles, channels and members of the servers. Only what someone has set is stored; the rest is generated."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sandbox.channels import Channel, channels_from_json, first_channels
from sandbox.members import Member, first_member, member_from_json
from sandbox.people import Guild, Person
from sandbox.roles import Role, bot_role_id, first_roles, roles_from_json


@dataclass(slots=True)
class Communities:
    """Roles and channels by server id, members by person and server id."""

    _roles: dict[str, tuple[Role, ...]] = field(default_factory=dict)
    _channels: dict[str, tuple[Channel, ...]] = field(default_factory=dict)
    _members: dict[str, dict[str, Member]] = field(default_factory=dict)

    def roles(self, guild_id: str, bot_permissions: str | None) -> tuple[Role, ...]:
        """Return the server's roles by ascending id. The bot's role exists while the bot is there (not None)."""
        roles = self._roles.get(guild_id) or first_roles(guild_id)
        bots = bot_role_id(guild_id)
        return tuple(
            replace(role, permissions=bot_permissions) if role.id == bots and bot_permissions is not None else role
            for role in roles
            if role.id != bots or bot_permissions is not None
        )

    def put_roles(self, guild_id: str, data: Any, bot_permissions: str = "0") -> str:
        """Replace the server's roles, and return the permissions of the bot's. Raises BadInput.

        Members lose roles that are gone.
        """
        bots = bot_role_id(guild_id)
        stored = self._roles.get(guild_id) or first_roles(guild_id)
        previous = [replace(role, permissions=bot_permissions) if role.id == bots else role for role in stored]
        roles = roles_from_json(data, guild_id, previous)
        there = {role.id for role in roles}
        self._roles[guild_id] = roles
        for members in self._members.values():
            if guild_id in members:
                members[guild_id] = _without_gone_roles(members[guild_id], there)
        return next(role.permissions for role in roles if role.id == bots)

    def channels(self, guild_id: str) -> tuple[Channel, ...]:
        """Return the server's channels by ascending id."""
        channels = self._channels.get(guild_id)
        return first_channels(guild_id) if channels is None else channels

    def put_channels(self, guild_id: str, data: Any) -> None:
        """Replace the server's channels. Raises BadInput."""
        self._channels[guild_id] = channels_from_json(data, self.channels(guild_id))

    def member(self, person: Person, guild: Guild, roles: Sequence[Role]) -> Member:
        """Return what the person is in this server, which has these roles."""
        member = self._members.get(person.name, {}).get(guild.id) or first_member(guild)
        return _without_gone_roles(member, {role.id for role in roles})

    def put_member(self, person: Person, guild: Guild, roles: Sequence[Role], data: Any) -> None:
        """Change the fields that `data` names. Raises BadInput."""
        member = member_from_json(data, self.member(person, guild, roles), guild.id, roles)
        self._members.setdefault(person.name, {})[guild.id] = member

    def person_left(self, person: Person) -> None:
        """Delete the person's members in servers that they are no longer in."""
        here = {guild.id for guild in person.guilds}
        members = self._members.get(person.name, {})
        self._members[person.name] = {guild_id: member for guild_id, member in members.items() if guild_id in here}

    def to_json(self) -> dict[str, Any]:
        return {
            "roles": {guild_id: [role.to_json() for role in roles] for guild_id, roles in self._roles.items()},
            "channels": {
                guild_id: [channel.to_json() for channel in channels] for guild_id, channels in self._channels.items()
            },
            "members": {
                name: {guild_id: member.to_json() for guild_id, member in members.items()}
                for name, members in self._members.items()
            },
        }

    def load(self, data: Mapping[str, Any], people: Mapping[str, Person]) -> None:
        """Add what `to_json` returned. Raises BadInput."""
        for guild_id, roles in data.get("roles", {}).items():
            self.put_roles(guild_id, roles)
        for guild_id, channels in data.get("channels", {}).items():
            self.put_channels(guild_id, channels)
        for name, members in data.get("members", {}).items():
            for guild_id, member in members.items():
                guild = people[name].guild(guild_id)
                if guild is not None:
                    self.put_member(people[name], guild, self.roles(guild_id, "0"), member)


def _without_gone_roles(member: Member, there: set[str]) -> Member:
    roles = tuple(role for role in member.roles if role in there)
    return member if roles == member.roles else replace(member, roles=roles)
