"""The only way to a guild list: `claim`, `ask`, `store`; each at most one transaction, none open during the call.

A claim is a compare-and-swap on the verification's `generation`, and so is the store: whatever happened to the row in
between (a takeover, a sign-in, a disconnect, a deletion) has counted it up, and the late answer is dropped.
All moments come in as `now`, read from the database by whoever calls.
"""

import random
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial

import structlog
from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.db.models import DateTimeField, ExpressionWrapper, F, Subquery

from accounts import gate, tokens
from accounts.clock import Now, database_now
from accounts.compiled import CompiledQuery
from accounts.discord import (
    DiscordAPIError,
    DiscordClient,
    Forbidden,
    Guild,
    MissingScope,
    RateLimited,
    Unauthorized,
)
from accounts.limits import GateShut, Priority
from accounts.models import User
from accounts.tokens import ReconnectRequired, TokensReplaced
from guilds import hooks
from guilds.engine import metrics
from guilds.engine.freshness import Decision, Reason, Windows, refresh_moment, retry_pause
from guilds.engine.metrics import Lease
from guilds.hooks import MembershipChange, PermissionsChange
from guilds.models import BotPresence, GuildListVerification, UserGuildMembership

logger = structlog.get_logger(__name__)

LIMITS = {"global": Reason.GLOBAL_LIMIT, "cloudflare": Reason.CLOUDFLARE}
# Without it a reader whose place in the send budget is milliseconds away would claim again and again.
MIN_PAUSE = timedelta(seconds=1)
# What a page shows beside the list follows from it too, and shall cost no query to know.
BOT_TAG = Subquery(BotPresence.objects.filter(pk=1).values("tag"))
MEMBERSHIP_FIELDS = ("name", "icon", "banner", "owner", "permissions", "features")


def windows() -> Windows:
    return Windows(
        fresh=timedelta(minutes=settings.DISCORD_GUILD_CACHE_FRESH_MINUTES),
        stale=timedelta(hours=settings.DISCORD_GUILD_CACHE_STALE_HOURS),
        soft_wait=timedelta(milliseconds=settings.DISCORD_REFRESH_WAIT_MS),
        lease=gate.attempt_lease(),
    )


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to ask Discord for one person's list until the lease ends or somebody counts the generation up."""

    user_id: int
    generation: int
    at: datetime
    streak: int
    priority: Priority
    deadline: float = field(compare=False)
    is_first: bool


@dataclass(frozen=True, slots=True)
class Verified:
    """Discord's complete list; `change` is how it differs from the one before, once it is stored."""

    guilds: tuple[Guild, ...]
    change: MembershipChange | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """Discord gave no list. `retry_after` in seconds, if it is known; `sent` is False where we didn't even ask."""

    reason: Reason
    retry_after: float | None = None
    sent: bool = True


Outcome = Verified | Failed


class Fenced(Exception):
    """The claim isn't ours any more."""


def read_record(user_id: int) -> tuple[GuildListVerification, datetime]:
    """The person's verification and the database's present moment, in one query; the row is made if it is missing.

    Raises `ReconnectRequired` for somebody who was forgotten while they read: whoever it is has to sign in again.
    """
    rows = GuildListVerification.objects.annotate(now=Now(), bot_tag=BOT_TAG).filter(pk=user_id)
    record = rows.first()
    if record is None:
        with suppress(IntegrityError):
            GuildListVerification.objects.bulk_create([GuildListVerification(user_id=user_id)], ignore_conflicts=True)
        record = rows.first()
    if record is None:
        raise ReconnectRequired
    return record, record.now


# Long enough to get from the session to the view; whoever holds a person for longer reads anew.
READ_WITH_USER_SECONDS = 1.0
_READ_WITH_USER = "_verification_read_with_user"
USER_FIELDS = [field.attname for field in User._meta.concrete_fields]
RECORD_FIELDS = [field.attname for field in GuildListVerification._meta.concrete_fields]
_user_with_record = CompiledQuery(
    lambda user_id: User.objects.filter(pk=user_id, is_active=True).values_list(
        *USER_FIELDS, *(f"guild_list_verification__{name}" for name in RECORD_FIELDS), Now(), BOT_TAG
    )
)


