"""What readers get while Discord, the database or the site fails: G9, G10, G13, G14, G15, G18."""

import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from django.db import connection

from accounts.clock import database_now
from accounts.discord import GuildPage
from accounts.models import DiscordGate, DiscordRefusal, User
from accounts.tokens import discord_client
from bench.sites import Site, start_all
from guilds import services
from guilds.engine import freshness, refresh
from guilds.engine.refresh import Verified
from guilds.models import GuildListVerification
from guilds.resources.guild_list import GUILD_LIST
from tests.databases import database_url
from tests.engine.conftest import BRAKE_HARD, STALLED, THREADS, Fleet, Reader, eventually, jobs
from tests.fixtures import Sandbox, let_pass

# ── G9


@pytest.mark.parametrize(
    ("age", "status"),
    [
        ({"hours": 23, "minutes": 59, "seconds": 30}, 200),
        ({"hours": 24}, 503),
        ({"hours": 24, "minutes": 10}, 503),
        ({"days": 20}, 503),
    ],
    ids=["23:59:30", "24:00:00", "24:10:00", "20 days"],
)
def test_g9_nothing_of_a_day_or_more_is_served(
    fleet: Fleet, join: Callable[..., Reader], age: dict[str, int], status: int
) -> None:
    ada = join(**age)
    fleet.sandbox.mood("outage")

    replies = [ada.get(fleet[0]), *fleet.crowd([ada], times=6)]

    assert {reply.status for reply in replies} == {status}
    assert all(("As it was" in reply.text) == (status == 200) for reply in replies)
    assert ada.stored == ["As it was"], "what is not served is not thrown away"


def test_g9_a_fresh_list_causes_no_request(fleet: Fleet, crowd_of: Callable[..., list[Reader]]) -> None:
    readers = crowd_of(4, minutes=40)

    replies = fleet.crowd(readers, times=3)

    assert {(reply.status, reply.freshness) for reply in replies} == {(200, "fresh")}
    assert fleet.sandbox.requests("") == []


def test_g9_but_for_four_that_are_on_purpose(fleet: Fleet, join: Callable[..., Reader]) -> None:
    ada = join(minutes=40)

    token = csrf_token(ada, fleet[0])
    reply = ada.get(fleet[0], "/api/v1/guilds/refresh/", "POST", **token)
    assert (reply.status, reply.freshness, fleet.asked()) == (200, "fresh", 1)

    let_pass(minutes=2)
    assert services.get_guild_list(ada.user, max_age=timedelta(minutes=1)).age < timedelta(minutes=1)
    assert fleet.asked() == 2

    let_pass(minutes=2)
    services.relink(ada.user.pk)
    services.warm_up(ada.user.pk)
    assert fleet.asked() == 3

    # The fourth is a sign-in, which ends in the same request: see the test of G18.
    assert ada.get(fleet[1]).freshness == "fresh"
    assert fleet.asked() == 3


def csrf_token(reader: Reader, site: Site) -> dict[str, Any]:
    """Return the headers for a POST, with the CSRF token of a page with a form."""
    answer = requests.get(site.url + "/sign-in/", cookies={"guildhall_session": reader.cookie}, timeout=10)
    token = answer.cookies["guildhall_csrf"]
    cookies = {"guildhall_session": reader.cookie, "guildhall_csrf": token}
    return {"headers": {"X-CSRFToken": token, "Cookie": "; ".join(f"{n}={v}" for n, v in cookies.items())}}


# ── G10


def test_g10_a_stall_holds_up_neither_stale_lists_nor_other_pages(
    fleet: Fleet, crowd_of: Callable[..., list[Reader]], join: Callable[..., Reader]
) -> None:
    """All these responses arrive while every request to Discord is still in flight."""
    stale = crowd_of(6, hours=2)
    cold = [join(f"newcomer{number}") for number in range(THREADS * 3 + 12)]
    fleet.sandbox.mood(**STALLED)

    with ThreadPoolExecutor(len(cold)) as pool:
        waiting = [pool.submit(reader.get, fleet[number % 3]) for number, reader in enumerate(cold)]
        eventually(lambda: fleet.on_the_wire() >= 3, "some are on the wire")
        replies = fleet.crowd(stale, times=3)
        others = [reader.get(site, "/api/v1/me/") for reader in stale for site in fleet.sites]
        on_the_wire = fleet.on_the_wire()
        answers = [future.result() for future in waiting]

    assert {(reply.status, reply.freshness) for reply in replies} == {(200, "stale")}
    assert {reply.status for reply in others} == {200}
    assert on_the_wire >= 3, "Discord has said nothing yet"
    assert {reply.status for reply in answers} == {503}
    assert all(reply.retry_after >= 1 for reply in answers)


