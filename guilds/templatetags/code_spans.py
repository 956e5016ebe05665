"""Code in the catalogue's texts, which mark it with backticks as Markdown does."""

import re

from django import template
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

register = template.Library()


@register.filter
def code_spans(text: object) -> SafeString:
    """The text as HTML, with `code` in code elements."""
    return mark_safe(re.sub("`([^`]+)`", r"<code>\1</code>", escape(str(text))))  # noqa: S308 - the text is escaped
