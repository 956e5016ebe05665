"""The fixtures for tests of the site, ours and yours: docs/testing.md has them one by one.

The sandbox is a process of its own, people signed in there, and time is moved by shifting rows into the past, never by
moving a clock: the database's clock decides everything.
"""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.core.cache import cache
from django.core.management.commands import flush
from django.db import connection
from django.db.models import DateTimeField, F
from django.test import Client
from django.utils import translation
from pytest_django import Settings

from accounts import access_tokens, background
from accounts.access_tokens import Scope
from accounts.discord import CurrentUser, Tokens
from accounts.models import DiscordAccount, DiscordGate, DiscordRefusal, PersonalAccessToken, User
from accounts.tokens import discord_client, sealed
from guilds import services
from guilds.api.throttles import meter
from guilds.engine import policy, waiting
from guilds.engine.records import Record
from guilds.models import Guild, GuildPreference, ServingMinute, UserGuildMembership
from guilds.resources import ALL
from sandbox.remote import Remote as Sandbox
from sandbox.remote import running

__all__ = ["Sandbox", "end_jobs", "let_pass", "threading_join"]


@pytest.fixture(scope="session")
def sandbox_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with running(tmp_path_factory.mktemp("sandbox") / "state.json") as sandbox:
        yield sandbox


# Moods in which a request never gets its answer.
SILENT = ("timeout", "drip")


@dataclass(frozen=True)
class TimedSandbox(Sandbox):
    """The sandbox, and how long the site waits for it: as a busy machine needs, or hardly at all in a slow mood."""

    settings: Settings

    def mood(self, mode: str = "healthy", **options: Any) -> None:
        is_slow = mode in SILENT or "latency_ms" in options
        wait_for_discord(self.settings, give_up=1.0 if mode in SILENT else 6.0, soft_wait=0.3 if is_slow else 6.0)
        super().mood(mode, **options)


def wait_for_discord(settings: Settings, *, give_up: float, soft_wait: float) -> None:
    """Set, in seconds, when the site gives up a request to Discord, and how long readers of a stale list wait."""
    settings.DISCORD_REFRESH_WAIT_MS = int(soft_wait * 1000)
    settings.DISCORD_REQUEST_TIMEOUT_MS = int(give_up * 1000)
    # Retries included.
    settings.DISCORD_FETCH_BUDGET_MS = settings.DISCORD_REQUEST_TIMEOUT_MS + 500


@pytest.fixture
def sandbox(sandbox_process: Sandbox, settings: Settings) -> Sandbox:
    """A healthy sandbox as on its first day, and the site's settings leading to it."""
    sandbox_process.reset()
    # One list a second a person is Discord's limit, and tests ask faster; those about it switch it on.
    sandbox_process.limits(per_person=False)
    settings.SANDBOX_URL = sandbox_process.url
    settings.DISCORD_API_URL = f"{sandbox_process.url}/api/v10"
    settings.DISCORD_AUTHORIZE_URL = f"{sandbox_process.url}/oauth2/authorize"
    settings.DISCORD_CDN_URL = f"{sandbox_process.url}/cdn"
    return TimedSandbox(sandbox_process.url, settings)


@pytest.fixture
def sign_up(sandbox: Sandbox, transactional_db: None) -> Callable[..., User]:
    """A person of the sandbox who has signed in, without a browser; no list has been asked for."""

    def sign_up(name: str = "ada", scopes: tuple[str, ...] = ("identify", "guilds")) -> User:
        tokens = Tokens.from_json(sandbox.token(name, *scopes))
        person: CurrentUser = discord_client().get_current_user(tokens.access_token)
        user = User.objects.create_user(username=str(person.id), discord_id=person.id, discord_username=person.username)
        DiscordAccount.objects.create(user=user, provider="discord", uid=str(person.id), extra_data=sealed(tokens))
        return user

    return sign_up


