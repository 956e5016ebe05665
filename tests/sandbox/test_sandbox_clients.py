"""Third-party Discord clients work with the sandbox."""

import asyncio
import warnings

import hikari
import pytest
from authlib.integrations.requests_client import OAuth2Session as AuthlibSession
from hikari.impl import RESTApp
from oauthlib.oauth2 import AccessDeniedError, InvalidGrantError
from requests_oauthlib import OAuth2Session

with warnings.catch_warnings():
    # discord.py imports audioop, which Python 3.13 removes.
    warnings.simplefilter("ignore", DeprecationWarning)
    import discord
    from discord.http import HTTPClient, Route

pytestmark = pytest.mark.thorough

LIST = "/users/@me/guilds"
CALLBACK = "http://localhost:8000/complete/discord/"
SCOPES = ["identify", "guilds"]


@pytest.fixture(autouse=True)
def plain_http(monkeypatch):
    """Allow http in oauthlib, because the sandbox is on loopback."""
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")


def ask_hikari(sandbox, token, kind, question):
    """Return the result of a call on a hikari client."""

    async def ask():
        app = RESTApp(url=f"{sandbox.url}/api/v10", max_retries=1)
        await app.start()
        try:
            async with app.acquire(token, kind) as client:
                return await question(client)
        finally:
            await app.close()

    return asyncio.run(ask())


def test_hikari_reads_a_person_and_their_list(sandbox):
    async def question(client):
        return await client.fetch_my_user(), list(await client.fetch_my_guilds())

    me, guilds = ask_hikari(sandbox, sandbox.token("grace"), "Bearer", question)

    assert me.username == "grace"
    assert len(guilds) == 200
    assert guilds == sorted(guilds, key=lambda guild: guild.id)


def test_hikari_reads_the_authorization_and_a_membership(sandbox):
    guild_id = sandbox.get(LIST, sandbox.token("ada")).json()[0]["id"]

    async def question(client):
        return await client.fetch_authorization(), await client.fetch_my_member(int(guild_id))

    authorization, member = ask_hikari(
        sandbox, sandbox.token("ada", *SCOPES, "guilds.members.read"), "Bearer", question
    )

    assert set(authorization.scopes) == set(SCOPES) | {"guilds.members.read"}
    assert authorization.user.username == "ada"
    assert len(member.role_ids) == 3  # including @everyone, which hikari adds


def test_hikari_as_the_bot_pages_through_its_guilds_and_reads_one(unlimited):
    unlimited.control("PUT", "people/eve", {"count": 230, "bot": True})

    async def question(client):
        guilds = [guild async for guild in client.fetch_my_guilds()]
        guild = await client.fetch_guild(guilds[0].id)
        return guilds, guild, await client.fetch_member(guild.id, guild.owner_id)

    guilds, guild, owner = ask_hikari(unlimited, "sandbox-bot", hikari.TokenType.BOT, question)

    assert len(guilds) == 247
    assert guild.name == guilds[0].name
    assert owner.user.id == guild.owner_id


def test_hikari_as_the_bot_reads_members_roles_and_channels(unlimited):
    guild_id = unlimited.get(LIST, "Bot sandbox-bot").json()[0]["id"]
    ada = unlimited.control("GET", "people/ada").json()["id"]
    unlimited.control("PUT", f"members/ada/{guild_id}", {"nick": "Countess", "roles": ["Moderators"]})

    async def question(client):
        return (
            await client.fetch_member(int(guild_id), int(ada)),
            await client.fetch_roles(int(guild_id)),
            await client.fetch_guild_channels(int(guild_id)),
        )

    member, roles, channels = ask_hikari(unlimited, "sandbox-bot", hikari.TokenType.BOT, question)

    by_id = {role.id: role for role in roles}
    assert member.nickname == "Countess"
    assert {by_id[role_id].name for role_id in member.role_ids} == {"@everyone", "Moderators"}
    assert [role.name for role in roles if role.bot_id] == ["Guildhall"]
    assert [role.name for role in roles if role.is_premium_subscriber_role] == ["Server Booster"]
    assert {type(channel) for channel in channels} == {
        hikari.GuildCategory,
        hikari.GuildForumChannel,
        hikari.GuildNewsChannel,
        hikari.GuildStageChannel,
        hikari.GuildTextChannel,
        hikari.GuildVoiceChannel,
    }


