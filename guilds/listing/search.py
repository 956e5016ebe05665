"""Search for servers by name: matches all words of the query in any order, ignoring case and accents."""

import unicodedata
from collections.abc import Collection

from accounts.names import without_ignorable


def words_of(query: str) -> tuple[str, ...]:
    """Split a query into the normalized words that `is_found` takes."""
    return tuple(_plain(query).split())


def is_found(words: Collection[str], name: str, guild_id: int) -> bool:
    """Whether the name contains all of the words. A word also matches if it is the guild's complete id."""
    if not words:
        return True
    plain = _plain(name)
    return all(word in plain or word == str(guild_id) for word in words)


def sort_key(name: str) -> str:
    """Return the key that sorts names on pages and in the API; it ignores case and invisible characters."""
    return without_ignorable(name).strip().casefold()


def _plain(text: str) -> str:
    """Remove case, accents and invisible characters, so that "CAFE" finds "café"."""
    if text.isascii():
        return text.lower()
    apart = unicodedata.normalize("NFKD", without_ignorable(text))
    return "".join(letter for letter in apart if not unicodedata.combining(letter)).casefold()
