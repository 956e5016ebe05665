"""News from Discord: how they are stored beside the answers to requests, and what each of the bot's events means."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import permutations
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.db import connection
from pytest_django import DjangoAssertNumQueries, Settings

from accounts.clock import database_now
from accounts.discord import GuildPage, Member, PartialGuild
from accounts.limits import Priority, Reason
from accounts.models import User
from accounts.tokens import discord_client
from guilds import news, services
from guilds.engine import freshness, refresh
from guilds.engine.freshness import Order, Tier
from guilds.engine.refresh import Failed, Fenced, Verified
from guilds.engine.resource import Claim
from guilds.hooks import MembershipChange, RolesChange
from guilds.models import BotGuild, BotGuilds, GuildDirectory, GuildListVerification, GuildMember
from guilds.news import Event
from guilds.resources import guild_list
from guilds.resources.bot_guilds import ALL_GUILDS, BOT_GUILDS
from guilds.resources.bot_presence import bot_is_in
from guilds.resources.directory import DIRECTORY
from guilds.resources.guild_list import GUILD_LIST
from guilds.resources.member import MEMBER
from tests.guilds.rows import guild
from tests.guilds.test_refresh import counted
from tests.guilds.test_writers import at_once

pytestmark = pytest.mark.django_db

GUILD = 1
SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)
OLD = Member((5,), "Ada", None, None, False)
NEW = replace(OLD, roles=(7,))


@pytest.fixture
def ada() -> User:
    return User.objects.create_user(username="ada", discord_id=11)


def stored(user: User, member: Member | None = OLD, *, age: timedelta = HOUR / 2, **fields: Any) -> datetime:
    """Store the member as verified that long ago, with `fields`. Returns the database's time."""
    record, now = MEMBER.read(user.pk, GUILD)
    change = MEMBER.compare(Claim(record, 0, now, Priority.STALE, 0.0), member)
    row = GuildMember.objects.filter(pk=record.pk)
    times = {"verified_at": now - age, "refresh_after": now + HOUR}
    row.update(**times, **(change.fields if change else {}), **fields)
    return now


def row_of(user: User) -> GuildMember:
    return GuildMember.objects.get(user=user, guild_id=GUILD)


def claimed(user: User) -> Claim[GuildMember]:
    """A claim on the member's record, whatever its age."""
    record, now = MEMBER.read(user.pk, GUILD)
    decision = freshness.decide(record, now, MEMBER.windows(), wanted_since=now)
    claim = refresh.claim(record, now, decision, discord_client())
    assert claim
    return claim


def push(user: User, member: Member | None = NEW, at: datetime | None = None, *, create: bool = False) -> bool:
    return refresh.push(MEMBER, user.pk, GUILD, value=member, at=at or database_now(), create=create)


# push


def test_a_push_is_stored_like_an_answer_of_the_moment_it_arrived(ada: User) -> None:
    at = stored(ada, version=3, generation=4)
    before = counted("guildhall_refreshes", "pushed", "member")

    assert push(ada, NEW, at)

    row = row_of(ada)
    assert (row.roles, row.is_member, row.verified_at, row.changed_at) == ([7], True, at, at)
    assert (row.version, row.generation) == (4, 5)
    assert row.refresh_after
    # Like an answer that the bot was given, and sooner than it would have been without the news.
    assert HOUR * 0.18 <= row.refresh_after - at <= HOUR * 0.22
    assert counted("guildhall_refreshes", "pushed", "member") == before + 1


def test_a_push_of_what_is_stored_verifies_it(ada: User) -> None:
    at = stored(ada, version=3)

    assert push(ada, OLD, at)

    row = row_of(ada)
    assert (row.verified_at, row.version, row.changed_at) == (at, 3, None)


@pytest.mark.parametrize(
    ("member", "later"), [(NEW, freshness.MAX_SKEW), (OLD, SECOND), (OLD, timedelta(0))], ids=["clear", "same", "again"]
)
def test_a_push_that_is_older_than_the_answer_or_agrees_changes_nothing(
    ada: User, member: Member, later: timedelta
) -> None:
    stored(ada)
    before = GuildMember.objects.values().get()
    assert before["verified_at"]

    assert not push(ada, member, before["verified_at"] - later)

    assert GuildMember.objects.values().get() == before


