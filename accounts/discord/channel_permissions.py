"""What a member may do in one channel: Discord's algorithm, without I/O.

https://docs.discord.com/developers/topics/permissions#permission-overwrites
"""

from collections.abc import Collection, Iterable

from .types import Channel, Overwrite, Permissions, Role

EVERYTHING = sum(int(permission) for permission in Permissions)
# Denying these denies everything that depends on them.
_ADMINISTRATOR, _VIEW_CHANNEL = int(Permissions.ADMINISTRATOR), int(Permissions.VIEW_CHANNEL)
_SEND_MESSAGES = int(Permissions.SEND_MESSAGES)
_ONLY_WITH_SEND_MESSAGES = int(
    Permissions.MENTION_EVERYONE | Permissions.SEND_TTS_MESSAGES | Permissions.ATTACH_FILES | Permissions.EMBED_LINKS
)


def permissions_in_guild(guild_id: int, member_roles: Collection[int], roles: Iterable[Role], *, owns: bool) -> int:
    """Return a member's permissions in the whole guild, from the roles that the member has besides @everyone."""
    granted = 0
    for role in roles:
        if role.id == guild_id or role.id in member_roles:
            granted |= role.permissions
    return EVERYTHING if owns or granted & _ADMINISTRATOR else granted


def permissions_in_channel(
    in_guild: int, guild_id: int, member_id: int, member_roles: Collection[int], channel: Channel
) -> int:
    """Return what a member with the permissions `in_guild` may do in `channel`; 0 if they can't see it.

    The overwrites of @everyone come first, then those of the member's roles together, then the member's own.
    """
    if in_guild & _ADMINISTRATOR:
        return EVERYTHING
    everyone = [each for each in channel.overwrites if each.is_role and each.id == guild_id]
    of_roles = [each for each in channel.overwrites if each.is_role and each.id in member_roles]
    own = [each for each in channel.overwrites if not each.is_role and each.id == member_id]
    permissions = in_guild
    for overwrites in (everyone, of_roles, own):
        permissions = _overwritten(permissions, overwrites)
    if not permissions & _VIEW_CHANNEL:
        return 0
    return permissions if permissions & _SEND_MESSAGES else permissions & ~_ONLY_WITH_SEND_MESSAGES


def _overwritten(permissions: int, overwrites: Iterable[Overwrite]) -> int:
    """Apply overwrites of one level: what one of them allows wins over what another one denies."""
    allow = deny = 0
    for overwrite in overwrites:
        allow, deny = allow | overwrite.allow, deny | overwrite.deny
    return permissions & ~deny | allow
