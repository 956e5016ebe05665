"""The scopes of access tokens: those of this project and those that the site's apps declare.

People's tokens and service tokens share them. An app declares its scopes in its configuration:

    token_scopes = (TokenScope("votes:read", _("Read the votes")),)

A system check finds views that require a scope that no app declares.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum

from django.apps import apps
from django.utils.functional import Promise

# The characters of a scope in RFC 6749, section 3.3; the challenge quotes them.
SHAPE = re.compile(r"[!#-\[\]-~]{1,64}")


class Scope(StrEnum):
    """The names of this project's scopes. `guilds.apps` declares them."""

    GUILDS_READ = "guilds:read"
    GUILDS_REFRESH = "guilds:refresh"
    ME_READ = "me:read"
    BOT_READ = "bot:read"
    BOT_MEMBERS = "bot:members"
    BOT_VERIFY = "bot:verify"
    BOT_EVENTS = "bot:events"


class Holder(IntEnum):
    """Whose tokens can have a scope: everyone's, those of staff and services, or those of services only."""

    PERSON = 1
    STAFF = 2
    SERVICE = 3


@dataclass(frozen=True, slots=True)
class TokenScope:
    """A scope that an app declares. `label` says on the account page what it lets a program do.

    `for_services` is False if what it grants needs a person, so that a service's token can't have it.

    Raises `ValueError` for a name with spaces, quotes or more than 64 characters.
    """

    name: str
    label: str | Promise
    holder: Holder = Holder.PERSON
    for_services: bool = True

    def __post_init__(self) -> None:
        if not SHAPE.fullmatch(self.name):
            raise ValueError(f"{self.name!r} can't be a scope: it may have no spaces, quotes or backslashes.")


# What a view sets as `token_scope`: one scope for all methods, or the scope of each method.
ViewScope = str | Mapping[str, str]


class UnknownScopes(ValueError):
    """No app declares these scopes. The message lists the known ones."""

    def __init__(self, unknown: Iterable[str], among: Iterable[str]) -> None:
        super().__init__(f"Unknown scope: {', '.join(sorted(unknown))}. Known scopes: {', '.join(sorted(among))}.")


class PersonalScopes(ValueError):
    """What these scopes grant needs a person. The message lists the scopes for services."""

    def __init__(self, personal: Iterable[str]) -> None:
        super().__init__(
            f"Only for people's tokens: {', '.join(sorted(personal))}. "
            f"Scopes for services: {', '.join(sorted(for_services()))}."
        )


def declared() -> dict[str, TokenScope]:
    """Return the scopes that the installed apps declare, by name, in the order of the apps."""
    return {scope.name: scope for app in apps.get_app_configs() for scope in getattr(app, "token_scopes", ())}


def for_services() -> dict[str, TokenScope]:
    """Return those of the declared scopes that a service's token can have."""
    return {name: scope for name, scope in declared().items() if scope.for_services}


def known(names: Iterable[str]) -> list[str]:
    """Return the names sorted and without repetitions. Raises `UnknownScopes` if no app declares one of them."""
    return _among(declared(), names)


def known_for_services(names: Iterable[str]) -> list[str]:
    """Return the names like `known`. Raises `UnknownScopes`, or `PersonalScopes` if services can't have one of them."""
    names, possible = {str(name) for name in names}, for_services()
    if personal := names & declared().keys() - possible.keys():
        raise PersonalScopes(personal)
    return _among(possible, names)


def _among(possible: Mapping[str, TokenScope], names: Iterable[str]) -> list[str]:
    names = {str(name) for name in names}
    if unknown := names - possible.keys():
        raise UnknownScopes(unknown, possible)
    return sorted(names)


def scope_of(wanted: ViewScope | None, method: str) -> str | None:
    """Return the scope that a view with `token_scope = wanted` requires for the method; None if it takes no tokens.

    `HEAD` requires the scope of `GET`.
    """
    if wanted is None or isinstance(wanted, str):
        return wanted or None
    return wanted.get("GET" if method == "HEAD" else method)
