"""The guild of a request that passed `guild_required`: the person's membership, with their roles when needed."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Self

from django.utils.functional import cached_property

from accounts import snowflakes
from accounts.models import User
from guilds.resources.memberships import COLUMNS, Membership
from guilds.services import GuildMembership, get_member


@dataclass(frozen=True, eq=False)
class EnteredGuild(Membership):
    """`request.guild`: the person's membership according to their list, equal to that list's `Membership`.

    `member` has their roles there. It is read when it is first used: before the view, if the view declares `role` or
    `member=True`. `reads_member` says whether it does.
    """

    user: User = field(repr=False)
    max_age: timedelta | None = None
    reads_member: bool = False

    @classmethod
    def enter(cls, guild: Membership, user: User, max_age: timedelta | None = None, *, reads_member: bool) -> Self:
        values = {name: getattr(guild, name) for name in COLUMNS}
        return cls(**values, user=user, max_age=max_age, reads_member=reads_member)

    # Django's `cached_property`, because the standard library's holds a lock per class while it waits for Discord.
    @cached_property
    def member(self) -> GuildMembership:
        """The person's roles, nickname and more. Raises `NoAnswer` if no answer as recent as required can be had."""
        return get_member(self.user, self.guild_id, self.max_age)

    @property
    def roles(self) -> frozenset[int]:
        return self.member.roles

    def has_any(self, roles: Iterable[int]) -> bool:
        """Whether the person has one of these roles, or owns the guild: owners can take any role.

        Discord isn't asked about owners.
        """
        return self.owner or self.member.has_any(roles)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Membership) and all(getattr(self, name) == getattr(other, name) for name in COLUMNS)

    __hash__ = Membership.__hash__


def role_ids(roles: object) -> frozenset[int]:
    """Return the ids of one role or several, each a number or a string of digits. Raises `ValueError` for all else."""
    several = roles if isinstance(roles, Iterable) and not isinstance(roles, str | bytes) else (roles,)
    return frozenset(map(_role_id, several))


def _role_id(role: object) -> int:
    if isinstance(role, int) and not isinstance(role, bool) and role > 0:
        return int(role)
    if isinstance(role, str) and (number := snowflakes.parse(role)):
        return number
    raise ValueError(
        f"{role!r} is not the id of a role. Write Discord's id as a number or a string, such as "
        'role="41771983423143936"; names won\'t do, because they can change.'
    )
