"""The client against the sandbox: each of its moods becomes the error or the value that it stands for."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from accounts.discord import (
    DiscordAPIError,
    DiscordClient,
    DiscordUnavailable,
    Exchange,
    Forbidden,
    InvalidGrant,
    MissingScope,
    PartialGuild,
    RateLimited,
    RequestRejected,
    Unauthorized,
)

if TYPE_CHECKING:
    from tests.fixtures import Sandbox

    from .conftest import Clock

SCOPES = ("identify", "guilds")


@pytest.fixture
def client(sandbox: Sandbox, clock: Clock, exchanges: list[Exchange]) -> DiscordClient:
    return DiscordClient(
        base_url=f"{sandbox.url}/api/v10",
        client_id="guildhall",
        client_secret="sandbox",
        on_answer=exchanges.append,
        clock=clock,
        sleep=clock.sleep,
        jitter=lambda: 0.1,
    )


@pytest.mark.parametrize(("person", "count"), [("nobody", 0), ("linus", 1), ("ada", 12), ("grace", 200)])
def test_everyones_list_costs_one_request(sandbox: Sandbox, client: DiscordClient, person: str, count: int) -> None:
    token = sandbox.token(person, *SCOPES)["access_token"]

    guilds = client.get_user_guilds(token)

    assert len(guilds) == count
    assert guilds == sorted(guilds, key=lambda guild: guild.id)
    assert len(sandbox.requests()) == 1


def test_a_token_belongs_to_its_person(sandbox: Sandbox, client: DiscordClient) -> None:
    assert client.get_current_user(sandbox.token("ada", *SCOPES)["access_token"]).username == "ada"


def test_the_bot_pages_to_the_end(client: DiscordClient) -> None:
    guilds = [guild for page in client.iter_bot_guilds("sandbox-bot") for guild in page]

    assert guilds
    assert [guild.id for guild in guilds] == sorted({guild.id for guild in guilds})


def test_the_bot_reads_one_of_its_guilds(client: DiscordClient) -> None:
    first = next(client.iter_bot_guilds("sandbox-bot"))[0]

    guild = client.get_guild(first.id, "sandbox-bot")

    assert guild == PartialGuild(first.id, first.name, first.icon)


def test_a_guild_without_the_bot_is_none_and_no_error(client: DiscordClient) -> None:
    assert client.get_guild(1, "sandbox-bot") is None


@pytest.mark.parametrize("body", ['{"id": "2", "name": "Another", "icon": null}', "null", "[]", '{"id": "1"}'])
def test_an_answer_about_another_guild_is_none_at_all(sandbox: Sandbox, client: DiscordClient, body: str) -> None:
    sandbox.mood("raw", status=200, body=body)

    with pytest.raises(DiscordUnavailable):
        client.get_guild(1, "sandbox-bot")


def test_a_wrong_bot_token_is_asked_with_once(sandbox: Sandbox, client: DiscordClient) -> None:
    for ask in (lambda: next(client.iter_bot_guilds("wrong")), lambda: client.get_guild(1, "wrong")):
        with pytest.raises(Unauthorized):
            ask()

    assert len(sandbox.requests("/guilds")) == len(sandbox.requests("/guilds/1")) == 1


def test_tokens_are_refreshed_once_and_no_more(sandbox: Sandbox, client: DiscordClient) -> None:
    old = sandbox.token("ada", *SCOPES)["refresh_token"]

    new = client.refresh_tokens(old)

    assert len(client.get_user_guilds(new.access_token)) == 12
    assert {"identify", "guilds"} <= new.scopes
    with pytest.raises(InvalidGrant):
        client.refresh_tokens(old)


def test_a_code_that_nobody_gave_out_is_no_grant(client: DiscordClient) -> None:
    with pytest.raises(InvalidGrant):
        client.exchange_code("made-up", "http://localhost/complete/discord/", "v" * 43)


def test_a_wrong_secret_of_ours_is_not_the_persons_fault(sandbox: Sandbox, client: DiscordClient) -> None:
    with pytest.raises(Unauthorized):
        replace(client, client_secret="wrong").refresh_tokens(sandbox.token("ada", *SCOPES)["refresh_token"])


def test_a_token_without_the_scope_is_told_apart(sandbox: Sandbox, client: DiscordClient) -> None:
    token = sandbox.token("ada", "identify")["access_token"]

    with pytest.raises(MissingScope):
        client.get_user_guilds(token)


@pytest.mark.parametrize(
    ("mode", "details", "error_class", "scope", "retry_after", "sent"),
    [
        ("rate_limited", {"retry_after": 2}, RateLimited, "user", 2, 4),
        ("rate_limited", {"retry_after": 0.5}, RateLimited, "user", 1, 4),
        ("rate_limited", {"retry_after": 30}, RateLimited, "user", 30, 1),
        ("global_limit", {"retry_after": 30}, RateLimited, "global", 30, 1),
        ("shared_limit", {"retry_after": 1336.57}, RateLimited, "shared", 1337, 1),
        ("no_headers", {"retry_after": 1.5}, RateLimited, "user", 1.5, 4),
        ("cloudflare_html", {}, RateLimited, "cloudflare", ..., 1),
        ("cloudflare_json", {}, RateLimited, "cloudflare", ..., 1),
        ("outage", {}, DiscordUnavailable, None, ..., 1),
        ("bad_gateway", {}, DiscordUnavailable, None, None, 1),
        ("reset", {}, DiscordUnavailable, None, None, 1),
        ("garbage", {}, DiscordUnavailable, None, None, 1),
        ("truncated", {}, DiscordUnavailable, None, None, 1),
        ("wrong_type", {}, DiscordUnavailable, None, None, 1),
        ("unauthorized", {}, Unauthorized, None, None, 1),
        ("forbidden", {}, Forbidden, None, None, 1),
        ("raw", {"status": 418, "headers": {}, "body": "{}"}, RequestRejected, None, None, 1),
        ("raw", {"status": 429, "headers": {"Via": "1.1 google"}, "body": ""}, RateLimited, "user", None, 4),
    ],
)
def test_every_failure_has_its_type_and_its_number_of_requests(
    sandbox: Sandbox,
    client: DiscordClient,
    exchanges: list[Exchange],
    mode: str,
    details: dict[str, object],
    error_class: type[DiscordAPIError],
    scope: str | None,
    retry_after: Any,
    sent: int,
) -> None:
    token = sandbox.token("ada", *SCOPES)["access_token"]
    sandbox.mood(mode, **details)

    with pytest.raises(DiscordAPIError) as caught:
        client.get_user_guilds(token)

    error = caught.value
    assert type(error) is error_class
    assert error.scope == scope
    assert retry_after is ... or error.retry_after == retry_after
    assert error.attempts == len(sandbox.requests()) == len(exchanges) == sent


@pytest.mark.parametrize(("mode", "count"), [("healthy", 200), ("short_page", 199), ("null_body", 0)])
def test_what_only_looks_odd_is_a_value(sandbox: Sandbox, client: DiscordClient, mode: str, count: int) -> None:
    token = sandbox.token("grace", *SCOPES)["access_token"]
    sandbox.mood(mode)

    assert len(client.get_user_guilds(token)) == count


@pytest.mark.parametrize("mode", ["timeout", "drip"])
def test_silence_and_dripping_end_at_the_deadline(sandbox: Sandbox, client: DiscordClient, mode: str) -> None:
    token = sandbox.token("ada", *SCOPES)["access_token"]
    sandbox.mood(mode)
    hurried = replace(client, clock=time.monotonic, sleep=time.sleep, budget=0.3)

    with pytest.raises(DiscordUnavailable):
        hurried.get_user_guilds(token)

    # Without a deadline the first would never end, and the second end well in some minutes.
    assert len(sandbox.requests()) == 1


def test_a_refreshed_token_may_be_dead_all_the_same(sandbox: Sandbox, client: DiscordClient) -> None:
    old = sandbox.token("ada", *SCOPES)["refresh_token"]
    sandbox.mood("dead_refresh")

    new = client.refresh_tokens(old)

    with pytest.raises(Unauthorized):
        client.get_user_guilds(new.access_token)


@pytest.mark.parametrize(
    "ask",
    [
        lambda client, tokens: client.get_user_guilds(tokens["access_token"]),
        lambda client, tokens: client.get_current_user(tokens["access_token"]),
        lambda client, tokens: client.refresh_tokens(tokens["refresh_token"]),
    ],
)
def test_the_end_of_a_limit_is_the_end_of_the_wait(
    sandbox: Sandbox, client: DiscordClient, ask: Callable[[DiscordClient, dict[str, Any]], object]
) -> None:
    tokens = sandbox.token("ada", *SCOPES)
    sandbox.mood("outage")
    with pytest.raises(DiscordUnavailable):
        ask(client, tokens)

    sandbox.mood("healthy")

    assert ask(client, tokens) is not None