@pytest.fixture
def with_list(sign_up: Callable[..., User], sandbox: Sandbox) -> Callable[..., User]:
    """A person whose list was verified that long ago; the sandbox has forgotten the request that took."""

    def with_list(name: str = "ada", **age: float) -> User:
        user = sign_up(name)
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
    """An operator: linus has signed in, and all of /admin/ is open to him."""
    user = sign_up("linus")
    user.is_staff = user.is_superuser = True
    user.save()
    return user


@pytest.fixture
def client_of() -> Callable[[User], Client]:
    """A browser without JavaScript, signed in as that person."""

    def client_of(user: User) -> Client:
        client = Client()
        session = client.session
        session[SESSION_KEY] = str(user.pk)
        session[BACKEND_SESSION_KEY] = "guilds.backends.DiscordBackend"
        session[HASH_SESSION_KEY] = user.get_session_auth_hash()
        session.save()
        client.cookies["guildhall_session"] = session.session_key
        return client

    return client_of


@pytest.fixture
def token_of() -> Callable[..., str]:
    """A personal access token of that person with these scopes, such as "guilds:read"; with all they have, if none."""

    def token_of(user: User, *scopes: str) -> str:
        name = f"token {PersonalAccessToken.objects.filter(user=user).count()}"
        wanted = [Scope(scope) for scope in scopes] or access_tokens.scopes_for(user)
        return access_tokens.create(user, name, wanted, access_tokens.LONGEST_LIFE)[1]

    return token_of


RECORD_MOMENTS = tuple(field.name for field in Record._meta.get_fields() if isinstance(field, DateTimeField))


def let_pass(**time: float) -> None:
    """Let time pass for everything stored: each moment moves into the past. NULL stays NULL."""
    delta = timedelta(**time)
    for model, names in (
        *((resource.model, RECORD_MOMENTS) for resource in ALL),
        (UserGuildMembership, ("first_seen_at", "changed_at")),
        (Guild, ("first_seen_at", "verified_at", "deleted_at")),
        (GuildPreference, ("last_used_at",)),
        (DiscordAccount, ("disconnected_at", "renewal_until")),
        (DiscordGate, ("until", "tat")),
        (DiscordRefusal, ("at",)),
        (PersonalAccessToken, ("created_at", "expires_at", "last_used_at")),
        (ServingMinute, ("minute",)),
    ):
        model._default_manager.update(**{name: F(name) - delta for name in names})


@pytest.fixture(name="let_pass")
def let_pass_fixture() -> Callable[..., None]:
    return let_pass


# each test for itself


# What follows from the models alone.
KEPT_TABLES = {"django_content_type", "auth_permission"}


@pytest.fixture(scope="session", autouse=True)
def permissions_stay() -> Iterator[None]:
    """Emptying the tables after a test leaves permissions and content types, which Django would make anew each time.

    That took as long as many a test itself.
    """
    with pytest.MonkeyPatch.context() as patched:
        introspection = type(connection.introspection)
        all_names = introspection.django_table_names

        def names(self: Any, *args: Any, **options: Any) -> list[str]:
            return [name for name in all_names(self, *args, **options) if name not in KEPT_TABLES]

        patched.setattr(introspection, "django_table_names", names)
        patched.setattr(flush, "emit_post_migrate_signal", lambda *args, **options: None)
        yield


@pytest.fixture(autouse=True)
def hurry(settings: Settings) -> None:
    """Retries follow at once, and a healthy Discord is waited for as long as a busy machine needs."""
    wait_for_discord(settings, give_up=6.0, soft_wait=6.0)
    settings.DISCORD_API_RETRY_DELAY_MS = 5


@pytest.fixture(autouse=True)
def nothing_remembered() -> None:
    policy._logged.clear()
    meter.forget()
    cache.clear()
    # A thread keeps the language of the last request it answered.
    translation.deactivate()


@pytest.fixture(autouse=True)
def jobs_end(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test that leaves a refresh behind waits for it, so that it writes into no other test's database."""
    yield
    end_jobs()


def end_jobs() -> None:
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