def user_with_record(user_id: int, clock: Callable[[], float] = time.monotonic) -> User | None:
    """The person together with their verification and the database's present moment, in one query."""
    rows = _user_with_record.rows(user_id)
    if not rows:
        return None
    (*values, now, bot_tag) = rows[0]
    user = User.from_db(connection.alias, USER_FIELDS, values[: len(USER_FIELDS)])
    record = GuildListVerification.from_db(connection.alias, RECORD_FIELDS, values[len(USER_FIELDS) :])
    if record.pk is not None:
        record.bot_tag = bot_tag  # type: ignore[attr-defined]  # as `read_record` annotates it
        # Not as `user.guild_list_verification`: what a request does to the row must show there.
        setattr(user, _READ_WITH_USER, (record, now, clock()))
    return user


def taken_from(
    user: User, clock: Callable[[], float] = time.monotonic
) -> tuple[GuildListVerification, datetime] | None:
    """What `user_with_record` read, once and only a moment later; None if there is nothing, or nothing any more."""
    read = getattr(user, _READ_WITH_USER, None)
    if read is None:
        return None
    # Not by `__dict__`: the session's person comes wrapped in a lazy object, which has one of its own.
    setattr(user, _READ_WITH_USER, None)
    record, now, read_at = read
    return (record, now) if clock() - read_at <= READ_WITH_USER_SECONDS else None


def claim(record: GuildListVerification, now: datetime, decision: Decision, client: DiscordClient) -> Claim | None:
    """Take the lease on `record` as it was read; None if somebody was quicker.

    The deadline runs from before the claim, so that the lease outlives the attempt whatever the database took; and the
    lease from the claim itself, not from `now`, because a process may be stopped between reading and claiming.
    """
    deadline = client.clock() + client.budget
    won = GuildListVerification.objects.filter(pk=record.pk, generation=record.generation).update(
        lease_until=ExpressionWrapper(Now() + windows().lease, DateTimeField()), generation=record.generation + 1
    )
    if not won:
        metrics.count_lease(Lease.LOST)
        return None
    metrics.count_lease(Lease.TAKEN_OVER if record.lease_until else Lease.WON)
    return Claim(
        record.pk,
        record.generation + 1,
        now,
        record.failure_streak,
        decision.priority,
        deadline,
        is_first=record.verified_at is None,
    )


def ask(claimed: Claim, client: DiscordClient) -> Outcome:
    """Ask Discord. Raises `Fenced` if the claim is found lost, `TokensReplaced` if the person has newer tokens."""
    client = gate.gated(
        replace(client, deadline=claimed.deadline), claimed.priority, still_mine=partial(_assert_mine, claimed)
    )
    try:
        return Verified(tuple(tokens.call(claimed.user_id, "guilds", client, client.get_user_guilds)))
    except (ReconnectRequired, Unauthorized):
        return Failed(Reason.RECONNECT_REQUIRED)
    except MissingScope:
        return Failed(Reason.MISSING_SCOPE)
    except GateShut as shut:
        return Failed(shut.reason, shut.retry_after, sent=shut.sent)
    except RateLimited as error:
        return Failed(LIMITS.get(error.scope or "", Reason.RATE_LIMITED), error.retry_after)
    except Forbidden as error:
        if error.scope == "cloudflare":
            return Failed(Reason.CLOUDFLARE, error.retry_after)
        return Failed(Reason.RECONNECT_REQUIRED)
    except DiscordAPIError as error:
        logger.warning("discord_unavailable", user_id=claimed.user_id, status=error.status, error=str(error))
        return Failed(Reason.UNAVAILABLE, error.retry_after)


def _assert_mine(claimed: Claim) -> None:
    if not GuildListVerification.objects.filter(pk=claimed.user_id, generation=claimed.generation).exists():
        raise Fenced


def store(claimed: Claim, answer: Outcome, now: datetime) -> Outcome:
    """Write the answer down and release the lease. Returns the answer, with the change that it brought.

    Raises `Fenced`, with nothing written, if the claim isn't ours any more.
    """
    if isinstance(answer, Verified):
        answer = replace(answer, change=_store_list(claimed, answer.guilds))
        metrics.count_refresh("verified")
    else:
        _store_failure(claimed, answer, now)
        metrics.count_refresh(answer.reason)
    return answer


def _store_failure(claimed: Claim, failed: Failed, now: datetime) -> None:
    if failed.reason.is_refusal:
        not_before, streak = None, claimed.streak
    elif failed.sent:
        jitter = random.uniform(1, 1.25)
        not_before, streak = now + retry_pause(claimed.streak, failed.retry_after, jitter), claimed.streak + 1
    else:
        not_before, streak = now + max(timedelta(seconds=failed.retry_after or 0), MIN_PAUSE), claimed.streak
    logger.warning(
        "guild_list_refresh_failed", user_id=claimed.user_id, reason=str(failed.reason), not_before=str(not_before)
    )
    if not _release(claimed, not_before=not_before, reason=failed.reason, failure_streak=streak):
        raise Fenced


