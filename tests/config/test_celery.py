"""Scheduled work through Celery: the same commands, in a worker; and a site that doesn't know of it."""

import importlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from celery.schedules import crontab
from django.core.exceptions import ImproperlyConfigured
from django.core.management import get_commands
from pytest_django import Settings

from accounts.models import User
from guilds.models import UserGuildMembership
from tests.config.conftest import RedisServer, needs_redis
from tests.engine.conftest import database_url, eventually
from tests.fixtures import Sandbox

ROOT = Path(__file__).parents[2]


@pytest.fixture
def celery(settings: Settings) -> Iterator[Any]:
    """`config.celery` as it is with a broker and a bot."""
    settings.CELERY_BROKER_URL = "redis://127.0.0.1:1/0"
    yield load()
    sys.modules.pop("config.celery", None)


def load() -> Any:
    sys.modules.pop("config.celery", None)
    return importlib.import_module("config.celery")


def test_every_job_is_a_command_and_none_outlives_its_turn(celery: Any) -> None:
    entries = celery.app.conf.beat_schedule

    assert {job.command[0] for job in celery.JOBS.values()} <= set(get_commands())
    assert list(entries) == list(celery.JOBS)
    for name, entry in entries.items():
        turn = timedelta(days=1) if isinstance(entry["schedule"], crontab) else entry["schedule"]
        assert entry["task"] in celery.app.tasks
        assert entry["args"] == [name]
        assert 0 < entry["options"]["expires"] < turn.total_seconds()


def test_without_a_bot_nobody_looks_for_it(celery: Any, settings: Settings) -> None:
    settings.DISCORD_BOT_TOKEN = ""

    assert "sync-bot-guilds" not in load().app.conf.beat_schedule


def test_without_a_broker_celery_says_so(settings: Settings) -> None:
    settings.CELERY_BROKER_URL = ""

    with pytest.raises(ImproperlyConfigured, match="CELERY_BROKER_URL is empty"):
        load()


def test_a_job_does_what_its_command_does(celery: Any, with_list: Callable[..., User]) -> None:
    with_list("ada", days=31)

    with structlog.testing.capture_logs() as log:
        celery.run("purge-memberships")

    assert not UserGuildMembership.objects.exists()
    (line,) = [line for line in log if line["event"] == "scheduled_work_done"]
    assert line["said"].startswith("Deleted 12 memberships of 1 people")


def test_a_job_that_fails_is_a_line_in_the_log(celery: Any, sandbox: Sandbox, settings: Settings, db: None) -> None:
    settings.DISCORD_BOT_TOKEN = "wrong"

    with structlog.testing.capture_logs() as log:
        celery.run("sync-bot-guilds")

    (line,) = [line for line in log if line["event"] == "scheduled_work_failed"]
    assert line["job"] == "sync-bot-guilds"
    assert "Discord refuses DISCORD_BOT_TOKEN" in line["error"]
    assert len(sandbox.requests("/users/@me/guilds")) == 1


@pytest.mark.parametrize("name", ["flush", "purge_memberships", ""])
def test_a_broker_cannot_have_any_command_run(celery: Any, name: str) -> None:
    with pytest.raises(KeyError):
        celery.run(name)


def test_the_site_does_without_celery() -> None:
    code = (
        "import sys; sys.modules['celery'] = None; import config.wsgi;"
        "from django.core.management import call_command; call_command('check')"
    )

    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment(), capture_output=True, text=True)

    assert done.returncode == 0, done.stderr


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "DJANGO_SETTINGS_MODULE": "config.settings", **more}


class TestWorker:
    pytestmark = needs_redis

    def test_a_worker_and_a_beat_do_the_work(
        self, redis: RedisServer, with_list: Callable[..., User], tmp_path: Path
    ) -> None:
        with_list("ada", days=31)
        known = environment(CELERY_BROKER_URL=redis.url, DATABASE_URL=database_url(), VAR_DIR=str(tmp_path))
        log = tmp_path / "log"
        celery = [sys.executable, "-m", "celery", "--app", "config.celery"]
        with log.open("w") as output:
            worker = subprocess.Popen(
                [*celery, "worker", "--beat", "--concurrency", "1"], cwd=ROOT, env=known, stdout=output, stderr=output
            )
        try:
            eventually(lambda: " ready." in log.read_text(), "the worker is up", within=60)
            send = "from config.celery import app; app.send_task('guildhall.run', ['purge-memberships'])"
            subprocess.run([sys.executable, "-c", send], cwd=ROOT, env=known, check=True)
            eventually(lambda: not UserGuildMembership.objects.exists(), "the list is purged", within=60)
            eventually(lambda: "scheduled_work_done" in log.read_text(), "it says so")
        finally:
            worker.terminate()
            worker.wait(30)
        written = log.read_text()
        assert "beat: Starting" in written
        assert "Traceback" not in written
        # In the site's own format.
        assert "[info     ] scheduled_work_done" in written
