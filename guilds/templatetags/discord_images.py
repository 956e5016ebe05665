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
def icon(server: Membership, size: int) -> str:
    """The server's icon on `size` CSS pixels, sharp on dense screens too and fetched once it comes into view.

    Always a still picture: the script lets those that can move do so while somebody points at them. Nothing for a
    server without an icon; the letters stand beside it either way, and so it says nothing itself.
    """
    if not server.icon:
        return ""
    url = f"{settings.DISCORD_CDN_URL}/icons/{server.guild_id}/{server.icon}.png?size="
    # Discord gives powers of two from 16 on.
    width = 1 << max(size - 1, 15).bit_length()
    return format_html(
        '<img src="{}{}" srcset="{}{} 2x" width="{}" height="{}" loading="lazy" alt>',
        *(url, width, url, width * 2, size, size),
    )


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