# ── G13


def test_g13_a_cold_reader_is_told_the_moment_at_which_asking_makes_sense(
    fleet: Fleet, join: Callable[..., Reader]
) -> None:
    ada = join()
    fleet.sandbox.mood("rate_limited", retry_after=90)

    reply = ada.get(fleet[0])
    assert (reply.status, reply.json["reason"]) == (429, "rate_limited")
    assert 60 < reply.retry_after <= 91
    let_pass(seconds=60)
    assert ada.get(fleet[0]).retry_after <= 31
    assert fleet.asked() == 1
    let_pass(seconds=31)
    fleet.sandbox.mood()
    assert ada.get(fleet[0]).status == 200


SHUTS_THE_GATE = [
    {"mode": "cloudflare_html"},
    {"mode": "cloudflare_json", "retry_after": 90},
    {"mode": "global_limit", "retry_after": 90},
]


@pytest.mark.parametrize("mood", SHUTS_THE_GATE, ids=lambda mood: mood["mode"])
@pytest.mark.parametrize("age", [{}, {"hours": 2}], ids=["cold", "stale"])
def test_g13_the_reader_whose_own_attempt_shut_the_gate_is_told_when_it_opens(
    fleet: Fleet, join: Callable[..., Reader], mood: dict[str, Any], age: dict[str, int]
) -> None:
    """The person's own pause may end before the gate opens."""
    ada = join(**age)
    fleet.sandbox.mood(**mood)

    ada.get(fleet[0])
    fleet.settle()
    reply, until = ada.get(fleet[0]), max(DiscordGate.objects.get().until, ada.row.not_before)

    assert 55 < (until - database_now()).total_seconds() <= 115
    if age:
        assert reply.json["next_attempt_at"] == until.isoformat().replace("+00:00", "Z")
    else:
        assert abs(reply.retry_after - (until - database_now()).total_seconds()) <= 2
    assert fleet.asked() == 1


def test_g13_the_reader_whose_own_attempt_applied_the_brake_is_told_when_it_lets_go(
    fleet: Fleet, join: Callable[..., Reader]
) -> None:
    ada = join()
    DiscordRefusal.objects.bulk_create(
        DiscordRefusal(at=database_now() - timedelta(minutes=8), status=403) for _ in range(BRAKE_HARD - 1)
    )
    fleet.sandbox.mood("rate_limited", retry_after=20)

    first, second = ada.get(fleet[0]), ada.get(fleet[1])

    assert {reply.json["reason"] for reply in (first, second)} == {"brake"}
    assert all(110 < reply.retry_after <= 121 for reply in (first, second))
    assert fleet.asked() == 1


@pytest.mark.parametrize("gate_seconds", [30, 300])
def test_g13_of_gate_and_brake_the_later_end_is_told(
    fleet: Fleet, join: Callable[..., Reader], gate_seconds: int
) -> None:
    ada = join()
    now = database_now()
    DiscordRefusal.objects.bulk_create(
        DiscordRefusal(at=now - timedelta(minutes=8), status=403) for _ in range(BRAKE_HARD)
    )
    DiscordGate.objects.update_or_create(
        pk=1, defaults={"until": now + timedelta(seconds=gate_seconds), "reason": "cloudflare", "streak": 1}
    )

    reply = ada.get(fleet[0])

    assert reply.json["reason"] == ("cloudflare" if gate_seconds > 120 else "brake")
    assert abs(reply.retry_after - max(gate_seconds, 120)) <= 3


@pytest.mark.parametrize(("reason", "status"), [("global_limit", 429), ("cloudflare", 429)])
def test_g13_a_shut_gate_tells_when_it_opens(
    fleet: Fleet, join: Callable[..., Reader], reason: str, status: int
) -> None:
    cold, stale = join("newcomer"), join("ada", hours=2)
    DiscordGate.objects.update_or_create(
        pk=1, defaults={"until": database_now() + timedelta(seconds=90), "reason": reason, "streak": 1}
    )

    refused, served = cold.get(fleet[0]), stale.get(fleet[1])

    assert (refused.status, refused.json["reason"]) == (status, reason)
    assert 60 < refused.retry_after <= 91
    assert (served.status, served.json["reason"]) == (200, reason)
    assert served.json["next_attempt_at"] == DiscordGate.objects.get().until.isoformat().replace("+00:00", "Z")
    assert fleet.asked() == 0
    let_pass(seconds=91)
    assert cold.get(fleet[2]).status == 200


