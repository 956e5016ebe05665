"""The admin. Viewing a page never sends a request to Discord and never shows a token."""

from guilds.admin import lists, numbers, people, servers

__all__ = ["lists", "numbers", "people", "servers"]
