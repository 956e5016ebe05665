"""A machine on which the commands of docs/backup.md run."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connection

from tests.conftest import REQUIRED
from tests.databases import Machine, machine
from tests.fixtures import Sandbox


@pytest.fixture
def operator(tmp_path: Path, sandbox: Sandbox, transactional_db: None) -> Iterator[Machine]:
    tool = "sqlite3" if connection.vendor == "sqlite" else "pg_dump"
    if shutil.which(tool) is None:
        assert tool not in REQUIRED, f"GUILDHALL_REQUIRE names {tool}, and there is none on the PATH"
        pytest.skip(f"there is no {tool} on the PATH")
    with machine(tmp_path) as found:
        yield found
