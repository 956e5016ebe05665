"""The counts of served lists: what is counted, how it adds up, and what an operator sees."""

import csv
import re
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.core.cache import cache
from django.core.management import call_command
from django.db import DatabaseError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts import background
from accounts.clock import database_now
from accounts.models import User
from guilds import services
from guilds.admin.charts import Chart, Series, round_up
from guilds.admin.numbers import DAY, MONTH, PERIODS, charts, safe_cell
from guilds.models import MAY_MANAGE, ServingMinute, UserGuildMembership
from guilds.operations import serving_minutes
from guilds.operations.serving_minutes import Ledger
from guilds.resources import server_usage
from tests.fixtures import Sandbox, end_jobs

WithList = Callable[..., User]
PAGE = "/admin/guilds/servingminute/"


@pytest.fixture
def operator(transactional_db: None) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser(username="root"), backend="guilds.backends.PasswordBackend")
    return client


def counts(row: ServingMinute) -> dict[str, int]:
    return {name: getattr(row, name) for name in serving_minutes.COUNTS if getattr(row, name)}


# writing


@pytest.mark.parametrize(
    ("age", "mood", "found"),
    [
        ({"minutes": 2}, None, {"fresh": 1, "within_5_minutes": 1}),
        ({"minutes": 10}, None, {"fresh": 1, "within_15_minutes": 1}),
        ({"minutes": 40}, None, {"fresh": 1, "within_1_hour": 1}),
        ({"hours": 3}, "rate_limited", {"stale": 1, "within_4_hours": 1, "limited": 1}),
        ({"hours": 20}, "outage", {"stale": 1, "within_1_day": 1, "failed": 1}),
        ({"hours": 25}, "outage", {"refused": 1, "failed": 1}),
        ({"hours": 3}, "healthy", {"fresh": 1, "within_5_minutes": 1, "answered": 1}),
        ({"hours": 3}, "forbidden", {"refused": 1, "rejected": 1}),
    ],
)
def test_each_read_and_each_answer_counts_once(
    with_list: WithList, sandbox: Sandbox, age: Any, mood: str | None, found: Any
) -> None:
    ada = with_list("ada", **age)
    if mood:
        sandbox.mood(mood)
    ledger = Ledger()

    with suppress(services.NoAnswer):
        services.get_guild_list(ada)
    end_jobs()
    ledger.write()

    row = ServingMinute.objects.get()
    assert counts(row) == found
    assert row.minute == database_now().replace(second=0, microsecond=0)


def test_what_is_written_is_not_written_again(with_list: WithList) -> None:
    ada = with_list("ada", minutes=2)
    ledger = Ledger()
    services.get_guild_list(ada)

    ledger.write()
    ledger.write()
    services.get_guild_list(ada)
    ledger.write()

    assert [row.fresh for row in ServingMinute.objects.order_by("pk")] == [1, 1]


def test_what_could_not_be_written_waits(with_list: WithList, monkeypatch: pytest.MonkeyPatch) -> None:
    ada = with_list("ada", minutes=2)
    ledger = Ledger()
    services.get_guild_list(ada)

    def fail() -> None:
        raise DatabaseError

    with monkeypatch.context() as patch:
        patch.setattr(serving_minutes, "database_now", fail)
        ledger.write()
    nothing = ServingMinute.objects.count()
    services.get_guild_list(ada)
    ledger.write()

    assert nothing == 0
    assert ServingMinute.objects.get().fresh == 2


def test_reading_a_list_writes_no_number(with_list: WithList, client_of: Callable[[User], Client]) -> None:
    browser = client_of(with_list("ada", minutes=2))
    browser.get("/api/v1/guilds/")

    with CaptureQueriesContext(connection) as queries:
        browser.get("/api/v1/guilds/")

    assert [query["sql"] for query in queries if "servingminute" in query["sql"]] == []


def test_numbers_are_kept_for_thirty_days(db: None, capsys: Any) -> None:
    now = database_now()
    for age in (timedelta(days=31), timedelta(days=30, minutes=1), timedelta(days=29, hours=23), timedelta(0)):
        ServingMinute.objects.create(minute=now - age, fresh=1)

    call_command("purge_memberships")

    assert ServingMinute.objects.count() == 2
    assert "2 rows of usage counts" in capsys.readouterr().out