@pytest.mark.parametrize("later", [timedelta(0), SECOND])
def test_a_push_that_contradicts_an_answer_of_about_its_moment_makes_it_due(ada: User, later: timedelta) -> None:
    stored(ada)
    before = row_of(ada)
    assert before.verified_at

    assert not push(ada, NEW, before.verified_at - later)

    row, now = MEMBER.read(ada.pk, GUILD)
    assert (row.roles, row.verified_at, row.generation) == ([5], before.verified_at, before.generation + 1)
    assert freshness.tier(row, now, MEMBER.windows()) is Tier.DUE


def test_a_push_from_a_clock_that_is_ahead_is_of_now(ada: User) -> None:
    stored(ada)

    assert push(ada, NEW, database_now() + HOUR)

    verified_at = row_of(ada).verified_at
    assert verified_at
    assert verified_at <= database_now()


@pytest.mark.parametrize("reason", ["rate_limited", "unavailable"])
def test_a_push_while_limited_keeps_the_wait(ada: User, reason: str) -> None:
    now = stored(ada)
    claim = claimed(ada)
    failed = Failed(Reason(reason), 200)
    refresh.store(claim, failed, now)
    before = row_of(ada)

    assert push(ada)

    row = row_of(ada)
    assert row.roles == [7]
    assert (row.reason, row.not_before, row.failure_streak) == (reason, now + timedelta(seconds=200), 1)
    assert row.silent_at == before.silent_at


def test_a_push_ends_a_refusal(ada: User) -> None:
    stored(ada, reason="missing_scope")

    assert push(ada)

    assert services.get_member(ada, GUILD).roles == {7}


def test_a_push_creates_a_record_only_if_told_to(ada: User) -> None:
    assert not push(ada)
    assert not GuildMember.objects.exists()

    assert push(ada, create=True)

    assert row_of(ada).roles == [7]


def test_a_push_lengthens_no_window(ada: User) -> None:
    """Without more news, the answer becomes stale and expires as any other."""
    at = stored(ada)
    push(ada, NEW, at)

    row, windows = row_of(ada), MEMBER.windows()

    assert freshness.tier(row, at + windows.fresh, windows) is Tier.STALE
    assert freshness.tier(row, at + windows.stale, windows) is Tier.EXPIRED


# what is in flight, and other writers


def test_a_push_drops_the_answer_that_is_in_flight(ada: User) -> None:
    stored(ada)
    claim = claimed(ada)

    assert push(ada)

    assert row_of(ada).lease_until is None
    with pytest.raises(Fenced):
        refresh.store(claim, Verified(OLD), database_now())
    assert row_of(ada).roles == [7]


@pytest.mark.parametrize(("newer", "roles"), [(False, [7]), (True, [5])])
def test_a_push_that_an_answer_overtakes_is_judged_again(
    ada: User, monkeypatch: pytest.MonkeyPatch, newer: bool, roles: list[int]
) -> None:
    stored(ada)
    claim, at = claimed(ada), database_now()
    claim = replace(claim, at=at + freshness.MAX_SKEW if newer else at - SECOND)
    compare, compared = MEMBER.compare, []

    def overtaken(news: Claim[GuildMember], value: Member | None) -> Any:
        compared.append(value)
        if len(compared) == 1:
            refresh.store(claim, Verified(OLD), database_now())
        return compare(news, value)

    monkeypatch.setattr(MEMBER, "compare", overtaken)
    monkeypatch.setattr(MEMBER, "find", clock_ahead(MEMBER.find))

    assert push(ada, NEW, at) is not newer

    assert row_of(ada).roles == roles
    assert compared == ([NEW, OLD] if newer else [NEW, OLD, NEW])


def clock_ahead(find: Callable[..., Any]) -> Callable[..., Any]:
    """`find` a moment later, so that an answer can be newer than the news."""

    def later(*key: int) -> Any:
        record, now = find(*key)
        return record, now + HOUR

    return later


