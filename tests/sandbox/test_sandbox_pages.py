"""What holds for all pages of the sandbox: valid HTML, and nothing inline that their policy would block."""

import re

import html5lib
import pytest

from sandbox.oauth import CLIENT_ID

CALLBACK = "http%3A%2F%2Flocalhost%3A8000%2Fcomplete%2Fdiscord%2F"
ASK = f"/oauth2/authorize?client_id={CLIENT_ID}&response_type=code&redirect_uri={CALLBACK}"
PAGES = {
    "sign-in": f"{ASK}&scope=identify+guilds",
    "bot": f"{ASK}&scope=bot",
    "bad request": "/oauth2/authorize?client_id=another",
    "control": "/_sandbox/",
    "server": "/_sandbox/guilds/{guild}",
}


@pytest.mark.parametrize("path", PAGES.values(), ids=PAGES)
def test_every_page_is_valid_and_loads_only_the_sandboxs_own_files(unlimited, path):
    guilds = unlimited.get("/users/@me/guilds", unlimited.token("ada")).json()
    reply = unlimited.ask("GET", path.format(guild=guilds[0]["id"]))

    document = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(reply.text)
    assert len(document.findall(".//main//h1")) == 1
    assert "unsafe-inline" not in reply.headers["Content-Security-Policy"]
    assert not document.findall(".//style")
    assert not document.findall(".//*[@style]")
    linked = [link.get("href") for link in document.findall(".//link")]
    linked += [script.get("src") for script in document.findall(".//script")]
    assert all(unlimited.ask("GET", url).status == 200 for url in linked)


def test_a_files_url_changes_with_its_content(sandbox):
    url = re.search(r'rel="stylesheet" href="([^"]+)"', sandbox.ask("GET", "/_sandbox/").text)
    assert url

    reply = sandbox.ask("GET", url[1])

    assert re.fullmatch(r"/_sandbox/style\.css\?[0-9a-f]{12}", url[1])
    assert reply.headers["Content-Type"] == "text/css; charset=utf-8"
    assert "immutable" in reply.headers["Cache-Control"]
