"""What the admin's pages show about how the site stands with Discord."""

from typing import Any

from django import template

from guilds.admin import front_page as pages

register = template.Library()
register.simple_tag(pages.by_section)
register.simple_tag(pages.blockades_now)


@register.simple_tag(takes_context=True)
def front_page(context: dict[str, Any]) -> pages.FrontPage:
    return pages.front_page(context["request"])