@pytest.mark.django_db(transaction=True)
def test_of_many_pushes_at_once_the_latest_stays(ada: User) -> None:
    now = stored(ada)
    pushes = [
        partial(push, ada, replace(OLD, roles=(number,)), now - freshness.MAX_SKEW * (60 - number))
        for number in range(1, 41)
    ]

    kept = at_once([*pushes[::2], *pushes[1::2]])

    row = row_of(ada)
    assert (row.roles, row.verified_at) == ([40], now - freshness.MAX_SKEW * 20)
    # Each that was kept counted the generation up once.
    assert row.generation == kept.count(True)


@pytest.mark.django_db(transaction=True)
def test_pushes_and_answers_at_once_leave_the_newest(ada: User) -> None:
    now = stored(ada)
    claim = replace(claimed(ada), at=now - SECOND * 30)

    def answer() -> bool:
        try:
            refresh.store(claim, Verified(OLD), database_now())
        except Fenced:
            return False
        return True

    at_once([answer, *(partial(push, ada, NEW, now - SECOND * number) for number in range(20))])

    row = row_of(ada)
    assert (row.roles, row.verified_at) == ([7], now)


def test_a_push_of_a_list_writes_its_rows(ada: User) -> None:
    page = GuildPage((guild(GUILD),))

    assert refresh.push(GUILD_LIST, ada.pk, value=page, at=database_now(), create=True)

    assert [row.guild_id for row in ada.guild_memberships.all()] == [GUILD]


told: list[MembershipChange] = []
in_transaction: list[bool] = []


def remember(change: MembershipChange) -> None:
    in_transaction.append(connection.in_atomic_block)
    told.append(change)


@pytest.mark.django_db(transaction=True)
def test_hooks_are_told_of_pushed_roles_after_the_commit(ada: User, settings: Settings) -> None:
    settings.GUILDHALL_MEMBERSHIP_HOOKS = [f"{__name__}.remember"]
    told.clear()
    in_transaction.clear()
    at = stored(ada)

    push(ada, NEW, at)
    push(ada, NEW, at)

    assert [(change.user_id, change.at, change.roles) for change in told] == [
        (ada.pk, at, (RolesChange(GUILD, (7,), (5,)),))
    ]
    assert in_transaction == [False]


# expire


def test_an_expired_record_is_due_and_what_is_in_flight_is_dropped(ada: User) -> None:
    at = stored(ada, reason="rate_limited", not_before=database_now() + HOUR, failure_streak=2)
    claim = claimed_despite_a_wait(ada)
    before = row_of(ada)

    assert refresh.expire(MEMBER, ada.pk, GUILD, at=at)

    row = row_of(ada)
    assert (row.refresh_after, row.lease_until, row.generation) == (at, None, before.generation + 1)
    assert freshness.tier(row, at, MEMBER.windows()) is Tier.DUE
    assert (row.roles, row.version, row.verified_at) == ([5], before.version, before.verified_at)
    assert (row.reason, row.not_before, row.failure_streak) == ("rate_limited", before.not_before, 2)
    with pytest.raises(Fenced):
        refresh.store(claim, Verified(OLD), database_now())


def claimed_despite_a_wait(user: User) -> Claim[GuildMember]:
    GuildMember.objects.update(lease_until=database_now() + SECOND)
    record, now = MEMBER.read(user.pk, GUILD)
    return Claim(record, record.generation, now, Priority.STALE, 0.0)


def test_an_answer_that_is_clearly_later_does_not_expire(ada: User) -> None:
    stored(ada)
    before = row_of(ada)
    assert before.verified_at

    assert not refresh.expire(MEMBER, ada.pk, GUILD, at=before.verified_at - freshness.MAX_SKEW)

    assert (row_of(ada).refresh_after, row_of(ada).generation) == (before.refresh_after, before.generation)


def test_what_is_due_already_is_not_written_again(ada: User) -> None:
    at = stored(ada)
    assert refresh.expire(MEMBER, ada.pk, GUILD, at=at)

    assert not refresh.expire(MEMBER, ada.pk, GUILD, at=at + SECOND)

    assert row_of(ada).generation == 1


def test_a_record_that_nobody_asked_for_does_not_expire(ada: User) -> None:
    assert not refresh.expire(MEMBER, ada.pk, GUILD, at=database_now())
    assert not GuildMember.objects.exists()


