"""Rotating keys: what each key still seals or signs, and sealing it anew with the first one while the site runs.

Tokens are sealed with `TOKEN_KEYS`, sessions are signed with `SECRET_KEY` and `SECRET_KEY_FALLBACKS`. A row is only
replaced if it is still as it was read, so a token that is renewed or a session that changes meanwhile is never lost.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from cryptography.fernet import Fernet, InvalidToken
from django.conf import settings
from django.contrib.auth import HASH_SESSION_KEY
from django.core import signing
from django.db.models import F, QuerySet, TextField
from django.db.models.functions import Cast

from accounts.clock import Now
from accounts.models import DiscordAccount, Session

PAGE = 500
# The count of what no key opens.
NO_KEY = None


@dataclass(frozen=True, slots=True)
class Use:
    """`names` are the keys, the first of which seals; `counts` says how many rows each has, by its place in `names`.

    `resealed` of them had another key and now have the first; they count as its own.
    """

    names: tuple[str, ...]
    counts: Counter[int | None] = field(default_factory=Counter)
    resealed: int = 0


def tokens(*, reseal: bool = False, latest: int | None = None) -> Use:
    """Whose key seals people's Discord tokens, disconnected accounts included; of all people or the `latest`."""
    openers = [Fernet(key) for key in settings.TOKEN_KEYS]
    rows = DiscordAccount.objects.annotate(ciphertext=Cast(F("extra_data"), TextField()))
    names = tuple(f"TOKEN_KEYS, key {number}" for number in range(1, len(openers) + 1))
    return _use(
        names,
        _paged(rows) if latest is None else rows.order_by("-pk")[:latest],
        lambda account: _first(openers, lambda opener: opener.decrypt(account.ciphertext), InvalidToken),
        _reseal_tokens if reseal else None,
    )


def sessions(*, reseal: bool = False, latest: int | None = None) -> Use:
    """Whose key signs the sessions that have not expired; of all or the `latest` to expire."""
    store = import_module(settings.SESSION_ENGINE).SessionStore()
    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    signers = [signing.TimestampSigner(key=key, fallback_keys=[], salt=store.key_salt) for key in keys]
    rows = Session.objects.filter(expire_date__gt=Now()).select_related("user")
    names = ("SECRET_KEY", *(f"SECRET_KEY_FALLBACKS, key {number}" for number in range(1, len(keys))))
    return _use(
        names,
        _paged(rows) if latest is None else rows.order_by("-expire_date")[:latest],
        lambda session: _first(signers, lambda signer: signer.unsign(session.session_data), signing.BadSignature),
        (lambda session: _reseal_session(session, store)) if reseal else None,
    )


def _use(
    names: tuple[str, ...],
    rows: Iterable[Any],
    place_of: Callable[[Any], int | None],
    reseal: Callable[[Any], bool] | None,
) -> Use:
    counts: Counter[int | None] = Counter()
    resealed = 0
    for row in rows:
        place = place_of(row)
        if place and reseal and reseal(row):
            place, resealed = 0, resealed + 1
        counts[place] += 1
    return Use(names, counts, resealed)


def _paged(rows: "QuerySet[Any]") -> Iterator[Any]:
    """All rows by primary key, read in pages: an open cursor over millions would hold a transaction open."""
    page = list(rows.order_by("pk")[:PAGE])
    while page:
        yield from page
        page = list(rows.order_by("pk").filter(pk__gt=page[-1].pk)[:PAGE])


def _first(keys: list[Any], attempt: Callable[[Any], object], refused: type[Exception]) -> int | None:
    for place, key in enumerate(keys):
        try:
            attempt(key)
        except refused:
            continue
        return place
    return NO_KEY


def _reseal_tokens(account: DiscordAccount) -> bool:
    same = DiscordAccount.objects.filter(pk=account.pk, token_version=account.token_version)
    return bool(same.update(extra_data=account.extra_data))


def _reseal_session(session: Session, store: Any) -> bool:
    """Sign the session anew, and the hash in it that ends it when its person's password changes."""
    data = store.decode(session.session_data)
    user: Any = session.user
    if user and data.get(HASH_SESSION_KEY) in user.get_session_auth_fallback_hash():
        data[HASH_SESSION_KEY] = user.get_session_auth_hash()
    same = Session.objects.filter(pk=session.pk, session_data=session.session_data)
    return bool(same.update(session_data=store.encode(data)))
