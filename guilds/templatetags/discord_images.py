"""Addresses of Discord's pictures, and what to show where there is none."""

import re

from django import template
from django.conf import settings
from django.utils.html import format_html

from accounts.models import User
from guilds.services import Membership

register = template.Library()

# What people see as one letter: a flag, or a character with the marks, tones and joined parts that follow it.
_LETTER = re.compile(
    "[\U0001f1e6-\U0001f1ff]{2}"
    "|.(?:[\u0300-\u036f\u064b-\u0655\u20e3\ufe0e\ufe0f\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f]|\u200d.)*",
    re.DOTALL,
)


@register.simple_tag
def icon_url(server: Membership, size: int = 128) -> str:
    """The server's icon as a still picture; empty if it has none. `size` is a power of two, 16 to 4096."""
    return f"{settings.DISCORD_CDN_URL}/icons/{server.guild_id}/{server.icon}.png?size={size}" if server.icon else ""


@register.simple_tag
def avatar_url(user: User, size: int = 64) -> str:
    """The person's avatar, or the one Discord gives by id; empty for people without a Discord account."""
    if user.discord_id is None:
        return ""
    if user.avatar:
        return f"{settings.DISCORD_CDN_URL}/avatars/{user.discord_id}/{user.avatar}.png?size={size}"
    return f"{settings.DISCORD_CDN_URL}/embed/avatars/{(user.discord_id >> 22) % 6}.png"


@register.simple_tag
def picture(src: str, size: int) -> str:
    """A square image of `size` CSS pixels, fetched once it comes into view; nothing without `src`.

    It says nothing, for the name stands beside it. The script takes it away if it can't be had.
    """
    if not src:
        return ""
    return format_html('<img src="{}" width="{}" height="{}" loading="lazy" alt="" data-picture>', src, size, size)


@register.filter
def initials(name: str, most: int = 3) -> str:
    """The first letters of up to three words, as Discord draws a server without an icon."""
    return "".join(_LETTER.match(word)[0] for word in name.split()[:most])  # type: ignore[index]  # any word matches


@register.filter
def hue(guild_id: int) -> int:
    """One of twelve colours for a server without an icon, the same every time.

    By the millisecond it was made: the id's lower bits are nearly always zero.
    """
    return (guild_id >> 22) % 12