def test_half_a_key_expires_nothing(ada: User) -> None:
    """It would fit all of the person's records."""
    stored(ada)
    before = row_of(ada).generation

    with pytest.raises(ValueError, match="argument 2 is shorter"):
        refresh.expire(MEMBER, ada.pk, at=database_now())

    assert row_of(ada).generation == before


# clocks

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("at", "verified_at", "order"),
    [
        (0, None, Order.LATER),
        (0, -60, Order.LATER),
        (0, -0.000001, Order.LATER),
        (0, 0, Order.UNCLEAR),
        (0, 4.999999, Order.UNCLEAR),
        (0, 5, Order.EARLIER),
        (0, 60, Order.EARLIER),
    ],
)
def test_whether_news_or_an_answer_is_later(at: float, verified_at: float | None, order: Order) -> None:
    answered = None if verified_at is None else NOW + verified_at * SECOND

    assert freshness.order(NOW + at * SECOND, answered) is order


YEARS = 3e11 / 5


@pytest.mark.parametrize(
    ("moments", "sent_at", "placed"),
    [
        ([], None, []),
        # Without `sent_at`, the clock counts as right, unless it is ahead.
        ([-60, -1], None, [(-60, True), (-1, True)]),
        ([-1, -1], None, [(-1.000001, True), (-1, True)]),
        ([-1, 20, 21], None, [(-1, True), (-0.000001, False), (0, False)]),
        # A clock that is ahead.
        ([19, 21], 22, [(-3, True), (-1, True)]),
        ([19, 23], 22, [(-3, True), (0, False)]),
        # One that is behind, or a request that was on its way for long.
        ([-5, -4], -3, [(-2, True), (-1, True)]),
        ([-3605, -3601], -3600, [(-5, False), (-1, False)]),
        # Clocks that aren't set at all.
        ([-YEARS], YEARS, [(-365 * 86400, True)]),
        ([YEARS], -YEARS, [(0, False)]),
    ],
)
def test_moments_of_the_bots_clock_by_that_of_the_site(
    moments: list[float], sent_at: float | None, placed: list[tuple[float, bool]]
) -> None:
    sent = None if sent_at is None else NOW + sent_at * SECOND

    found = news.by_site_clock([NOW + moment * SECOND for moment in moments], NOW, sent)

    assert [((at - NOW) / SECOND, is_certain) for at, is_certain in found] == placed


def test_a_moment_at_the_end_of_all_dates_counts_as_now() -> None:
    first, last = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)

    assert news.by_site_clock([last], NOW, first) == [(NOW, False)]


# the events


def listed(user: User) -> GuildListVerification:
    """Store a fresh list of the person."""
    _, now = GUILD_LIST.read(user.pk)
    GuildListVerification.objects.filter(pk=user.pk).update(verified_at=now - HOUR / 2, refresh_after=now + HOUR)
    return GuildListVerification.objects.get(pk=user.pk)


def is_due(user: User) -> bool:
    record, now = GUILD_LIST.read(user.pk)
    return freshness.tier(record, now, GUILD_LIST.windows()) is Tier.DUE


def test_a_changed_member_is_stored(ada: User) -> None:
    listed(ada)
    at = stored(ada)

    news.member_changed(ada.pk, GUILD, replace(OLD, nick="Countess"), at)

    assert row_of(ada).nick == "Countess"
    assert not is_due(ada)


def test_changed_roles_are_stored_and_the_list_is_due_for_their_permissions(ada: User) -> None:
    listed(ada)
    at = stored(ada)

    news.member_changed(ada.pk, GUILD, NEW, at)

    assert row_of(ada).roles == [7]
    assert is_due(ada)


def test_a_change_of_a_member_whose_roles_are_unknown_makes_the_list_due(ada: User) -> None:
    listed(ada)

    news.member_changed(ada.pk, GUILD, NEW, database_now())

    assert is_due(ada)


def test_a_member_who_left_has_no_roles_at_once_and_their_list_is_due(ada: User) -> None:
    listed(ada)
    at = stored(ada)

    news.member_left(ada.pk, GUILD, at)

    member = services.get_member(ada, GUILD)
    assert (member.is_member, member.roles, member.verified_at) == (False, frozenset(), at)
    assert is_due(ada)


