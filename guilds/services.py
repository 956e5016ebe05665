"""The policy: which list a reader gets, and when Discord is asked for it.

`get_guild_list`      the list, young enough to be served, or why there is none
`refresh_guild_list`  the same, asked for now
`forget_user`         nothing of the person is left
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

import structlog
from django.conf import settings
from django.contrib.admin.models import LogEntry
from django.db import transaction
from django.db.models import F
from django.utils.functional import cached_property

from accounts import background, gate
from accounts.clock import database_now
from accounts.discord import (
    DiscordAPIError,
    DiscordUnavailable,
    MissingScope,
    RateLimited,
)
from accounts.models import DiscordAccount, Session, User
from accounts.tokens import ReconnectRequired, discord_client
from guilds.engine import freshness, metrics, refresh, waiting
from guilds.engine.freshness import Decision, Reason, Tier, Wait
from guilds.engine.metrics import Outcome
from guilds.models import GuildListVerification, UserGuildMembership
from guilds.resources.memberships import Membership, loads
from guilds.resources.snapshots import Snapshot, snapshot_of

__all__ = [
    "GuildList",
    "Membership",
    "RefreshTooSoon",
    "forget_user",
    "get_guild_list",
    "purge_memberships",
    "refresh_guild_list",
    "relink",
    "verify_again",
    "warm_up",
]

logger = structlog.get_logger(__name__)

# A demand for a younger list than this would ask Discord at every page view; its limit is about one a second.
YOUNGEST_DEMAND = timedelta(seconds=5)
# The log repeats a stale answer to one person for one cause at most this often; each is counted.
LOG_AGAIN_AFTER = 60.0
# A reader who finds no thread free for a refresh is told to come back then.
BUSY_PAUSE = timedelta(seconds=2)
LAST_READ_GRAIN = timedelta(hours=1)


@dataclass(frozen=True)
class GuildList:
    """The guilds one person is in, as Discord verified them at `verified_at`, ascending by id.

    `freshness` is "fresh" or "stale"; `age` is what it was when the list was read. `reason` says why a stale list
    isn't younger, `next_attempt_at` when Discord will be asked next, `is_asking` whether it is being asked right now.
    `waited_from` is what was found by a reader who then waited for Discord; None for one who didn't have to.
    `joined_count` and `left_count` are what changed at `changed_at`, the last time that a list brought something else.
    `preferences_tag` and `bot_tag` say which state of the person's preferences and of the bot's guilds belongs to it.
    """

    snapshot: Snapshot
    verified_at: datetime
    age: timedelta
    freshness: str
    reason: Reason | None
    next_attempt_at: datetime | None
    is_asking: bool = False
    waited_from: Tier | None = None
    changed_at: datetime | None = None
    joined_count: int = 0
    left_count: int = 0
    preferences_tag: int = 0
    bot_tag: int | None = None

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

    @property
    def is_stale(self) -> bool:
        return self.freshness == "stale"


def get_guild_list(user: User, max_age: timedelta | None = None, *, lazy: bool = False) -> GuildList:
    """The person's guilds, from the stored list, or from Discord where that is too old.

    `max_age` demands a list verified no longer ago than that (at least 5 s); it fails closed. Raises `RateLimited` or
    `DiscordUnavailable`, both with a true `retry_after`, when nothing may be served; `ReconnectRequired` or
    `MissingScope` when Discord refuses. `lazy` leaves the guilds unread until somebody looks at them, for those who may
    never have to.
    """
    guild_list = _read_with_user(user) if max_age is None else None
    if guild_list is None:
        wanted = None if max_age is None else max(max_age, YOUNGEST_DEMAND)
        guild_list = _read(user.pk, wanted, timeout=gate.attempt_budget().total_seconds())
    if not lazy:
        _ = guild_list.guilds_json
    return guild_list


def _read_with_user(user: User) -> GuildList | None:
    """The list by what was read with the person, where that is enough: nothing to ask, and something to serve."""
    read = refresh.taken_from(user)
    if read is None:
        return None
    record, now = read
    decision = freshness.decide(record, now, refresh.windows())
    if decision.ask or not decision.serve:
        return None
    return _serve(record, decision, now, decision.tier, waited=False)


def refresh_guild_list(user: User) -> GuildList:
    """The list as Discord has it now; waited for at most the soft wait. Raises as `get_guild_list` does.

    `RefreshTooSoon` within the cool-down after the last list.
    """
    record, now = refresh.read_record(user.pk)
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
    refresh.read_record(user_id)
    row = GuildListVerification.objects.filter(pk=user_id)
    row.update(generation=F("generation") + 1, lease_until=None)
    row.filter(reason__in=[reason for reason in Reason if reason.is_refusal]).update(reason="", not_before=None)


def warm_up(user_id: int) -> None:
    """Ask for the list at sign-in, waiting at most the soft wait; that it fails is the next page's business."""
    try:
        _read(user_id, timedelta(0), timeout=settings.DISCORD_REFRESH_WAIT_MS / 1000)
    except (DiscordAPIError, ReconnectRequired) as error:
        logger.info("guild_list_not_warm", user_id=user_id, why=type(error).__name__)


