"""The client with the sandbox: each mood results in the right error or value."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from accounts.discord import (
    Application,
    DiscordAPIError,
    DiscordClient,
    DiscordUnavailable,
    Exchange,
    InstallSettings,
    InvalidGrant,
    MissingAccess,
    MissingScope,
    RateLimited,
    RequestRejected,
    SiteRefused,
    Unauthorized,
    UnusableResponse,
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
        on_response=exchanges.append,
        clock=clock,
        sleep=clock.sleep,
        jitter=lambda: 0.1,
    )


@pytest.mark.parametrize(("person", "count"), [("nobody", 0), ("linus", 1), ("ada", 12), ("grace", 200)])
def test_everyones_list_costs_one_request(sandbox: Sandbox, client: DiscordClient, person: str, count: int) -> None:
    token = sandbox.token(person, *SCOPES)["access_token"]

    guilds = client.get_user_guilds(token).guilds

    assert len(guilds) == count
    assert list(guilds) == sorted(guilds, key=lambda guild: guild.id)
    assert len(sandbox.requests()) == 1


def test_a_token_belongs_to_its_person(sandbox: Sandbox, client: DiscordClient) -> None:
    assert client.get_current_user(sandbox.token("ada", *SCOPES)["access_token"]).username == "ada"


def test_the_bot_pages_to_the_end(client: DiscordClient) -> None:
    guilds = [guild for page in client.iter_bot_guilds("sandbox-bot") for guild in page.guilds]

    assert guilds
    assert [guild.id for guild in guilds] == sorted({guild.id for guild in guilds})


def test_the_bot_reads_one_of_its_guilds(client: DiscordClient) -> None:
    first = next(client.iter_bot_guilds("sandbox-bot")).guilds[0]

    assert client.get_bot_guild(first.id, "sandbox-bot") == first


def test_a_guild_without_the_bot_is_none_and_no_error(client: DiscordClient) -> None:
    assert client.get_bot_guild(1, "sandbox-bot") is None


@pytest.mark.parametrize("body", ['{"id": "1"}', '[{"id": "1"}]', "[null]"])
def test_an_unreadable_response_is_not_taken_for_an_absent_bot(
    sandbox: Sandbox, client: DiscordClient, body: str
) -> None:
    sandbox.mood("raw", status=200, body=body)

    with pytest.raises(UnusableResponse):
        client.get_bot_guild(1, "sandbox-bot")


def test_a_wrong_bot_token_is_asked_with_once(sandbox: Sandbox, client: DiscordClient) -> None:
    for ask in (lambda: next(client.iter_bot_guilds("wrong")), lambda: client.get_bot_guild(1, "wrong")):
        with pytest.raises(SiteRefused):
            ask()

    assert [line["status"] for line in sandbox.requests("/guilds")] == [401, 401]


def test_tokens_are_refreshed_once_and_no_more(sandbox: Sandbox, client: DiscordClient) -> None:
    old = sandbox.token("ada", *SCOPES)["refresh_token"]

    new = client.refresh_tokens(old)

    assert len(client.get_user_guilds(new.access_token).guilds) == 12
    assert {"identify", "guilds"} <= new.scopes
    with pytest.raises(InvalidGrant):
        client.refresh_tokens(old)


def test_a_code_that_nobody_gave_out_is_no_grant(client: DiscordClient) -> None:
    with pytest.raises(InvalidGrant):
        client.exchange_code("made-up", "http://localhost/complete/discord/", "v" * 43)


def test_a_wrong_secret_of_ours_is_not_the_persons_fault(sandbox: Sandbox, client: DiscordClient) -> None:
    with pytest.raises(SiteRefused):
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
        ("garbage", {}, UnusableResponse, None, None, 1),
        ("truncated", {}, DiscordUnavailable, None, None, 1),
        ("wrong_type", {}, UnusableResponse, None, None, 1),
        ("unauthorized", {}, Unauthorized, None, None, 1),
        ("forbidden", {}, MissingAccess, None, None, 1),
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

    assert len(client.get_user_guilds(token).guilds) == count


@pytest.mark.parametrize("mode", ["timeout", "drip"])
def test_silence_and_dripping_end_at_the_deadline(sandbox: Sandbox, client: DiscordClient, mode: str) -> None:
    token = sandbox.token("ada", *SCOPES)["access_token"]
    sandbox.mood(mode)
    hurried = replace(client, clock=time.monotonic, sleep=time.sleep, budget=0.3)

    with pytest.raises(DiscordUnavailable):
        hurried.get_user_guilds(token)

    # Without a deadline the first would never end, and the second would succeed after some minutes.
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


def test_the_application_is_known_by_its_credentials_and_its_bot(
    sandbox: Sandbox, client: DiscordClient, exchanges: list[Exchange]
) -> None:
    install = {"scopes": ["bot"], "permissions": "8"}
    sandbox.application(
        bot_require_code_grant=True, flags=1 << 15, integration_types_config={"0": {"oauth2_install_params": install}}
    )

    own, of_bot = client.get_own_application(), client.get_application("sandbox-bot")

    assert own == replace(of_bot, redirect_uris=None, webhook_status=None)
    assert of_bot.guild_install == InstallSettings(frozenset(["bot"]), 8)
    assert (of_bot.requires_code_grant, of_bot.is_bot_public, of_bot.flags) == (True, True, 1 << 15)
    assert of_bot.redirect_uris == (
        "http://localhost:8000/complete/discord/",
        "http://localhost:8000/servers/bot-added/",
    )
    assert all(abs((exchange.discord_time or 0) - time.time()) < 60 for exchange in exchanges)


def test_an_application_can_lack_what_older_ones_lack() -> None:
    assert Application.from_json({"id": "41771983423143936", "flags": 0}) == Application(
        id=41771983423143936,
        is_bot_public=True,
        requires_code_grant=False,
        flags=0,
        is_for_guilds=True,
        guild_install=None,
        redirect_uris=None,
        webhook_status=None,
    )


def test_wrong_credentials_are_the_sites(client: DiscordClient) -> None:
    with pytest.raises(SiteRefused) as refused:
        replace(client, client_secret="wrong").get_own_application()
    assert refused.value.credentials == "client"

    with pytest.raises(SiteRefused) as refused:
        client.get_application("wrong")
    assert refused.value.credentials == "bot"
