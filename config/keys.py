"""The keys a first run makes for itself.

A clone must start without anybody inventing secrets, and must still read its own sessions and tokens
after a restart. So keys that the environment does not give are made once, and kept beside the database,
readable by their owner only and outside the repository.
"""

import contextlib
import json
import os
import secrets
import tempfile
from pathlib import Path

from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured


def local_keys(path: Path) -> dict[str, str]:
    """`{"SECRET_KEY": …, "TOKEN_KEYS": …}` from `path`, made on the first call.

    Safe with several processes starting at once: a hard link decides whose keys stay.
    """
    if not path.exists():
        _make(path)
    try:
        keys = json.loads(path.read_text())
        return {name: str(keys[name]) for name in ("SECRET_KEY", "TOKEN_KEYS")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ImproperlyConfigured(
            f"{path.name} under var/ can't be read as this site's keys ({type(error).__name__}). Restore it, or set "
            "SECRET_KEY and TOKEN_KEYS; without the old TOKEN_KEYS everybody has to sign in with Discord again."
        ) from None


def _make(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    keys = {"SECRET_KEY": secrets.token_urlsafe(64), "TOKEN_KEYS": Fernet.generate_key().decode()}
    # mkstemp gives mode 0600 from the first byte on.
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=".keys-")
    try:
        with os.fdopen(handle, "w") as file:
            json.dump(keys, file)
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        os.unlink(draft)
