"""The member as a resource, by itself: its windows and limits, what it compares, and what a list says about it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db.models import F
from pytest_django import DjangoAssertNumQueries, Settings

from accounts import allowance, tokens
from accounts.clock import database_now
from accounts.discord import (
    DiscordClient,
    Guild,
    GuildPage,
    Member,
    PartialGuild,
    UnknownGuild,
    UnusableResponse,
)
from accounts.limits import Priority
from accounts.models import DiscordAllowance, User
from accounts.tokens import discord_client
from guilds import hooks
from guilds.engine.refusal import Refused
from guilds.engine.resource import Change, Claim
from guilds.engine.sweep import sweep
from guilds.hooks import MembershipChange, RolesChange
from guilds.models import BotGuild, GuildListVerification, GuildMember
from guilds.resources import bot_presence, member
from guilds.resources.guild_list import GUILD_LIST
from guilds.resources.member import MEMBER
from tests.guilds.rows import guild

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)
JOINED = datetime(2026, 3, 14, 15, 9, 26, 535897, tzinfo=UTC)
ANSWER = Member((5, 7), "Ada", JOINED, None, False)


@pytest.fixture
def ada() -> User:
    return User.objects.create_user(username="ada", discord_id=1)


def claimed_by(user: User, guild_id: int = 1) -> Claim[GuildMember]:
    record, now = MEMBER.read(user.pk, guild_id)
    return Claim(record, record.generation + 1, now, Priority.STALE, 0.0)


def stored(user: User, answer: Member | None, guild_id: int = 1) -> Change | None:
    """Store the answer and return its change."""
    change = MEMBER.compare(claimed_by(user, guild_id), answer)
    fields = dict(change.fields) if change else {}
    row = GuildMember.objects.filter(user=user, guild_id=guild_id)
    row.update(verified_at=database_now() - HOUR, **fields)
    return change


def row_of(user: User, guild_id: int = 1) -> GuildMember:
    return GuildMember.objects.get(user=user, guild_id=guild_id)


def bot_in(guild_id: int, **fields: Any) -> None:
    now = database_now()
    BotGuild.objects.create(id=guild_id, name="Chess", first_seen_at=now, verified_at=now, **fields)


# durations and limits


def test_the_windows_are_those_of_the_list() -> None:
    assert MEMBER.windows() == GUILD_LIST.windows()


@pytest.mark.parametrize(
    ("from_bot", "setting", "share"), [(True, 0.8, 0.2), (True, 0.1, 0.1), (False, 0.8, 0.8), (False, 0.6, 0.6)]
)
def test_the_bots_answers_are_due_early(settings: Settings, from_bot: bool, setting: float, share: float) -> None:
    settings.DISCORD_REFRESH_AT = setting
    record = GuildMember()
    record.from_bot = from_bot

    assert MEMBER.refresh_at(record) == share


def test_where_the_bot_is_its_own_limit_counts(ada: User) -> None:
    now = database_now()
    DiscordAllowance.objects.create(kind=allowance.MEMBER, owner=ada.pk, until=now + HOUR)
    DiscordAllowance.objects.create(kind=allowance.BOT_MEMBER, owner=2, until=now + 2 * HOUR)
    for guild_id in (1, 2, 3):
        MEMBER.read(ada.pk, guild_id)
    bot_in(1)
    bot_in(2)
    bot_in(3, deleted_at=now)

    held = [MEMBER.held_until(row_of(ada, guild_id), now, Priority.COLD) for guild_id in (1, 2, 3)]

    assert held == [None, now + 2 * HOUR, now + HOUR]


def test_a_site_without_a_bot_has_it_nowhere(settings: Settings) -> None:
    bot_in(1)
    assert bot_presence.bot_is_in(1)

    settings.DISCORD_BOT_TOKEN = ""

    assert not bot_presence.bot_is_in(1)


def test_a_person_is_never_asked_if_the_settings_say_so(ada: User, settings: Settings) -> None:
    record, _ = MEMBER.read(ada.pk, 1)
    # She has no tokens.
    with pytest.raises(tokens.ReconnectRequired):
        MEMBER.ask(record, discord_client())

    settings.DISCORD_MEMBER_SCOPE = "never"

    with pytest.raises(Refused, match="bot_absent"):
        MEMBER.ask(record, discord_client())


@pytest.mark.parametrize(
    ("reason", "scope", "with_bot", "over"),
    [
        ("missing_scope", "when_needed", False, False),
        ("missing_scope", "when_needed", True, True),
        ("bot_absent", "never", False, False),
        ("bot_absent", "never", True, True),
        ("bot_absent", "when_needed", False, True),
        ("reconnect_required", "when_needed", True, False),
    ],
)
def test_a_refusal_ends_with_its_cause(
    ada: User, settings: Settings, reason: str, scope: str, with_bot: bool, over: bool
) -> None:
    settings.DISCORD_MEMBER_SCOPE = scope
    if with_bot:
        bot_in(1)

    assert MEMBER.is_refusal_over(GuildMember(user=ada, guild_id=1, reason=reason)) is over


CHESS = PartialGuild(1, "Chess", None, False, 0, ())


class UnknowingClient(DiscordClient):
    """A client for which Discord calls the guild unknown."""

    listed: PartialGuild | None = None

    def get_guild_member(self, guild_id: int, user_id: int, bot_token: str) -> Member | None:
        raise UnknownGuild(status=404, code=10004)

    def get_bot_guild(self, guild_id: int, bot_token: str) -> PartialGuild | None:
        return self.listed


class ContradictoryClient(UnknowingClient):
    """Such a client, although the bot's own list has the guild."""

    listed = CHESS