def with_memberships(user: User) -> datetime:
    """Store a fresh list of two guilds. Returns the database's time."""
    record, now = GUILD_LIST.read(user.pk)
    claim = Claim(record, record.generation, now - HOUR / 2, Priority.DUE, 0.0)
    refresh.store(claim, Verified(GuildPage((guild(GUILD), guild(2)))), now)
    return now


def listed_ids(user: User) -> list[int]:
    """The guilds of the stored list. Unlike `guild_ids`, it doesn't ask Discord for a list that is due."""
    return list(user.guild_memberships.values_list("guild_id", flat=True))


def guild_ids(user: User) -> list[int]:
    return [membership.guild_id for membership in services.get_guild_list(user)]


@pytest.mark.django_db(transaction=True)
def test_a_membership_ends_at_once_and_hooks_are_told(ada: User, settings: Settings) -> None:
    at = with_memberships(ada)
    settings.GUILDHALL_MEMBERSHIP_HOOKS = [f"{__name__}.remember"]
    told.clear()
    before = GUILD_LIST.read(ada.pk)[0]

    news.member_left(ada.pk, GUILD, at)
    news.member_left(ada.pk, GUILD, at)

    record = GUILD_LIST.read(ada.pk)[0]
    assert list(ada.guild_memberships.values_list("guild_id", flat=True)) == [2]
    assert (record.verified_at, record.version, record.changed_at) == (before.verified_at, before.version + 1, at)
    assert (record.left_count, record.joined_count) == (1, 0)
    assert [(change.left, change.at) for change in told] == [((GUILD,), at)]
    assert is_due(ada)


def test_an_answer_that_is_in_flight_when_a_membership_ends_is_dropped(ada: User) -> None:
    at = with_memberships(ada)
    record, now = GUILD_LIST.read(ada.pk)
    claim = Claim(record, record.generation, now - SECOND, Priority.DUE, 0.0)

    news.member_left(ada.pk, GUILD, at)

    with pytest.raises(Fenced):
        refresh.store(claim, Verified(GuildPage((guild(GUILD), guild(2)))), now)


def test_that_a_person_left_drops_no_first_list_in_flight(ada: User) -> None:
    GUILD_LIST.read(ada.pk)
    before = GuildListVerification.objects.values().get()

    news.member_left(ada.pk, GUILD, database_now())

    assert GuildListVerification.objects.values().get() == before


def test_a_membership_that_a_later_list_or_later_news_confirmed_stays(ada: User) -> None:
    at = with_memberships(ada)
    stored(ada, age=HOUR / 4)
    listed_at = GUILD_LIST.read(ada.pk)[0].verified_at
    assert listed_at

    news.member_left(ada.pk, 2, listed_at - freshness.MAX_SKEW)
    news.member_left(ada.pk, GUILD, at - HOUR / 3)

    assert row_of(ada).is_member
    assert list(ada.guild_memberships.values_list("guild_id", flat=True)) == [GUILD, 2]


@pytest.mark.parametrize("has_record", [True, False], ids=["record", "no record"])
def test_that_a_person_left_at_about_the_moment_of_an_answer_makes_their_list_due(ada: User, has_record: bool) -> None:
    """The clock of the bot may be behind, so that the news is the later one."""
    now = with_memberships(ada)
    GuildListVerification.objects.update(verified_at=now)
    if has_record:
        stored(ada, age=timedelta(0))

    news.member_left(ada.pk, GUILD, now - 3 * SECOND)

    assert is_due(ada)
    assert listed_ids(ada) == [GUILD, 2]
    if has_record:
        record, now = MEMBER.read(ada.pk, GUILD)
        assert freshness.tier(record, now, MEMBER.windows()) is Tier.DUE


