"""The guild list as a resource, by itself: its windows, what it compares and writes, and the session's query."""

from datetime import timedelta
from typing import Any

import pytest
from pytest_django import DjangoAssertNumQueries, Settings

from accounts.clock import database_now
from accounts.discord import Guild
from accounts.limits import Priority
from accounts.models import User
from guilds import hooks
from guilds.engine.freshness import Windows
from guilds.engine.resource import Change, Claim
from guilds.hooks import MembershipChange, PermissionsChange
from guilds.models import BotPresence, GuildListVerification, UserGuildMembership
from guilds.resources.guild_list import GUILD_LIST, pop_preloaded, user_with_record

pytestmark = pytest.mark.django_db

SECOND = timedelta(seconds=1)


@pytest.fixture(autouse=True)
def somebody_listens(settings: Settings) -> None:
    settings.GUILDHALL_MEMBERSHIP_HOOKS = ["tests.nobody"]


@pytest.fixture
def ada() -> User:
    return User.objects.create_user(username="ada", discord_id=1)


def guild(number: int, **fields: Any) -> Guild:
    values = {
        "name": f"Server {number}",
        "icon": None,
        "banner": None,
        "owner": False,
        "permissions": 0,
        "features": (),
    }
    return Guild(id=number, **{**values, **fields})


def claimed_by(user: User) -> Claim[GuildListVerification]:
    record, now = GUILD_LIST.read(user.pk)
    return Claim(record, record.generation + 1, now, Priority.STALE, 0.0)


def written(claim: Claim[GuildListVerification], *guilds: Guild) -> Change | None:
    """What the list changes, after it was written."""
    change = GUILD_LIST.compare(claim, guilds)
    if change:
        change.write()
    return change


def told(change: Change | None) -> MembershipChange | None:
    """What the hooks are told about it."""
    if change is None or change.follow_up is None:
        return None
    follow_up: Any = change.follow_up
    assert follow_up.func == hooks.notify
    [membership_change] = follow_up.args
    assert isinstance(membership_change, MembershipChange)
    return membership_change


def test_the_windows_are_those_of_the_settings(settings: Settings) -> None:
    settings.DISCORD_GUILD_CACHE_FRESH_MINUTES, settings.DISCORD_GUILD_CACHE_STALE_HOURS = 30, 12
    settings.DISCORD_REFRESH_WAIT_MS, settings.DISCORD_FETCH_BUDGET_MS = 1500, 8000

    assert GUILD_LIST.windows() == Windows(
        fresh=timedelta(minutes=30),
        stale=timedelta(hours=12),
        soft_wait=timedelta(milliseconds=1500),
        lease=timedelta(seconds=10),
    )


# compare and write


def test_a_first_list_is_written_whole(ada: User) -> None:
    claim = claimed_by(ada)
    long = guild(
        2, name="n" * 101, icon="i" * 65, banner="b" * 65, owner=True, permissions=32, features=("NEWS", "HUB")
    )

    change = written(claim, long, guild(1))

    assert change
    assert change.fields == {"joined_count": 2, "left_count": 0}
    assert told(change) == MembershipChange(ada.pk, claim.at, joined=(1, 2), left=(), permissions=(), is_first=True)
    assert list(
        UserGuildMembership.objects.order_by("guild_id").values_list(
            "user_id", "guild_id", "name", "icon", "banner", "owner", "permissions", "features"
        )
    ) == [
        (ada.pk, 1, "Server 1", "", "", False, 0, []),
        (ada.pk, 2, "n" * 100, "i" * 64, "b" * 64, True, 32, ["NEWS", "HUB"]),
    ]
    assert set(UserGuildMembership.objects.values_list("first_seen_at", "changed_at")) == {(claim.at, claim.at)}


