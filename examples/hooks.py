"""Counts who came and left, as the site learns of it: `GUILDHALL_MEMBERSHIP_HOOKS` names `count`."""

from django.db.models import F

from guilds.hooks import MembershipChange

from .models import Traffic


def count(change: MembershipChange) -> None:
    """Everybody's first list is all `joined`: they came to this site's knowledge."""
    for name, guild_ids in (("joined", change.joined), ("left", change.left)):
        for guild_id in guild_ids:
            row, _made = Traffic.objects.get_or_create(guild_id=guild_id, day=change.at.date())
            Traffic.objects.filter(pk=row.pk).update(**{name: F(name) + 1})
