"""Personal access tokens: a person's own keys to the API, for scripts and single-page apps.

A token can never create tokens, sign in or delete anything.
"""

from collections.abc import Iterable
from datetime import timedelta
from functools import partial

from django.db import transaction
from django.db.models import QuerySet

from accounts import bearer_tokens, deletions, token_scopes
from accounts.clock import Now, database_now
from accounts.models import PersonalAccessToken, User
from accounts.token_scopes import Holder, TokenScope

PREFIX = "gdh_"
# Enough for all of a person's machines, and few enough to review after a leak.
MAX_PER_PERSON = 20
MAX_LIFETIME = timedelta(days=365)


class TooManyTokens(Exception):
    """The person already has `MAX_PER_PERSON` tokens."""


class NameTaken(Exception):
    """The person already has a token with this name."""


def scopes_for(user: User) -> list[TokenScope]:
    """Return the scopes that the person may grant to a token."""
    holder = Holder.STAFF if user.is_staff else Holder.PERSON
    return [scope for scope in token_scopes.declared().values() if scope.holder <= holder]


def may_have(user: User, scope: str) -> bool:
    """Whether the person's tokens can have the scope. It ends with their rights: staff can become ordinary people."""
    return any(scope == each.name for each in scopes_for(user))


def create(user: User, name: str, scopes: Iterable[str], lifetime: timedelta) -> tuple[PersonalAccessToken, str]:
    """Create a token and return its row and the token itself, which is not stored. Deletes the person's expired ones.

    Raises `UnknownScopes`, `TooManyTokens` or `NameTaken`.
    """
    wanted, token = token_scopes.known(scopes), bearer_tokens.new(PREFIX)
    with transaction.atomic():
        # Locks the person, so that concurrent requests can't exceed the limit counted below.
        User.objects.select_for_update().get(pk=user.pk)
        now = database_now()
        PersonalAccessToken.objects.filter(user=user, expires_at__lte=now).delete()
        names = set(PersonalAccessToken.objects.filter(user=user).values_list("name", flat=True))
        if name in names:
            raise NameTaken
        if len(names) >= MAX_PER_PERSON:
            raise TooManyTokens
        row = PersonalAccessToken.objects.create(
            user=user,
            name=name,
            digest=bearer_tokens.digest(token),
            scopes=wanted,
            created_at=now,
            expires_at=now + min(lifetime, MAX_LIFETIME),
        )
    return row, token


def find(token: str) -> PersonalAccessToken | None:
    """Return the row of a valid token with its person, or None if it is unknown, expired or its person inactive.

    Makes at most one query.
    """
    rows = PersonalAccessToken.objects.select_related("user").filter(expires_at__gt=Now(), user__is_active=True)
    return bearer_tokens.find(rows, PREFIX, token)


def revoke(tokens: "QuerySet[PersonalAccessToken]") -> int:
    """Delete these tokens, each of which joins the list of deletions. Returns how many there were."""
    with transaction.atomic():
        numbers = list(tokens.order_by("pk").values_list("pk", flat=True))
        deleted, _models = PersonalAccessToken.objects.filter(pk__in=numbers).delete()
        for number in numbers:
            transaction.on_commit(partial(deletions.access_token_revoked, number), robust=True)
    return deleted


def curl_command(method: str, url: str, token: str, body: str = "") -> str:
    """Return a shell command that requests `url` with the token, which may be a variable such as `$TOKEN`.

    `body` is JSON, or `@` and the name of a file with it.
    """
    sent = f" --json {body}" if body else ""
    return f"""curl -X {method} -H "Authorization: Bearer {token}"{sent} '{url}'"""