def test_g7_a_brake_tells_when_it_lets_go(fleet: Fleet, join: Callable[..., Reader]) -> None:
    ada = join()
    DiscordRefusal.objects.bulk_create(
        DiscordRefusal(at=database_now() - timedelta(minutes=8), status=403) for _ in range(BRAKE_HARD)
    )

    reply = ada.get(fleet[0])

    assert (reply.status, reply.json["reason"]) == (503, "brake")
    assert 90 < reply.retry_after <= 121
    let_pass(seconds=121)
    assert ada.get(fleet[0]).status == 200


@pytest.mark.parametrize("minutes", [61, 5 * 60, 23 * 60])
def test_g13_a_stale_answer_tells_its_true_age_and_why(fleet: Fleet, join: Callable[..., Reader], minutes: int) -> None:
    ada = join(minutes=minutes)
    fleet.sandbox.mood("outage")
    ada.get(fleet[0])
    fleet.settle()

    reply = ada.get(fleet[0])

    assert reply.json["reason"] == "unavailable"
    assert abs(int(reply.headers["Age"]) - minutes * 60) <= 15
    assert reply.json["verified_at"] == ada.row.verified_at.isoformat().replace("+00:00", "Z")
    assert reply.json["next_attempt_at"] == ada.row.not_before.isoformat().replace("+00:00", "Z")
    assert "ttl=-" in reply.headers["Cache-Status"]


# ── G14


