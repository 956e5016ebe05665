"""All settings of the site, read from the environment and `.env`; a fresh clone needs neither.

An invalid value stops the start with `ImproperlyConfigured`, in a sentence that names the variable.
"""

import os
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import dj_database_url
import django_stubs_ext
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured
from environs import EnvError, FileAwareEnv
from marshmallow.validate import OneOf, Range, Regexp

from accounts import snowflakes
from accounts.hosts import is_loopback
from accounts.scopes import IDENTIFY, MEMBER, SCOPES
from config import mysite
from config.caches import cache_settings
from config.keys import close_to_others, is_fernet_key, local_keys, private_folder
from config.logging import logging_config

# Lets classes be written as type checkers want them, such as `ModelForm[WelcomeMessage]`.
django_stubs_ext.monkeypatch()

BASE_DIR = Path(__file__).resolve().parent.parent

env = FileAwareEnv(strip_whitespace=True)
env.read_env(env.str("ENV_FILE", str(BASE_DIR / ".env")), recurse=False)
# The folder the site writes to: database, keys and collected static files.
VAR_DIR = Path(env.str("VAR_DIR", str(BASE_DIR / "var"))).resolve()


T = TypeVar("T")
# The names of the variables read so far.
_read: set[str] = set()


def read(parse: Callable[..., T], name: str, default: Any = None, **options: Any) -> T:
    """Read a variable with one of environs' methods, or from the file that the variable `NAME_FILE` names.

    Raises `ImproperlyConfigured` if the value is invalid.
    """
    _read.add(name)
    if file := os.environ.get(f"{name}_FILE"):
        check_file(name, file)
    try:
        return parse(name, default, **options)
    except EnvError as error:
        raise ImproperlyConfigured(str(error).replace('"', "").replace("Environment variable ", "")) from None


def check_file(name: str, file: str) -> None:
    """Raise `ImproperlyConfigured` if a value can't be read from this file, or is set elsewhere too."""
    try:
        text = Path(file).read_text()
    except (OSError, ValueError) as error:
        raise wrong(f"{name}_FILE", f"{file} can't be read ({type(error).__name__})") from None
    if not text.strip():
        raise wrong(f"{name}_FILE", f"{file} is empty")
    if os.environ.get(name):
        raise wrong(f"{name}_FILE", f"{name} is set too")


def url(name: str, default: str, *schemes: str, needs_host: bool = True) -> str:
    """Read a URL, with one of `schemes` if there are any; it may be empty only if `default` is.

    Errors never quote it, as it may hold a password.
    """
    value = read(env.str, name, default)
    if not value and not default:
        return value
    try:
        parts = urlsplit(value)
        # sqlite://:memory: has no valid port.
        if parts.scheme != "sqlite" and parts.port == 0:
            raise ValueError
    except ValueError:
        raise wrong(name, "it is not a URL, or its port is not a number from 1 to 65535") from None
    if (schemes and parts.scheme not in schemes) or (needs_host and not parts.hostname):
        raise wrong(name, f"it must be an absolute URL that begins with {' or '.join(f'{s}://' for s in schemes)}")
    return value


def entries(name: str, default: list[str]) -> list[str]:
    """The entries of a comma-separated list. None is empty: an empty key would open what anyone has signed."""
    found = [entry.strip() for entry in read(env.list, name, default)]
    if found and not any(found):
        raise wrong(name, "it holds only commas")
    return [entry for entry in found if entry]


def number(name: str, default: int, *, least: int = 0, most: int | None = None) -> int:
    """Read an integer from `least` to `most`."""
    return read(env.int, name, default, validate=Range(min=least, max=most))


def port(name: str, default: int) -> int:
    """Read a port; an empty value is the default."""
    text = read(env.str, name, "") or str(default)
    if not re.fullmatch("[0-9]{1,5}", text) or not 1 <= int(text) <= 65535:
        raise wrong(name, f"{text} is not a port (1 to 65535)")
    return int(text)


def wrong(name: str, why: str) -> ImproperlyConfigured:
    """Return the error for an invalid value; `why` is a clause such as "it is empty"."""
    return ImproperlyConfigured(f"{name} is invalid: {why}")


