"""The client's policy: requests, retries and results, on a simulated clock."""

from __future__ import annotations

import base64
import tomllib
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import pytest
from structlog.testing import capture_logs

from accounts.discord import (
    BotMissingAccess,
    CurrentUser,
    DiscordAPIError,
    DiscordClient,
    DiscordUnavailable,
    Exchange,
    Guild,
    GuildPage,
    InvalidGrant,
    Listing,
    Member,
    MissingAccess,
    MissingScope,
    PartialGuild,
    RateLimited,
    RequestRejected,
    Tokens,
    Unauthorized,
    UnknownGuild,
    UnknownMember,
    UnusableResponse,
)
from accounts.discord.transport import PROJECT_URL, user_agent

if TYPE_CHECKING:
    from .conftest import Clock, Script

TOKEN = "an-access-token-of-thirty-chars"
TOKENS = {
    "access_token": "the-new-access-token",
    "token_type": "Bearer",
    "expires_in": 604800,
    "refresh_token": "the-new-refresh-token",
    "scope": "identify guilds",
}


def guild(guild_id: int, **fields: Any) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "name": "A server",
        "icon": None,
        "banner": None,
        "owner": False,
        "permissions": "0",
        "features": [],
    }
    return {"id": str(guild_id), **plain, **fields}


# Requests


def test_fetch_gives_the_payload_as_it_came(client: DiscordClient, script: Script) -> None:
    script.respond(200, {"id": "1", "anything": [1.5, None]})

    assert client.fetch("/users/@me", TOKEN) == {"id": "1", "anything": [1.5, None]}

    (request,) = script.requests
    assert (request.method, request.path) == ("GET", "/users/@me")
    assert request.headers["Authorization"] == f"Bearer {TOKEN}"
    assert request.headers["User-Agent"] == user_agent(PROJECT_URL)
    assert request.headers["Accept"] == "application/json"
    assert "Cookie" not in request.headers


def test_the_user_agent_has_the_version_of_the_project() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]

    assert user_agent("https://chess.example") == f"DiscordBot (https://chess.example, {project['version']})"


def test_fetch_sends_parameters_and_another_scheme(client: DiscordClient, script: Script) -> None:
    script.respond(204, b"")

    assert client.fetch("/users/@me/guilds", TOKEN, params={"limit": 3}, scheme="Bot") is None

    (request,) = script.requests
    assert request.path == "/users/@me/guilds?limit=3"
    assert request.headers["Authorization"] == f"Bot {TOKEN}"


def test_the_current_user_is_a_value(client: DiscordClient, script: Script) -> None:
    script.respond(200, {"id": "7", "username": "ada", "global_name": "Ada", "avatar": None})

    assert client.get_current_user(TOKEN) == CurrentUser(7, "ada", "Ada", None)


def test_the_bot_is_a_user_too(client: DiscordClient, script: Script) -> None:
    script.respond(200, {"id": "7", "username": "guildhall", "global_name": None, "avatar": None, "bot": True})

    assert client.get_bot_user("token").id == 7
    assert script.requests[0].headers["Authorization"] == "Bot token"


def test_a_persons_guilds_cost_one_request_and_are_ordered_by_id(client: DiscordClient, script: Script) -> None:
    script.respond(200, [guild(number) for number in range(200, 0, -1)])

    guilds = client.get_user_guilds(TOKEN).guilds

    assert [guild.id for guild in guilds] == list(range(1, 201))
    assert all(isinstance(guild, Guild) for guild in guilds)
    assert [request.path for request in script.requests] == ["/users/@me/guilds?limit=200"]


@pytest.mark.parametrize("payload", [None, []])
def test_null_and_an_empty_list_mean_in_no_guild(client: DiscordClient, script: Script, payload: object) -> None:
    script.respond(200, payload)

    assert client.get_user_guilds(TOKEN) == GuildPage()


