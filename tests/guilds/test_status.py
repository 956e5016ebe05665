"""The site's status with Discord, as text and as JSON; and opening the gate by hand."""

import json
import re
from collections.abc import Callable
from contextlib import nullcontext, suppress
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
import structlog
from django.core.management import call_command
from django.test import Client
from pytest_django import DjangoAssertNumQueries, Settings

from accounts import gate
from accounts.clock import database_now
from accounts.limits import Priority
from accounts.models import DiscordGate, DiscordRefusal, User
from config import metrics
from guilds import services
from guilds.engine import freshness
from guilds.engine.freshness import Tier
from guilds.models import BotGuilds, GuildDirectory, GuildListVerification, GuildMember, ServingMinute
from guilds.operations import report, status
from guilds.resources import ALL
from guilds.resources.guild_list import GUILD_LIST
from tests.fixtures import Sandbox, let_pass, threading_join

pytestmark = pytest.mark.usefixtures("transactional_db")
WithList = Callable[..., User]


def said(command: str, *arguments: str) -> str:
    out = StringIO()
    # Whatever the verdict is, as the exit code.
    with suppress(SystemExit):
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


def serve(**counts: int) -> None:
    ServingMinute.objects.create(minute=database_now(), **counts)


def test_a_site_on_its_first_day_has_nothing_to_judge_by(settings: Settings) -> None:
    settings.SERVING_FLUSH_SECONDS = 60
    assert verdict().startswith("No lists were read in the last 5 minutes")
    assert line("Gate") == "open"
    assert line("Last list") == "never"
    assert line("Failures") == line("Refusals") == "none"


