"""Runs of scheduled commands are recorded, whatever starts them."""

import re
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import structlog
from django.core.checks import run_checks
from django.core.management import CommandError, call_command, get_commands
from django.db import OperationalError, connection
from django.test import Client
from pytest_django import Settings

from accounts.clock import database_now
from guilds.models import JobRun
from guilds.operations import jobs, schedule
from tests.config.test_celery import celery  # noqa: F401 - a fixture
from tests.fixtures import Sandbox, let_pass

pytestmark = pytest.mark.usefixtures("transactional_db")
ROOT = Path(__file__).parents[2]


def status() -> str:
    out = StringIO()
    with pytest.raises(SystemExit):
        call_command("discord_status", stdout=out)
    return out.getvalue()


@pytest.mark.parametrize("command", schedule.COMMANDS)
def test_each_scheduled_command_records_its_run(command: str, sandbox: Sandbox) -> None:
    before = database_now()
    call_command(command, *(["--once"] if command == "refresh_due_lists" else []), stdout=StringIO())

    run = JobRun.objects.get()
    assert run.command == command
    assert before <= run.started_at <= run.finished_at == run.succeeded_at
    assert run.succeeded


def test_the_page_says_to_schedule_exactly_these_commands() -> None:
    page = (ROOT / "docs" / "production.md").read_text()
    table = page.partition("## Every day")[2].partition("Schedule them")[0]

    assert set(schedule.COMMANDS) <= set(get_commands())
    assert all(f"{command}`" in table for command in schedule.COMMANDS)


def test_the_crontab_lists_all_jobs_with_those_of_the_site(settings: Settings) -> None:
    settings.BASE_DIR = Path("/srv/my 10% guild")
    settings.SCHEDULED_COMMANDS = {"send_digests": timedelta(hours=1), "refresh_due_lists": timedelta(minutes=2)}
    out = StringIO()

    call_command("crontab", stdout=out)

    lines = [re.split(r" +cd '/srv/my 10\\% guild' && ./run manage ", line) for line in out.getvalue().splitlines()]
    assert lines == [
        ["*/2 * * * *", "refresh_due_lists --once"],
        ["*/5 * * * *", "sync_bot_guilds --if-due"],
        ["10 4 * * *", "purge_memberships"],
        ["10 4 * * *", "clearsessions"],
        ["10 4 * * *", "clearsocial"],
        ["0 * * * *", "send_digests"],
    ]


def test_a_check_names_a_scheduled_command_that_does_not_exist(settings: Settings) -> None:
    settings.SCHEDULED_COMMANDS = {"clearsessions": timedelta(hours=1), "send_digest": timedelta(hours=1)}

    assert [fault.msg for fault in run_checks() if fault.id == "guilds.E005"] == [
        "SCHEDULED_COMMANDS names 'send_digest', which is no command of manage.py."
    ]


@pytest.mark.parametrize("interval", [3600, "0 4 * * *", timedelta(0)])
def test_an_interval_that_is_none_is_found(interval: Any, settings: Settings) -> None:
    settings.SCHEDULED_COMMANDS = {"clearsessions": interval}

    [fault] = [fault for fault in run_checks() if fault.id == "guilds.E011"]

    assert fault.msg == f"SCHEDULED_COMMANDS says that 'clearsessions' runs every {interval!r}, which is no interval."
    assert "timedelta(hours=1)" in (fault.hint or "")


def test_a_check_names_a_scheduled_command_that_records_no_run(settings: Settings) -> None:
    settings.SCHEDULED_COMMANDS = {"clearsessions": timedelta(hours=1), "migrate": timedelta(hours=1)}

    [fault] = [fault for fault in run_checks() if fault.id == "guilds.W004"]

    assert fault.msg == "SCHEDULED_COMMANDS names 'migrate', whose runs aren't recorded, so it is always overdue."
    assert "JobCommand" in (fault.hint or "")


@pytest.mark.parametrize(
    ("interval", "time"),
    [
        (timedelta(seconds=30), "* * * * *"),
        (timedelta(minutes=7), "*/6 * * * *"),
        (timedelta(minutes=59), "*/30 * * * *"),
        (timedelta(minutes=90), "0 * * * *"),
        (timedelta(hours=23), "0 */12 * * *"),
        (timedelta(days=7), "10 4 */7 * *"),
        (timedelta(days=365), "10 4 */28 * *"),
    ],
)
def test_cron_runs_a_job_no_later_than_its_interval(interval: timedelta, time: str) -> None:
    assert schedule.cron_time(interval) == time


def test_a_failed_run_keeps_the_last_success(sandbox: Sandbox, settings: Settings) -> None:
    call_command("sync_bot_guilds", stdout=StringIO())
    succeeded_at = JobRun.objects.get().succeeded_at
    settings.DISCORD_BOT_TOKEN = "wrong"

    with pytest.raises(CommandError):
        call_command("sync_bot_guilds")

    run = JobRun.objects.get()
    assert not run.succeeded
    assert run.succeeded_at == succeeded_at
    assert run.finished_at > run.started_at > succeeded_at
    assert "; the last run failed at " in status()


def test_a_run_through_celery_is_recorded_like_any_other(celery: object) -> None:  # noqa: F811 - the fixture
    celery.run("clearsessions")  # type: ignore[attr-defined]  # a module

    assert JobRun.objects.get().command == "clearsessions"


def test_a_database_that_refuses_the_record_does_not_stop_the_job() -> None:
    def refuse(execute: object, sql: str, *rest: object) -> None:
        raise OperationalError("read-only")

    done = []
    with structlog.testing.capture_logs() as log, jobs.recorded("purge_memberships"):
        done.append("the job")
        wrapper = connection.execute_wrapper(refuse)
        wrapper.__enter__()
    wrapper.__exit__(None, None, None)

    assert done == ["the job"]
    assert [line["event"] for line in log] == ["job_not_recorded"]


def test_the_status_and_the_metrics_tell_the_age_of_the_last_success(client: Client, settings: Settings) -> None:
    settings.METRICS_TOKEN = "only-tests-know-this-token"
    call_command("clearsessions")
    let_pass(hours=30)

    text = client.get("/metrics", headers={"Authorization": f"Bearer {settings.METRICS_TOKEN}"}).content.decode()

    [age] = [line for line in text.splitlines() if line.startswith("guildhall_job_success_age_seconds{")]
    assert age.startswith('guildhall_job_success_age_seconds{command="clearsessions"} 10800')
    assert "clearsessions: last success at " in status()
    assert "(30 hours ago), after 0 seconds" in status()
    assert "purge_memberships: never finished a run" in status()