@pytest.mark.parametrize(
    ("status", "payload"),
    [
        (200, b""),
        (204, b""),
        (202, []),
        (200, {"guilds": []}),
        (200, "[]"),
        (200, 0),
        (200, False),
        (200, [None]),
        (200, [guild(1, permissions=None)]),
        (200, [guild(1), guild(1, name="Another")]),
    ],
)
def test_nonsense_in_a_success_is_never_a_list(
    client: DiscordClient, script: Script, exchanges: list[Exchange], status: int, payload: object
) -> None:
    script.respond(status, payload)

    with pytest.raises(UnusableResponse) as caught:
        client.get_user_guilds(TOKEN)

    assert caught.value.status == status
    assert [exchange.error for exchange in exchanges] == [caught.value]
    assert len(script.requests) == 1


def test_the_bots_guilds_come_page_by_page_until_an_empty_one(client: DiscordClient, script: Script) -> None:
    script.respond(200, [guild(2), guild(1)])
    script.respond(200, [guild(3)])
    script.respond(200, [])

    pages = list(client.iter_bot_guilds("the-bot-token"))

    assert [[guild.id for guild in page.guilds] for page in pages] == [[1, 2], [3]]
    assert [request.path.partition("?")[2] for request in script.requests] == [
        "limit=200",
        "limit=200&after=2",
        "limit=200&after=3",
    ]
    assert script.requests[0].headers["Authorization"] == "Bot the-bot-token"


ODD = {"id": "7", "unavailable": True}


@pytest.mark.parametrize(
    ("odd", "unreadable", "without_id"),
    [
        ([ODD], {7: "guild.name is not a string"}, 0),
        ([guild(7, owner=None)], {7: "guild.owner is not true or false"}, 0),
        ([guild(7, permissions=None)], {7: "guild.permissions is not a number in a string"}, 0),
        ([guild(7, features=None)], {7: "guild.features is not a list of strings"}, 0),
        ([guild(7), guild(7, name="Another")], {7: "guild.id is listed twice, with different fields"}, 0),
        ([guild(7), ODD, guild(7)], {7: "guild.name is not a string"}, 0),
        ([guild(1), guild(1)], {}, 0),
        ([None, {}, guild(2**63)], {}, 3),
        ([guild(number) for number in range(2, 302)], {}, 0),
    ],
)
def test_an_odd_server_costs_no_other_one(
    client: DiscordClient,
    script: Script,
    exchanges: list[Exchange],
    odd: list[Any],
    unreadable: dict[int, str],
    without_id: int,
) -> None:
    script.respond(200, [*odd, guild(1)])

    with capture_logs() as logs:
        page = client.get_user_guilds(TOKEN)

    assert 1 in {guild.id for guild in page.guilds}
    assert (page.unreadable, page.without_id) == (unreadable, without_id)
    skipped = len(unreadable) + without_id
    assert [exchange.skipped for exchange in exchanges] == [skipped]
    assert len(logs) == bool(skipped)
    assert "Another" not in str(logs)


def test_a_log_line_about_unreadable_servers_stays_a_line(client: DiscordClient, script: Script) -> None:
    script.respond(200, [guild(1), *({"id": str(number)} for number in range(2, 1000))])

    with capture_logs() as logs:
        client.get_user_guilds(TOKEN)

    [line] = logs
    assert line == {
        "event": "discord_entries_skipped",
        "log_level": "warning",
        "route": "GET /users/@me/guilds",
        "ids": list(range(2, 22)),
        "problems": ["guild.name is not a string"],
        "unreadable": 998,
        "without_id": 0,
    }


def test_the_bots_guilds_need_only_what_is_used_of_them(client: DiscordClient, script: Script) -> None:
    listed = {"id": "1", "name": "A server", "icon": None, "owner": False, "permissions": "8", "features": []}
    script.respond(200, [listed])
    script.respond(200, [])

    assert [page.guilds for page in client.iter_bot_guilds("the-bot-token")] == [
        (PartialGuild(1, "A server", None, permissions=8),)
    ]


