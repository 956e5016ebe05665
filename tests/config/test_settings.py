"""The environment's values: a wrong one stops the start with a sentence that names it."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

ROOT = Path(__file__).parents[2]
BARE = {"PATH": os.environ["PATH"], "ENV_FILE": os.devnull, "SECRET_KEY": "s", "TOKEN_KEYS": "a"}


def start(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`manage.py` as its own process, with nothing but these settings."""
    return subprocess.run(
        [sys.executable, "manage.py", *(command or ("version",))],
        cwd=ROOT,
        env=BARE | environment,
        capture_output=True,
        text=True,
        timeout=30,
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DISCORD_GUILD_CACHE_FRESH_MINUTES", "an hour"),
        ("DISCORD_GUILD_CACHE_FRESH_MINUTES", "0"),
        ("DISCORD_GUILD_CACHE_STALE_HOURS", "-1"),
        # Shorter than fresh.
        ("DISCORD_GUILD_CACHE_STALE_HOURS", "1"),
        ("DISCORD_API_MAX_RETRIES", "99"),
        ("DISCORD_REFRESH_AT", "1.5"),
        ("DISCORD_REFRESH_WAIT_MS", "20000"),
        ("DISCORD_REQUEST_TIMEOUT_MS", "20000"),
        ("DISCORD_BRAKE_HARD", "400"),
        ("DISCORD_API_URL", "discord.com/api"),
        ("DISCORD_BOT_PERMISSIONS", "everything"),
        ("DISCORD_CLIENT_SECRET", ""),
        ("DATABASE_URL", "mongodb://localhost/guildhall"),
        ("SITE_URL", "localhost:8000"),
        ("LOG_FORMAT", "xml"),
        ("WEB_THREADS", "1"),
        ("DEBUG", "perhaps"),
        ("METRICS_TOKEN", "fifteen letters"),
        ("PROMETHEUS_MULTIPROC_DIR", "/nowhere"),
        ("API_THROTTLE_USER", "many"),
        ("API_THROTTLE_USER", "0/minute"),
        ("API_THROTTLE_ADDRESS", "60/fortnight"),
        ("CORS_ORIGINS", "*"),
        ("CORS_ORIGINS", "https://app.example.org/"),
        ("CORS_ORIGINS", "https://app.example.org,app.example.org"),
    ],
)
def test_a_wrong_value_is_named_in_one_sentence(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    environment = {**BARE, "DISCORD_CLIENT_ID": "1", "DISCORD_CLIENT_SECRET": "1"}
    environment |= {"DISCORD_GUILD_CACHE_FRESH_MINUTES": "120", name: value}
    monkeypatch.setattr(os, "environ", environment)

    with pytest.raises(ImproperlyConfigured) as caught:
        runpy.run_path(str(ROOT / "config" / "settings.py"))

    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_wrong_value_stops_the_start() -> None:
    result = start(DISCORD_REFRESH_AT="soon")

    assert result.returncode == 1
    assert "DISCORD_REFRESH_AT" in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_token_key_that_is_none_is_found_by_the_checks() -> None:
    result = start("check", TOKEN_KEYS="not a key")

    assert result.returncode == 1
    assert "accounts.E001" in result.stderr


def test_a_production_with_the_sandbox_and_local_keys_is_warned() -> None:
    result = start("check", "--deploy", SECRET_KEY="", TOKEN_KEYS="")

    assert "accounts.W001" in result.stderr
    assert "accounts.W002" in result.stderr
