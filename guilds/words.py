"""Discord's names as people read them."""

from django.utils.translation import gettext

SPOKEN = {"guild": "server", "ui": "UI", "url": "URL", "vip": "VIP"}


def spoken(name: str) -> str:
    """Discord's name of a permission or a feature in words: MANAGE_GUILD is "Manage server"."""
    words = " ".join(SPOKEN.get(word, word) for word in name.lower().split("_"))
    return gettext(words[:1].upper() + words[1:])