def _store_list(claimed: Claim, guilds: Iterable[Guild]) -> MembershipChange:
    wanted = {guild.id: guild for guild in guilds}
    # Read before the transaction: whoever changes these rows counts the generation up first, and then the release
    # below matches nothing.
    before = {row.guild_id: row for row in UserGuildMembership.objects.filter(user_id=claimed.user_id)}
    changed = [
        row
        for guild_id, guild in sorted(wanted.items())
        if (row := _membership(claimed, guild, before.get(guild_id))) is not None
    ]
    gone = before.keys() - wanted.keys()
    jitter = random.uniform(0.9, 1.1)
    fields: dict[str, object] = {
        "verified_at": claimed.at,
        "refresh_after": refresh_moment(claimed.at, windows(), settings.DISCORD_REFRESH_AT, jitter),
        "not_before": None,
        "reason": "",
        "failure_streak": 0,
    }
    if changed or gone:
        joined = sum(row.guild_id not in before for row in changed)
        fields |= {"version": F("version") + 1, "changed_at": claimed.at}
        fields |= {"joined_count": joined, "left_count": len(gone)}
    with transaction.atomic():
        if not _release(claimed, **fields):
            raise Fenced
        if changed:
            UserGuildMembership.objects.bulk_create(
                changed,
                update_conflicts=True,
                unique_fields=["user", "guild_id"],
                update_fields=[*MEMBERSHIP_FIELDS, "changed_at"],
            )
        if gone:
            UserGuildMembership.objects.filter(user_id=claimed.user_id, guild_id__in=gone).delete()
    return _difference(claimed, before, changed, gone)


def _difference(
    claimed: Claim,
    before: Mapping[int, UserGuildMembership],
    changed: Iterable[UserGuildMembership],
    gone: Iterable[int],
) -> MembershipChange:
    pairs = [(before.get(row.guild_id), row) for row in changed]
    return MembershipChange(
        claimed.user_id,
        claimed.at,
        joined=tuple(row.guild_id for old, row in pairs if old is None),
        left=tuple(sorted(gone)),
        permissions=tuple(
            PermissionsChange(row.guild_id, old.permissions, row.permissions, old.owner, row.owner)
            for old, row in pairs
            if old and (old.permissions, old.owner) != (row.permissions, row.owner)
        ),
        is_first=claimed.is_first,
    )


def _release(claimed: Claim, **fields: object) -> bool:
    return bool(
        GuildListVerification.objects.filter(pk=claimed.user_id, generation=claimed.generation).update(
            lease_until=None, generation=claimed.generation + 1, **fields
        )
    )


def _membership(claimed: Claim, guild: Guild, before: UserGuildMembership | None) -> UserGuildMembership | None:
    """The row for `guild`, or None if the stored one says the same already."""
    values = {
        # Discord's own limits are well below these; a longer one must not cost the whole list.
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
        user_id=claimed.user_id, guild_id=guild.id, first_seen_at=claimed.at, changed_at=claimed.at, **values
    )


def run(claimed: Claim, client: DiscordClient) -> Outcome | None:
    """Ask and store: the job of a background thread. Returns what was stored; None if the claim was lost meanwhile."""
    try:
        return store(claimed, _ask_or_fail(claimed, client), database_now())
    except (Fenced, TokensReplaced):
        # Another attempt's newer tokens don't count the generation up: the claim is still ours, and released.
        _release(claimed)
        metrics.count_lease(Lease.FENCED)
        logger.warning("guild_list_answer_fenced", user_id=claimed.user_id, generation=claimed.generation)
        return None


def _ask_or_fail(claimed: Claim, client: DiscordClient) -> Outcome:
    """`ask`, in which a fault of ours counts as Discord's silence: it must not become a hot loop."""
    try:
        return ask(claimed, client)
    except (Fenced, TokensReplaced):
        raise
    except Exception:
        logger.exception("guild_list_refresh_crashed", user_id=claimed.user_id)
        return Failed(Reason.UNAVAILABLE)


def follow_up(outcome: Outcome | None) -> Callable[[], object] | None:
    """What remains to do once those who wait for the list have it: the hooks, if there is something to tell them."""
    if isinstance(outcome, Verified) and outcome.change and settings.GUILDHALL_MEMBERSHIP_HOOKS:
        return partial(hooks.notify, outcome.change)
    return None