# Site
# Its folder is joined at the end.
MYSITE = read(env.bool, "MYSITE", True) and mysite.FOLDER.is_dir()
SITE_NAME = "Guildhall"
# Where `./run` lets the site listen, which is also its address unless SITE_URL says otherwise.
PORT = port("PORT", 8000)
SITE_URL = url("SITE_URL", f"http://localhost:{PORT}", "http", "https").rstrip("/")
_site = urlsplit(SITE_URL)
if _site.path:
    raise wrong(
        "SITE_URL", f"a site needs a host of its own, such as https://servers.example.org, without {_site.path}"
    )
if "@" in _site.netloc or "?" in SITE_URL or "#" in SITE_URL:
    raise wrong("SITE_URL", "it must be a scheme, a host and optionally a port, such as https://servers.example.org")
DEBUG = read(env.bool, "DEBUG", False)
if DEBUG and _site.scheme == "https":
    raise wrong("DEBUG", "it is on while SITE_URL is https, and its error pages would expose internals to visitors")
# A clone is also reachable by the loopback names; a production site only by its SITE_URL.
_loopback = ["localhost", "127.0.0.1", "[::1]"]
ALLOWED_HOSTS = entries("ALLOWED_HOSTS", [str(_site.hostname), *(_loopback if _site.scheme == "http" else [])])
WEB_WORKERS = number("WEB_WORKERS", 1, least=1, most=64)
WEB_THREADS = number("WEB_THREADS", 16, least=2, most=512)
# The site accepts only small forms and JSON; the server refuses a larger body before reading it.
DATA_UPLOAD_MAX_MEMORY_SIZE = 64 * 1024

# Discord
DISCORD_CLIENT_ID = read(env.str, "DISCORD_CLIENT_ID", "")
# At the sandbox anyone can sign in as anyone, so a missing setting must not make a production site use it.
USES_SANDBOX = read(env.bool, "SANDBOX", not DISCORD_CLIENT_ID and is_loopback(_site.hostname))
if USES_SANDBOX and DISCORD_CLIENT_ID:
    raise wrong("SANDBOX", "it is on while DISCORD_CLIENT_ID is set")
if not USES_SANDBOX and not DISCORD_CLIENT_ID:
    raise wrong(
        "DISCORD_CLIENT_ID", "it is empty; set it, or set SANDBOX=1 to let anyone sign in as anyone at the sandbox"
    )
EXAMPLES = read(env.bool, "EXAMPLES", False)
SANDBOX_PORT = port("SANDBOX_PORT", 8001)
SANDBOX_URL = f"http://localhost:{SANDBOX_PORT}"
if USES_SANDBOX:
    DISCORD_CLIENT_ID = "guildhall"


def _sandbox_or(sandbox: str, discord: str) -> str:
    return sandbox if USES_SANDBOX else discord


DISCORD_CLIENT_SECRET = read(env.str, "DISCORD_CLIENT_SECRET", _sandbox_or("sandbox", ""))
DISCORD_BOT_TOKEN = read(env.str, "DISCORD_BOT_TOKEN", _sandbox_or("sandbox-bot", ""))


def _scopes(name: str, default: str) -> list[str]:
    scopes: list[str] = read(env.str, name, default).replace(",", " ").split()
    if unknown := set(scopes) - SCOPES.keys():
        raise wrong(name, f"it can only hold {', '.join(SCOPES)}, and not {', '.join(sorted(unknown))}")
    return scopes


DISCORD_SCOPES = _scopes("DISCORD_SCOPES", "identify guilds")
if IDENTIFY not in DISCORD_SCOPES:
    raise wrong("DISCORD_SCOPES", f"{IDENTIFY} is missing, which every sign-in needs")
DISCORD_OPTIONAL_SCOPES = _scopes("DISCORD_OPTIONAL_SCOPES", "")
DISCORD_MEMBER_SCOPE = read(
    env.str, "DISCORD_MEMBER_SCOPE", "when_needed", validate=OneOf(["when_needed", "at_sign_in", "never"])
)
if DISCORD_MEMBER_SCOPE == "never" and MEMBER in (*DISCORD_SCOPES, *DISCORD_OPTIONAL_SCOPES):
    raise wrong("DISCORD_MEMBER_SCOPE", f"it is never while another setting requests {MEMBER}")
# Without it, those of the application's install link.
DISCORD_BOT_PERMISSIONS = read(env.int, "DISCORD_BOT_PERMISSIONS", None, validate=Range(min=0, max=2**63 - 1))


