"""The example bot as a process of its own, between the sandbox's gateway and a process of the site."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.sites import ROOT
from examples.bot.bot import Site
from guilds.models import BotGuild, GuildMember
from tests.engine.conftest import Fleet, Reader, eventually
from tests.fixtures import Sandbox

pytestmark = pytest.mark.thorough

CLUB, HOME = "11", "12"
MAY_SEE_MEMBERS = 1 << 15
MANAGE_GUILD = 1 << 5


@pytest.fixture
def person(sandbox: Sandbox) -> Callable[..., None]:
    """Put a person into these servers. The bot is in the first of them all."""

    def person(name: str, *guild_ids: str) -> None:
        guilds = [{"id": guild_id, "name": f"Server {guild_id}", "bot": guild_id == CLUB} for guild_id in guild_ids]
        sandbox.person(name, guilds=guilds)

    return person


@pytest.fixture
def eve(fleet: Fleet, sandbox: Sandbox, person: Callable[..., None], join: Callable[..., Reader]) -> Reader:
    """A person in two servers, who has signed in. Linus stays in the first, for a server without members is gone."""
    person("ada")
    person("grace")
    person("linus", CLUB)
    sandbox.limits(members_per_300_seconds=None)
    sandbox.application(flags=MAY_SEE_MEMBERS)
    eve = join("eve")
    person("eve", CLUB, HOME)
    return eve


@pytest.fixture
def token(service_token: Callable[..., str]) -> str:
    return service_token("bot:events", "bot:members")


@pytest.fixture
def bot(fleet: Fleet, sandbox: Sandbox, eve: Reader, token: str, tmp_path: Path) -> Iterator[None]:
    """The example bot, once the site has its first events."""
    environment = {
        "PATH": os.environ["PATH"],
        "DISCORD_API_URL": f"{sandbox.url}/api/v10",
        "DISCORD_BOT_TOKEN": "sandbox-bot",
        "SITE_URL": fleet[0].url,
        "SITE_TOKEN": token,
    }
    with (tmp_path / "log").open("w+") as log:
        process = subprocess.Popen([sys.executable, "examples/bot/bot.py"], cwd=ROOT, env=environment, stderr=log)
        try:
            eventually(BotGuild.objects.filter(pk=CLUB, deleted_at=None).exists, "the bot has reported its server")
            yield
            assert process.poll() is None, "the bot has ended"
        finally:
            process.terminate()
            process.wait(20)
            log.seek(0)
            text = log.read()
            print(text)  # noqa: T201 - pytest shows it if the test fails
        assert "Traceback" not in text


def servers(reader: Reader, fleet: Fleet) -> list[str]:
    return [guild["id"] for guild in reader.get(fleet[0]).json.get("guilds", [])]


def page(reader: Reader, fleet: Fleet) -> int:
    return reader.get(fleet[0], f"/servers/{CLUB}/").status


def roles(reader: Reader, fleet: Fleet) -> list[str]:
    """Return the ids of the person's roles in the club; none while they aren't known."""
    member = reader.get(fleet[0], f"/api/v1/guilds/{CLUB}/member/").json.get("member") or {}
    return list(member.get("roles", []))


def test_what_happens_at_discord_reaches_the_site_while_its_answers_are_fresh(
    fleet: Fleet, sandbox: Sandbox, eve: Reader, bot: None, person: Callable[..., None]
) -> None:
    sandbox.member("eve", CLUB, roles=["Moderators"])
    eventually(lambda: servers(eve, fleet) == [CLUB, HOME], "the list is stored")
    eventually(lambda: roles(eve, fleet) == ["12"], "the roles are stored")

    sandbox.member("eve", CLUB, roles=["Supporters"])
    eventually(lambda: roles(eve, fleet) == ["14"], "another role")
    sandbox.roles(CLUB, {"id": "12"}, {"id": "13"}, {"id": "15"})
    eventually(lambda: roles(eve, fleet) == [], "a role is deleted")

    assert page(eve, fleet) == 200
    person("eve", HOME)
    eventually(lambda: page(eve, fleet) == 404, "a kick")
    assert servers(eve, fleet) == [HOME]

    person("eve", CLUB, HOME)
    eventually(lambda: servers(eve, fleet) == [CLUB, HOME], "a join")
    assert page(eve, fleet) == 200

    person("eve")
    eventually(lambda: servers(eve, fleet) == [], "the person leaves all servers")


def test_no_event_is_lost_while_the_site_is_down(
    fleet: Fleet, sandbox: Sandbox, eve: Reader, bot: None, person: Callable[..., None]
) -> None:
    sandbox.member("eve", CLUB, roles=["Moderators"])
    eventually(lambda: servers(eve, fleet) == [CLUB, HOME], "the list is stored")
    eventually(lambda: roles(eve, fleet) == ["12"], "the roles are stored")
    fleet[0].kill()

    sandbox.member("eve", CLUB, roles=["Supporters"])
    person("eve", HOME)
    sandbox.bot(CLUB, None)
    fleet[0].start()
    fleet[0].wait_until_up()

    eventually(BotGuild.objects.exclude(deleted_at=None).filter(pk=CLUB).exists, "the last event has arrived")
    member = GuildMember.objects.get(user=eve.user, guild_id=CLUB)
    assert (member.is_member, member.roles) == (False, [])
    assert page(eve, fleet) == 404


def test_the_bots_permissions_follow_its_role(fleet: Fleet, sandbox: Sandbox, eve: Reader, bot: None) -> None:
    def may_manage() -> bool:
        return bool((BotGuild.objects.get(pk=CLUB).permissions or 0) & MANAGE_GUILD)

    assert may_manage()
    sandbox.bot(CLUB, 0)
    eventually(lambda: not may_manage(), "its role has lost the permission")
    sandbox.bot(CLUB, MANAGE_GUILD)
    eventually(may_manage, "its role has it again")


def test_the_bot_asks_what_a_person_may_do(fleet: Fleet, sandbox: Sandbox, eve: Reader, token: str) -> None:
    eventually(lambda: servers(eve, fleet) == [CLUB, HOME], "the list is stored")

    async def ask(permission: str, discord_id: int) -> bool | None:
        async with Site(fleet[0].url, token) as site:
            return await site.may(int(HOME), discord_id, permission)

    discord_id = eve.user.discord_id
    assert discord_id
    assert asyncio.run(ask("send_messages", discord_id)) is True
    assert asyncio.run(ask("ban_members", discord_id)) is False
    assert asyncio.run(ask("ban_members", 78)) is None
