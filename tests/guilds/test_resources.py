"""Invariants of every resource, and the engine's guarantees to each."""

import ast
import time
from collections.abc import Callable
from concurrent.futures import Future
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.apps import apps
from django.db import OperationalError, connection
from django.utils.translation import override
from pytest_django import DjangoAssertNumQueries, Settings

from accounts import gate
from accounts.clock import database_now
from accounts.discord import DiscordClient
from accounts.limits import Priority, Reason
from accounts.models import DiscordGate, User
from accounts.tokens import discord_client
from guilds import services
from guilds.engine import freshness, policy, refresh, waiting
from guilds.engine.records import Record
from guilds.engine.refresh import Verified
from guilds.engine.refusal import NoAnswer
from guilds.engine.resource import Claim, Resource
from guilds.models import BotGuilds, GuildListVerification
from guilds.problems.catalogue import why
from guilds.problems.of_errors import problem_of_no_answer
from guilds.resources import ALL, PERSONAL
from guilds.resources.guild_list import GUILD_LIST, GuildListResource
from sandbox.remote import LIST
from tests.fixtures import Sandbox, let_pass
from tests.guilds.rows import stored
from tests.guilds.test_refresh import counted

ENGINE = Path(refresh.__file__).parent
# import-linter can't name modules inside of Django.
ABOUT_REQUESTS = ("django.http", "django.shortcuts")


