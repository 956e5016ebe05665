"""What an operator sees: rows, never a call to Discord by looking, and never a token."""

from guilds.admin import lists, numbers, people, servers

__all__ = ["lists", "numbers", "people", "servers"]
