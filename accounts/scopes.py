"""The OAuth scopes that the site can request from a person at Discord, and what each one shares, in words.

https://docs.discord.com/developers/topics/oauth2
"""

from collections.abc import Collection
from dataclasses import dataclass

from django.conf import settings
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

IDENTIFY = "identify"
GUILDS = "guilds"
MEMBER = "guilds.members.read"


@dataclass(frozen=True, slots=True)
class Scope:
    name: str
    # What Discord shares, as an entry of a list.
    shares: Promise
    # A button that requests this scope.
    button: Promise
    # Whether the site can act on the person's behalf with it.
    acts: bool = False


# The others either need Discord's approval or add the bot to a server, which has a page of its own.
SCOPES = {
    scope.name: scope
    for scope in (
        Scope(IDENTIFY, _("your name and picture"), _("Allow this site to see your name")),
        Scope("email", _("your email address"), _("Allow this site to see your email address")),
        Scope(GUILDS, _("your servers and your permissions in them"), _("Allow this site to see your servers")),
        Scope(MEMBER, _("your nickname and roles in your servers"), _("Allow this site to read your roles")),
        Scope(
            "connections",
            _("the accounts on other services that you linked to Discord"),
            _("Allow this site to see your linked accounts"),
        ),
        Scope(
            "guilds.join",
            _("permission to add you to servers"),
            _("Allow this site to add you to servers"),
            acts=True,
        ),
        Scope(
            "role_connections.write",
            _("permission to update your linked roles"),
            _("Allow this site to update your linked roles"),
            acts=True,
        ),
    )
}


def in_order(names: Collection[str]) -> list[str]:
    """Return the known scopes among `names`, in the order of `SCOPES`."""
    return [name for name in SCOPES if name in names]


def shared(names: Collection[str]) -> list[Promise]:
    """Return what these scopes share, in words."""
    return [SCOPES[name].shares for name in in_order(names)]


def at_sign_in() -> list[str]:
    """Return the scopes that every sign-in requests."""
    roles = {MEMBER} if settings.DISCORD_MEMBER_SCOPE == "at_sign_in" else set()
    return in_order({*settings.DISCORD_SCOPES, *roles})


def allowed() -> list[str]:
    """Return the scopes that a page can request: those of a sign-in, and what the site needs only on some pages."""
    roles = {MEMBER} if settings.DISCORD_MEMBER_SCOPE != "never" else set()
    return in_order({*settings.DISCORD_SCOPES, *settings.DISCORD_OPTIONAL_SCOPES, GUILDS, *roles})


def requestable(text: str) -> list[str]:
    """Return the scopes in `text`, separated by spaces, that a page can request. Others are dropped."""
    return in_order(set(text.split()) & set(allowed()))
