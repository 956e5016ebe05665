"""What personal access tokens and service tokens have in common: how they look, and how they are stored and found.

A prefix and 160 random bits in hexadecimal. The prefix lets logs, secret scanners and people recognise a token; so many
random bits need no salt and no slow hash. The token is shown once, when it is created.
"""

import hashlib
import re
import secrets
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

from django.db.models import QuerySet

from accounts.bookkeeping import bookkeeper
from accounts.clock import Now
from accounts.models import BearerToken

LAST_USED_RESOLUTION = timedelta(hours=1)

T = TypeVar("T", bound=BearerToken)


def new(prefix: str) -> str:
    return prefix + secrets.token_hex(20)


def digest(token: str) -> str:
    """Return the token's SHA-256 in hexadecimal, the only form in which it is stored."""
    return hashlib.sha256(token.encode()).hexdigest()


def find(rows: QuerySet[T], prefix: str, token: str) -> T | None:
    """Return the token's row among the valid `rows` and note its use; None if there is none.

    Makes at most one query, and none for a text that doesn't look like a token with the prefix.
    """
    if not re.fullmatch(rf"{prefix}[0-9a-f]{{40}}", token):
        return None
    found: Any = rows.annotate(now=Now()).filter(digest=digest(token)).first()
    if found is not None and (found.last_used_at is None or found.now - found.last_used_at >= LAST_USED_RESOLUTION):
        used = rows.model._base_manager.filter(pk=found.pk)
        bookkeeper.note(("token used", prefix, found.pk), partial(used.update, last_used_at=found.now))
    row: T | None = found
    return row
