"""`after_restore` corrects what a restored backup revives, and the list of deletions outlives the database."""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import structlog
from django.core.management import CommandError, call_command
from django.db import transaction
from django.db.models import Model
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from accounts import access_tokens, deletions, gate, service_tokens
from accounts.clock import database_now
from accounts.deletions import Deletion, UnreadableEntry
from accounts.models import DiscordAccount, DiscordGate, PersonalAccessToken, ServiceToken, Session, User
from accounts.token_scopes import Scope
from config.logging import logging_config
from guilds import personal_data, services
from guilds.models import GuildListVerification
from guilds.operations import migrations
from tests.fixtures import Sandbox, let_pass

People = Callable[..., User]


@pytest.fixture
def listed(tmp_path: Path, settings: Settings) -> Iterator[Path]:
    """The list of deletions, of this test alone, while the log shows only errors."""
    file = tmp_path / "deletions.jsonl"
    before, settings.DELETIONS_LOG = settings.DELETIONS_LOG, file
    logging_config(log_format=settings.LOG_FORMAT, level="ERROR", deletions=file)
    yield file
    logging_config(log_format=settings.LOG_FORMAT, level=settings.LOG_LEVEL, deletions=before)


def said(*arguments: str) -> dict[str, str]:
    """What the command prints, by the words before the colon."""
    out = StringIO()
    call_command("after_restore", *arguments, stdout=out)
    return dict(line.rstrip(".").split(": ", 1) for line in out.getvalue().splitlines())


def rows_of(*models: type[Model]) -> list[list[Any]]:
    """Copy all rows, as a backup does."""
    return [list(model._default_manager.all()) for model in models]


def restore(backup: list[list[Any]]) -> None:
    for rows in backup:
        type(rows[0])._default_manager.bulk_create(rows)


def token_of(user: User) -> PersonalAccessToken:
    return access_tokens.create(user, "script", [Scope.ME_READ], timedelta(days=1))[0]


def test_people_and_tokens_deleted_since_the_backup_are_deleted_again(
    sign_up: People, client_of: Callable[[User], Client], sandbox: Sandbox, listed: Path
) -> None:
    ada, grace, linus = map(sign_up, ("ada", "grace", "linus"))
    revoked, kept = token_of(grace), token_of(linus)
    backup = rows_of(User, DiscordAccount, PersonalAccessToken)
    client_of(ada).post(reverse("guilds:delete-my-data"))
    client_of(grace).post(reverse("revoke-access-token", args=[revoked.pk]))
    assert set(User.objects.all()) == {grace, linus}
    assert set(PersonalAccessToken.objects.all()) == {kept}
    for model in (PersonalAccessToken, DiscordAccount, User):
        model._default_manager.all().delete()
    restore(backup)

    first, second = said(), said()

    assert set(User.objects.all()) == {grace, linus}
    assert set(PersonalAccessToken.objects.all()) == {kept}
    assert (first["People deleted again"], first["Access tokens revoked again"]) == ("1", "1")
    assert (second["People deleted again"], second["Access tokens revoked again"]) == ("0", "0")


def test_service_tokens_revoked_or_replaced_since_the_backup_are_revoked_again(
    transactional_db: None, listed: Path
) -> None:
    for name in ("shop", "bot", "mail"):
        service_tokens.create(name, [Scope.BOT_READ], by="a test")
    backup = rows_of(ServiceToken)
    service_tokens.revoke(ServiceToken.objects.filter(name="shop"), by="a test")
    service_tokens.create("bot", overlap=timedelta(0), by="a test")
    ServiceToken.objects.all().delete()
    restore(backup)

    again = said()["Access tokens revoked again"]

    assert again == "2"
    assert ServiceToken.objects.get().name == "mail"
    assert {"service", "by"}.isdisjoint(json.loads(listed.read_text().splitlines()[0]))


def test_an_account_that_got_the_number_of_a_deleted_one_stays(sign_up: People, listed: Path) -> None:
    ada = sign_up("ada")
    token = token_of(ada)
    deletions.person_forgotten(ada.pk)
    deletions.access_token_revoked(token.pk)
    later = database_now() + timedelta(seconds=1)
    User.objects.update(date_joined=later)
    PersonalAccessToken.objects.update(created_at=later)

    said()

    assert (User.objects.get(), PersonalAccessToken.objects.get()) == (ada, token)


def test_all_sessions_end(ada: User, client_of: Callable[[User], Client]) -> None:
    browser = client_of(ada)

    assert said("--no-deletions")["Sessions ended"] == "1"
    assert browser.get("/account/").status_code == 302
    assert said("--no-deletions")["Sessions ended"] == "0"


def test_no_restored_list_is_served_as_fresh(with_list: People, sandbox: Sandbox) -> None:
    user = with_list("ada", minutes=5)
    row = GuildListVerification.objects.get(pk=user.pk)
    GuildListVerification.objects.update(lease_until=database_now() + timedelta(seconds=5))

    told = said("--no-deletions")

    corrected = GuildListVerification.objects.get(pk=user.pk)
    assert (told["Leases released"], corrected.lease_until) == ("1", None)
    assert int(told["Fresh answers of Discord made stale"]) >= 1
    assert corrected.generation > row.generation
    sandbox.mood("outage")
    assert services.get_guild_list(user).is_stale
    sandbox.mood()
    assert said("--no-deletions")["Fresh answers of Discord made stale"] == "0"


