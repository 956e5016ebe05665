"""Addresses of Discord's pictures, and what to show where there is none."""

from django import template
from django.conf import settings

from accounts.models import User
from guilds.services import Membership

register = template.Library()


@register.simple_tag
def icon_url(server: Membership, size: int = 96) -> str:
    """The server's icon as a still picture; empty if it has none. `size` is a power of two or 3 × one, 16 to 4096."""
    return f"{settings.DISCORD_CDN_URL}/icons/{server.guild_id}/{server.icon}.png?size={size}" if server.icon else ""


@register.simple_tag
def avatar_url(user: User, size: int = 64) -> str:
    """The person's avatar, or the one Discord gives by id; empty for people without a Discord account."""
    if user.discord_id is None:
        return ""
    if user.avatar:
        return f"{settings.DISCORD_CDN_URL}/avatars/{user.discord_id}/{user.avatar}.png?size={size}"
    return f"{settings.DISCORD_CDN_URL}/embed/avatars/{(user.discord_id >> 22) % 6}.png"


@register.filter
def initials(name: str) -> str:
    """The first letters of up to three words, as Discord draws a server without an icon."""
    return "".join(word[0] for word in name.split()[:3])


@register.filter
def hue(guild_id: int) -> int:
    """One of twelve colours for a server without an icon, the same every time."""
    return guild_id % 12
