"""The API's JSON for lists, roles, channels and people. For a guild it is `Membership.as_json`."""

from datetime import datetime
from typing import Any

from accounts.models import User
from guilds.engine import freshness
from guilds.engine.freshness import Tier
from guilds.engine.policy import Served
from guilds.engine.records import Record
from guilds.services import Directory, GuildMembership


def freshness_json(served: Served) -> dict[str, Any]:
    """Return the freshness. The age in seconds is only in `Age`, because it would change the body each time."""
    return {
        "verified_at": served.verified_at,
        "freshness": served.freshness,
        "reason": served.reason,
        "next_attempt_at": served.next_attempt_at,
    }


def stored_freshness_json(record: Record, now: datetime) -> dict[str, Any]:
    """Return the freshness of the stored answer even if it may not be served; it can also be "expired" or "none"."""
    decision = freshness.decide(record, now, record.resource.windows())
    return {
        "verified_at": record.verified_at,
        "freshness": str(Tier.FRESH if decision.tier is Tier.DUE else decision.tier),
        "reason": record.reason or None,
        "next_attempt_at": decision.until,
    }


def member_json(member: GuildMembership) -> dict[str, Any]:
    return {
        "roles": [str(role) for role in sorted(member.roles)],
        "nick": member.nick or None,
        "joined_at": member.joined_at,
        "timed_out_until": member.timed_out_until,
        "pending": member.pending,
    }


def roles_json(directory: Directory) -> list[dict[str, Any]]:
    assignable = {role.id for role in directory.assignable_roles}
    return [
        {
            "id": str(role.id),
            "name": role.name,
            "color": role.color,
            "position": role.position,
            "permissions": str(role.permissions),
            "managed": role.managed,
            "assignable": role.id in assignable,
        }
        for role in directory.roles
    ]


def channels_json(directory: Directory) -> list[dict[str, Any]]:
    return [
        {
            "id": str(channel.id),
            "name": channel.name,
            "type": channel.kind,
            "position": channel.position,
            "parent_id": str(channel.parent_id) if channel.parent_id else None,
            "bot_permissions": str(directory.bot_permissions(channel)),
        }
        for channel in directory.channels
    ]


def user_json(user: User) -> dict[str, Any]:
    return {
        "id": str(user.pk),
        "discord_id": str(user.discord_id) if user.discord_id else None,
        "username": user.discord_username or user.username,
        "global_name": user.global_name or None,
        "avatar": user.avatar or None,
    }
