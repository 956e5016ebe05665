"""`{% remembered row in rows %}…{% endremembered %}`: a loop that renders its body once for each distinct value.

`{% remembered name %}` renders its body for the value of one variable, and `{% remembered %}` once for each language.

The rendered text is reused for every person and request of the process. Rendering a server's row takes 0.1 ms, a list
has up to 200 rows, and a row looks the same to all people with the same rights there. Whitespace around the body is
dropped, to keep the page small.
"""

from collections.abc import Callable, Iterable
from typing import Any

from django import template
from django.template import Context
from django.template.base import Node, NodeList, Parser, Template, Token
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import get_language

register = template.Library()

# About 10 MB per process, at 1 kB each.
MAX_REMEMBERED = 10_000


class RememberedNode(Node):
    def __init__(self, nodelist: NodeList, name: str, resolve: Callable[[Context], Iterable[Any]]) -> None:
        self.nodelist = nodelist
        self.name = name
        self.resolve = resolve
        self.rendered: dict[tuple[Any, ...], str] = {}

    def render(self, context: Context) -> SafeString:
        language = get_language()
        texts = []
        for value in self.resolve(context):
            key = (language, value)
            text = self.rendered.get(key)
            if text is None:
                if len(self.rendered) >= MAX_REMEMBERED:
                    self.rendered.clear()
                text = self.rendered[key] = self._render_alone(context, value)
            texts.append(text)
        return mark_safe("".join(texts))  # noqa: S308 - a template's own output, escaped by it

    def _render_alone(self, context: Context, value: Any) -> str:
        """Render the body in a context of its own that holds only `value`.

        So the body can't read the request, the user or any other variable, and nothing of one person's page can reach
        another person's.
        """
        current: Template = context.render_context.template  # type: ignore[assignment]  # set while a template renders
        alone = Context({self.name: value} if self.name else {})
        with alone.bind_template(current), alone.render_context.push_state(current):
            return self.nodelist.render(alone).strip()


@register.tag
def remembered(parser: Parser, token: Token) -> RememberedNode:
    """Parse the tag. The values must be hashable; the body sees the value and nothing else of the page's context."""
    name = values = ""
    match token.split_contents()[1:]:
        case []:
            pass
        case [name]:
            pass
        case [name, "in", values]:
            pass
        case _:
            raise template.TemplateSyntaxError("It takes: {% remembered [NAME [in VALUES]] %}")
    found = parser.compile_filter(values or name or "None")
    nodelist = parser.parse(("endremembered",))
    parser.delete_first_token()
    return RememberedNode(nodelist, name, found.resolve if values else lambda context: (found.resolve(context),))
