"""Guild lists for pages, the API and operators. When Discord is asked is decided in `guilds.engine.policy`.

`get_guild_list`      the list, young enough to be served, or why there is none
`refresh_guild_list`  the same, asked for now
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta

import structlog
from django.conf import settings
from django.db.models import F
from django.utils.functional import cached_property

from accounts import gate
from accounts.models import User
from guilds.engine import policy
from guilds.engine.freshness import Reason
from guilds.engine.policy import Reading, Served
from guilds.engine.refusal import NoAnswer
from guilds.models import GuildListVerification
from guilds.resources.guild_list import GUILD_LIST, Tags, pop_preloaded, tags_of
from guilds.resources.memberships import Membership, loads
from guilds.resources.snapshots import Snapshot, snapshot_of

__all__ = [
    "GuildList",
    "Membership",
    "NoAnswer",
    "Reason",
    "RefreshTooSoon",
    "get_guild_list",
    "refresh_guild_list",
    "relink",
    "verify_again",
    "warm_up",
]

logger = structlog.get_logger(__name__)

# A demand for a younger list than this would ask Discord at every page view; its limit is about one a second.
YOUNGEST_DEMAND = timedelta(seconds=5)


@dataclass(frozen=True, kw_only=True)
class GuildList(Served):
    """The guilds that one person is in, ascending by id.

    `joined_count` and `left_count` are what changed at `changed_at`, the last time that a list brought something else.
    """

    snapshot: Snapshot
    joined_count: int = 0
    left_count: int = 0
    tags: Tags = field(default_factory=Tags)

    @property
    def version(self) -> int:
        return self.snapshot.version

    @cached_property
    def guilds_json(self) -> bytes:
        """The guilds as the API shows them, a JSON array."""
        return self.snapshot.read()

    @cached_property
    def memberships(self) -> tuple[Membership, ...]:
        return loads(self.guilds_json)

    def __iter__(self) -> Iterator[Membership]:
        return iter(self.memberships)

    def __len__(self) -> int:
        return len(self.memberships)

    @cached_property
    def _by_id(self) -> dict[str, Membership]:
        return {str(membership.guild_id): membership for membership in self.memberships}

    def get(self, guild_id: int | str) -> Membership | None:
        """The person's membership in one guild; None if they aren't in it. The one door to a guild's pages.

        Ids are numbers here and strings at Discord, in forms and in JSON. A string that is none is an id of no guild.
        """
        return self._by_id.get(str(guild_id))

    @property
    def manageable(self) -> tuple[Membership, ...]:
        return tuple(membership for membership in self.memberships if membership.can_manage)


def get_guild_list(user: User, max_age: timedelta | None = None, *, lazy: bool = False) -> GuildList:
    """The person's guilds, from the stored list, or from Discord where that is too old.

    `max_age` demands a list verified no longer ago than that (at least 5 s); it fails closed. Raises `NoAnswer` when no
    list may be served: `reason` says why, and `retry_after` is true. `lazy` leaves the guilds unread until somebody
    looks at them, for those who may never have to.
    """
    guild_list = _look(user) if max_age is None else None
    if guild_list is None:
        wanted = None if max_age is None else max(max_age, YOUNGEST_DEMAND)
        guild_list = _read(user.pk, wanted, timeout=gate.attempt_budget().total_seconds())
    if not lazy:
        _ = guild_list.guilds_json
    return guild_list


def _look(user: User) -> GuildList | None:
    """The list by the record that was read with the person, if that is enough."""
    preloaded = pop_preloaded(user)
    if preloaded is None:
        return None
    reading = policy.look(preloaded.record, preloaded.now)
    return None if reading is None else _guild_list(reading)


def _read(
    user_id: int, max_age: timedelta | None, *, timeout: float, clock: Callable[[], float] = time.monotonic
) -> GuildList:
    return _guild_list(policy.read(GUILD_LIST, user_id, max_age=max_age, timeout=timeout, clock=clock))


def _guild_list(reading: Reading[GuildListVerification]) -> GuildList:
    record = reading.record
    return GuildList.of(
        reading,
        snapshot=snapshot_of(record),
        joined_count=record.joined_count,
        left_count=record.left_count,
        tags=tags_of(record),
    )


def refresh_guild_list(user: User) -> GuildList:
    """The list as Discord has it now; waited for at most the soft wait. Raises as `get_guild_list` does.

    `RefreshTooSoon` within the cool-down after the last list.
    """
    record, now = GUILD_LIST.read(user.pk)
    if record.verified_at and now < record.verified_at + manual_refresh_pause():
        raise RefreshTooSoon((record.verified_at + manual_refresh_pause() - now).total_seconds())
    return _read(user.pk, YOUNGEST_DEMAND, timeout=settings.DISCORD_REFRESH_WAIT_MS / 1000)


def verify_again(user: User) -> GuildList:
    """`refresh_guild_list` for operators, who have no cool-down."""
    return _read(user.pk, YOUNGEST_DEMAND, timeout=settings.DISCORD_REFRESH_WAIT_MS / 1000)


class RefreshTooSoon(Exception):
    """Somebody asked for a refresh within the cool-down; `retry_after` in seconds."""

    def __init__(self, retry_after: float) -> None:
        super().__init__("the list was refreshed a moment ago")
        self.retry_after = retry_after


def manual_refresh_pause() -> timedelta:
    """How long after a list "refresh now" has to wait."""
    return timedelta(seconds=settings.DISCORD_MANUAL_REFRESH_SECONDS)


def relink(user_id: int) -> None:
    """After a sign-in: what is in flight was asked with older tokens, and a refusal of those counts no more.

    A wait that Discord named stays: its limit belongs to the person, not to the token.
    """
    GUILD_LIST.read(user_id)
    row = GuildListVerification.objects.filter(pk=user_id)
    row.update(generation=F("generation") + 1, lease_until=None)
    row.filter(reason__in=[reason for reason in Reason if reason.is_refusal]).update(reason="", not_before=None)


def warm_up(user_id: int) -> None:
    """Ask for the list at sign-in, waiting at most the soft wait; that it fails is the next page's business."""
    try:
        _read(user_id, timedelta(0), timeout=settings.DISCORD_REFRESH_WAIT_MS / 1000)
    except NoAnswer as error:
        logger.info("guild_list_not_warm", user_id=user_id, why=str(error.reason))
