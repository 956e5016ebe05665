"""Invisible names, and names that change the direction of the surrounding text."""

import sys
import unicodedata

import pytest
import regex

from accounts.forms import AccessTokenForm
from accounts.models import User
from accounts.names import first_visible, isolated, shows_nothing, without_ignorable

NOTHING = [
    "",
    " ",
    "\t\n",
    "\u3164",
    "\u2800",
    "\u200b",
    "\u202e\u202c",
    "\u2067\u2069",
    "\u00a0\ufeff",
    "\u3000 \u180e",
]


@pytest.mark.parametrize("name", NOTHING)
def test_a_name_of_invisible_characters_shows_nothing(name: str) -> None:
    assert shows_nothing(name)


@pytest.mark.parametrize("name", ["a", "\u200ba", "日", "🦊", "👨\u200d👩", "\u202e.", "\u0600", "\ue000", "é", "٠"])
def test_a_name_with_one_visible_character_shows_something(name: str) -> None:
    assert not shows_nothing(name)


def test_all_that_unicode_ignores_shows_nothing_and_no_letter_does() -> None:
    letters = [chr(point) for point in range(sys.maxunicode + 1)]
    ignorable = set(regex.findall(r"[\p{Default_Ignorable_Code_Point}\p{White_Space}]", "".join(letters)))

    blank = {letter for letter in letters if shows_nothing(letter)}

    assert ignorable <= blank
    assert {unicodedata.category(letter) for letter in blank - ignorable} == {"Cc", "Cf", "Mn", "So"}


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Chess & Coffee", "Chess & Coffee"),
        ("日曜写真部 🦊", "日曜写真部 🦊"),
        ("שלום", "\u2068שלום\u2069"),
        ("مرحبا 1", "\u2068مرحبا 1\u2069"),
        ("\u202eevil", "\u2068evil\u2069"),
        ("\u2069\u202eevil", "\u2068evil\u2069"),
        ("two\r\nlines\x1b[31m\u2028", "two lines [31m "),
    ],
)
def test_plain_text_holds_a_name_in_isolation(name: str, shown: str) -> None:
    assert isolated(name) == shown


def test_ignorable_characters_count_for_nothing() -> None:
    assert without_ignorable("\u200bCh\u00adess") == "Chess"


@pytest.mark.parametrize("nothing", NOTHING)
def test_a_person_is_shown_by_the_first_name_that_shows_something(nothing: str) -> None:
    assert User(global_name="Ada", discord_username="ada", username="7").display_name == "Ada"
    assert User(global_name=nothing, discord_username="ada", username="7").display_name == "ada"
    assert User(global_name=nothing, discord_username=nothing, username="7").display_name == "7"
    assert first_visible(nothing, nothing) == nothing


@pytest.mark.django_db
def test_an_access_token_needs_a_name_that_shows_something() -> None:
    user = User.objects.create_user(username="ada", discord_id=1)
    form = AccessTokenForm(user, {"name": "\u3164", "scopes": ["guilds:read"], "days": "30"})

    assert list(form.errors) == ["name"]
