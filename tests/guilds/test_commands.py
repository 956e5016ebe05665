"""The sweep and its command, against the sandbox."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import structlog
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.db.models import F
from pytest_django import Settings

from accounts import gate
from accounts.clock import database_now
from accounts.models import DiscordGate, DiscordRefusal, User
from guilds import personal_data, services
from guilds.engine.freshness import Reason
from guilds.engine.refresh import Failed
from guilds.engine.sweep import SILENT_IN_A_ROW, Round, due, sweep
from guilds.management.commands import refresh_due_lists
from guilds.models import GuildListVerification
from guilds.resources.guild_list import GUILD_LIST
from tests.fixtures import Sandbox, end_jobs, let_pass

DUE: dict[str, float] = {"minutes": 58}

WithList = Callable[..., User]


def said(command: str, *arguments: str) -> str:
    out = StringIO()
    call_command(command, *arguments, stdout=out)
    return out.getvalue()


def row_of(user: User) -> GuildListVerification:
    return GuildListVerification.objects.get(pk=user.pk)


def asked(sandbox: Sandbox) -> list[str]:
    return [line["person"] for line in sandbox.requests()]


def shut(reason: str = "global_limit", streak: int = 1, **wait: float) -> None:
    gate.read()
    until = database_now() + timedelta(**wait)
    DiscordGate.objects.update(until=until, reason=reason, streak=streak, version=F("version") + 1)


def refuse(count: int) -> None:
    now = database_now()
    DiscordRefusal.objects.bulk_create([DiscordRefusal(at=now, status=401) for _ in range(count)])


def read_at(user: User, **ago: float) -> None:
    GuildListVerification.objects.filter(pk=user.pk).update(last_read_at=database_now() - timedelta(**ago))


def verified(user: User, **ago: float) -> None:
    """Make the list look verified that long ago, overdue, and just read."""
    now = database_now()
    moment = now - timedelta(**ago)
    GuildListVerification.objects.filter(pk=user.pk).update(
        verified_at=moment, refresh_after=moment + timedelta(minutes=48), last_read_at=now
    )


def never_sleep(_seconds: float) -> None:
    pytest.fail("no sleep is needed here")


@pytest.fixture
def log() -> Iterator[list[Any]]:
    with structlog.testing.capture_logs() as lines:
        yield lines


@pytest.fixture
def crowd(with_list: WithList, sandbox: Sandbox, settings: Settings) -> list[User]:
    """Three people whose lists are due: ada most overdue, then linus, then grace. The budget lets all go."""
    settings.DISCORD_SEND_RATE = 10_000
    people = [with_list(name) for name in ("ada", "linus", "grace")]
    for minutes, user in zip((59, 57, 55), people, strict=True):
        verified(user, minutes=minutes)
    # Neither what the sandbox saw nor the send clock remembers how they came to their lists.
    sandbox.forget_requests()
    DiscordGate.objects.update(tat=None)
    return people


# the sweep: who


def test_the_sweep_refreshes_what_is_due_most_overdue_first(crowd: list[User], sandbox: Sandbox) -> None:
    done = sweep(GUILD_LIST, sleep=never_sleep)

    assert (done.refreshed, done.failed, done.skipped, done.left, done.ended) == (3, {}, 0, 0, "")
    assert asked(sandbox) == ["ada", "linus", "grace"]
    assert all(database_now() - row.verified_at < timedelta(minutes=1) for row in map(row_of, crowd) if row.verified_at)


def test_a_second_sweep_finds_nothing(crowd: list[User], sandbox: Sandbox) -> None:
    sweep(GUILD_LIST)
    sandbox.forget_requests()

    done = sweep(GUILD_LIST)

    assert (done.refreshed, done.skipped) == (0, 0)
    assert asked(sandbox) == []


def test_a_list_is_swept_from_the_moment_it_is_due(with_list: WithList, sandbox: Sandbox) -> None:
    ada = with_list("ada", minutes=10)
    now = database_now()
    read_at(ada, minutes=1)

    GuildListVerification.objects.update(refresh_after=now + timedelta(minutes=1))
    early = sweep(GUILD_LIST)
    GuildListVerification.objects.update(refresh_after=now)
    late = sweep(GUILD_LIST)

    assert (early.refreshed, late.refreshed) == (0, 1)


@pytest.mark.parametrize(("minutes", "swept"), [(119, 1), (121, 0)])
def test_lists_nobody_read_within_the_fresh_window_are_left_alone(
    with_list: WithList, sandbox: Sandbox, minutes: int, swept: int
) -> None:
    ada = with_list("ada", hours=5)
    # last_read_at is kept to the hour: 119 minutes may stand for a read 59 minutes ago.
    read_at(ada, minutes=minutes)

    assert sweep(GUILD_LIST).refreshed == swept
    assert len(sandbox.requests()) == swept


def test_somebody_who_never_read_is_not_asked_for(with_list: WithList, sandbox: Sandbox) -> None:
    with_list("ada", **DUE)
    GuildListVerification.objects.update(last_read_at=None)

    assert sweep(GUILD_LIST).refreshed == 0
    assert asked(sandbox) == []


def test_a_read_once_an_hour_keeps_a_list_in_the_sweep(with_list: WithList, sandbox: Sandbox) -> None:
    """The resolution of `last_read_at` never drops a person who read within the window."""
    ada = with_list("ada", minutes=59)
    services.get_guild_list(ada)
    end_jobs()
    let_pass(minutes=59)

    assert row_of(ada) in due(GUILD_LIST, database_now())


@pytest.mark.parametrize(
    "stands_in_the_way",
    [
        {"reason": "reconnect_required"},
        {"reason": "missing_scope"},
        {"not_before": timedelta(seconds=30)},
        {"lease_until": timedelta(seconds=10)},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_what_the_rule_forbids_is_skipped(
    crowd: list[User], sandbox: Sandbox, stands_in_the_way: dict[str, Any]
) -> None:
    now = database_now()
    fields = {name: now + value if isinstance(value, timedelta) else value for name, value in stands_in_the_way.items()}
    GuildListVerification.objects.filter(user=crowd[0]).update(**fields)

    done = sweep(GUILD_LIST)

    assert (done.refreshed, done.skipped) == (2, 1)
    assert asked(sandbox) == ["linus", "grace"]


def test_the_limit_is_on_the_people_asked_for(crowd: list[User], sandbox: Sandbox) -> None:
    GuildListVerification.objects.filter(user=crowd[0]).update(reason="missing_scope")

    done = sweep(GUILD_LIST, limit=1)

    assert (done.refreshed, done.skipped, done.left, done.ended) == (1, 1, 1, "limit")
    assert asked(sandbox) == ["linus"]


def test_a_limit_that_is_just_enough_leaves_nothing(crowd: list[User]) -> None:
    done = sweep(GUILD_LIST, limit=3)

    assert (done.refreshed, done.left, done.ended) == (3, 0, "")


def test_a_sweep_over_many_pages_meets_everybody_once(
    crowd: list[User], sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("guilds.engine.sweep.PAGE", 1)
    # All three due at the same moment: then the order is by person.
    GuildListVerification.objects.update(refresh_after=database_now() - timedelta(minutes=1))

    assert sweep(GUILD_LIST).refreshed == 3
    assert sorted(asked(sandbox)) == ["ada", "grace", "linus"]


def test_an_expired_list_is_swept_too_but_gives_way_like_the_others(with_list: WithList, sandbox: Sandbox) -> None:
    ada = with_list("ada", hours=30)
    read_at(ada, minutes=1)
    gate.read()
    now = database_now()
    DiscordGate.objects.update(tat=now + timedelta(milliseconds=400))

    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        DiscordGate.objects.update(tat=None)

    assert sweep(GUILD_LIST, sleep=sleep).refreshed == 1
    # A reader without a list would have gone at once.
    assert len(slept) == 1


# the sweep: failures


def test_one_who_fails_does_not_stop_the_sweep(crowd: list[User], sandbox: Sandbox) -> None:
    sandbox.revoke("ada")

    done = sweep(GUILD_LIST)

    assert (done.refreshed, dict(done.failed)) == (2, {"reconnect_required": 1})
    assert row_of(crowd[0]).reason == "reconnect_required"


def test_tokens_that_do_not_open_do_not_stop_the_sweep(crowd: list[User], sandbox: Sandbox) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE accounts_discordaccount SET extra_data = 'broken' WHERE user_id = %s", [crowd[0].pk])

    done = sweep(GUILD_LIST)

    assert (done.refreshed, done.failed.total()) == (2, 1)
    assert asked(sandbox) == ["linus", "grace"]


def test_a_row_the_rule_can_not_read_does_not_stop_the_sweep(crowd: list[User], log: list[Any]) -> None:
    GuildListVerification.objects.filter(user=crowd[0]).update(reason="of another version")

    done = sweep(GUILD_LIST)

    assert (done.refreshed, dict(done.failed)) == (2, {"crashed": 1})
    assert [line["user_id"] for line in log if line["event"] == "guild_list_sweep_crashed"] == [crowd[0].pk]


def test_a_limit_of_one_person_concerns_nobody_else(crowd: list[User], sandbox: Sandbox) -> None:
    sandbox.mood("rate_limited", retry_after=40, people=["ada"])

    done = sweep(GUILD_LIST)

    assert (done.refreshed, dict(done.failed)) == (2, {"rate_limited": 1})
    assert row_of(crowd[0]).not_before > database_now() + timedelta(seconds=30)  # type: ignore[operator]


def test_a_global_limit_ends_the_round_with_nothing_claimed(crowd: list[User], sandbox: Sandbox) -> None:
    sandbox.mood("global_limit", retry_after=40)
    before = [row_of(user).generation for user in crowd]

    done = sweep(GUILD_LIST)

    assert (dict(done.failed), done.left, done.ended) == ({"global_limit": 1}, 2, "global_limit")
    assert asked(sandbox) == ["ada"]
    assert [row_of(user).generation for user in crowd] == [before[0] + 2, *before[1:]]


@pytest.mark.parametrize("why", ["gate", "brake"])
def test_behind_a_shut_gate_or_brake_nobody_is_claimed(
    crowd: list[User], sandbox: Sandbox, settings: Settings, why: str
) -> None:
    if why == "gate":
        shut("cloudflare", minutes=5)
    else:
        settings.DISCORD_BRAKE_SOFT = 3
        refuse(3)
    before = list(GuildListVerification.objects.values())

    done = sweep(GUILD_LIST, sleep=never_sleep)

    assert (done.refreshed, done.failed, done.left) == (0, {}, 3)
    assert done.ended == ("cloudflare" if why == "gate" else "brake")
    assert done.until
    assert asked(sandbox) == []
    assert list(GuildListVerification.objects.values()) == before


def test_when_the_gates_time_is_over_the_sweep_sends_the_probe(crowd: list[User], sandbox: Sandbox) -> None:
    shut(seconds=-1)

    assert sweep(GUILD_LIST).refreshed == 3
    assert DiscordGate.objects.get().streak == 0


def test_discords_silence_ends_the_round(crowd: list[User], sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guilds.engine.sweep.SILENT_IN_A_ROW", 2)
    sandbox.mood("outage")

    done = sweep(GUILD_LIST)

    assert SILENT_IN_A_ROW > 2
    assert (dict(done.failed), done.left, done.ended) == ({"unavailable": 2}, 1, "unavailable")


# the sweep: after a silence


def wait_after_silence(**gate_fields: timedelta) -> None:
    """Make everyone wait because Discord was silent a minute ago, and set the gate's moments, that long ago."""
    now = database_now()
    silent_at, not_before = now - timedelta(minutes=1), now + timedelta(minutes=10)
    GuildListVerification.objects.update(reason="unavailable", silent_at=silent_at, not_before=not_before)
    DiscordGate.objects.update(**{name: now - ago for name, ago in gate_fields.items()})


