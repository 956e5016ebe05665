"""Functions for displaying names that people chose at Discord.

A name may consist of invisible characters only, and may reverse the direction of the surrounding text. In markup put a
name in `<bdi>` or in an element with `dir="auto"`; in titles, attributes, messages and logs use `isolated`.
"""

import re
import unicodedata

# Unicode's Default_Ignorable_Code_Point, which no font draws. The set is stable: it reserves future characters.
# https://www.unicode.org/Public/UCD/latest/ucd/DerivedCoreProperties.txt
_IGNORABLE = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
# Controls and annotation marks; the blank Braille pattern, null notehead and Khitan filler. Spaces match `\s`.
_BLANK = "\x00-\x1f\x7f-\x9f\ufff9-\ufffb\u2800\U0001d159\U00016fe4"
_SHOWS_NOTHING = re.compile(rf"[\s{_IGNORABLE}{_BLANK}]*")
_BLANK_START = re.compile(f"^[{_IGNORABLE}{_BLANK}]+")
_IGNORED = re.compile(f"[{_IGNORABLE}]+")
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_BIDI_CONTROLS = re.compile("[\u202a-\u202e\u2066-\u2069]+")
_RIGHT_TO_LEFT = frozenset({"R", "AL", "AN"})


def shows_nothing(text: str) -> bool:
    """Whether the text consists of invisible characters only."""
    return _SHOWS_NOTHING.fullmatch(text) is not None


def first_visible(*names: str) -> str:
    """Return the first visible name, or the last one if none is visible."""
    return next((name for name in names if not shows_nothing(name)), names[-1])


def without_ignorable(text: str) -> str:
    """Return the text without characters that no font draws, for comparing and sorting."""
    return text if text.isascii() else _IGNORED.sub("", text)


def from_first_visible(text: str) -> str:
    """Return the text from its first visible character on. Later invisible characters stay, because they join emoji."""
    return text if text.isascii() else _BLANK_START.sub("", text)


def isolated(name: str) -> str:
    """Return the name for plain text: on one line, and without effect on the direction of the surrounding text.

    Directional controls in the name are removed, because they could end the isolation. Left-to-right names are
    otherwise unchanged.
    """
    line = _CONTROLS.sub(" ", name)
    plain = _BIDI_CONTROLS.sub("", line)
    if plain == line and not any(unicodedata.bidirectional(letter) in _RIGHT_TO_LEFT for letter in plain):
        return plain
    return f"\u2068{plain}\u2069"
