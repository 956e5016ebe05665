"""The commands of docs/backup.md, on the database of the test run, while people's rows are being written."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import count

import pytest
from django.conf import settings
from django.db import connection, transaction
from django.test import Client

from accounts import access_tokens
from accounts.models import PersonalAccessToken, User
from accounts.token_scopes import Scope
from config.logging import logging_config
from guilds import personal_data
from guilds.models import GuildPreference
from tests.databases import PAGE, Machine, block

pytestmark = pytest.mark.thorough

People = Callable[..., User]


@contextmanager
def writing(user: User) -> Iterator[list[int]]:
    """Write pairs of rows, each pair in a transaction, in a thread; yield the committed numbers as they grow."""
    committed: list[int] = []
    stop, begun = threading.Event(), threading.Event()

    def write() -> None:
        try:
            for number in count(1):
                with transaction.atomic():
                    GuildPreference.objects.create(user=user, guild_id=number)
                    GuildPreference.objects.create(user=user, guild_id=-number)
                committed.append(number)
                begun.set()
                if stop.is_set():
                    return
        finally:
            begun.set()
            connection.close()

    writer = threading.Thread(target=write)
    writer.start()
    assert begun.wait(30)
    try:
        yield committed
    finally:
        stop.set()
        writer.join(30)
    assert not writer.is_alive()


@contextmanager
def listing(machine: Machine) -> Iterator[None]:
    """Keep the list of deletions of this process on the machine."""
    deletions = machine.folder / "var" / "deletions.jsonl"
    logging_config(log_format=settings.LOG_FORMAT, level=settings.LOG_LEVEL, deletions=deletions)
    try:
        yield
    finally:
        logging_config(log_format=settings.LOG_FORMAT, level=settings.LOG_LEVEL, deletions=settings.DELETIONS_LOG)


def assert_whole(operator: Machine, *, before: int) -> None:
    """The backup has all pairs that were committed before it began, and no half of a later one."""
    numbers = {number for (number,) in operator.query("SELECT guild_id FROM guilds_guildpreference")}

    assert set(range(1, before + 1)) <= numbers
    assert numbers == {-number for number in numbers}


def test_a_backup_under_load_is_whole_and_a_restore_keeps_deleted_people_deleted(
    operator: Machine, sign_up: People, client_of: Callable[[User], Client]
) -> None:
    ada, grace, linus = map(sign_up, ("ada", "grace", "linus"))
    token, _secret = access_tokens.create(grace, "script", [Scope.ME_READ], timedelta(days=1))
    client_of(linus)
    with writing(linus) as committed:
        before = len(committed)
        operator.back_up()
        assert len(committed) > before
    with listing(operator):
        personal_data.forget_user(ada)
        access_tokens.revoke(PersonalAccessToken.objects.filter(pk=token.pk))

    operator.restore()
    revived = operator.query("SELECT discord_username FROM accounts_user ORDER BY 1")
    said = operator.do(block("./run prepare"))

    assert_whole(operator, before=before)
    assert revived == [("ada",), ("grace",), ("linus",)]
    assert operator.query("SELECT discord_username FROM accounts_user ORDER BY 1") == [("grace",), ("linus",)]
    assert operator.query("SELECT count(*) FROM accounts_personalaccesstoken") == [(0,)]
    assert operator.query("SELECT count(*) FROM accounts_session") == [(0,)]
    # The rehearsal says the same as the command.
    assert said.count("People deleted again: 1.") == said.count("Sessions ended: 1.") == 2


@pytest.mark.skipif(connection.vendor != "sqlite", reason="only SQLite has it")
def test_sqlites_online_backup_is_whole_too(operator: Machine, sign_up: People) -> None:
    command = next(line for line in PAGE.read_text().split("`") if ".backup" in line)
    with writing(sign_up("linus")) as committed:
        before = len(committed)
        operator.do(command)

    operator.restore()

    assert_whole(operator, before=before)
