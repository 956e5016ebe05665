"""Pictures from Discord, and what to show if there is none."""

import re

from django import template
from django.conf import settings
from django.utils.html import format_html

from accounts.models import User
from accounts.names import from_first_visible, shows_nothing
from guilds.services import Membership

register = template.Library()

# One letter as people see it: a flag, or a character with its combining marks, skin tones and joined parts.
_LETTER = re.compile(
    "[\U0001f1e6-\U0001f1ff]{2}"
    "|.(?:[\u0300-\u036f\u064b-\u0655\u20e3\ufe0e\ufe0f\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f]|\u200d.)*",
    re.DOTALL,
)


@register.simple_tag
def icon(server: Membership, size: int) -> str:
    """The server's icon at `size` CSS pixels, sharp on dense screens and loaded lazily.

    It is a still picture; the script plays animated icons while the pointer is over them. Empty for a server without
    an icon. The `alt` is empty because the server's initials and name are beside it.
    """
    if not server.icon:
        return ""
    url = f"{settings.DISCORD_CDN_URL}/icons/{server.guild_id}/{server.icon}.png?size="
    # Discord serves powers of two, from 16.
    width = 1 << max(size - 1, 15).bit_length()
    return format_html(
        '<img src="{}{}" srcset="{}{} 2x" width="{}" height="{}" loading="lazy" alt>',
        *(url, width, url, width * 2, size, size),
    )


@register.simple_tag
def banner(server: Membership) -> str:
    """The server's banner, loaded lazily; empty for a server without one.

    The script removes it if it can't be loaded.
    """
    if not server.banner:
        return ""
    url = f"{settings.DISCORD_CDN_URL}/banners/{server.guild_id}/{server.banner}.png?size=512"
    return format_html('<img src="{}" loading="lazy" alt data-picture>', url)


@register.simple_tag
def avatar_url(user: User, size: int = 64) -> str:
    """The person's avatar, or Discord's default for their id; empty for people without a Discord account."""
    if user.discord_id is None:
        return ""
    if user.avatar:
        return f"{settings.DISCORD_CDN_URL}/avatars/{user.discord_id}/{user.avatar}.png?size={size}"
    return f"{settings.DISCORD_CDN_URL}/embed/avatars/{(user.discord_id >> 22) % 6}.png"


@register.simple_tag
def picture(src: str, size: int) -> str:
    """A square image of `size` CSS pixels, loaded lazily; empty without `src`.

    The `alt` is empty because the name is beside it. The script removes the image if it can't be loaded.
    """
    if not src:
        return ""
    return format_html('<img src="{}" width="{}" height="{}" loading="lazy" alt="" data-picture>', src, size, size)


@register.filter
def initials(name: str, limit: int = 3) -> str:
    """The first letters of up to `limit` words, as Discord shows a server without an icon."""
    words = [word for word in map(from_first_visible, name.split()) if not shows_nothing(word)]
    return "".join(_LETTER.match(word)[0] for word in words[:limit])  # type: ignore[index]  # any word matches


@register.filter
def hue(guild_id: int) -> int:
    """One of twelve colours for a server without an icon, always the same for the same server.

    It uses the id's timestamp in milliseconds, because the lower bits are nearly always zero.
    """
    return (guild_id >> 22) % 12