# adding up


def test_the_last_day_is_added_up_by_the_quarter_of_an_hour(db: None) -> None:
    now = database_now().replace(hour=12, minute=20, second=30, microsecond=0)
    for hour, minute, fresh in ((12, 15, 3), (12, 20, 4), (12, 14, 5), (0, 0, 6)):
        ServingMinute.objects.create(minute=now.replace(hour=hour, minute=minute, second=0), fresh=fresh, stale=1)
    yesterday = now - timedelta(days=1)
    ServingMinute.objects.create(minute=yesterday.replace(hour=13, minute=0, second=0), fresh=7)
    ServingMinute.objects.create(minute=yesterday.replace(minute=59, second=0), fresh=100)
    ServingMinute.objects.create(minute=now + timedelta(minutes=5), fresh=100)

    served = charts(now, DAY)[0]

    fresh = {column.label: column.values[0] for column in served.columns if column.values[0]}
    assert fresh == {"12:15": 7, "12:00": 5, "00:00": 6, "13:00": 7}
    assert [column.label for column in served.columns[:1] + served.columns[-1:]] == ["13:00", "12:45"]
    assert [series.total for series in served.series] == [25, 4, 0]
    assert len(served.columns) == 96


def test_the_last_thirty_days_are_added_up_by_six_hours(db: None) -> None:
    now = database_now().replace(hour=12, minute=20, second=30, microsecond=0)
    today = now.replace(hour=0, minute=0, second=0)
    for age, fresh in (
        (timedelta(minutes=5), 1),
        (timedelta(hours=5, minutes=59), 2),
        (timedelta(hours=6), 4),
        (timedelta(days=29), 8),
        (timedelta(days=29, minutes=1), 100),
    ):
        ServingMinute.objects.create(minute=today + timedelta(hours=12) - age, fresh=fresh)
    ServingMinute.objects.create(minute=today - timedelta(days=29), fresh=16)

    served = charts(now, MONTH)[0]

    fresh_at = {column.label: column.values[0] for column in served.columns if column.values[0]}
    first = (today - timedelta(days=29)).strftime("%Y-%m-%d")
    assert fresh_at == {f"{today:%Y-%m-%d} 06:00": 7, f"{first} 12:00": 8, f"{first} 06:00": 100, f"{first} 00:00": 16}
    assert len(served.columns) == 120
    assert served.ticks[0] == first[5:]


@pytest.mark.parametrize(("name", "columns", "last"), [("hour", 60, 12), ("day", 96, 12), ("week", 84, 22)])
def test_a_period_ends_with_the_present(db: None, name: str, columns: int, last: int) -> None:
    now = database_now().replace(hour=12, minute=59)
    ServingMinute.objects.create(minute=now, fresh=1)

    served = charts(now, PERIODS[name])[0]

    assert len(served.columns) == columns
    assert int(served.columns[-1].label.split()[-1][:2]) == last
    assert served.series[0].total == 1


@pytest.mark.parametrize(
    ("number", "end"), [(0, 1), (1, 1), (3, 4), (7, 8), (9, 10), (11, 20), (21, 25), (26, 40), (99, 100), (401, 500)]
)
def test_an_axis_ends_at_a_round_number(number: int, end: int) -> None:
    assert round_up(number) == end


def test_columns_stand_on_each_other() -> None:
    chart = Chart.stacked("x", "y", ["a", "b"], [Series("one", "good", (2, 0)), Series("two", "bad", (2, 1))])

    assert chart.most == 4
    assert chart.paths == (
        ("good", "M0.0 160.0v-80.0h412.8v80.0z"),
        ("bad", "M0.0 80.0v-80.0h412.8v80.0zM480.0 160.0v-40.0h412.8v40.0z"),
    )
    assert chart.columns[0].words == "a: 2 one, 2 two"
    assert [row.label for row in chart.rows] == ["a", "b"]


# the page