def test_hikari_knows_why_a_server_or_a_member_is_unknown(unlimited):
    guild_id = int(unlimited.get(LIST, "Bot sandbox-bot").json()[0]["id"])
    nobody = int(unlimited.control("GET", "people/nobody").json()["id"])

    async def codes(client):
        found = []
        for question in (
            client.fetch_member(guild_id, nobody),
            client.fetch_member(guild_id, 1),
            client.fetch_roles(1),
        ):
            with pytest.raises(hikari.NotFoundError) as caught:
                await question
            found.append(caught.value.code)
        return found

    assert ask_hikari(unlimited, "sandbox-bot", hikari.TokenType.BOT, codes) == [10007, 10013, 10004]


def test_hikari_waits_for_what_a_429_says(sandbox):
    sandbox.mood("rate_limited", retry_after=0.25, for_requests=1)

    async def question(client):
        return await client.fetch_my_user()

    assert ask_hikari(sandbox, sandbox.token("ada"), "Bearer", question).username == "ada"
    assert [line["status"] for line in sandbox.requests()] == [429, 200]


@pytest.mark.parametrize(
    ("mode", "error"),
    [
        ("unauthorized", hikari.UnauthorizedError),
        ("forbidden", hikari.ForbiddenError),
        ("cloudflare_html", hikari.HTTPResponseError),
    ],
)
def test_hikari_knows_a_refusal(sandbox, mode, error):
    sandbox.mood(mode)

    async def question(client):
        return await client.fetch_my_user()

    with pytest.raises(error):
        ask_hikari(sandbox, sandbox.token("ada"), "Bearer", question)


def ask_discord_py(sandbox, monkeypatch, question):
    """Return the result of a call on discord.py's client, signed in as the bot."""
    monkeypatch.setattr(Route, "BASE", f"{sandbox.url}/api/v10")

    async def ask():
        client = HTTPClient(asyncio.get_running_loop())
        try:
            me = await client.static_login("sandbox-bot")
            return me, await question(client)
        finally:
            await client.close()

    return asyncio.run(ask())


def test_discord_py_signs_in_as_the_bot_and_lists_its_guilds(sandbox, monkeypatch):
    async def question(client):
        guilds = await client.get_guilds(200, with_counts=True)
        return guilds, await client.get_guild(guilds[0]["id"]), await client.application_info()

    me, (guilds, guild, application) = ask_discord_py(sandbox, monkeypatch, question)

    assert me["bot"] is True
    assert len(guilds) == 17
    assert guild["id"] == guilds[0]["id"]
    assert guild["approximate_member_count"]
    assert application["id"] == me["id"]


def test_discord_py_reads_members_roles_and_channels(unlimited, monkeypatch):
    ada = unlimited.control("GET", "people/ada").json()["id"]

    async def question(client):
        guild_id = (await client.get_guilds(1))[0]["id"]
        data = await client.get_guild(guild_id)
        guild = discord.Guild(data=data, state=discord.Client(intents=discord.Intents.none())._connection)
        return (
            discord.Member(data=await client.get_member(guild_id, ada), guild=guild, state=guild._state),
            [discord.Role(guild=guild, state=guild._state, data=role) for role in await client.get_roles(guild_id)],
            [
                discord.channel._guild_channel_factory(channel["type"])[0](
                    guild=guild, state=guild._state, data=channel
                )
                for channel in await client.get_all_guild_channels(guild_id)
            ],
        )

    _, (member, roles, channels) = ask_discord_py(unlimited, monkeypatch, question)

    assert [role.name for role in member.roles] == ["@everyone", "Moderators", "Administrators"]
    assert [role.name for role in sorted(roles)][-2:] == ["Guildhall", "Administrators"]
    assert [role.name for role in roles if role.is_bot_managed()] == ["Guildhall"]
    assert {str(channel.type) for channel in channels} == {
        "category",
        "forum",
        "news",
        "stage_voice",
        "text",
        "voice",
    }