def test_the_sweep_goes_on_at_once_after_a_silence(crowd: list[User], sandbox: Sandbox) -> None:
    wait_after_silence(recovered_at=timedelta(seconds=1))

    done = sweep(GUILD_LIST)

    assert (done.refreshed, done.skipped) == (3, 0)


def test_the_sweep_waits_as_long_as_before_if_the_silence_came_after_the_recovery(
    crowd: list[User], sandbox: Sandbox
) -> None:
    wait_after_silence(recovered_at=timedelta(minutes=2))

    done = sweep(GUILD_LIST)

    assert (done.refreshed, done.skipped) == (0, 3)
    assert asked(sandbox) == []


def test_the_sweep_sends_one_request_to_find_out_whether_a_silence_is_over(
    crowd: list[User], sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "SILENCE_PROBE_PAUSE", timedelta(minutes=5))
    wait_after_silence(silent_since=timedelta(minutes=2))
    sandbox.mood("outage")

    rounds = [sweep(GUILD_LIST) for _ in range(2)]

    assert [(dict(done.failed), done.skipped) for done in rounds] == [({"unavailable": 1}, 2), ({}, 3)]
    assert asked(sandbox) == ["ada"]


def test_a_good_answer_to_the_sweep_ends_the_waits_of_the_rest_of_its_round(
    crowd: list[User], sandbox: Sandbox
) -> None:
    wait_after_silence(silent_since=timedelta(minutes=2))

    done = sweep(GUILD_LIST)

    assert (done.refreshed, done.skipped) == (3, 0)
    assert asked(sandbox) == ["ada", "linus", "grace"]