# Each is checked after every event, so the orders of two and of three are among their beginnings.
ORDERS = list(permutations(range(4)))


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: "".join(map(str, order)))
@pytest.mark.parametrize("has_record", [True, False], ids=["record", "no record"])
def test_events_in_any_order_over_batches_leave_what_the_last_one_says(
    ada: User, has_record: bool, order: tuple[int, ...]
) -> None:
    now = with_memberships(ada)
    if has_record:
        stored(ada)
    kinds = ("GUILD_MEMBER_REMOVE", "GUILD_MEMBER_ADD", "GUILD_MEMBER_REMOVE", "GUILD_MEMBER_UPDATE")
    about = partial(Event, guild_id=GUILD, user_id=11)
    events = [
        about(type=kind, at=now - (9 - number) * SECOND, member=replace(OLD, roles=(number,)))
        for number, kind in enumerate(kinds)
    ]
    latest, is_listed = -1, True

    for number in order:
        news.receive([events[number]])

        latest = max(latest, number)
        has_left = kinds[latest] == "GUILD_MEMBER_REMOVE"
        # News that a person joined don't tell enough of the server to show it: the list has it again once it is read.
        is_listed = is_listed and not has_left
        assert listed_ids(ada) == ([GUILD, 2] if is_listed else [2])
        assert is_due(ada)
        if has_record:
            row = row_of(ada)
            assert (row.is_member, row.roles) == (not has_left, [] if has_left else [latest])