def forget_user(user: User) -> None:
    """Delete everything of the person, tokens and sessions included, in one transaction."""
    with transaction.atomic():
        # First, so that an answer in flight finds its claim gone and the lock order holds.
        GuildListVerification.objects.filter(pk=user.pk).update(generation=F("generation") + 1)
        UserGuildMembership.objects.filter(user_id=user.pk).delete()
        GuildListVerification.objects.filter(pk=user.pk).delete()
        DiscordAccount.objects.filter(user_id=user.pk).delete()
        Session.objects.filter(user_id=user.pk).delete()
        # What operators did about them stays on record, without their name.
        entries = LogEntry.objects.filter(content_type__app_label="accounts", content_type__model="user")
        entries.filter(object_id=str(user.pk)).update(object_repr=f"user {user.pk}")
        User.objects.filter(pk=user.pk).delete()
    logger.info("user_forgotten", user_id=user.pk)


def purge_memberships() -> tuple[int, int]:
    """Delete the lists that are past retention; how many people's, and how many memberships.

    One short transaction a person, the verification first, so that a sweep over many never holds up a refresh.
    """
    people = memberships = 0
    before = database_now() - timedelta(days=settings.DISCORD_MEMBERSHIP_RETENTION_DAYS)
    old = GuildListVerification.objects.filter(verified_at__lt=before, user__guild_memberships__isnull=False)
    for user_id in old.order_by("pk").values_list("pk", flat=True).distinct():
        with transaction.atomic():
            row = GuildListVerification.objects.filter(pk=user_id, verified_at__lt=before)
            if row.update(
                verified_at=None,
                refresh_after=None,
                generation=F("generation") + 1,
                version=F("version") + 1,
            ):
                deleted, _ = UserGuildMembership.objects.filter(user_id=user_id).delete()
                people, memberships = people + 1, memberships + deleted
    return people, memberships


def _read(
    user_id: int,
    max_age: timedelta | None,
    *,
    timeout: float,
    clock: Callable[[], float] = time.monotonic,
) -> GuildList:
    """Decide, act, and decide again on what came of it, until a list can be served or `timeout` seconds are over."""
    end = clock() + timeout
    windows = refresh.windows()
    wanted_since: datetime | None = None
    found: Tier | None = None
    waited = False
    while True:
        record, now = refresh.read_record(user_id)
        if max_age is not None and wanted_since is None:
            wanted_since = now - max_age
        decision = freshness.decide(record, now, windows, wanted_since=wanted_since)
        found = found or decision.tier
        if decision.claim:
            started = _start(record, now, decision)
            if started is None:
                continue
            decision = started
        if not decision.ask or decision.wait is Wait.NONE:
            return _serve(record, decision, now, found, waited=waited)
        left = end - clock()
        if decision.wait is Wait.SOFT:
            left = min(left, freshness.soft_wait_left(decision.until, now, windows).total_seconds())
        if left <= 0 or not waiting.wait_for_change(user_id, record.generation, left):
            return _serve(record, decision, now, found, waited=waited)
        waited = True


