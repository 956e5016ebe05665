"""How pages, sign-ins and operators use the services, with a fake `policy.read`. No sandbox."""

import time
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from pytest_django import DjangoAssertNumQueries, Settings

from accounts.clock import database_now
from accounts.models import DiscordAccount, DiscordAllowance, Session, User
from guilds import personal_data, services
from guilds.engine import policy
from guilds.engine.freshness import Reason, Tier, decide
from guilds.engine.policy import Reading
from guilds.engine.refusal import NoAnswer
from guilds.models import BotGuilds, GuildListVerification, GuildMember, UserGuildMembership
from guilds.resources.guild_list import GUILD_LIST, GuildListResource, Tags
from guilds.resources.snapshots import Snapshot
from guilds.services import RefreshTooSoon
from tests.guilds.rows import row_of, stored

pytestmark = pytest.mark.django_db

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
NOW = datetime.fromisoformat("2026-03-14T15:09:26+00:00")


@pytest.fixture
def ada() -> User:
    return User.objects.create_user(username="ada", discord_id=1)


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
    BotGuilds.objects.update_or_create(pk=1, defaults={"tag": 7})

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


def test_refreshing_waits_for_a_minute_since_the_last_list(
    ada: User, asked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = stored(ada, timedelta(0))
    GuildListVerification.objects.update(verified_at=now)
    record = GUILD_LIST.read(ada.pk)[0]

    monkeypatch.setattr(GUILD_LIST, "read", lambda user_id: (record, now + 59 * SECOND))
    with pytest.raises(RefreshTooSoon) as error:
        services.refresh_guild_list(ada)
    assert (error.value.retry_after, str(error.value)) == (1.0, "it was refreshed a moment ago")
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


def member(user: User, **fields: Any) -> GuildMember:
    return GuildMember.objects.create(user=user, guild_id=1, **fields)


@pytest.mark.parametrize(
    ("reason", "is_cleared"), [(reason, not reason.is_limit) for reason in Reason if reason is not Reason.IN_PROGRESS]
)
def test_a_sign_in_ends_what_runs_and_every_wait_but_a_limit(ada: User, reason: Reason, is_cleared: bool) -> None:
    linus = User.objects.create_user(username="linus", discord_id=2)
    now = stored(linus)
    stored(ada)
    later = now + HOUR
    GuildListVerification.objects.update(
        generation=4, lease_until=later, reason=reason, not_before=later, failure_streak=9, silent_at=now
    )

    services.relink(ada.pk)

    ours, theirs = row_of(ada), row_of(linus)
    assert (ours.generation, ours.lease_until) == (5, None)
    left = (ours.reason, ours.not_before, ours.failure_streak)
    assert left == (("", None, 0) if is_cleared else (reason, later, 9))
    assert (theirs.generation, theirs.lease_until, theirs.reason, theirs.not_before) == (4, later, reason, later)


def test_a_sign_in_keeps_the_wait_of_a_503_that_named_one(ada: User) -> None:
    later = stored(ada) + HOUR
    GuildListVerification.objects.update(reason="unavailable", not_before=later, failure_streak=1)

    services.relink(ada.pk)

    assert (row_of(ada).reason, row_of(ada).not_before) == ("unavailable", later)


def test_a_sign_in_resets_the_persons_other_records_too(ada: User) -> None:
    linus = User.objects.create_user(username="linus", discord_id=2)
    later = database_now() + HOUR
    refused = {"reason": "missing_scope", "generation": 4, "lease_until": later}
    for user in (ada, linus):
        member(user, **refused)
    limited = GuildMember.objects.create(user=ada, guild_id=2, reason="rate_limited", not_before=later)

    services.relink(ada.pk)

    ours, theirs = GuildMember.objects.get(user=ada, guild_id=1), GuildMember.objects.get(user=linus)
    assert (ours.reason, ours.generation, ours.lease_until) == ("", 5, None)
    assert (theirs.reason, theirs.generation, theirs.lease_until) == ("missing_scope", 4, later)
    limited.refresh_from_db()
    assert (limited.reason, limited.not_before, limited.generation) == ("rate_limited", later, 1)


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
        member(user)
        DiscordAccount.objects.create(user=user, provider="discord", uid=str(user.discord_id))
        Session.objects.create(session_key=user.username, user_id=user.pk, expire_date=database_now())
        for kind in (person, record):
            LogEntry.objects.create(
                user=linus, content_type=kind, object_id=str(user.pk), object_repr=user.username, action_flag=CHANGE
            )
    entries = LogEntry.objects.order_by("pk").values_list("content_type", "object_id", "object_repr")

    personal_data.forget_user(ada)

    for model in (GuildListVerification, UserGuildMembership, GuildMember, DiscordAccount, Session):
        assert list(model._default_manager.values_list("user_id", flat=True)) == [linus.pk]
    assert list(User.objects.all()) == [linus]
    assert list(entries) == [
        (person.pk, str(ada.pk), f"user {ada.pk}"),
        (record.pk, str(ada.pk), "ada"),
        (person.pk, str(linus.pk), "linus"),
        (record.pk, str(linus.pk), "linus"),
    ]


def test_forgetting_and_purging_delete_allowances(ada: User) -> None:
    linus = User.objects.create_user(username="linus", discord_id=2)
    now = database_now()
    for user, until in ((ada, now + HOUR), (linus, now + HOUR)):
        DiscordAllowance.objects.create(kind="member", owner=user.pk, until=until)
    DiscordAllowance.objects.create(kind="bot_member", owner=ada.pk, until=now + HOUR)
    DiscordAllowance.objects.create(kind="bot_member", owner=7, until=now - SECOND)
    assert [row["owner"] for row in personal_data.everything_about(ada)["discord_allowances"]] == [str(ada.pk)]

    personal_data.forget_user(ada)
    personal_data.purge_memberships()

    assert set(DiscordAllowance.objects.values_list("kind", "owner")) == {("member", linus.pk), ("bot_member", ada.pk)}


def test_a_purge_deletes_lists_past_retention_and_counts_them(ada: User, settings: Settings) -> None:
    settings.DISCORD_MEMBERSHIP_RETENTION_DAYS = 30
    linus, eve, tove = (User.objects.create_user(username=name, discord_id=name) for name in ("2", "3", "4"))
    for user, age in ((ada, 31), (linus, 30.01), (eve, 29.99), (tove, 31)):
        stored(user, timedelta(days=age), generation=4, version=6)
    for user, count in ((ada, 2), (linus, 1), (eve, 1)):
        for number in range(count):
            membership(user, number)

    assert personal_data.purge_memberships() == ({"guild_list": 2}, 3)

    for user in (ada, linus):
        row = row_of(user)
        assert (row.verified_at, row.refresh_after, row.generation, row.version) == (None, None, 5, 7)
    for user in (eve, tove):
        assert (row_of(user).generation, row_of(user).version) == (4, 6)
    assert list(UserGuildMembership.objects.values_list("user_id", flat=True)) == [eve.pk]
    assert personal_data.purge_memberships() == ({}, 0)


def test_a_purge_deletes_members_past_retention_and_records_without_an_answer(ada: User, settings: Settings) -> None:
    settings.DISCORD_MEMBERSHIP_RETENTION_DAYS = 30
    now = database_now()
    rows: list[dict[str, Any]] = [
        {"verified_at": now - timedelta(days=31)},
        {"reason": "missing_scope"},
        {"verified_at": now - timedelta(days=29)},
        {"lease_until": now + HOUR},
        {"not_before": now + HOUR},
    ]
    for guild_id, fields in enumerate(rows):
        GuildMember.objects.create(user=ada, guild_id=guild_id, **fields)

    assert personal_data.purge_memberships() == ({"member": 2}, 0)

    assert list(GuildMember.objects.order_by("guild_id").values_list("guild_id", flat=True)) == [2, 3, 4]


class InColumns(GuildListResource):
    """A resource whose answers are in the columns of its records."""

    def rows_of(self, record: object) -> None:  # type: ignore[override]  # the list has rows
        return None


def test_a_record_that_holds_its_answer_is_purged_and_forgotten_as_a_whole(
    ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    linus = User.objects.create_user(username="linus", discord_id=2)
    stored(ada, timedelta(days=31))
    stored(linus, HOUR)
    monkeypatch.setattr(GuildListVerification, "resource", GUILD_LIST)  # restored at the end
    resources = (InColumns(GuildListVerification),)
    for name in ("ALL", "PERSONAL"):
        monkeypatch.setattr(personal_data, name, resources)

    assert personal_data.purge_memberships() == ({"guild_list": 1}, 0)
    assert list(GuildListVerification.objects.values_list("pk", flat=True)) == [linus.pk]

    personal_data.forget_user(linus)
    assert not GuildListVerification.objects.exists()