def _discord_ids(name: str) -> list[int]:
    """Read Discord's ids, separated by commas or spaces."""
    found: list[str] = read(env.str, name, "").replace(",", " ").split()
    for text in found:
        if not snowflakes.parse(text):
            raise wrong(name, f"'{text}' is not one of Discord's ids, such as 41771983423143936; names can change")
    return [int(text) for text in found]


# The whole site
_required_guilds = _discord_ids("REQUIRED_GUILD")
if len(_required_guilds) > 1:
    raise wrong("REQUIRED_GUILD", "it can only hold one id")
REQUIRED_GUILD = _required_guilds[0] if _required_guilds else None
REQUIRED_ROLES = frozenset(_discord_ids("REQUIRED_ROLES"))
REQUIRED_GUILD_INVITE = read(env.str, "REQUIRED_GUILD_INVITE", "")
if REQUIRED_GUILD is None:
    for _name in ("REQUIRED_ROLES", "REQUIRED_GUILD_INVITE"):
        if globals()[_name]:
            raise wrong(_name, "REQUIRED_GUILD, the id of its server, is not set")
elif DISCORD_MEMBER_SCOPE == "never" and not DISCORD_BOT_TOKEN:
    raise wrong("REQUIRED_GUILD", "members are unknown without DISCORD_BOT_TOKEN and with DISCORD_MEMBER_SCOPE=never")
if REQUIRED_GUILD_INVITE and not re.fullmatch(
    r"https://(discord\.gg|(www\.)?discord\.com/invite)/[A-Za-z0-9-]{2,64}", REQUIRED_GUILD_INVITE
):
    raise wrong("REQUIRED_GUILD_INVITE", "it must be an invitation by Discord, such as https://discord.gg/abc123")


def _discord_url(name: str, sandbox: str, discord: str) -> str:
    return url(name, SANDBOX_URL + sandbox if USES_SANDBOX else discord, "http", "https")


DISCORD_API_URL = _discord_url("DISCORD_API_URL", "/api/v10", "https://discord.com/api/v10")
DISCORD_AUTHORIZE_URL = _discord_url(
    "DISCORD_AUTHORIZE_URL", "/oauth2/authorize", "https://discord.com/oauth2/authorize"
)
DISCORD_CDN_URL = _discord_url("DISCORD_CDN_URL", "/cdn", "https://cdn.discordapp.com")
# A proxy of the environment is ignored, since it may be meant for other programs.
DISCORD_PROXY_URL = url("DISCORD_PROXY_URL", "", "http", "https")
# The issuer of the database's tokens and lists, which `accounts.gate` compares before each request. The sandbox counts
# as the same issuer on every port.
DISCORD_ISSUER = (
    "the sandbox"
    if USES_SANDBOX and is_loopback(urlsplit(DISCORD_API_URL).hostname)
    else f"application {DISCORD_CLIENT_ID} at {urlsplit(DISCORD_API_URL).netloc.rpartition('@')[2]}"
)
if not DISCORD_CLIENT_SECRET:
    raise wrong("DISCORD_CLIENT_SECRET", "it is empty while DISCORD_CLIENT_ID is set")

