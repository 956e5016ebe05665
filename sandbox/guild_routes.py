"""The routes about one guild: its members, roles and channels, as a person and as the bot.

https://docs.discord.com/developers/resources/guild, /resources/user#get-current-user-guild-member
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

from sandbox.calls import APPLICATION_ID, BOT_USER, TRUE, Call
from sandbox.limits import Bucket
from sandbox.members import Member
from sandbox.people import SNOWFLAKE, Guild, Person, moment_of
from sandbox.responses import (
    Response,
    api_error,
    bucket_headers,
    json_response,
    missing_scope,
    rate_limited,
    unauthorized,
)
from sandbox.roles import bot_role_id
from sandbox.state import Sandbox


def my_member(sandbox: Sandbox, call: Call) -> Response:
    """Return what the person is in one of their servers. Each response, also a 404, counts towards their limit."""
    if call.grant is None:
        return api_error(403, "Bots cannot use this endpoint", 20001)
    if "guilds.members.read" not in call.grant.scopes:
        return missing_scope()
    person = sandbox.people[call.person or ""]
    with sandbox.lock:
        bucket = sandbox.limits.take_member(person.name, time.monotonic())
    return _within(bucket, call, lambda: _my_member(sandbox, call, person))


def _my_member(sandbox: Sandbox, call: Call, person: Person) -> Response:
    if not _are_snowflakes(call.ids):
        return _invalid_id()
    guild = person.guild(call.ids[0])
    if guild is None:
        return _unknown_guild()
    member = sandbox.member(person, guild).to_response(person.to_user())
    return json_response(200, member | {"permissions": guild.permissions})


def guild(sandbox: Sandbox, call: Call) -> Response:
    with_counts = call.query.get("with_counts") in TRUE
    return _of_the_bot(
        sandbox,
        call,
        lambda guild: json_response(200, full_guild(sandbox, guild, with_counts=with_counts)),
        tells_apart=False,
    )


def guild_roles(sandbox: Sandbox, call: Call) -> Response:
    return _of_the_bot(sandbox, call, lambda guild: json_response(200, _roles(sandbox, guild)))


def guild_channels(sandbox: Sandbox, call: Call) -> Response:
    def channels(guild: Guild) -> Response:
        return json_response(200, [channel.to_response(guild.id) for channel in sandbox.channels(guild.id)])

    return _of_the_bot(sandbox, call, channels)


def guild_member(sandbox: Sandbox, call: Call) -> Response:
    return _of_the_bot(sandbox, call, lambda guild: _guild_member(sandbox, guild, call.ids[1]))


def _guild_member(sandbox: Sandbox, guild: Guild, user_id: str) -> Response:
    if user_id == APPLICATION_ID:
        return json_response(200, bot_member(guild))
    with sandbox.lock:
        person = sandbox.person_by_id(user_id)
        if person is None:
            return api_error(404, "Unknown User", 10013)
        membership = person.guild(guild.id)
        if membership is None:
            return api_error(404, "Unknown Member", 10007)
        return json_response(200, sandbox.member(person, membership).to_response(person.to_user()))


def bot_member(guild: Guild) -> dict[str, Any]:
    """Return what the bot is in a server that it is in, as `GuildMemberResponse`."""
    return Member((bot_role_id(guild.id),), moment_of(guild.id)).to_response(BOT_USER)


def _of_the_bot(
    sandbox: Sandbox, call: Call, respond: Callable[[Guild], Response], *, tells_apart: bool = True
) -> Response:
    """Return the response about a server that the bot is in, within the limit of the route for this server.

    If the bot is not in it, most routes tell a server that exists (50001) from one that doesn't (10004).
    """
    if not call.is_bot:
        return unauthorized()

    def response() -> Response:
        if not _are_snowflakes(call.ids):
            return _invalid_id()
        guild = sandbox.bot_guild(call.ids[0])
        if guild is not None:
            return respond(guild)
        if tells_apart and sandbox.guild(call.ids[0]) is not None:
            return api_error(403, "Missing Access", 50001)
        return _unknown_guild()

    with sandbox.lock:
        bucket = sandbox.limits.take_guild(call.route, call.ids[0], time.monotonic())
    return _within(bucket, call, response)


def _within(bucket: Bucket, call: Call, respond: Callable[[], Response]) -> Response:
    """Return the response with its bucket's headers, or a 429 if the bucket is empty."""
    if not bucket.allowed:
        return rate_limited(call.route, bucket.reset_after, time.time(), limit=bucket.limit)
    headers = bucket_headers(
        call.route,
        limit=bucket.limit,
        remaining=bucket.remaining,
        reset_after=bucket.reset_after,
        now=time.time(),
    )
    return respond().with_headers(*headers)


def _are_snowflakes(ids: Sequence[str]) -> bool:
    return all(SNOWFLAKE.fullmatch(given) for given in ids)


def _invalid_id() -> Response:
    return api_error(400, "Invalid Form Body", 50035)


def _unknown_guild() -> Response:
    return api_error(404, "Unknown Guild", 10004)


def _roles(sandbox: Sandbox, guild: Guild) -> list[dict[str, Any]]:
    return [role.to_response(guild.id) for role in sandbox.roles(guild.id)]


def full_guild(sandbox: Sandbox, guild: Guild, *, with_counts: bool) -> dict[str, Any]:
    """Return the fields of Discord's `GuildWithCountsResponse`, or of `GuildResponse` without counts."""
    with sandbox.lock:
        owners = (person for person in sandbox.people.values() if (its := person.guild(guild.id)) and its.owner)
        owner = next(owners, None)
    payload = guild.to_json(with_counts=with_counts)
    del payload["owner"], payload["permissions"]
    return payload | {
        # If none of the sandbox's people owns the guild, a constant id of a person who doesn't exist.
        "owner_id": owner.id if owner else str(int(guild.id) - 1),
        "roles": _roles(sandbox, guild),
        "emojis": [],
        "stickers": [],
        "description": None,
        "splash": None,
        "discovery_splash": None,
        "home_header": None,
        "region": "deprecated",
        "afk_channel_id": None,
        "afk_timeout": 300,
        "system_channel_id": None,
        "system_channel_flags": 0,
        "rules_channel_id": None,
        "public_updates_channel_id": None,
        "safety_alerts_channel_id": None,
        "application_id": None,
        "widget_enabled": False,
        "widget_channel_id": None,
        "verification_level": 1,
        "default_message_notifications": 1,
        "explicit_content_filter": 2,
        "mfa_level": 0,
        "max_presences": None,
        "max_members": 500_000,
        "max_video_channel_users": 25,
        "max_stage_video_channel_users": 50,
        "vanity_url_code": None,
        "premium_tier": 0,
        "premium_subscription_count": 0,
        "premium_progress_bar_enabled": False,
        "preferred_locale": "en-US",
        "nsfw": False,
        "nsfw_level": 0,
        "incidents_data": None,
    }
