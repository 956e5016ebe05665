"""How the site stands with Discord, in words and for programs; and the gate opened by hand."""

import json
import re
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
import structlog
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.test import Client
from pytest_django import DjangoAssertNumQueries, Settings

from accounts import gate
from accounts.clock import database_now
from accounts.limits import Priority
from accounts.models import DiscordGate, DiscordRefusal, User
from guilds import services
from guilds.engine import freshness
from guilds.engine.freshness import Tier
from guilds.models import GuildListVerification
from guilds.operations import status
from guilds.resources.guild_list import GUILD_LIST
from tests.fixtures import Sandbox, let_pass, threading_join

pytestmark = pytest.mark.usefixtures("transactional_db")
WithList = Callable[..., User]


def said(command: str, *arguments: str) -> str:
    out = StringIO()
    call_command(command, *arguments, stdout=out)
    return out.getvalue()


def verdict() -> str:
    return said("discord_status").splitlines()[0]


def line(label: str) -> str:
    found = re.search(rf"^{label} +(.*)$", said("discord_status"), re.MULTILINE)
    assert found
    return found[1]


def program() -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(said("discord_status", "--json"))
    return answer


def refuse(count: int) -> None:
    now = database_now()
    DiscordRefusal.objects.bulk_create([DiscordRefusal(at=now, status=401, reason="user") for _ in range(count)])


# the verdict


def test_a_site_on_its_first_day_is_fine() -> None:
    assert verdict() == "Everything is fine."
    assert line("Gate") == "open"
    assert line("Last list") == "never"
    assert line("Failures") == line("Refusals") == "none"


@pytest.mark.parametrize(
    ("mode", "options", "words"),
    [
        ("global_limit", {"retry_after": 90}, "Discord limits the whole site until"),
        ("cloudflare_html", {}, "Cloudflare"),
    ],
)
def test_a_shut_gate_comes_first_and_says_until_when(
    with_list: WithList, sandbox: Sandbox, mode: str, options: dict[str, int], words: str
) -> None:
    ada = with_list("ada", hours=5)
    sandbox.mood(mode, **options)
    services.get_guild_list(ada)
    threading_join()
    until = DiscordGate.objects.get().until
    assert until

    assert verdict().startswith(words)
    assert f"{until:%H:%M:%S} UTC" in verdict()
    assert "manage.py open_gate" in line("Gate")
    assert program()["state"] == "gate_shut"


def test_after_the_gates_time_the_next_request_is_the_probe(with_list: WithList, sandbox: Sandbox) -> None:
    ada = with_list("ada", hours=5)
    sandbox.mood("global_limit", retry_after=90)
    services.get_guild_list(ada)
    threading_join()
    let_pass(seconds=91)

    assert verdict() == "The limit of the whole site is over; the next request tests it. Nothing to do."


@pytest.mark.parametrize(
    ("count", "state", "words"),
    [(2, "soft", "only people without a list ask Discord."), (4, "hard", "nobody asks Discord.")],
)
def test_the_brake_says_who_may_still_ask(settings: Settings, count: int, state: str, words: str) -> None:
    settings.DISCORD_BRAKE_SOFT, settings.DISCORD_BRAKE_HARD = 2, 4
    refuse(count)

    assert verdict().startswith(f"The brake is on for another 10 minutes: {words}")
    assert line("Brake").startswith(f"Invalid requests: {count} in the last 10 minutes; ")
    assert f"The brake is on for another 10 minutes: {words}" in line("Brake")
    assert program()["brake"]["state"] == state
    assert line("Refusals").startswith("401 user at ")


@pytest.mark.parametrize("count", [1, 2, 4])
def test_the_admin_says_the_same_of_the_brake(settings: Settings, admin_client: Client, count: int) -> None:
    settings.DISCORD_BRAKE_SOFT, settings.DISCORD_BRAKE_HARD = 2, 4
    refuse(count)

    page = admin_client.get("/admin/accounts/discordrefusal/")

    assert line("Brake") == f"Invalid requests: {page.context['note']} Discord bans at 10,000."


def test_discords_silence_is_told_until_somebody_gets_a_list(with_list: WithList, sandbox: Sandbox) -> None:
    ada, linus = with_list("ada", hours=5), with_list("linus", hours=5)
    sandbox.mood("outage")
    services.get_guild_list(ada)
    threading_join()
    silent = verdict()
    sandbox.mood()
    services.get_guild_list(linus, max_age=timedelta(minutes=1))

    assert silent.startswith("Discord gave no usable answer for 1 person lately. The last list it gave was at ")
    let_pass(minutes=1)
    services.get_guild_list(linus, max_age=timedelta(seconds=30))
    assert verdict() == "Everything is fine."


