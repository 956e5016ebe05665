"""Filters for names that people chose."""

from django import template

from accounts import names

register = template.Library()
register.filter(names.isolated)


@register.filter
def visible(name: str) -> str:
    """Return the name, or "" if it is invisible, for `{% if %}` and `default`."""
    return "" if names.shows_nothing(name) else name
