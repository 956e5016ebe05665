"""Finding servers by name, in the picker and through the API."""

import pytest

from guilds.listing.search import is_found, sort_key, words_of


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("", "Anything"),
        ("chess", "Chess & Coffee"),
        ("coffee chess", "Chess & Coffee"),
        ("  CHESS  ", "chess & coffee"),
        ("cafe", "Café Lumière"),
        ("CAFÉ", "cafe lumiere"),
        ("strasse", "Straße"),
        ("日曜", "日曜写真部"),
        ("cafe", "𝓒𝓪𝓯𝓮 Royale"),
        ("１３３７", "1337 Krew"),
        ("88137786180440562", "no such word"),
        ("chess", "\u200bCh\u00ade\u2060ss"),
        ("ch\u200bess", "Chess"),
        ("\u3164", "Anything"),
    ],
)
def test_a_server_is_found_whatever_the_case_the_accents_and_the_order(query: str, name: str) -> None:
    assert is_found(words_of(query), name, 88137786180440562)


@pytest.mark.parametrize(("query", "name"), [("chess tea", "Chess & Coffee"), ("8813", "no"), ("ã", "b")])
def test_a_server_without_one_of_the_words_is_not_found(query: str, name: str) -> None:
    assert not is_found(words_of(query), name, 88137786180440562)


def test_names_are_in_order_without_regard_to_case_and_what_shows_nothing() -> None:
    names = ["\u200bb", "A", "\u202ec", " a b", "D"]

    assert sorted(names, key=sort_key) == ["A", " a b", "\u200bb", "\u202ec", "D"]
