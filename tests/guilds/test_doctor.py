"""The doctor: each misconfiguration, made at the sandbox or in the settings, is named with what to do."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.apps import apps
from django.core.management import call_command
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from pytest_django import Settings

from accounts import service_tokens
from accounts.clock import database_now
from accounts.models import DiscordGate, User
from guilds.management.commands.doctor import as_lines
from guilds.operations.doctor import discord, site
from guilds.operations.doctor.examination import CHECKS, Check, examine
from guilds.operations.doctor.findings import Finding, Level, exit_code
from tests.fixtures import Sandbox

ROOT = Path(__file__).parents[2]
SIGN_IN = "http://localhost:8000/complete/discord/"
BOT_ADDED = "http://localhost:8000/servers/bot-added/"
PUBLIC = {"SITE_URL": "https://servers.example.org", "USES_SANDBOX": False, "BEHIND_TLS_PROXY": True}
pytestmark = pytest.mark.usefixtures("sandbox", "transactional_db")


@dataclass(frozen=True)
class World:
    """What a case can break."""

    settings: Settings
    sandbox: Sandbox
    sign_up: Callable[..., User]
    client_of: Callable[..., Any]
    monkeypatch: pytest.MonkeyPatch

    def sets(self, **values: Any) -> None:
        for name, value in values.items():
            setattr(self.settings, name, value)

    def turns_clock(self, module: Any, seconds: float) -> None:
        """This machine's clock, as `module` reads it."""
        clock = SimpleNamespace(time=lambda: time.time() + seconds, monotonic=time.monotonic)
        self.monkeypatch.setattr(module, "time", clock)