def test_paging_goes_on_behind_unreadable_servers(client: DiscordClient, script: Script) -> None:
    script.respond(200, [guild(1), {"id": "5"}, None])
    script.respond(200, [{"id": "8"}])
    script.respond(200, [None])

    pages = list(client.iter_bot_guilds("the-bot-token"))

    assert [(page.ids, page.without_id) for page in pages] == [({1, 5}, 1), ({8}, 0), (set(), 1)]
    assert [request.path.partition("after=")[2] for request in script.requests] == ["", "5", "8"]


def test_pages_that_repeat_themselves_do_not_go_on_for_ever(client: DiscordClient, script: Script) -> None:
    script.respond(200, [guild(1), guild(2)])

    with pytest.raises(UnusableResponse, match="repeats"):
        list(client.iter_bot_guilds("the-bot-token"))

    assert len(script.requests) == 2


# members, roles and channels

MEMBER = {"roles": ["7", "5"], "nick": "Ada", "joined_at": None, "communication_disabled_until": None, "pending": True}
ROLE = {"id": "1", "name": "@everyone", "color": 0, "position": 0, "permissions": "8", "managed": False}
CHANNEL = {"id": "1", "type": 0, "name": "general", "position": 0}
# The call, its path and its Authorization header.
MEMBER_CALLS: dict[str, tuple[Callable[[DiscordClient], Member | None], str, str]] = {
    "person": (lambda client: client.get_user_guild_member(1, "token"), "/users/@me/guilds/1/member", "Bearer token"),
    "bot": (lambda client: client.get_guild_member(1, 2, "token"), "/guilds/1/members/2", "Bot token"),
}


@pytest.mark.parametrize("call", MEMBER_CALLS)
def test_a_member_is_read_with_the_persons_token_or_the_bots(
    client: DiscordClient, script: Script, exchanges: list[Exchange], call: str
) -> None:
    script.respond(200, MEMBER)
    ask, path, authorization = MEMBER_CALLS[call]

    assert ask(client) == Member((5, 7), "Ada", None, None, True)

    [request] = script.requests
    assert (request.path, request.headers["Authorization"]) == (path, authorization)
    routes = {"person": "GET /users/@me/guilds/{guild.id}/member", "bot": "GET /guilds/{guild.id}/members/{user.id}"}
    assert exchanges[0].route == routes[call]


@pytest.mark.parametrize(
    ("call", "code", "error"),
    [
        ("person", 10004, None),
        ("person", 10007, None),
        ("bot", 10007, None),
        ("bot", 10013, None),
        ("bot", 10004, UnknownGuild),
        ("bot", 50001, BotMissingAccess),
        ("bot", 0, RequestRejected),
        ("person", 0, RequestRejected),
    ],
)
def test_only_discords_own_code_says_that_someone_is_no_member(
    client: DiscordClient, script: Script, call: str, code: int, error: type[DiscordAPIError] | None
) -> None:
    script.respond(403 if code == 50001 else 404, {"message": "Unknown", "code": code})
    ask = MEMBER_CALLS[call][0]

    if error is None:
        assert ask(client) is None
    else:
        with pytest.raises(error):
            ask(client)


@pytest.mark.parametrize(
    ("ask", "entry", "path"),
    [
        (DiscordClient.get_guild_roles, ROLE, "/guilds/9/roles"),
        (DiscordClient.get_guild_channels, CHANNEL, "/guilds/9/channels"),
    ],
)
def test_roles_and_channels_are_read_as_far_as_they_can_be(
    client: DiscordClient,
    script: Script,
    ask: Callable[[DiscordClient, int, str], Listing[Any]],
    entry: dict[str, Any],
    path: str,
) -> None:
    script.respond(200, [{**entry, "id": "3"}, {"id": "2"}, entry, None])

    with capture_logs() as logs:
        listing = ask(client, 9, "the-bot-token")

    assert [each.id for each in listing.entries] == [1, 3]
    assert (set(listing.ids), listing.without_id) == ({1, 2, 3}, 1)
    assert [request.path for request in script.requests] == [path]
    assert [line["event"] for line in logs] == ["discord_entries_skipped"]