def test_an_older_list_keeps_its_age(with_list: People) -> None:
    user = with_list("ada", hours=5)
    before = GuildListVerification.objects.get(pk=user.pk).verified_at

    said("--no-deletions")

    assert GuildListVerification.objects.get(pk=user.pk).verified_at == before


@pytest.mark.parametrize(("minutes", "words"), [(-5, "open"), (5, "shut until")])
@pytest.mark.django_db
def test_only_a_wait_that_has_not_ended_holds_the_gate(minutes: int, words: str) -> None:
    gate.read()
    now = database_now()
    DiscordGate.objects.update(
        until=now + timedelta(minutes=minutes),
        reason="global_limit",
        streak=3,
        tat=now,
        silent_since=now,
        probe_after=now,
    )

    assert said("--no-deletions")["Gate"].startswith(words)
    row = DiscordGate.objects.get()
    assert (row.tat, row.silent_since, row.probe_after) == (None, None, None)
    assert row.streak == (3 if minutes > 0 else 0)


def test_a_dry_run_says_the_same_and_changes_nothing(
    with_list: People, client_of: Callable[[User], Client], listed: Path
) -> None:
    user = with_list("ada", minutes=5)
    client_of(user)
    token_of(user)
    deletions.person_forgotten(user.pk)
    let_pass(minutes=1)
    backup = rows_of(User, Session, GuildListVerification, PersonalAccessToken)
    text = listed.read_text()

    rehearsed = said("--dry-run")

    assert rows_of(User, Session, GuildListVerification, PersonalAccessToken) == backup
    assert listed.read_text() == text
    assert rehearsed.pop("Dry run").startswith("nothing was changed")
    assert rehearsed == said()


def test_the_only_superuser_of_the_backup_is_named_and_stays(staff: User, listed: Path) -> None:
    deletions.person_forgotten(staff.pk)
    let_pass(minutes=1)

    with pytest.raises(CommandError, match=rf"linus \(number {staff.pk}\).*createsuperuser"):
        said()
    assert User.objects.get() == staff


@pytest.mark.django_db
def test_operators_of_the_backup_are_named(staff: User) -> None:
    assert said("--no-deletions")["Operators, whose rights are those of the backup"] == f"linus (number {staff.pk})"


@pytest.mark.django_db
def test_a_missing_list_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="--no-deletions"):
        said(str(tmp_path / "none.jsonl"))


@pytest.mark.django_db
def test_a_backup_of_an_earlier_release_is_prepared_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrations, "unapplied", lambda _database: ["guilds"])

    with pytest.raises(CommandError, match=r"\./run prepare"):
        said("--no-deletions")


# the list


def test_the_list_holds_numbers_and_times_alone_whatever_the_level_of_the_log(ada: User, listed: Path) -> None:
    token = token_of(ada)
    with structlog.contextvars.bound_contextvars(request_id="1"):
        access_tokens.revoke(PersonalAccessToken.objects.all())
        personal_data.forget_user(ada)

    lines = [json.loads(line) for line in listed.read_text().splitlines()]

    moments = [line.pop("timestamp") for line in lines]
    assert lines == [
        {"event": "access_token_revoked", "token_id": token.pk},
        {"event": "user_forgotten", "user_id": ada.pk},
    ]
    assert moments == sorted(moments)


def test_tokens_that_operators_revoke_are_listed(
    ada: User, staff: User, client_of: Callable[[User], Client], listed: Path
) -> None:
    token = token_of(ada)

    client_of(staff).post(f"/admin/accounts/personalaccesstoken/{token.pk}/delete/", {"post": "yes"})

    assert not PersonalAccessToken.objects.exists()
    assert [entry.pk for entry in deletions.entries(listed.read_text().splitlines())] == [token.pk]


def test_a_deletion_that_is_rolled_back_is_not_listed(ada: User, listed: Path) -> None:
    with transaction.atomic():
        personal_data.forget_user(ada)
        transaction.set_rollback(True)

    assert not listed.exists()


def test_the_list_follows_logrotate(listed: Path) -> None:
    deletions.person_forgotten(1)
    listed.rename(listed.with_suffix(".1"))
    deletions.person_forgotten(2)

    assert [entry.pk for entry in deletions.entries(listed.read_text().splitlines())] == [2]


def test_a_list_that_cannot_be_written_is_an_error_in_the_log_and_deletes_nevertheless(
    ada: User, listed: Path, caplog: pytest.LogCaptureFixture
) -> None:
    listed.mkdir()

    personal_data.forget_user(ada)

    assert not User.objects.exists()
    assert any("deletion_not_listed" in str(record.msg) for record in caplog.records)


def test_lists_and_logs_are_read_alike() -> None:
    lines = [
        '{"event": "request", "path": "/", "timestamp": "2026-11-01T10:00:00Z"}',
        'site-1  | {"user_id": 7, "event": "user_forgotten", "level": "info", "timestamp": "2026-11-02T10:00:00Z"}',
        '{"event": "access_token_revoked", "token_id": 8, "timestamp": "2026-11-01T10:00:00Z"}',
        "",
    ]

    found = deletions.entries(lines)

    assert [(entry.event, entry.pk) for entry in found] == [("access_token_revoked", 8), ("user_forgotten", 7)]
    assert isinstance(found[0], Deletion)


def test_an_entry_that_was_cut_off_is_never_skipped() -> None:
    with pytest.raises(UnreadableEntry):
        deletions.entries(['{"event": "user_forgotten", "user_id": 7, "timest'])