@pytest.fixture
def world(
    settings: Settings,
    sandbox: Sandbox,
    sign_up: Callable[..., User],
    client_of: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[World]:
    applied = set(MigrationRecorder(connection).applied_migrations())
    yield World(settings, sandbox, sign_up, client_of, monkeypatch)
    recorder = MigrationRecorder(connection)
    now = set(recorder.applied_migrations())
    for app, name in applied - now:
        recorder.record_applied(app, name)
    for app, name in now - applied:
        recorder.record_unapplied(app, name)


def found_by(check: str) -> list[Finding]:
    ((_, found),) = examine(each for each in CHECKS if each.name == check)
    return found


def install(permissions: str = "0", scopes: tuple[str, ...] = ("bot", "applications.commands")) -> dict[str, Any]:
    return {"0": {"oauth2_install_params": {"scopes": list(scopes), "permissions": permissions}}}


def latest_migration() -> tuple[str, str]:
    ((app, name),) = MigrationLoader(None).graph.leaf_nodes("guilds")
    return app, name


def lose_tokens(world: World) -> None:
    world.sign_up("ada")
    world.sets(TOKEN_KEYS=[Fernet.generate_key().decode()])


def lose_sessions(world: World) -> None:
    world.client_of(world.sign_up("ada"))
    world.sets(SECRET_KEY="another secret key", SECRET_KEY_FALLBACKS=[])


def rotate(world: World) -> None:
    world.sign_up("ada")
    world.sets(TOKEN_KEYS=[Fernet.generate_key().decode(), *world.settings.TOKEN_KEYS])


def needs_more_than_the_link_gives(world: World) -> None:
    world.sandbox.application(integration_types_config=install("3072"))
    config = apps.get_app_config("guilds")
    world.monkeypatch.setattr(config, "bot_permissions", ("read_message_history",), raising=False)


def shut_gate(world: World) -> None:
    now = database_now()
    DiscordGate.objects.update_or_create(
        pk=1,
        defaults={
            "until": now + timedelta(minutes=5),
            "reason": "cloudflare",
            "streak": 1,
            "issuer": world.settings.DISCORD_ISSUER,
        },
    )


Case = tuple[str, Callable[[World], object], Level, str, str]
CASES: dict[str, Case] = {
    "debug": (
        "settings",
        lambda world: world.sets(**PUBLIC, DEBUG=True),
        Level.WARNING,
        "You should not have DEBUG set to True in deployment.",
        "",
    ),
    "sandbox in production": (
        "settings",
        lambda world: world.sets(**PUBLIC | {"USES_SANDBOX": True}),
        Level.WARNING,
        "The site signs people in with the sandbox, where anyone can sign in as anyone.",
        "Set DISCORD_CLIENT_ID",
    ),
    "loopback API": (
        "settings",
        lambda world: world.sets(**PUBLIC),
        Level.WARNING,
        "DISCORD_API_URL leads to this machine and not to Discord.",
        "Unset DISCORD_API_URL",
    ),
    "no TLS proxy": (
        "settings",
        lambda world: world.sets(**PUBLIC | {"BEHIND_TLS_PROXY": False}),
        Level.ERROR,
        "SITE_URL is https and BEHIND_TLS_PROXY is off",
        "Set BEHIND_TLS_PROXY=1",
    ),
    "TLS proxy without TLS": (
        "settings",
        lambda world: world.sets(SITE_URL="http://servers.example.org", BEHIND_TLS_PROXY=True),
        Level.WARNING,
        "BEHIND_TLS_PROXY is on and SITE_URL is http",
        "Write https in SITE_URL",
    ),
    "migration missing": (
        "database",
        lambda world: MigrationRecorder(connection).record_unapplied(*latest_migration()),
        Level.ERROR,
        "Migrations have not been applied in guilds.",
        "Run ./run manage migrate.",
    ),
    "newer database": (
        "database",
        lambda world: MigrationRecorder(connection).record_applied("guilds", "9999_later"),
        Level.ERROR,
        "The database is from a newer version: it has guilds.9999_later",
        "Update the code.",
    ),
    "Redis": (
        "redis",
        lambda world: world.sets(REDIS_URL="redis://:sesame@127.0.0.1:1/0"),
        Level.WARNING,
        "Redis doesn't answer at 127.0.0.1:1 (ConnectionError)",
        "Start Redis, or correct REDIS_URL.",
    ),
    "broker": (
        "broker",
        lambda world: world.sets(CELERY_BROKER_URL="amqp://site:sesame@127.0.0.1:1//"),
        Level.ERROR,
        "Celery's broker doesn't answer at 127.0.0.1:1 (",
        "Start the broker, or correct CELERY_BROKER_URL.",
    ),
    "database's clock": (
        "clocks",
        lambda world: world.turns_clock(site, -62),
        Level.WARNING,
        f"{connection.display_name}'s clock is 62 s ahead of this machine's.",
        "Synchronize the machines' clocks by NTP",
    ),
    "token keys": (
        "keys",
        lose_tokens,
        Level.ERROR,
        "TOKEN_KEYS can't decrypt the Discord tokens of 1 of the latest 1 people.",
        "Restore the keys that encrypted them",
    ),
    "secret key": (
        "keys",
        lose_sessions,
        Level.WARNING,
        "Neither SECRET_KEY nor SECRET_KEY_FALLBACKS signed 1 of the latest 1 sessions.",
        "Add the previous key to SECRET_KEY_FALLBACKS",
    ),
    "rotation": (
        "keys",
        rotate,
        Level.NOTE,
        "Older keys still protect 1 rows.",
        "run `./run manage keys --reseal`",
    ),
    "another application's database": (
        "keys",
        lambda world: DiscordGate.objects.update_or_create(pk=1, defaults={"issuer": "application 1 at discord.com"}),
        Level.ERROR,
        "The tokens and lists in this database are from application 1 at discord.com, but the settings point to",
        "change_issuer",
    ),
    "no snowflake": (
        "discord",
        lambda world: world.sets(USES_SANDBOX=False, DISCORD_CLIENT_ID="guildhall"),
        Level.ERROR,
        "DISCORD_CLIENT_ID is not one of Discord's ids",
        "Copy the application id from the General Information page",
    ),
    "client secret": (
        "discord",
        lambda world: world.sets(DISCORD_CLIENT_SECRET="sesame"),
        Level.ERROR,
        "Discord refuses DISCORD_CLIENT_ID or DISCORD_CLIENT_SECRET.",
        "Copy it again",
    ),
    "bot token": (
        "discord",
        lambda world: world.sets(DISCORD_BOT_TOKEN="sesame"),
        Level.ERROR,
        "Discord refuses DISCORD_BOT_TOKEN.",
        "Copy it again",
    ),
    "another bot": (
        "discord",
        lambda world: world.sandbox.application(bot_application_id="41771983423143936"),
        Level.ERROR,
        "DISCORD_BOT_TOKEN belongs to the application 41771983423143936, and DISCORD_CLIENT_ID to 1041022600642236426.",
        "Copy the token from the Bot page of the application 1041022600642236426",
    ),
    "sign-in URL": (
        "discord",
        lambda world: world.sandbox.application(redirect_uris=[SIGN_IN.removesuffix("/"), BOT_ADDED]),
        Level.ERROR,
        f"The application lacks redirect URLs of this site: it has {SIGN_IN.removesuffix('/')}, {BOT_ADDED}.",
        f"exactly as written here: {SIGN_IN}",
    ),
    "URL after adding the bot": (
        "discord",
        lambda world: world.sandbox.application(redirect_uris=[SIGN_IN]),
        Level.ERROR,
        f"The application lacks redirect URLs of this site: it has {SIGN_IN}.",
        f"exactly as written here: {BOT_ADDED}",
    ),
    "no URL": (
        "discord",
        lambda world: world.sandbox.application(redirect_uris=[]),
        Level.ERROR,
        "The application lacks redirect URLs of this site: it has none.",
        f"exactly as written here: {SIGN_IN}, {BOT_ADDED}",
    ),
    "no bot token": (
        "discord",
        lambda world: world.sets(DISCORD_BOT_TOKEN=""),
        Level.NOTE,
        "Only a bot token of this application can show which redirect URLs are registered.",
        f"{discord.PORTAL}: {SIGN_IN}",
    ),
    "code grant": (
        "discord",
        lambda world: world.sandbox.application(bot_require_code_grant=True),
        Level.ERROR,
        'has "Requires OAuth2 Code Grant" on, so its bot joins no server that people add it to.',
        "Turn it off on the Bot page",
    ),
    "private bot": (
        "discord",
        lambda world: world.sandbox.application(bot_public=False),
        Level.WARNING,
        'has "Public Bot" off, so only its owner can add the bot to servers.',
        "Turn it on on the Bot page",
    ),
    "other permissions": (
        "discord",
        needs_more_than_the_link_gives,
        Level.WARNING,
        "other permissions (3072) than this site (68608); they differ in read_message_history.",
        "Choose the same permissions on the Installation page",
    ),
    "the site's permissions": (
        "discord",
        lambda world: world.sets(DISCORD_BOT_PERMISSIONS=8),
        Level.WARNING,
        "other permissions (0) than this site (8); they differ in administrator.",
        "Unset DISCORD_BOT_PERMISSIONS, or choose the same permissions on the Installation page",
    ),
    "no bot in the link": (
        "discord",
        lambda world: world.sandbox.application(integration_types_config=install(scopes=("applications.commands",))),
        Level.WARNING,
        "The application's install link doesn't add its bot.",
        'Add the scope "bot" on the Installation page',
    ),
    "no install settings": (
        "discord",
        lambda world: world.sandbox.application(integration_types_config={"0": {}}),
        Level.NOTE,
        "The application has no default install settings",
        "under Default Install Settings on the Installation page",
    ),
    "people only": (
        "discord",
        lambda world: world.sandbox.application(integration_types_config={"1": {}}),
        Level.ERROR,
        "The application can't be installed to servers.",
        "Turn on Guild Install on the Installation page",
    ),
    "webhook events": (
        "discord",
        lambda world: world.sandbox.application(event_webhooks_status=3),
        Level.WARNING,
        "Discord has switched off the application's webhook events",
        "save the Webhooks page",
    ),
    "no intents": (
        "discord",
        lambda world: world.sandbox.application(flags=0),
        Level.NOTE,
        "Of the privileged intents, the application has none; this site needs none.",
        "",
    ),
    "no intent for the bot that reports": (
        "discord",
        lambda world: service_tokens.create("bot", ["bot:events"], by="a test"),
        Level.WARNING,
        "A bot has a token to report events, but Discord won't tell it who joins and leaves servers.",
        "Turn on Server Members Intent on the Bot page",
    ),
    "intents": (
        "discord",
        lambda world: world.sandbox.application(flags=1 << 15 | 1 << 18),
        Level.NOTE,
        "Of the privileged intents, the application has Server Members, Message Content;",
        "",
    ),
    "Discord's clock": (
        "discord",
        lambda world: world.turns_clock(discord, 600),
        Level.WARNING,
        "s behind this machine's.",
        "Synchronize the machines' clocks by NTP",
    ),
    "outage": (
        "discord",
        lambda world: world.sandbox.mood("outage"),
        Level.ERROR,
        "POST /oauth2/token: Discord did not respond (status 503",
        "Try again later",
    ),
    "proxy": (
        "discord",
        lambda world: world.sets(DISCORD_PROXY_URL="http://operator:sesame@127.0.0.1:1"),
        Level.ERROR,
        "POST /oauth2/token: Discord did not respond: the connection failed",
        "check the proxy of DISCORD_PROXY_URL",
    ),
    "silence": (
        "discord",
        lambda world: world.sandbox.mood("timeout"),
        Level.ERROR,
        "POST /oauth2/token: Discord did not respond",
        "Try again later",
    ),
    "garbage": (
        "discord",
        lambda world: world.sandbox.mood("garbage"),
        Level.ERROR,
        "POST /oauth2/token: Discord sent an unexpected reply",
        "Try again later",
    ),
    "rate limit": (
        "discord",
        lambda world: world.sandbox.mood("rate_limited", retry_after=60, routes=["/applications/@me"]),
        Level.ERROR,
        "GET /applications/@me: Discord is rate-limiting us",
        "Try again later",
    ),
    "gate": (
        "discord",
        shut_gate,
        Level.WARNING,
        "Discord was not asked, because the site may send it nothing now (cloudflare).",
        "discord_status",
    ),
}


@pytest.mark.parametrize(("check", "breaks", "level", "sentence", "advice"), CASES.values(), ids=CASES)
def test_each_misconfiguration_is_named(
    world: World, check: str, breaks: Callable[[World], object], level: Level, sentence: str, advice: str
) -> None:
    breaks(world)

    found = found_by(check)

    named = [finding for finding in found if sentence in finding.sentence]
    assert [finding.level for finding in named] == [level], found
    assert advice in named[0].advice
    assert "sesame" not in str(found)


def test_each_sentence_is_about_what_is_broken(world: World) -> None:
    """Without the misconfiguration, no case's sentence appears; the notes describe what is there anyway."""
    told = [finding.sentence for check in CHECKS for finding in found_by(check.name)]

    there = [name for name, case in CASES.items() if any(case[3] in sentence for sentence in told)]
    assert there == ["no intents"]


def run(*arguments: str) -> tuple[str, int]:
    out, code = StringIO(), 0
    try:
        call_command("doctor", *arguments, stdout=out)
    except SystemExit as ended:
        code = int(ended.code or 0)
    return out.getvalue(), code


def test_a_clone_is_fine(sandbox: Sandbox) -> None:
    sandbox.forget_requests()
    text, code = run()

    assert text.endswith("Everything is fine.\n"), text
    assert code == 0
    assert [line.split()[0] for line in text.splitlines() if "  ok  " in line][:2] == ["database", "clocks"]
    assert len(sandbox.requests("")) == 3


def test_what_could_not_be_checked_is_not_called_fine(sandbox: Sandbox, settings: Settings) -> None:
    settings.DISCORD_BOT_TOKEN = ""

    text, code = run()

    assert "→ Compare them on the OAuth2 page" in text
    assert text.endswith("Found no error or warning, and 1 note with advice.\n"), text
    assert code == 0


def test_the_intent_that_the_reporting_bot_needs_is_no_warning(sandbox: Sandbox) -> None:
    service_tokens.create("bot", ["bot:events"], by="a test")
    sandbox.application(flags=1 << 15)

    assert {finding.level for finding in found_by("discord")} == {Level.OK, Level.NOTE}


def test_the_exit_code_is_that_of_the_worst_finding(sandbox: Sandbox) -> None:
    sandbox.application(bot_public=False)
    warned = run()
    sandbox.application(redirect_uris=[])
    failed = run("--json")

    assert (warned[0].splitlines()[-1], warned[1]) == ("Found 1 warning.", 1)
    told = json.loads(failed[0])
    assert failed[1] == told["exit_code"] == 2
    assert {(row["check"], row["level"]) for row in told["findings"] if row["level"] in ("warning", "error")} == {
        ("discord", "warning"),
        ("discord", "error"),
    }


def test_a_lost_database_is_a_finding(tmp_path: Path, sandbox: Sandbox) -> None:
    settings = {
        "DATABASE_URL": "postgres://guildhall:sesame@127.0.0.1:1/site",
        "VAR_DIR": str(tmp_path),
        "ENV_FILE": os.devnull,
        "SECRET_KEY": "k" * 64,
        "TOKEN_KEYS": Fernet.generate_key().decode(),
        "DISCORD_API_URL": f"{sandbox.url}/api/v10",
    }
    done = subprocess.run(
        [sys.executable, "manage.py", "doctor", "--json"],
        cwd=ROOT,
        env={**os.environ, **settings, "DJANGO_SETTINGS_MODULE": "config.settings"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 2, done.stderr
    told = {row["check"]: row for row in json.loads(done.stdout)["findings"]}
    assert told["database"]["sentence"].startswith("The database can't be used: ")
    assert told["discord"]["sentence"] == "The check 'discord' was skipped, because it needs the database."
    assert "sesame" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_a_check_that_hangs_or_fails_is_a_finding() -> None:
    def fail() -> list[Finding]:
        raise ValueError("sesame")

    def hang() -> list[Finding]:
        threading.Event().wait(30)
        return []

    found = dict(examine([Check("slow", hang, 0.05), Check("broken", fail, 5)]))

    assert [finding.sentence for finding in found["slow"]] == ["The check 'slow' did not end within 0.05 s."]
    assert [finding.sentence for finding in found["broken"]] == ["The check 'broken' failed with ValueError."]
    assert exit_code(finding for each in found.values() for finding in each) == 2


def test_the_guide_to_the_portal_shows_what_the_doctor_prints_and_the_urls_to_paste() -> None:
    guide = (ROOT / "docs" / "discord.md").read_text()

    printed = "\n".join(as_lines("discord", found_by("discord")))

    assert f"```\n{printed}\n" in guide
    assert [url for url in discord.needed_redirect_urls() if f"| `{url}` |" not in guide] == []
