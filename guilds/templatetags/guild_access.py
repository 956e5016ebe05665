"""Filters about a person's guilds: `{% if server|may:"manage_guild" %}`."""

import structlog
from django import template
from django.conf import settings

from accounts.discord import Permissions
from guilds.entered_guild import EnteredGuild, role_ids
from guilds.services import GuildList, Membership

logger = structlog.get_logger(__name__)
register = template.Library()

UNREAD = "The roles are unknown here, so has_role is False. Add member=True or role=… to the view's @guild_required."


@register.filter
def may(membership: Membership | None, permission: str) -> bool:
    """Whether the person has Discord's `permission` in the guild; False without a membership."""
    return membership is not None and membership.may(Permissions.named(permission))


@register.filter
def has_role(guild: Membership | None, role: int | str) -> bool:
    """Whether the person has the role in `request.guild`, or owns it. Only in views that declare `role` or `member`.

    Elsewhere it is False, because a template must not wait for Discord.
    """
    roles = role_ids(role)
    if not isinstance(guild, EnteredGuild) or not guild.reads_member:
        if settings.DEBUG:
            logger.warning("has_role_without_member", role=str(role), remedy=UNREAD)
        return False
    return guild.has_any(roles)


@register.filter
def guild(guild_list: GuildList, guild_id: int | str) -> Membership | None:
    """The person's membership in the guild; None if they aren't in it."""
    return guild_list.get(guild_id)