@pytest.mark.parametrize("payload", [None, {}, [None], [{"id": "1"}]])
def test_what_holds_no_role_is_no_list_of_roles(client: DiscordClient, script: Script, payload: object) -> None:
    script.respond(200, payload)

    with pytest.raises(UnusableResponse):
        client.get_guild_roles(9, "the-bot-token")


@pytest.mark.parametrize("code", [10007, 10013])
def test_an_unknown_member_is_no_unusable_response(client: DiscordClient, script: Script, code: int) -> None:
    """Such a response is not logged as an error of the site."""
    script.respond(404, {"message": "Unknown", "code": code})

    with pytest.raises(UnknownMember):
        client.fetch("/guilds/1/members/2", "token", scheme="Bot")


def test_a_code_becomes_tokens(client: DiscordClient, script: Script) -> None:
    script.respond(200, TOKENS)

    tokens = client.exchange_code("the-code", "http://localhost/complete", "the-verifier")

    assert tokens == Tokens(
        "the-new-access-token", "the-new-refresh-token", 604800, frozenset({"identify", "guilds"}), "Bearer"
    )
    (request,) = script.requests
    assert (request.method, request.path) == ("POST", "/oauth2/token")
    assert request.headers["Content-Type"] == "application/x-www-form-urlencoded"
    credentials = base64.b64encode(b"guildhall:our-own-secret").decode()
    assert request.headers["Authorization"] == f"Basic {credentials}"
    assert parse_qs(request.body.decode()) == {
        "grant_type": ["authorization_code"],
        "code": ["the-code"],
        "redirect_uri": ["http://localhost/complete"],
        "code_verifier": ["the-verifier"],
    }


def test_a_refresh_token_becomes_a_new_pair(client: DiscordClient, script: Script) -> None:
    script.respond(200, TOKENS)

    assert client.refresh_tokens("the-old-one").refresh_token == "the-new-refresh-token"

    form = parse_qs(script.requests[0].body.decode())
    assert form == {"grant_type": ["refresh_token"], "refresh_token": ["the-old-one"]}


@pytest.mark.parametrize("body", [{}, b""])
def test_a_revocation_carries_our_credentials(client: DiscordClient, script: Script, body: Any) -> None:
    script.respond(200, body)

    client.revoke_token("the-old-one")

    (request,) = script.requests
    assert (request.method, request.path) == ("POST", "/oauth2/token/revoke")
    credentials = base64.b64encode(b"guildhall:our-own-secret").decode()
    assert request.headers["Authorization"] == f"Basic {credentials}"
    assert parse_qs(request.body.decode()) == {"token": ["the-old-one"]}


def test_a_token_request_is_never_sent_twice(client: DiscordClient, script: Script, clock: Clock) -> None:
    script.limit(0.5)

    with pytest.raises(RateLimited) as caught:
        client.refresh_tokens("the-old-one")

    assert len(script.requests) == caught.value.attempts == 1
    assert clock.slept == []


def test_a_used_up_refresh_token_is_final(client: DiscordClient, script: Script) -> None:
    script.respond(400, {"error": "invalid_grant", "error_description": 'Invalid "refresh_token" in request'})

    with pytest.raises(InvalidGrant):
        client.refresh_tokens("the-old-one")


def test_a_pair_that_is_not_one_is_no_response(client: DiscordClient, script: Script) -> None:
    script.respond(200, TOKENS | {"refresh_token": None})

    with pytest.raises(UnusableResponse, match=r"token\.refresh_token"):
        client.refresh_tokens("the-old-one")


# Retries


def test_a_limited_request_is_sent_again_when_discord_says(
    client: DiscordClient, script: Script, clock: Clock, exchanges: list[Exchange]
) -> None:
    script.limit(0.881)
    script.limit(1.5, Retry_After="2")
    script.respond(200, [])

    assert client.get_user_guilds(TOKEN) == GuildPage()

    assert clock.slept == pytest.approx([0.981, 2.1])
    assert [exchange.attempt for exchange in exchanges] == [1, 2, 3]


