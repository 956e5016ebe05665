"""manage.py: a command that fails says why in one line."""

import gc
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError
from django.db import OperationalError, ProgrammingError, connection
from django.db.backends.sqlite3.base import DatabaseWrapper

import manage
from guilds.management.commands import migrate

ROOT = Path(__file__).parents[2]
OF_THE_SITE = {"DJANGO_SETTINGS_MODULE": "config.settings"}
# The development server runs until it is stopped, and the doctor reports a lost database itself.
WITHOUT_DATABASE = {"crontab", "doctor", "runserver", "sandbox"}
OF_OTHERS = {"shell"}
ARGUMENTS = {
    "change_issuer": ["--keep"],
    "refresh_due_lists": ["--once"],
    "createsuperuser": ["--no-input", "--username=root"],
    "shell": ["-c", "from accounts.models import User; User.objects.count()"],
    "after_restore": ["--no-deletions"],
    "changepassword": ["root"],
    "create_token": ["bot", "--scope", "bot:read"],
}


def commands() -> list[str]:
    """All of the project's own commands, and those of docs/commands.md."""
    ours = {file.stem for file in ROOT.glob("*/management/commands/[a-z]*.py")}
    return sorted((ours | OF_OTHERS) - WITHOUT_DATABASE)


@pytest.mark.parametrize("command", commands())
def test_no_command_shows_a_traceback_without_a_database(
    command: str, transactional_db: None, capsys: pytest.CaptureFixture[str]
) -> None:
    def lose(*args: Any) -> None:
        raise OperationalError("no route\nto host")

    # Django tests for the feature once per connection, and would take a lost database for a missing feature.
    assert connection.features.supports_json_field
    with connection.execute_wrapper(lose), pytest.raises(SystemExit) as ended:
        manage.main(command, *ARGUMENTS.get(command, []))

    assert ended.value.code == "guildhall: The database can't be used: no route to host"
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("postgres://guildhall:sesame@127.0.0.1:1/site", "Connection refused"),
        ("sqlite:///{folder}/notes.txt", "file is not a database"),
    ],
)
def test_no_command_says_more_than_one_line_of_a_real_database(tmp_path: Path, url: str, reason: str) -> None:
    (tmp_path / "notes.txt").write_text("These are notes, and no database.")
    keys = {"SECRET_KEY": "k" * 64, "TOKEN_KEYS": Fernet.generate_key().decode()}
    settings = {"DATABASE_URL": url.format(folder=tmp_path), "VAR_DIR": str(tmp_path), **keys}

    done = subprocess.run(
        [sys.executable, "manage.py", "purge_memberships"],
        cwd=ROOT,
        env={**os.environ, **settings, **OF_THE_SITE},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stderr.count("\n"), "sesame" in done.stderr) == (1, 1, False), done.stderr
    assert done.stderr.startswith("guildhall: The database can't be used: ")
    assert reason in done.stderr


@pytest.mark.parametrize(
    ("error", "options"), [(ProgrammingError("at or near"), []), (OperationalError("no route"), ["--traceback"])]
)
def test_a_fault_of_the_code_keeps_its_traceback_and_so_does_who_wants_it(
    error: Exception, options: list[str], transactional_db: None
) -> None:
    def fail(*args: Any) -> None:
        raise error

    with connection.execute_wrapper(fail), pytest.raises(type(error)):
        manage.main("purge_memberships", *options)


def test_garbage_is_collected_once_the_code_is_loaded() -> None:
    code = "import gc, manage; manage.main('shell', '--no-imports', '-c', 'import gc; print(gc.isenabled())')"
    process = [
        sys.executable,
        "-c",
        f"{code}; import config.wsgi; print(gc.isenabled(), gc.get_freeze_count() > 10_000)",
    ]

    done = subprocess.run(process, cwd=ROOT, env=os.environ | OF_THE_SITE, capture_output=True, text=True, timeout=60)

    assert done.stdout.split() == ["True", "True", "True"], done.stderr


def test_garbage_is_collected_after_a_command_that_could_not_run() -> None:
    with pytest.raises(SystemExit):
        manage.main("no_such_command")

    assert gc.isenabled()


# several processes


def migrating(url: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "manage.py", "migrate", "--verbosity=0"],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": url, **OF_THE_SITE},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def empty_database(tmp_path: Path) -> Iterator[str]:
    """Return the URL of a database without tables."""
    if connection.vendor == "sqlite":
        yield f"sqlite:///{tmp_path}/empty.sqlite3"
        return
    url = os.environ["TEST_DATABASE_URL"]
    name = f"{urlsplit(url).path[1:]}_empty_{uuid4().hex}"
    with psycopg.connect(url, autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}")
        yield urlsplit(url)._replace(path=f"/{name}").geturl()
        server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.thorough
def test_processes_that_start_together_migrate_one_after_the_other(empty_database: str) -> None:
    processes = [migrating(empty_database) for _ in range(4)]

    ends = [(process.communicate(timeout=120), process.returncode) for process in processes]

    assert [code for _, code in ends] == [0, 0, 0, 0], ends
    assert [out for (out, _), _ in ends] == [""] * 4
    assert "Traceback" not in str(ends)


@contextmanager
def held_elsewhere() -> Iterator[Callable[[], None]]:
    """Hold the lock as another process would, until the result is released."""
    lock = migrate.advisory_lock if connection.vendor == "postgresql" else migrate.file_lock
    with ExitStack() as stack:
        acquire = stack.enter_context(lock(connection))
        assert acquire()
        yield stack.close


def test_a_migration_waits_for_another_and_says_so(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    slept: list[float] = []
    with held_elsewhere() as release:

        def sleep(seconds: float) -> None:
            slept.append(seconds)
            if len(slept) == 2:
                release()

        monkeypatch.setattr(migrate.Command, "sleep", staticmethod(sleep))
        manage.main("migrate", "--verbosity=0")

    assert slept == [migrate.POLL_SECONDS] * 2
    assert capsys.readouterr().err == "Waiting for another process that is migrating this database.\n"


def test_a_migration_that_fails_releases_the_lock(transactional_db: None) -> None:
    with pytest.raises(SystemExit):
        manage.main("migrate", "no_such_app", "--verbosity=0")

    with held_elsewhere():
        pass


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = connection.copy()
    monkeypatch.setitem(other.settings_dict, "NAME", str(tmp_path / "missing" / "site.sqlite3"))

    with pytest.raises(CommandError, match=r"Can't write .*: No such file"), migrate.file_lock(other):
        pass


@pytest.mark.parametrize("name", [":memory:", "file:of_tests?mode=memory&cache=shared"])
def test_a_database_in_memory_leaves_no_lock_file(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    in_memory = DatabaseWrapper({"ENGINE": "django.db.backends.sqlite3", "NAME": name})

    with migrate.file_lock(in_memory) as acquire:
        assert acquire()

    assert not list(tmp_path.iterdir())
