"""Settings from the environment: an invalid value stops the start with a sentence that names the variable."""

import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpResponse
from django.middleware.security import SecurityMiddleware
from django.test import RequestFactory
from psycopg.conninfo import make_conninfo
from pytest_django import Settings

ROOT = Path(__file__).parents[2]
TOKEN_KEY = "dGVzdHMgc2VhbCB0aGVpciB0b2tlbnMgd2l0aCB0aGk="
BARE = {"PATH": os.environ["PATH"], "ENV_FILE": os.devnull, "SECRET_KEY": "s", "TOKEN_KEYS": TOKEN_KEY}


def start(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `manage.py` in a process with only these settings."""
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
        ("DISCORD_SCOPES", "guilds"),
        ("DISCORD_SCOPES", "identify bot"),
        ("DISCORD_OPTIONAL_SCOPES", "everything"),
        ("DISCORD_MEMBER_SCOPE", "always"),
        ("REQUIRED_GUILD", "Analytical Engine Club"),
        ("REQUIRED_GUILD", "0"),
        ("REQUIRED_GUILD", "11 12"),
        ("REQUIRED_GUILD", str(2**63)),
        # Without a guild.
        ("REQUIRED_ROLES", "501"),
        ("REQUIRED_GUILD_INVITE", "https://discord.gg/club"),
        ("DISCORD_CLIENT_SECRET", ""),
        ("SANDBOX", "1"),
        ("DATABASE_URL", "mongodb://localhost/guildhall"),
        ("DATABASE_URL", "postgres://guildhall:hunter2@db:54x32/guildhall"),
        ("DATABASE_URL", "postgres://guildhall:hunter2@db:70000/guildhall"),
        ("DISCORD_API_URL", "https://discord.com:api/v10"),
        ("REDIS_URL", "redis://:hunter2@cache:port/0"),
        ("REDIS_URL", "http://cache:6379"),
        ("REDIS_URL", "redis"),
        ("REDIS_URL", "localhost:6379"),
        ("PORT", "http"),
        ("PORT", "0"),
        ("SANDBOX_PORT", "70000"),
        ("SITE_URL", "localhost:8000"),
        ("SITE_URL", "https://operator:hunter2@guildhall.example"),
        ("SITE_URL", "https://guildhall.example/?page=1"),
        ("SITE_URL", "https://guildhall.example/servers"),
        ("DISCORD_PROXY_URL", "socks5://operator:hunter2@proxy:1080"),
        ("DISCORD_PROXY_URL", "proxy:3128"),
        ("SITE_URL", "https://guildhall.example#top"),
        ("SITE_URL", "https://guildhall.example:port"),
        ("TOKEN_KEYS", ","),
        ("TOKEN_KEYS", "hunter2"),
        ("TOKEN_KEYS", f"{TOKEN_KEY},hünter2"),
        ("SECRET_KEY", " "),
        ("SECRET_KEY_FALLBACKS", ","),
        ("ALLOWED_HOSTS", ","),
        ("CELERY_BROKER_URL", "amqp://guest:hunter2@queue:port//"),
        ("VAR_DIR", "/proc/guildhall"),
        ("WEB_WORKERS", "many"),
        ("LOG_FORMAT", "xml"),
        ("WEB_THREADS", "1"),
        ("DEBUG", "perhaps"),
        # Browsers don't preload a host without its subdomains.
        ("HSTS_PRELOAD", "1"),
        ("METRICS_TOKEN", "fifteen letters"),
        ("PROMETHEUS_MULTIPROC_DIR", "/nowhere"),
        ("API_THROTTLE_USER", "many"),
        ("API_THROTTLE_USER", "0/minute"),
        ("API_THROTTLE_SERVICE", "often"),
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
    assert "hunter2" not in str(caught.value)


def test_a_trailing_comma_adds_no_empty_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Anyone can sign with the empty key."""
    found = settings_of(monkeypatch, SECRET_KEY_FALLBACKS="older, ")

    assert found["SECRET_KEY_FALLBACKS"] == ["older"]


# secrets from files


def test_a_setting_can_come_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, text in {"key": "from a file\n", "database": "postgres://guildhall:pass@db/guildhall\n"}.items():
        (tmp_path / name).write_text(text)
    monkeypatch.delitem(BARE, "SECRET_KEY")

    found = settings_of(
        monkeypatch,
        SECRET_KEY_FILE=str(tmp_path / "key"),
        SECRET_KEY_FALLBACKS_FILE=str(tmp_path / "key"),
        DATABASE_URL_FILE=str(tmp_path / "database"),
    )

    assert found["SECRET_KEY"] == "from a file"
    assert found["SECRET_KEY_FALLBACKS"] == ["from a file"]
    assert found["DATABASES"]["default"]["PASSWORD"] == "pass"
    assert not found["KEYS_ARE_LOCAL"]


@pytest.mark.parametrize(
    ("content", "why"), [(None, "can't be read"), (b"", "is empty"), (b" \n", "is empty"), (b"\xff", "can't be read")]
)
def test_a_file_without_a_secret_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None, why: str
) -> None:
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(ImproperlyConfigured, match=rf"^METRICS_TOKEN_FILE is invalid: {file} {why}"):
        settings_of(monkeypatch, METRICS_TOKEN_FILE=str(file))