def test_without_a_word_about_the_wait_it_doubles(client: DiscordClient, script: Script, clock: Clock) -> None:
    script.respond(429, {"message": "You are being rate limited."})

    with pytest.raises(RateLimited) as caught:
        client.get_user_guilds(TOKEN)

    assert clock.slept == [1.0, 2.0, 4.0]
    assert len(script.requests) == 4
    assert (caught.value.attempts, caught.value.scope, caught.value.retry_after) == (4, "user", None)


def test_the_number_of_retries_and_the_delay_are_the_callers(
    client: DiscordClient, script: Script, clock: Clock
) -> None:
    script.respond(429, b"")

    with pytest.raises(RateLimited):
        client.fetch("/users/@me", TOKEN, max_retries=2, retry_delay=0.25)

    assert clock.slept == [0.25, 0.5]


@pytest.mark.parametrize("max_retries", [0, -1])
def test_no_retries_means_one_request(client: DiscordClient, script: Script, clock: Clock, max_retries: int) -> None:
    script.limit(0.5)

    with pytest.raises(RateLimited):
        client.fetch("/users/@me", TOKEN, max_retries, 0.5)

    assert (len(script.requests), clock.slept) == (1, [])


def test_the_clients_own_defaults_hold_for_every_method(client: DiscordClient, script: Script, clock: Clock) -> None:
    script.respond(429, b"")
    impatient = replace(client, max_retries=1, retry_delay=0.5)

    for ask in (impatient.get_current_user, impatient.get_user_guilds):
        with pytest.raises(RateLimited):
            ask(TOKEN)

    assert clock.slept == [0.5, 0.5]


def test_a_wait_past_the_budget_is_not_waited_for(client: DiscordClient, script: Script, clock: Clock) -> None:
    script.limit(82_800)  # 23 hours

    with pytest.raises(RateLimited) as caught:
        client.get_user_guilds(TOKEN)

    assert (caught.value.retry_after, caught.value.attempts) == (82_800, 1)
    assert (len(script.requests), clock.slept) == (1, [])


# After the shorter one, two seconds are left for a real response.
@pytest.mark.parametrize(("wait", "requests"), [(7.9, 2), (9.9, 1)])
def test_the_budget_is_counted_from_the_first_request(
    client: DiscordClient, script: Script, wait: float, requests: int
) -> None:
    script.limit(wait)

    with pytest.raises(RateLimited):
        client.get_user_guilds(TOKEN)

    assert len(script.requests) == requests


def test_a_deadline_replaces_the_budget(client: DiscordClient, script: Script, clock: Clock) -> None:
    script.limit(2)
    hurried = replace(client, deadline=clock() + 5)

    with pytest.raises(RateLimited):
        hurried.get_user_guilds(TOKEN)

    assert clock.slept == [2.1, 2.1]


def test_past_the_deadline_nothing_is_sent(client: DiscordClient, script: Script, clock: Clock) -> None:
    asked: list[str] = []
    late = replace(client, deadline=clock(), before_send=asked.append)

    with pytest.raises(DiscordUnavailable) as caught:
        late.get_user_guilds(TOKEN)

    assert caught.value.attempts == 0
    assert (script.requests, asked) == ([], [])


def test_a_permission_that_comes_too_late_is_not_used(
    client: DiscordClient, script: Script, clock: Clock, exchanges: list[Exchange]
) -> None:
    slow = replace(client, before_send=lambda route: clock.sleep(11))

    with pytest.raises(DiscordUnavailable):
        slow.get_user_guilds(TOKEN)

    assert (script.requests, exchanges) == ([], [])


def test_a_ban_without_an_end_is_not_asked_about_again(client: DiscordClient, script: Script, clock: Clock) -> None:
    script.respond(429, b"error code: 1015", via=False)

    with pytest.raises(RateLimited) as caught:
        client.get_user_guilds(TOKEN)

    assert (caught.value.scope, caught.value.retry_after) == ("cloudflare", None)
    assert (len(script.requests), clock.slept) == (1, [])