def test_the_page_shows_the_day_and_asks_nobody(operator: Client, with_list: WithList, sandbox: Sandbox) -> None:
    with_list("ada")
    sandbox.mood("outage")
    ServingMinute.objects.create(minute=database_now(), fresh=1234, stale=5, limited=2, within_4_hours=6)
    sandbox.forget_requests()

    page = operator.get(PAGE)
    words = page.content.decode()

    assert page.status_code == 200
    assert "<b>1,234</b> fresh" in " ".join(words.split())
    assert "1,234 fresh, 5 stale, 0 refused" in words
    assert "Lisbon Board Gamers" in words
    assert sandbox.requests("") == []
    assert "style=" not in words.partition('id="content"')[2]


@pytest.mark.parametrize(
    ("query", "title"),
    [
        ("", "Last 24 hours"),
        ("?period=week", "Last 7 days"),
        ("?period=month", "Last 30 days"),
        ("?period=x", "Last 24"),
    ],
)
def test_an_operator_chooses_the_period(operator: Client, query: str, title: str) -> None:
    words = operator.get(PAGE + query).content.decode()

    assert f"<h1>{title}" in words
    assert words.count('aria-current="page"') == 1


def test_the_page_of_a_site_that_served_nothing(operator: Client) -> None:
    words = operator.get(PAGE).content.decode()

    assert words.count("No data yet.") == 3
    assert "No lists are stored." in words


def test_the_page_costs_the_same_for_a_day_as_for_a_minute(operator: Client) -> None:
    operator.get(PAGE)
    with CaptureQueriesContext(connection) as few:
        operator.get(PAGE)
    now = database_now()
    ServingMinute.objects.bulk_create(
        ServingMinute(minute=now - timedelta(minutes=minute), fresh=1) for minute in range(600)
    )

    with CaptureQueriesContext(connection) as many:
        operator.get(PAGE)

    assert len(many) == len(few)


@pytest.mark.parametrize("path", ["", "numbers.csv", "usage.csv"])
def test_who_may_not_look_sees_nothing(transactional_db: None, path: str) -> None:
    reader = User.objects.create_user(username="reader", is_staff=True)
    browser = Client()
    browser.force_login(reader, backend="guilds.backends.PasswordBackend")

    before = browser.get(PAGE + path).status_code
    reader.user_permissions.add(Permission.objects.get(codename="view_servingminute"))
    after = browser.get(PAGE + path).status_code

    assert (before, after) == (403, 200)


def lines(answer: Any) -> list[list[str]]:
    return list(csv.reader(b"".join(answer.streaming_content).decode().splitlines()))


def test_the_minutes_as_csv(operator: Client) -> None:
    now = database_now().replace(second=0, microsecond=0)
    for minute, fresh in ((now - timedelta(days=29), 1), (now, 2), (now, 3), (now - timedelta(days=31), 9)):
        ServingMinute.objects.create(minute=minute, fresh=fresh)

    answer = operator.get(f"{PAGE}numbers.csv")

    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    header, *rows = lines(answer)
    assert header == ["minute", *serving_minutes.COUNTS]
    assert [row[:2] for row in rows] == [[(now - timedelta(days=29)).isoformat(), "1"], [now.isoformat(), "5"]]


def test_a_servers_name_is_no_formula_in_a_spreadsheet(
    operator: Client, sandbox: Sandbox, with_list: Callable[..., User]
) -> None:
    sandbox.person("eve", guilds=[{"id": "5", "name": "=HYPERLINK(1)", "permissions": "0", "owner": True}])
    with_list("eve")

    assert lines(operator.get(f"{PAGE}usage.csv")) == [
        ["guild_id", "name", "people", "managers"],
        ["5", "'=HYPERLINK(1)", "1", "1"],
    ]


@pytest.mark.parametrize("sign", "=+-@＝＋－＠")
@pytest.mark.parametrize(
    "before", ["", " ", '"', "\t", "\r", "A;", 'A;"', "A; ", "A\t", "A\n", "A\r\n", "A,", "A|", ";;"]
)
def test_no_part_of_a_cell_is_a_formula(before: str, sign: str) -> None:
    cell = safe_cell(f"{before}{sign}HYPERLINK(1)")

    parts = re.split(r"[,;|\t\r\n]", cell)
    assert not [part for part in parts if part.strip(' "').startswith(sign)]
    assert cell.replace("'", "") == f"{before}{sign}HYPERLINK(1)"


