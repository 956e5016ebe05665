"""The sandbox's pages: HTML files with `$names`, and everything that is put into them escaped."""

from functools import cache
from html import escape
from pathlib import Path
from string import Template

from sandbox.answers import Answer, html_answer

FOLDER = Path(__file__).parent / "html"
# No script anywhere, no picture but our own; the consent form may be answered with a redirect to the site.
PAGE_HEADERS = (
    ("Cache-Control", "no-store"),
    (
        "Content-Security-Policy",
        "default-src 'none'; style-src 'unsafe-inline'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
)


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


@cache
def _template(name: str) -> Template:
    return Template((FOLDER / name).read_text(encoding="utf-8"))


def part(name: str, /, **values: object) -> Markup:
    """The file `name` with its `$names` filled in; only `Markup` goes in as it is."""
    escaped = {key: value if isinstance(value, Markup) else escape(str(value)) for key, value in values.items()}
    return Markup(_template(name).substitute(escaped))


def join(parts: list[Markup]) -> Markup:
    return Markup("".join(parts))


def page(status: int, title: str, body: Markup) -> Answer:
    style = Markup((FOLDER / "style.css").read_text(encoding="utf-8"))
    return html_answer(status, part("base.html", title=title, style=style, body=body), PAGE_HEADERS)


def sentence_page(status: int, title: str, sentence: str) -> Answer:
    return page(status, title, part("sentence.html", title=title, sentence=sentence))