def test_a_claim_that_is_lost_says_nothing_of_discords_silence() -> None:
    done = Round()
    done.count(Failed(Reason.UNAVAILABLE))

    done.count(None)

    assert (done.skipped, done.silent_in_a_row) == (1, 1)


# the sweep: the send budget


def test_the_sweep_waits_for_its_place_in_the_send_budget(crowd: list[User], sandbox: Sandbox) -> None:
    gate.read()
    DiscordGate.objects.update(tat=database_now() + timedelta(milliseconds=900))
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        let_pass(seconds=seconds)

    done = sweep(GUILD_LIST, sleep=sleep)

    assert done.refreshed == 3
    assert 0.5 < slept[0] <= 0.8  # its place is a tenth of a second before the clock's
    assert all(seconds >= gate.MIN_PAUSE for seconds in slept)
    assert {row.reason for row in map(row_of, crowd)} == {""}


def test_a_round_that_finds_no_place_leaves_it_to_the_readers(crowd: list[User], sandbox: Sandbox) -> None:
    gate.read()
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        DiscordGate.objects.update(tat=database_now() + timedelta(seconds=1.9))

    sleep(0)
    done = sweep(GUILD_LIST, sleep=sleep)

    assert (done.refreshed, done.left, done.ended) == (0, 3, "busy")
    assert gate.MAX_PLACE_WAIT <= sum(slept) < 2 * gate.MAX_PLACE_WAIT
    assert asked(sandbox) == []


