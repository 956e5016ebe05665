"""The guild list as a resource, by itself: its windows, what it compares and writes, and the session's query."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest
from pytest_django import Settings

from accounts.discord import Guild, GuildPage
from accounts.limits import Priority
from accounts.models import User
from guilds import hooks
from guilds.engine.freshness import Windows
from guilds.engine.resource import Change, Claim
from guilds.hooks import MembershipChange, PermissionsChange, Rights
from guilds.models import BotGuilds, GuildListVerification, UserGuildMembership
from guilds.resources import guild_list
from guilds.resources.guild_list import GUILD_LIST, Tags, tags_of
from tests.guilds.rows import guild

pytestmark = pytest.mark.django_db

SECOND = timedelta(seconds=1)


@pytest.fixture(autouse=True)
def somebody_listens(settings: Settings) -> None:
    settings.GUILDHALL_MEMBERSHIP_HOOKS = ["tests.nobody"]


@pytest.fixture
def ada() -> User:
    return User.objects.create_user(username="ada", discord_id=1)


def claimed_by(user: User) -> Claim[GuildListVerification]:
    record, now = GUILD_LIST.read(user.pk)
    return Claim(record, record.generation + 1, now, Priority.STALE, 0.0)


def page(*guilds: Guild, unreadable: Iterable[int] = (), without_id: int = 0) -> GuildPage[Guild]:
    return GuildPage(guilds, dict.fromkeys(unreadable, "guild.name is not a string"), without_id)


def written(
    claim: Claim[GuildListVerification], *guilds: Guild, unreadable: Iterable[int] = (), without_id: int = 0
) -> Change | None:
    """Write the list and return its change."""
    change = GUILD_LIST.compare(claim, page(*guilds, unreadable=unreadable, without_id=without_id))
    if change:
        change.write()
    return change


def told(change: Change | None) -> MembershipChange | None:
    """Return the change that the hooks receive."""
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


def test_a_list_is_due_when_the_setting_says(settings: Settings) -> None:
    settings.DISCORD_REFRESH_AT = 0.6

    assert GUILD_LIST.refresh_at(GuildListVerification()) == 0.6


def test_a_list_is_deleted_with_its_own_rows(ada: User) -> None:
    linus = User.objects.create_user(username="linus", discord_id=2)
    for user in (ada, linus):
        written(claimed_by(user), guild(1), guild(2))

    assert set(GUILD_LIST.rows_of(ada.pk)) == set(UserGuildMembership.objects.filter(user=ada))


def test_the_tags_are_those_of_the_person_and_of_the_bots_guilds(ada: User) -> None:
    GUILD_LIST.read(ada.pk)
    GuildListVerification.objects.update(preferences_tag=3)
    assert tags_of(GUILD_LIST.read(ada.pk)[0]) == Tags(3, None)

    BotGuilds.objects.update_or_create(pk=1, defaults={"tag": 7})

    assert tags_of(GUILD_LIST.read(ada.pk)[0]) == Tags(3, 7)


# compare and write


def test_a_first_list_is_written_whole(ada: User) -> None:
    claim = claimed_by(ada)
    long = guild(
        2, name="n" * 101, icon="i" * 65, banner="b" * 65, owner=True, permissions=32, features=("NEWS", "HUB")
    )

    change = written(claim, guild(1), long)

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


def test_hooks_are_told_the_rights_before_and_after_where_something_changed(ada: User) -> None:
    written(claimed_by(ada), guild(1, owner=True), guild(2, permissions=8), guild(3), guild(4, permissions=16))

    said = told(written(claimed_by(ada), guild(1), guild(2, permissions=32), guild(3), guild(5, permissions=4)))

    assert said
    assert said.before == {1: Rights(0, True), 2: Rights(8, False), 4: Rights(16, False)}
    assert said.after == {1: Rights(0, False), 2: Rights(32, False), 5: Rights(4, False)}


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

    assert GUILD_LIST.compare(claimed_by(ada), page(guild(1))) is None


def test_an_unreadable_server_keeps_what_was_known_about_it(ada: User) -> None:
    written(claimed_by(ada), guild(1, permissions=32), guild(2), guild(3))
    before = UserGuildMembership.objects.get(guild_id=1)

    change = written(claimed_by(ada), guild(2), unreadable=[1, 9])

    assert change
    told_of = told(change)
    assert told_of
    assert (told_of.joined, told_of.left, told_of.permissions) == ((), (3,), ())
    kept = UserGuildMembership.objects.get(guild_id=1)
    assert (kept.permissions, kept.changed_at) == (32, before.changed_at)
    assert not UserGuildMembership.objects.filter(guild_id__in=[3, 9]).exists()


def test_unreadable_servers_alone_are_no_change(ada: User) -> None:
    written(claimed_by(ada), guild(1), guild(2))

    assert GUILD_LIST.compare(claimed_by(ada), page(guild(1), unreadable=[2, 3])) is None


def test_an_entry_that_may_be_any_server_deletes_none(ada: User) -> None:
    written(claimed_by(ada), guild(1), guild(2))

    change = written(claimed_by(ada), guild(3), without_id=1)

    assert change
    assert change.fields == {"joined_count": 1, "left_count": 0}
    assert UserGuildMembership.objects.count() == 3


def test_comparing_writes_nothing(ada: User) -> None:
    assert GUILD_LIST.compare(claimed_by(ada), page(guild(1)))

    assert not UserGuildMembership.objects.exists()


def test_where_nobody_listens_nothing_follows_up(ada: User, settings: Settings) -> None:
    settings.GUILDHALL_MEMBERSHIP_HOOKS = []

    change = GUILD_LIST.compare(claimed_by(ada), page(guild(1)))

    assert change
    assert change.follow_up is None


def test_a_new_name_is_nothing_to_tell(ada: User) -> None:
    written(claimed_by(ada), guild(1))

    change = written(claimed_by(ada), guild(1, name="Renamed"))

    assert change
    assert change.fields == {"joined_count": 0, "left_count": 0}
    assert change.follow_up is None


# news about one guild


def test_news_about_one_person_say_nothing_about_another(ada: User) -> None:
    linus = User.objects.create_user(username="linus", discord_id=2)
    written(claimed_by(ada), guild(1))
    written(claimed_by(linus), guild(1), guild(2))
    claim = claimed_by(ada)

    assert guild_list.without(2, claim) is None
    guild_list.confirm(ada.pk, 1, claim.at)

    confirmed = UserGuildMembership.objects.exclude(confirmed_at=None)
    assert list(confirmed.values_list("user_id", "guild_id", "confirmed_at")) == [(ada.pk, 1, claim.at)]