# Freshness
DISCORD_GUILD_CACHE_FRESH_MINUTES = number("DISCORD_GUILD_CACHE_FRESH_MINUTES", 60, least=1)
DISCORD_GUILD_CACHE_STALE_HOURS = number("DISCORD_GUILD_CACHE_STALE_HOURS", 24, least=1)
DISCORD_API_MAX_RETRIES = number("DISCORD_API_MAX_RETRIES", 3, most=10)
DISCORD_API_RETRY_DELAY_MS = number("DISCORD_API_RETRY_DELAY_MS", 1000, least=1)
DISCORD_REFRESH_WAIT_MS = number("DISCORD_REFRESH_WAIT_MS", 1000)
DISCORD_FETCH_BUDGET_MS = number("DISCORD_FETCH_BUDGET_MS", 10_000, least=100)
DISCORD_BOT_FETCH_BUDGET_MS = number("DISCORD_BOT_FETCH_BUDGET_MS", 120_000, least=100)
DISCORD_REQUEST_TIMEOUT_MS = number("DISCORD_REQUEST_TIMEOUT_MS", 4000, least=50)
DISCORD_REFRESH_AT = read(env.float, "DISCORD_REFRESH_AT", 0.8, validate=Range(min=0.1, max=0.9))
# Discord does not document this limit of one person in all servers; others have measured it.
DISCORD_MEMBER_REQUESTS = number("DISCORD_MEMBER_REQUESTS", 5, least=1)
DISCORD_MEMBER_WINDOW = number("DISCORD_MEMBER_WINDOW", 300, least=1)
DISCORD_SEND_RATE = number("DISCORD_SEND_RATE", 20, least=1, most=50)
DISCORD_BRAKE_SOFT = number("DISCORD_BRAKE_SOFT", 500, least=1)
DISCORD_BRAKE_HARD = number("DISCORD_BRAKE_HARD", 2000, least=1, most=9000)
DISCORD_MANUAL_REFRESH_SECONDS = number("DISCORD_MANUAL_REFRESH_SECONDS", 60, least=5)
SERVING_FLUSH_SECONDS = number("SERVING_FLUSH_SECONDS", 60)
DISCORD_MEMBERSHIP_RETENTION_DAYS = number("DISCORD_MEMBERSHIP_RETENTION_DAYS", 30, least=2)
# Longer than a session lasts.
DISCORD_ACCOUNT_RETENTION_DAYS = number("DISCORD_ACCOUNT_RETENTION_DAYS", 365, least=31)
if DISCORD_GUILD_CACHE_STALE_HOURS * 60 < DISCORD_GUILD_CACHE_FRESH_MINUTES:
    raise wrong("DISCORD_GUILD_CACHE_STALE_HOURS", "it is shorter than DISCORD_GUILD_CACHE_FRESH_MINUTES")
for _name in ("DISCORD_REFRESH_WAIT_MS", "DISCORD_REQUEST_TIMEOUT_MS"):
    if globals()[_name] > DISCORD_FETCH_BUDGET_MS:
        raise wrong(_name, "it is longer than DISCORD_FETCH_BUDGET_MS")
if DISCORD_BRAKE_HARD < DISCORD_BRAKE_SOFT:
    raise wrong("DISCORD_BRAKE_HARD", "it is lower than DISCORD_BRAKE_SOFT")


# The site's own rate limits
def rate(name: str, default: str) -> tuple[int, int] | None:
    """Read a rate: (600, 60) for `600/minute`, None for `off`."""
    value = read(env.str, name, default, validate=Regexp(r"^([1-9]\d{0,8}/(second|minute|hour|day)|off)$"))
    if value == "off":
        return None
    count, _, period = value.partition("/")
    return int(count), {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}[period]


API_THROTTLE_USER = rate("API_THROTTLE_USER", "600/minute")
API_THROTTLE_SERVICE = rate("API_THROTTLE_SERVICE", "6000/minute")
API_THROTTLE_ADDRESS = rate("API_THROTTLE_ADDRESS", "1200/minute")
MEMBER_THROTTLE_USER = rate("MEMBER_THROTTLE_USER", "30/minute")
SIGN_IN_THROTTLE_ADDRESS = rate("SIGN_IN_THROTTLE_ADDRESS", "30/minute")
PASSWORD_THROTTLE_ADDRESS = rate("PASSWORD_THROTTLE_ADDRESS", "20/hour")
PASSWORD_THROTTLE_ADDRESS_NAME = rate("PASSWORD_THROTTLE_ADDRESS_NAME", "5/hour")
PASSWORD_THROTTLE_NAME = rate("PASSWORD_THROTTLE_NAME", "100/hour")


def folders(name: str) -> list[Path]:
    """The folders of that name, the site's first, so that its files take precedence over those of the project."""
    return [*([mysite.FOLDER / name] if MYSITE and (mysite.FOLDER / name).is_dir() else []), BASE_DIR / name]


