"""The fixtures for tests of the site, ours and yours, as documented in docs/testing.md.

The sandbox is a separate process, and people are signed in there. Time passes by shifting rows into the past instead of
changing a clock, because the database's clock decides everything.
"""

import functools
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.core.cache import cache
from django.db import connection, connections, transaction
from django.db.backends.utils import CursorWrapper
from django.db.models import DateTimeField, F, Model
from django.test import Client, TransactionTestCase
from django.utils import translation
from pytest_django import Settings

from accounts import access_tokens, background, gate, service_tokens
from accounts.bookkeeping import Bookkeeper, bookkeeper
from accounts.clock import database_now
from accounts.discord import CurrentUser, Tokens
from accounts.models import (
    DiscordAccount,
    DiscordAllowance,
    DiscordGate,
    DiscordRefusal,
    PersonalAccessToken,
    ServiceToken,
    User,
)
from accounts.throttles import meter
from accounts.tokens import discord_client, revoker, sealed
from guilds import services
from guilds.engine import policy, refresh, waiting
from guilds.engine.records import Record
from guilds.listing import bot
from guilds.models import (
    BotGuild,
    BotGuilds,
    DoctorReport,
    GuildPreference,
    JobRun,
    ServingMinute,
    UserGuildMembership,
    new_tag,
)
from guilds.resources import ALL
from guilds.resources.bot_guilds import BOT_GUILDS
from guilds.resources.guild_list import GUILD_LIST
from sandbox.remote import Remote as Sandbox
from sandbox.remote import running

__all__ = ["Sandbox", "end_jobs", "let_pass", "threading_join"]


@pytest.fixture(scope="session")
def sandbox_process() -> Iterator[Sandbox]:
    with running() as sandbox:
        yield sandbox


# Moods in which a request never gets a complete response.
SILENT = ("timeout", "drip")


@dataclass(frozen=True)
class TimedSandbox(Sandbox):
    """The sandbox. It also sets the site's waits: long enough for a busy machine, and very short in a slow mood."""

    settings: Settings

    def mood(self, mode: str = "healthy", **options: Any) -> None:
        is_slow = mode in SILENT or "latency_ms" in options
        wait_for_discord(self.settings, give_up=1.0 if mode in SILENT else 6.0, soft_wait=0.3 if is_slow else 6.0)
        super().mood(mode, **options)


def wait_for_discord(settings: Settings, *, give_up: float, soft_wait: float) -> None:
    """Set the timeout of a request to Discord and the wait of readers of a stale list, in seconds."""
    settings.DISCORD_REFRESH_WAIT_MS = int(soft_wait * 1000)
    settings.DISCORD_REQUEST_TIMEOUT_MS = int(give_up * 1000)
    # Includes retries.
    settings.DISCORD_FETCH_BUDGET_MS = settings.DISCORD_REQUEST_TIMEOUT_MS + 500


@pytest.fixture
def sandbox(sandbox_process: Sandbox, settings: Settings) -> Sandbox:
    """A healthy sandbox in its initial state, with the site's settings pointing to it."""
    # Discord's limit is one list per second and person. Tests read faster; those about the limit turn it on.
    sandbox_process.reset(per_person=False)
    settings.SANDBOX_URL = sandbox_process.url
    settings.DISCORD_API_URL = f"{sandbox_process.url}/api/v10"
    settings.DISCORD_AUTHORIZE_URL = f"{sandbox_process.url}/oauth2/authorize"
    settings.DISCORD_CDN_URL = f"{sandbox_process.url}/cdn"
    return TimedSandbox(sandbox_process.url, settings)


def enter(sandbox: Sandbox, name: str, scopes: tuple[str, ...]) -> tuple[User, Tokens]:
    """Store what a sign-in stores of a person of the sandbox."""
    response = sandbox.token(name, *scopes)
    tokens, person = Tokens.from_json(response), CurrentUser.from_json(response["user"])
    user = User.objects.create_user(username=str(person.id), discord_id=person.id, discord_username=person.username)
    DiscordAccount.objects.create(
        user=user,
        provider="discord",
        uid=str(person.id),
        extra_data=sealed(tokens, user.pk),  # type: ignore[misc]  # social-auth says text, and stores an object
    )
    return user, tokens


