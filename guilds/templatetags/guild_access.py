"""Filters about a person's guilds: `{% if server|may:"manage_guild" %}`."""

from django import template

from guilds.services import GuildList, Membership

register = template.Library()


@register.filter
def may(membership: Membership | None, permission: str) -> bool:
    """Whether the person has Discord's `permission` in the guild; False without a membership."""
    return membership is not None and membership.may(permission)


@register.filter
def guild(guild_list: GuildList, guild_id: int | str) -> Membership | None:
    """The person's membership in the guild; None if they aren't in it."""
    return guild_list.get(guild_id)
