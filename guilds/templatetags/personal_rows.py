"""`{% rows_of_apps as rows %}`: how many rows the site's apps store about the visitor, by what they are called."""

from django import template
from django.template import Context

from guilds import personal_data

register = template.Library()


@register.simple_tag(takes_context=True)
def rows_of_apps(context: Context) -> dict[str, int]:
    return personal_data.counts_of_apps(context["user"])
