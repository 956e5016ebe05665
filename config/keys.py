"""The keys that the site generates at its first start.

A clone must start without configuration, and must be able to read its sessions and tokens after a restart. So keys
that aren't in the environment are generated once and stored beside the database, outside the repository and readable
only by their owner.
"""

import contextlib
import json
import os
import secrets
import sqlite3
import stat
import tempfile
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured

TOKENS = "SELECT 1 FROM accounts_discordaccount LIMIT 1"


def local_keys(path: Path, database: dict[str, Any] | None = None) -> dict[str, str]:
    """Return `{"SECRET_KEY": …, "TOKEN_KEYS": …}` from the file `path`, which the first call creates.

    Several processes can start at once: creating a hard link decides which keys are kept. `database` is an entry of
    `DATABASES`, or None if TOKEN_KEYS is set elsewhere. Raises `ImproperlyConfigured` if the file can't be used, or if
    it is missing although the database holds tokens encrypted with its keys.
    """
    if not path.exists():
        if database and holds_tokens(database):
            raise ImproperlyConfigured(
                f"{path} is missing, but the database holds tokens encrypted with its keys: restore it from a backup. "
                "If it is lost, set SECRET_KEY and TOKEN_KEYS to new keys; everyone then has to sign in again."
            )
        _make(path)
    try:
        close_to_others(path)
        keys = json.loads(path.read_text())
        found = {name: str(keys[name]).strip() for name in ("SECRET_KEY", "TOKEN_KEYS")}
        if not all(found.values()):
            raise ValueError("a key is empty")
        return found
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ImproperlyConfigured(
            f"{path.name} under var/ does not hold readable keys ({type(error).__name__}). Restore it, or set "
            "SECRET_KEY and TOKEN_KEYS; without the old TOKEN_KEYS everyone has to sign in with Discord again."
        ) from None


def holds_tokens(database: dict[str, Any]) -> bool:
    """Whether the database holds encrypted tokens. Doesn't use Django, whose settings are still being read."""
    if database["ENGINE"].endswith("sqlite3"):
        file = Path(str(database["NAME"]))
        if not file.is_file():
            return False
        with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(file)) as connection:
            return connection.execute(TOKENS).fetchone() is not None
        return False
    import psycopg

    places = {"dbname": "NAME", "user": "USER", "password": "PASSWORD", "host": "HOST", "port": "PORT"}
    place = {name: database[key] for name, key in places.items() if database.get(key)}
    try:
        with psycopg.connect(**place, connect_timeout=5) as server:
            return server.execute(TOKENS).fetchone() is not None
    except psycopg.errors.UndefinedTable:
        return False
    except psycopg.Error as error:
        raise ImproperlyConfigured(
            f"The database at DATABASE_URL can't be reached ({type(error).__name__}), and there are no keys yet. "
            "Start again when the database is up, or set SECRET_KEY and TOKEN_KEYS."
        ) from None


def private_folder(path: Path) -> None:
    """Create the folder if it is missing, readable only by its owner, and check that it is writable.

    A folder that belongs to another account or is shared like /tmp keeps its mode; `accounts.checks` warns about it.
    Raises `ImproperlyConfigured`, with a message about VAR_DIR.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        close_to_others(path)
        with tempfile.TemporaryFile(dir=path) as probe:
            probe.write(bytes(65536))
    except OSError as error:
        raise ImproperlyConfigured(f"VAR_DIR is invalid: {path} can't be written ({error.strerror})") from None


def close_to_others(path: Path) -> None:
    """Revoke other accounts' access to the file or folder, if it is ours and not shared like /tmp."""
    found = path.stat()
    is_ours = found.st_uid == os.geteuid() and not found.st_mode & stat.S_ISVTX
    if is_ours and found.st_mode & 0o077:
        with contextlib.suppress(OSError):
            path.chmod(found.st_mode & 0o700)


def is_fernet_key(key: str) -> bool:
    try:
        Fernet(key)
    except ValueError:
        return False
    return True


def _make(path: Path) -> None:
    private_folder(path.parent)
    keys = {"SECRET_KEY": secrets.token_urlsafe(64), "TOKEN_KEYS": Fernet.generate_key().decode()}
    # mkstemp creates the file with mode 0600.
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=".keys-")
    try:
        with os.fdopen(handle, "w") as file:
            json.dump(keys, file)
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        os.unlink(draft)
