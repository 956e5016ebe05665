"""Attributes and keywords that look like a requirement of a view but aren't read, such as `permissions`.

A guard that ignored them would admit every member.
"""

from collections.abc import Collection, Iterator
from difflib import SequenceMatcher
from inspect import signature
from typing import Any

ATTRIBUTES = ("permission", "role", "member", "max_age", "write_max_age", "bot", "rule", "validate", "guild_id_kwarg")
# How Django, REST framework, libraries for bots, and our own decorator, apps and permission classes call the same
# requirement.
OTHER_NAMES = {
    "bot_permissions": "bot",
    "guild_id": "guild_id_kwarg",
    "guild_id_kwarg": "guild_id",
    "guild_permission": "permission",
    "guild_permissions": "permission",
    "guild_role": "role",
    "guild_roles": "role",
    "may": "permission",
    "perm": "permission",
    "perms": "permission",
    "permission_classes": "permission",
    "role_id": "role",
    "role_ids": "role",
    "validation": "validate",
    "with_bot": "bot",
    "within": "max_age",
    "writes_within": "write_max_age",
}
FILLERS = frozenset({"any", "has", "need", "needed", "needs", "own", "reads", "require", "required", "requires"})
MIN_LIKENESS = 0.8  # "permision" is 0.95 like "permission", and "validators" 0.78 like "validate"


def meant(name: str, known: Collection[str]) -> str | None:
    """Return the one of the `known` names that a developer who wrote `name` probably meant, else None."""
    words = [word for word in name.lower().split("_") if word not in FILLERS]
    other = OTHER_NAMES.get("_".join(words))
    if other in known:
        return other
    near = [each for each in known if _are_alike(words, each.split("_")) or "".join(words) == each.replace("_", "")]
    return max(near, key=lambda each: SequenceMatcher(None, name, each).ratio(), default=None)


def refuse_near_misses(cls: type, guard: type, read: Collection[str] = ATTRIBUTES) -> None:
    """Raise `TypeError` for an attribute of `cls` that `guard`, its base, doesn't read but was probably meant to.

    `read` are the names that the guard reads.
    """
    for owner, name, right in near_misses(cls, guard, read):
        raise TypeError(
            f"{owner.__qualname__}.{name} is not read by {guard.__name__}, so it requires nothing. "
            f"Did you mean {right!r}? If it means something else, give it another name."
        )


def near_misses(cls: type, base: type, read: Collection[str] = ()) -> Iterator[tuple[type, str, str]]:
    """Yield each attribute that looks like a requirement and isn't `read`: its class, its name and the meant name.

    Those of the classes that `cls` inherits from count too, except `base` and its own bases. Methods, properties,
    constants, and what overrides an attribute of another base, such as Django's `permission_required`, are no mistake.
    """
    for owner in cls.__mro__:
        if issubclass(base, owner) or _is_of_framework(owner):
            continue
        for name, value in vars(owner).items():
            if name in read or name.startswith("_") or name.isupper() or value is None or value is False:
                continue
            right = name if name in ATTRIBUTES else meant(name, ATTRIBUTES)
            if right and not _is_method(value) and not _overrides_another(cls, owner, name, base):
                yield owner, name, right


def _are_alike(words: list[str], others: list[str]) -> bool:
    return len(words) == len(others) and all(map(_is_alike, words, others))


def _is_alike(word: str, other: str) -> bool:
    if word[:1] != other[:1]:
        return False
    return sorted(word) == sorted(other) or SequenceMatcher(None, word, other).ratio() >= MIN_LIKENESS


def _is_of_framework(cls: type) -> bool:
    return cls.__module__.partition(".")[0] in {"django", "rest_framework"}


def _is_method(value: object) -> bool:
    """Whether it is a method or property of the class, and no function of a request as a guard would call it."""
    if not callable(value):
        return hasattr(value, "__get__")  # such as a property or a class method
    return not isinstance(value, type) and _first_parameter(value) == "self"


def _first_parameter(function: Any) -> str | None:
    try:
        return next(iter(signature(function).parameters), None)
    except (TypeError, ValueError):  # some functions that aren't written in Python don't tell
        return None


def _overrides_another(cls: type, owner: type, name: str, base: type) -> bool:
    after = cls.__mro__[cls.__mro__.index(owner) + 1 :]
    return any(name in vars(other) and not issubclass(other, base) for other in after)
