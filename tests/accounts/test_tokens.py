"""Replacing tokens: an older version always loses, one call at a time exchanges them, and `invalid_grant` is final."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
import structlog
from cryptography.fernet import Fernet
from django.db import connection
from pytest_django import Settings

from accounts import tokens
from accounts.clock import database_now
from accounts.discord import (
    DiscordClient,
    DiscordUnavailable,
    MissingScope,
    SiteRefused,
    Tokens,
    Unauthorized,
    UnusableResponse,
)
from accounts.limits import LEASE_MARGIN
from accounts.models import DiscordAccount, User
from accounts.tokens import RENEWAL_POLL_SECONDS, ReconnectRequired, TokensReplaced, TokensUnreadable, discord_client
from tests.fixtures import Sandbox, let_pass


def account_of(user: User) -> DiscordAccount:
    return DiscordAccount.objects.get(user=user)


def link_again(user: User, sandbox: Sandbox) -> Tokens:
    """Replace the tokens, as a sign-in in another browser does."""
    brought = Tokens.from_json(sandbox.token("ada", "identify", "guilds"))
    tokens.store_sign_in(account_of(user), brought)
    return brought


def test_a_refresh_stores_the_rotated_pair(ada: User) -> None:
    before = tokens.read(ada.pk)

    renewed = tokens.refresh(before, discord_client())

    assert tokens.read(ada.pk) == renewed
    assert renewed.version == before.version + 1
    assert renewed.refresh_token != before.refresh_token
    assert discord_client().get_current_user(renewed.access_token).id == ada.discord_id


def test_the_tokens_before_a_refresh_are_dead(ada: User) -> None:
    before = tokens.read(ada.pk)

    tokens.refresh(before, discord_client())

    with pytest.raises(Unauthorized):
        discord_client().get_current_user(before.access_token)


def test_a_refresh_that_ends_after_a_sign_in_changes_nothing(ada: User, sandbox: Sandbox) -> None:
    before = tokens.read(ada.pk)
    brought = link_again(ada, sandbox)

    with pytest.raises(TokensReplaced):
        tokens.refresh(before, discord_client())

    now = tokens.read(ada.pk)
    assert (now.access_token, now.refresh_token) == (brought.access_token, brought.refresh_token)
    assert now.version == before.version + 1


def test_a_disconnect_after_a_sign_in_changes_nothing(ada: User, sandbox: Sandbox) -> None:
    before = tokens.read(ada.pk)
    brought = link_again(ada, sandbox)

    with pytest.raises(TokensReplaced):
        tokens.disconnect(before)

    assert tokens.read(ada.pk).access_token == brought.access_token
    assert account_of(ada).disconnected_at is None


def test_a_refresh_token_that_discord_voided_after_a_sign_in_disconnects_nobody(ada: User, sandbox: Sandbox) -> None:
    before = replace(tokens.read(ada.pk), refresh_token="used-up")
    link_again(ada, sandbox)

    with pytest.raises(TokensReplaced):
        tokens.refresh(before, discord_client())

    assert account_of(ada).disconnected_at is None


@pytest.mark.parametrize("refresh_token", ["used-up", ""])
def test_an_invalid_grant_disconnects(ada: User, refresh_token: str) -> None:
    before = replace(tokens.read(ada.pk), refresh_token=refresh_token)

    with pytest.raises(ReconnectRequired):
        tokens.refresh(before, discord_client())

    assert account_of(ada).disconnected_at
    with pytest.raises(ReconnectRequired):
        tokens.read(ada.pk)


def test_a_sign_in_connects_again(ada: User, sandbox: Sandbox) -> None:
    tokens.disconnect(tokens.read(ada.pk))

    brought = link_again(ada, sandbox)

    assert tokens.read(ada.pk).access_token == brought.access_token
    assert account_of(ada).disconnected_at is None


def test_a_wrong_client_secret_is_not_held_against_the_person(ada: User, settings: Settings) -> None:
    before = tokens.read(ada.pk)
    settings.DISCORD_CLIENT_SECRET = "wrong"

    with pytest.raises(SiteRefused):
        tokens.refresh(before, discord_client())

    assert tokens.read(ada.pk) == before


@pytest.mark.parametrize("mode", ["outage", "reset", "garbage", "wrong_type"])
def test_a_silent_token_endpoint_leaves_the_tokens_as_they_are(ada: User, sandbox: Sandbox, mode: str) -> None:
    before = tokens.read(ada.pk)
    sandbox.mood(mode, routes=["/oauth2/token"])

    with pytest.raises(UnusableResponse if mode in ("garbage", "wrong_type") else DiscordUnavailable):
        tokens.refresh(before, discord_client())

    assert tokens.read(ada.pk) == before
    assert len(sandbox.requests("/oauth2/token")) == 1


@pytest.mark.django_db
def test_somebody_without_an_account_has_to_connect() -> None:
    staff = User.objects.create_user(username="staff")

    with pytest.raises(ReconnectRequired):
        tokens.read(staff.pk)


def test_a_second_disconnect_changes_nothing(ada: User) -> None:
    credentials = tokens.read(ada.pk)
    tokens.disconnect(credentials)
    first = account_of(ada)

    tokens.disconnect(credentials)

    second = account_of(ada)
    assert (second.token_version, second.disconnected_at) == (first.token_version, first.disconnected_at)


# one exchange at a time


def expire(user: User) -> None:
    account = account_of(user)
    account.extra_data = {**account.extra_data, "expires_at": 0}
    account.save()


def lease_renewal(user: User, **time: float) -> datetime:
    """Acquire the lease, as another call does that is exchanging the refresh token."""
    until = database_now() + timedelta(**time)
    DiscordAccount.objects.filter(user=user).update(renewal_until=until)
    return until


def the_token(user: User, client: DiscordClient | None = None, **options: Any) -> str:
    return tokens.call(user.pk, "guilds", client or discord_client(), lambda token: token, **options)


def never(_seconds: float) -> None:
    pytest.fail("it waited")


def test_a_call_renews_an_expired_token_and_releases_the_lease(ada: User, sandbox: Sandbox) -> None:
    expire(ada)

    used = the_token(ada, sleep=never)

    assert used == tokens.read(ada.pk).access_token
    assert account_of(ada).renewal_until is None
    assert len(sandbox.requests("/oauth2/token")) == 1


@pytest.mark.parametrize(
    ("expired", "refused", "asked_with", "renewals"),
    [
        (False, "", ["old"], 0),
        (True, "", ["new"], 1),
        (True, "new", ["new"], 1),
        (False, "old", ["old", "new"], 1),
        (False, "old new", ["old", "new"], 1),
    ],
)
def test_a_call_renews_a_token_at_most_once(
    ada: User, sandbox: Sandbox, expired: bool, refused: str, asked_with: list[str], renewals: int
) -> None:
    """A new token that is also refused disconnects the person."""
    old = tokens.read(ada.pk).access_token
    if expired:
        expire(ada)
    asked: list[str] = []

    def ask(token: str) -> str:
        asked.append("old" if token == old else "new")
        if asked[-1] in refused:
            raise Unauthorized
        return token

    if "new" in refused:
        with pytest.raises(Unauthorized):
            tokens.call(ada.pk, "guilds", discord_client(), ask)
        assert account_of(ada).disconnected_at
    else:
        assert tokens.call(ada.pk, "guilds", discord_client(), ask) == tokens.read(ada.pk).access_token

    assert asked == asked_with
    assert len(sandbox.requests("/oauth2/token")) == renewals


def test_a_call_without_the_scope_asks_and_renews_nothing(ada: User, sandbox: Sandbox) -> None:
    expire(ada)

    with pytest.raises(MissingScope) as missing:
        tokens.call(ada.pk, "guilds.members.read", discord_client(), lambda _token: pytest.fail("it asked"))

    assert missing.value.message == "the person did not grant the scope guilds.members.read"
    assert sandbox.requests("/oauth2/token") == []


def test_a_call_waits_for_another_ones_exchange_and_uses_its_tokens(ada: User, sandbox: Sandbox) -> None:
    expire(ada)
    lease_renewal(ada, seconds=10)
    held: list[bool] = []

    def sleep(seconds: float) -> None:
        assert seconds == RENEWAL_POLL_SECONDS
        held.append(connection.connection is not None)
        if len(held) == 3:
            link_again(ada, sandbox)

    used = the_token(ada, sleep=sleep)

    assert used == tokens.read(ada.pk).access_token
    assert held == [False] * 3, "a call that waits holds no database connection"
    assert sandbox.requests("/oauth2/token") == []


def test_a_call_waits_no_longer_than_its_deadline(ada: User, sandbox: Sandbox) -> None:
    expire(ada)
    until = lease_renewal(ada, seconds=10)
    elapsed = [0.0]
    client = replace(discord_client(), clock=lambda: elapsed[0], deadline=0.25)

    def sleep(seconds: float) -> None:
        elapsed[0] += seconds

    with pytest.raises(DiscordUnavailable):
        the_token(ada, client, sleep=sleep)

    assert elapsed == [0.25]
    assert account_of(ada).renewal_until == until
    assert sandbox.requests("/oauth2/token") == []


def test_a_lease_whose_holder_died_is_taken_over_at_its_end(ada: User, sandbox: Sandbox) -> None:
    expire(ada)
    lease_renewal(ada, seconds=10)
    let_pass(seconds=10)

    the_token(ada, sleep=never)

    assert len(sandbox.requests("/oauth2/token")) == 1


def test_a_lease_from_before_the_clock_jumped_back_is_nobodys(ada: User, sandbox: Sandbox) -> None:
    expire(ada)
    lease_renewal(ada, hours=1)

    the_token(ada, sleep=never)

    assert len(sandbox.requests("/oauth2/token")) == 1


def test_a_lease_that_runs_out_while_a_call_waits_is_taken_over(ada: User, sandbox: Sandbox) -> None:
    expire(ada)
    lease_renewal(ada, seconds=10)

    the_token(ada, sleep=lambda _seconds: let_pass(seconds=10))

    assert len(sandbox.requests("/oauth2/token")) == 1


def test_a_call_fails_with_the_exchange_that_it_waited_for(ada: User, sandbox: Sandbox) -> None:
    """If the token endpoint fails, one request shows it as well as five."""
    expire(ada)
    lease_renewal(ada, seconds=10)

    with pytest.raises(DiscordUnavailable):
        the_token(ada, sleep=lambda _seconds: DiscordAccount.objects.update(renewal_until=None))

    assert sandbox.requests("/oauth2/token") == []


def test_a_call_learns_from_another_one_that_the_tokens_are_dead(ada: User, sandbox: Sandbox) -> None:
    expire(ada)
    lease_renewal(ada, seconds=10)
    credentials = tokens.read(ada.pk)

    with pytest.raises(ReconnectRequired):
        the_token(ada, sleep=lambda _seconds: tokens.disconnect(credentials))

    assert sandbox.requests("/oauth2/token") == []


def test_an_exchange_that_fails_releases_its_lease(ada: User, sandbox: Sandbox) -> None:
    expire(ada)
    sandbox.mood("outage", routes=["/oauth2/token"])

    with pytest.raises(DiscordUnavailable):
        the_token(ada)

    assert account_of(ada).renewal_until is None


def test_an_exchange_that_fails_late_leaves_another_ones_lease_alone(ada: User, sandbox: Sandbox) -> None:
    expire(ada)
    sandbox.mood("outage", routes=["/oauth2/token"])
    taken_over: list[datetime] = []
    client = replace(discord_client(), before_send=lambda _route: taken_over.append(lease_renewal(ada, seconds=60)))

    with pytest.raises(DiscordUnavailable):
        the_token(ada, client)

    assert [account_of(ada).renewal_until] == taken_over


def test_a_lease_outlives_the_attempt_by_the_margin(ada: User) -> None:
    """So the result of an exchange can still be stored, and a takeover of the attempt doesn't have to wait for it."""
    expire(ada)
    leased: list[timedelta] = []

    def look(_route: str) -> None:
        until = account_of(ada).renewal_until
        assert until
        leased.append(until - database_now())

    the_token(ada, replace(discord_client(), clock=lambda: 100.0, deadline=107.0, before_send=look))

    assert timedelta(seconds=8) < leased[0] <= timedelta(seconds=7) + LEASE_MARGIN


