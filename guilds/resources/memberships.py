"""One person in one guild, as a value and as JSON: the only place that knows the JSON's words."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from accounts.discord import Permissions
from guilds.models import UserGuildMembership


@dataclass(frozen=True, slots=True)
class Membership:
    """The person in one guild. `guild_id` and `permissions` are ints; pages and the API show them as strings."""

    guild_id: int
    name: str
    icon: str
    banner: str
    owner: bool
    permissions: int  # not `Permissions`: an IntFlag keeps every value it ever saw, and these are endless
    features: tuple[str, ...]

    @property
    def can_manage(self) -> bool:
        return Permissions.can_manage(self.permissions, self.owner)

    def may(self, permission: str | Permissions) -> bool:
        """Whether the person has `permission`, by Discord's name in any case. `ValueError` for a name it hasn't."""
        return Permissions.allow(self.permissions, self.owner, Permissions.named(permission))

    def as_json(self) -> dict[str, Any]:
        """Ids and permissions are strings: JavaScript's numbers end at 2^53."""
        return {
            "id": str(self.guild_id),
            "name": self.name,
            "icon": self.icon or None,
            "banner": self.banner or None,
            "owner": self.owner,
            "permissions": str(self.permissions),
            "can_manage": self.can_manage,
            "features": self.features,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        return cls(
            int(value["id"]),
            value["name"],
            value["icon"] or "",
            value["banner"] or "",
            value["owner"],
            int(value["permissions"]),
            tuple(value["features"]),
        )


def stored_memberships(user_id: int) -> tuple[Membership, ...]:
    """The person's rows, ascending by guild."""
    rows = UserGuildMembership.objects.filter(user_id=user_id).values_list(
        "guild_id", "name", "icon", "banner", "owner", "permissions", "features"
    )
    return tuple(
        Membership(guild_id, name, icon, banner, owner, permissions, tuple(features))
        for guild_id, name, icon, banner, owner, permissions, features in rows
    )


def dumps(memberships: Sequence[Membership]) -> bytes:
    values = [membership.as_json() for membership in memberships]
    return json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode()


def loads(text: bytes) -> tuple[Membership, ...]:
    return tuple(map(Membership.from_json, json.loads(text)))
