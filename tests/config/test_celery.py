"""Scheduled work through Celery: the same commands run in a worker, and the site doesn't depend on Celery."""

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from celery import shared_task
from celery.schedules import crontab
from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured
from django.core.management import get_commands
from pytest_django import Settings

from accounts.models import User
from guilds.models import UserGuildMembership
from guilds.operations import schedule, status
from tests.config.conftest import RedisServer, needs_redis
from tests.databases import database_url
from tests.engine.conftest import eventually
from tests.fixtures import Sandbox

pytestmark = pytest.mark.thorough

ROOT = Path(__file__).parents[2]


@pytest.fixture
def celery(settings: Settings) -> Iterator[Any]:
    """`config.celery`, imported with a broker and a bot configured."""
    settings.CELERY_BROKER_URL = "redis://127.0.0.1:1/0"
    yield load()
    sys.modules.pop("config.celery", None)


def load() -> Any:
    sys.modules.pop("config.celery", None)
    return importlib.import_module("config.celery")


def test_every_job_is_a_command_and_none_outlives_its_turn(celery: Any) -> None:
    entries = celery.app.conf.beat_schedule

    assert {job.command for job in celery.JOBS.values()} <= set(get_commands())
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


def test_a_command_of_the_site_joins_the_schedule_and_the_report(
    celery: Any, settings: Settings, transactional_db: None
) -> None:
    settings.SCHEDULED_COMMANDS = {"check": timedelta(hours=1)}

    entry = load().app.conf.beat_schedule["check"]

    assert (entry["schedule"], entry["args"]) == (timedelta(hours=1), ["check"])
    assert entry["options"]["expires"] < 3600
    assert schedule.jobs()["check"].overdue == timedelta(hours=2)
    assert "check" in {job.command for job in status.read_jobs()}


TASK = """
import django, threading
django.setup()
from celery import chain, chord, group, shared_task
@shared_task(name="greet")
def greet(): ...
one = greet.si()
def queue():
    for work in [{works}]:
        try:
            work.delay()
        except Exception as error:
            print(type(error).__name__, error)
        else:
            print("queued at", greet.app.conf.broker_url)
thread = threading.Thread(target=queue)
thread.start()
thread.join()
"""


# Each way to queue work, and the name in the error when there is no broker.
WORKS = {
    "greet": "greet",
    "group(one, one)": "greet",
    "chain(one, one)": "greet",
    "greet.chunks([()], 1)": "celery.starmap",
    "chord([one, one], one)": "a chord",
    "chain(group(one, one), one)": "a chord",
}


def test_without_a_broker_a_task_of_the_site_says_so(tmp_path: Path) -> None:
    # With the site's folder, as only a site has tasks.
    found = f"from config import mysite; from pathlib import Path; mysite.FOLDER = Path({str(tmp_path)!r})"
    code = f"{found}; {TASK.format(works=', '.join(WORKS))}"
    known = environment(MYSITE="1", REDIS_URL="", CELERY_BROKER_URL="")

    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=known, capture_output=True, text=True)

    said = "ImproperlyConfigured CELERY_BROKER_URL is empty, and so is REDIS_URL, so {} can't be queued."
    assert done.stdout.splitlines() == [said.format(name) for name in WORKS.values()], done


def test_a_test_can_run_tasks_where_they_are_queued(tasks_at_once: None) -> None:
    done: list[int] = []

    @shared_task(name="double")
    def double(number: int, *, plus: int = 0) -> None:
        done.append(10 // number + plus)

    double.delay(2, plus=1)
    double.apply_async([5], countdown=60)

    assert done == [6, 2]
    with pytest.raises(ZeroDivisionError):
        double.delay(0)


def test_a_task_in_the_web_process_goes_to_the_sites_broker() -> None:
    known = environment(CELERY_BROKER_URL="memory://the-broker-of-the-site")

    code = TASK.format(works="greet")

    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=known, capture_output=True, text=True)

    assert "queued at memory://the-broker-of-the-site" in done.stdout, done


def test_a_job_does_what_its_command_does(celery: Any, with_list: Callable[..., User]) -> None:
    with_list("ada", days=31)

    with structlog.testing.capture_logs() as log:
        celery.run("purge-memberships")

    assert not UserGuildMembership.objects.exists()
    (line,) = [line for line in log if line["event"] == "scheduled_work_done"]
    assert line["said"].startswith("Deleted 12 memberships of 1 people")


def test_a_job_that_fails_is_a_line_in_the_log(
    celery: Any, sandbox: Sandbox, settings: Settings, transactional_db: None
) -> None:
    settings.DISCORD_BOT_TOKEN = "wrong"

    with structlog.testing.capture_logs() as log:
        celery.run("sync-bot-guilds")

    (line,) = [line for line in log if line["event"] == "scheduled_work_failed"]
    assert line["job"] == "sync-bot-guilds"
    assert "Discord rejects DISCORD_BOT_TOKEN" in line["error"]
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


def test_a_machine_where_the_site_never_ran_can_run_beat(tmp_path: Path) -> None:
    elsewhere = environment(
        CELERY_BROKER_URL="redis://127.0.0.1:1/0",
        DATABASE_URL="postgres://guildhall@10.0.0.9/guildhall",
        SECRET_KEY="the same as on the other machines, only longer",
        TOKEN_KEYS=Fernet.generate_key().decode(),
        VAR_DIR=str(tmp_path / "never" / "made"),
    )
    code = "import shelve; from config.celery import app; shelve.open(app.conf.beat_schedule_filename).close()"

    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=elsewhere, capture_output=True, text=True)

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
        known["LOG_FORMAT"] = "json"
        log = tmp_path / "log"
        # As `./run celery` starts it.
        celery = [sys.executable, "-m", "celery", "--quiet", "--app", "config.celery"]
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
            # At its end, Celery prints a line past its log.
            written = log.read_text()
        finally:
            worker.terminate()
            worker.wait(30)
        assert "beat: Starting" in written
        assert "Traceback" not in written
        # Each line is in the site's own format.
        events = [json.loads(line)["event"] for line in written.splitlines()]
        assert "scheduled_work_done" in events