@pytest.mark.parametrize(
    ("mode", "options", "words"),
    [
        ("global_limit", {"retry_after": 90}, "Discord rate-limits the whole site until"),
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
    assert program()["state"] == "limited"


def test_after_the_gates_time_the_next_request_is_the_probe(with_list: WithList, sandbox: Sandbox) -> None:
    ada = with_list("ada", hours=5)
    sandbox.mood("global_limit", retry_after=90)
    services.get_guild_list(ada)
    threading_join()
    let_pass(seconds=91)
    serve(stale=90, refused=10)

    assert verdict().startswith(
        "Discord is responding again. 10% of reads were refused in the last 5 minutes (10 of 100)."
    )
    assert "the next request is the probe" in line("Gate")


@pytest.mark.parametrize(
    ("count", "state", "words"),
    [
        (2, "soft", "requests are sent to Discord only for people without a list."),
        (4, "hard", "no requests are sent to Discord."),
    ],
)
def test_the_brake_says_who_may_still_ask(settings: Settings, count: int, state: str, words: str) -> None:
    settings.DISCORD_BRAKE_SOFT, settings.DISCORD_BRAKE_HARD = 2, 4
    refuse(count)

    assert verdict().startswith(f"The brake is on for another 10 minutes: {words}")
    assert line("Brake").startswith(f"Invalid requests: {count} in the last 10 minutes. ")
    assert f"The brake is on for another 10 minutes: {words}" in line("Brake")
    assert program()["brake"]["state"] == state
    assert line("Refusals").startswith("401 user at ")


@pytest.mark.parametrize("count", [1, 2, 4])
def test_the_admin_says_the_same_of_the_brake(settings: Settings, admin_client: Client, count: int) -> None:
    settings.DISCORD_BRAKE_SOFT, settings.DISCORD_BRAKE_HARD = 2, 4
    refuse(count)

    page = admin_client.get("/admin/accounts/discordrefusal/")

    assert line("Brake") == f"Invalid requests: {page.context['note']} Discord bans at 10,000."


def test_discords_silence_is_told_until_it_answers_anyone(with_list: WithList, sandbox: Sandbox) -> None:
    ada, linus = with_list("ada", hours=5), with_list("linus", hours=5)
    sandbox.mood("outage")
    services.get_guild_list(ada)
    threading_join()
    serve(stale=1, failed=1)
    silent = verdict()
    sandbox.mood()
    services.get_guild_list(linus, max_age=timedelta(minutes=1))

    assert re.match(r"Discord isn't responding since .+ The last list it gave was at ", silent)
    assert verdict() == "Everything is fine."


def test_a_silence_that_nobody_met_for_five_minutes_is_no_news(with_list: WithList, sandbox: Sandbox) -> None:
    ada = with_list("ada", hours=5)
    sandbox.mood("outage")
    services.get_guild_list(ada)
    threading_join()
    let_pass(minutes=6)
    serve(fresh=1)

    assert verdict() == "Everything is fine."


def test_people_who_are_all_limited_are_told_though_the_gate_is_open() -> None:
    serve(refused=401, limited=211)

    assert verdict().startswith(
        "Discord limits requests for single people. 100% of reads were refused in the last 5 minutes (401 of 401)."
    )


def test_replies_that_are_all_unusable_are_told_until_one_is_not(with_list: WithList, sandbox: Sandbox) -> None:
    ada, linus = with_list("ada", hours=5), with_list("linus", hours=5)
    sandbox.mood("garbage")
    services.get_guild_list(ada)
    threading_join()
    unusable = verdict()
    sandbox.mood()
    services.get_guild_list(linus, max_age=timedelta(minutes=1))
    serve(fresh=1, stale=1)

    assert unusable.startswith("Discord sends unexpected replies.")
    assert verdict() == "Everything is fine."


def test_a_send_clock_far_ahead_is_told_where_people_are_refused() -> None:
    gate.read()
    DiscordGate.objects.update(tat=database_now() + timedelta(seconds=1.9))
    serve(fresh=9, refused=1)

    assert "The send budget is used up: raise DISCORD_SEND_RATE" in verdict()
    assert program()["state"] == "people_refused"


@pytest.mark.parametrize(
    ("counts", "code"), [({"fresh": 1}, 0), ({}, 1), ({"fresh": 9, "refused": 1, "limited": 1}, 2)]
)
def test_monitoring_reads_the_exit_code(counts: dict[str, int], code: int) -> None:
    serve(**counts)

    with pytest.raises(SystemExit) if code else nullcontext() as ended:
        call_command("discord_status", "--json", stdout=StringIO())
    assert ended is None or ended.value.code == code
    assert program()["exit_code"] == code


def test_the_admins_front_page_and_the_metrics_have_the_same_verdict(admin_client: Client, settings: Settings) -> None:
    serve(refused=401, limited=211)

    assert "they get no list" in admin_client.get("/admin/").content.decode()
    assert b'guildhall_verdict{verdict="people_limited"} 1.0' in metrics.scrape()


# what it rests on


def test_each_list_is_counted_once_the_refused_before_all_else(with_list: WithList, sandbox: Sandbox) -> None:
    linus = with_list("linus")
    with_list("grace", hours=5)
    with_list("ada")
    sandbox.revoke("linus")
    with pytest.raises(services.NoAnswer):
        services.get_guild_list(linus)

    assert line("Lists").startswith("1 fresh, 0 due, 1 stale, 0 expired, 0 never verified, 1 refused")
    assert program()["resources"]["guild_list"]["total"] == 3
    assert "reconnect_required: 1 person, not retried until they sign in again" in said("discord_status")


def test_every_resource_has_a_line(sign_up: Callable[..., User], settings: Settings) -> None:
    ada, now = sign_up(), database_now()
    GuildMember.objects.create(user=ada, guild_id=1, verified_at=now)
    GuildMember.objects.create(user=ada, guild_id=2, verified_at=now - timedelta(hours=5), lease_until=now)
    GuildMember.objects.create(user=ada, guild_id=3, verified_at=now, reason="missing_scope")
    GuildDirectory.objects.create(guild_id=1, reason="unavailable")
    BotGuilds.objects.create(verified_at=now - timedelta(hours=5), lease_until=now + timedelta(seconds=9))

    assert line("Members") == (
        "1 fresh, 0 due, 1 stale, 0 expired, 0 never verified, 1 refused; 1 failed at the last attempt; 1 overdue"
    )
    assert line("Directories") == (
        "0 fresh, 0 due, 0 stale, 0 expired, 1 never verified, 0 refused; 1 failed at the last attempt"
    )
    assert line("Bot's servers") == "0 fresh, 0 due, 1 stale, 0 expired, 0 never verified, 0 refused; 1 running"
    assert set(program()["resources"]) == {resource.name for resource in ALL} == set(report.LABELS)
    settings.DISCORD_BOT_TOKEN = ""
    assert set(program()["resources"]) == {"guild_list", "member"}


def test_a_running_refresh_is_told_with_its_person_and_an_overdue_one_apart(with_list: WithList) -> None:
    ada, linus = with_list("ada"), with_list("linus")
    now = database_now()
    GuildListVerification.objects.filter(pk=ada.pk).update(lease_until=now + timedelta(seconds=10))
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

    tiers = GuildListVerification.tiers(now)
    counted = [tier for tier, bounds in tiers.items() if GuildListVerification.objects.filter(bounds).exists()]

    assert counted == [freshness.tier(row, now, GUILD_LIST.windows())]
    assert set(tiers) == set(Tier)


@pytest.mark.parametrize("reason", ["unavailable", "rate_limited", ""])
@pytest.mark.parametrize("recovered", [None, -1, 1])
@pytest.mark.parametrize("silent", [None, 0])
@pytest.mark.parametrize("wait", [None, 0, 60])
def test_the_database_counts_the_waits_that_the_rule_sees(
    sign_up: Callable[..., User], reason: str, recovered: int | None, silent: int | None, wait: int | None
) -> None:
    gate.read()
    now = database_now()

    def moment(seconds: int | None) -> Any:
        return None if seconds is None else now + timedelta(seconds=seconds)

    DiscordGate.objects.update(recovered_at=moment(recovered))
    user = sign_up()
    row, _ = GUILD_LIST.read(user.pk)
    GuildListVerification.objects.update(reason=reason, silent_at=moment(silent), not_before=moment(wait))
    row, _ = GUILD_LIST.read(user.pk)

    waiting = GuildListVerification.pausing(now)

    assert GuildListVerification.objects.filter(waiting).exists() is bool(freshness.wait_end(row, now))


def test_looking_asks_nobody_and_reads_a_fixed_number_of_times(
    with_list: WithList, sandbox: Sandbox, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for name in ("ada", "linus", "grace"):
        with_list(name, hours=5)
    sandbox.forget_requests()

    with django_assert_num_queries(16):
        status.read()

    assert sandbox.requests("") == []


@pytest.mark.django_db
def test_the_last_complete_run_of_the_bots_sync_is_told(settings: Settings) -> None:
    gate.read()
    before = line("Bot")
    BotGuilds.objects.update_or_create(pk=1, defaults={"verified_at": database_now() - timedelta(minutes=5)})
    after = line("Bot")
    settings.DISCORD_BOT_TOKEN = ""

    assert "no complete list of its servers yet" in before
    assert re.search(r"servers listed at \d\d:\d\d:\d\d UTC \(5 minutes ago\)", after)
    assert line("Bot").endswith("none")


@pytest.mark.parametrize(
    ("recovered", "wait"),
    [(-60, r"the next is possible at \d\d:\d\d:\d\d UTC \(in 1\d minutes\)"), (-1, "its wait is over")],
)
def test_the_next_attempt_of_the_bots_sync_follows_from_the_rule(
    db: None, settings: Settings, recovered: int, wait: str
) -> None:
    gate.read()
    now = database_now()
    silent_at, not_before = now - timedelta(seconds=30), now + timedelta(minutes=15)
    BotGuilds.objects.create(reason="unavailable", silent_at=silent_at, not_before=not_before)
    DiscordGate.objects.update(recovered_at=now + timedelta(seconds=recovered))

    assert re.search(rf"the last attempt failed \(unavailable\), {wait}$", line("Bot"))


def test_no_token_is_told(with_list: WithList) -> None:
    with_list("ada", hours=5)

    assert not re.search(r"gAAAA|access_token|Bearer", said("discord_status") + said("discord_status", "--json"))


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
    assert [entry["event"] for entry in log] == ["discord_gate_opened", "operator_acted"]
    assert log[0]["by"].startswith("manage.py as ")
    services.get_guild_list(linus)
    assert [request["person"] for request in sandbox.requests()] == ["linus"]


def test_opening_an_open_gate_changes_nothing() -> None:
    gate.read()
    before = DiscordGate.objects.values().get()

    assert said("open_gate") == "The gate is already open.\n"
    assert DiscordGate.objects.values().get() == before


def test_opening_resets_the_send_clock_and_keeps_the_brake(settings: Settings) -> None:
    settings.DISCORD_BRAKE_HARD = 2
    refuse(2)
    gate.read()
    now = database_now()
    DiscordGate.objects.update(streak=1, until=now + timedelta(minutes=1), reason="cloudflare", tat=now)

    said("open_gate")

    assert gate.read()[0].tat is None
    assert gate.closed(Priority.COLD)
