"""What pages, sign-ins and operators ask of the services; `policy.read` is faked where they ask. No sandbox."""

import time
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from pytest_django import DjangoAssertNumQueries, Settings

from accounts.clock import database_now
from accounts.models import DiscordAccount, Session, User
from guilds import personal_data, services
from guilds.engine import policy
from guilds.engine.freshness import Reason, Tier, decide
from guilds.engine.policy import Reading
from guilds.engine.refusal import NoAnswer
from guilds.models import BotPresence, GuildListVerification, UserGuildMembership
from guilds.resources.guild_list import GUILD_LIST, Tags, user_with_record
from guilds.resources.snapshots import Snapshot
from guilds.services import RefreshTooSoon

pytestmark = pytest.mark.django_db

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
NOW = datetime.fromisoformat("2026-03-14T15:09:26+00:00")


@pytest.fixture
def ada() -> User:
    return User.objects.create_user(username="ada", discord_id=1)


def stored(user: User, age: timedelta | None = None, **fields: Any) -> datetime:
    """Store a record of that age with `fields`; the database's time."""
    now = GUILD_LIST.read(user.pk)[1]
    if age is not None:
        fields = {"verified_at": now - age, "refresh_after": now - age + timedelta(minutes=48)} | fields
    GuildListVerification.objects.filter(pk=user.pk).update(**fields)
    return now


def row_of(user: User) -> GuildListVerification:
    return GuildListVerification.objects.get(pk=user.pk)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """The calls of `policy.read`: person, age, timeout. Each finds a list verified just now."""
    calls: list[tuple[Any, ...]] = []

    def note(
        resource: object, user_id: int, *, max_age: timedelta | None, timeout: float, clock: object
    ) -> Reading[GuildListVerification]:
        assert (resource, clock) == (GUILD_LIST, time.monotonic)
        calls.append((user_id, max_age, timeout))
        record = GuildListVerification(pk=user_id, verified_at=NOW, last_read_at=NOW)
        return Reading(record, decide(record, NOW, GUILD_LIST.windows()), NOW, Tier.FRESH)

    monkeypatch.setattr(policy, "read", note)
    return calls


@pytest.mark.parametrize(
    ("max_age", "wanted"),
    [(None, None), (timedelta(0), 5 * SECOND), (5 * SECOND, 5 * SECOND), (6 * SECOND, 6 * SECOND)],
)
def test_nobody_may_demand_a_list_younger_than_five_seconds(
    ada: User, asked: list[Any], max_age: timedelta | None, wanted: timedelta | None
) -> None:
    services.get_guild_list(ada, max_age)

    assert asked == [(ada.pk, wanted, 6.5)]


