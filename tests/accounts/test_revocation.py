"""Revoking tokens at Discord in the background when an account is deleted."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db import OperationalError, transaction
from pytest_django import Settings
from structlog.testing import capture_logs

from accounts import revocation, tokens
from accounts.clock import database_now
from accounts.discord import (
    DiscordUnavailable,
    Exchange,
    RateLimited,
    RequestRejected,
    SiteRefused,
    Unauthorized,
)
from accounts.limits import GateShut, Reason
from accounts.models import DiscordAccount, Session, User
from accounts.revocation import MAX_ATTEMPTS, MAX_PAUSE, Revocation, Revoker, SignedInAgain
from accounts.tokens import discord_client, revoker
from guilds import personal_data
from tests.fixtures import Sandbox

REVOKE = "/oauth2/token/revoke"


NOW = datetime.fromisoformat("2026-03-14T15:09:26+00:00")


# failures


def outcome_of(monkeypatch: pytest.MonkeyPatch, *errors: Exception | None) -> tuple[list[str], list[float]]:
    """Return the log events and the pauses of a revocation whose requests have these results."""
    script = list(errors)
    pauses: list[float] = []

    def send(self: Revocation, client: object) -> None:
        if error := script.pop(0):
            raise error

    monkeypatch.setattr(Revocation, "send", send)
    with capture_logs() as logs:
        Revoker(discord_client, lambda seconds: bool(pauses.append(seconds))).revoke(Revocation(1, "2", "secret"))
    assert script == []
    assert "secret" not in repr(logs)
    return [entry["event"] for entry in logs], pauses


REVOKED, DROPPED = "discord_tokens_revoked", "discord_tokens_not_revoked"


def test_failures_are_retried_with_longer_and_longer_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    shut = GateShut(Reason.CLOUDFLARE, NOW + timedelta(hours=1), NOW)
    errors = (DiscordUnavailable(), RateLimited(retry_after=30), shut, OperationalError(), None)

    events, pauses = outcome_of(monkeypatch, *errors)

    assert events == [REVOKED]
    assert pauses == [5, 30, MAX_PAUSE, 40]


def test_after_the_last_attempt_the_token_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    events, pauses = outcome_of(monkeypatch, *[DiscordUnavailable()] * MAX_ATTEMPTS)

    assert events == [DROPPED]
    assert len(pauses) == MAX_ATTEMPTS - 1


@pytest.mark.parametrize(
    ("error", "events"),
    [
        (SiteRefused(), [DROPPED]),
        (RequestRejected(), [DROPPED]),
        (SignedInAgain(), []),
    ],
    ids=["our credentials", "rejected", "signed in again"],
)
def test_an_answer_that_stays_the_same_is_not_asked_for_again(
    monkeypatch: pytest.MonkeyPatch, error: Exception, events: list[str]
) -> None:
    assert outcome_of(monkeypatch, error) == (events, [])


def test_the_queue_is_bounded_and_dropped_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revocation, "MAX_WAITING", 3)
    monkeypatch.setattr(Revocation, "send", fail)
    busy = Revoker(discord_client)

    with capture_logs() as logs:
        for number in range(10):
            busy.add(Revocation(number, "2", "secret"))
        busy.finish(0)

    reasons = [entry["reason"] for entry in logs]
    assert len(reasons) == 10
    assert set(reasons) == {"too many are waiting", "the process stops"}


def fail(self: Revocation, client: object) -> None:
    raise DiscordUnavailable


# with the sandbox


def sent(sandbox: Sandbox) -> int:
    return len(sandbox.requests(REVOKE))


def token_of(user: User) -> str:
    token: str = DiscordAccount.objects.get(user=user).extra_data["access_token"]
    return token


def test_forgetting_ends_the_authorization_at_discord(ada: User, sandbox: Sandbox) -> None:
    token = token_of(ada)

    personal_data.forget_user(ada)
    revoker.finish(60)

    assert sent(sandbox) == 1
    with pytest.raises(Unauthorized):
        discord_client().get_current_user(token)


def test_a_deletion_that_is_rolled_back_revokes_nothing(ada: User, monkeypatch: pytest.MonkeyPatch) -> None:
    added: list[Revocation] = []
    monkeypatch.setattr(revoker, "add", added.append)

    with transaction.atomic():
        personal_data.forget_user(ada)
        transaction.set_rollback(True)

    assert User.objects.filter(pk=ada.pk).exists()
    assert added == []


def test_an_outage_does_not_fail_the_deletion(ada: User, sandbox: Sandbox) -> None:
    sandbox.mood("outage")

    with capture_logs() as logs:
        personal_data.forget_user(ada)
        revoker.finish(0)

    assert not User.objects.filter(pk=ada.pk).exists()
    assert {"user_forgotten", DROPPED} <= {entry["event"] for entry in logs}


def test_a_person_who_signed_in_again_keeps_their_tokens(ada: User, sandbox: Sandbox) -> None:
    tokens.revoke(DiscordAccount.objects.get(user=ada))
    revoker.finish(60)

    assert sent(sandbox) == 0


def test_tokens_that_arrive_after_the_deletion_are_revoked(ada: User, sandbox: Sandbox) -> None:
    """The revoked token had already been exchanged, so Discord only knows its successor."""
    credentials = tokens.read(ada.pk)

    def forget(_exchange: Exchange) -> None:
        User.objects.filter(pk=ada.pk).delete()

    with pytest.raises(tokens.TokensReplaced):
        tokens.refresh(credentials, replace(discord_client(), on_response=forget))
    revoker.finish(60)

    assert sent(sandbox) == 1


# inactive people


def age(**moments: int) -> None:
    """Move each person's times into the past by this many days."""
    User.objects.update(**{name: database_now() - timedelta(days=days) for name, days in moments.items()})


