"""The messages of django.contrib.messages that a page shows."""

from collections.abc import Iterable

from django import template
from django.contrib.messages.storage.base import Message
from django.template import Context

register = template.Library()

# The tags of messages that say why a refresh failed, and that Discord hasn't answered yet.
NOT_REFRESHED = "not-refreshed"
UNANSWERED = "unanswered"


@register.simple_tag(takes_context=True)
def messages_to_show(context: Context) -> list[Message]:
    """All messages, without those about a refresh on a page that itself explains the state of the list.

    Such a page gives the same reason, and takes it back as soon as it is no longer true.
    """
    found: Iterable[Message] = context.get("messages") or ()
    reason = getattr(context.get("problem"), "reason", None) or context.get("why_stale")
    explained = {NOT_REFRESHED: reason or context.get("explains_list"), UNANSWERED: reason}
    return [message for message in found if not explained.get(message.extra_tags)]