def test_a_guild_that_is_called_unknown_is_one_that_the_bot_left(ada: User) -> None:
    bot_in(1)
    record, _ = MEMBER.read(ada.pk, 1)

    # She has no tokens, so that the attempt ends before it asks on her behalf.
    with pytest.raises(tokens.ReconnectRequired):
        MEMBER.ask(record, UnknowingClient())

    assert not record.from_bot
    assert not bot_presence.bot_is_in(1)


def test_unless_the_bots_own_list_has_it(ada: User) -> None:
    bot_in(1)
    record, _ = MEMBER.read(ada.pk, 1)

    with pytest.raises(UnusableResponse, match="called unknown"):
        MEMBER.ask(record, ContradictoryClient())

    assert bot_presence.bot_is_in(1)


# compare


def test_a_first_answer_is_a_change(ada: User) -> None:
    change = MEMBER.compare(claimed_by(ada), ANSWER)

    assert change
    assert change.fields == {
        "is_member": True,
        "roles": [5, 7],
        "nick": "Ada",
        "joined_at": JOINED,
        "timed_out_until": None,
        "pending": False,
    }
    assert change.follow_up is None


@pytest.mark.parametrize("answer", [ANSWER, None, replace(ANSWER, timed_out_until=JOINED, pending=True)])
def test_the_same_answer_is_no_change(ada: User, answer: Member | None) -> None:
    stored(ada, answer)

    assert MEMBER.compare(claimed_by(ada), answer) is None


@pytest.mark.parametrize(
    "answer",
    [
        None,
        replace(ANSWER, roles=(5,)),
        replace(ANSWER, nick=""),
        replace(ANSWER, joined_at=None),
        replace(ANSWER, timed_out_until=JOINED),
        replace(ANSWER, pending=True),
    ],
)
def test_each_difference_is_a_change_and_stored(ada: User, answer: Member | None) -> None:
    stored(ada, ANSWER)

    assert stored(ada, answer)

    row = row_of(ada)
    found = Member(tuple(row.roles), row.nick, row.joined_at, row.timed_out_until, row.pending)
    assert found == (answer or Member((), "", None, None, False))
    assert row.is_member is (answer is not None)


def told(change: Change | None) -> MembershipChange | None:
    """Return the change that the hooks receive."""
    if change is None or change.follow_up is None:
        return None
    follow_up: Any = change.follow_up
    assert follow_up.func == hooks.notify
    (said,) = follow_up.args
    assert isinstance(said, MembershipChange)
    return said


@pytest.mark.parametrize(
    ("before", "after", "added", "removed"),
    [
        ((5, 7), (7, 9, 8), (8, 9), (5,)),
        ((), (5,), (5,), ()),
        ((7, 5), None, (), (5, 7)),
        (None, (5,), (5,), ()),
    ],
)
def test_hooks_are_told_which_roles_changed(
    ada: User,
    settings: Settings,
    before: tuple[int, ...] | None,
    after: tuple[int, ...] | None,
    added: tuple[int, ...],
    removed: tuple[int, ...],
) -> None:
    settings.GUILDHALL_MEMBERSHIP_HOOKS = ["tests.nobody"]
    stored(ada, None if before is None else replace(ANSWER, roles=before))
    claim = claimed_by(ada)

    said = told(MEMBER.compare(claim, None if after is None else replace(ANSWER, roles=after)))

    assert said
    assert (said.user_id, said.at, said.roles) == (ada.pk, claim.at, (RolesChange(1, added, removed),))
    assert (said.joined, said.left, said.permissions, said.is_first) == ((), (), (), False)


def test_hooks_are_told_that_roles_are_the_first_known(ada: User, settings: Settings) -> None:
    settings.GUILDHALL_MEMBERSHIP_HOOKS = ["tests.nobody"]

    said = told(MEMBER.compare(claimed_by(ada), ANSWER))

    assert said
    assert (said.roles, said.is_first) == ((RolesChange(1, (5, 7), ()),), True)


@pytest.mark.parametrize("listens", [True, False])
def test_hooks_are_told_of_no_other_change(ada: User, settings: Settings, listens: bool) -> None:
    settings.GUILDHALL_MEMBERSHIP_HOOKS = ["tests.nobody"] if listens else []
    stored(ada, ANSWER)

    other = replace(ANSWER, nick="") if listens else replace(ANSWER, roles=())
    change = MEMBER.compare(claimed_by(ada), other)

    assert change
    assert change.follow_up is None