@pytest.mark.parametrize("cell", ["", "Chess & Coffee", "A - B", "C++; C#", "a=b", "me@home", 7, None])
def test_a_cell_without_a_formula_stays_as_it_is(cell: object) -> None:
    assert safe_cell(cell) == cell


@pytest.mark.parametrize("start", ["\t", "\r", "\n"])
def test_a_cell_begins_with_no_separator(start: str) -> None:
    assert safe_cell(f"{start}A") == f"'{start}A"


def test_the_csv_holds_all_servers_and_the_page_the_fullest(operator: Client, with_list: WithList) -> None:
    with_list("grace")
    with_list("ada")

    header, *rows = lines(operator.get(f"{PAGE}usage.csv"))

    assert header == ["guild_id", "name", "people", "managers"]
    assert len(rows) == UserGuildMembership.objects.values("guild_id").distinct().count() > server_usage.SHOWN
    assert [int(row[2]) for row in rows] == sorted((int(row[2]) for row in rows), reverse=True)
    assert "All servers as CSV" in operator.get(PAGE).content.decode()


# who is where


@pytest.mark.parametrize("permissions", [0, 8, 32, 40, 16, 2**62 | 32, 2**62])
@pytest.mark.parametrize("owner", [False, True])
def test_the_database_and_the_site_agree_on_who_may_manage(ada: User, permissions: int, owner: bool) -> None:
    now = database_now()
    row = UserGuildMembership.objects.create(
        user=ada, guild_id=1, permissions=permissions, owner=owner, first_seen_at=now, changed_at=now
    )

    assert UserGuildMembership.objects.filter(MAY_MANAGE).exists() == row.can_manage


def test_people_and_managers_are_counted_by_server(with_list: WithList) -> None:
    with_list("ada")
    with_list("linus")
    (shared,) = UserGuildMembership.objects.filter(user__discord_username="linus")

    found = server_usage.usage_of([shared.guild_id, 1])

    managers = UserGuildMembership.objects.filter(MAY_MANAGE, guild_id=shared.guild_id).count()
    assert list(found) == [shared.guild_id]
    assert (found[shared.guild_id].people, found[shared.guild_id].managers) == (2, managers)
    ranked = server_usage.ranking().servers
    assert ranked[0] == found[shared.guild_id]
    assert len(ranked) == 12


def test_the_ranking_is_counted_once_in_ten_minutes(with_list: WithList, monkeypatch: pytest.MonkeyPatch) -> None:
    with_list("ada")
    first = server_usage.ranking()
    with_list("grace")

    again = server_usage.ranking()
    monkeypatch.setattr(server_usage, "RENEWED_AFTER", timedelta(0))
    later = server_usage.ranking()

    assert again == first
    assert len(first.servers) == 12
    assert len(later.servers) == server_usage.SHOWN


def test_a_ranking_that_we_did_not_seal_is_not_shown(with_list: WithList) -> None:
    with_list("ada")
    server_usage.ranking()
    value = cache.get(server_usage.KEY)

    cache.set(server_usage.KEY, value.replace(b", 1, ", b", 9, "))

    assert {usage.people for usage in server_usage.ranking().servers} == {1}


def test_a_count_that_takes_long_is_not_waited_for(with_list: WithList, monkeypatch: pytest.MonkeyPatch) -> None:
    with_list("ada")
    first = server_usage.ranking()
    monkeypatch.setattr(server_usage, "RENEWED_AFTER", timedelta(0))
    monkeypatch.setattr(background, "call", too_slow)

    found = server_usage.ranking()

    assert found == server_usage.Ranking(first.at, first.servers, is_counting=True)


def too_slow(_job: object, *, timeout: float) -> None:
    raise TimeoutError


def test_while_somebody_counts_nobody_else_does(with_list: WithList, monkeypatch: pytest.MonkeyPatch) -> None:
    with_list("ada")
    cache.add(server_usage.COUNTING_KEY, 1)

    assert server_usage.ranking() == server_usage.Ranking(is_counting=True)