def test_g14_lists_imported_together_come_due_spread_out(db: None) -> None:
    """Of 400 lists stored in one minute, no minute has more than twice the mean number of due lists."""
    people = User.objects.bulk_create(User(username=str(number), discord_id=number) for number in range(400))
    rows = GuildListVerification.objects.bulk_create(GuildListVerification(user=person) for person in people)
    now = database_now()
    for number, row in enumerate(rows):
        moment = now + timedelta(seconds=60 * number / len(rows))
        decision = freshness.decide(row, moment, GUILD_LIST.windows())
        claimed = refresh.claim(row, moment, decision, discord_client())
        assert claimed
        refresh.store(claimed, Verified(GuildPage()), moment)

    due = GuildListVerification.objects.values_list("refresh_after", flat=True)
    per_minute = Counter((moment - now) // timedelta(minutes=1) for moment in due)
    span = (max(due) - min(due)) / timedelta(minutes=1)

    assert max(per_minute.values()) <= 2 * len(rows) / span
    assert span > 8


# ── G15


@contextmanager
def sqlite_out_of_reach(new_site: Callable[..., Site], folder: Path) -> Iterator[tuple[Site, Callable[[], None]]]:
    """A process on a copy of the database, whose folder the test can move away."""
    (folder / "here").mkdir(parents=True)
    source = sqlite3.connect(connection.settings_dict["NAME"])
    with sqlite3.connect(folder / "here" / "copy.sqlite3") as target:
        source.backup(target)
    source.close()
    target.close()
    site = new_site("lost", DATABASE_URL=f"sqlite:///{folder / 'here' / 'copy.sqlite3'}")

    def back() -> None:
        (folder / "away").rename(folder / "here")

    start_all([site])
    try:
        yield site, back
    finally:
        site.stop()
        shutil.rmtree(folder)


@contextmanager
def postgresql_out_of_reach(new_site: Callable[..., Site], folder: Path) -> Iterator[tuple[Site, Callable[[], None]]]:
    """A process that connects with a role that the test can lock out of PostgreSQL."""
    name = f"guildhall_lost_{connection.settings_dict['NAME']}"[:60].lower()
    with connection.cursor() as cursor:
        cursor.execute(f'DROP ROLE IF EXISTS "{name}"')
        cursor.execute(f"CREATE ROLE \"{name}\" LOGIN SUPERUSER PASSWORD 'lost'")
    parts = urlsplit(database_url())
    site = new_site("lost", DATABASE_URL=parts._replace(netloc=f"{name}:lost@{parts.hostname}:{parts.port}").geturl())

    def back() -> None:
        with connection.cursor() as cursor:
            cursor.execute(f'ALTER ROLE "{name}" LOGIN')

    start_all([site])
    try:
        yield site, back
    finally:
        site.stop()
        with connection.cursor() as cursor:
            cursor.execute(f'DROP ROLE "{name}"')


def take_away(site: Site, folder: Path) -> None:
    if connection.vendor == "sqlite":
        (folder / "here").rename(folder / "away")
        return
    name = urlsplit(site.environment["DATABASE_URL"]).username
    with connection.cursor() as cursor:
        cursor.execute(f'ALTER ROLE "{name}" NOLOGIN')
        cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", [name])


def test_g15_without_the_database_a_quick_503_and_no_request(
    fleet: Fleet, join: Callable[..., Reader], new_site: Callable[..., Site], tmp_path: Path
) -> None:
    ada = join(hours=2)
    out_of_reach = sqlite_out_of_reach if connection.vendor == "sqlite" else postgresql_out_of_reach
    with out_of_reach(new_site, tmp_path / "database") as (site, back):
        assert ada.get(site, "/api/v1/me/").status == 200

        take_away(site, tmp_path / "database")
        replies = [ada.get(site, path) for path in ("/api/v1/guilds/", "/servers/", "/healthz")]
        assert {reply.status for reply in replies} == {503}
        assert all(reply.retry_after >= 1 for reply in replies)
        assert fleet.sandbox.requests("") == []

        back()
        assert ada.get(site).status == 200
        assert fleet.asked() == 1


# ── G18


def sign_in(site: Site, sandbox: Sandbox, name: str) -> tuple[requests.Response, requests.Session]:
    """Sign in as a browser does, up to the final page."""
    sandbox.application(redirect_uris=[f"{site.url}/complete/discord/"])
    browser = requests.Session()
    browser.headers["Accept"] = "text/html"
    browser.get(f"{site.url}/sign-in/", timeout=30)
    form = {"csrfmiddlewaretoken": browser.cookies["guildhall_csrf"]}
    way = browser.post(f"{site.url}/login/discord/", form, timeout=30, allow_redirects=False).headers["Location"]
    assert way.startswith(sandbox.url)
    back = browser.get(f"{way}&as={name}", timeout=30, allow_redirects=False).headers["Location"]
    # The callback goes to SITE_URL, but here each process has its own address.
    here = urlsplit(back)._replace(netloc=urlsplit(site.url).netloc).geturl()
    return browser.get(here, timeout=30), browser


@pytest.mark.parametrize(
    ("mood", "words"),
    [
        ({"mode": "rate_limited", "retry_after": 300, "routes": ["/users/@me/guilds"]}, "Discord is rate-limiting us"),
        ({"mode": "outage", "routes": ["/users/@me/guilds"]}, "We can&#x27;t reach Discord"),
    ],
    ids=["limited", "out of reach"],
)
def test_g18_people_sign_in_while_their_servers_are_limited_and_are_told(
    fleet: Fleet, mood: dict[str, Any], words: str
) -> None:
    fleet.sandbox.mood(**mood)

    page, browser = sign_in(fleet[0], fleet.sandbox, "linus")

    assert page.status_code in (429, 503)
    assert words in page.text
    assert int(page.headers["Retry-After"]) > 1
    assert fleet.asked() == 1
    fleet.sandbox.mood()
    let_pass(seconds=301)
    assert browser.get(f"{fleet[1].url}/servers/", timeout=30).status_code == 200


def test_g18_behind_a_shut_gate_sign_in_shows_a_countdown(fleet: Fleet) -> None:
    DiscordGate.objects.update_or_create(
        pk=1, defaults={"until": database_now() + timedelta(seconds=90), "reason": "global_limit", "streak": 1}
    )

    page, _ = sign_in(fleet[0], fleet.sandbox, "linus")

    assert page.status_code == 429
    assert 60 < int(page.headers["Retry-After"]) <= 91
    assert "data-countdown" in page.text or "data-retry-after" in page.text
    assert fleet.sandbox.requests("") == []


# ── Other guarantees


def test_a_fresh_list_is_read_while_somebody_else_holds_the_lock_for_writing(
    fleet: Fleet, join: Callable[..., Reader]
) -> None:
    """A hit waits for no write; the time of the read is written in the background."""
    ada = join(minutes=5)
    GuildListVerification.objects.update(last_read_at=None)

    with writing_elsewhere():
        replies = fleet.crowd([ada], times=6)
        meanwhile = ada.row.last_read_at

    assert {reply.status for reply in replies} == {200}
    assert meanwhile is None


@contextmanager
def writing_elsewhere() -> Iterator[None]:
    if connection.vendor == "sqlite":
        other = sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
    else:
        other = connection.copy()
        other.ensure_connection()
        with other.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute("LOCK TABLE guilds_guildlistverification, guilds_userguildmembership IN EXCLUSIVE MODE")
    try:
        yield
    finally:
        other.close()


def test_a_process_ends_at_once_though_discord_stalls(
    fleet: Fleet, join: Callable[..., Reader], new_site: Callable[..., Site]
) -> None:
    """Its job is abandoned: the request is still in flight when the process has exited."""
    ada = join(hours=2)
    site = new_site("leaving", DISCORD_FETCH_BUDGET_MS="60000", DISCORD_REQUEST_TIMEOUT_MS="60000")
    start_all([site])
    fleet.sandbox.mood(**STALLED)
    ada.get(site)
    assert jobs(site) == 1

    site.stop()

    assert site.process
    assert site.process.returncode == 0, "nothing had to kill it"
    assert fleet.on_the_wire() == 1