def test_a_send_clock_far_ahead_is_told(settings: Settings) -> None:
    gate.read()
    DiscordGate.objects.update(tat=database_now() + timedelta(seconds=30))

    assert verdict().startswith("The send budget is used up: ")
    assert program()["state"] == "busy"


# what it rests on


def test_each_list_is_counted_once_the_refused_before_all_else(with_list: WithList, sandbox: Sandbox) -> None:
    linus = with_list("linus")
    with_list("grace", hours=5)
    with_list("ada")
    sandbox.revoke("linus")
    with pytest.raises(services.NoAnswer):
        services.get_guild_list(linus)

    assert line("Lists") == "1 fresh, 0 due, 1 stale, 0 expired, 0 never verified, 1 refused"
    assert program()["lists"]["total"] == 3
    assert "reconnect_required: 1 person, not asked for until they sign in again" in said("discord_status")


def test_a_running_refresh_is_told_with_its_person_and_an_overdue_one_apart(with_list: WithList) -> None:
    ada, linus = with_list("ada"), with_list("linus")
    now = database_now()
    GuildListVerification.objects.filter(pk=ada.pk).update(lease_until=now + timedelta(minutes=1))
    GuildListVerification.objects.filter(pk=linus.pk).update(lease_until=now - timedelta(minutes=1))

    words = line("Refreshes")

    assert words.startswith("1 running, the oldest for ")
    assert f"ada (user {ada.pk}); 1 overdue" in words


@pytest.mark.parametrize("due_after", [None, timedelta(minutes=48)])
@pytest.mark.parametrize("seconds", [None, 0, 2879, 2880, 3599, 3600, 86_399, 86_400, 87_000])
def test_the_database_counts_a_list_where_the_rule_puts_it(
    sign_up: Callable[..., User], seconds: int | None, due_after: timedelta | None
) -> None:
    now = database_now()
    verified_at = None if seconds is None else now - timedelta(seconds=seconds)
    row = GuildListVerification(user=sign_up(), verified_at=verified_at)
    row.refresh_after = verified_at + due_after if verified_at and due_after else None
    row.save()

    counted = [
        tier for tier, bounds in status.tiers(now).items() if GuildListVerification.objects.filter(bounds).exists()
    ]

    assert counted == [freshness.tier(row, now, GUILD_LIST.windows())]
    assert set(status.tiers(now)) == set(Tier)


def test_looking_asks_nobody_and_reads_a_fixed_number_of_times(
    with_list: WithList, sandbox: Sandbox, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for name in ("ada", "linus", "grace"):
        with_list(name, hours=5)
    sandbox.forget_requests()

    with django_assert_num_queries(8):
        status.read()

    assert sandbox.requests("") == []


def test_no_token_is_told(with_list: WithList) -> None:
    with_list("ada", hours=5)

    assert not re.search(r"gAAAA|access_token|Bearer", said("discord_status") + said("discord_status", "--json"))


@pytest.mark.parametrize("command", ["discord_status", "open_gate"])
def test_without_a_database_it_is_one_line(command: str) -> None:
    def lose(*args: Any) -> None:
        raise OperationalError("no route\nto host")

    with (
        connection.execute_wrapper(lose),
        pytest.raises(CommandError, match=r"^The database can't be asked: no route to host$"),
    ):
        said(command)


# the gate by hand


def test_opening_lets_the_next_request_go_and_says_what_it_was(with_list: WithList, sandbox: Sandbox) -> None:
    ada, linus = with_list("ada", hours=5), with_list("linus", hours=5)
    sandbox.mood("global_limit", retry_after=600)
    services.get_guild_list(ada)
    threading_join()
    sandbox.mood()
    sandbox.forget_requests()

    with structlog.testing.capture_logs() as log:
        words = said("open_gate")

    assert words.startswith("Opened. It was shut until ")
    assert [entry["event"] for entry in log] == ["discord_gate_opened"]
    assert log[0]["by"].startswith("manage.py as ")
    services.get_guild_list(linus)
    assert [request["person"] for request in sandbox.requests()] == ["linus"]


def test_opening_an_open_gate_changes_nothing() -> None:
    gate.read()
    before = DiscordGate.objects.values().get()

    assert said("open_gate") == "The gate isn't shut; there is nothing to open.\n"
    assert DiscordGate.objects.values().get() == before


def test_opening_keeps_the_send_clock_and_the_brake(settings: Settings) -> None:
    settings.DISCORD_BRAKE_HARD = 2
    refuse(2)
    gate.read()
    now = database_now()
    DiscordGate.objects.update(streak=1, until=now + timedelta(minutes=1), reason="cloudflare", tat=now)

    said("open_gate")

    assert gate.read()[0].tat == now
    assert gate.closed(Priority.COLD)
