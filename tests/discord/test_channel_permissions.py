"""Discord's algorithm for permissions in a channel."""

import pytest

from accounts.discord import Channel, Overwrite, Permissions, Role
from accounts.discord.channel_permissions import EVERYTHING, permissions_in_channel, permissions_in_guild

GUILD, MEMBER, A, B = 1, 9, 2, 3
VIEW, SEND, FILES = int(Permissions.VIEW_CHANNEL), int(Permissions.SEND_MESSAGES), int(Permissions.ATTACH_FILES)
ADMINISTRATOR = int(Permissions.ADMINISTRATOR)
ALL = VIEW | SEND | FILES


def role(role_id: int, permissions: int) -> Role:
    return Role(role_id, "", 0, 1, permissions, False)


def of_role(role_id: int, *, allow: int = 0, deny: int = 0) -> Overwrite:
    return Overwrite(role_id, True, allow, deny)


def own(*, allow: int = 0, deny: int = 0, member_id: int = MEMBER) -> Overwrite:
    return Overwrite(member_id, False, allow, deny)


def in_channel(in_guild: int, *overwrites: Overwrite, roles: tuple[int, ...] = (A, B)) -> int:
    channel = Channel(5, 0, "", 0, None, overwrites)
    return permissions_in_channel(in_guild, GUILD, MEMBER, roles, channel)


@pytest.mark.parametrize(
    ("member_roles", "owns", "expected"),
    [
        ([], False, VIEW),
        ([A], False, VIEW | SEND),
        ([B], False, EVERYTHING),
        ([], True, EVERYTHING),
    ],
    ids=["everyone", "role", "administrator", "owner"],
)
def test_the_permissions_in_a_guild_are_those_of_all_roles_together(
    member_roles: list[int], owns: bool, expected: int
) -> None:
    roles = [role(GUILD, VIEW), role(A, SEND), role(B, ADMINISTRATOR)]

    assert permissions_in_guild(GUILD, member_roles, roles, owns=owns) == expected


def test_everything_includes_every_permission() -> None:
    assert all(EVERYTHING & permission for permission in Permissions)


@pytest.mark.parametrize(
    ("overwrites", "expected"),
    [
        ([], ALL),
        ([of_role(GUILD, deny=FILES)], VIEW | SEND),
        ([of_role(GUILD, deny=FILES), of_role(A, allow=FILES)], ALL),
        ([of_role(A, allow=FILES), of_role(GUILD, deny=FILES)], ALL),
        ([of_role(A, deny=FILES)], VIEW | SEND),
        ([of_role(A, deny=FILES), of_role(B, allow=FILES)], ALL),
        ([of_role(B, allow=FILES), of_role(A, deny=FILES)], ALL),
        ([of_role(A, deny=FILES), own(allow=FILES)], ALL),
        ([of_role(A, allow=FILES), own(deny=FILES)], VIEW | SEND),
        ([of_role(7, deny=FILES)], ALL),
        ([own(deny=FILES, member_id=8)], ALL),
        # An id is a role's or a member's, never both.
        ([Overwrite(MEMBER, True, 0, FILES), Overwrite(A, False, 0, FILES)], ALL),
        ([of_role(GUILD, deny=VIEW)], 0),
        ([of_role(GUILD, deny=SEND)], VIEW),
        ([own(allow=1 << 28)], ALL | 1 << 28),
    ],
)
def test_an_overwrite_of_a_narrower_level_wins(overwrites: list[Overwrite], expected: int) -> None:
    assert in_channel(ALL, *overwrites) == expected


def test_an_administrator_can_do_everything_everywhere() -> None:
    assert in_channel(ADMINISTRATOR, own(deny=VIEW)) == EVERYTHING