def test_a_sign_in_ends_the_lease_on_older_tokens(ada: User, sandbox: Sandbox) -> None:
    lease_renewal(ada, seconds=10)

    link_again(ada, sandbox)

    assert account_of(ada).renewal_until is None


def test_credentials_print_no_token(ada: User) -> None:
    credentials = tokens.read(ada.pk)

    printed = f"{credentials!r} {credentials}"

    assert credentials.access_token not in printed
    assert credentials.refresh_token not in printed


@pytest.fixture
def locked(ada: User, settings: Settings) -> list[str]:
    """Replace the keys by one that decrypts nothing, and return the original keys."""
    right = settings.TOKEN_KEYS
    settings.TOKEN_KEYS = [Fernet.generate_key().decode()]
    return right


def test_tokens_that_no_key_opens_are_the_sites_fault(ada: User, locked: list[str], settings: Settings) -> None:
    with structlog.testing.capture_logs() as log, pytest.raises(TokensUnreadable):
        tokens.read(ada.pk)

    assert [(line["event"], line["log_level"], line["why"]) for line in log] == [
        ("discord_tokens_unreadable", "error", "no_key")
    ]
    assert tokens.count_unreadable() == 1
    settings.TOKEN_KEYS = locked
    assert tokens.read(ada.pk).access_token
    assert tokens.count_unreadable() == 0


def test_tokens_moved_to_another_row_open_nothing(ada: User, sign_up: Callable[..., User]) -> None:
    grace = sign_up("grace")
    stolen = account_of(ada).extra_data
    DiscordAccount.objects.filter(user=grace).update(extra_data=stolen)

    with pytest.raises(TokensUnreadable, match="other_owner"):
        tokens.read(grace.pk)


def test_tokens_of_the_previous_release_open_and_are_bound_when_they_are_renewed(ada: User) -> None:
    account = account_of(ada)
    del account.extra_data["user_id"]
    account.save()

    tokens.refresh(tokens.read(ada.pk), discord_client())

    assert account_of(ada).extra_data["user_id"] == ada.pk


def test_the_client_names_the_site_and_uses_its_proxy(settings: Settings) -> None:
    settings.SITE_URL = "https://chess.example"
    settings.DISCORD_PROXY_URL = "http://proxy.example:3128"

    session = discord_client().session()

    assert str(session.headers["User-Agent"]).startswith("DiscordBot (https://chess.example, ")
    assert session.proxies == {"http": "http://proxy.example:3128", "https": "http://proxy.example:3128"}