def imports_of(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def test_the_engine_and_its_services_know_no_http_request() -> None:
    modules = [*sorted(ENGINE.glob("*.py")), Path(services.__file__)]

    assert len(modules) > 5
    assert [(path.name, name) for path in modules for name in imports_of(path) if name.startswith(ABOUT_REQUESTS)] == []


def test_each_record_belongs_to_a_resource() -> None:
    records = {model for model in apps.get_models() if issubclass(model, Record) and not model._meta.proxy}

    assert {resource.model for resource in ALL} == records
    assert all(resource.model.resource is resource for resource in ALL)
    assert {resource.model for resource in PERSONAL} == {model for model in records if hasattr(model, "user_id")}


@pytest.mark.parametrize("reason", Reason)
@pytest.mark.parametrize("resource", ALL, ids=lambda resource: resource.name)
def test_each_reason_has_words_for_each_resource(resource: Resource[Any, Any], reason: Reason) -> None:
    problem = problem_of_no_answer(NoAnswer(resource.name, reason, None if reason.is_refusal else 3))
    cause = why(resource.name, reason)

    assert (problem.status, problem.retry_after is None) == (status_of(reason), reason.is_refusal)
    for words in (problem.title, problem.detail, cause):
        with override("en"):
            english = str(words)
        with override("de"):
            german = str(words)
        assert english
        assert german not in ("", english)


def status_of(reason: Reason) -> int:
    if reason.is_refusal:
        return 409 if reason is Reason.BOT_ABSENT else 403
    return 429 if reason.is_limit else 503


def test_a_record_is_created_by_its_first_reader(ada: User) -> None:
    record, now = GUILD_LIST.read(ada.pk)
    again, later = GUILD_LIST.read(ada.pk)

    assert (record.pk, again.pk, GuildListVerification.objects.count()) == (ada.pk, ada.pk, 1)
    assert record.verified_at is None
    assert now <= later


@pytest.mark.parametrize("gate", [True, False], ids=["gate", "no gate"])
def test_a_record_is_found_with_one_query_or_not_at_all(
    ada: User, gate: bool, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    assert GUILD_LIST.find(ada.pk, gate=gate) is None
    GUILD_LIST.read(ada.pk)
    BotGuilds.objects.update_or_create(pk=1, defaults={"tag": 7})
    silent_since = database_now()
    DiscordGate.objects.update_or_create(pk=1, defaults={"silent_since": silent_since})

    with django_assert_num_queries(1):
        found = GUILD_LIST.find(ada.pk, gate=gate)

    assert found
    record, now = found
    assert (record.pk, record.bot_tag, record._state.db, record._state.adding) == (ada.pk, 7, "default", False)
    # A decision about a request needs the gate's state.
    assert vars(record).get("silent_since") == (silent_since if gate else None)
    assert silent_since <= now


def test_a_record_is_found_with_the_gate_unless_told_otherwise(ada: User) -> None:
    GUILD_LIST.read(ada.pk)

    found = GUILD_LIST.find(ada.pk)

    assert found
    assert {"silent_since", "recovered_at", "probe_after"} <= vars(found[0]).keys()


def wait_after_silence(user: User) -> None:
    """Store a fresh list, as news can, that waits because Discord was silent."""
    minute = timedelta(minutes=1)
    now = database_now()
    stored(user, minute, reason=Reason.UNAVAILABLE, silent_at=now - minute, not_before=now + minute)


def test_the_rule_raises_for_a_waiting_record_that_was_read_without_the_gate(ada: User) -> None:
    wait_after_silence(ada)

    with pytest.raises(AttributeError, match="recovered_at"):
        freshness.wait_end(GuildListVerification.objects.get(), database_now())


def test_a_fresh_answer_that_is_too_old_for_its_reader_is_read_with_the_gate(ada: User) -> None:
    wait_after_silence(ada)

    assert policy.look_up(GUILD_LIST, ada.pk)
    assert policy.look_up(GUILD_LIST, ada.pk, max_age=timedelta(seconds=5)) is None


def test_a_list_needs_no_bot_and_no_guild_limits_it(ada: User, settings: Settings) -> None:
    settings.DISCORD_BOT_TOKEN = ""
    record, now = GUILD_LIST.read(ada.pk)

    assert GUILD_LIST.is_enabled()
    assert not GUILD_LIST.limits_guild(record)
    assert GUILD_LIST.held_until(record, now, Priority.COLD) is None


def test_a_refusal_of_a_list_ends_with_a_sign_in_alone(ada: User) -> None:
    record, _now = GUILD_LIST.read(ada.pk)
    record.reason = Reason.MISSING_SCOPE

    assert not GUILD_LIST.is_refusal_over(record)


def test_a_resource_is_that_of_its_model_and_counts_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GuildListVerification, "resource", GUILD_LIST)  # and again after the test

    another = GuildListResource(GuildListVerification)

    assert GuildListVerification.resource is another
    assert another.model is GuildListVerification
    before = counted("guildhall_refreshes", "verified")
    another.counts.refresh("verified")
    assert counted("guildhall_refreshes", "verified") == before + 1


def test_a_record_says_whose_it_is_in_the_log(ada: User) -> None:
    record, _now = GUILD_LIST.read(ada.pk)

    assert GUILD_LIST.whose(record) == {"user_id": ada.pk}
    assert GUILD_LIST.event("serving_stale_{}") == "serving_stale_guild_list"


def test_readers_of_one_resource_do_not_wait_for_another(ada: User) -> None:
    """Two records of different resources may have the same primary key."""
    record, _now = GUILD_LIST.read(ada.pk)
    other: Any = SimpleNamespace(resource=SimpleNamespace(name="other"), pk=record.pk)
    never: Future[None] = Future()
    waiting.announce(other, never)
    begun = time.monotonic()

    try:
        assert waiting.wait_for_change(record, 60)
    finally:
        never.set_result(None)

    assert time.monotonic() - begun < 30


# storing while the database fails


@pytest.fixture
def claimed(ada: User) -> Claim[GuildListVerification]:
    record, now = GUILD_LIST.read(ada.pk)
    decision = freshness.decide(record, now, GUILD_LIST.windows())
    won = refresh.claim(record, now, decision, discord_client())
    assert won
    return won


class Outage:
    """A database that can't insert memberships for its first `failures` attempts, and a clock that sleeping moves."""

    def __init__(self, failures: int) -> None:
        self.left = failures
        self.slept: list[float] = []

    def __call__(self, execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        if self.left and sql.startswith('INSERT INTO "guilds_userguildmembership"'):
            self.left -= 1
            raise OperationalError("a test's outage")
        return execute(sql, *rest)

    def client(self) -> DiscordClient:
        started = time.monotonic()
        return refresh.replace(discord_client(), sleep=self.slept.append, clock=lambda: started + sum(self.slept, 0.0))


def run_during(outage: Outage, claimed: Claim[GuildListVerification]) -> refresh.Outcome | None:
    with connection.execute_wrapper(outage):
        return refresh.run(claimed, outage.client())


def test_an_answer_that_the_database_could_not_store_is_stored_again_and_not_asked_for_again(
    claimed: Claim[GuildListVerification], sandbox: Sandbox
) -> None:
    sandbox.forget_requests()
    outage = Outage(failures=2)

    outcome = run_during(outage, claimed)

    assert isinstance(outcome, Verified)
    assert outage.slept == [0.5, 0.5]
    assert len(sandbox.requests(LIST)) == 1
    assert claimed.record.user.guild_memberships.count() == 12
    row = GuildListVerification.objects.get()
    assert (row.verified_at, row.lease_until, row.version) == (claimed.at, None, 1)


def test_storing_again_ends_at_the_deadline(claimed: Claim[GuildListVerification]) -> None:
    """Afterwards the lease runs out, and the next reader asks again."""
    outage = Outage(failures=100)

    with pytest.raises(OperationalError):
        run_during(outage, claimed)

    budget = gate.attempt_budget().total_seconds()
    assert set(outage.slept) == {refresh.STORE_RETRY_SECONDS}
    assert budget - 3 * refresh.STORE_RETRY_SECONDS <= sum(outage.slept) < budget
    row = GuildListVerification.objects.get()
    assert (row.verified_at, row.generation) == (None, claimed.generation)
    assert row.lease_until
    let_pass(seconds=gate.attempt_lease().total_seconds())
    assert freshness.decide(*GUILD_LIST.read(row.pk), GUILD_LIST.windows()).claim
