"""Two machines are upgraded one after the other, and one goes back, while people are served."""

import shutil
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from django.test import Client

from accounts.models import User
from bench.sites import Site, start_all
from tests.databases import ROOT, Machine
from tests.fixtures import Sandbox

pytestmark = pytest.mark.thorough

People = Callable[..., User]
ClientOf = Callable[[User], Client]
FIELD = "    preferences_tag = models.BigIntegerField(\n"
NEW = '    note = models.CharField(max_length=20, blank=True, default="", db_default="")\n'


@pytest.fixture
def release(tmp_path_factory: pytest.TempPathFactory, operator: Machine) -> Path:
    """A next release, with a column in a table that each visitor's first list adds a row to."""
    left_out = shutil.ignore_patterns(".*", "docs", "node_modules", "var")
    project = shutil.copytree(ROOT, tmp_path_factory.mktemp("release") / "project", ignore=left_out)
    models = project / "guilds" / "models.py"
    assert FIELD in models.read_text()
    models.write_text(models.read_text().replace(FIELD, NEW + FIELD, 1))
    make = [sys.executable, "manage.py", "makemigrations", "guilds", "--name", "next_release"]
    subprocess.run(make, cwd=project, env=operator.environment, check=True, capture_output=True)
    return project


def read(site: Site, cookie: str) -> tuple[int, int]:
    """Return the status of a person's list, and how many servers it has."""
    response = requests.get(f"{site.url}/api/v1/guilds/", cookies={"guildhall_session": cookie}, timeout=30)
    return response.status_code, len(response.json().get("guilds", ()))


@contextmanager
def visited(site: Site, cookie: str) -> Iterator[Counter[object]]:
    """Read a person's list twenty times a second in a thread; yield the counts of what came."""
    came: Counter[object] = Counter()
    stop = threading.Event()

    def visit() -> None:
        # Without the pause, its reads would take most of the test's CPU time.
        while not stop.wait(0.05):
            try:
                came[read(site, cookie)] += 1
            except requests.RequestException as error:
                came[type(error)] += 1

    visitor = threading.Thread(target=visit)
    visitor.start()
    try:
        yield came
    finally:
        stop.set()
        visitor.join(60)


def restart(site: Site, project: Path) -> None:
    site.stop()
    site.project = project
    start_all([site])


def test_two_machines_are_upgraded_in_turn_and_one_goes_back_while_people_read(
    operator: Machine, release: Path, sandbox: Sandbox, sign_up: People, client_of: ClientOf, tmp_path: Path
) -> None:
    names = [f"person{number}" for number in range(6)]
    for name in names:
        sandbox.person(name, count=2)
    ada, *newcomers = [client_of(sign_up(name)).cookies["guildhall_session"].value for name in names]
    operator.back_up()
    operator.restore()
    # The visitor reads more often than one person may.
    environment = {**operator.environment, "API_THROTTLE_USER": "off", "API_THROTTLE_ADDRESS": "off"}
    first, second = [Site(environment, tmp_path / f"{name}.log") for name in ("first", "second")]
    try:
        operator.do("./run manage collectstatic --no-input --verbosity=0")
        start_all([first, second])
        with visited(second, ada) as came:
            operator.do("./run prepare", PROJECT=str(release))
            assert operator.query("SELECT count(*) FROM guilds_guildlistverification WHERE note = ''") != [(0,)]
            # Both machines still have the old code.
            assert read(second, newcomers[0]) == (200, 2)
            restart(first, release)
            # Each machine adds a row, which the other one reads.
            assert (read(first, newcomers[1]), read(second, newcomers[1])) == ((200, 2), (200, 2))
            assert (read(second, newcomers[2]), read(first, newcomers[2])) == ((200, 2), (200, 2))
            assert "newer version: it has guilds." in operator.do("./run prepare")
            restart(first, ROOT)
            assert (read(first, newcomers[3]), read(second, newcomers[1])) == ((200, 2), (200, 2))
            # The database has the column already.
            operator.do("./run prepare", PROJECT=str(release))
            restart(first, release)
            assert read(first, newcomers[4]) == (200, 2)
    finally:
        for site in (first, second):
            site.stop()

    assert set(came) == {(200, 2)}
    assert came.total() > 20