def _start(record: GuildListVerification, now: datetime, decision: Decision) -> Decision | None:
    """Start a refresh in the background, if the gate is open and a thread is free.

    Returns the changed decision; None if another reader claimed first.
    """
    if shut := gate.closed(decision.priority):
        return decision.not_now(shut.reason, shut.until)
    reservation = background.reserve()
    if reservation is None:
        return decision.not_now(decision.reason or Reason.BUSY, now + BUSY_PAUSE)
    client = discord_client()
    claimed = refresh.claim(record, now, decision, client)
    if claimed is None:
        reservation.give_back()
        return None
    waiting.announce(record.pk, reservation.start(partial(refresh.run, claimed, client), refresh.follow_up))
    record.generation = claimed.generation
    return decision.under_way(now + refresh.windows().lease)


def _serve(record: GuildListVerification, decision: Decision, now: datetime, found: Tier, *, waited: bool) -> GuildList:
    """The stored list as `decision` allows it, or the exception that says why not; counted by what was `found`."""
    if not decision.serve or record.verified_at is None:
        metrics.count_read(found, Outcome.REFUSED)
        raise _refusal(decision, now)
    stale = decision.tier is Tier.STALE
    served = GuildList(
        snapshot=snapshot_of(record),
        verified_at=record.verified_at,
        age=max(now - record.verified_at, timedelta(0)),
        freshness="stale" if stale else "fresh",
        reason=(decision.reason or Reason.BUSY) if stale else None,
        next_attempt_at=decision.until,
        is_asking=decision.reason is Reason.IN_PROGRESS
        or (record.lease_until is not None and record.lease_until > now),
        waited_from=found if waited else None,
        changed_at=record.changed_at,
        joined_count=record.joined_count,
        left_count=record.left_count,
        preferences_tag=record.preferences_tag,
        bot_tag=record.bot_tag,  # type: ignore[attr-defined]  # annotated by whoever reads a record
    )
    metrics.count_served(found, served.age, stale=stale, waited=waited)
    if stale:
        _log_stale(record.pk, served)
    if record.last_read_at is None or now - record.last_read_at >= LAST_READ_GRAIN:
        GuildListVerification.objects.filter(pk=record.pk).update(last_read_at=now)
    return served


def _refusal(decision: Decision, now: datetime) -> Exception:
    if decision.reason is Reason.RECONNECT_REQUIRED:
        return ReconnectRequired()
    if decision.reason is Reason.MISSING_SCOPE:
        return MissingScope(message="the person did not grant the scope guilds")
    reason = decision.reason or Reason.BUSY
    seconds = max((decision.until - now).total_seconds(), 0.0) if decision.until else BUSY_PAUSE.total_seconds()
    if reason is Reason.IN_PROGRESS:
        # The answer may be there long before the attempt must end, and asking us again costs Discord nothing.
        seconds = min(seconds, BUSY_PAUSE.total_seconds())
    error = RateLimited if reason.is_limit else DiscordUnavailable
    return error(message="there is no list that may be served", scope=str(reason), retry_after=seconds)


_logged: dict[tuple[int, str], float] = {}


def _log_stale(user_id: int, served: GuildList) -> None:
    cause, now = (user_id, str(served.reason)), time.monotonic()
    if now - _logged.get(cause, -LOG_AGAIN_AFTER) < LOG_AGAIN_AFTER:
        return
    if len(_logged) > 10_000:
        _logged.clear()
    _logged[cause] = now
    logger.warning(
        "serving_stale_guild_list",
        user_id=user_id,
        age_seconds=int(served.age.total_seconds()),
        reason=str(served.reason),
        next_attempt_at=served.next_attempt_at.isoformat() if served.next_attempt_at else None,
    )
