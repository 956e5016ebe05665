"""Rows of guild lists as tests of the engine need them: stored without Discord, of any age; and the bot's guilds."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from accounts.clock import database_now
from accounts.discord import Guild, GuildPage, Member, PartialGuild
from accounts.models import User
from guilds.engine import policy, refresh
from guilds.engine.policy import Served
from guilds.models import GuildListVerification
from guilds.resources.bot_guilds import ALL_GUILDS, BOT_GUILDS
from guilds.resources.bot_presence import learn
from guilds.resources.guild_list import GUILD_LIST
from guilds.resources.member import MEMBER

BLANK = {"icon": None, "banner": None, "owner": False, "permissions": "0", "features": []}


def stored(user: User, age: timedelta | None = None, **fields: Any) -> datetime:
    """Store a record of that age with `fields`. Returns the database's time."""
    now = GUILD_LIST.read(user.pk)[1]
    if age is not None:
        fields = {"verified_at": now - age, "refresh_after": now - age + timedelta(minutes=48)} | fields
    GuildListVerification.objects.filter(pk=user.pk).update(**fields)
    return now


def list_of(user: User, guilds: Iterable[dict[str, Any]]) -> None:
    """Store the list of these guilds, as if Discord had just sent it. Fields that a guild lacks are as in `guild`."""
    now = GUILD_LIST.read(user.pk)[1]
    page = GuildPage(tuple(Guild.from_json({**BLANK, "name": f"Server {each['id']}", **each}) for each in guilds))
    assert refresh.push(GUILD_LIST, user.pk, value=page, at=now, create=True)


def member_of(user: User, guild_id: int, *roles: int) -> None:
    """Store that the person is in the guild with these roles, as if Discord had just sent it."""
    now = MEMBER.read(user.pk, guild_id)[1]
    member = Member.from_json({"roles": [str(role) for role in roles]})
    assert refresh.push(MEMBER, user.pk, guild_id, value=member, at=now, create=True)


def row_of(user: User) -> GuildListVerification:
    return GuildListVerification.objects.get(pk=user.pk)


def guild(number: int, **fields: Any) -> Guild:
    """A guild as Discord sends it, with `fields`."""
    values = {
        "name": f"Server {number}",
        "icon": None,
        "banner": None,
        "owner": False,
        "permissions": 0,
        "features": (),
    }
    return Guild(id=number, **{**values, **fields})


def sync_bot_guilds() -> Served:
    """Request and store all of the bot's guilds now."""
    return Served.of(policy.read(BOT_GUILDS, ALL_GUILDS, max_age=timedelta(0), timeout=30))


def bot_joins(*guild_ids: int, **fields: Any) -> None:
    """Store that the bot is in these guilds, each with `fields`."""
    for guild_id in guild_ids:
        learn(guild_id, PartialGuild(guild_id, f"Server {guild_id}", None, **fields), database_now())


def bot_leaves(guild_id: int) -> None:
    """Store that the bot is not in the guild any more."""
    learn(guild_id, None, database_now())