def test_a_nickname_that_is_too_long_is_cut(ada: User) -> None:
    stored(ada, replace(ANSWER, nick="n" * 65))

    assert row_of(ada).nick == "n" * 64


# what a list says


def list_of(user: User, *guilds: Guild) -> None:
    """Store the list as a refresh does."""
    record, now = GUILD_LIST.read(user.pk)
    change = GUILD_LIST.compare(Claim(record, record.generation + 1, now, Priority.STALE, 0.0), GuildPage(guilds))
    if change:
        change.write()
    GuildListVerification.objects.filter(pk=user.pk).update(verified_at=now)


def test_a_list_without_the_guild_ends_the_membership_at_once(ada: User) -> None:
    linus = User.objects.create_user(username="linus", discord_id=2)
    list_of(ada, guild(1), guild(2))
    for user, guild_id in ((ada, 1), (ada, 2), (linus, 1)):
        stored(user, ANSWER, guild_id)
    GuildMember.objects.update(lease_until=database_now() + HOUR, refresh_after=database_now() + HOUR)
    before = database_now()

    list_of(ada, guild(2))

    gone = row_of(ada)
    assert (gone.is_member, gone.roles, gone.nick, gone.joined_at) == (False, [], "", None)
    assert (gone.generation, gone.version, gone.lease_until, gone.refresh_after) == (1, 1, None, None)
    assert gone.verified_at
    assert gone.verified_at >= before - timedelta(milliseconds=1)
    assert gone.changed_at == gone.verified_at
    for other in (row_of(ada, 2), row_of(linus)):
        assert (other.is_member, other.generation, other.version) == (True, 0, 0)


def test_a_list_that_is_older_than_the_answer_changes_nothing(ada: User) -> None:
    stored(ada, ANSWER)
    stored(ada, None, guild_id=2)
    at = database_now() - 2 * HOUR

    member.list_says(ada.pk, joined=[2], left=[1], at=at)

    assert row_of(ada).is_member
    assert set(GuildMember.objects.values_list("generation", flat=True)) == {0}


def test_a_guild_that_is_joined_again_is_asked_about(ada: User) -> None:
    list_of(ada, guild(2))
    stored(ada, None)
    stored(ada, ANSWER, guild_id=3)
    stored(ada, None, guild_id=4)

    list_of(ada, guild(1), guild(2), guild(3))

    row = row_of(ada)
    assert (row.verified_at, row.is_member, row.generation, row.version) == (None, False, 1, 1)
    assert row_of(ada, 3).verified_at
    assert row_of(ada, 4).verified_at


def test_a_first_list_drops_no_first_answer_in_flight(ada: User) -> None:
    claimed = claimed_by(ada)
    GuildMember.objects.update(generation=F("generation") + 1)

    list_of(ada, guild(1))

    assert row_of(ada).generation == claimed.generation


def test_a_wait_survives_a_list(ada: User) -> None:
    stored(ada, ANSWER)
    later = database_now() + HOUR
    GuildMember.objects.update(reason="rate_limited", not_before=later, failure_streak=2)

    member.list_says(ada.pk, joined=[], left=[1], at=database_now())

    row = row_of(ada)
    assert (row.reason, row.not_before, row.failure_streak) == ("rate_limited", later, 2)


def test_a_list_says_it_in_one_statement(ada: User, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    now = database_now()

    with django_assert_num_queries(1):
        member.list_says(ada.pk, joined=[1, 2], left=[3], at=now)


# the sweep


@pytest.mark.parametrize(("sent", "asked"), [(2, 1), (3, 0)])
def test_the_sweep_leaves_two_of_the_persons_requests(ada: User, sent: int, asked: int) -> None:
    stored(ada, ANSWER)
    now = database_now()
    GuildMember.objects.update(verified_at=now - HOUR * 0.9, refresh_after=now - HOUR * 0.1, last_read_at=now)
    DiscordAllowance.objects.create(kind=allowance.MEMBER, owner=ada.pk, window_ends_at=now + HOUR / 20, sent=sent)

    done = sweep(MEMBER)

    # She has no tokens, so that no request is sent.
    assert (done.asked, done.skipped) == (asked, 1 - asked)
    assert row_of(ada).reason == ("reconnect_required" if asked else "")


# a bot that joins


@pytest.mark.parametrize(
    ("reason", "left"), [("missing_scope", ""), ("reconnect_required", ""), ("rate_limited", "rate_limited")]
)
def test_a_bot_that_joins_lifts_the_refusals_there(ada: User, reason: str, left: str) -> None:
    for guild_id in (1, 2):
        GuildMember.objects.create(user=ada, guild_id=guild_id, reason=reason)

    bot_presence.learn(1, CHESS, database_now())

    assert (row_of(ada).reason, row_of(ada).generation) == (left, 0 if left else 1)
    assert row_of(ada, 2).reason == reason
