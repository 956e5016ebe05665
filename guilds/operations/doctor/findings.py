"""What a check found, in words for an operator."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from django.utils.translation import gettext
from django.utils.translation import gettext_noop as _


class Level(StrEnum):
    """How bad a finding is. A note is for information; what it describes can be intended."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    ERROR = "error"


EXIT_CODES = {Level.OK: 0, Level.NOTE: 0, Level.WARNING: 1, Level.ERROR: 2}
# Seconds. Discord names its time in whole seconds, and a request takes some of them.
MAX_SKEW = 5.0


class Sentence(str):
    """A sentence in English that the admin can say in the reader's language: `template` with `values` in it."""

    template: str
    values: dict[str, str]

    def __new__(cls, template: str, **values: object) -> "Sentence":
        sentence = super().__new__(cls, template % values if values else template)
        sentence.template, sentence.values = template, {name: str(value) for name, value in values.items()}
        return sentence


def translated(template: str, values: Mapping[str, str]) -> str:
    """Return a sentence in the active language."""
    text = gettext(template)
    return text % values if values else text


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence that says what is so, and one that says what to do; empty if there is nothing to do."""

    level: Level
    sentence: str
    advice: str = ""


def ok(sentence: str) -> Finding:
    return Finding(Level.OK, sentence)


def note(sentence: str, advice: str = "") -> Finding:
    return Finding(Level.NOTE, sentence, advice)


def warning(sentence: str, advice: str) -> Finding:
    return Finding(Level.WARNING, sentence, advice)


def error(sentence: str, advice: str) -> Finding:
    return Finding(Level.ERROR, sentence, advice)


def exit_code(findings: Iterable[Finding]) -> int:
    """Return 2 if there is an error, 1 if there is a warning, else 0."""
    return max((EXIT_CODES[finding.level] for finding in findings), default=0)


def skew(owner: str, seconds: float) -> Finding:
    """Return whether a clock that is `seconds` ahead of this machine's is right. `owner` is the name of what has it."""
    if abs(seconds) <= MAX_SKEW:
        return ok(Sentence(_("%(owner)s's clock agrees with this machine's."), owner=owner))
    ahead, behind = (
        _("%(owner)s's clock is %(seconds)s s ahead of this machine's."),
        _("%(owner)s's clock is %(seconds)s s behind this machine's."),
    )
    return warning(
        Sentence(ahead if seconds > 0 else behind, owner=owner, seconds=f"{abs(seconds):,.0f}"),
        Sentence(_("Synchronize the machines' clocks by NTP; `timedatectl` shows the state.")),
    )
