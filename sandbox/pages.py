"""The sandbox's pages: HTML templates with `$names`, whose values are escaped."""

from functools import cache
from hashlib import sha256
from html import escape
from pathlib import Path
from string import Template

from sandbox.responses import Response, html_response

PAGE = "/_sandbox/"
FOLDER = Path(__file__).parent / "html"
# Only our own files, and nothing inline. No form-action, because the consent form redirects to the site.
POLICY = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'"
LIVE_POLICY = f"{POLICY}; script-src 'self'; connect-src 'self'"
PAGE_HEADERS = (
    ("Cache-Control", "no-store"),
    # With no-referrer, forms on these pages would send `Origin: null`, like forms on foreign pages.
    ("Referrer-Policy", "same-origin"),
    ("X-Content-Type-Options", "nosniff"),
)


# The pages' files, with their types.
ASSETS = {"style.css": "text/css; charset=utf-8", "live.js": "text/javascript; charset=utf-8"}


class Markup(str):
    """Text that is already HTML and must not be escaped."""

    __slots__ = ()


@cache
def _template(name: str) -> Template:
    return Template((FOLDER / name).read_text(encoding="utf-8"))


def part(name: str, /, **values: object) -> Markup:
    """Render the template `name`; all values except `Markup` are escaped."""
    escaped = {key: value if isinstance(value, Markup) else escape(str(value)) for key, value in values.items()}
    return Markup(_template(name).substitute(escaped))


def join(parts: list[Markup]) -> Markup:
    return Markup("".join(parts))


@cache
def asset(name: str) -> bytes:
    return (FOLDER / name).read_bytes()


@cache
def asset_url(name: str) -> str:
    """Return the URL of a file of the pages, which changes with its content."""
    return f"{PAGE}{name}?{sha256(asset(name)).hexdigest()[:12]}"


def asset_response(name: str) -> Response:
    """Return one of `ASSETS`, whose URL changes with its content."""
    content_type = ASSETS[name]
    headers = (
        ("Content-Type", content_type),
        ("Cache-Control", "max-age=31536000, immutable"),
        ("X-Content-Type-Options", "nosniff"),
    )
    return Response(200, headers, asset(name))


def page(status: int, title: str, body: Markup, *, live: bool = False) -> Response:
    """Return a page. Only a `live` one may run a script, our own, which updates it."""
    script = part("script.html", url=asset_url("live.js")) if live else ""
    document = part("base.html", title=title, style=asset_url("style.css"), script=script, body=body)
    policy = ("Content-Security-Policy", LIVE_POLICY if live else POLICY)
    return html_response(status, document, (*PAGE_HEADERS, policy))


def sentence_page(status: int, title: str, sentence: str) -> Response:
    return page(status, title, part("sentence.html", title=title, sentence=sentence))
