"""Every page in every state is valid HTML, in every language."""

import re
from collections import Counter
from collections.abc import Callable

import html5lib
import pytest
from django.conf import settings
from django.test import Client

from accounts.models import User
from guilds.models import GuildListVerification
from tests import states
from tests.fixtures import Sandbox
from tests.states import FRAGMENTS, PAGES, Visit

pytestmark = [pytest.mark.thorough, pytest.mark.urls(states.__name__)]


@pytest.mark.parametrize("language", [code for code, _ in settings.LANGUAGES])
@pytest.mark.parametrize("name", PAGES)
def test_every_page_is_valid_html_in_every_language(
    with_list: Callable[..., User], client_of: Callable[[User], Client], sandbox: Sandbox, name: str, language: str
) -> None:
    user = with_list("ada", minutes=10)
    ada, visitor = client_of(user), Client()
    for client in (ada, visitor):
        client.defaults["HTTP_ACCEPT_LANGUAGE"] = language
        client.raise_request_exception = False
    status, visit = PAGES[name]

    response = visit(Visit(ada, visitor, user, sandbox))
    page = response.content.decode()

    assert response.status_code == status
    # In its words; moments and ids may hold the digits by chance.
    assert not re.search(r"\b502\b", re.sub(r"<[^>]*>", " ", page))
    parser = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False)
    if name in FRAGMENTS:
        tree = parser.parseFragment(page)
    else:
        tree = parser.parse(page)
        assert tree.get("lang") == language
        assert len(tree.findall(".//h1")) == 1
        assert tree.find(".//main") is not None
        assert len(re.sub("· Guildhall", "", tree.findtext(".//title")).strip()) > 2
    ids = Counter(element.get("id") for element in tree.iter() if element.get("id"))
    assert [one for one, count in ids.items() if count > 1] == []


def test_each_failure_has_words_of_its_own(
    with_list: Callable[..., User], client_of: Callable[[User], Client], sandbox: Sandbox
) -> None:
    user = with_list("ada", minutes=10)
    moments = GuildListVerification.objects.values().get()
    client = client_of(user)
    client.raise_request_exception = False
    # Where a page differs by what was sent, or by how long it takes, its words below the title do.
    same = {"limited for a day", "not saved", "wrong access token"}
    failed = [name for name, (status, _) in PAGES.items() if status >= 400 and name not in same]

    titles: dict[str, str] = {}
    for name in failed:
        GuildListVerification.objects.update(**moments)
        response = PAGES[name][1](Visit(client, Client(), user, sandbox))
        found = re.search(r"<h1>(.*?)</h1>", response.content.decode())
        assert found, name
        titles[name] = found[1]

    assert len(set(titles.values())) == len(failed), titles


def test_icons_come_from_one_set() -> None:
    """Only the site's own mark and the admin's charts are drawn where they are shown."""
    folder = settings.BASE_DIR / "templates"
    drawn = {str(file.relative_to(folder)) for file in folder.rglob("*.html") if "<svg" in file.read_text()}

    assert drawn == {"base.html", "admin/_chart.html", "admin/numbers.html"}
    for icon in (folder / "icons").iterdir():
        assert re.fullmatch(
            r'<svg (class="chevron" )?viewBox="0 0 24 24" width="24" height="24" aria-hidden="true">.*</svg>\n',
            icon.read_text(),
        ), icon
