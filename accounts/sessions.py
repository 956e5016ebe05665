"""The session engine: Django's database sessions, with a column for the user and a digest instead of the key.

In Django's own table the key is the cookie, so a reader of the table can sign in as anyone. Here a backup, a dump or a
readable database file doesn't allow that. Sessions from releases that stored the key itself aren't found and expire.

The session age depends on the kind of visitor.
"""

import hashlib
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.utils import timezone

from accounts.models import Session

# Seconds. Longer than a sign-in, whose state is valid for half an hour.
ANONYMOUS_SESSION_AGE = 3600
SIGNED_IN_AT = "signed_in_at"


def digest(session_key: str) -> str:
    """Return the value stored for the session with this key: 40 hexadecimal digits, the length of the column."""
    return hashlib.sha256(session_key.encode()).hexdigest()[:40]


class SessionStore(DatabaseStore):
    """Sessions last `SESSION_COOKIE_AGE` for signed-in people and an hour for other visitors, and so do their cookies.

    Each session stores when its person signed in, because Django writes the person's key only then. A sign-in also
    resets an expiry set by an earlier one.
    """

    @classmethod
    def get_model_class(cls) -> Any:
        return Session

    def load(self) -> dict[str, Any]:
        found: dict[str, Any] | None = self.find(digest(self.session_key)) if self.session_key else None
        if found is None:
            self._session_key = None
        return found or {}

    def find(self, stored_key: str) -> dict[str, Any] | None:
        """Return the data of the unexpired session with this stored key, or None."""
        session = Session.objects.filter(session_key=stored_key, expire_date__gt=timezone.now()).first()
        return self.decode(session.session_data) if session else None

    async def aload(self) -> dict[str, Any]:
        return await sync_to_async(self.load)()

    def exists(self, session_key: str) -> bool:
        return bool(super().exists(digest(session_key)))

    async def aexists(self, session_key: str) -> bool:
        return bool(await super().aexists(digest(session_key)))

    def create_model_instance(self, data: dict[str, Any]) -> Any:
        return self._named(super().create_model_instance(data), data)

    async def acreate_model_instance(self, data: dict[str, Any]) -> Any:
        return self._named(await super().acreate_model_instance(data), data)

    def _named(self, session: Any, data: dict[str, Any]) -> Any:
        session.session_key = digest(session.session_key)
        session.user_id = data.get(SESSION_KEY)
        return session

    def delete(self, session_key: str | None = None) -> None:
        if key := session_key or self.session_key:
            super().delete(digest(key))

    async def adelete(self, session_key: str | None = None) -> None:
        await sync_to_async(self.delete)(session_key)

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, value)
        if key == SESSION_KEY:
            super().__setitem__(SIGNED_IN_AT, int(time.time()))
            self.set_expiry(None)

    async def aset(self, key: str, value: Any) -> None:
        await super().aset(key, value)
        if key == SESSION_KEY:
            await super().aset(SIGNED_IN_AT, int(time.time()))
            await self.aset_expiry(None)

    def get_session_cookie_age(self) -> int:
        """Return the age in seconds of a session without an explicit expiry."""
        age: int = settings.SESSION_COOKIE_AGE
        return age if SESSION_KEY in self else ANONYMOUS_SESSION_AGE

    def shorten_for_staff(self) -> bool:
        """Make the session end `STAFF_SESSION_HOURS` after its sign-in. Returns False if that time has passed."""
        if (signed_in_at := self.get(SIGNED_IN_AT)) is None:
            return False  # a session from a release that didn't store it
        end = datetime.fromtimestamp(signed_in_at, UTC) + timedelta(hours=settings.STAFF_SESSION_HOURS)
        if end <= timezone.now():
            return False
        if self.get_expiry_date() > end:
            self.set_expiry(end)
        return True
