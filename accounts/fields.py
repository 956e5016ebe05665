"""A JSON field that is encrypted before it reaches the database, for OAuth tokens."""

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.db import models

if TYPE_CHECKING:
    # Generic for the type checker only.
    SealedText = models.TextField[dict[str, Any], dict[str, Any]]
else:
    SealedText = models.TextField


@lru_cache(maxsize=4)
def _fernet(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])


def fernet() -> MultiFernet:
    """Return a Fernet that encrypts with the first of `settings.TOKEN_KEYS` and decrypts with any of them."""
    return _fernet(tuple(settings.TOKEN_KEYS))


class Sealed(dict[str, Any]):
    """The value of a field that none of our keys decrypts: an empty dict that keeps the ciphertext.

    Saving the row again must not destroy data that the right key could still decrypt.
    """

    def __init__(self, ciphertext: str) -> None:
        super().__init__()
        self.ciphertext = ciphertext


class EncryptedJSONField(SealedText):
    """A dict, encrypted with Fernet (AES-128-CBC and HMAC-SHA256) in a text column."""

    def from_db_value(self, value: str | None, _expression: object, _connection: object) -> dict[str, Any] | None:
        if value is None:
            return None
        try:
            opened: dict[str, Any] = json.loads(fernet().decrypt(value))
            return opened
        except InvalidToken:
            return Sealed(value)

    def get_prep_value(self, value: Any) -> str | None:
        if value is None:
            return None
        if isinstance(value, Sealed) and not value:
            return value.ciphertext
        return fernet().encrypt(json.dumps(value).encode()).decode()

    def to_python(self, value: Any) -> Any:
        return value

    def value_to_string(self, obj: models.Model) -> str:
        """Return the ciphertext, so that `dumpdata` prints no token."""
        return self.get_prep_value(self.value_from_object(obj)) or ""