@pytest.fixture
def sign_up(sandbox: Sandbox, transactional_db: None) -> Callable[..., User]:
    """Sign a person of the sandbox in without a browser; no list has been requested."""

    def sign_up(name: str = "ada", scopes: tuple[str, ...] = ("identify", "guilds")) -> User:
        return enter(sandbox, name, scopes)[0]

    return sign_up


def store_list(user: User, access_token: str) -> None:
    """Store what a first read does, without the engine's thread, which takes longer than most tests."""
    answer = discord_client().get_user_guilds(access_token)
    refresh.push(GUILD_LIST, user.pk, value=answer, at=database_now(), create=True)


@pytest.fixture
def with_list(sandbox: Sandbox, transactional_db: None) -> Callable[..., User]:
    """Sign a person in with a list of the given age; the sandbox's request log is empty afterwards."""

    def with_list(name: str = "ada", **age: float) -> User:
        user, tokens = enter(sandbox, name, ("identify", "guilds"))
        gate.read()
        store_list(user, tokens.access_token)
        services.get_guild_list(user)
        if age:
            let_pass(**age)
        sandbox.forget_requests()
        return user

    return with_list


@pytest.fixture
def ada(sign_up: Callable[..., User]) -> User:
    return sign_up("ada")


@pytest.fixture
def staff(sign_up: Callable[..., User]) -> User:
    """An operator: linus, signed in, with access to all of /admin/."""
    user = sign_up("linus")
    user.is_staff = user.is_superuser = True
    user.save()
    return user


@pytest.fixture
def client_of() -> Callable[[User], Client]:
    """Return a Django test client that is signed in as the person."""

    def client_of(user: User) -> Client:
        client = Client()
        session = client.session
        session[SESSION_KEY] = str(user.pk)
        session[BACKEND_SESSION_KEY] = "guilds.backends.DiscordBackend"
        session[HASH_SESSION_KEY] = user.get_session_auth_hash()
        session.save()
        client.cookies["guildhall_session"] = session.session_key or ""
        return client

    return client_of


@pytest.fixture
def token_of() -> Callable[..., str]:
    """Create an access token with these scopes, such as "guilds:read", or with all that the person may grant."""

    def token_of(user: User, *scopes: str) -> str:
        name = f"token {PersonalAccessToken.objects.filter(user=user).count()}"
        wanted = scopes or [scope.name for scope in access_tokens.scopes_for(user)]
        return access_tokens.create(user, name, wanted, access_tokens.MAX_LIFETIME)[1]

    return token_of


@pytest.fixture
def service_token(transactional_db: None) -> Callable[..., str]:
    """Create a token of a service with these scopes, such as "bot:read"."""

    def service_token(*scopes: str, name: str = "bot") -> str:
        return service_tokens.create(name, scopes, by="a test")[1]

    return service_token


@pytest.fixture
def bot_synced(transactional_db: None) -> None:
    """Store that the bot's servers have just been listed; there are none until a test stores one."""
    now = database_now()
    fields = {"verified_at": now, "refresh_after": now + timedelta(minutes=48), "tag": new_tag()}
    BotGuilds.objects.update_or_create(pk=1, defaults=fields)


RECORD_MOMENTS = tuple(field.name for field in Record._meta.get_fields() if isinstance(field, DateTimeField))


def let_pass(**time: float) -> None:
    """Let time pass for all stored data by moving each time into the past. NULL stays NULL."""
    delta = timedelta(**time)
    moments: tuple[tuple[type[Model], tuple[str, ...]], ...] = (
        *((resource.model, RECORD_MOMENTS) for resource in ALL),
        (UserGuildMembership, ("first_seen_at", "changed_at")),
        (BotGuild, ("first_seen_at", "verified_at", "deleted_at")),
        (GuildPreference, ("last_used_at",)),
        (DiscordAccount, ("disconnected_at", "renewal_until")),
        (DiscordGate, ("until", "tat", "silent_since", "recovered_at", "probe_after")),
        (DiscordAllowance, ("window_ends_at", "until")),
        (DiscordRefusal, ("at",)),
        *((model, ("created_at", "expires_at", "last_used_at")) for model in (PersonalAccessToken, ServiceToken)),
        (ServingMinute, ("minute",)),
        (JobRun, ("started_at", "finished_at", "succeeded_at")),
        (DoctorReport, ("examined_at",)),
    )
    with connection.cursor() as cursor:
        filled = filled_tables(cursor)
    for model, names in moments:
        # Most tables are empty, and Django would compile a query for each.
        if model._meta.db_table in filled:
            model._default_manager.update(**{name: F(name) - delta for name in names})


