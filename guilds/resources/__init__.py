"""The resources of this site.

`ALL` contains all of them, `PERSONAL` those whose records belong to a person, that is, whose key begins with `user_id`.
"""

from typing import Any

from guilds.engine.resource import Resource
from guilds.resources.bot_guilds import BOT_GUILDS
from guilds.resources.directory import DIRECTORY
from guilds.resources.guild_list import GUILD_LIST
from guilds.resources.member import MEMBER

ALL: tuple[Resource[Any, Any], ...] = (GUILD_LIST, MEMBER, BOT_GUILDS, DIRECTORY)
PERSONAL = tuple(resource for resource in ALL if resource.key[0] == "user_id")
