"""The page for Prometheus: access, each metric's changes, and several processes."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from django.conf import settings as settings_of_the_site
from django.db import OperationalError, ProgrammingError, connection
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from psycopg_pool import ConnectionPool, PoolTimeout
from pytest_django import DjangoAssertNumQueries, Settings

from accounts import gate, limits, tokens
from accounts.background import Slots
from accounts.clock import database_now
from accounts.discord import DiscordAPIError
from accounts.limits import Priority
from accounts.models import DiscordGate, User
from accounts.tokens import ReconnectRequired, discord_client
from bench.sites import free_port
from config import cache, metrics, pool_metrics, request_metrics
from guilds.engine import freshness, refresh, sealed_cache
from guilds.engine.freshness import Tier
from guilds.engine.refresh import Failed, Reason
from guilds.models import GuildListVerification
from guilds.resources import ALL
from guilds.resources.guild_list import GUILD_LIST
from guilds.services import NoAnswer, get_guild_list
from tests.accounts.test_sign_in import consent, sign_in
from tests.databases import copy_migrated_database
from tests.fixtures import Sandbox, let_pass, threading_join

ROOT = Path(__file__).parents[2]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
TOKEN = "only-tests-know-this-token"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
LIST = "GET /users/@me/guilds"
READS = "guildhall_reads_total"
OF_LISTS = '{resource="guild_list"}'


def numbers_of(text: str) -> dict[str, float]:
    """Return the samples of a page as Prometheus parses them, by `name{label="value"}`."""
    samples = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in samples}


@dataclass
class Monitor:
    """A client that scrapes the page."""

    before: dict[str, float] = field(default_factory=dict)

    def text(self) -> str:
        response = Client().get("/metrics", headers=BEARER)
        assert response.status_code == 200
        return response.content.decode()

    def __getitem__(self, name: str) -> float:
        return numbers_of(self.text())[name]

    def remember(self) -> None:
        self.before = numbers_of(self.text())

    def moved(self, name: str) -> dict[str, float]:
        """Return the changes of one metric since `remember`, by its labels."""
        now = numbers_of(self.text())
        return {
            sample.removeprefix(name): value - self.before.get(sample, 0)
            for sample, value in now.items()
            if sample.partition("{")[0] == name and value != self.before.get(sample, 0)
        }


@pytest.fixture
def monitor(settings: Settings, transactional_db: None) -> Monitor:
    settings.METRICS_TOKEN = TOKEN
    monitor = Monitor()
    monitor.remember()
    return monitor


# access


def test_without_a_token_there_is_no_such_page(client: Client, settings: Settings) -> None:
    settings.METRICS_TOKEN = ""

    assert client.get("/metrics", headers={"Authorization": "Bearer "}).status_code == 404


@pytest.mark.parametrize(
    "said", [None, "", "Bearer", "Bearer ", f"Bearer {TOKEN}x", f"Basic {TOKEN}", TOKEN, "Bearer ü"]
)
def test_whoever_does_not_know_the_token_is_asked_for_it(client: Client, settings: Settings, said: str | None) -> None:
    settings.METRICS_TOKEN = TOKEN

    response = client.get("/metrics", headers={} if said is None else {"Authorization": said})

    assert (response.status_code, response["WWW-Authenticate"]) == (401, 'Bearer realm="metrics"')
    assert response.content == b"unauthorized\n"
    assert "no-store" in response["Cache-Control"]


@pytest.mark.django_db
@pytest.mark.parametrize("said", [f"Bearer {TOKEN}", f"bearer {TOKEN}"])
def test_whoever_knows_the_token_gets_the_numbers(client: Client, settings: Settings, said: str) -> None:
    settings.METRICS_TOKEN = TOKEN

    response = client.get("/metrics", headers={"Authorization": said})

    assert (response.status_code, response["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert "no-store" in response["Cache-Control"]
    assert numbers_of(response.content.decode())["guildhall_database_up"] == 1


def test_the_page_is_only_looked_at(client: Client) -> None:
    assert client.post("/metrics", headers=BEARER).status_code == 405


def test_looking_reads_no_session_and_no_list_and_asks_nobody(
    monitor: Monitor,
    with_list: Callable[..., User],
    client_of: Callable[[User], Client],
    sandbox: Sandbox,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    browser = client_of(with_list("ada", hours=5))
    monitor.remember()

    # One for the records of each resource; PostgreSQL is also asked for its connections.
    with django_assert_num_queries(9 + len(ALL) + (connection.vendor == "postgresql")) as queries:
        browser.get("/metrics", headers=BEARER)

    assert all(query["sql"].startswith("SELECT") for query in queries.captured_queries)
    assert monitor.moved(READS) == {}
    assert sandbox.requests("") == []


def test_no_secret_and_nobody_is_on_the_page(monitor: Monitor, with_list: Callable[..., User]) -> None:
    ada = with_list("ada", hours=5)
    get_guild_list(ada)
    credentials = tokens.read(ada.pk)

    text = monitor.text()

    for secret in (TOKEN, credentials.access_token, credentials.refresh_token, "ada", settings_of_the_site.SECRET_KEY):
        assert str(secret) not in text


# served lists


@pytest.mark.parametrize(
    ("age", "mode", "found", "outcome"),
    [
        ({"minutes": 10}, "outage", "fresh", "hit"),
        ({"minutes": 58}, "outage", "due", "hit"),
        ({"hours": 5}, "healthy", "stale", "miss_refreshed"),
        ({"hours": 5}, "outage", "stale", "stale_served"),
        ({"hours": 5}, "rate_limited", "stale", "stale_served"),
        ({"hours": 5}, "unauthorized", "stale", "refused"),
        ({"hours": 25}, "healthy", "expired", "miss_refreshed"),
        ({"hours": 25}, "outage", "expired", "refused"),
        ({"hours": 25}, "rate_limited", "expired", "refused"),
    ],
)
def test_a_read_is_counted_by_what_was_found_and_what_came_of_it(
    monitor: Monitor,
    with_list: Callable[..., User],
    client_of: Callable[[User], Client],
    sandbox: Sandbox,
    age: dict[str, float],
    mode: str,
    found: str,
    outcome: str,
) -> None:
    browser = client_of(with_list("ada", **age))
    sandbox.mood(mode)
    monitor.remember()

    browser.get("/api/v1/guilds/")

    assert monitor.moved(READS) == {f'{{freshness="{found}",outcome="{outcome}",resource="guild_list"}}': 1}


def test_a_first_read_is_one_that_was_waited_for(monitor: Monitor, ada: User) -> None:
    get_guild_list(ada)

    assert monitor.moved(READS) == {'{freshness="none",outcome="miss_refreshed",resource="guild_list"}': 1}


def test_every_stale_answer_is_counted_with_its_age(
    monitor: Monitor, with_list: Callable[..., User], sandbox: Sandbox
) -> None:
    ada = with_list("ada", hours=5)
    sandbox.mood("outage")
    monitor.remember()

    for _ in range(3):
        get_guild_list(ada)

    assert monitor.moved(READS) == {'{freshness="stale",outcome="stale_served",resource="guild_list"}': 3}
    assert monitor.moved("guildhall_served_age_seconds_count") == {OF_LISTS: 3}
    assert monitor.moved("guildhall_served_age_seconds_sum")[OF_LISTS] == pytest.approx(15 * 3600, abs=60)


# requests to Discord


def test_a_request_is_counted_once_with_its_route_status_and_time(monitor: Monitor, ada: User) -> None:
    get_guild_list(ada)

    assert monitor.moved("guildhall_discord_requests_total") == {f'{{route="{LIST}",scope="",status="200"}}': 1}
    assert monitor.moved("guildhall_discord_request_duration_seconds_count") == {f'{{route="{LIST}"}}': 1}
    assert monitor.moved("guildhall_discord_rate_limits_total") == {}


def test_the_requests_of_a_sign_in_are_counted_once_each(monitor: Monitor, sandbox: Sandbox) -> None:
    sign_in(Client(SERVER_NAME="localhost"))

    assert monitor.moved("guildhall_discord_requests_total") == {
        '{route="POST /oauth2/token",scope="",status="200"}': 1,
        '{route="GET /users/@me",scope="",status="200"}': 1,
        f'{{route="{LIST}",scope="",status="200"}}': 1,
    }


def test_a_request_without_an_answer_is_counted_too(monitor: Monitor, ada: User, sandbox: Sandbox) -> None:
    sandbox.mood("reset")

    with pytest.raises(NoAnswer):
        get_guild_list(ada)

    assert monitor.moved("guildhall_discord_requests_total") == {f'{{route="{LIST}",scope="",status="none"}}': 1}


def test_limits_retries_and_their_waits_are_counted(monitor: Monitor, ada: User, sandbox: Sandbox) -> None:
    sandbox.mood("rate_limited", retry_after=2)
    waits: list[float] = []
    client = replace(discord_client(), budget=60, sleep=waits.append, jitter=lambda: 0.25)

    with pytest.raises(DiscordAPIError):
        gate.gated(client, Priority.COLD).get_user_guilds(tokens.read(ada.pk).access_token)

    assert waits == [2.25, 2.25, 2.25]
    assert monitor.moved("guildhall_discord_rate_limits_total") == {'{scope="user"}': 4}
    assert monitor.moved("guildhall_discord_requests_total") == {f'{{route="{LIST}",scope="user",status="429"}}': 4}
    assert monitor.moved("guildhall_discord_retries_total") == {f'{{route="{LIST}"}}': 3}
    assert monitor.moved("guildhall_discord_retry_wait_seconds_count") == {"": 3}
    assert monitor.moved("guildhall_discord_retry_wait_seconds_sum") == {"": pytest.approx(6.75)}


def test_a_renewed_token_and_a_dead_one_are_counted(monitor: Monitor, ada: User, sandbox: Sandbox) -> None:
    renewed = tokens.refresh(tokens.read(ada.pk), discord_client())
    sandbox.revoke("ada")
    with pytest.raises(ReconnectRequired):
        tokens.refresh(renewed, discord_client())

    assert monitor.moved("guildhall_token_refreshes_total") == {
        '{outcome="refreshed"}': 1,
        '{outcome="invalid_grant"}': 1,
    }
    assert monitor.moved("guildhall_discord_disconnects_total") == {"": 1}


# leases


def claim(user: User) -> tuple[Any, Any]:
    """Two claims based on the same state of the row, of which only the first can succeed."""
    row, now = GUILD_LIST.read(user.pk)
    decision = freshness.decide(row, now, GUILD_LIST.windows())
    return tuple(refresh.claim(row, now, decision, discord_client()) for _ in range(2))  # type: ignore[return-value]


def test_claims_are_counted_as_won_lost_taken_over_and_fenced(monitor: Monitor, ada: User) -> None:
    first, second = claim(ada)
    let_pass(minutes=1)
    third, _ = claim(ada)

    refresh.store(third, Failed(Reason.UNAVAILABLE), database_now())
    refresh.run(first, discord_client())

    assert second is None
    assert monitor.moved("guildhall_refresh_leases_total") == {
        '{outcome="won",resource="guild_list"}': 1,
        '{outcome="lost",resource="guild_list"}': 2,
        '{outcome="taken_over",resource="guild_list"}': 1,
        '{outcome="fenced",resource="guild_list"}': 1,
    }
    assert monitor.moved("guildhall_refreshes_total") == {'{outcome="unavailable",resource="guild_list"}': 1}


def test_an_attempt_that_lost_its_claim_before_it_asked_is_fenced(
    monitor: Monitor, ada: User, sandbox: Sandbox
) -> None:
    claimed, _ = claim(ada)
    GuildListVerification.objects.update(generation=99)
    sandbox.forget_requests()

    refresh.run(claimed, discord_client())

    assert monitor.moved("guildhall_refresh_leases_total")['{outcome="fenced",resource="guild_list"}'] == 1
    assert sandbox.requests("") == []


def test_a_refresh_is_counted_by_what_it_brought(
    monitor: Monitor, ada: User, sandbox: Sandbox, let_pass: Callable[..., None]
) -> None:
    get_guild_list(ada)
    let_pass(hours=5)
    sandbox.mood("outage")
    get_guild_list(ada)
    threading_join()

    assert monitor.moved("guildhall_refreshes_total") == {
        '{outcome="verified",resource="guild_list"}': 1,
        '{outcome="unavailable",resource="guild_list"}': 1,
    }


# threads


def test_a_pool_shows_what_it_has_what_is_used_and_what_found_no_room(monitor: Monitor, settings: Settings) -> None:
    settings.WEB_THREADS = 4
    slots = Slots(0.5, pool="of a test")

    taken = [slots.acquire() for _ in range(3)]
    slots.release()

    assert taken == [True, True, False]
    assert monitor['guildhall_slots{pool="of a test"}'] == 2
    assert monitor['guildhall_slots_in_use{pool="of a test"}'] == 1
    assert monitor['guildhall_slots_refused_total{pool="of a test"}'] == 1


def test_a_background_job_is_seen_while_it_runs(
    monitor: Monitor, with_list: Callable[..., User], sandbox: Sandbox
) -> None:
    ada = with_list("ada", minutes=58)
    sandbox.mood("healthy", latency_ms=300)

    get_guild_list(ada)
    meanwhile = monitor['guildhall_slots_in_use{pool="jobs"}']
    threading_join()

    assert meanwhile == 1
    assert monitor['guildhall_slots_in_use{pool="jobs"}'] == 0


# requests


def test_requests_are_counted_by_route_and_class_of_status(
    monitor: Monitor, with_list: Callable[..., User], client_of: Callable[[User], Client]
) -> None:
    browser = client_of(with_list("ada"))
    monitor.remember()

    for path in ("/servers/", "/servers/1/", "/servers/2/", "/made-up/1", "/made-up/2", "/healthz"):
        browser.get(path)

    assert monitor.moved("guildhall_requests_total") == {
        '{route="guilds:picker",status="2xx"}': 1,
        '{route="guilds:detail",status="4xx"}': 2,
        '{route="none",status="4xx"}': 2,
    }
    assert monitor.moved("guildhall_request_duration_seconds_count") == {
        '{route="guilds:picker"}': 1,
        '{route="guilds:detail"}': 2,
        '{route="none"}': 2,
    }


def test_a_request_holds_a_thread_of_the_web_pool_until_it_ends(monitor: Monitor) -> None:
    seen = []

    def view(request: HttpRequest) -> HttpResponse:
        seen.append(monitor['guildhall_slots_in_use{pool="web"}'])
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        request_metrics.RequestMetricsMiddleware(view)(RequestFactory().get("/"))

    assert [*seen, monitor['guildhall_slots_in_use{pool="web"}']] == [1, 0]


def test_a_process_says_which_version_it_is_and_when_it_started(monitor: Monitor) -> None:
    request_metrics.describe_process()

    assert monitor[f'guildhall_version_info{{version="{VERSION}"}}'] == 1
    assert time.time() - monitor["guildhall_newest_process_start_time_seconds"] < 60


def test_reads_from_the_cache_are_hits_or_misses(monitor: Monitor, ada: User) -> None:
    sealed_cache.write("place", "key", b"text")
    for key in ("key", "another key"):
        sealed_cache.read("place", key)

    assert monitor.moved("guildhall_cache_reads_total") == {'{outcome="hit"}': 1, '{outcome="miss"}': 1}


def test_a_command_that_redis_fails_is_counted(monitor: Monitor) -> None:
    nowhere = cache.RedisCache(f"redis://127.0.0.1:{free_port()}/0", {})

    assert nowhere.get("key") is None

    assert monitor.moved("guildhall_cache_failures_total") == {"": 1}
    cache.breaker.worked()


# gauges from the database


def test_a_shut_gate_is_seen_with_what_is_left(monitor: Monitor, ada: User, sandbox: Sandbox) -> None:
    sandbox.mood("global_limit", retry_after=40)
    with pytest.raises(NoAnswer):
        get_guild_list(ada)

    assert monitor["guildhall_discord_gate_shut"] == 1
    assert monitor["guildhall_discord_gate_opens_in_seconds"] == pytest.approx(40, abs=10)
    assert monitor.moved("guildhall_discord_rate_limits_total") == {'{scope="global"}': 1}
    let_pass(seconds=41)
    assert monitor["guildhall_discord_gate_shut"] == 0
    assert monitor["guildhall_discord_gate_opens_in_seconds"] == 0


def test_invalid_requests_are_those_of_the_sliding_window(monitor: Monitor, ada: User, sandbox: Sandbox) -> None:
    sandbox.mood("forbidden")
    with pytest.raises(NoAnswer):
        get_guild_list(ada)

    let_pass(minutes=9)
    assert monitor["guildhall_discord_invalid_requests"] == 1
    let_pass(minutes=1)
    assert monitor["guildhall_discord_invalid_requests"] == 0


def test_the_backlog_of_the_send_budget_is_how_far_its_clock_runs_ahead(
    monitor: Monitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_AHEAD", timedelta(hours=1))
    assert monitor["guildhall_discord_send_backlog_seconds"] == 0

    DiscordGate.objects.update(tat=database_now() + timedelta(minutes=10))

    assert 570 < monitor["guildhall_discord_send_backlog_seconds"] <= 600


def test_lists_are_counted_by_state_and_live_leases_with_them(monitor: Monitor, with_list: Callable[..., User]) -> None:
    with_list("ada", hours=5)
    linus, grace = with_list("linus"), with_list("grace")
    GuildListVerification.objects.filter(pk=grace.pk).update(reason="reconnect_required")
    GuildListVerification.objects.filter(pk=linus.pk).update(lease_until=database_now() + timedelta(seconds=10))

    numbers = numbers_of(monitor.text())

    states = [*Tier, "refused"]
    lists = {state: numbers[f'guildhall_records{{freshness="{state}",resource="guild_list"}}'] for state in states}
    assert lists == {Tier.FRESH: 1, Tier.DUE: 0, Tier.STALE: 1, Tier.EXPIRED: 0, Tier.NONE: 0, "refused": 1}
    assert numbers[f"guildhall_refresh_leases_live{OF_LISTS}"] == 1


def test_without_its_database_the_site_still_says_what_it_counted(monitor: Monitor) -> None:
    def lose(*args: Any) -> None:
        raise OperationalError("the database is gone")

    with connection.execute_wrapper(lose):
        numbers = numbers_of(monitor.text())

    assert numbers["guildhall_database_up"] == 0
    assert READS + '{freshness="fresh",outcome="hit",resource="guild_list"}' in numbers
    assert "guildhall_discord_gate_shut" not in numbers


def test_a_statement_that_fails_does_not_mean_that_the_database_is_down(
    monitor: Monitor, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*args: Any) -> None:
        raise ProgrammingError("no such column")

    with connection.execute_wrapper(refuse):
        numbers = numbers_of(monitor.text())

    assert numbers["guildhall_database_up"] == 1
    assert "guildhall_discord_gate_shut" not in numbers
    assert "metrics_not_read" in caplog.text


def test_the_documentation_names_each_number_and_no_other(monitor: Monitor) -> None:
    documented = set(re.findall(r"guildhall_\w+", (ROOT / "docs" / "monitoring.md").read_text()))
    shown = {line.split()[2] for line in monitor.text().splitlines() if line.startswith("# TYPE guildhall_")}

    assert {name for name in documented if not name.endswith(("_bucket", "_sum", "_count"))} == shown


# several processes


def test_what_a_dead_process_used_is_forgotten_and_what_it_counted_is_not(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    for pid in (ended.pid, os.getpid()):
        for kind in ("counter", "histogram", "gauge_livesum"):
            (tmp_path / f"{kind}_{pid}.db").touch()

    metrics.forget_dead_processes(tmp_path)

    gone = {f"{kind}_{pid}.db" for kind in ("gauge_livesum",) for pid in (ended.pid,)}
    assert {file.name for file in tmp_path.iterdir()}.isdisjoint(gone)
    assert len(list(tmp_path.iterdir())) == 5


@dataclass(frozen=True)
class Site:
    """The site as `./run` starts it, with two workers."""

    url: str
    counts: Path
    process: "subprocess.Popen[bytes]" = field(repr=False)

    def numbers(self) -> dict[str, float]:
        response = requests.get(f"{self.url}/metrics", headers=BEARER, timeout=30)
        assert response.status_code == 200
        return numbers_of(response.text)

    def workers(self) -> list[int]:
        return [int(file.stem.rpartition("_")[2]) for file in self.counts.glob("counter_*.db")]

    def hits_of(self, pid: int) -> float:
        """Return the hits that one worker counted, from its file."""
        from prometheus_client.multiprocess import MultiProcessCollector

        merged = MultiProcessCollector.merge([str(self.counts / f"counter_{pid}.db")])
        samples = (sample for metric in merged for sample in metric.samples if sample.name == READS)
        return sum(sample.value for sample in samples if sample.labels["outcome"] == "hit")


@pytest.fixture
def site(tmp_path: Path, django_db_setup: None) -> Iterator[Site]:
    port, sandbox_port = free_port(), free_port()
    counts = tmp_path / "var" / f"metrics-{port}"
    counts.mkdir(parents=True)
    (counts / "counter_1.db").write_bytes(b"what an earlier run left")
    copy_migrated_database(tmp_path / "var" / "guildhall.sqlite3")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": os.environ.get("HOME", tempfile.gettempdir()),
        "ENV_FILE": os.devnull,
        "VAR_DIR": str(tmp_path / "var"),
        "PORT": str(port),
        "SANDBOX_PORT": str(sandbox_port),
        "WEB_WORKERS": "2",
        "METRICS_TOKEN": TOKEN,
    }
    with (tmp_path / "log").open("w") as output:
        process = subprocess.Popen(["./run"], cwd=ROOT, env=environment, stdout=output, stderr=output)
    site = Site(f"http://localhost:{port}", counts, process)
    try:
        eventually(lambda: process.poll() is not None or responds(f"{site.url}/healthz"), within=60)
        eventually(lambda: process.poll() is not None or responds(f"http://localhost:{sandbox_port}/_sandbox/state"))
        eventually(lambda: len(site.workers()) == 2)
        yield site
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def responds(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).ok
    except requests.RequestException:
        return False


def eventually(holds: Callable[[], Any], *, within: float = 20) -> None:
    end = time.monotonic() + within
    while not holds():
        assert time.monotonic() < end, "it never came to this"
        time.sleep(0.05)  # a real process takes real time


def signed_in(site: Site) -> dict[str, str]:
    """Sign ada in at this site and return her cookies."""
    with requests.Session() as browser:
        page = browser.get(f"{site.url}/sign-in/", timeout=30).text
        token = re.search(r'csrfmiddlewaretoken" value="([^"]+)', page)
        assert token
        form = {"csrfmiddlewaretoken": token[1]}
        asked = browser.post(f"{site.url}/login/discord/", form, allow_redirects=False, timeout=30)
        browser.get(consent(asked.headers["Location"], **{"as": "ada"}), timeout=30)
        return dict(browser.cookies)


@pytest.mark.thorough
def test_the_reads_of_two_workers_are_one_sum_which_outlives_a_killed_one(site: Site) -> None:
    cookies = signed_in(site)
    hit = READS + '{freshness="fresh",outcome="hit",resource="guild_list"}'
    before, first = site.numbers()[hit], site.workers()

    def read(_: int) -> int:
        return requests.get(f"{site.url}/api/v1/guilds/", cookies=cookies, timeout=30).status_code

    def read_until_both_have_served() -> int:
        reads = 0
        while reads == 0 or not all(site.hits_of(pid) for pid in first):
            with ThreadPoolExecutor(8) as pool:
                assert set(pool.map(read, range(40))) == {200}
            reads += 40
            assert reads <= 4000
        return reads

    reads = read_until_both_have_served()
    assert {site.numbers()[hit] for _ in range(10)} == {before + reads}
    assert sum(site.hits_of(pid) for pid in first) == before + reads

    known = set(first)
    victim = first[0]
    for _ in range(3):
        os.kill(victim, signal.SIGKILL)
        eventually(lambda: set(site.workers()) - known)
        [victim] = set(site.workers()) - known
        known.add(victim)
    assert site.process.poll() is None
    eventually(lambda: responds(f"{site.url}/healthz"))
    after = site.numbers()
    assert after[hit] == before + reads
    assert not (site.counts / f"gauge_livesum_{first[0]}.db").exists()


# the pool of database connections


def test_the_pools_own_statistics_become_metrics(monitor: Monitor) -> None:
    now = {"pool_size": 3, "pool_available": 1, "requests_waiting": 2, "requests_queued": 5, "requests_wait_ms": 1500}
    sampler = pool_metrics.Sampler(lambda: now)

    sampler.sample()
    now = {**now, "requests_waiting": 0, "requests_queued": 7, "requests_wait_ms": 1750, "requests_errors": 1}
    sampler.sample()

    prefix = "guildhall_database_pool"
    for name, value in {"size": 3, "available": 1, "requests_waiting": 0}.items():
        assert monitor[f"{prefix}_{name}"] == value
    assert monitor.moved(f"{prefix}_requests_queued_total") == {"": 7}
    assert monitor.moved(f"{prefix}_wait_seconds_total") == {"": 1.75}
    assert monitor.moved(f"{prefix}_requests_failed_total") == {"": 1}


@pytest.mark.skipif(
    not settings_of_the_site.DATABASES["default"]["ENGINE"].endswith("postgresql"), reason="SQLite has no pool"
)
def test_a_pool_that_is_used_up_is_seen(monitor: Monitor) -> None:
    database: Any = connection
    options = {"min_size": 1, "max_size": 1, "timeout": 0.2}
    with ConnectionPool(database.pool.conninfo, kwargs=database.pool.kwargs, **options) as pool:  # type: ignore[arg-type]
        pool.wait()
        sampler = pool_metrics.Sampler(pool.get_stats)
        with pool.connection(), pytest.raises(PoolTimeout), pool.connection():
            pass
        sampler.sample()

    assert monitor["guildhall_database_pool_size"] == 1
    assert monitor.moved("guildhall_database_pool_requests_queued_total") == {"": 1}
    assert monitor.moved("guildhall_database_pool_requests_failed_total") == {"": 1}
    assert monitor.moved("guildhall_database_pool_wait_seconds_total")[""] >= 0.1
