"""The generated keys: created once, kept, and readable only by their owner."""

import errno
import os
import sqlite3
import stat
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from config.keys import local_keys, private_folder


def test_the_second_start_has_the_keys_of_the_first(tmp_path: Path) -> None:
    path = tmp_path / "var" / "keys.json"

    assert local_keys(path) == local_keys(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_keys_that_others_could_read_are_closed_to_them(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    local_keys(path)
    path.chmod(0o644)

    local_keys(path)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_many_first_starts_at_once_agree(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        keys = list(pool.map(lambda _: local_keys(tmp_path / "keys.json")["TOKEN_KEYS"], range(16)))

    assert len(set(keys)) == 1
    assert list(tmp_path.iterdir()) == [tmp_path / "keys.json"]


def test_a_damaged_file_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text("{")

    with pytest.raises(ImproperlyConfigured, match=r"keys\.json"):
        local_keys(path)
    assert path.read_text() == "{"


@pytest.mark.parametrize("keys", ['{"SECRET_KEY": "", "TOKEN_KEYS": "a"}', '{"SECRET_KEY": "s", "TOKEN_KEYS": " "}'])
def test_an_empty_key_is_none(tmp_path: Path, keys: str) -> None:
    path = tmp_path / "keys.json"
    path.write_text(keys)

    with pytest.raises(ImproperlyConfigured, match=r"keys\.json"):
        local_keys(path)


@pytest.mark.parametrize("rows", [0, 1])
def test_keys_are_never_made_anew_beside_tokens_that_the_old_ones_sealed(tmp_path: Path, rows: int) -> None:
    database = {"ENGINE": "django.db.backends.sqlite3", "NAME": tmp_path / "site.sqlite3"}
    with closing(sqlite3.connect(database["NAME"])) as connection:
        connection.execute("CREATE TABLE accounts_discordaccount (extra_data text)")
        connection.executemany("INSERT INTO accounts_discordaccount VALUES (?)", [("sealed",)] * rows)
        connection.commit()

    if rows:
        with pytest.raises(ImproperlyConfigured, match="restore it from a backup"):
            local_keys(tmp_path / "keys.json", database)
    else:
        local_keys(tmp_path / "keys.json", database)
    assert (tmp_path / "keys.json").exists() == (not rows)


def test_a_database_that_can_not_be_asked_gets_no_keys(tmp_path: Path) -> None:
    nowhere = {"ENGINE": "django.db.backends.postgresql", "NAME": "x", "HOST": "127.0.0.1", "PORT": 1, "PASSWORD": "pw"}

    with pytest.raises(ImproperlyConfigured, match="The database at DATABASE_URL can't be reached") as caught:
        local_keys(tmp_path / "keys.json", nowhere)
    assert "pw" not in str(caught.value)
    assert not (tmp_path / "keys.json").exists()


def test_a_folder_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    folder, shared = tmp_path / "var", tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o755)
    shared.mkdir()
    shared.chmod(0o1777)

    private_folder(folder)
    private_folder(shared)

    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(shared.stat().st_mode) == 0o1777


@pytest.mark.parametrize("error", [errno.EROFS, errno.ENOSPC, errno.EACCES])
def test_a_folder_that_can_not_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int) -> None:
    def fail(**_options: Any) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(tempfile, "TemporaryFile", fail)

    with pytest.raises(ImproperlyConfigured, match=rf"^VAR_DIR is invalid: .* \({os.strerror(error)}\)$"):
        private_folder(tmp_path)
