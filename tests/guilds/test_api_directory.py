"""The endpoints for a guild's roles and channels."""

from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.db.models import F
from django.test import Client

from accounts.clock import database_now
from accounts.models import User
from accounts.tokens import discord_client
from guilds import services
from guilds.models import BotGuild, BotGuilds, GuildListVerification, UserGuildMembership
from sandbox.remote import BOT_MEMBER, CHANNELS, ROLES
from tests.fixtures import Sandbox, let_pass
from tests.guilds.test_api import FRESHNESS_FIELDS, assert_problem, ttl_of

SEND = 1 << 11
ADMINISTRATOR, MANAGE_CHANNELS, MANAGE_GUILD = 1 << 3, 1 << 4, 1 << 5
EITHER = pytest.mark.parametrize("name", ["roles", "channels"])


@pytest.fixture
def ada(with_list: Callable[..., User]) -> User:
    return with_list("ada")


@pytest.fixture
def guild_id(ada: User, sandbox: Sandbox) -> int:
    """One of the guilds that ada manages and the bot is in, and may write in."""
    pages = discord_client().iter_bot_guilds(django_settings.DISCORD_BOT_TOKEN)
    bots = {guild_id for page in pages for guild_id in page.ids}
    guild_id = min(guild.guild_id for guild in services.get_guild_list(ada).manageable if guild.guild_id in bots)
    sandbox.bot(guild_id, SEND)
    now = database_now()
    BotGuild.objects.create(id=guild_id, name="Chess", first_seen_at=now, verified_at=now)
    BotGuilds.objects.update_or_create(pk=1, defaults={"verified_at": now})
    return guild_id


@pytest.fixture
def visitor(ada: User, client_of: Callable[[User], Client]) -> Client:
    return client_of(ada)


def test_the_roles_are_strings_and_say_what_the_bot_can_assign(visitor: Client, guild_id: int) -> None:
    response = visitor.get(f"/api/v1/guilds/{guild_id}/roles/")

    body = response.json()
    assert set(body) == FRESHNESS_FIELDS | {"roles"}
    assert body["freshness"] == "fresh"
    assert body["roles"][2] == {
        "id": str(guild_id + 1),
        "name": "Moderators",
        "color": 0x2ECC71,
        "position": 3,
        "permissions": body["roles"][2]["permissions"],
        "managed": False,
        "assignable": True,
    }
    assert body["roles"][2]["permissions"].isdecimal()
    assert [role["name"] for role in body["roles"] if role["assignable"]] == ["Moderators", "Supporters"]


def test_the_channels_are_in_order_and_say_what_the_bot_can_do(visitor: Client, guild_id: int) -> None:
    channels: list[dict[str, Any]] = visitor.get(f"/api/v1/guilds/{guild_id}/channels/").json()["channels"]

    assert channels[0] == {
        "id": str(guild_id + 101),
        "name": "Information",
        "type": 4,
        "position": 0,
        "parent_id": None,
        "bot_permissions": channels[0]["bot_permissions"],
    }
    assert channels[1]["parent_id"] == channels[0]["id"]
    assert [channel["name"] for channel in channels if channel["bot_permissions"] == "0"] == ["staff"]
    assert all(int(channel["bot_permissions"]) & SEND for channel in channels if channel["name"] != "staff")


@EITHER
def test_the_headers_are_about_the_directory_and_not_the_list(visitor: Client, guild_id: int, name: str) -> None:
    address = f"/api/v1/guilds/{guild_id}/{name}/"
    visitor.get(address)
    let_pass(minutes=6)

    response = visitor.get(address)

    assert 360 <= int(response["Age"]) < 420
    assert 3180 < ttl_of(response) <= 3240
    assert response["Cache-Control"] == "private, no-cache"
    again = visitor.get(address, headers={"If-None-Match": response["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


@EITHER
def test_names_that_are_days_old_are_returned_with_the_reason(
    visitor: Client, guild_id: int, name: str, sandbox: Sandbox
) -> None:
    address = f"/api/v1/guilds/{guild_id}/{name}/"
    before = visitor.get(address).json()
    let_pass(hours=20)
    sandbox.mood("rate_limited", retry_after=40, routes=(ROLES, CHANNELS, BOT_MEMBER))

    response = visitor.get(address)

    assert (response.json()["freshness"], response.json()["reason"]) == ("stale", "rate_limited")
    assert response.json()[name] == before[name]
    assert response["Cache-Status"].endswith("detail=rate_limited")


@EITHER
def test_a_guild_of_others_has_neither(visitor: Client, guild_id: int, name: str, sandbox: Sandbox) -> None:
    sandbox.forget_requests()

    assert_problem(visitor.get(f"/api/v1/guilds/{guild_id + 1}/{name}/"), 404, "not-in-guild")
    assert sandbox.requests("") == []


@pytest.mark.parametrize(
    ("owner", "permissions", "admitted"),
    [(True, 0, True), (False, MANAGE_GUILD, True), (False, ADMINISTRATOR, True), (False, MANAGE_CHANNELS, False)],
    ids=["owner", "manager", "administrator", "member"],
)
def test_only_people_who_manage_the_guild_see_its_channels(
    visitor: Client, guild_id: int, sandbox: Sandbox, *, owner: bool, permissions: int, admitted: bool
) -> None:
    UserGuildMembership.objects.filter(guild_id=guild_id).update(owner=owner, permissions=permissions)
    GuildListVerification.objects.update(version=F("version") + 1)
    sandbox.forget_requests()

    channels, roles = (visitor.get(f"/api/v1/guilds/{guild_id}/{name}/") for name in ("channels", "roles"))

    assert roles.status_code == 200
    if admitted:
        assert channels.status_code == 200
    else:
        assert assert_problem(channels, 403, "missing-permission")["permission"] == "manage_guild"
        assert b"staff" not in channels.content


@EITHER
def test_without_the_bot_there_is_neither(visitor: Client, guild_id: int, name: str) -> None:
    BotGuild.objects.update(deleted_at=database_now())

    assert_problem(visitor.get(f"/api/v1/guilds/{guild_id}/{name}/"), 409, "bot-not-in-guild")


@EITHER
@pytest.mark.parametrize(
    ("mood", "status", "problem", "words"),
    [
        ({"mode": "rate_limited", "retry_after": 40}, 429, "rate-limited", "requests about this server"),
        ({"mode": "outage"}, 503, "discord-unavailable", "isn't responding"),
    ],
)
def test_without_names_the_program_is_told_why(
    visitor: Client,
    guild_id: int,
    name: str,
    sandbox: Sandbox,
    mood: dict[str, Any],
    status: int,
    problem: str,
    words: str,
) -> None:
    sandbox.mood(**mood, routes=(ROLES, CHANNELS, BOT_MEMBER))

    body = assert_problem(visitor.get(f"/api/v1/guilds/{guild_id}/{name}/"), status, problem)

    assert words in body["detail"]
    assert body["retry_after"] > 20


@EITHER
def test_a_token_needs_the_scope_for_guilds(ada: User, guild_id: int, name: str, token_of: Callable[..., str]) -> None:
    def status(scope: str) -> int:
        headers = {"Authorization": f"Bearer {token_of(ada, scope)}"}
        return Client().get(f"/api/v1/guilds/{guild_id}/{name}/", headers=headers).status_code

    assert (status("guilds:read"), status("me:read")) == (200, 403)
