"""What a reader gets in each cell of the table, with the real engine, real threads and the sandbox.

Rows: the stored list. Columns: no limit, Discord responds with 429, doesn't respond, refuses the token.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
import structlog
from cryptography.fernet import Fernet
from django.core.management import call_command
from django.db import connection
from django.db.models import F
from pytest_django import DjangoAssertNumQueries, Settings

from accounts import gate, tokens
from accounts.clock import database_now
from accounts.discord import DiscordUnavailable, RateLimited, Tokens, UnusableResponse
from accounts.models import DiscordAccount, DiscordGate, Session, User
from guilds import personal_data, services
from guilds.engine.freshness import Reason
from guilds.models import GuildDirectory, GuildListVerification, GuildMember, UserGuildMembership
from guilds.operations import status
from guilds.problems.of_errors import problem_of
from guilds.resources.guild_list import GUILD_LIST
from guilds.services import NoAnswer, RefreshTooSoon, get_guild_list, refresh_guild_list
from tests.fixtures import Sandbox, let_pass, threading_join

FRESH: dict[str, float] = {"minutes": 10}
DUE: dict[str, float] = {"minutes": 58}
STALE: dict[str, float] = {"hours": 5}
EXPIRED: dict[str, float] = {"hours": 25}
SERVABLE = [FRESH, DUE, STALE]

LIMITED = ("rate_limited", {"retry_after": 20})
SILENT = [
    ("outage", {}),
    ("bad_gateway", {}),
    ("timeout", {}),
    ("drip", {}),
    ("reset", {}),
    ("truncated", {}),
]
UNUSABLE = [("garbage", {}), ("wrong_type", {}), ("raw", {"status": 418, "headers": {"Via": "1.1 google"}})]

WithList = Callable[..., User]


@pytest.fixture
def log() -> Iterator[list[Any]]:
    with structlog.testing.capture_logs() as lines:
        yield lines


def row_of(user: User) -> GuildListVerification:
    return GuildListVerification.objects.get(pk=user.pk)


# fresh


@pytest.mark.parametrize("mode", ["healthy", "rate_limited", "outage", "unauthorized"])
def test_a_fresh_list_is_served_and_discord_not_asked(with_list: WithList, sandbox: Sandbox, mode: str) -> None:
    ada = with_list("ada", **FRESH)
    sandbox.mood(mode)

    guild_list = get_guild_list(ada)

    assert (len(guild_list), guild_list.freshness, guild_list.reason) == (12, "fresh", None)
    assert sandbox.requests() == []


def test_a_fresh_hit_writes_nothing(with_list: WithList, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    ada = with_list("ada", **FRESH)
    get_guild_list(ada)

    with django_assert_num_queries(1) as queries:
        get_guild_list(ada)

    assert all(query["sql"].startswith("SELECT") for query in queries.captured_queries)


# due


def test_a_due_list_is_served_at_once_and_refreshed_in_the_background(with_list: WithList, sandbox: Sandbox) -> None:
    ada = with_list("ada", **DUE)
    sandbox.mood("healthy", latency_ms=200)

    served = get_guild_list(ada)
    threading_join()

    assert served.freshness == "fresh"
    assert served.age >= timedelta(minutes=58)
    assert get_guild_list(ada).age < timedelta(minutes=1)
    assert len(sandbox.requests()) == 1


@pytest.mark.parametrize("mode", ["rate_limited", "outage"])
def test_a_due_list_is_served_through_a_failure_without_a_word(
    with_list: WithList, sandbox: Sandbox, mode: str
) -> None:
    ada = with_list("ada", **DUE)
    sandbox.mood(mode, retry_after=20)

    get_guild_list(ada)
    threading_join()
    served = get_guild_list(ada)

    assert (len(served), served.freshness, served.reason) == (12, "fresh", None)
    assert served.next_attempt_at == row_of(ada).not_before
    assert len(sandbox.requests()) == 1


def test_a_refusal_in_the_background_asks_to_reconnect_at_the_next_read(with_list: WithList, sandbox: Sandbox) -> None:
    ada = with_list("ada", **DUE)
    sandbox.mood("unauthorized")

    served = get_guild_list(ada)
    threading_join()

    assert len(served) == 12
    with pytest.raises(NoAnswer, match="reconnect_required"):
        get_guild_list(ada)


# stale


def test_a_stale_list_is_refreshed_within_the_soft_wait(with_list: WithList, sandbox: Sandbox) -> None:
    ada = with_list("ada", **STALE)

    guild_list = get_guild_list(ada)

    assert guild_list.freshness == "fresh"
    assert guild_list.age < timedelta(minutes=1)
    assert len(sandbox.requests()) == 1


def test_a_stale_list_stands_in_while_discord_limits(with_list: WithList, sandbox: Sandbox, log: list[Any]) -> None:
    ada = with_list("ada", **STALE)
    sandbox.mood(*LIMITED[:1], **LIMITED[1])

    guild_list = get_guild_list(ada)

    row = row_of(ada)
    assert (len(guild_list), guild_list.freshness, guild_list.reason) == (12, "stale", Reason.RATE_LIMITED)
    assert guild_list.age >= timedelta(hours=5)
    assert guild_list.next_attempt_at == row.not_before
    (warning,) = [line for line in log if line["event"] == "serving_stale_guild_list"]
    assert warning["log_level"] == "warning"
    assert warning["user_id"] == ada.pk
    assert warning["age_seconds"] >= 5 * 3600
    assert warning["reason"] == "rate_limited"
    assert warning["next_attempt_at"]


@pytest.mark.parametrize(("mode", "options"), SILENT, ids=[mode for mode, _ in SILENT])
def test_a_stale_list_stands_in_for_a_silent_discord(
    with_list: WithList, sandbox: Sandbox, mode: str, options: dict[str, Any]
) -> None:
    ada = with_list("ada", **STALE)
    sandbox.mood(mode, **options)

    guild_list = get_guild_list(ada)
    threading_join()

    assert (len(guild_list), guild_list.freshness) == (12, "stale")
    assert guild_list.reason in (Reason.UNAVAILABLE, Reason.IN_PROGRESS)
    assert row_of(ada).reason == "unavailable"
    assert len(sandbox.requests()) == 1


def test_a_stale_list_never_stands_in_for_a_refusal(with_list: WithList, sandbox: Sandbox) -> None:
    ada = with_list("ada", **STALE)
    sandbox.mood("unauthorized")

    for _ in range(3):
        with pytest.raises(NoAnswer, match="reconnect_required"):
            get_guild_list(ada)

    assert len(sandbox.requests()) <= 2
    assert DiscordAccount.objects.get(user=ada).disconnected_at


def test_a_missing_scope_is_not_a_refused_token(with_list: WithList, sandbox: Sandbox) -> None:
    ada = with_list("ada", **STALE)
    body = '{"message": "Missing required OAuth2 scope", "code": 50026}'
    sandbox.mood("raw", status=403, headers={"Content-Type": "application/json", "Via": "1.1 google"}, body=body)

    with pytest.raises(NoAnswer, match="missing_scope"):
        get_guild_list(ada)

    assert DiscordAccount.objects.get(user=ada).disconnected_at is None


def test_a_scope_that_was_never_granted_is_not_asked_for(sign_up: Callable[..., User], sandbox: Sandbox) -> None:
    ada = sign_up("ada", scopes=("identify",))

    with pytest.raises(NoAnswer, match="missing_scope"):
        get_guild_list(ada)

    assert sandbox.requests() == []


def test_a_slow_discord_costs_a_stale_reader_the_soft_wait_only(with_list: WithList, sandbox: Sandbox) -> None:
    ada = with_list("ada", **STALE)
    sandbox.mood("healthy", latency_ms=800)

    served = get_guild_list(ada)
    again = get_guild_list(ada)
    threading_join()

    assert (served.freshness, served.reason) == ("stale", Reason.IN_PROGRESS)
    assert (again.freshness, again.reason) == ("stale", Reason.IN_PROGRESS)
    assert get_guild_list(ada).freshness == "fresh"
    assert len(sandbox.requests()) == 1


# expired or none


@pytest.mark.parametrize("age", [None, EXPIRED], ids=["none", "expired"])
class TestWithoutAServableList:
    @pytest.fixture
    def ada(self, age: dict[str, float] | None, with_list: WithList, sign_up: Callable[..., User]) -> User:
        return with_list("ada", **age) if age else sign_up("ada")

    def test_the_reader_waits_for_the_new_list(self, ada: User, sandbox: Sandbox) -> None:
        sandbox.mood("healthy", latency_ms=600)

        guild_list = get_guild_list(ada)

        assert (len(guild_list), guild_list.freshness) == (12, "fresh")
        assert len(sandbox.requests()) == 1

    def test_a_rate_limit_is_a_rate_limit_with_a_true_retry_after(self, ada: User, sandbox: Sandbox) -> None:
        sandbox.mood("rate_limited", retry_after=45.5)

        with pytest.raises(NoAnswer, match="rate_limited") as first:
            get_guild_list(ada)
        with pytest.raises(NoAnswer, match="rate_limited") as second:
            get_guild_list(ada)

        assert first.value.retry_after
        assert second.value.retry_after
        assert 15 < second.value.retry_after < first.value.retry_after < 48
        assert len(sandbox.requests()) == 1

    @pytest.mark.parametrize(("mode", "options"), SILENT, ids=[mode for mode, _ in SILENT])
    def test_silence_is_unavailable_with_a_true_retry_after(
        self, ada: User, sandbox: Sandbox, mode: str, options: dict[str, Any]
    ) -> None:
        sandbox.mood(mode, **options)

        with pytest.raises(NoAnswer, match="unavailable") as error:
            get_guild_list(ada)

        threading_join()
        assert error.value.retry_after
        assert row_of(ada).not_before
        assert row_of(ada).reason == "unavailable"
        assert len(sandbox.requests()) == 1

    @pytest.mark.parametrize(("mode", "options"), UNUSABLE, ids=[mode for mode, _ in UNUSABLE])
    def test_an_unexpected_reply_has_a_reason_of_its_own(
        self, ada: User, sandbox: Sandbox, mode: str, options: dict[str, Any]
    ) -> None:
        sandbox.mood(mode, **options)

        with pytest.raises(NoAnswer, match="unusable") as error:
            get_guild_list(ada)

        assert error.value.retry_after
        assert len(sandbox.requests()) == 1

    def test_a_refusal_asks_to_reconnect(self, ada: User, sandbox: Sandbox) -> None:
        sandbox.mood("unauthorized")

        with pytest.raises(NoAnswer, match="reconnect_required"):
            get_guild_list(ada)


def test_a_list_a_day_and_ten_minutes_old_is_not_served(with_list: WithList, sandbox: Sandbox) -> None:
    ada = with_list("ada", days=1, minutes=10)
    sandbox.mood("outage")

    with pytest.raises(NoAnswer, match="unavailable"):
        get_guild_list(ada)

    assert UserGuildMembership.objects.filter(user=ada).count() == 12


# what a 429 is retried for


def test_a_short_limit_is_waited_out_within_the_budget(ada: User, sandbox: Sandbox, log: list[Any]) -> None:
    sandbox.mood("rate_limited", retry_after=0.2, for_requests=2)

    guild_list = get_guild_list(ada)

    assert len(guild_list) == 12
    assert [request["status"] for request in sandbox.requests()] == [429, 429, 200]
    assert any(line["event"] == "discord_retry" for line in log)


def test_nobody_is_asked_more_than_four_times_in_one_attempt(ada: User, sandbox: Sandbox) -> None:
    sandbox.mood("no_headers", retry_after=0.01)

    with pytest.raises(NoAnswer, match="rate_limited"):
        get_guild_list(ada)

    assert len(sandbox.requests()) == 4


# knowledge


@pytest.mark.parametrize("mode", ["rate_limited", "outage", "garbage", "truncated", "wrong_type", "unauthorized"])
def test_no_failure_changes_a_row(with_list: WithList, sandbox: Sandbox, mode: str) -> None:
    ada = with_list("ada", **STALE)
    rows = list(UserGuildMembership.objects.filter(user=ada).values())
    before = row_of(ada)
    sandbox.mood(mode)

    with contextlib.suppress(NoAnswer):
        get_guild_list(ada)
    threading_join()

    after = row_of(ada)
    assert list(UserGuildMembership.objects.filter(user=ada).values()) == rows
    assert (after.verified_at, after.refresh_after, after.version) == (
        before.verified_at,
        before.refresh_after,
        before.version,
    )


@pytest.mark.parametrize("person", ["nobody", "linus", "grace"])
def test_a_person_may_be_in_no_one_or_two_hundred_servers(sign_up: Callable[..., User], person: str) -> None:
    expected = {"nobody": 0, "linus": 1, "grace": 200}[person]

    guild_list = get_guild_list(sign_up(person))

    assert len(guild_list) == expected
    assert [m.guild_id for m in guild_list] == sorted(m.guild_id for m in guild_list)


def test_a_null_body_is_an_empty_list(ada: User, sandbox: Sandbox) -> None:
    sandbox.mood("null_body")

    assert len(get_guild_list(ada)) == 0


def test_a_change_at_discord_shows_and_counts(with_list: WithList, sandbox: Sandbox) -> None:
    ada = with_list("ada", **STALE)
    before = row_of(ada)
    kept = [{"id": str(m.guild_id), "name": m.name} for m in UserGuildMembership.objects.filter(user=ada)[2:]]
    sandbox.person("ada", guilds=[*kept, {"id": "999999999999999999", "name": "Newcomers"}])

    guild_list = get_guild_list(ada)

    after = row_of(ada)
    assert guild_list.get(999999999999999999)
    assert len(guild_list) == 11
    assert (after.joined_count, after.left_count) == (1, 2)
    assert after.version == before.version + 1


def test_a_list_that_did_not_change_writes_no_membership(with_list: WithList, sandbox: Sandbox) -> None:
    ada = with_list("ada", **STALE)
    rows = list(UserGuildMembership.objects.filter(user=ada).values())
    before = row_of(ada)

    get_guild_list(ada)

    assert list(UserGuildMembership.objects.filter(user=ada).values()) == rows
    assert row_of(ada).version == before.version


# one asks for all


def test_many_readers_of_a_cold_list_cost_one_request(ada: User, sandbox: Sandbox, settings: Settings) -> None:
    sandbox.mood("healthy", latency_ms=300)
    found: list[int] = []

    def read() -> None:
        try:
            found.append(len(get_guild_list(ada)))
        finally:
            connection.close()

    threads = [threading.Thread(target=read) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    assert found == [12] * 10
    assert len(sandbox.requests()) == 1


def test_a_lease_that_somebody_else_holds_is_followed(ada: User, sandbox: Sandbox) -> None:
    _, now = GUILD_LIST.read(ada.pk)
    GuildListVerification.objects.filter(pk=ada.pk).update(lease_until=now + timedelta(seconds=0.3), generation=7)

    guild_list = get_guild_list(ada)

    assert len(guild_list) == 12
    assert row_of(ada).generation > 7


def test_an_answer_that_comes_after_a_sign_in_is_dropped(with_list: WithList, sandbox: Sandbox) -> None:
    ada = with_list("ada", **STALE)
    sandbox.mood("healthy", latency_ms=700)
    get_guild_list(ada)
    sandbox.person("ada", guilds=[])

    services.relink(ada.pk)
    before = row_of(ada)
    threading_join()

    assert row_of(ada).verified_at == before.verified_at
    assert UserGuildMembership.objects.filter(user=ada).count() == 12


# asked for on purpose


def test_a_demand_for_a_young_list_asks_although_a_fresh_one_is_there(with_list: WithList, sandbox: Sandbox) -> None:
    ada = with_list("ada", **FRESH)

    young = get_guild_list(ada, max_age=timedelta(minutes=5))
    again = get_guild_list(ada, max_age=timedelta(minutes=5))

    assert young.age < timedelta(minutes=1)
    assert again.verified_at == young.verified_at
    assert len(sandbox.requests()) == 1


@pytest.mark.parametrize(("mode", "reason"), [("rate_limited", "rate_limited"), ("outage", "unavailable")])
def test_a_demand_for_a_young_list_fails_closed(with_list: WithList, sandbox: Sandbox, mode: str, reason: str) -> None:
    ada = with_list("ada", **FRESH)
    sandbox.mood(mode)

    with pytest.raises(NoAnswer, match=reason):
        get_guild_list(ada, max_age=timedelta(minutes=5))

    assert len(get_guild_list(ada)) == 12


def test_refresh_now_asks_once_a_minute(with_list: WithList, sandbox: Sandbox) -> None:
    ada = with_list("ada")

    with pytest.raises(RefreshTooSoon) as error:
        refresh_guild_list(ada)
    let_pass(seconds=60)
    refreshed = refresh_guild_list(ada)

    assert 50 < error.value.retry_after <= 60
    assert refreshed.age < timedelta(minutes=1)
    assert len(sandbox.requests()) == 1


# tokens


def test_an_access_token_is_renewed_once_when_discord_refuses_it(with_list: WithList, sandbox: Sandbox) -> None:
    ada = with_list("ada", **STALE)
    account = DiscordAccount.objects.get(user=ada)
    account.extra_data = {**account.extra_data, "access_token": "worn-out"}
    account.save()

    guild_list = get_guild_list(ada)

    renewed = DiscordAccount.objects.get(user=ada)
    assert guild_list.freshness == "fresh"
    assert renewed.token_version == account.token_version + 1
    assert renewed.extra_data["refresh_token"] != account.extra_data["refresh_token"]
    assert [line["status"] for line in sandbox.requests()] == [401, 200]


def test_an_access_token_at_its_end_is_renewed_before_it_is_refused(with_list: WithList, sandbox: Sandbox) -> None:
    ada = with_list("ada", **STALE)
    account = DiscordAccount.objects.get(user=ada)
    account.extra_data = {**account.extra_data, "expires_at": 0}
    account.save()

    get_guild_list(ada)

    assert [line["status"] for line in sandbox.requests()] == [200]
    assert len(sandbox.requests("/oauth2/token")) == 1


def test_a_renewed_token_that_is_refused_too_is_final(with_list: WithList, sandbox: Sandbox) -> None:
    ada = with_list("ada", **STALE)
    account = DiscordAccount.objects.get(user=ada)
    account.extra_data = {**account.extra_data, "access_token": "worn-out"}
    account.save()
    sandbox.mood("dead_refresh")

    for _ in range(3):
        with pytest.raises(NoAnswer, match="reconnect_required"):
            get_guild_list(ada)

    assert len(sandbox.requests()) <= 2
    assert len(sandbox.requests("/oauth2/token")) == 1


def test_an_attempt_that_finds_the_account_disconnected_already_leaves_no_lease(
    with_list: WithList, sandbox: Sandbox
) -> None:
    """Another request for the same person got the same response a moment earlier."""
    ada = with_list("ada", **STALE)
    sandbox.revoke("ada")
    sandbox.mood("healthy", latency_ms=700, routes=["/oauth2/token"])
    get_guild_list(ada)

    tokens.disconnect(tokens.read(ada.pk))
    threading_join()

    assert (row_of(ada).lease_until, row_of(ada).reason) == (None, "reconnect_required")
    assert len(sandbox.requests("/oauth2/token")) == 1


def test_an_attempt_whose_tokens_were_replaced_leaves_no_lease(with_list: WithList, sandbox: Sandbox) -> None:
    ada = with_list("ada", **STALE)
    account = DiscordAccount.objects.get(user=ada)
    account.extra_data = {**account.extra_data, "expires_at": 0}
    account.save()
    sandbox.mood("healthy", latency_ms=700, routes=["/oauth2/token"])
    get_guild_list(ada)

    tokens.store_sign_in(account, Tokens.from_json(sandbox.token("ada", "identify", "guilds")))
    threading_join()

    assert (row_of(ada).lease_until, row_of(ada).reason) == (None, "")
    assert get_guild_list(ada).freshness == "fresh"


def test_a_person_who_removed_the_app_is_asked_to_reconnect(with_list: WithList, sandbox: Sandbox) -> None:
    ada = with_list("ada", **STALE)
    sandbox.call("POST", "revoke", {"person": "ada"})

    with pytest.raises(NoAnswer, match="reconnect_required"):
        get_guild_list(ada)


def test_a_sign_in_ends_a_refusal(with_list: WithList, sandbox: Sandbox) -> None:
    ada = with_list("ada", **STALE)
    sandbox.mood("unauthorized")
    with pytest.raises(NoAnswer, match="reconnect_required"):
        get_guild_list(ada)
    sandbox.mood("healthy")

    account = DiscordAccount.objects.get(user=ada)
    tokens.store_sign_in(account, Tokens.from_json(sandbox.token("ada", "identify", "guilds")))
    services.relink(ada.pk)

    assert get_guild_list(ada).freshness == "fresh"


def test_a_sign_in_does_not_end_a_limit_that_discord_named(with_list: WithList, sandbox: Sandbox) -> None:
    ada = with_list("ada", **STALE)
    sandbox.mood("rate_limited", retry_after=300)
    get_guild_list(ada)
    sandbox.mood("healthy")

    services.relink(ada.pk)
    guild_list = get_guild_list(ada)

    assert (guild_list.freshness, guild_list.reason) == ("stale", Reason.RATE_LIMITED)
    assert len(sandbox.requests()) == 1


# everybody's limits


@pytest.mark.parametrize(
    ("mode", "reason"), [("global_limit", Reason.GLOBAL_LIMIT), ("cloudflare_json", Reason.CLOUDFLARE)]
)
def test_a_limit_of_the_whole_site_stops_everybodys_requests(
    with_list: WithList, sandbox: Sandbox, mode: str, reason: Reason
) -> None:
    ada, linus = with_list("ada", **STALE), with_list("linus")
    GuildListVerification.objects.filter(pk=linus.pk).update(verified_at=F("verified_at") - timedelta(hours=3))
    sandbox.mood(mode, retry_after=30)

    first, second = get_guild_list(ada), get_guild_list(linus)

    assert (first.freshness, first.reason) == ("stale", reason)
    assert (second.freshness, second.reason) == ("stale", reason)
    assert second.next_attempt_at == DiscordGate.objects.get().until
    assert len(sandbox.requests()) == 1


def test_a_site_that_discord_limits_tells_cold_readers_how_long(ada: User, sandbox: Sandbox) -> None:
    sandbox.mood("global_limit", retry_after=30)

    with pytest.raises(NoAnswer, match="global_limit") as error:
        get_guild_list(ada)

    assert error.value.retry_after
    assert 30 <= error.value.retry_after <= 30 * 1.25


# deletion


def test_a_list_past_retention_is_purged_and_others_are_not(with_list: WithList, capsys: Any) -> None:
    ada = with_list("ada", days=30, minutes=1)
    linus = with_list("linus")
    old = {"guild_id": 1, "verified_at": database_now() - timedelta(days=31)}
    GuildMember.objects.create(user=linus, **old)
    GuildDirectory.objects.create(**old)

    call_command("purge_memberships")

    assert capsys.readouterr().out == (
        "Deleted 12 memberships of 1 people, the roles of 1 members, the roles and channels of 1 servers, and 0 rows "
        "of usage counts.\n"
    )
    assert not UserGuildMembership.objects.filter(user=ada).exists()
    assert row_of(ada).verified_at is None
    assert len(get_guild_list(linus)) == 1
    assert len(get_guild_list(ada)) == 12


def test_forgetting_leaves_nothing_of_the_person(
    with_list: WithList, client_of: Callable[[User], Any], sandbox: Sandbox
) -> None:
    ada, linus = with_list("ada"), with_list("linus")
    client_of(ada)

    personal_data.forget_user(ada)

    assert not User.objects.filter(pk=ada.pk).exists()
    for model in (GuildListVerification, UserGuildMembership, DiscordAccount, Session):
        assert not model._default_manager.filter(user_id=ada.pk).exists()
    assert len(get_guild_list(linus)) == 1


def test_a_send_budget_that_is_spent_costs_an_old_list_one_attempt(with_list: WithList, sandbox: Sandbox) -> None:
    ada = with_list("ada", **STALE)
    _, now = GUILD_LIST.read(ada.pk)
    DiscordGate.objects.update(tat=now + timedelta(seconds=0.9))
    before = row_of(ada).generation

    guild_list = get_guild_list(ada)

    assert (guild_list.freshness, guild_list.reason) == ("stale", Reason.BUSY)
    assert row_of(ada).generation == before + 2
    assert sandbox.requests() == []


def test_a_cold_reader_waits_for_a_place_in_the_send_budget(ada: User, sandbox: Sandbox) -> None:
    _, now = GUILD_LIST.read(ada.pk)
    DiscordGate.objects.all().delete()
    DiscordGate.objects.create(pk=1, tat=now + timedelta(seconds=1.3))

    assert len(get_guild_list(ada)) == 12
    assert len(sandbox.requests()) == 1


def test_who_finds_no_room_to_wait_is_told_to_come_back_soon(ada: User, sandbox: Sandbox, settings: Settings) -> None:
    settings.DISCORD_FETCH_BUDGET_MS = 10_000
    _, now = GUILD_LIST.read(ada.pk)
    GuildListVerification.objects.filter(pk=ada.pk).update(lease_until=now + timedelta(seconds=12), generation=7)

    with pytest.raises(NoAnswer) as error:
        services._read(ada.pk, None, timeout=0)

    assert (error.value.reason, error.value.retry_after) == ("in_progress", 2)


def test_wrong_token_keys_cost_nobody_their_list_and_heal(
    with_list: WithList, sandbox: Sandbox, settings: Settings
) -> None:
    ada, right = with_list(hours=2), settings.TOKEN_KEYS
    settings.TOKEN_KEYS = [Fernet.generate_key().decode()]

    guild_list = services.get_guild_list(ada)

    assert (guild_list.freshness, guild_list.reason) == ("stale", Reason.MISCONFIGURED)
    assert status.read().misconfigured
    assert status.misconfigured(gate.read()[0]) == status.read().misconfigured
    settings.TOKEN_KEYS = right
    let_pass(seconds=31)
    assert services.get_guild_list(ada).freshness == "fresh"
    assert status.read().misconfigured is None


@pytest.mark.parametrize("error", [DiscordUnavailable(), RateLimited(scope="user", retry_after=5), UnusableResponse()])
@pytest.mark.django_db
def test_a_view_that_asks_discord_itself_waits_for_the_gate_too(error: Exception) -> None:
    gate.change(lambda gate, now: gate.shut(Reason.GLOBAL_LIMIT, timedelta(minutes=5), now, probe=None))

    problem = problem_of(error)

    assert problem
    assert problem.retry_after == 300


def test_the_cool_down_lasts_while_the_gate_is_shut(with_list: WithList) -> None:
    ada = with_list()
    gate.change(lambda gate, now: gate.shut(Reason.CLOUDFLARE, timedelta(hours=1), now, probe=None))

    with pytest.raises(RefreshTooSoon) as error:
        refresh_guild_list(ada)

    assert 3590 < error.value.retry_after <= 3600