# Applications
INSTALLED_APPS = [
    # First, so that its commands replace those of the same name.
    "guilds",
    "accounts",
    "social_django",
    "rest_framework",
    "drf_spectacular",
    "django_htmx",
    "csp",
    "config.apps.Admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.humanize",
    "whitenoise.runserver_nostatic",
    "config.apps.StaticFiles",
    "config.apps.Queue",
    *(["sandbox"] if USES_SANDBOX else []),
    *(["examples"] if EXAMPLES else []),
]
MIDDLEWARE = [
    "config.middleware.MonitoringMiddleware",
    # Before `HostMiddleware`, so that its refusals carry their headers too.
    "csp.middleware.CSPMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "config.middleware.HostMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "config.request_metrics.RequestMetricsMiddleware",
    # Removes itself without OpenTelemetry.
    "config.observability.TraceMiddleware",
    "config.logging.RequestLogMiddleware",
    "config.middleware.PrivateMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    # After LocaleMiddleware, so that refusals are translated, and before the session or token is read.
    "guilds.api.middleware.ApiMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "guilds.middleware.SignedInMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "guilds.problems.middleware.ProblemMiddleware",
    "guilds.middleware.GuildListMiddleware",
    # Removes itself without REQUIRED_GUILD.
    "guilds.whole_site.required.RequiredGuildMiddleware",
    "config.middleware.MethodNotAllowedMiddleware",
]
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
CONTEXT_PROCESSORS = [
    "django.template.context_processors.request",
    "django.contrib.auth.context_processors.auth",
    "django.contrib.messages.context_processors.messages",
    "accounts.context_processors.discord",
    "accounts.context_processors.site",
]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": folders("templates"),
        "APP_DIRS": True,
        "OPTIONS": {"context_processors": CONTEXT_PROCESSORS},
    }
]

