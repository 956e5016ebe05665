"""Service tokens: the keys of the site's own programs, such as its bot, to the API.

They belong to a service, which is a name and no person: it has no password, no session and no row among the people.
Operators create them with `manage.py create_token` or in the admin. Two tokens of a service can be valid at once, so
that a program changes to the new one without a pause.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import ClassVar

import structlog
from django.db import transaction
from django.db.models import Q, QuerySet

from accounts import bearer_tokens, deletions, token_scopes
from accounts.clock import Now, database_now
from accounts.models import ServiceToken

PREFIX = "gdhs_"
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
MAX_VALID = 2

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Service:
    """The identity behind a service token, as `request.user` of a view that accepts services. It is no person."""

    name: str

    # What Django and REST framework ask of every user.
    pk: ClassVar[None] = None
    is_authenticated: ClassVar[bool] = True
    is_anonymous: ClassVar[bool] = False
    is_active: ClassVar[bool] = True
    is_staff: ClassVar[bool] = False
    is_superuser: ClassVar[bool] = False

    def __str__(self) -> str:
        return self.name


class WrongName(ValueError):
    """The name of a service has other characters than a-z, 0-9, dot, hyphen and underscore, or more than 64."""


class NoScopes(ValueError):
    """The first token of a service needs at least one scope."""


class TooManyValid(Exception):
    """The service already has `MAX_VALID` valid tokens."""


def create(
    name: str,
    scopes: Iterable[str] = (),
    *,
    lifetime: timedelta | None = None,
    overlap: timedelta | None = None,
    by: str,
) -> tuple[ServiceToken, str]:
    """Create a token of the service and return its row and the token itself, which is not stored.

    Without `scopes` it has those of the service's newest token; without `lifetime` it doesn't expire. The service's
    earlier tokens stay valid until they are revoked, or for as long as `overlap`; they are revoked if that is zero.
    `by` names the operator in the log. Raises `WrongName`, `UnknownScopes`, `PersonalScopes`, `NoScopes` or
    `TooManyValid`.
    """
    if not NAME.fullmatch(name):
        raise WrongName(name)
    wanted, token = token_scopes.known_for_services(scopes), bearer_tokens.new(PREFIX)
    with transaction.atomic():
        earlier = ServiceToken.objects.filter(name=name)
        # Locks them, so that concurrent rotations can't exceed the limit counted below.
        list(earlier.select_for_update())
        now = database_now()
        newest = earlier.first()
        wanted = wanted or (newest.scopes if newest else [])
        if not wanted:
            raise NoScopes
        earlier.filter(expires_at__lte=now).delete()
        if overlap == timedelta(0):
            revoke(earlier, by=by)
        elif overlap is not None:
            end = now + overlap
            earlier.filter(Q(expires_at=None) | Q(expires_at__gt=end)).update(expires_at=end)
        if earlier.count() >= MAX_VALID:
            raise TooManyValid
        row = ServiceToken.objects.create(
            name=name,
            digest=bearer_tokens.digest(token),
            scopes=wanted,
            created_at=now,
            expires_at=None if lifetime is None else now + lifetime,
        )
    expires_at = str(row.expires_at) if row.expires_at else None
    logger.info("service_token_created", service=name, token_id=row.pk, scopes=wanted, expires_at=expires_at, by=by)
    return row, token


def revoke(tokens: QuerySet[ServiceToken], *, by: str) -> int:
    """Delete these tokens, so that requests with them are refused from now on. Returns how many there were.

    Each joins the list of deletions. `by` names the operator in the log.
    """
    with transaction.atomic():
        rows = list(tokens.all())
        deleted, _models = ServiceToken.objects.filter(pk__in=[row.pk for row in rows]).delete()
        for row in rows:
            told = partial(deletions.service_token_revoked, row.pk, service=row.name, by=by)
            transaction.on_commit(told, robust=True)
    return deleted


def find(token: str) -> ServiceToken | None:
    """Return the row of a valid service token; None if it is unknown, expired or revoked. Makes at most one query."""
    return bearer_tokens.find(valid(), PREFIX, token)


def valid() -> QuerySet[ServiceToken]:
    """Return the tokens that haven't expired, the newest first."""
    return ServiceToken.objects.filter(Q(expires_at=None) | Q(expires_at__gt=Now()))
