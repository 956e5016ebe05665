"""Personal access tokens: a person's own keys to the API, for scripts and single-page apps.

`gdh_` and 160 random bits in hexadecimal. The prefix lets logs, secret scanners and people recognise one; so many
random bits need no salt and no slow hash. The token is told once, when it is made.
"""

import hashlib
import re
import secrets
from collections.abc import Iterable
from datetime import timedelta
from enum import StrEnum

from django.db import transaction

from accounts.clock import Now, database_now
from accounts.models import PersonalAccessToken, User

PREFIX = "gdh_"
SHAPE = re.compile(rf"{PREFIX}[0-9a-f]{{40}}")
# Enough for every machine one has; a leak of more would be hard to look through.
MOST_PER_PERSON = 20
LONGEST_LIFE = timedelta(days=365)
LAST_USED_GRAIN = timedelta(hours=1)


class Scope(StrEnum):
    """What a token may do. None of them makes tokens, signs in or deletes anything."""

    GUILDS_READ = "guilds:read"
    GUILDS_REFRESH = "guilds:refresh"
    ME_READ = "me:read"
    BOT_READ = "bot:read"


class TooManyTokens(Exception):
    """The person has `MOST_PER_PERSON` already."""


class NameTaken(Exception):
    """The person has a token of that name."""


def scopes_for(user: User) -> list[Scope]:
    """What that person's tokens may be allowed."""
    return [scope for scope in Scope if scope is not Scope.BOT_READ or user.is_staff]


def create(user: User, name: str, scopes: Iterable[Scope], lifetime: timedelta) -> tuple[PersonalAccessToken, str]:
    """A new token: its row, and the token itself, which nobody can find out again. The person's expired ones go.

    Raises `TooManyTokens` or `NameTaken`.
    """
    token = PREFIX + secrets.token_hex(20)
    with transaction.atomic():
        # One at a time per person: what is counted below stays true.
        User.objects.select_for_update().get(pk=user.pk)
        now = database_now()
        PersonalAccessToken.objects.filter(user=user, expires_at__lte=now).delete()
        names = set(PersonalAccessToken.objects.filter(user=user).values_list("name", flat=True))
        if name in names:
            raise NameTaken
        if len(names) >= MOST_PER_PERSON:
            raise TooManyTokens
        row = PersonalAccessToken.objects.create(
            user=user,
            name=name,
            digest=digest(token),
            scopes=sorted(set(scopes)),
            created_at=now,
            expires_at=now + min(lifetime, LONGEST_LIFE),
        )
    return row, token


def find(token: str) -> PersonalAccessToken | None:
    """The row of a token that opens something now; None for any other. At most one query, and one write an hour."""
    if not SHAPE.fullmatch(token):
        return None
    row = (
        PersonalAccessToken.objects.annotate(now=Now())
        .filter(digest=digest(token), expires_at__gt=Now(), user__is_active=True)
        .first()
    )
    if row is not None and (row.last_used_at is None or row.now - row.last_used_at >= LAST_USED_GRAIN):
        PersonalAccessToken.objects.filter(pk=row.pk).update(last_used_at=row.now)
    return row


def digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
