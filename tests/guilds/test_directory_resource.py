"""The directory as a resource, by itself: its windows and limits, what it compares, its order, and the bot in it."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from accounts import allowance
from accounts.clock import database_now
from accounts.discord import Channel, ChannelKind, Listing, Member, Overwrite, PartialGuild, Role
from accounts.limits import Priority
from accounts.models import DiscordAllowance
from guilds import personal_data
from guilds.engine.resource import Change, Claim
from guilds.engine.sweep import due
from guilds.models import BotGuild, GuildDirectory
from guilds.resources import bot_presence
from guilds.resources.directory import DIRECTORY, Answer, channels_of, roles_of
from guilds.services import Directory, get_directory

pytestmark = pytest.mark.django_db

GUILD, BOT = 1, 99
HOUR = timedelta(hours=1)
VIEW = 1 << 10
EVERYONE = Role(GUILD, "@everyone", 0, 0, VIEW, False)
STAFF = Role(2, "Staff", 0xFF0000, 3, 0, False)
BOTS = Role(3, "Guildhall", 0, 4, 0, True)
LOBBY = Channel(10, ChannelKind.TEXT, "lobby", 0, None, (Overwrite(GUILD, True, 0, VIEW),))
ANSWER = Answer(Listing((EVERYONE, STAFF, BOTS)), Listing((LOBBY,)), BOT, Member((3,), "", None, None, False))


def answer(*, roles: Any = None, channels: Any = None, **fields: Any) -> Answer:
    """`ANSWER` with other roles or channels."""
    if roles is not None:
        fields["roles"] = Listing(tuple(roles))
    if channels is not None:
        fields["channels"] = Listing(tuple(channels))
    return ANSWER._replace(**fields)


def claimed() -> Claim[GuildDirectory]:
    record, now = DIRECTORY.read(GUILD)
    return Claim(record, record.generation + 1, now, Priority.STALE, 0.0)


def stored(value: Answer = ANSWER) -> Change | None:
    """Store the answer and return its change."""
    change = DIRECTORY.compare(claimed(), value)
    GuildDirectory.objects.update(
        verified_at=database_now(), refresh_after=database_now() + HOUR, **(change.fields if change else {})
    )
    return change


def row() -> GuildDirectory:
    return GuildDirectory.objects.get()


def bot_in(**fields: Any) -> None:
    now = database_now()
    BotGuild.objects.create(id=GUILD, name="Chess", first_seen_at=now, verified_at=now, **fields)


def directory(*roles: Role, bot_roles: tuple[int, ...] = (3,), channels: tuple[Channel, ...] = ()) -> Directory:
    member = replace(ANSWER.bot, roles=bot_roles)
    stored(answer(roles=roles or ANSWER.roles.entries, channels=channels or ANSWER.channels.entries, bot=member))
    return get_directory(GUILD)


# durations and limits


def test_names_are_fresh_for_an_hour_and_served_for_a_week() -> None:
    windows = DIRECTORY.windows()

    assert (windows.fresh, windows.stale) == (HOUR, timedelta(days=7))
    assert DIRECTORY.refresh_at(GuildDirectory()) == 0.2


@pytest.mark.parametrize("kind", [allowance.BOT_DIRECTORY, allowance.BOT_MEMBER])
def test_a_wait_for_one_guild_holds_for_that_guild(kind: str) -> None:
    until = database_now() + HOUR
    DiscordAllowance.objects.create(kind=kind, owner=GUILD, until=until)

    held = [DIRECTORY.held_until(GuildDirectory(guild_id=pk), database_now(), Priority.COLD) for pk in (GUILD, 2)]

    assert held == [until, None]


def test_only_a_recently_read_directory_is_swept() -> None:
    stored()
    now = database_now()
    GuildDirectory.objects.update(refresh_after=now - HOUR)
    assert not due(DIRECTORY, now).exists()

    GuildDirectory.objects.update(last_read_at=now)

    assert due(DIRECTORY, now).get() == row()


def test_a_purge_deletes_a_directory_past_retention() -> None:
    stored()
    assert personal_data.purge_memberships() == ({}, 0)

    GuildDirectory.objects.update(verified_at=database_now() - timedelta(days=3650))

    assert personal_data.purge_memberships() == ({"directory": 1}, 0)
    assert not GuildDirectory.objects.exists()


# compare


def test_a_first_answer_is_stored_and_read_back() -> None:
    assert stored()

    assert roles_of(row()) == (BOTS, STAFF, EVERYONE)
    assert channels_of(row()) == (LOBBY,)
    assert (row().bot_id, row().bot_roles) == (BOT, [3])


def test_the_same_answer_is_no_change() -> None:
    stored()

    assert stored() is None


@pytest.mark.parametrize(
    "other",
    [
        answer(roles=[EVERYONE, BOTS]),
        answer(roles=[EVERYONE, replace(STAFF, name="Crew"), BOTS]),
        answer(channels=[]),
        answer(channels=[replace(LOBBY, overwrites=())]),
        answer(bot_id=98),
        answer(bot=replace(ANSWER.bot, roles=(2, 3))),
    ],
    ids=["role gone", "role renamed", "channel gone", "overwrite gone", "another bot", "bot's roles"],
)
def test_each_difference_is_a_change(other: Answer) -> None:
    stored()

    assert stored(other)
    assert stored(other) is None


def test_a_name_that_is_too_long_is_cut() -> None:
    stored(answer(roles=[replace(EVERYONE, name="n" * 101)], channels=[replace(LOBBY, name="c" * 101)]))

    assert (roles_of(row())[0].name, channels_of(row())[0].name) == ("n" * 100, "c" * 100)


def test_an_entry_that_cannot_be_read_keeps_its_name() -> None:
    stored()

    stored(answer(roles=[EVERYONE])._replace(roles=Listing((EVERYONE,), {2: "role.name is missing"})))

    assert roles_of(row()) == (STAFF, EVERYONE)


def test_an_entry_without_an_id_may_be_any_so_none_is_removed() -> None:
    stored()
    crew = replace(STAFF, name="Crew")

    stored(answer()._replace(roles=Listing((crew,), {}, 1)))

    assert roles_of(row()) == (BOTS, crew, EVERYONE)


# the order


def test_the_highest_role_comes_first_and_of_equal_ones_the_oldest() -> None:
    roles = [replace(STAFF, id=pk, position=position) for pk, position in ((5, 1), (7, 3), (6, 3))]

    stored(answer(roles=[EVERYONE, *roles]))

    assert [role.id for role in roles_of(row())] == [6, 7, 5, GUILD]


def test_channels_are_in_the_order_of_the_sidebar() -> None:
    def channel(pk: int, kind: int, position: int, parent: int | None = None) -> Channel:
        return Channel(pk, kind, str(pk), position, parent, ())

    channels = [
        channel(1, ChannelKind.CATEGORY, 2),
        channel(2, ChannelKind.CATEGORY, 1),
        channel(3, ChannelKind.VOICE, 0, 1),
        channel(4, ChannelKind.TEXT, 5, 1),
        channel(5, ChannelKind.FORUM, 4, 1),
        channel(6, ChannelKind.TEXT, 9),
        channel(7, ChannelKind.STAGE, 0),
        channel(8, ChannelKind.TEXT, 0, 2),
        channel(9, ChannelKind.TEXT, 10, 404),
    ]

    stored(answer(channels=channels))

    assert [each.id for each in channels_of(row())] == [6, 9, 7, 2, 8, 1, 5, 4, 3]


# what the bot can do


def test_the_bot_assigns_what_is_below_its_highest_role() -> None:
    low, same = replace(STAFF, id=4, position=1), replace(STAFF, id=5, position=4)
    managed = replace(STAFF, id=6, position=2, managed=True)

    found = directory(EVERYONE, STAFF, BOTS, low, same, managed)

    # Of two roles with the same position, the older one, which is the bot's, is higher.
    assert found.assignable_roles == (same, STAFF, low)


@pytest.mark.parametrize("bot_roles", [(), (404,)])
def test_a_bot_without_roles_assigns_none(bot_roles: tuple[int, ...]) -> None:
    assert directory(bot_roles=bot_roles).assignable_roles == ()


def test_a_bot_that_owns_the_guild_assigns_every_role() -> None:
    bot_in(owner=True)

    assert directory(bot_roles=()).assignable_roles == (STAFF,)


def test_the_bot_sees_the_channels_that_are_not_hidden_from_it() -> None:
    hall = replace(LOBBY, id=11, overwrites=())
    for_bots = replace(LOBBY, id=12, overwrites=(*LOBBY.overwrites, Overwrite(3, True, VIEW, 0)))
    for_this_bot = replace(LOBBY, id=13, overwrites=(*LOBBY.overwrites, Overwrite(BOT, False, VIEW, 0)))

    found = directory(channels=(LOBBY, hall, for_bots, for_this_bot))

    assert [each.id for each in found.channels if found.bot_permissions(each)] == [11, 12, 13]


def test_a_bot_that_owns_the_guild_sees_every_channel() -> None:
    bot_in(owner=True)

    found = directory(bot_roles=())

    assert found.bot_permissions(LOBBY)


# a bot that joins


@pytest.mark.parametrize(("reason", "left"), [("bot_absent", ""), ("rate_limited", "rate_limited")])
def test_a_bot_that_joins_lifts_its_absence_and_fences_what_is_on_its_way(reason: str, left: str) -> None:
    later = database_now() + HOUR
    for pk in (GUILD, 2):
        GuildDirectory.objects.create(guild_id=pk, reason=reason, lease_until=later)

    bot_presence.learn(
        GUILD,
        PartialGuild.from_json(
            {"id": "1", "name": "Chess", "icon": None, "owner": False, "permissions": "0", "features": []}
        ),
        database_now(),
    )

    ours, other = GuildDirectory.objects.order_by("pk")
    assert (ours.reason, ours.generation, ours.lease_until) == (left, 1, None)
    assert (other.reason, other.generation, other.lease_until) == (reason, 0, later)
