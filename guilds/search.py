"""How servers are found by name: every word of the query, in any order, whatever its case and accents."""

import unicodedata
from collections.abc import Collection


def words_of(query: str) -> tuple[str, ...]:
    """What `is_found` looks for."""
    return tuple(_plain(query).split())


def is_found(words: Collection[str], name: str, guild_id: int) -> bool:
    """Whether the name holds all of the words; a word may also be the guild's whole id."""
    if not words:
        return True
    plain = _plain(name)
    return all(word in plain or word == str(guild_id) for word in words)


def _plain(text: str) -> str:
    """Without case and accents: a "café" is found by "CAFE"."""
    if text.isascii():
        return text.lower()
    apart = unicodedata.normalize("NFKD", text)
    return "".join(letter for letter in apart if not unicodedata.combining(letter)).casefold()
