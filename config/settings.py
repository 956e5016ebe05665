"""Every setting of the site, from the environment and `.env`; a bare clone runs without either.

A wrong value stops the start with `ImproperlyConfigured`, in a sentence that names the variable.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import dj_database_url
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured
from environs import Env, EnvError
from marshmallow.validate import OneOf, Range, Regexp

from config.cache import cache_settings
from config.keys import local_keys
from config.logging import logging_config

BASE_DIR = Path(__file__).resolve().parent.parent

env = Env()
env.read_env(env.str("ENV_FILE", str(BASE_DIR / ".env")), recurse=False)
# What the site writes: its database, keys and collected static files.
VAR_DIR = Path(env.str("VAR_DIR", str(BASE_DIR / "var"))).resolve()


T = TypeVar("T")


def read(parse: Callable[..., T], name: str, default: Any = None, **options: Any) -> T:
    try:
        return parse(name, default, **options)
    except EnvError as error:
        raise ImproperlyConfigured(str(error).replace('"', "").replace("Environment variable ", "")) from None


def number(name: str, default: int, *, least: int = 0, most: int | None = None) -> int:
    return read(env.int, name, default, validate=Range(min=least, max=most))


def wrong(name: str, why: str) -> ImproperlyConfigured:
    return ImproperlyConfigured(f"{name} is wrong: {why}")


# Site
SITE_URL = read(env.str, "SITE_URL", "http://localhost:8000").rstrip("/")
_site = urlsplit(SITE_URL)
if _site.scheme not in ("http", "https") or not _site.hostname or _site.path:
    raise wrong("SITE_URL", "it takes a scheme and a host, such as https://servers.example.org")
DEBUG = read(env.bool, "DEBUG", False)
# A private name for the loopback address is enough for a clone; a real site is known by its SITE_URL only.
_loopback = ["localhost", "127.0.0.1", "[::1]"]
ALLOWED_HOSTS = read(env.list, "ALLOWED_HOSTS", [_site.hostname, *(_loopback if _site.scheme == "http" else [])])
WEB_THREADS = number("WEB_THREADS", 16, least=2, most=512)

# Keys
_keys: dict[str, str] = {}
if not (env.str("SECRET_KEY", "") and env.str("TOKEN_KEYS", "")):
    _keys = local_keys(VAR_DIR / "keys.json")
SECRET_KEY = env.str("SECRET_KEY", "") or _keys["SECRET_KEY"]
SECRET_KEY_FALLBACKS = read(env.list, "SECRET_KEY_FALLBACKS", [])
# The first key seals; all of them open. To rotate, put a new one in front.
TOKEN_KEYS = [key.strip() for key in (env.str("TOKEN_KEYS", "") or _keys["TOKEN_KEYS"]).split(",") if key.strip()]
KEYS_ARE_LOCAL = bool(_keys)

# Discord
DISCORD_CLIENT_ID = read(env.str, "DISCORD_CLIENT_ID", "")
USES_SANDBOX = not DISCORD_CLIENT_ID
EXAMPLES = read(env.bool, "EXAMPLES", False)
SANDBOX_URL = f"http://localhost:{number('SANDBOX_PORT', 8001, least=1, most=65535)}"
if USES_SANDBOX:
    DISCORD_CLIENT_ID = "guildhall"


def _sandbox_or(sandbox: str, discord: str) -> str:
    return sandbox if USES_SANDBOX else discord


DISCORD_CLIENT_SECRET = read(env.str, "DISCORD_CLIENT_SECRET", _sandbox_or("sandbox", ""))
DISCORD_BOT_TOKEN = read(env.str, "DISCORD_BOT_TOKEN", _sandbox_or("sandbox-bot", ""))
DISCORD_BOT_PERMISSIONS = number("DISCORD_BOT_PERMISSIONS", 0, most=2**63 - 1)
DISCORD_API_URL = read(env.str, "DISCORD_API_URL", _sandbox_or(f"{SANDBOX_URL}/api/v10", "https://discord.com/api/v10"))
DISCORD_AUTHORIZE_URL = read(
    env.str,
    "DISCORD_AUTHORIZE_URL",
    _sandbox_or(f"{SANDBOX_URL}/oauth2/authorize", "https://discord.com/oauth2/authorize"),
)
DISCORD_CDN_URL = read(env.str, "DISCORD_CDN_URL", _sandbox_or(f"{SANDBOX_URL}/cdn", "https://cdn.discordapp.com"))
for _name in ("DISCORD_API_URL", "DISCORD_AUTHORIZE_URL", "DISCORD_CDN_URL"):
    if urlsplit(globals()[_name]).scheme not in ("http", "https") or not urlsplit(globals()[_name]).hostname:
        raise wrong(_name, "it takes an absolute http or https URL")
if not DISCORD_CLIENT_SECRET:
    raise wrong("DISCORD_CLIENT_SECRET", "it is empty while DISCORD_CLIENT_ID is set")

# Freshness
DISCORD_GUILD_CACHE_FRESH_MINUTES = number("DISCORD_GUILD_CACHE_FRESH_MINUTES", 60, least=1)
DISCORD_GUILD_CACHE_STALE_HOURS = number("DISCORD_GUILD_CACHE_STALE_HOURS", 24, least=1)
DISCORD_API_MAX_RETRIES = number("DISCORD_API_MAX_RETRIES", 3, most=10)
DISCORD_API_RETRY_DELAY_MS = number("DISCORD_API_RETRY_DELAY_MS", 1000, least=1)
DISCORD_REFRESH_WAIT_MS = number("DISCORD_REFRESH_WAIT_MS", 1000)
DISCORD_FETCH_BUDGET_MS = number("DISCORD_FETCH_BUDGET_MS", 10_000, least=100)
DISCORD_REQUEST_TIMEOUT_MS = number("DISCORD_REQUEST_TIMEOUT_MS", 4000, least=50)
DISCORD_REFRESH_AT = read(env.float, "DISCORD_REFRESH_AT", 0.8, validate=Range(min=0.1, max=0.9))
DISCORD_SEND_RATE = number("DISCORD_SEND_RATE", 20, least=1, most=50)
DISCORD_BRAKE_SOFT = number("DISCORD_BRAKE_SOFT", 500, least=1)
DISCORD_BRAKE_HARD = number("DISCORD_BRAKE_HARD", 2000, least=1, most=9000)
DISCORD_MANUAL_REFRESH_SECONDS = number("DISCORD_MANUAL_REFRESH_SECONDS", 60, least=5)
SERVING_FLUSH_SECONDS = number("SERVING_FLUSH_SECONDS", 60)
DISCORD_MEMBERSHIP_RETENTION_DAYS = number("DISCORD_MEMBERSHIP_RETENTION_DAYS", 30, least=2)
if DISCORD_GUILD_CACHE_STALE_HOURS * 60 < DISCORD_GUILD_CACHE_FRESH_MINUTES:
    raise wrong("DISCORD_GUILD_CACHE_STALE_HOURS", "it is shorter than DISCORD_GUILD_CACHE_FRESH_MINUTES")
for _name in ("DISCORD_REFRESH_WAIT_MS", "DISCORD_REQUEST_TIMEOUT_MS"):
    if globals()[_name] > DISCORD_FETCH_BUDGET_MS:
        raise wrong(_name, "it is longer than DISCORD_FETCH_BUDGET_MS")
if DISCORD_BRAKE_HARD < DISCORD_BRAKE_SOFT:
    raise wrong("DISCORD_BRAKE_HARD", "it is lower than DISCORD_BRAKE_SOFT")

# Applications
INSTALLED_APPS = [
    "social_django",
    "guilds",
    "accounts",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_htmx",
    "csp",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.humanize",
    "whitenoise.runserver_nostatic",
    "config.apps.StaticFiles",
    *(["sandbox"] if USES_SANDBOX else []),
    *(["examples"] if EXAMPLES else []),
]
MIDDLEWARE = [
    "config.middleware.MonitoringMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "config.logging.RequestLogMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    # Once the language is known in which it refuses, and before anybody's session or token is read.
    "guilds.api.middleware.ApiMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "guilds.problems.middleware.ProblemMiddleware",
    "guilds.middleware.GuildListMiddleware",
    "config.middleware.MethodNotAllowedMiddleware",
]
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "accounts.context_processors.discord",
            ]
        },
    }
]

# Database
_database: dict[str, Any] = {
    **dj_database_url.parse(
        read(
            env.str,
            "DATABASE_URL",
            f"sqlite:///{VAR_DIR / 'guildhall.sqlite3'}",
            validate=Regexp("^(sqlite|postgres(ql)?)://"),
        ),
        conn_health_checks=True,
    )
}
if _database["ENGINE"].endswith("sqlite3"):
    VAR_DIR.mkdir(exist_ok=True)
    # IMMEDIATE: a transaction that will write asks for the lock at its start, where waiting is possible.
    _database["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
else:
    # A small pool is five times faster than none; two seconds, so that a lost database is a quick 503.
    _database["OPTIONS"] = {**_database.get("OPTIONS", {}), "pool": {"min_size": 1, "max_size": 8, "timeout": 2}}
DATABASES = {"default": _database}

# Cache
REDIS_URL = read(env.str, "REDIS_URL", "")
CACHES = {"default": cache_settings(REDIS_URL)}
# Read by `config.celery` alone.
CELERY_BROKER_URL = read(env.str, "CELERY_BROKER_URL", REDIS_URL)

# Hooks
GUILDHALL_MEMBERSHIP_HOOKS = [
    *read(env.list, "GUILDHALL_MEMBERSHIP_HOOKS", []),
    *(["examples.hooks.count"] if EXAMPLES else []),
]

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
SESSION_ENGINE = "accounts.sessions"
SESSION_COOKIE_AGE = 30 * 24 * 3600
SOCIAL_AUTH_STORAGE = "accounts.storage.DiscordStorage"
SOCIAL_AUTH_URL_NAMESPACE = "social"
SOCIAL_AUTH_DISCORD_KEY = DISCORD_CLIENT_ID
SOCIAL_AUTH_DISCORD_SECRET = DISCORD_CLIENT_SECRET
SOCIAL_AUTH_DISCORD_SCOPE = ["identify", "guilds"]
SOCIAL_AUTH_DISCORD_IGNORE_DEFAULT_SCOPE = True
SOCIAL_AUTH_REQUESTS_TIMEOUT = DISCORD_REQUEST_TIMEOUT_MS / 1000
SOCIAL_AUTH_LOGIN_ERROR_URL = "sign-in"
SOCIAL_AUTH_INACTIVE_USER_URL = "sign-in"
SOCIAL_AUTH_PIPELINE = [
    "social_core.pipeline.social_auth.social_details",
    "social_core.pipeline.social_auth.social_uid",
    "social_core.pipeline.social_auth.auth_allowed",
    "social_core.pipeline.social_auth.social_user",
    "accounts.pipeline.find_or_create_user",
    "accounts.pipeline.stop_if_inactive",
    "social_core.pipeline.social_auth.associate_user",
    "accounts.pipeline.save_profile",
    "accounts.pipeline.save_tokens",
    "guilds.pipeline.ask_at_sign_in",
]

# Monitoring
METRICS_TOKEN = read(env.str, "METRICS_TOKEN", "").strip()
if 0 < len(METRICS_TOKEN) < 16:
    raise wrong("METRICS_TOKEN", "it is shorter than 16 characters")
if (_folder := env.str("PROMETHEUS_MULTIPROC_DIR", "")) and not Path(_folder).is_dir():
    raise wrong("PROMETHEUS_MULTIPROC_DIR", "it is no folder; each process counts in a file there")

# Security
_https = _site.scheme == "https"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = LANGUAGE_COOKIE_SECURE = _https
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = LANGUAGE_COOKIE_HTTPONLY = True
# One machine may run several sites on localhost, and cookies know no port.
SESSION_COOKIE_NAME = "guildhall_session"
CSRF_COOKIE_NAME = "guildhall_csrf"
LANGUAGE_COOKIE_NAME = "guildhall_language"
LANGUAGE_COOKIE_SAMESITE = "Lax"
LANGUAGE_COOKIE_AGE = 365 * 24 * 3600
CSRF_TRUSTED_ORIGINS = [SITE_URL] if _https else []
CSRF_FAILURE_VIEW = "config.views.csrf_failure"
SECURE_SSL_REDIRECT = _https
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if _https else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = _https
SECURE_REFERRER_POLICY = "same-origin"
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
        # The sign-in form is answered with a redirect to Discord, which browsers count as its target.
        "form-action": [SELF, _origin(DISCORD_AUTHORIZE_URL)],
        "frame-ancestors": [NONE],
        "base-uri": [NONE],
    }
}


# API
def rate(name: str, default: str) -> tuple[int, int] | None:
    """`600/minute` as (600, 60); None for `off`."""
    value = read(env.str, name, default, validate=Regexp(r"^([1-9]\d{0,8}/(second|minute|hour|day)|off)$"))
    if value == "off":
        return None
    count, _, period = value.partition("/")
    return int(count), {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}[period]


API_THROTTLE_USER = rate("API_THROTTLE_USER", "600/minute")
API_THROTTLE_ADDRESS = rate("API_THROTTLE_ADDRESS", "1200/minute")
CORS_ORIGINS = frozenset(origin.strip() for origin in read(env.list, "CORS_ORIGINS", []))
for _name in CORS_ORIGINS:
    if _name != _origin(_name) or not _name.startswith(("http://", "https://")) or not urlsplit(_name).hostname:
        raise wrong("CORS_ORIGINS", f"it takes origins such as https://app.example.org, and '{_name}' is none")
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
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "EXCEPTION_HANDLER": "guilds.api.errors.exception_handler",
    "URL_FORMAT_OVERRIDE": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Guildhall",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "DESCRIPTION": "Which Discord servers a person is in, how old that knowledge is, and when Discord is asked next.",
    "POSTPROCESSING_HOOKS": [],
    "TAGS": [
        {"name": "guilds", "description": "The person's servers."},
        {"name": "people", "description": "Who is asking."},
        {"name": "bot", "description": "For staff: where the bot is."},
    ],
}

# Words
LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("de", "Deutsch")]
LOCALE_PATHS = [BASE_DIR / "locale"]
FORMAT_MODULE_PATH = "config.formats"
TIME_ZONE = "UTC"
USE_I18N = True
USE_TZ = True

# Static
STATIC_URL = "static/"
STATIC_ROOT = VAR_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}

# Logs
LOG_FORMAT = read(env.str, "LOG_FORMAT", "console", validate=OneOf(("console", "json")))
LOG_LEVEL = read(env.str, "LOG_LEVEL", "INFO", validate=OneOf(("DEBUG", "INFO", "WARNING", "ERROR")))
LOGGING_CONFIG = None
logging_config(log_format=LOG_FORMAT, level=LOG_LEVEL)

SILENCED_SYSTEM_CHECKS: list[str] = []
