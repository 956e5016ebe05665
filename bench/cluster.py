"""Several processes of the site on the stage's database, and people who are signed in there."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.base import SessionBase

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
    """Somebody who is signed in; `cookie` is the session's."""

    user_id: int
    name: str
    cookie: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Cluster:
    sites: list[Site]
    sandbox: Remote


@contextmanager
def cluster(stage: Stage, processes: int = 4, threads: int = 16, **settings: str) -> Iterator[Cluster]:
    """`processes` of the site, with `settings` in their environment; gone with the block."""
    # Discord's own limits are not what is measured, but for those that a bench sets itself.
    stage.sandbox.limits(per_person=False, per_second=1_000_000, invalid_per_10_minutes=1_000_000)
    environment = {**os.environ, **settings}
    sites = [Site(environment, stage.folder / f"site{number}.log", threads) for number in range(processes)]
    try:
        start_all(sites)
        yield Cluster(sites, stage.sandbox)
    finally:
        for site in sites:
            site.stop()


def sign_in(stage: Stage, name: str, guilds: int = 12, age: timedelta | None = None) -> Person:
    """Somebody new who has signed in, with a list verified `age` ago, or with none."""
    stage.sandbox.person(name, count=guilds)
    tokens = Tokens.from_json(stage.sandbox.token(name))
    user = User.objects.create_user(username=name, discord_username=name)
    stored: Any = sealed(tokens)
    DiscordAccount.objects.create(user=user, provider="discord", uid=name, extra_data=stored)
    if age is not None:
        _verify(user, guilds, age)
    return Person(user.pk, name, session_of(user, "guilds.backends.DiscordBackend"))


def sign_in_again(person: Person, backend: str) -> str:
    """The cookie of another session of the same person, in which `backend` says who they are."""
    return session_of(User.objects.get(pk=person.user_id), backend)


def session_of(user: User, backend: str) -> str:
    session: SessionBase = SessionStore()
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