def test_a_secret_that_is_set_twice_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("another")

    with pytest.raises(ImproperlyConfigured, match=r"^SECRET_KEY_FILE is invalid: SECRET_KEY is set too$"):
        settings_of(monkeypatch, SECRET_KEY_FILE=str(tmp_path / "key"))


def test_error_pages_for_developers_are_refused_on_https(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"^DEBUG is invalid"):
        settings_of(monkeypatch, SITE_URL="https://guildhall.example", SANDBOX="1", DEBUG="1")


@pytest.mark.parametrize(("site", "prefix"), [("https://a.example", "__Host-"), ("http://localhost:8000", "")])
def test_under_https_only_this_host_can_set_the_sites_cookies(
    monkeypatch: pytest.MonkeyPatch, site: str, prefix: str
) -> None:
    found = settings_of(monkeypatch, SITE_URL=site, SANDBOX="1")

    for kind in ("SESSION", "CSRF", "LANGUAGE"):
        assert found[f"{kind}_COOKIE_NAME"] == f"{prefix}guildhall_{kind.lower()}"
        assert found[f"{kind}_COOKIE_SECURE"] == bool(prefix)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"SITE_URL": "http://servers.example.org"}, None),
        ({"SITE_URL": "https://servers.example.org"}, "max-age=31536000"),
        ({"HSTS_INCLUDE_SUBDOMAINS": "1"}, "max-age=31536000; includeSubDomains"),
        ({"HSTS_INCLUDE_SUBDOMAINS": "1", "HSTS_PRELOAD": "1"}, "max-age=31536000; includeSubDomains; preload"),
    ],
)
def test_hsts_says_no_more_than_the_operator(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, environment: dict[str, str], expected: str | None
) -> None:
    monkeypatch.setattr(
        os, "environ", {**BARE, "SITE_URL": "https://servers.example.org", "SANDBOX": "1", **environment}
    )
    for name, value in runpy.run_path(str(ROOT / "config" / "settings.py")).items():
        if name.startswith("SECURE_HSTS_"):
            setattr(settings, name, value)

    response = SecurityMiddleware(lambda request: HttpResponse())(RequestFactory().get("/", secure=True))

    assert response.get("Strict-Transport-Security") == expected


def test_a_wrong_value_stops_the_start() -> None:
    result = start(DISCORD_REFRESH_AT="soon")

    assert result.returncode == 1
    assert "DISCORD_REFRESH_AT" in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stderr.count("\n") == 1


def settings_of(monkeypatch: pytest.MonkeyPatch, **environment: str) -> dict[str, Any]:
    """Return the result of `config/settings.py` with only these variables."""
    monkeypatch.setattr(os, "environ", BARE | environment)
    return runpy.run_path(str(ROOT / "config" / "settings.py"))


@pytest.mark.parametrize(
    ("environment", "address"),
    [
        ({}, "http://localhost:8000"),
        ({"PORT": "8100"}, "http://localhost:8100"),
        ({"PORT": ""}, "http://localhost:8000"),
        ({"PORT": "8100", "SITE_URL": "http://127.0.0.1:8200"}, "http://127.0.0.1:8200"),
    ],
)
def test_the_address_follows_from_the_port(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], address: str
) -> None:
    assert settings_of(monkeypatch, **environment)["SITE_URL"] == address