# the sweep: beside others


def test_two_sweeps_at_once_ask_nobody_twice(crowd: list[User], sandbox: Sandbox) -> None:
    sandbox.mood("healthy", latency_ms=100)
    together = threading.Barrier(2)
    rounds: list[Any] = []

    def one_sweep() -> None:
        together.wait()
        rounds.append(sweep(GUILD_LIST))
        connection.close()

    threads = [threading.Thread(target=one_sweep) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(asked(sandbox)) == ["ada", "grace", "linus"]
    assert sum(done.refreshed for done in rounds) == 3
    assert sum(done.failed.total() for done in rounds) == 0


def test_who_was_refreshed_since_the_page_was_read_is_not_asked_for_again(crowd: list[User], sandbox: Sandbox) -> None:
    gate.read()
    DiscordGate.objects.update(tat=database_now() + timedelta(seconds=1))

    def meanwhile(_seconds: float) -> None:
        DiscordGate.objects.update(tat=None)
        services.verify_again(crowd[1])

    done = sweep(GUILD_LIST, sleep=meanwhile)

    assert (done.refreshed, done.skipped) == (2, 1)
    assert sorted(asked(sandbox)) == ["ada", "grace", "linus"]


def test_who_was_forgotten_since_the_page_was_read_is_skipped(crowd: list[User], sandbox: Sandbox) -> None:
    gate.read()
    DiscordGate.objects.update(tat=database_now() + timedelta(seconds=1))

    def meanwhile(_seconds: float) -> None:
        DiscordGate.objects.update(tat=None)
        personal_data.forget_user(User.objects.get(pk=crowd[0].pk))

    done = sweep(GUILD_LIST, sleep=meanwhile)

    assert (done.refreshed, done.skipped, done.failed.total()) == (2, 1, 0)
    assert not GuildListVerification.objects.filter(pk=crowd[0].pk).exists()


# the command


def test_one_round_says_what_happened_in_one_line(crowd: list[User], sandbox: Sandbox) -> None:
    sandbox.revoke("ada")
    GuildListVerification.objects.filter(user=crowd[1]).update(not_before=database_now() + timedelta(minutes=1))

    words = said("refresh_due_lists", "--once")

    assert words == "Refreshed 1, failed 1 (reconnect_required 1), skipped 1, left 0.\n"


def test_a_round_that_ended_early_says_why(crowd: list[User]) -> None:
    shut(minutes=5)
    until = DiscordGate.objects.get().until

    words = said("refresh_due_lists", "--once")

    assert until
    assert words == (
        "Refreshed 0, failed 0, skipped 0, left 3. "
        f"Discord rate-limits the whole site (a global 429), until {until:%H:%M:%S} UTC.\n"
    )


@pytest.mark.parametrize("limit", ["0", "-1", "x", "1.5", "²", ""])
def test_a_wrong_limit_is_named(crowd: list[User], sandbox: Sandbox, limit: str) -> None:
    with pytest.raises(CommandError, match="a whole number, at least 1"):
        call_command("refresh_due_lists", "--once", f"--limit={limit}")
    assert asked(sandbox) == []


def test_the_limit_holds_for_a_round(crowd: list[User], sandbox: Sandbox) -> None:
    assert "left 1. Reached --limit." in said("refresh_due_lists", "--once", "--limit", "2")
    assert asked(sandbox) == ["ada", "linus"]


def test_without_once_it_goes_round_by_round_until_it_is_stopped(
    crowd: list[User], sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 2:
            raise KeyboardInterrupt
        verified(crowd[0], minutes=59)

    monkeypatch.setattr(refresh_due_lists.Command, "sleep", staticmethod(sleep))

    assert said("refresh_due_lists") == "Stopped.\n"
    assert slept == [60, 60]
    assert asked(sandbox) == ["ada", "linus", "grace", "ada"]


def test_a_round_without_database_is_followed_by_the_next(
    crowd: list[User], sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, log: list[Any]
) -> None:
    rounds = iter([OperationalError("away")])

    def sweep_once_away(*arguments: Any, **options: Any) -> Any:
        if error := next(rounds, None):
            raise error
        return sweep(*arguments, **options)

    def sleep(_seconds: float) -> None:
        if asked(sandbox):
            raise KeyboardInterrupt

    monkeypatch.setattr(refresh_due_lists, "sweep", sweep_once_away)
    monkeypatch.setattr(refresh_due_lists.Command, "sleep", staticmethod(sleep))

    said("refresh_due_lists")

    assert len(asked(sandbox)) == 3
    assert "guild_list_sweep_without_database" in [line["event"] for line in log]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
def test_a_signal_ends_it_at_once_with_exit_code_0(crowd: list[User], sandbox: Sandbox, number: int) -> None:
    """Even during a request, which its lease covers."""
    sandbox.mood("timeout")
    process = manage("refresh_due_lists", sandbox=sandbox, PYTHONFAULTHANDLER="1")
    while not sandbox.requests():
        assert process.poll() is None, process.communicate()

    process.send_signal(number)
    # If it had waited for the request, it would have printed the outcome.
    out, err = end_of(process)

    assert (process.returncode, out) == (0, "Stopped.\n"), err
    assert "Traceback" not in err
    assert GuildListVerification.objects.filter(lease_until__gt=database_now()).count() == 1


def end_of(process: "subprocess.Popen[str]") -> tuple[str, str]:
    """Return the output of a process that is ending; a process that hangs dumps its threads' stacks."""
    try:
        return process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)
        return process.communicate()


def manage(*arguments: str, sandbox: Sandbox | None = None, **environment: str) -> "subprocess.Popen[str]":
    """manage.py as a process of its own, on this test's database unless `environment` names another."""
    name = str(connection.settings_dict["NAME"])
    url = f"sqlite:///{name}" if connection.vendor == "sqlite" else f"postgres:///{name}"
    values = {**os.environ, "DATABASE_URL": url, "DISCORD_FETCH_BUDGET_MS": "10000", **environment}
    if sandbox:
        values |= {"DISCORD_API_URL": f"{sandbox.url}/api/v10"}
    return subprocess.Popen(
        [sys.executable, "manage.py", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).resolve().parents[2],
        env=values,
        # A shell that runs the tests in the background makes their child processes ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
