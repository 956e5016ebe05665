"""The extras of a list are cached, and no change of them is ever missed."""

from collections.abc import Callable
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client
from pytest_django import Settings

from accounts.clock import database_now
from accounts.models import User
from guilds import services
from guilds.listing.extras import Extras, get_extras
from guilds.listing.preferences import open_guild, set_favourite
from guilds.models import BotGuild, UserGuildMembership
from guilds.resources import snapshots
from guilds.resources.bot_guilds import verify_one
from tests.fixtures import Sandbox, let_pass
from tests.guilds.rows import bot_joins, sync_bot_guilds

WithList = Callable[..., User]


def read(user: User) -> Extras:
    return get_extras(services.get_guild_list(user))


def with_bot(user: User) -> frozenset[int]:
    presence = read(user).bot_presence
    assert presence
    return frozenset(presence.present)


def ids(user: User) -> list[int]:
    return list(UserGuildMembership.objects.filter(user=user).values_list("guild_id", flat=True))


def test_a_star_shows_on_the_next_read(with_list: WithList) -> None:
    ada = with_list("ada")
    mine = ids(ada)[0]
    found = [read(ada).preferences.favourites]

    for favourite in (True, False):
        set_favourite(ada.pk, mine, favourite=favourite)
        found.append(read(ada).preferences.favourites)

    assert found == [frozenset(), {mine}, frozenset()]


def test_an_opened_server_shows_on_the_next_read(with_list: WithList) -> None:
    ada = with_list("ada")
    first, second = ids(ada)[:2]
    read(ada)

    open_guild(ada.pk, first)
    let_pass(seconds=5)
    open_guild(ada.pk, second)

    assert read(ada).preferences.recent == (second, first)


def test_the_bot_joining_leaving_and_coming_back_shows_on_the_next_read(with_list: WithList) -> None:
    ada = with_list("ada")
    mine = ids(ada)[0]
    found = [with_bot(ada)]

    bot_joins(mine)
    found.append(with_bot(ada))
    bot_joins(mine)
    found.append(with_bot(ada))

    assert found == [frozenset(), {mine}, {mine}]


def test_a_sync_that_finds_the_bot_gone_shows_on_the_next_read(with_list: WithList, sandbox: Sandbox) -> None:
    ada = with_list("ada")
    sync_bot_guilds()
    present = with_bot(ada)
    assert present
    now = database_now()
    mine = next(iter(set(ids(ada)) - present))
    BotGuild.objects.create(pk=mine, name="Gone since", first_seen_at=now, verified_at=now)
    cache.clear()
    before = with_bot(ada)

    sync_bot_guilds()

    assert before == present | {mine}
    assert with_bot(ada) == present


def test_one_look_that_finds_the_bot_gone_shows_on_the_next_read(with_list: WithList, sandbox: Sandbox) -> None:
    ada = with_list("ada")
    sync_bot_guilds()
    present = with_bot(ada)
    absent = next(iter(set(ids(ada)) - present))
    bot_joins(absent)
    before = with_bot(ada)

    assert verify_one(absent) is False
    assert before == present | {absent}
    assert with_bot(ada) == present


def test_a_sync_that_changes_nothing_keeps_what_is_kept(with_list: WithList, sandbox: Sandbox) -> None:
    ada = with_list("ada")
    sync_bot_guilds()
    tag = services.get_guild_list(ada).tags.bot

    sync_bot_guilds()

    assert tag
    assert services.get_guild_list(ada).tags.bot == tag


def test_a_token_that_is_taken_away_takes_the_bot_away(with_list: WithList, settings: Settings) -> None:
    ada = with_list("ada")
    with_token = with_bot(ada)

    settings.DISCORD_BOT_TOKEN = ""

    assert with_token == frozenset()
    assert read(ada).bot_presence is None


def test_one_persons_stars_are_nobody_elses(with_list: WithList) -> None:
    ada, linus = with_list("ada"), with_list("linus")
    shared = ids(linus)[0]
    read(ada)
    set_favourite(linus.pk, shared, favourite=True)

    assert read(ada).preferences.favourites == frozenset()
    assert read(linus).preferences.favourites == {shared}


@pytest.mark.parametrize("poison", [b"[[1],[1],[1]]", b"", None, 7, "text"])
def test_what_somebody_else_put_into_the_cache_is_not_believed(with_list: WithList, poison: Any) -> None:
    ada = with_list("ada")
    read(ada)
    place = snapshots.place(snapshots.EXTRAS, ada.pk)
    assert cache.get(place)

    cache.set(place, poison if poison != b"[[1],[1],[1]]" else bytes(32) + poison)

    assert read(ada).preferences.favourites == frozenset()


def test_starring_by_htmx_shows_on_the_next_read(with_list: WithList, client_of: Callable[[User], Client]) -> None:
    ada = with_list("ada")
    browser = client_of(ada)
    browser.get("/servers/")

    browser.post("/servers/favourites/", {"star": ids(ada)[0]}, headers={"HX-Request": "true"})

    body = browser.get("/servers/").content
    assert f'name="unstar" value="{ids(ada)[0]}"'.encode() in body
    assert b"Favourites" in body


def test_what_no_complete_run_has_read_is_unknown_and_then_absent(with_list: WithList, sandbox: Sandbox) -> None:
    """The first complete run shows on the next read, also if it changes no server."""
    ada = with_list("ada")
    present, other = ids(ada)[:2]
    bot_joins(present)
    sandbox.person("ada", bot=False)
    sandbox.person("grace", bot=False)
    before = read(ada).bot_presence
    verify_one(present)
    sync_bot_guilds()
    after = read(ada).bot_presence

    assert before
    assert after
    assert [before.includes(guild_id) for guild_id in (present, other)] == [True, None]
    assert [after.includes(guild_id) for guild_id in (present, other)] == [False, False]