# Database
# How long a page that writes waits for another process's lock.
LOCK_TIMEOUT_SECONDS = 5
# A connection on which PostgreSQL confirms nothing for this long is lost. With the system's own timeouts, a query would
# wait a quarter of an hour for a database machine that is gone, and 25 s after a link that was down for 15 s.
DATABASE_SILENCE_SECONDS = 5
_database_url = url(
    "DATABASE_URL",
    f"sqlite:///{VAR_DIR / 'guildhall.sqlite3'}",
    *("sqlite", "postgres", "postgresql"),
    needs_host=False,
)
_database: dict[str, Any] = {**dj_database_url.parse(_database_url, conn_health_checks=True)}
if _database["ENGINE"].endswith("sqlite3"):
    private_folder(VAR_DIR)
    if (_file := Path(str(_database["NAME"]))).is_file():
        close_to_others(_file)
    # IMMEDIATE: a transaction takes the write lock at its start, the only point where SQLite can wait for it.
    _database["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": LOCK_TIMEOUT_SECONDS,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
else:
    # A small pool is five times faster than none. The timeout of 2 s makes a lost database a quick 503.
    _options = _database.get("OPTIONS", {})
    _database["OPTIONS"] = {
        "connect_timeout": DATABASE_SILENCE_SECONDS,
        "tcp_user_timeout": DATABASE_SILENCE_SECONDS * 1000,
        # While a query waits for its answer.
        "keepalives_idle": DATABASE_SILENCE_SECONDS,
        "keepalives_interval": 1,
        **_options,
        "pool": {"min_size": 1, "max_size": 8, "timeout": 2},
        # The operator's options come last, because the last value wins.
        "options": f"-c lock_timeout={LOCK_TIMEOUT_SECONDS}s {_options.get('options', '')}".strip(),
    }
DATABASES = {"default": _database}

# Keys
_secret_key = read(env.str, "SECRET_KEY", "")
_token_keys = read(env.str, "TOKEN_KEYS", "")
KEYS_ARE_LOCAL = not (_secret_key and _token_keys)
if KEYS_ARE_LOCAL:
    _keys = local_keys(VAR_DIR / "keys.json", None if _token_keys else _database)
    _secret_key, _token_keys = _secret_key or _keys["SECRET_KEY"], _token_keys or _keys["TOKEN_KEYS"]
SECRET_KEY = _secret_key
if not SECRET_KEY.strip():
    raise wrong("SECRET_KEY", "it is blank")
SECRET_KEY_FALLBACKS = entries("SECRET_KEY_FALLBACKS", [])
# The first key encrypts, all of them decrypt. To rotate, put a new key in front.
TOKEN_KEYS = [key.strip() for key in _token_keys.split(",") if key.strip()]
if not TOKEN_KEYS:
    raise wrong("TOKEN_KEYS", "it holds no key")
for _number, _key in enumerate(TOKEN_KEYS, start=1):
    if not is_fernet_key(_key):
        raise wrong("TOKEN_KEYS", f"key {_number} is no Fernet key, which is 32 random bytes in URL-safe base64")

# Cache
REDIS_URL = url("REDIS_URL", "", "redis", "rediss", "unix", needs_host=False)
CACHES = {"default": cache_settings(REDIS_URL)}
# Used only by `config.celery`.
CELERY_BROKER_URL = url("CELERY_BROKER_URL", REDIS_URL, needs_host=False)

# Commands to run at these intervals, which join those of `guilds.operations.schedule`.
SCHEDULED_COMMANDS: dict[str, timedelta] = {}

# Hooks
GUILDHALL_MEMBERSHIP_HOOKS = [
    *entries("GUILDHALL_MEMBERSHIP_HOOKS", []),
    *(["examples.hooks.count"] if EXAMPLES else []),
]
GUILDHALL_SIGN_IN_HOOKS = entries("GUILDHALL_SIGN_IN_HOOKS", [])

# Accounts
AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["guilds.backends.DiscordBackend", "guilds.backends.PasswordBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LOGIN_URL = "sign-in"
LOGIN_REDIRECT_URL = "guilds:picker"
LOGOUT_REDIRECT_URL = "home"
SESSION_ENGINE = "guilds.sessions"
SESSION_COOKIE_AGE = 30 * 24 * 3600
STAFF_SESSION_HOURS = number("STAFF_SESSION_HOURS", 12, least=1, most=30 * 24)
SOCIAL_AUTH_STORAGE = "accounts.storage.DiscordStorage"
SOCIAL_AUTH_STRATEGY = "accounts.strategy.SiteStrategy"
SOCIAL_AUTH_URL_NAMESPACE = "social"
SOCIAL_AUTH_DISCORD_KEY = DISCORD_CLIENT_ID
SOCIAL_AUTH_DISCORD_SECRET = DISCORD_CLIENT_SECRET
SOCIAL_AUTH_REQUESTS_TIMEOUT = DISCORD_REQUEST_TIMEOUT_MS / 1000
SOCIAL_AUTH_LOGIN_ERROR_URL = "sign-in"
SOCIAL_AUTH_INACTIVE_USER_URL = "sign-in"
SOCIAL_AUTH_PIPELINE = [
    "accounts.pipeline.refuse_other_backends",
    "social_core.pipeline.social_auth.social_details",
    "social_core.pipeline.social_auth.social_uid",
    "social_core.pipeline.social_auth.auth_allowed",
    "social_core.pipeline.social_auth.social_user",
    "accounts.pipeline.find_or_create_user",
    "accounts.pipeline.stop_if_inactive",
    "social_core.pipeline.social_auth.associate_user",
    "accounts.pipeline.save_profile",
    "accounts.pipeline.save_tokens",
    "accounts.pipeline.call_sign_in_hooks",
    "guilds.backends.ask_at_sign_in",
]

# Monitoring
METRICS_TOKEN = read(env.str, "METRICS_TOKEN", "").strip()
if 0 < len(METRICS_TOKEN) < 16:
    raise wrong("METRICS_TOKEN", "it is shorter than 16 characters")
if (_folder := env.str("PROMETHEUS_MULTIPROC_DIR", "")) and not Path(_folder).is_dir():
    raise wrong("PROMETHEUS_MULTIPROC_DIR", "it is not a folder; each process writes its counts to a file there")
SENTRY_DSN = url("SENTRY_DSN", "", "http", "https")

# Security
_https = _site.scheme == "https"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = LANGUAGE_COOKIE_SECURE = _https
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = LANGUAGE_COOKIE_HTTPONLY = True
# A prefix, because several sites may run on localhost and cookies ignore the port. Under https, `__Host-` lets only
# this host set these cookies, and no sibling domain.
_cookie = "__Host-guildhall_" if _https else "guildhall_"
SESSION_COOKIE_NAME = f"{_cookie}session"
CSRF_COOKIE_NAME = f"{_cookie}csrf"
LANGUAGE_COOKIE_NAME = f"{_cookie}language"
DEVICE_COOKIE_NAME = f"{_cookie}device"
SCOPES_COOKIE_NAME = f"{_cookie}scopes"
LANGUAGE_COOKIE_SAMESITE = "Lax"
LANGUAGE_COOKIE_AGE = 365 * 24 * 3600
CSRF_TRUSTED_ORIGINS = [SITE_URL] if _https else []
CSRF_FAILURE_VIEW = "config.views.csrf_failure"
SECURE_SSL_REDIRECT = _https
SECURE_SSL_HOST = _site.netloc
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if _https else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = read(env.bool, "HSTS_INCLUDE_SUBDOMAINS", False)
SECURE_HSTS_PRELOAD = read(env.bool, "HSTS_PRELOAD", False)
if SECURE_HSTS_PRELOAD and not SECURE_HSTS_INCLUDE_SUBDOMAINS:
    raise wrong("HSTS_PRELOAD", "browsers only preload hosts that set HSTS_INCLUDE_SUBDOMAINS")
SECURE_REFERRER_POLICY = "same-origin"
DEFAULT_EXCEPTION_REPORTER_FILTER = "config.debug.ReporterFilter"
BEHIND_TLS_PROXY = read(env.bool, "BEHIND_TLS_PROXY", False)
if BEHIND_TLS_PROXY:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
X_FRAME_OPTIONS = "DENY"


def _origin(url: str) -> str:
    return "{0.scheme}://{0.netloc}".format(urlsplit(url))


CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "font-src": [SELF],
        "connect-src": [SELF],
        "img-src": [SELF, "data:", _origin(DISCORD_CDN_URL)],
        # The sign-in form redirects to Discord, which browsers treat as the form's target. On another host name of
        # the site it redirects to SITE_URL first.
        "form-action": [SELF, _origin(DISCORD_AUTHORIZE_URL), _origin(SITE_URL)],
        "frame-ancestors": [NONE],
        "base-uri": [NONE],
    }
}