@pytest.mark.parametrize(
    "site", ["https://guildhall.example", "http://192.168.1.2:8000", "http://localhost.evil.example"]
)
def test_the_sandbox_never_stands_in_for_discord_on_a_real_site(monkeypatch: pytest.MonkeyPatch, site: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"^DISCORD_CLIENT_ID is invalid: it is empty"):
        settings_of(monkeypatch, SITE_URL=site)

    assert settings_of(monkeypatch, SITE_URL=site, SANDBOX="1")["USES_SANDBOX"]


@pytest.mark.parametrize(
    "site", ["http://localhost:9000", "http://127.0.0.2", "http://[::1]:8000", "http://a.localhost"]
)
def test_a_clone_on_a_loopback_address_uses_the_sandbox(monkeypatch: pytest.MonkeyPatch, site: str) -> None:
    found = settings_of(monkeypatch, SITE_URL=site)

    assert found["USES_SANDBOX"]
    assert found["DISCORD_ISSUER"] == "the sandbox"


@pytest.mark.parametrize(
    ("api", "issuer"),
    [
        ("https://discord.com/api/v10", "application 7 at discord.com"),
        ("http://user:secret@localhost:9/api/v10", "application 7 at localhost:9"),
    ],
)
def test_an_issuer_is_an_application_at_an_api(monkeypatch: pytest.MonkeyPatch, api: str, issuer: str) -> None:
    found = settings_of(monkeypatch, DISCORD_CLIENT_ID="7", DISCORD_CLIENT_SECRET="s", DISCORD_API_URL=api)

    assert found["DISCORD_ISSUER"] == issuer


def test_a_site_for_one_server_reads_its_ids_and_invitation(monkeypatch: pytest.MonkeyPatch) -> None:
    invite = "https://discord.gg/club"
    found = settings_of(monkeypatch, REQUIRED_GUILD="11", REQUIRED_ROLES="501, 502", REQUIRED_GUILD_INVITE=invite)

    assert (found["REQUIRED_GUILD"], found["REQUIRED_ROLES"]) == (11, {501, 502})
    assert found["REQUIRED_GUILD_INVITE"] == invite
    assert settings_of(monkeypatch)["REQUIRED_GUILD"] is None


@pytest.mark.parametrize(
    "environment",
    [
        {"REQUIRED_GUILD_INVITE": "https://discord.gg.evil.example/club"},
        {"REQUIRED_GUILD_INVITE": "javascript:alert(1)//discord.gg/club"},
        {"REQUIRED_ROLES": "Staff"},
        {"DISCORD_CLIENT_ID": "7", "DISCORD_CLIENT_SECRET": "s", "DISCORD_MEMBER_SCOPE": "never"},
    ],
)
def test_a_site_for_one_server_refuses_what_would_lock_everyone_out(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"^REQUIRED_\w+ is invalid: "):
        settings_of(monkeypatch, REQUIRED_GUILD="11", **environment)


def test_a_production_with_the_sandbox_and_local_keys_is_warned(tmp_path: Path) -> None:
    result = start("check", "--deploy", SECRET_KEY="", TOKEN_KEYS="", VAR_DIR=str(tmp_path))

    assert "accounts.W001" in result.stderr
    assert "accounts.W002" in result.stderr


def test_a_database_that_falls_silent_is_given_up_after_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    def options(url: str) -> dict[str, Any]:
        found: dict[str, Any] = settings_of(monkeypatch, DATABASE_URL=url)["DATABASES"]["default"]["OPTIONS"]
        return {name: value for name, value in found.items() if name not in ("pool", "options")}

    usual = options("postgres://guildhall@10.0.0.9/guildhall")
    own = options("postgres://guildhall@10.0.0.9/guildhall?tcp_user_timeout=30000")

    assert usual == {
        "connect_timeout": 5,
        "tcp_user_timeout": 5000,
        "keepalives_idle": 5,
        "keepalives_interval": 1,
    }
    assert {**usual, "tcp_user_timeout": "30000"} == {**own, "tcp_user_timeout": str(own["tcp_user_timeout"])}
    # libpq knows all of them.
    assert make_conninfo("", **usual)
