"""`GUILDHALL_MEMBERSHIP_HOOKS`: called once for each stored change, after its commit."""

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
import structlog
from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.db import DataError, connection
from pytest_django import Settings

from accounts import background
from accounts import hooks as registry
from accounts.clock import database_now
from accounts.hooks import load_hooks
from accounts.models import User
from accounts.tokens import discord_client
from guilds import personal_data, services
from guilds.engine import freshness, refresh
from guilds.engine.refresh import Fenced, Verified
from guilds.engine.sweep import sweep
from guilds.hooks import MEMBERSHIP_HOOKS, MembershipChange, PermissionsChange, Rights, on_membership_change
from guilds.models import GuildListVerification
from guilds.resources.guild_list import GUILD_LIST
from tests.fixtures import Sandbox, end_jobs, let_pass

told: list[MembershipChange] = []
in_transaction: list[bool] = []


def remember(change: MembershipChange) -> None:
    in_transaction.append(connection.in_atomic_block)
    told.append(change)


def fail(change: MembershipChange) -> None:
    raise ValueError("a fault of a hook")


async def wait(change: MembershipChange) -> None: ...


NOT_CALLABLE = "text"


@pytest.fixture(autouse=True)
def hooked(settings: Settings) -> Iterator[None]:
    settings.GUILDHALL_MEMBERSHIP_HOOKS = [f"{__name__}.remember"]
    told.clear()
    in_transaction.clear()
    yield
    told.clear()


def guild(number: int, permissions: int = 0, owner: bool = False) -> dict[str, Any]:
    return {"id": str(number), "name": f"Server {number}", "permissions": str(permissions), "owner": owner}


connected: list[bool] = []


def look_at_the_connection(change: MembershipChange) -> None:
    connected.append(connection.connection is not None)


# Whether a hook found that the reader had their list while it was still at work.
went_on: list[bool] = []
reader_has_list = threading.Event()


def wait_for_the_reader(change: MembershipChange) -> None:
    went_on.append(reader_has_list.wait(5))


def read(user: User, max_age: timedelta | None = None) -> services.GuildList:
    """Return the list after the hooks have run; readers don't wait for hooks."""
    try:
        return services.get_guild_list(user, max_age)
    finally:
        end_jobs()


@pytest.fixture
def eve(sandbox: Sandbox, sign_up: Callable[..., User]) -> User:
    sandbox.person("eve", guilds=[guild(11), guild(12), guild(13)])
    return sign_up("eve")


def test_a_first_list_is_all_joined(eve: User) -> None:
    read(eve)

    assert [(change.user_id, change.joined, change.left, change.permissions) for change in told] == [
        (eve.pk, (11, 12, 13), (), ())
    ]
    assert in_transaction == [False]


def test_what_changed_is_told_once(eve: User, sandbox: Sandbox) -> None:
    read(eve)
    told.clear()
    sandbox.person("eve", guilds=[guild(12, permissions=32), guild(13, owner=True), guild(14)])
    let_pass(minutes=5)

    read(eve, services.MIN_MAX_AGE)

    assert [(change.joined, change.left) for change in told] == [((14,), (11,))]
    assert told[0].permissions == (
        PermissionsChange(12, 0, 32, owner_before=False, owner=False),
        PermissionsChange(13, 0, 0, owner_before=False, owner=True),
    )
    assert told[0].at == GuildListVerification.objects.get(pk=eve.pk).changed_at


def test_the_same_list_again_is_no_change(eve: User) -> None:
    read(eve)
    told.clear()
    let_pass(minutes=5)

    read(eve, services.MIN_MAX_AGE)

    assert told == []


def test_a_new_name_is_no_change_of_memberships(eve: User, sandbox: Sandbox) -> None:
    read(eve)
    told.clear()
    sandbox.person("eve", guilds=[{**guild(11), "name": "Renamed"}, guild(12), guild(13)])
    let_pass(minutes=5)

    read(eve, services.MIN_MAX_AGE)

    assert told == []
    assert GuildListVerification.objects.get(pk=eve.pk).version == 2


