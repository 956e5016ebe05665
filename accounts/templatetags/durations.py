"""Ages and waits in words. `static/guildhall.js` updates them with the same thresholds."""

from django import template
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

register = template.Library()

# From these values on, the next larger unit is precise enough.
SECONDS_END = 90
MINUTES_END = 90 * 60


@register.filter
def ago(seconds: int) -> str:
    """Format an age, rounded down."""
    if seconds < 60:
        return _("less than a minute ago")
    if seconds < MINUTES_END:
        minutes = seconds // 60
        return ngettext("%(n)d minute ago", "%(n)d minutes ago", minutes) % {"n": minutes}
    hours = seconds // 3600
    return ngettext("%(n)d hour ago", "%(n)d hours ago", hours) % {"n": hours}


@register.filter
def span(seconds: int) -> str:
    """Format a wait, rounded up."""
    if seconds < SECONDS_END:
        return ngettext("%(n)d second", "%(n)d seconds", seconds) % {"n": seconds}
    if seconds < MINUTES_END:
        minutes = -(-seconds // 60)
        return ngettext("%(n)d minute", "%(n)d minutes", minutes) % {"n": minutes}
    hours = -(-seconds // 3600)
    return ngettext("%(n)d hour", "%(n)d hours", hours) % {"n": hours}
