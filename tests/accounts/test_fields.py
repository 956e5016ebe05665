"""Tokens at rest: encryption, key rotation, and that they are never printed."""

import io

import pytest
from cryptography.fernet import Fernet
from django.core.management import call_command
from django.db import connection
from pytest_django import Settings

from accounts.models import DiscordAccount, User

SECRETS = {"access_token": "the-access-token", "refresh_token": "the-refresh-token"}


@pytest.fixture
def account(db: None) -> DiscordAccount:
    user = User.objects.create_user(username="1", discord_id=1)
    return DiscordAccount.objects.create(user=user, provider="discord", uid="1", extra_data=SECRETS)


def ciphertext() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT extra_data FROM accounts_discordaccount")
        (value,) = cursor.fetchone()
    return str(value)


def test_the_database_never_sees_a_token(account: DiscordAccount) -> None:
    assert "the-access-token" not in ciphertext()
    assert DiscordAccount.objects.get().extra_data == SECRETS


def test_an_update_seals_as_well(account: DiscordAccount) -> None:
    DiscordAccount.objects.update(extra_data={"access_token": "another-token"})

    assert "another-token" not in ciphertext()


def test_a_new_key_in_front_seals_and_the_old_one_still_opens(account: DiscordAccount, settings: Settings) -> None:
    settings.TOKEN_KEYS = [Fernet.generate_key().decode(), *settings.TOKEN_KEYS]
    opened = DiscordAccount.objects.get()
    opened.save()
    settings.TOKEN_KEYS = settings.TOKEN_KEYS[:1]

    assert opened.extra_data == SECRETS
    assert DiscordAccount.objects.get().extra_data == SECRETS


def test_what_no_key_opens_survives_a_save(account: DiscordAccount, settings: Settings) -> None:
    right_keys, before = settings.TOKEN_KEYS, ciphertext()
    settings.TOKEN_KEYS = [Fernet.generate_key().decode()]

    locked = DiscordAccount.objects.get()
    locked.save()

    assert locked.extra_data == {}
    assert ciphertext() == before
    settings.TOKEN_KEYS = right_keys
    assert DiscordAccount.objects.get().extra_data == SECRETS


def test_dumpdata_prints_no_token(account: DiscordAccount) -> None:
    out = io.StringIO()

    call_command("dumpdata", "accounts", stdout=out)

    assert "the-access-token" not in out.getvalue()
    assert "the-refresh-token" not in out.getvalue()
