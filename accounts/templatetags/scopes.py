"""What the site requests from Discord, and what a person granted, in words."""

from collections.abc import Collection

from django import template

from accounts.scopes import SCOPES, at_sign_in, shared

register = template.Library()
register.filter(shared)
register.simple_tag(at_sign_in, name="scopes_at_sign_in")


@register.filter
def lets_site_act(names: Collection[str]) -> bool:
    """Whether one of these scopes lets the site act on the person's behalf."""
    return any(SCOPES[name].acts for name in names if name in SCOPES)