@pytest.mark.django_db(transaction=True)
def test_a_membership_that_is_confirmed_while_late_news_end_it_stays(
    ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = with_memberships(ada)
    compare = guild_list.without

    def overtaken(guild_id: int, claim: Claim[GuildListVerification]) -> Any:
        change = compare(guild_id, claim)
        guild_list.confirm(ada.pk, GUILD, at)
        return change

    monkeypatch.setattr(guild_list, "without", overtaken)

    news.member_left(ada.pk, GUILD, at - SECOND)

    assert listed_ids(ada) == [GUILD, 2]


def test_a_member_who_joined_is_stored_and_their_list_is_due(ada: User) -> None:
    listed(ada)
    at = stored(ada, None)

    news.member_joined(ada.pk, GUILD, NEW, at)

    assert services.get_member(ada, GUILD).roles == {7}
    assert is_due(ada)


@pytest.mark.parametrize("kind", ["GUILD_MEMBER_UPDATE", "GUILD_MEMBER_ADD", "GUILD_MEMBER_REMOVE"])
def test_news_about_somebody_else_cost_one_query(
    ada: User, kind: str, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    at = stored(ada)
    event = Event(type=kind, at=at, guild_id=GUILD, user_id=12, member=NEW)

    # And the database's time for the batch.
    with django_assert_num_queries(2):
        news.receive([event, event])

    assert row_of(ada).roles == [5]


def test_news_create_no_record(ada: User) -> None:
    at = database_now()

    news.member_changed(ada.pk, GUILD, NEW, at)
    news.member_left(ada.pk, GUILD, at)
    news.directory_changed(GUILD, at)
    news.after_gap(at)

    assert not GuildMember.objects.exists()
    assert not GuildDirectory.objects.exists()
    assert not GuildListVerification.objects.exists()


def directory(guild_id: int) -> GuildDirectory:
    _, now = DIRECTORY.read(guild_id)
    row = GuildDirectory.objects.filter(pk=guild_id)
    row.update(verified_at=now - HOUR / 2, refresh_after=now + HOUR)
    return row.get()


def test_a_changed_directory_is_due() -> None:
    before = [directory(GUILD), directory(2)]
    at = database_now()

    news.directory_changed(GUILD, at)

    assert GuildDirectory.objects.get(pk=GUILD).refresh_after == at
    assert GuildDirectory.objects.get(pk=2).refresh_after == before[1].refresh_after


def test_a_guild_of_the_bot_comes_changes_and_goes() -> None:
    at = database_now()

    news.guild_changed(PartialGuild(GUILD, "Chess", None, permissions=8), at - HOUR)
    news.guild_changed(PartialGuild(GUILD, "Go", None, permissions=16), at)
    news.bot_left(GUILD, at - SECOND)

    row = BotGuild.objects.get()
    assert (row.name, row.permissions, row.deleted_at, row.verified_at) == ("Go", 16, None, at)

    news.bot_left(GUILD, at + SECOND)

    assert BotGuild.objects.get().deleted_at == at + SECOND


PRESENCE_KINDS = ("GUILD_DELETE", "GUILD_CREATE", "GUILD_DELETE", "GUILD_UPDATE")


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: "".join(map(str, order)))
@pytest.mark.parametrize("was_stored", [True, False], ids=["stored", "new"])
def test_the_bots_presence_is_as_the_last_event_says_in_any_order_over_batches(
    was_stored: bool, order: tuple[int, ...]
) -> None:
    now, same = database_now(), PartialGuild(GUILD, "Chess", None)
    if was_stored:
        news.guild_changed(same, now - HOUR)
    events = [
        Event(type=kind, at=now - (9 - number) * SECOND, guild_id=GUILD, guild=same)
        for number, kind in enumerate(PRESENCE_KINDS)
    ]

    for position, number in enumerate(order):
        news.receive([events[number]])

        row, latest = BotGuild.objects.get(), max(order[: position + 1])
        assert (row.deleted_at is not None) == (PRESENCE_KINDS[latest] == "GUILD_DELETE")
        assert row.verified_at == events[latest].at


def listed_by_the_bot(at: datetime, *guilds: PartialGuild) -> None:
    assert refresh.push(BOT_GUILDS, ALL_GUILDS, value=GuildPage(guilds), at=at, create=True)


def test_late_news_end_no_presence_that_a_list_confirmed() -> None:
    now, same = database_now(), PartialGuild(GUILD, "Chess", None)
    news.guild_changed(same, now - HOUR)
    listed_by_the_bot(now - SECOND, same)

    news.bot_left(GUILD, now - 2 * SECOND)
    assert bot_is_in(GUILD)

    news.bot_left(GUILD, now)
    assert not bot_is_in(GUILD)


def test_late_news_add_no_guild_that_a_list_lacks() -> None:
    now, same = database_now(), PartialGuild(GUILD, "Chess", None)
    listed_by_the_bot(now - SECOND)

    news.guild_changed(same, now - 2 * SECOND)
    assert not bot_is_in(GUILD)

    news.guild_changed(same, now)
    assert bot_is_in(GUILD)


def test_news_without_a_change_keep_what_was_derived_from_the_bots_guilds() -> None:
    now, same = database_now(), PartialGuild(GUILD, "Chess", None)
    news.guild_changed(same, now - HOUR)
    tag = BotGuilds.objects.get().tag

    news.guild_changed(same, now)

    assert BotGuilds.objects.get().tag == tag


@pytest.mark.parametrize(("later", "is_due"), [(3 * SECOND, True), (freshness.MAX_SKEW, False)])
def test_that_the_bot_left_at_about_the_moment_of_an_answer_makes_its_list_due(later: timedelta, is_due: bool) -> None:
    _, now = BOT_GUILDS.read(ALL_GUILDS)
    BotGuilds.objects.update(verified_at=now, refresh_after=now + HOUR)
    news.guild_changed(PartialGuild(GUILD, "Chess", None), now)

    news.bot_left(GUILD, now - later)

    assert BotGuild.objects.get().deleted_at is None
    assert (BotGuilds.objects.get().refresh_after == now - later) is is_due


def test_after_a_gap_everything_of_the_bots_guilds_is_due(ada: User) -> None:
    assert django_settings.DISCORD_BOT_TOKEN
    linus = User.objects.create_user(username="linus", discord_id=12)
    news.guild_changed(PartialGuild(GUILD, "Chess", None), database_now() - HOUR)
    BOT_GUILDS.read(ALL_GUILDS)
    BotGuilds.objects.update(verified_at=database_now() - HOUR / 2, refresh_after=database_now() + HOUR)
    stored(ada)
    stored(linus)
    GuildMember.objects.filter(user=linus).update(guild_id=2)
    directory(GUILD)
    directory(2)
    at = database_now()

    news.after_gap(at)

    assert row_of(ada).refresh_after == at
    assert BotGuilds.objects.get().refresh_after == at
    assert GuildDirectory.objects.get(pk=GUILD).refresh_after == at
    # Where the bot isn't, it has missed nothing.
    assert GuildMember.objects.get(user=linus).generation == 0
    assert GuildDirectory.objects.get(pk=2).generation == 0
