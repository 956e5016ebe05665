"""The API's words for lists and people; those for a guild are `Membership.as_json`'s."""

from datetime import datetime
from typing import Any

from accounts.models import User
from guilds.engine import freshness
from guilds.engine.freshness import Tier
from guilds.models import GuildListVerification
from guilds.resources.guild_list import GUILD_LIST
from guilds.services import GuildList


def freshness_json(guild_list: GuildList) -> dict[str, Any]:
    """How old the list is and why. Its age in seconds is in `Age`: with it no two bodies would be equal."""
    return {
        "verified_at": guild_list.verified_at,
        "freshness": guild_list.freshness,
        "reason": guild_list.reason,
        "next_attempt_at": guild_list.next_attempt_at,
    }


def stored_freshness_json(record: GuildListVerification, now: datetime) -> dict[str, Any]:
    """The same of what is stored, whether or not it may be served: `freshness` is expired or none as well."""
    decision = freshness.decide(record, now, GUILD_LIST.windows())
    return {
        "verified_at": record.verified_at,
        "freshness": str(Tier.FRESH if decision.tier is Tier.DUE else decision.tier),
        "reason": record.reason or None,
        "next_attempt_at": decision.until,
    }


def user_json(user: User) -> dict[str, Any]:
    return {
        "id": str(user.pk),
        "discord_id": str(user.discord_id) if user.discord_id else None,
        "username": user.discord_username or user.username,
        "global_name": user.global_name or None,
        "avatar": user.avatar or None,
    }
