"""Replacing tokens: whoever comes with an older version has lost, and only `invalid_grant` is final."""

from dataclasses import replace

import pytest
from pytest_django import Settings

from accounts import tokens
from accounts.discord import DiscordUnavailable, Tokens, Unauthorized
from accounts.models import DiscordAccount, User
from accounts.tokens import ReconnectRequired, TokensReplaced, discord_client
from tests.fixtures import Sandbox


def account_of(user: User) -> DiscordAccount:
    return DiscordAccount.objects.get(user=user)


def link_again(user: User, sandbox: Sandbox) -> Tokens:
    """What a sign-in in another browser does to the tokens."""
    brought = Tokens.from_json(sandbox.token("ada", "identify", "guilds"))
    tokens.replace(account_of(user), brought)
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

    with pytest.raises(DiscordUnavailable):
        tokens.refresh(before, discord_client())

    assert tokens.read(ada.pk) == before


@pytest.mark.parametrize("mode", ["outage", "reset", "garbage", "wrong_type"])
def test_a_silent_token_endpoint_leaves_the_tokens_as_they_are(ada: User, sandbox: Sandbox, mode: str) -> None:
    before = tokens.read(ada.pk)
    sandbox.mood(mode, routes=["/oauth2/token"])

    with pytest.raises(DiscordUnavailable):
        tokens.refresh(before, discord_client())

    assert tokens.read(ada.pk) == before
    assert len(sandbox.requests("/oauth2/token")) == 1


@pytest.mark.django_db
def test_somebody_without_an_account_has_to_connect() -> None:
    staff = User.objects.create_user(username="staff")

    with pytest.raises(ReconnectRequired):
        tokens.read(staff.pk)


def test_credentials_print_no_token(ada: User) -> None:
    credentials = tokens.read(ada.pk)

    printed = f"{credentials!r} {credentials}"

    assert credentials.access_token not in printed
    assert credentials.refresh_token not in printed
