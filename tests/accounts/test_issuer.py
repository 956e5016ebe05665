"""A database remembers the issuer of its tokens, and nothing is sent to another Discord."""

from collections.abc import Callable
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from accounts import gate
from accounts.models import DiscordAccount, DiscordGate, User
from guilds import services
from guilds.models import BotGuild, UserGuildMembership
from tests.fixtures import Sandbox
from tests.guilds.rows import sync_bot_guilds

WithList = Callable[..., User]


@pytest.fixture
def moved(with_list: WithList, sandbox: Sandbox, settings: Settings) -> User:
    """A person with a stale list, after the settings changed to another Discord."""
    sync_bot_guilds()
    user = with_list(hours=2)
    settings.DISCORD_ISSUER = "application 1 at discord.com"
    return user


def test_no_token_and_no_bot_request_reaches_another_discord(moved: User, sandbox: Sandbox) -> None:
    with pytest.raises(CommandError, match="from the sandbox, but the settings point to application 1"):
        call_command("sync_bot_guilds")
    with pytest.raises(CommandError, match="change_issuer"):
        call_command("refresh_due_lists", "--once")

    guild_list = services.get_guild_list(moved)

    assert (guild_list.freshness, guild_list.reason) == ("stale", "misconfigured")
    assert sandbox.requests() == []
    assert DiscordAccount.objects.get().disconnected_at is None
    assert not BotGuild.objects.exclude(deleted_at=None).exists()


def test_it_heals_with_the_settings(moved: User, settings: Settings) -> None:
    services.get_guild_list(moved)
    settings.DISCORD_ISSUER = "the sandbox"

    assert gate.foreign_issuer() is None
    assert gate.closed(gate.Priority.COLD) is None


def test_the_status_names_it_first(moved: User) -> None:
    out = StringIO()

    with pytest.raises(SystemExit) as ended:
        call_command("discord_status", stdout=out)

    assert ended.value.code == 2
    assert out.getvalue().startswith("The tokens and lists in this database are from the sandbox")


def test_a_change_can_be_accepted_by_forgetting(moved: User) -> None:
    out = StringIO()

    call_command("change_issuer", "--forget", stdout=out)

    assert "People who have to sign in again: 1." in out.getvalue()
    assert gate.foreign_issuer() is None
    assert not UserGuildMembership.objects.exists()
    assert not BotGuild.objects.exists()
    assert DiscordAccount.objects.get().extra_data == {}
    with pytest.raises(services.NoAnswer, match="reconnect_required"):
        services.get_guild_list(moved)


def test_the_same_application_at_another_address_keeps_everything(moved: User) -> None:
    before = DiscordAccount.objects.get().extra_data

    call_command("change_issuer", "--keep", stdout=StringIO())

    assert gate.foreign_issuer() is None
    assert DiscordAccount.objects.get().extra_data == before
    assert services.get_guild_list(moved).freshness == "fresh"


@pytest.mark.django_db
def test_a_database_of_the_previous_release_is_bound_by_the_first_request() -> None:
    gate.read()
    DiscordGate.objects.update(issuer="")

    gate.change(lambda state, now: state.admit(gate.Priority.COLD, now, rate=20, lease=gate.attempt_lease()))

    assert DiscordGate.objects.get().issuer == "the sandbox"