def test_discord_py_waits_for_what_a_429_says(sandbox, monkeypatch):
    async def question(client):
        sandbox.mood("rate_limited", retry_after=0.25, for_requests=1)
        return await client.get_guilds(200)

    _, guilds = ask_discord_py(sandbox, monkeypatch, question)

    assert len(guilds) == 17
    assert [line["status"] for line in sandbox.requests()] == [200, 429, 200]


def test_discord_py_takes_a_429_without_via_for_a_ban(sandbox, monkeypatch):
    async def question(client):
        sandbox.mood("cloudflare_html")
        return await client.get_guilds(200)

    with pytest.raises(discord.HTTPException) as caught:
        ask_discord_py(sandbox, monkeypatch, question)

    assert caught.value.status == 429
    assert [line["status"] for line in sandbox.requests()] == [200, 429]


def answered_by(sandbox, url, person):
    """Return the URL that the person's browser ends up at."""
    reply = sandbox.ask("GET", f"{url.removeprefix(sandbox.url)}&as={person}")
    assert reply.status == 302, reply.text
    return reply.headers["Location"]


def test_requests_oauthlib_signs_in_reads_the_list_and_refreshes(sandbox):
    session = OAuth2Session("guildhall", redirect_uri=CALLBACK, scope=SCOPES, pkce="S256")
    url, _ = session.authorization_url(f"{sandbox.url}/oauth2/authorize")
    token_url = f"{sandbox.url}/api/v10/oauth2/token"

    token = session.fetch_token(
        token_url, authorization_response=answered_by(sandbox, url, "ada"), client_secret="sandbox"
    )
    guilds = session.get(f"{sandbox.url}/api/v10{LIST}").json()
    new = session.refresh_token(token_url, client_id="guildhall", client_secret="sandbox")

    assert len(guilds) == 12
    assert new["access_token"] != token["access_token"]
    with pytest.raises(InvalidGrantError):
        session.refresh_token(token_url, token["refresh_token"], client_id="guildhall", client_secret="sandbox")


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_authlib_signs_in_reads_the_list_refreshes_and_revokes(sandbox, method):
    session = AuthlibSession(
        "guildhall",
        "sandbox",
        scope=" ".join(SCOPES),
        redirect_uri=CALLBACK,
        code_challenge_method="S256",
        token_endpoint_auth_method=method,
        revocation_endpoint_auth_method=method,
    )
    verifier = "a-verifier-of-more-than-forty-three-characters"
    url, _ = session.create_authorization_url(f"{sandbox.url}/oauth2/authorize", code_verifier=verifier)
    token_url = f"{sandbox.url}/api/oauth2/token"

    token = session.fetch_token(
        token_url, authorization_response=answered_by(sandbox, url, "linus"), code_verifier=verifier
    )
    guilds = session.get(f"{sandbox.url}/api/v10{LIST}").json()
    new = session.refresh_token(token_url, refresh_token=token["refresh_token"])
    revoked = session.revoke_token(f"{token_url}/revoke", new["access_token"])

    assert len(guilds) == 1
    assert revoked.status_code == 200
    assert session.get(f"{sandbox.url}/api/v10/users/@me").status_code == 401
    session.close()


def test_requests_oauthlib_sees_a_denial(sandbox):
    session = OAuth2Session("guildhall", redirect_uri=CALLBACK, scope=SCOPES)
    url, _ = session.authorization_url(f"{sandbox.url}/oauth2/authorize")

    with pytest.raises(AccessDeniedError):
        session.fetch_token(
            f"{sandbox.url}/api/oauth2/token", authorization_response=answered_by(sandbox, f"{url}&deny=1", "ada")
        )
