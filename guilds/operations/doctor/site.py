"""Checks of the site itself: settings, database, Redis, Celery's broker, clocks and keys."""

import time
from urllib.parse import urlsplit

from django.conf import settings
from django.core import checks
from django.db import Error, connection
from redis import Redis
from redis.exceptions import RedisError

from accounts import database, gate
from accounts.checks import is_in_production
from accounts.clock import database_now
from guilds.operations import keys, migrations
from guilds.operations.doctor.findings import Finding, error, note, ok, skew, warning

# Seconds that a server has for its answer.
PATIENCE = 3.0
# The rows whose keys are tried; all of them would take minutes on a large site.
LATEST = 500


def check_settings() -> list[Finding]:
    """Run Django's and the apps' system checks, in production also those of `check --deploy`."""
    found = [_of_message(message) for message in checks.run_checks(include_deployment_checks=is_in_production())]
    if settings.USES_SANDBOX:
        found.append(note("People sign in at the sandbox, and nothing is sent to Discord."))
    return [each for each in found if each] or [ok("The settings pass the system checks.")]


def _of_message(message: checks.CheckMessage) -> Finding | None:
    if message.is_silenced() or message.level < checks.WARNING:
        return None
    make = error if message.is_serious() else warning
    sentence = " ".join(f"{message.msg} ({message.id})".split())
    return make(sentence, " ".join((message.hint or "See the documentation of this check.").split()))


def check_database() -> list[Finding]:
    """Return whether the database can be reached and has all migrations."""
    try:
        database_now()
    except Error as problem:
        reason = database.explain(problem) or f"The database can't be used: {type(problem).__name__}"
        return [error(reason, "Start the database, or correct DATABASE_URL.")]
    found = []
    for text in migrations.problems(connection):
        sentence, _, advice = text.partition("; ") if "; " in text else text.partition(". ")
        found.append(error(f"{sentence.rstrip('.')}.", advice[:1].upper() + advice[1:]))
    return found or [ok(f"The database ({connection.display_name}) can be reached and has all migrations.")]


def check_redis() -> list[Finding]:
    """Return whether Redis responds, if the site uses it."""
    if not settings.REDIS_URL:
        return [note("REDIS_URL is empty, so each process has a cache of its own.")]
    try:
        with Redis.from_url(settings.REDIS_URL, socket_timeout=PATIENCE, socket_connect_timeout=PATIENCE) as connected:
            connected.ping()
    except (RedisError, OSError) as problem:
        return [
            warning(
                f"Redis doesn't answer at {_host(settings.REDIS_URL)} ({type(problem).__name__}); until it does, the "
                "site works without a cache.",
                "Start Redis, or correct REDIS_URL.",
            )
        ]
    return [ok("Redis answers.")]


def check_broker() -> list[Finding]:
    """Return whether Celery's broker responds, if the site has one and Celery is installed."""
    url, is_own = settings.CELERY_BROKER_URL, settings.CELERY_BROKER_URL != settings.REDIS_URL
    if not url:
        return [note("CELERY_BROKER_URL is empty; scheduled commands need cron or timers.")]
    try:
        from kombu.connection import Connection
        from kombu.exceptions import KombuError
    except ImportError:
        sentence = "CELERY_BROKER_URL is set, but Celery is not installed."
        return [warning(sentence, "Run `./run install celery`, or unset it.")] if is_own else []
    try:
        with Connection(url, connect_timeout=PATIENCE) as broker:  # type: ignore[no-untyped-call]  # no types
            broker.ensure_connection(max_retries=1, interval_start=0, timeout=PATIENCE)
    # Each transport raises exceptions of its own library.
    except (KombuError, OSError, ValueError, KeyError) as problem:
        sentence = f"Celery's broker doesn't answer at {_host(url)} ({type(problem).__name__})."
        return [error(sentence, "Start the broker, or correct CELERY_BROKER_URL.")]
    return [ok("Celery's broker answers.")]


def check_clocks() -> list[Finding]:
    """Return whether the database's clock agrees with this machine's."""
    before = time.time()
    theirs = database_now().timestamp()
    return [skew("The database's clock", theirs - (before + time.time()) / 2)]


def check_keys() -> list[Finding]:
    """Return whether the keys in the settings fit what the database holds."""
    found = []
    if foreign := gate.foreign_issuer():
        sentence, _, advice = foreign.partition(". ")
        found.append(error(f"{sentence}.", advice))
    tokens, sessions = keys.tokens(latest=LATEST), keys.sessions(latest=LATEST)
    if lost := tokens.counts[keys.NO_KEY]:
        found.append(
            error(
                f"TOKEN_KEYS can't decrypt the Discord tokens of {lost} of the latest {tokens.counts.total()} people.",
                "Restore the keys that encrypted them; if they are lost, these people have to sign in again.",
            )
        )
    if lost := sessions.counts[keys.NO_KEY]:
        found.append(
            warning(
                f"Neither SECRET_KEY nor SECRET_KEY_FALLBACKS signed {lost} of the latest {sessions.counts.total()} "
                "sessions.",
                "Add the previous key to SECRET_KEY_FALLBACKS; without it, these people have to sign in again.",
            )
        )
    old = sum(each.counts[place] for each in (tokens, sessions) for place in range(1, len(each.names)))
    if old:
        found.append(
            note(f"Older keys still protect {old} rows.", "After a rotation, run `./run manage keys --reseal`.")
        )
    return found or [ok("The keys fit the stored tokens and sessions.")]


def _host(url: str) -> str:
    """Return where a URL leads, without the password in it."""
    parts = urlsplit(url)
    return parts.netloc.rpartition("@")[2] or parts.path
