"""The extras of a list are cached, and no change of them is ever missed."""

from collections.abc import Callable
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client
from pytest_django import Settings

from accounts.clock import database_now
from accounts.models import User
from guilds import bot, services
from guilds.engine import sealed_cache
from guilds.extras import Extras, get_extras
from guilds.models import Guild, UserGuildMembership
from guilds.preferences import open_guild, set_favourite
from tests.fixtures import Sandbox, let_pass

WithList = Callable[..., User]


class Asked:
    """What the bot's page of guilds has."""

    def __init__(self, guild_id: int) -> None:
        self.id, self.name, self.icon = guild_id, "Anything", None


def read(user: User) -> Extras:
    return get_extras(services.get_guild_list(user))


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
    found = [read(ada).with_bot]

    bot.store([Asked(mine)], database_now())  # type: ignore[list-item]  # all that is read of it
    found.append(read(ada).with_bot)
    bot.store([Asked(mine)], database_now())  # type: ignore[list-item]  # as above
    found.append(read(ada).with_bot)

    assert found == [frozenset(), {mine}, {mine}]


def test_a_sync_that_finds_the_bot_gone_shows_on_the_next_read(with_list: WithList, sandbox: Sandbox) -> None:
    ada = with_list("ada")
    bot.sync(sleep=lambda _seconds: None)
    present = read(ada).with_bot
    assert present
    now = database_now()
    mine = next(iter(set(ids(ada)) - present))
    Guild.objects.create(pk=mine, name="Gone since", first_seen_at=now, verified_at=now)
    cache.clear()
    before = read(ada).with_bot

    bot.sync(sleep=lambda _seconds: None)

    assert before == present | {mine}
    assert read(ada).with_bot == present


def test_one_look_that_finds_the_bot_gone_shows_on_the_next_read(with_list: WithList, sandbox: Sandbox) -> None:
    ada = with_list("ada")
    bot.sync(sleep=lambda _seconds: None)
    present = read(ada).with_bot or frozenset()
    absent = next(iter(set(ids(ada)) - present))
    bot.store([Asked(absent)], database_now())  # type: ignore[list-item]  # all that is read of it
    before = read(ada).with_bot

    assert bot.check(absent) is False
    assert before == present | {absent}
    assert read(ada).with_bot == present


def test_a_sync_that_changes_nothing_keeps_what_is_kept(with_list: WithList, sandbox: Sandbox) -> None:
    ada = with_list("ada")
    bot.sync(sleep=lambda _seconds: None)
    tag = services.get_guild_list(ada).tags.bot

    bot.sync(sleep=lambda _seconds: None)

    assert tag
    assert services.get_guild_list(ada).tags.bot == tag


def test_a_token_that_is_taken_away_takes_the_bot_away(with_list: WithList, settings: Settings) -> None:
    ada = with_list("ada")
    with_token = read(ada).with_bot

    settings.DISCORD_BOT_TOKEN = ""

    assert with_token == frozenset()
    assert read(ada).with_bot is None


def test_one_persons_stars_are_nobody_elses(with_list: WithList) -> None:
    ada, linus = with_list("ada"), with_list("linus")
    shared = ids(linus)[0]
    read(ada)
    set_favourite(linus.pk, shared, favourite=True)

    assert read(ada).preferences.favourites == frozenset()
    assert read(linus).preferences.favourites == {shared}


@pytest.mark.parametrize("poison", [b"[[1],[1],[1]]", b"", None, 7, "text"])
def test_what_somebody_else_put_into_the_cache_is_not_believed(
    with_list: WithList, monkeypatch: pytest.MonkeyPatch, poison: Any
) -> None:
    ada = with_list("ada")
    written: list[str] = []
    keep = sealed_cache.keep
    monkeypatch.setattr(sealed_cache, "keep", lambda key, text: (written.append(key), keep(key, text)))
    read(ada)
    (key,) = [key for key in written if "annotations" in key]

    cache.set(key, poison if poison != b"[[1],[1],[1]]" else bytes(32) + poison)

    assert read(ada).preferences.favourites == frozenset()


def test_starring_by_htmx_shows_the_star_at_once(with_list: WithList, client_of: Callable[[User], Client]) -> None:
    ada = with_list("ada")
    browser = client_of(ada)
    browser.get("/servers/")

    answer = browser.post("/servers/favourites/", {"star": ids(ada)[0]}, headers={"HX-Request": "true"})

    assert f'name="unstar" value="{ids(ada)[0]}"'.encode() in answer.content
    assert b"Favourites" in browser.get("/servers/").content
