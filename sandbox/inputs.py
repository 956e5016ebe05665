"""Validation of input. Each function returns the value or raises `BadInput`, which names the field and the reason."""

import json
from collections.abc import Iterable, Mapping
from typing import Any


class BadInput(ValueError):
    """The input is invalid. The message is for the person who wrote it."""


def parse_json(text: bytes | str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"the input is not JSON: {error}") from None


def as_object(value: Any, what: str, known: Iterable[str] | None = None) -> Mapping[str, Any]:
    """Return `value` as an object. Fields outside `known` are errors, so that a misspelt one isn't ignored."""
    if not isinstance(value, dict):
        raise BadInput(f"{what} must be an object, not {kind(value)}")
    if known is not None:
        unknown = sorted(set(value) - set(known))
        if unknown:
            raise BadInput(f"{what} has no field {unknown[0]!r}; the fields are {', '.join(sorted(known))}")
    return value


def as_number(value: Any, what: str, *, minimum: float = 0, maximum: float = 10**9) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadInput(f"{what} must be a number, not {kind(value)}")
    if not minimum <= value <= maximum:
        raise BadInput(f"{what} must be between {minimum:g} and {maximum:g}, not {value:g}")
    return value


def as_integer(value: Any, what: str, *, minimum: int = 0, maximum: int = 10**9) -> int:
    number = as_number(value, what, minimum=minimum, maximum=maximum)
    if not isinstance(number, int):
        raise BadInput(f"{what} must be an integer, not {value}")
    return number


def as_text(value: Any, what: str, *, maximum: int = 1_000_000) -> str:
    if not isinstance(value, str):
        raise BadInput(f"{what} must be a string, not {kind(value)}")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise BadInput(f"{what} contains half of a surrogate pair, which cannot be sent")
    if len(value) > maximum:
        raise BadInput(f"{what} must be at most {maximum} characters long")
    return value


def as_flag(value: Any, what: str) -> bool:
    if not isinstance(value, bool):
        raise BadInput(f"{what} must be true or false, not {kind(value)}")
    return value


def as_texts(value: Any, what: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise BadInput(f"{what} must be a list of strings")
    return [as_text(item, what) for item in value]


def kind(value: Any) -> str:
    """Return JSON's name for this value's type."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    names = {int: "a number", float: "a number", str: "a string", list: "a list", dict: "an object"}
    return names.get(type(value), type(value).__name__)
