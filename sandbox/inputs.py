"""Reading what somebody else wrote: the checked values, or a `BadInput` that says which field is wrong and why."""

import json
from collections.abc import Iterable, Mapping
from typing import Any


class BadInput(ValueError):
    """The input is wrong. Its text is for the person who wrote it."""


def parse_json(text: bytes | str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"this is not JSON: {error}") from None


def as_object(value: Any, what: str, known: Iterable[str] | None = None) -> Mapping[str, Any]:
    """`value` as an object, without fields outside `known` (a misspelt field would silently do nothing)."""
    if not isinstance(value, dict):
        raise BadInput(f"{what} has to be an object, not {kind(value)}")
    if known is not None:
        unknown = sorted(set(value) - set(known))
        if unknown:
            raise BadInput(f"{what} knows no {unknown[0]!r}; it takes {', '.join(sorted(known))}")
    return value


def as_number(value: Any, what: str, *, least: float = 0, most: float = 10**9) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadInput(f"{what} has to be a number, not {kind(value)}")
    if not least <= value <= most:
        raise BadInput(f"{what} has to be between {least:g} and {most:g}, not {value:g}")
    return value


def as_integer(value: Any, what: str, *, least: int = 0, most: int = 10**9) -> int:
    number = as_number(value, what, least=least, most=most)
    if not isinstance(number, int):
        raise BadInput(f"{what} has to be a whole number, not {value}")
    return number


def as_text(value: Any, what: str, *, most: int = 1_000_000) -> str:
    if not isinstance(value, str):
        raise BadInput(f"{what} has to be a string, not {kind(value)}")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise BadInput(f"{what} has half a character in it, which cannot be sent")
    if len(value) > most:
        raise BadInput(f"{what} has to be at most {most} characters long")
    return value


def as_flag(value: Any, what: str) -> bool:
    if not isinstance(value, bool):
        raise BadInput(f"{what} has to be true or false, not {kind(value)}")
    return value


def as_texts(value: Any, what: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise BadInput(f"{what} has to be a list of strings")
    return [as_text(item, what) for item in value]


def kind(value: Any) -> str:
    """How JSON calls this value's type."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    names = {int: "a number", float: "a number", str: "a string", list: "a list", dict: "an object"}
    return names.get(type(value), type(value).__name__)
