"""`{% remembered row in rows %}…{% endremembered %}`: a loop that draws each value once, whoever looks at it.

A card of a server takes 0.1 ms and looks the same to everybody with the same rights in it; a list has up to 200 of
them. What surrounds the body as layout is dropped, for the same reason.
"""

from typing import Any

from django import template
from django.template.base import FilterExpression, Node, NodeList, Parser, Token
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import get_language

register = template.Library()

# Some 10 MB of a process, at a kilobyte each.
MOST = 10_000


class RememberedNode(Node):
    def __init__(self, nodelist: NodeList, name: str, values: FilterExpression) -> None:
        self.nodelist = nodelist
        self.name = name
        self.values = values
        self.kept: dict[tuple[Any, ...], str] = {}

    def render(self, context: template.Context) -> SafeString:
        language = get_language()
        texts = []
        for value in self.values.resolve(context):
            key = (language, value)
            text = self.kept.get(key)
            if text is None:
                if len(self.kept) >= MOST:
                    self.kept.clear()
                with context.push(**{self.name: value}):
                    text = self.kept[key] = self.nodelist.render(context).strip()
            texts.append(text)
        return mark_safe("".join(texts))  # noqa: S308 - a template's own output, escaped by it


@register.tag
def remembered(parser: Parser, token: Token) -> RememberedNode:
    """What the body shows must follow from the value and the language alone; values have to be hashable."""
    words = token.split_contents()
    if len(words) != 4 or words[2] != "in":
        raise template.TemplateSyntaxError("It takes: {% remembered NAME in VALUES %}")
    nodelist = parser.parse(("endremembered",))
    parser.delete_first_token()
    return RememberedNode(nodelist, words[1], parser.compile_filter(words[3]))
