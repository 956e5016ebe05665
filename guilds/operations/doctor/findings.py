"""What a check found, in words for an operator."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad a finding is. A note is for information; what it describes can be intended."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    ERROR = "error"


EXIT_CODES = {Level.OK: 0, Level.NOTE: 0, Level.WARNING: 1, Level.ERROR: 2}
# Seconds. Discord names its time in whole seconds, and a request takes some of them.
MAX_SKEW = 5.0


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


def skew(clock: str, seconds: float) -> Finding:
    """Return whether a clock that is `seconds` ahead of this machine's is right. `clock` is its name in a sentence."""
    if abs(seconds) <= MAX_SKEW:
        return ok(f"{clock} agrees with this machine's.")
    direction = "ahead of" if seconds > 0 else "behind"
    return warning(
        f"{clock} is {abs(seconds):,.0f} s {direction} this machine's.",
        "Synchronize the machines' clocks by NTP; `timedatectl` shows the state.",
    )