@pytest.mark.parametrize("mode", ["rate_limited", "outage", "unauthorized"])
def test_a_failure_is_no_change(eve: User, sandbox: Sandbox, mode: str) -> None:
    read(eve)
    told.clear()
    let_pass(hours=2)
    sandbox.mood(mode)

    with pytest.raises(services.NoAnswer):
        read(eve, services.MIN_MAX_AGE)

    assert told == []


def test_an_answer_that_comes_too_late_is_told_to_nobody(eve: User) -> None:
    record, now = GUILD_LIST.read(eve.pk)
    decision = freshness.decide(record, now, GUILD_LIST.windows())
    claimed = refresh.claim(record, now, decision, discord_client())
    assert claimed
    answer = refresh.ask(claimed, discord_client())
    assert isinstance(answer, Verified)
    services.relink(eve.pk)

    with pytest.raises(Fenced):
        refresh.store(claimed, answer, database_now())
    assert told == []


def test_no_hook_is_told_of_a_change_that_is_rolled_back(eve: User) -> None:
    def fail_to_insert(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        if sql.startswith('INSERT INTO "guilds_userguildmembership"'):
            raise DataError
        return execute(sql, *rest)

    record, now = GUILD_LIST.read(eve.pk)
    claimed = refresh.claim(record, now, freshness.decide(record, now, GUILD_LIST.windows()), discord_client())
    assert claimed
    reservation = background.reserve()
    assert reservation

    def run() -> refresh.Outcome | None:
        with connection.execute_wrapper(fail_to_insert):
            return refresh.run(claimed, discord_client())

    with pytest.raises(DataError):
        reservation.start(run, refresh.follow_up).result(10)
    end_jobs()
    assert told == []


def test_a_hook_that_fails_harms_neither_the_list_nor_the_others(eve: User, settings: Settings) -> None:
    settings.GUILDHALL_MEMBERSHIP_HOOKS = [f"{__name__}.fail", f"{__name__}.remember"]

    with structlog.testing.capture_logs() as log:
        guild_list = read(eve)

    assert (len(guild_list), len(told)) == (3, 1)
    assert [(line["hook"], line["user_id"]) for line in log if line["event"] == "membership_hook_failed"] == [
        (f"{__name__}.fail", eve.pk)
    ]


def test_a_reader_does_not_wait_for_a_slow_hook(eve: User, settings: Settings) -> None:
    settings.GUILDHALL_MEMBERSHIP_HOOKS = [f"{__name__}.wait_for_the_reader"]
    settings.DISCORD_FETCH_BUDGET_MS = 30_000
    reader_has_list.clear()
    went_on.clear()

    assert len(services.get_guild_list(eve)) == 3
    reader_has_list.set()
    end_jobs()

    assert went_on == [True]


def test_a_list_refreshed_by_the_sweep_is_told_too(eve: User, sandbox: Sandbox) -> None:
    read(eve)
    told.clear()
    sandbox.person("eve", guilds=[guild(11)])
    let_pass(minutes=59)

    assert sweep(GUILD_LIST).refreshed == 1

    assert [(change.left, in_atomic) for change, in_atomic in zip(told, in_transaction[1:], strict=True)] == [
        ((12, 13), False)
    ]


def test_a_slow_hook_holds_no_database_connection(eve: User, settings: Settings) -> None:
    settings.GUILDHALL_MEMBERSHIP_HOOKS = [f"{__name__}.look_at_the_connection"]
    connected.clear()

    read(eve)

    assert connected == [False]


def test_only_a_first_list_is_first(eve: User, sandbox: Sandbox) -> None:
    read(eve)
    sandbox.person("eve", guilds=[guild(11)])
    let_pass(minutes=5)
    read(eve, services.MIN_MAX_AGE)

    assert [(change.joined, change.left, change.is_first) for change in told] == [
        ((11, 12, 13), (), True),
        ((), (12, 13), False),
    ]


def test_who_joins_their_first_server_after_an_empty_list_joins(sandbox: Sandbox, sign_up: Callable[..., User]) -> None:
    sandbox.person("zoe", guilds=[])
    zoe = sign_up("zoe")
    read(zoe)
    sandbox.person("zoe", guilds=[guild(11)])
    let_pass(minutes=5)

    read(zoe, services.MIN_MAX_AGE)

    assert [(change.joined, change.is_first) for change in told] == [((11,), False)]


def test_a_list_that_was_purged_is_a_first_one_when_it_comes_back(eve: User) -> None:
    read(eve)
    let_pass(days=40)
    personal_data.purge_memberships()

    read(eve)

    assert [(change.joined, change.is_first) for change in told] == [((11, 12, 13), True)] * 2


def test_deleting_ones_data_is_told_to_nobody(eve: User) -> None:
    read(eve)
    told.clear()

    personal_data.forget_user(eve)

    assert told == []


MANAGE_GUILD, ADMINISTRATOR, KICK_MEMBERS = 1 << 5, 1 << 3, 1 << 1


def test_a_change_says_where_a_permission_was_lost_and_gained(eve: User, sandbox: Sandbox) -> None:
    before = [
        guild(11, MANAGE_GUILD),
        guild(12, MANAGE_GUILD),
        guild(13, owner=True),
        guild(14, ADMINISTRATOR),
        guild(15, MANAGE_GUILD),
        guild(16),
    ]
    sandbox.person("eve", guilds=before)
    read(eve)
    # She left 11, is no manager of 12 any more, sold 13 and still manages it, is an administrator of 16 and joined 17.
    after = [
        guild(12, KICK_MEMBERS),
        guild(13, MANAGE_GUILD),
        guild(14, MANAGE_GUILD),
        guild(15, MANAGE_GUILD),
        guild(16, ADMINISTRATOR),
        guild(17, owner=True),
    ]
    sandbox.person("eve", guilds=after)
    let_pass(minutes=5)
    read(eve, services.MIN_MAX_AGE)

    first, change = told

    assert (first.gained("manage_guild"), first.lost("manage_guild")) == ((11, 12, 13, 14, 15), ())
    assert change.lost("manage_guild") == (11, 12)
    assert change.gained("manage_guild") == (16, 17)
    assert (change.lost("kick_members"), change.gained("kick_members")) == ((13, 14), (12, 16, 17))
    assert (11 in change.before, 11 in change.after) == (True, False)
    assert change.before[13].may("ban_members")
    assert not change.after[13].may("ban_members")
    assert change.permissions[0].before == Rights(MANAGE_GUILD, owner=False)
    assert not change.permissions[0].after.may("manage_guild")


def test_an_app_registers_a_hook_itself(eve: User, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "registered", {})
    settings.GUILDHALL_MEMBERSHIP_HOOKS = []
    read(eve)
    on_membership_change(remember)
    on_membership_change(remember)
    let_pass(days=40)
    personal_data.purge_memberships()

    read(eve)

    assert [change.joined for change in told] == [(11, 12, 13)]


def test_the_hooks_module_of_each_app_is_imported_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    imported: list[str] = []
    monkeypatch.setattr("django.utils.module_loading.autodiscover_modules", imported.append)

    apps.get_app_config("accounts").ready()

    assert imported == ["hooks"]


def test_an_async_hook_is_refused(settings: Settings) -> None:
    advice = rf"^The hook {__name__}\.wait is async, .*Write def instead of async def"
    with pytest.raises(ImproperlyConfigured, match=advice):
        on_membership_change(wait)
    settings.GUILDHALL_MEMBERSHIP_HOOKS = [f"{__name__}.wait"]
    with pytest.raises(ImproperlyConfigured, match=advice):
        load_hooks(MEMBERSHIP_HOOKS)


@pytest.mark.parametrize("path", ["nowhere.at_all", f"{__name__}.missing", "plain", f"{__name__}.NOT_CALLABLE"])
def test_a_path_that_leads_nowhere_stops_the_start(settings: Settings, path: str) -> None:
    settings.GUILDHALL_MEMBERSHIP_HOOKS = [path]

    with pytest.raises(ImproperlyConfigured, match="GUILDHALL_MEMBERSHIP_HOOKS is wrong"):
        apps.get_app_config("guilds").ready()


def test_functions_are_found_by_their_paths(settings: Settings) -> None:
    settings.GUILDHALL_MEMBERSHIP_HOOKS = [f"{__name__}.fail"]

    assert load_hooks(MEMBERSHIP_HOOKS) == {f"{__name__}.fail": fail}