def test_a_list_changes_what_differs_and_says_what(ada: User) -> None:
    linus = User.objects.create_user(username="linus", discord_id=2)
    first = [guild(number) for number in (1, 2, 3, 4, 5, 6)]
    written(claimed_by(linus), *first)
    earlier = claimed_by(ada)
    written(earlier, *first)
    GuildListVerification.objects.filter(pk=ada.pk).update(verified_at=earlier.at)
    claim = claimed_by(ada)

    change = written(
        claim, guild(3), guild(4, name="Renamed"), guild(5, permissions=32), guild(6, owner=True), guild(7)
    )

    assert change
    assert change.fields == {"joined_count": 1, "left_count": 2}
    assert told(change) == MembershipChange(
        ada.pk,
        claim.at,
        joined=(7,),
        left=(1, 2),
        permissions=(PermissionsChange(5, 0, 32, False, False), PermissionsChange(6, 0, 0, False, True)),
        is_first=False,
    )
    stored = UserGuildMembership.objects.filter(user=ada).order_by("guild_id")
    assert [(row.guild_id, row.name, row.permissions, row.owner) for row in stored] == [
        (3, "Server 3", 0, False),
        (4, "Renamed", 0, False),
        (5, "Server 5", 32, False),
        (6, "Server 6", 0, True),
        (7, "Server 7", 0, False),
    ]
    moments = {row.guild_id: (row.first_seen_at, row.changed_at) for row in stored}
    assert moments[3] == (earlier.at, earlier.at)
    assert moments[4] == (earlier.at, claim.at)
    assert moments[7] == (claim.at, claim.at)
    assert UserGuildMembership.objects.filter(user=linus).count() == 6


@pytest.mark.parametrize(
    ("second", "joined", "left"), [((), 0, 2), ((guild(1), guild(2), guild(3)), 1, 0), ((guild(1),), 0, 1)]
)
def test_a_list_that_only_grows_or_only_shrinks_is_a_change(
    ada: User, second: tuple[Guild, ...], joined: int, left: int
) -> None:
    written(claimed_by(ada), guild(1), guild(2))

    change = written(claimed_by(ada), *second)

    assert change
    assert change.fields == {"joined_count": joined, "left_count": left}
    assert UserGuildMembership.objects.count() == len(second)


def test_the_same_list_is_no_change(ada: User) -> None:
    written(claimed_by(ada), guild(1))

    assert GUILD_LIST.compare(claimed_by(ada), (guild(1),)) is None


def test_comparing_writes_nothing(ada: User) -> None:
    assert GUILD_LIST.compare(claimed_by(ada), (guild(1),))

    assert not UserGuildMembership.objects.exists()


def test_where_nobody_listens_nothing_follows_up(ada: User, settings: Settings) -> None:
    settings.GUILDHALL_MEMBERSHIP_HOOKS = []

    change = GUILD_LIST.compare(claimed_by(ada), (guild(1),))

    assert change
    assert change.follow_up is None


def test_a_new_name_is_nothing_to_tell(ada: User) -> None:
    written(claimed_by(ada), guild(1))

    change = written(claimed_by(ada), guild(1, name="Renamed"))

    assert change
    assert change.fields == {"joined_count": 0, "left_count": 0}
    assert change.follow_up is None


# the session's query


def test_a_person_is_read_together_with_their_record(
    ada: User, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    GUILD_LIST.read(ada.pk)
    GuildListVerification.objects.update(generation=4, reason="unavailable")
    BotPresence.objects.update_or_create(pk=1, defaults={"tag": 7})

    with django_assert_num_queries(1):
        person = user_with_record(ada.pk, clock=lambda: 100.0)
        assert person
        taken = pop_preloaded(person, clock=lambda: 101.0)

    assert (person, person.username, person._state.db, person._state.adding) == (ada, "ada", "default", False)
    assert taken
    record, now = taken.record, taken.now
    assert taken.read_at == 100.0
    assert (record, record.generation, record.reason) == (GuildListVerification.objects.get(), 4, "unavailable")
    assert (record._state.db, record._state.adding) == ("default", False)
    assert record.bot_tag == 7
    assert abs(now - database_now()) < 5 * SECOND
    assert pop_preloaded(person, clock=lambda: 101.0) is None


def test_what_was_read_with_a_person_is_good_for_a_second(ada: User) -> None:
    GUILD_LIST.read(ada.pk)
    person = user_with_record(ada.pk, clock=lambda: 100.0)
    assert person

    assert pop_preloaded(person, clock=lambda: 101.1) is None


def test_a_person_without_a_record_and_nobody(ada: User) -> None:
    person = user_with_record(ada.pk)

    assert person == ada
    assert person
    assert pop_preloaded(person) is None
    assert pop_preloaded(ada) is None
    assert user_with_record(ada.pk + 1) is None
    User.objects.update(is_active=False)
    assert user_with_record(ada.pk) is None
