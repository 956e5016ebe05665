"""The resources of this site.

`ALL` has each of them; `PERSONAL` those whose records belong to a person: their key begins with `user_id`.
"""

from typing import Any

from guilds.engine.resource import Resource
from guilds.resources.guild_list import GUILD_LIST

ALL: tuple[Resource[Any, Any], ...] = (GUILD_LIST,)
PERSONAL = tuple(resource for resource in ALL if resource.key[0] == "user_id")
