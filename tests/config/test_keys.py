"""The keys a first run makes: once, kept, readable by their owner only."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from config.keys import local_keys


def test_the_second_start_has_the_keys_of_the_first(tmp_path: Path) -> None:
    path = tmp_path / "var" / "keys.json"

    assert local_keys(path) == local_keys(path)
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