# API
CORS_ORIGINS = frozenset(entries("CORS_ORIGINS", []))
for _name in CORS_ORIGINS:
    if _name != _origin(_name) or not _name.startswith(("http://", "https://")) or not urlsplit(_name).hostname:
        raise wrong("CORS_ORIGINS", f"it must list origins such as https://app.example.org, and '{_name}' is not one")
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "guilds.api.authentication.AccessTokenAuthentication",
        "guilds.api.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_THROTTLE_CLASSES": ["guilds.api.throttles.UserThrottle"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_METADATA_CLASS": "guilds.api.metadata.NoMetadata",
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["guilds.api.parsers.JSONParser"],
    "EXCEPTION_HANDLER": "guilds.api.errors.exception_handler",
    "URL_FORMAT_OVERRIDE": None,
}
SPECTACULAR_SETTINGS = {
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "DESCRIPTION": "Which Discord servers a person is in, how old that information is, and when it is checked next.",
    "POSTPROCESSING_HOOKS": [],
    # It would demand a description of each endpoint that a site adds. Tests check that of the built-in API.
    "ENABLE_DJANGO_DEPLOY_CHECK": False,
    "TAGS": [
        {"name": "guilds", "description": "The person's servers."},
        {"name": "people", "description": "The person who is signed in."},
        {"name": "bot", "description": "The bot's servers, what a bot asks about people, and the events it reports."},
    ],
}

# Languages
LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("de", "Deutsch")]
LOCALE_PATHS = folders("locale")
FORMAT_MODULE_PATH = "config.formats"
TIME_ZONE = "UTC"
USE_I18N = True
USE_TZ = True

# Static
STATIC_URL = "static/"
STATIC_ROOT = VAR_DIR / "static"
STATICFILES_DIRS = folders("static")
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}

# Logs
LOG_FORMAT = read(env.str, "LOG_FORMAT", "console", validate=OneOf(("console", "json")))
LOG_LEVEL = read(env.str, "LOG_LEVEL", "INFO", validate=OneOf(("DEBUG", "INFO", "WARNING", "ERROR")))
LOG_REQUESTS = read(env.bool, "LOG_REQUESTS", True)
LOGGING_CONFIG = None
DELETIONS_LOG = Path(read(env.str, "DELETIONS_LOG", "") or VAR_DIR / "deletions.jsonl").resolve()
logging_config(log_format=LOG_FORMAT, level=LOG_LEVEL, deletions=DELETIONS_LOG)

# Only the operator can decide on HSTS for subdomains and on preloading, so their absence is not an error.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]

# The site's own folder
if MYSITE:
    # Nothing is derived from the hooks, so the folder may add to those of the environment.
    mysite.join(globals(), mysite.own_settings(_read - {"GUILDHALL_MEMBERSHIP_HOOKS", "GUILDHALL_SIGN_IN_HOOKS"}))
SPECTACULAR_SETTINGS.setdefault("TITLE", SITE_NAME)
