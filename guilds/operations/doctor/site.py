"""Checks of the site itself: settings, database, Redis, Celery's broker, clocks and keys."""

import time
from urllib.parse import urlsplit

from django.conf import settings
from django.core import checks
from django.db import Error, connection
from django.utils.translation import gettext_noop as _

from accounts import database, gate
from accounts.checks import is_in_production
from accounts.clock import database_now
from guilds.operations import keys, migrations
from guilds.operations.doctor.findings import Finding, Sentence, error, note, ok, skew, warning

# Seconds that a server has for its answer.
TIMEOUT = 3.0
# The rows whose keys are tried; all of them would take minutes on a large site.
LATEST = 500


def check_settings() -> list[Finding]:
    """Run Django's and the apps' system checks, in production also those of `check --deploy`."""
    found = [_of_message(message) for message in checks.run_checks(include_deployment_checks=is_in_production())]
    if settings.USES_SANDBOX:
        found.append(note(Sentence(_("People sign in at the sandbox, and nothing is sent to Discord."))))
    return [each for each in found if each] or [ok(Sentence(_("The settings pass the system checks.")))]


def _of_message(message: checks.CheckMessage) -> Finding | None:
    if message.is_silenced() or message.level < checks.WARNING:
        return None
    make = error if message.is_serious() else warning
    sentence = " ".join(f"{message.msg} ({message.id})".split())
    # Django and the apps have these in English only.
    advice = " ".join(message.hint.split()) if message.hint else Sentence(_("See the documentation of this check."))
    return make(sentence, advice)


def check_database() -> list[Finding]:
    """Return whether the database can be reached and has all migrations."""
    try:
        database_now()
    except Error as problem:
        reason = database.explain(problem) or f"The database can't be used: {type(problem).__name__}"
        return [error(reason, Sentence(_("Start the database, or correct DATABASE_URL.")))]
    has_all = _("The database (%(database)s) can be reached and has all migrations.")
    return _migrations() or [ok(Sentence(has_all, database=connection.display_name))]


def _migrations() -> list[Finding]:
    found = []
    if labels := migrations.unmade():
        found.append(
            error(
                Sentence(_("Models have changed without a migration in %(apps)s."), apps=", ".join(labels)),
                Sentence(
                    _("Run ./run manage makemigrations %(apps)s, then ./run manage migrate."), apps=" ".join(labels)
                ),
            )
        )
    if labels := migrations.unapplied(connection):
        sentence = Sentence(_("Migrations have not been applied in %(apps)s."), apps=", ".join(labels))
        found.append(error(sentence, Sentence(_("Run ./run manage migrate."))))
    if names := migrations.unknown(connection):
        sentence = Sentence(
            _("The database is from a newer version: it has %(names)s, which this version doesn't know."),
            names=", ".join(names),
        )
        found.append(error(sentence, Sentence(_("Update the code."))))
    return found


def check_redis() -> list[Finding]:
    """Return whether Redis responds, if the site uses it."""
    if not settings.REDIS_URL:
        return [note(Sentence(_("REDIS_URL is empty, so each process has a cache of its own.")))]
    # Imported here because the pages need this module too, and most sites have no Redis.
    from redis import Redis
    from redis.exceptions import RedisError

    try:
        with Redis.from_url(settings.REDIS_URL, socket_timeout=TIMEOUT, socket_connect_timeout=TIMEOUT) as connected:
            connected.ping()
    except (RedisError, OSError) as problem:
        return [
            warning(
                Sentence(
                    _("Redis doesn't answer at %(host)s (%(error)s); until it does, the site works without a cache."),
                    host=_host(settings.REDIS_URL),
                    error=type(problem).__name__,
                ),
                Sentence(_("Start Redis, or correct REDIS_URL.")),
            )
        ]
    return [ok(Sentence(_("Redis answers.")))]


def check_broker() -> list[Finding]:
    """Return whether Celery's broker responds, if the site has one and Celery is installed."""
    url, is_own = settings.CELERY_BROKER_URL, settings.CELERY_BROKER_URL != settings.REDIS_URL
    if not url:
        return [note(Sentence(_("CELERY_BROKER_URL is empty; scheduled commands need cron or timers.")))]
    try:
        from kombu.connection import Connection
        from kombu.exceptions import KombuError
    except ImportError:
        sentence = Sentence(_("CELERY_BROKER_URL is set, but Celery is not installed."))
        return [warning(sentence, Sentence(_("Run `./run install celery`, or unset it.")))] if is_own else []
    try:
        with Connection(url, connect_timeout=TIMEOUT) as broker:  # type: ignore[no-untyped-call]  # no types
            broker.ensure_connection(max_retries=1, interval_start=0, timeout=TIMEOUT)
    # Each transport raises exceptions of its own library.
    except (KombuError, OSError, ValueError, KeyError) as problem:
        sentence = Sentence(
            _("Celery's broker doesn't answer at %(host)s (%(error)s)."), host=_host(url), error=type(problem).__name__
        )
        return [error(sentence, Sentence(_("Start the broker, or correct CELERY_BROKER_URL.")))]
    return [ok(Sentence(_("Celery's broker answers.")))]


def check_clocks() -> list[Finding]:
    """Return whether the database's clock agrees with this machine's."""
    before = time.time()
    theirs = database_now().timestamp()
    return [skew(connection.display_name, theirs - (before + time.time()) / 2)]


def _foreign_issuer() -> list[Finding]:
    stored, _now = gate.read()
    if not gate.foreign_issuer(stored):
        return []
    sentence = Sentence(
        _("The tokens and lists in this database are from %(stored)s, but the settings point to %(configured)s."),
        stored=stored.issuer,
        configured=settings.DISCORD_ISSUER,
    )
    advice = _(
        "No requests are sent until you correct the settings or accept the change with `./run manage change_issuer`."
    )
    return [error(sentence, Sentence(advice))]


def check_keys() -> list[Finding]:
    """Return whether the keys in the settings fit what the database holds."""
    found = _foreign_issuer()
    tokens, sessions = keys.tokens(latest=LATEST), keys.sessions(latest=LATEST)
    if lost := tokens.counts[keys.NO_KEY]:
        found.append(
            error(
                Sentence(
                    _("TOKEN_KEYS can't decrypt the Discord tokens of %(lost)s of the latest %(all)s people."),
                    lost=lost,
                    all=tokens.counts.total(),
                ),
                Sentence(
                    _("Restore the keys that encrypted them; if they are lost, these people have to sign in again.")
                ),
            )
        )
    if lost := sessions.counts[keys.NO_KEY]:
        found.append(
            warning(
                Sentence(
                    _("Neither SECRET_KEY nor SECRET_KEY_FALLBACKS signed %(lost)s of the latest %(all)s sessions."),
                    lost=lost,
                    all=sessions.counts.total(),
                ),
                Sentence(
                    _("Add the previous key to SECRET_KEY_FALLBACKS; without it, these people have to sign in again.")
                ),
            )
        )
    old = sum(each.counts[place] for each in (tokens, sessions) for place in range(1, len(each.names)))
    if old:
        found.append(
            note(
                Sentence(_("Older keys still protect %(count)s rows."), count=old),
                Sentence(_("After a rotation, run `./run manage keys --reseal`.")),
            )
        )
    return found or [ok(Sentence(_("The keys fit the stored tokens and sessions.")))]


def _host(url: str) -> str:
    """Return where a URL leads, without the password in it."""
    parts = urlsplit(url)
    return parts.netloc.rpartition("@")[2] or parts.path
