"""Revoking tokens at Discord after a person's account is deleted, in the background.

One daemon thread per process sends the revocations one after another, at the lowest priority. Each is tried up to
`MAX_ATTEMPTS` times; after that, or when the process stops, the token is dropped and the drop is logged. The token is
not stored, as the account that held it is gone.
"""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog
from django.db import DatabaseError, connections

from accounts import gate
from accounts.discord import DiscordAPIError, DiscordClient, RateLimited
from accounts.discord.errors import DiscordUnavailable
from accounts.limits import GateShut, Priority
from accounts.models import DiscordAccount

logger = structlog.get_logger(__name__)

MAX_ATTEMPTS = 5
MAX_WAITING = 1000
# Seconds. The pause doubles with each failure; a longer wait named by Discord or the gate takes precedence.
FIRST_PAUSE = 5.0
MAX_PAUSE = 600.0


class SignedInAgain(Exception):
    """The person has an account again, so revoking the old token would also revoke the new ones."""


@dataclass(frozen=True, slots=True)
class Revocation:
    """One token to revoke. `uid` is the person's Discord id, `user_id` the deleted account's number, for the log."""

    user_id: int
    uid: str
    token: str = field(repr=False)

    def send(self, client: DiscordClient) -> None:
        """Send the request. Raises `SignedInAgain`, `GateShut` or a `DiscordAPIError`."""

        def still_gone() -> None:
            if DiscordAccount.objects.filter(uid=self.uid).exists():
                raise SignedInAgain

        gate.gated(client, Priority.DUE, still_mine=still_gone).revoke_token(self.token)


class Revoker:
    """A queue of revocations and the thread that sends them while there are any.

    `client` creates the client for each request. `pause` waits for the given seconds and returns whether to stop.
    """

    def __init__(self, client: Callable[[], DiscordClient], pause: Callable[[float], bool] | None = None) -> None:
        self._client = client
        self._stop = threading.Event()
        self._pause = pause or self._stop.wait
        self._lock = threading.Lock()
        self._waiting: deque[Revocation] = deque()
        self._thread: threading.Thread | None = None

    def add(self, revocation: Revocation) -> None:
        """Queue the revocation and return at once."""
        with self._lock:
            if len(self._waiting) >= MAX_WAITING:
                _log_dropped(revocation, "too many are waiting")
                return
            self._waiting.append(revocation)
            if self._thread is None:
                self._stop.clear()
                thread = threading.Thread(target=self._work, daemon=True, name="guildhall-revoker")
                thread.start()
                self._thread = thread

    def finish(self, seconds: float) -> None:
        """Wait until all are sent, for at most `seconds`, and drop the rest. Commands call it before they exit."""
        thread = self._thread
        if thread is None:
            return
        thread.join(seconds)
        self._stop.set()
        thread.join()

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._thread = None
                    return
                revocation = self._waiting.popleft()
            try:
                self.revoke(revocation)
            except Exception as error:
                _log_dropped(revocation, type(error).__name__)
            finally:
                connections.close_all()

    def revoke(self, revocation: Revocation) -> None:
        """Send one revocation, with retries."""
        for attempt in range(MAX_ATTEMPTS):
            if self._stop.is_set():
                _log_dropped(revocation, "the process stops")
                return
            try:
                revocation.send(self._client())
            except SignedInAgain:
                return
            except (RateLimited, DiscordUnavailable, GateShut, DatabaseError) as error:
                reason, wait = type(error).__name__, getattr(error, "retry_after", None) or 0.0
            except DiscordAPIError as error:
                _log_dropped(revocation, type(error).__name__)
                return
            else:
                logger.info("discord_tokens_revoked", user_id=revocation.user_id)
                return
            if attempt < MAX_ATTEMPTS - 1:
                self._pause(min(max(wait, FIRST_PAUSE * 2**attempt), MAX_PAUSE))
        _log_dropped(revocation, reason)


def _log_dropped(revocation: Revocation, reason: str) -> None:
    logger.warning("discord_tokens_not_revoked", user_id=revocation.user_id, reason=reason)
