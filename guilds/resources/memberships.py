"""One person's membership in one guild, as a value and as JSON. Only this module knows the JSON's field names."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from accounts.discord import PermissionName, Permissions
from accounts.names import first_visible, isolated
from guilds.models import GuildListVerification, UserGuildMembership


@dataclass(frozen=True, slots=True)
class Membership:
    """A person's membership in one guild.

    `guild_id` and `permissions` are ints; pages and the API show them as strings. `name` is unchanged from Discord.
    Pages show `display_name` in `<bdi>`, or the membership itself in plain text.
    """

    guild_id: int
    name: str
    icon: str
    banner: str
    owner: bool
    permissions: int  # not `Permissions`: an IntFlag caches every value it has seen, so memory would grow
    features: tuple[str, ...]

    def __str__(self) -> str:
        return isolated(self.display_name)

    @property
    def display_name(self) -> str:
        """The name, or the id if the name shows nothing."""
        return first_visible(self.name, str(self.guild_id))

    @property
    def can_manage(self) -> bool:
        return Permissions.can_manage(self.permissions, self.owner)

    def may(self, permission: PermissionName | Permissions) -> bool:
        """Whether the person has `permission`, Discord's name in any case. Raises `ValueError` for an unknown name."""
        return Permissions.allow(self.permissions, self.owner, Permissions.named(permission))

    def as_json(self) -> dict[str, Any]:
        """Return the JSON object. Ids and permissions are strings: JavaScript's integers are exact only up to 2^53."""
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


COLUMNS = ("guild_id", "name", "icon", "banner", "owner", "permissions", "features")


def stored_memberships(user_id: int) -> tuple[Membership, ...]:
    """Return the person's memberships, ascending by guild id."""
    return tuple(map(membership_of, UserGuildMembership.objects.filter(user_id=user_id).values_list(*COLUMNS)))


def stored_memberships_query(user_id: int, columns: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Return a row per membership, ascending by guild id: `columns` of the list's record, then those of the membership.

    A list without guilds has one row, whose columns of the membership are None; a person without a list has no row.
    """
    path = "user__guild_memberships__"
    rows = GuildListVerification.objects.filter(pk=user_id).order_by(f"{path}guild_id")
    return list(rows.values_list(*columns, *(f"{path}{name}" for name in COLUMNS)))


def membership_of(values: Sequence[Any]) -> Membership:
    """Return the membership with the values of `COLUMNS`."""
    guild_id, name, icon, banner, owner, permissions, features = values
    return Membership(guild_id, name, icon, banner, owner, permissions, tuple(features))


def dumps(memberships: Sequence[Membership]) -> bytes:
    values = [membership.as_json() for membership in memberships]
    return json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode()


def loads(text: bytes) -> tuple[Membership, ...]:
    return tuple(map(Membership.from_json, json.loads(text)))
