"""Each of Discord's responses has the same meaning for all callers: what visitors and operators are told."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import structlog

from accounts import gate
from accounts.discord import DiscordAPIError, DiscordClient, InvalidGrant
from accounts.limits import Priority, Reason
from accounts.models import DiscordRefusal
from accounts.reasons import reason_of
from accounts.tokens import discord_client
from guilds.operations import report, status
from guilds.problems.of_errors import problem_of
from sandbox.remote import BOT_MEMBER, CHANNELS, ROLES
from sandbox.remote import MEMBER as OWN_MEMBER
from tests.fixtures import Sandbox

pytestmark = pytest.mark.django_db

# The route and the call, by the owner of the request's credentials; "guild" is the bot's about one guild.
PATHS: dict[str, tuple[str, str, Callable[[DiscordClient], object]]] = {
    "list": ("person", "/users/@me/guilds", lambda client: client.get_user_guilds("token")),
    "profile": ("person", "/users/@me", lambda client: client.get_current_user("token")),
    "own member": ("person", OWN_MEMBER, lambda client: client.get_user_guild_member(1, "token")),
    "code": ("client", "/oauth2/token", lambda client: client.exchange_code("code", "https://example.org/")),
    "refresh": ("client", "/oauth2/token", lambda client: client.refresh_tokens("refresh")),
    "revoke": ("client", "/oauth2/token/revoke", lambda client: client.revoke_token("token")),
    "bot's list": ("bot", "/users/@me/guilds", lambda client: list(client.iter_bot_guilds("token"))),
    "one guild": ("bot", "/users/@me/guilds", lambda client: client.get_bot_guild(1, "token")),
    "bot's profile": ("bot", "/users/@me", lambda client: client.get_bot_user("token")),
    "member": ("guild", BOT_MEMBER, lambda client: client.get_guild_member(1, 2, "token")),
    "roles": ("guild", ROLES, lambda client: client.get_guild_roles(1, "token")),
    "channels": ("guild", CHANNELS, lambda client: client.get_guild_channels(1, "token")),
}


def raw(status: int, body: object = "", **headers: str) -> dict[str, Any]:
    """A response of Discord itself, which has a Via header."""
    text = body if isinstance(body, str) else json.dumps(body)
    return {"mode": "raw", "status": status, "headers": {"Via": "1.1 google", **headers}, "body": text}


def from_cloudflare(status: int) -> dict[str, Any]:
    return {"mode": "raw", "status": status, "headers": {"Content-Type": "text/html"}, "body": "<html>"}


def oauth(error: str, description: str = "", status: int = 400) -> dict[str, Any]:
    return raw(status, {"error": error, "error_description": description})


def everywhere(reason: Reason) -> dict[str, Reason]:
    return dict.fromkeys(("person", "client", "bot", "guild"), reason)


REFUSED = {**everywhere(Reason.SITE_REFUSED), "person": Reason.RECONNECT_REQUIRED}
# Discord's response, and its meaning by the owner of the credentials.
ANSWERS: dict[str, tuple[dict[str, Any], dict[str, Reason]]] = {
    "429 of a user": ({"mode": "rate_limited", "retry_after": 40}, everywhere(Reason.RATE_LIMITED)),
    "429 of a resource": ({"mode": "shared_limit", "retry_after": 40}, everywhere(Reason.RATE_LIMITED)),
    "429 of the site": ({"mode": "global_limit", "retry_after": 40}, everywhere(Reason.GLOBAL_LIMIT)),
    "429 by Cloudflare": (from_cloudflare(429), everywhere(Reason.CLOUDFLARE)),
    "403 by Cloudflare": (from_cloudflare(403), everywhere(Reason.CLOUDFLARE)),
    "403 with 40333": (raw(403, {"code": 40333, "message": "blocked"}), everywhere(Reason.CLOUDFLARE)),
    "503": (raw(503), everywhere(Reason.UNAVAILABLE)),
    "502 by Cloudflare": (from_cloudflare(502), everywhere(Reason.UNAVAILABLE)),
    "a broken connection": ({"mode": "reset"}, everywhere(Reason.UNAVAILABLE)),
    "401": (raw(401, {"message": "401: Unauthorized", "code": 0}), REFUSED),
    "403": (raw(403, {"message": "Forbidden", "code": 0}), REFUSED),
    "403 with 50026": (
        raw(403, {"message": "scope", "code": 50026}),
        {**REFUSED, "person": Reason.MISSING_SCOPE},
    ),
    "403 with 50001": (raw(403, {"message": "access", "code": 50001}), {**REFUSED, "guild": Reason.BOT_ABSENT}),
    "200 of the wrong shape": (raw(200, {"odd": True}), everywhere(Reason.UNUSABLE)),
    "200 that is no JSON": (raw(200, "<html>"), everywhere(Reason.UNUSABLE)),
    "200 without content": (raw(200), everywhere(Reason.UNUSABLE)),
    "a redirect": (raw(302, Location="https://example.org/"), everywhere(Reason.UNUSABLE)),
    "400": (raw(400, {"message": "Invalid Form Body", "code": 50035}), everywhere(Reason.UNUSABLE)),
    "404": (raw(404, {"message": "404: Not Found", "code": 0}), everywhere(Reason.UNUSABLE)),
    "invalid_client": (oauth("invalid_client", status=401), {"client": Reason.SITE_REFUSED}),
    "invalid_client with 400": (oauth("invalid_client"), {"client": Reason.SITE_REFUSED}),
    "a redirect address": (
        oauth("invalid_grant", 'Invalid "redirect_uri" in request.'),
        {"client": Reason.SITE_REFUSED},
    ),
    "a redirect address, older": (
        oauth("invalid_request", 'Invalid "redirect_uri" in request.'),
        {"client": Reason.SITE_REFUSED},
    ),
    "a used code": (oauth("invalid_grant", 'Invalid "code" in request.'), {"client": Reason.RECONNECT_REQUIRED}),
    "unsupported_grant_type": (oauth("unsupported_grant_type"), {"client": Reason.UNUSABLE}),
    "unauthorized_client": (oauth("unauthorized_client"), {"client": Reason.UNUSABLE}),
    "invalid_scope": (oauth("invalid_scope"), {"client": Reason.UNUSABLE}),
}
MATRIX = [
    pytest.param(path, answer, meanings[PATHS[path][0]], id=f"{path}: {name}")
    for path in PATHS
    for name, (answer, meanings) in ANSWERS.items()
    # The response to a revocation has no content to parse (RFC 7009).
    if PATHS[path][0] in meanings and not (path == "revoke" and name.startswith("200"))
]
STATUSES = {Reason.SITE_REFUSED: 503, Reason.UNUSABLE: 503, Reason.UNAVAILABLE: 503, Reason.BOT_ABSENT: 409}
LOGGED = {Reason.SITE_REFUSED: ["discord_refuses_site_credentials"], Reason.UNUSABLE: ["discord_unusable_answer"]}


@pytest.mark.parametrize(("path", "answer", "reason"), MATRIX)
def test_each_answer_means_the_same_on_every_path(
    path: str, answer: dict[str, Any], reason: Reason, sandbox: Sandbox
) -> None:
    _credentials, route, ask = PATHS[path]
    sandbox.mood(**{"routes": [route], **answer})
    client = gate.gated(replace(discord_client(), max_retries=0), Priority.COLD)

    with structlog.testing.capture_logs() as log, pytest.raises(DiscordAPIError) as failure:
        ask(client)

    assert reason_of(failure.value) is reason
    assert [entry["event"] for entry in log if entry["log_level"] == "error"] == LOGGED.get(reason, [])
    assert status.read_facts(*gate.read()).is_misconfigured is (reason is Reason.SITE_REFUSED)
    told = problem_of(failure.value)
    if isinstance(failure.value, InvalidGrant):
        assert told is None, "a sign-in that failed, or ReconnectRequired from the tokens"
        return
    assert told
    assert told.status == (429 if reason.is_limit else STATUSES.get(reason, 403))
    assert (told.retry_after is None) is reason.is_refusal
    assert told.reason == (None if reason is Reason.BOT_ABSENT else reason)


@pytest.mark.parametrize(
    ("path", "answer", "names"),
    [
        ("refresh", "401", "DISCORD_CLIENT_SECRET"),
        ("code", "a redirect address", "redirect URI"),
        ("bot's list", "401", "DISCORD_BOT_TOKEN"),
    ],
)
def test_the_operator_reads_which_credentials_are_refused(path: str, answer: str, names: str, sandbox: Sandbox) -> None:
    _credentials, route, ask = PATHS[path]
    sandbox.mood(**{"routes": [route], **ANSWERS[answer][0]})

    with pytest.raises(DiscordAPIError):
        ask(gate.gated(discord_client(), Priority.COLD))

    found = status.read()
    state, words = report.verdict(found)
    assert found.site_refused
    assert state == "misconfigured"
    assert names in words
    assert names in report.as_text(found)


def test_a_refused_redirect_address_does_not_count_towards_the_ban(sandbox: Sandbox) -> None:
    sandbox.mood(**{"routes": ["/oauth2/token"], **ANSWERS["a redirect address"][0]})

    with pytest.raises(DiscordAPIError):
        gate.gated(discord_client(), Priority.COLD).exchange_code("code", "https://example.org/")

    assert DiscordRefusal.objects.count() == 1
    assert gate.invalid_requests(status.read().now).count() == 0


def test_a_sign_in_that_shuts_the_gate_waits_until_it_opens(sandbox: Sandbox) -> None:
    """Cloudflare named no wait, so the gate is shut for a minute."""
    sandbox.mood(**{"routes": ["/oauth2/token"], **from_cloudflare(429)})

    with pytest.raises(DiscordAPIError) as failure:
        gate.gated(discord_client(), Priority.COLD).exchange_code("code", "https://example.org/")

    told = problem_of(failure.value)
    assert told
    assert told.retry_after in (59, 60)
