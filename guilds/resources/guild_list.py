"""One person's guild list: requested with the person's own token and stored as one row per guild."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import ClassVar

from django.conf import settings
from django.db.models import Case, OuterRef, Q, QuerySet, Subquery, When
from django.db.models.expressions import Combinable

from accounts import tokens
from accounts.clock import Now
from accounts.discord import DiscordClient, Guild, GuildPage
from guilds import hooks
from guilds.engine.freshness import Windows
from guilds.engine.refresh import Fenced
from guilds.engine.resource import Change, Claim, Resource, windows_of_settings
from guilds.hooks import MembershipChange, PermissionsChange, Rights
from guilds.models import BotGuilds, GuildListVerification, UserGuildMembership
from guilds.resources import member

SCOPE = "guilds"
MEMBERSHIP_FIELDS = ("name", "icon", "banner", "owner", "permissions", "features")


class GuildListResource(Resource[GuildListVerification, GuildPage[Guild]]):
    """The resource for the list of guilds that a person is in."""

    name = "guild_list"
    key = ("user_id",)
    # The cached extras of the list depend on the bot's guilds, and reading their state must not cost a separate query.
    # They are due at the end of a wait, or else when the last list says; at once if there was none.
    beside: ClassVar[Mapping[str, Combinable]] = {
        "bot_tag": Subquery(BotGuilds.objects.filter(pk=1).values("tag")),
        "bot_due_at": Subquery(
            BotGuilds.objects.filter(pk=1).values_list(
                Case(When(BotGuilds.pausing(Now()), then="not_before"), default="refresh_after")
            )
        ),
    }

    def windows(self) -> Windows:
        return windows_of_settings()

    def refresh_at(self, record: GuildListVerification) -> float:
        share: float = settings.DISCORD_REFRESH_AT
        return share

    def rows_of(self, record: int | OuterRef) -> QuerySet[UserGuildMembership]:
        return UserGuildMembership.objects.filter(user_id=record)

    def ask(self, record: GuildListVerification, client: DiscordClient) -> GuildPage[Guild]:
        return tokens.call(record.user_id, SCOPE, client, client.get_user_guilds)

    def compare(self, claimed: Claim[GuildListVerification], value: GuildPage[Guild]) -> Change | None:
        """Return what the readable entries change. An unreadable entry leaves the stored row of its guild as it is.

        An entry without an id can be any of the stored guilds, so such a list deletes no rows: a membership that ended
        stays until the next complete list, whereas one deleted by mistake would lock the person out at once.
        """
        user_id = claimed.record.user_id
        before = {row.guild_id: row for row in UserGuildMembership.objects.filter(user_id=user_id)}
        changed = [
            row for guild in value.guilds if (row := _membership(claimed, guild, before.get(guild.id))) is not None
        ]
        gone = set() if value.without_id else before.keys() - value.ids
        if not changed and not gone:
            return None
        return _change(claimed, before, changed, gone)


def without(guild_id: int, claimed: Claim[GuildListVerification]) -> Change | None:
    """Return what changes in the list when the person leaves one guild.

    None if the list doesn't have it, or if a later event showed the person there. Writing the change raises `Fenced` if
    such an event was stored since.
    """
    rows = _unconfirmed(claimed.record.user_id, guild_id, claimed.at)
    before = {row.guild_id: row for row in rows}
    if not before:
        return None
    change = _change(claimed, before, [], before)

    def write() -> None:
        if not rows.select_for_update().exists():
            raise Fenced
        change.write()

    return replace(change, write=write)


def confirm(user_id: int, guild_id: int, at: datetime) -> None:
    """Store that an event of the moment `at` showed the person in the guild, if the list has it.

    An earlier event that says that the person left can still arrive, and must not end the membership.
    """
    _unconfirmed(user_id, guild_id, at).update(confirmed_at=at)


def _unconfirmed(user_id: int, guild_id: int, at: datetime) -> QuerySet[UserGuildMembership]:
    """Return the membership, unless an event of the moment `at` or later confirmed it."""
    earlier = Q(confirmed_at=None) | Q(confirmed_at__lt=at)
    return UserGuildMembership.objects.filter(earlier, user_id=user_id, guild_id=guild_id)


def _change(
    claimed: Claim[GuildListVerification],
    before: Mapping[int, UserGuildMembership],
    changed: list[UserGuildMembership],
    gone: Iterable[int],
) -> Change:
    change = _difference(claimed, before, changed, gone)
    return Change(
        fields={"joined_count": len(change.joined), "left_count": len(change.left)},
        write=partial(_write, change, changed),
        follow_up=hooks.follow_up(change),
    )


def _write(change: MembershipChange, changed: list[UserGuildMembership]) -> None:
    if changed:
        UserGuildMembership.objects.bulk_create(
            changed,
            update_conflicts=True,
            unique_fields=["user", "guild_id"],
            update_fields=[*MEMBERSHIP_FIELDS, "changed_at"],
        )
    if change.left:
        UserGuildMembership.objects.filter(user_id=change.user_id, guild_id__in=change.left).delete()
    if change.joined or change.left:
        member.list_says(change.user_id, joined=change.joined, left=change.left, at=change.at)


def _difference(
    claimed: Claim[GuildListVerification],
    before: Mapping[int, UserGuildMembership],
    changed: Iterable[UserGuildMembership],
    gone: Iterable[int],
) -> MembershipChange:
    pairs = [(before.get(row.guild_id), row) for row in changed]
    gone = sorted(gone)
    return MembershipChange(
        claimed.record.user_id,
        claimed.at,
        joined=tuple(row.guild_id for old, row in pairs if old is None),
        left=tuple(gone),
        permissions=tuple(
            PermissionsChange(row.guild_id, old.permissions, row.permissions, old.owner, row.owner)
            for old, row in pairs
            if old and (old.permissions, old.owner) != (row.permissions, row.owner)
        ),
        is_first=claimed.record.verified_at is None,
        before={
            row.guild_id: _rights(row) for row in (*(old for old, _ in pairs if old), *(before[pk] for pk in gone))
        },
        after={row.guild_id: _rights(row) for _, row in pairs},
    )


def _rights(row: UserGuildMembership) -> Rights:
    return Rights(row.permissions, row.owner)


def _membership(
    claimed: Claim[GuildListVerification], guild: Guild, before: UserGuildMembership | None
) -> UserGuildMembership | None:
    """Return the new row for `guild`; None if the stored row is already equal."""
    values = {
        # Discord's limits are well below these. A longer value is cut, so that it does not make the whole list fail.
        "name": guild.name[:100],
        "icon": (guild.icon or "")[:64],
        "banner": (guild.banner or "")[:64],
        "owner": guild.owner,
        "permissions": int(guild.permissions),
        "features": list(guild.features),
    }
    if before and all(getattr(before, name) == value for name, value in values.items()):
        return None
    return UserGuildMembership(
        user_id=claimed.record.user_id, guild_id=guild.id, first_seen_at=claimed.at, changed_at=claimed.at, **values
    )


GUILD_LIST = GuildListResource(GuildListVerification)


@dataclass(frozen=True, slots=True)
class Tags:
    """Version tags of the person's preferences and of the bot's guilds, read with a list. Parts of cache keys."""

    preferences: int = 0
    bot: int | None = None


def tags_of(record: GuildListVerification) -> Tags:
    return Tags(record.preferences_tag, record.bot_tag)
