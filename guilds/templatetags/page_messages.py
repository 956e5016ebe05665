"""The messages of django.contrib.messages that a page shows."""

from collections.abc import Iterable

from django import template
from django.contrib.messages.storage.base import Message
from django.template import Context

register = template.Library()

# The tag of a message that says why a refresh failed.
NOT_REFRESHED = "not-refreshed"


@register.simple_tag(takes_context=True)
def messages_to_show(context: Context) -> list[Message]:
    """All messages, without NOT_REFRESHED on a page that itself explains the state of the list.

    Such a page gives the same reason, and takes it back as soon as it is no longer true.
    """
    found: Iterable[Message] = context.get("messages") or ()
    explains = context.get("explains_list") or getattr(context.get("problem"), "reason", None)
    return [message for message in found if not (explains and message.extra_tags == NOT_REFRESHED)]