@pytest.fixture
def retention(settings: Settings) -> None:
    settings.DISCORD_ACCOUNT_RETENTION_DAYS = 100


@pytest.mark.parametrize(
    ("moments", "stays"),
    [
        ({"date_joined": 300, "last_login": 101}, False),
        ({"date_joined": 300, "last_login": 99}, True),
        ({"date_joined": 101}, False),
        ({"date_joined": 99}, True),
    ],
)
@pytest.mark.usefixtures("retention")
def test_people_who_did_not_sign_in_for_long_are_forgotten(
    ada: User, sandbox: Sandbox, capsys: pytest.CaptureFixture[str], moments: dict[str, int], stays: bool
) -> None:
    age(**moments)

    call_command("purge_memberships")

    assert User.objects.filter(pk=ada.pk).exists() is stays
    assert ("Inactive people whose data was deleted: 1" in capsys.readouterr().out) is not stays
    assert sent(sandbox) == (0 if stays else 1)


@pytest.mark.usefixtures("retention")
def test_operators_blocked_people_and_people_with_a_session_stay(ada: User, client_of: Callable[[User], Any]) -> None:
    client_of(ada)
    User.objects.create_user(username="clerk", is_staff=True)
    User.objects.create_user(username="root", is_superuser=True)
    User.objects.create_user(username="blocked", is_active=False)
    User.objects.create_user(username="[user 7]", is_active=False)
    age(date_joined=101)

    assert personal_data.forget_inactive() == 0
    Session.objects.update(expire_date=database_now())
    assert personal_data.forget_inactive() == 1


@pytest.mark.usefixtures("retention")
def test_one_purge_forgets_a_bounded_number(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(personal_data, "MAX_FORGOTTEN", 2)
    for name in ("ada", "grace", "linus"):
        User.objects.create_user(username=name)
    age(date_joined=101)

    assert [personal_data.forget_inactive() for _ in range(3)] == [2, 1, 0]
