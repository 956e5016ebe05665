"""Several processes of the site on the stage's database, and signed-in people."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.backends.db import SessionStore as StockStore

from accounts.clock import database_now
from accounts.discord import Tokens
from accounts.models import DiscordAccount, User
from accounts.sessions import SessionStore
from accounts.tokens import sealed
from bench.sites import Site, start_all
from bench.stage import Stage
from guilds.models import GuildListVerification, UserGuildMembership
from sandbox.remote import Remote


@dataclass(frozen=True, slots=True)
class Person:
    """A signed-in person; `cookie` is their session cookie."""

    user_id: int
    name: str
    cookie: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Cluster:
    sites: list[Site]
    sandbox: Remote


@contextmanager
def cluster(
    stage: Stage, processes: int = 4, threads: int = 16, application: str = "config.wsgi:application", **settings: str
) -> Iterator[Cluster]:
    """Run `processes` of the site with `settings` in their environment until the block ends."""
    # Discord's limits are not measured here, except for those that a bench sets itself.
    stage.sandbox.limits(per_person=False, per_second=1_000_000, invalid_per_10_minutes=1_000_000)
    environment = {**os.environ, **settings}
    sites = [
        Site(environment, stage.folder / f"site{number}.log", threads, application=application)
        for number in range(processes)
    ]
    try:
        start_all(sites)
        yield Cluster(sites, stage.sandbox)
    finally:
        for site in sites:
            site.stop()


def sign_in(
    stage: Stage, name: str, guilds: int = 12, age: timedelta | None = None, scopes: tuple[str, ...] = ()
) -> Person:
    """Create a signed-in person with a list verified `age` ago, or without a list; `scopes` replace the usual ones."""
    stage.sandbox.person(name, count=guilds)
    tokens = Tokens.from_json(stage.sandbox.token(name, *scopes))
    user = User.objects.create_user(username=name, discord_username=name)
    stored: Any = sealed(tokens, user.pk)
    DiscordAccount.objects.create(user=user, provider="discord", uid=name, extra_data=stored)
    if age is not None:
        _verify(user, guilds, age)
    return Person(user.pk, name, session_of(user, "guilds.backends.DiscordBackend"))


def stock_session_of(person: Person) -> str:
    """Return the cookie of another session of the person, in Django's own table."""
    return session_of(User.objects.get(pk=person.user_id), "django.contrib.auth.backends.ModelBackend", StockStore())


def session_of(user: User, backend: str, session: SessionBase | None = None) -> str:
    session = SessionStore() if session is None else session
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = backend
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.save()
    return session.session_key or ""


def _verify(user: User, guilds: int, age: timedelta) -> None:
    verified_at = database_now() - age
    due = verified_at + timedelta(minutes=48)
    GuildListVerification.objects.create(user=user, verified_at=verified_at, refresh_after=due)
    UserGuildMembership.objects.bulk_create(
        UserGuildMembership(
            user=user,
            guild_id=80351110224678912 + number * 2**30,
            name=f"Server {number} of many",
            icon=f"{number:032x}",
            permissions=2**52 - 1 - number if number % 5 == 0 else 104324673,
            features=["ANIMATED_ICON", "COMMUNITY", "INVITE_SPLASH", "NEWS"],
            first_seen_at=verified_at,
            changed_at=verified_at,
        )
        for number in range(guilds)
    )