def test_a_ban_with_a_near_end_is(client: DiscordClient, script: Script) -> None:
    script.respond(429, b"error code: 1015", via=False, Retry_After="3")
    script.respond(200, [])

    assert client.get_user_guilds(TOKEN) == GuildPage()


@pytest.mark.parametrize(
    ("status", "body", "error_class"),
    [
        (400, {"message": "Invalid Form Body", "code": 50035}, RequestRejected),
        (401, {"message": "401: Unauthorized", "code": 0}, Unauthorized),
        (403, {"message": "Missing Access", "code": 50001}, MissingAccess),
        (403, {"message": "Missing required OAuth2 scope", "code": 50026}, MissingScope),
        (404, {"message": "Unknown", "code": 0}, RequestRejected),
        (500, b"", DiscordUnavailable),
        (502, b"<html>", DiscordUnavailable),
        (503, {"retry_after": 1}, DiscordUnavailable),
        (200, b"<html>", UnusableResponse),
    ],
)
def test_nothing_but_429_is_sent_again(
    client: DiscordClient, script: Script, status: int, body: object, error_class: type[DiscordAPIError]
) -> None:
    script.respond(status, body)

    with pytest.raises(DiscordAPIError) as caught:
        client.get_user_guilds(TOKEN)

    assert type(caught.value) is error_class
    assert (caught.value.status, caught.value.attempts) == (status, 1)
    assert caught.value.route == "GET /users/@me/guilds"
    assert len(script.requests) == 1


def test_each_retry_is_logged_once(client: DiscordClient, script: Script) -> None:
    script.limit(0.9, X_RateLimit_Scope="shared")
    script.respond(200, [])

    with capture_logs() as logs:
        client.get_user_guilds(TOKEN)

    assert logs == [
        {
            "event": "discord_retry",
            "log_level": "warning",
            "route": "GET /users/@me/guilds",
            "attempt": 1,
            "max_retries": 3,
            "wait_seconds": 1.0,
            "scope": "shared",
        }
    ]


def test_the_default_jitter_is_small_and_never_early(script: Script, clock: Clock) -> None:
    script.limit(2)
    client = DiscordClient(script.url, clock=clock, sleep=clock.sleep)

    with pytest.raises(RateLimited):
        client.get_user_guilds(TOKEN)

    assert len(clock.slept) == 3
    assert all(2.05 <= slept <= 2.25 for slept in clock.slept)


# Hooks


def test_every_request_asks_first(client: DiscordClient, script: Script) -> None:
    asked: list[str] = []
    script.limit(0.5)
    script.respond(200, [])

    replace(client, before_send=asked.append).get_user_guilds(TOKEN)

    assert asked == ["GET /users/@me/guilds"] * 2


@pytest.mark.parametrize("refusal", [KeyError("shut"), RateLimited(retry_after=0.5, scope="global")])
def test_a_refusal_before_sending_goes_to_the_caller_as_it_is(
    client: DiscordClient, script: Script, clock: Clock, exchanges: list[Exchange], refusal: Exception
) -> None:
    def refuse(route: str) -> None:
        raise refusal

    with pytest.raises(type(refusal)) as caught:
        replace(client, before_send=refuse).get_user_guilds(TOKEN)

    assert caught.value is refusal
    assert (script.requests, clock.slept, exchanges) == ([], [], [])


def test_a_retry_can_be_refused_too(client: DiscordClient, script: Script) -> None:
    def refuse_the_second(route: str) -> None:
        if script.requests:
            raise KeyError("shut meanwhile")

    script.limit(0.5)

    with pytest.raises(KeyError, match="shut meanwhile"):
        replace(client, before_send=refuse_the_second).get_user_guilds(TOKEN)

    assert len(script.requests) == 1


