"""Counts people who joined and left each server. Put `count` in `GUILDHALL_MEMBERSHIP_HOOKS`."""

from django.db.models import F

from guilds.hooks import MembershipChange

from .models import Traffic


def count(change: MembershipChange) -> None:
    """Count the change. In a person's first list every server counts as joined."""
    for name, guild_ids in (("joined", change.joined), ("left", change.left)):
        for guild_id in guild_ids:
            row, _made = Traffic.objects.get_or_create(guild_id=guild_id, day=change.at.date())
            Traffic.objects.filter(pk=row.pk).update(**{name: F(name) + 1})