def test_the_guilds_are_read_at_once_unless_the_reader_is_lazy(
    ada: User, asked: list[Any], django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    lazy = services.get_guild_list(ada, lazy=True)
    eager = services.get_guild_list(ada)

    assert "guilds_json" not in vars(lazy)
    with django_assert_num_queries(0):
        assert len(eager) == 0


def test_a_list_says_what_its_record_says(ada: User) -> None:
    now = stored(ada, timedelta(minutes=10), version=4, joined_count=2, left_count=3, preferences_tag=5)
    GuildListVerification.objects.update(changed_at=now - HOUR)
    BotPresence.objects.update_or_create(pk=1, defaults={"tag": 7})

    found = services.get_guild_list(ada)

    assert (found.verified_at, found.changed_at) == (now - timedelta(minutes=10), now - HOUR)
    assert (found.snapshot, found.version) == (Snapshot(ada.pk, 4, now - HOUR), 4)
    assert (found.joined_count, found.left_count, found.tags) == (2, 3, Tags(preferences=5, bot=7))


def test_a_list_finds_its_guilds_by_id(ada: User) -> None:
    stored(ada, timedelta(minutes=10))
    for number in (1, 2):
        membership(ada, number)

    found = services.get_guild_list(ada)

    assert [guild.guild_id for guild in found] == [1, 2]
    assert [getattr(found.get(key), "guild_id", None) for key in (2, "1", 3, "x")] == [2, 1, None, None]


def with_record(user: User) -> User:
    found = user_with_record(user.pk)
    assert found
    return found


def test_a_fresh_list_that_was_read_with_the_person_is_not_read_again(ada: User, asked: list[Any]) -> None:
    stored(ada, timedelta(minutes=10))

    found = services.get_guild_list(with_record(ada))

    assert asked == []
    assert (found.freshness, found.next_attempt_at) == ("fresh", row_of(ada).refresh_after)


def test_a_stale_list_that_may_not_be_refreshed_is_served_from_there_too(ada: User, asked: list[Any]) -> None:
    now = stored(ada, 5 * HOUR, reason="rate_limited")
    GuildListVerification.objects.update(not_before=now + HOUR)

    assert services.get_guild_list(with_record(ada)).reason is Reason.RATE_LIMITED
    assert asked == []


@pytest.mark.parametrize(
    ("age", "reason"), [(timedelta(minutes=50), ""), (5 * HOUR, ""), (30 * HOUR, ""), (5 * HOUR, "missing_scope")]
)
def test_every_other_list_is_read_again(ada: User, asked: list[Any], age: timedelta, reason: str) -> None:
    stored(ada, age, reason=reason)

    services.get_guild_list(with_record(ada))

    assert asked == [(ada.pk, None, 6.5)]


def test_a_demand_is_never_met_by_what_was_read_with_the_person(ada: User, asked: list[Any]) -> None:
    stored(ada, timedelta(minutes=10))

    services.get_guild_list(with_record(ada), HOUR)

    assert asked == [(ada.pk, HOUR, 6.5)]


def test_refreshing_waits_for_a_minute_since_the_last_list(
    ada: User, asked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = stored(ada, timedelta(0))
    GuildListVerification.objects.update(verified_at=now)
    record = GUILD_LIST.read(ada.pk)[0]

    monkeypatch.setattr(GUILD_LIST, "read", lambda user_id: (record, now + 59 * SECOND))
    with pytest.raises(RefreshTooSoon) as error:
        services.refresh_guild_list(ada)
    assert (error.value.retry_after, str(error.value)) == (1.0, "the list was refreshed a moment ago")
    assert asked == []

    monkeypatch.setattr(GUILD_LIST, "read", lambda user_id: (record, now + 60 * SECOND))
    services.refresh_guild_list(ada)
    assert asked == [(ada.pk, 5 * SECOND, 6.0)]


def test_operators_refresh_whenever_they_want_and_the_first_list_has_no_pause(ada: User, asked: list[Any]) -> None:
    services.refresh_guild_list(ada)
    stored(ada, timedelta(0))
    services.verify_again(ada)

    assert asked == [(ada.pk, 5 * SECOND, 6.0)] * 2


def test_a_sign_in_warms_the_list_up(ada: User, asked: list[Any]) -> None:
    services.warm_up(ada.pk)

    assert asked == [(ada.pk, timedelta(0), 6.0)]


@pytest.mark.parametrize("reason", list(Reason))
def test_a_sign_in_does_not_fail_with_the_list(ada: User, monkeypatch: pytest.MonkeyPatch, reason: Reason) -> None:
    def fail(*_: object, **__: object) -> None:
        raise NoAnswer("guild_list", reason)

    monkeypatch.setattr(policy, "read", fail)

    services.warm_up(ada.pk)


# after a sign-in


@pytest.mark.parametrize(
    ("reason", "left", "waits"),
    [("reconnect_required", "", False), ("missing_scope", "", False), ("rate_limited", "rate_limited", True)],
)
def test_a_sign_in_ends_what_runs_and_a_refusal_but_no_limit(ada: User, reason: str, left: str, waits: bool) -> None:
    linus = User.objects.create_user(username="linus", discord_id=2)
    now = stored(linus)
    stored(ada)
    later = now + HOUR
    GuildListVerification.objects.update(generation=4, lease_until=later, reason=reason, not_before=later)

    services.relink(ada.pk)

    ours, theirs = row_of(ada), row_of(linus)
    assert (ours.generation, ours.lease_until, ours.reason) == (5, None, left)
    assert ours.not_before == (later if waits else None)
    assert (theirs.generation, theirs.lease_until, theirs.reason, theirs.not_before) == (4, later, reason, later)


def test_a_first_sign_in_makes_the_record(ada: User) -> None:
    services.relink(ada.pk)

    assert row_of(ada).generation == 1


# deletion


def membership(user: User, guild_id: int) -> UserGuildMembership:
    now = database_now()
    return UserGuildMembership.objects.create(
        user=user, guild_id=guild_id, name="Chess", first_seen_at=now, changed_at=now
    )


def test_forgetting_leaves_nothing_of_one_person_and_everything_of_others(ada: User) -> None:
    linus = User.objects.create_user(username="linus", discord_id=2)
    person = ContentType.objects.get_for_model(User)
    record = ContentType.objects.get_for_model(DiscordAccount)
    for user in (ada, linus):
        stored(user, HOUR)
        membership(user, 1)
        DiscordAccount.objects.create(user=user, provider="discord", uid=str(user.discord_id))
        Session.objects.create(session_key=user.username, user_id=user.pk, expire_date=database_now())
        for kind in (person, record):
            LogEntry.objects.create(
                user=linus, content_type=kind, object_id=str(user.pk), object_repr=user.username, action_flag=CHANGE
            )
    entries = LogEntry.objects.order_by("pk").values_list("content_type", "object_id", "object_repr")

    personal_data.forget_user(ada)

    for model in (GuildListVerification, UserGuildMembership, DiscordAccount, Session):
        assert list(model._default_manager.values_list("user_id", flat=True)) == [linus.pk]
    assert list(User.objects.all()) == [linus]
    assert list(entries) == [
        (person.pk, str(ada.pk), f"user {ada.pk}"),
        (record.pk, str(ada.pk), "ada"),
        (person.pk, str(linus.pk), "linus"),
        (record.pk, str(linus.pk), "linus"),
    ]


def test_a_purge_deletes_lists_past_retention_and_counts_them(ada: User, settings: Settings) -> None:
    settings.DISCORD_MEMBERSHIP_RETENTION_DAYS = 30
    linus, eve, tove = (User.objects.create_user(username=name, discord_id=name) for name in ("2", "3", "4"))
    for user, age in ((ada, 31), (linus, 30.01), (eve, 29.99), (tove, 31)):
        stored(user, timedelta(days=age), generation=4, version=6)
    for user, count in ((ada, 2), (linus, 1), (eve, 1)):
        for number in range(count):
            membership(user, number)

    assert personal_data.purge_memberships() == (2, 3)

    for user in (ada, linus):
        row = row_of(user)
        assert (row.verified_at, row.refresh_after, row.generation, row.version) == (None, None, 5, 7)
    for user in (eve, tove):
        assert (row_of(user).generation, row_of(user).version) == (4, 6)
    assert list(UserGuildMembership.objects.values_list("user_id", flat=True)) == [eve.pk]
    assert personal_data.purge_memberships() == (0, 0)
