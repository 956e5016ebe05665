"""Writes the servers' logs."""

from collections.abc import Iterable

from guilds.hooks import MembershipChange, on_membership_change

from .models import Entry


@on_membership_change
def log(change: MembershipChange) -> None:
    if change.is_first:  # they may have been there for years
        return

    def entries(event: Entry.Event, guild_ids: Iterable[int]) -> list[Entry]:
        return [Entry(guild_id=each, person_id=change.user_id, event=event, at=change.at) for each in guild_ids]

    demoted = set(change.lost("manage_guild")).difference(change.left)
    Entry.objects.bulk_create(
        [
            *entries(Entry.Event.JOINED, change.joined),
            *entries(Entry.Event.LEFT, change.left),
            *entries(Entry.Event.DEMOTED, demoted),
        ]
    )
