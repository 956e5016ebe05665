"""A person's permissions and a server's features as people read them."""

from dataclasses import dataclass

from django import template
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from accounts.discord import Permissions
from guilds.listing.discord_names import FEATURES, PERMISSIONS
from guilds.services import Membership

register = template.Library()

P = Permissions
# Permissions that ordinary members usually lack. The page names these and only counts the others.
NOTABLE: tuple[tuple[str | Promise, tuple[Permissions, ...]], ...] = (
    (
        _("Server"),
        (
            P.MANAGE_GUILD,
            P.MANAGE_ROLES,
            P.MANAGE_CHANNELS,
            P.MANAGE_WEBHOOKS,
            P.MANAGE_GUILD_EXPRESSIONS,
            P.MANAGE_EVENTS,
            P.VIEW_AUDIT_LOG,
            P.VIEW_GUILD_INSIGHTS,
            P.VIEW_CREATOR_MONETIZATION_ANALYTICS,
        ),
    ),
    (
        _("Members"),
        (
            P.KICK_MEMBERS,
            P.BAN_MEMBERS,
            P.MODERATE_MEMBERS,
            P.MANAGE_NICKNAMES,
            P.MUTE_MEMBERS,
            P.DEAFEN_MEMBERS,
            P.MOVE_MEMBERS,
        ),
    ),
    (
        _("Messages"),
        (P.MANAGE_MESSAGES, P.MANAGE_THREADS, P.PIN_MESSAGES, P.BYPASS_SLOWMODE, P.MENTION_EVERYONE),
    ),
)


@dataclass(frozen=True, slots=True)
class PermissionsInWords:
    """`everything` is true for owners and administrators, who have every permission; then the rest is empty."""

    everything: bool
    groups: tuple[tuple[str | Promise, tuple[str | Promise, ...]], ...]
    others: int


@register.filter
def in_words(server: Membership) -> PermissionsInWords:
    bits = int(server.permissions)
    if server.owner or bits & P.ADMINISTRATOR.value:
        return PermissionsInWords(everything=True, groups=(), others=0)
    groups = tuple((title, tuple(PERMISSIONS[flag] for flag in flags if bits & flag.value)) for title, flags in NOTABLE)
    told = sum(flag.value for _title, flags in NOTABLE for flag in flags)
    return PermissionsInWords(
        everything=False,
        groups=tuple((title, names) for title, names in groups if names),
        others=(bits & ~told).bit_count(),
    )


@register.filter
def features_in_words(server: Membership) -> list[str | Promise]:
    """The server's features that mean something to people."""
    return [FEATURES[feature] for feature in server.features if feature in FEATURES]