def test_every_response_is_told(client: DiscordClient, script: Script, clock: Clock, exchanges: list[Exchange]) -> None:
    script.limit(0.5, X_RateLimit_Scope="shared")
    script.limit(0.5)
    script.respond(200, [])

    client.get_user_guilds(TOKEN)

    route = "GET /users/@me/guilds"
    told = [replace(exchange, error=None) for exchange in exchanges]
    assert told == [
        Exchange(route, "GET", 429, "shared", 0.5, False, 1, 0.0, None),
        Exchange(route, "GET", 429, "user", 0.5, True, 2, 0.0, None),
        Exchange(route, "GET", 200, None, None, False, 3, 0.0, None),
    ]
    assert [type(exchange.error) for exchange in exchanges] == [RateLimited, RateLimited, type(None)]


def test_a_response_is_not_lost_because_telling_failed(client: DiscordClient, script: Script) -> None:
    def fail(exchange: Exchange) -> None:
        raise RuntimeError("the database is away")

    script.respond(200, TOKENS)

    with capture_logs() as logs:
        tokens = replace(client, on_response=fail).refresh_tokens("the-old-one")

    assert tokens.refresh_token == "the-new-refresh-token"
    assert [(log["event"], log["log_level"]) for log in logs] == [("discord_answer_not_noted", "error")]


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/users/@me", "GET /users/@me"),
        ("/users/@me/guilds/80351110224678912/member", "GET /users/@me/guilds/{guild.id}/member"),
        ("/guilds/1/members/2?x=3", "GET /guilds/{guild.id}/members/{user.id}"),
        ("/webhooks/1/s3cr3t_T0ken", "GET /webhooks/{id}/{id}"),
    ],
)
def test_a_route_is_named_without_its_ids(client: DiscordClient, script: Script, path: str, route: str) -> None:
    asked: list[str] = []
    script.respond(200, {})

    replace(client, before_send=asked.append).fetch(path, TOKEN)

    assert asked == [route]


def test_a_path_cannot_lead_to_another_host(client: DiscordClient, script: Script) -> None:
    with pytest.raises(ValueError, match="slash"):
        client.fetch("@example.com/users/@me", TOKEN)


# Secrets


@pytest.mark.parametrize("token", ["", "two words", "line\nbreak", "snow☃", "\ud800"])
def test_a_damaged_token_is_refused_unsent_and_unseen(client: DiscordClient, script: Script, token: str) -> None:
    with pytest.raises(Unauthorized) as caught:
        client.get_user_guilds(token)

    assert caught.value.attempts == 0
    assert script.requests == []
    assert not token or token not in str(caught.value)


def test_a_client_does_not_show_its_secret(client: DiscordClient) -> None:
    assert "our-own-secret" not in repr(client)


@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 429, 500, None])
def test_no_secret_is_in_an_error_its_traceback_or_a_log(
    client: DiscordClient, script: Script, exchanges: list[Exchange], status: int | None
) -> None:
    code, verifier, refresh_token = "the-secret-code", "the-verifier", "the-old-refresh-token"
    said = " ".join([TOKEN, code, verifier, refresh_token, "our-own-secret"])
    if status is None:
        client = replace(client, base_url="http://127.0.0.1:9")  # no server listens there
    else:
        script.respond(status, {"message": said, "error": said, "retry_after": 0.5})
    questions: list[tuple[tuple[str, ...], Callable[[], object]]] = [
        ((TOKEN,), lambda: client.get_user_guilds(TOKEN)),
        ((code, verifier), lambda: client.exchange_code(code, "http://localhost/", verifier)),
        ((refresh_token, client.client_secret), lambda: client.refresh_tokens(refresh_token)),
    ]
    if status != 200:  # a 200 confirms a revocation, whatever its body
        questions.append(((refresh_token, client.client_secret), lambda: client.revoke_token(refresh_token)))

    for secrets, ask in questions:
        exchanges.clear()
        with capture_logs() as logs, pytest.raises(DiscordAPIError) as caught:
            ask()

        error = caught.value
        seen = "".join(traceback.format_exception(error)) + repr([error, vars(error), logs, exchanges])
        assert not [secret for secret in secrets if secret in seen]
        assert (error.__cause__, error.__context__) == (None, None)