@pytest.fixture
def tasks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a site's Celery tasks where they are queued, without a broker; what a task raises, `delay()` raises."""
    celery = pytest.importorskip("celery")

    def apply_now(task: Any, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        return task.apply(args, kwargs, throw=True)

    monkeypatch.setattr(celery.Task, "apply_async", apply_now)


@pytest.fixture(name="let_pass")
def let_pass_fixture() -> Callable[..., None]:
    return let_pass


# isolation between tests


# Rows that depend only on the models.
KEPT_TABLES = {"django_content_type", "auth_permission"}


@pytest.fixture(scope="session", autouse=True)
def tables_are_emptied_fast() -> Iterator[None]:
    """After a test, delete the rows of the few tables that have any, instead of flushing all tables as Django does.

    Permissions and content types stay; Django would recreate them, which takes as long as many tests do. The
    connection stays open unless an error may have made it unusable.
    """
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(TransactionTestCase, "_fixture_teardown", empty_tables)
        patched.setattr(TransactionTestCase, "_should_reload_connections", lambda _test: connection.errors_occurred)
        yield


def empty_tables(test: TransactionTestCase) -> None:
    # A job that still writes would lock rows in another order.
    end_jobs()
    for alias in test._databases_names(include_mirrors=False):  # type: ignore[attr-defined]
        database = connections[alias]
        quote = database.ops.quote_name
        # Foreign keys are checked when the transaction ends, so that the order is free.
        with transaction.atomic(using=alias), database.cursor() as cursor:
            for table in filled_tables(cursor):
                cursor.execute(f"DELETE FROM {quote(table)}")


def filled_tables(cursor: CursorWrapper) -> list[str]:
    """Return the tables that have rows, of those that are emptied after a test."""
    quote = cursor.db.ops.quote_name
    cursor.execute(
        " UNION ALL ".join(
            f"SELECT '{table}' WHERE EXISTS (SELECT 1 FROM {quote(table)})" for table in emptied_tables()
        )
    )
    return [table for (table,) in cursor.fetchall()]


@functools.cache
def emptied_tables() -> list[str]:
    return sorted(set(connection.introspection.django_table_names(include_views=False)) - KEPT_TABLES)


@pytest.fixture(autouse=True)
def hurry(settings: Settings) -> None:
    """Retry without delay, and wait for a healthy Discord as long as a busy machine needs."""
    wait_for_discord(settings, give_up=6.0, soft_wait=6.0)
    settings.DISCORD_API_RETRY_DELAY_MS = 5


@pytest.fixture(autouse=True)
def nothing_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    policy._logged.clear()
    meter.forget()
    # The meter's clock stands still, so that limits don't recover on a slow machine.
    monkeypatch.setattr(meter, "clock", lambda: 1000.0)
    cache.clear()
    # A thread keeps the language of its last request.
    translation.deactivate()


@pytest.fixture(autouse=True)
def bookkeeping_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Perform a read's deferred writes as soon as it ends, in all kinds of tests."""
    monkeypatch.setattr(Bookkeeper, "note", lambda self, key, write: write())


@pytest.fixture(autouse=True)
def bot_guilds_on_demand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read the pages of the bot's servers without a pause, and only when a test does: no page starts to read them."""
    monkeypatch.setattr(BOT_GUILDS, "sleep", lambda _seconds: None)
    monkeypatch.setattr(bot, "refresh_when_due", lambda _guild_list: None)


@pytest.fixture(autouse=True)
def jobs_end(request: pytest.FixtureRequest) -> Iterator[None]:
    """Wait for a test's running refreshes, so that they don't write into the next test's database."""
    yield
    end_jobs()


def end_jobs() -> None:
    revoker.finish(0)
    bookkeeper.settle()
    for future in list(waiting._ends.values()):
        future.exception(timeout=60)
    while not all_slots_free():
        threading_join()


def all_slots_free() -> bool:
    semaphore = background.job_slots._semaphore
    return semaphore is None or semaphore._value == semaphore._initial_value  # type: ignore[attr-defined]


def threading_join() -> None:
    for thread in threading.enumerate():
        if thread.name == "guildhall-job":
            thread.join(60)
