"""The presets on the page /_sandbox/: each is a form that works as a visitor without a script sends it."""

import html5lib
import pytest

LIST = "/users/@me/guilds"
LIMIT = "Limit the server list for a minute"


@pytest.fixture
def presets(unlimited):
    """Returns the presets' labels with their action and fields, as the page has them now."""

    def read():
        page = unlimited.ask("GET", "/_sandbox/").text
        document = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(page)
        forms = document.findall(".//*[@class='presets']/form")
        return {
            " ".join("".join(form.find("button").itertext()).split()): (
                form.get("action"),
                {field.get("name"): field.get("value") for field in form.findall("input")},
            )
            for form in forms
        }

    return read


@pytest.fixture
def press(unlimited, presets):
    def submit(label):
        action, fields = presets()[label]
        reply = unlimited.ask("POST", action, form=fields)
        assert (reply.status, reply.headers["Location"]) == (303, "/_sandbox/"), reply.text

    return submit


def names(sandbox, token):
    return [guild["name"] for guild in sandbox.get(LIST, token).json()]


def test_the_list_is_limited_for_a_minute_and_nothing_else(unlimited, press):
    token = unlimited.token("ada")

    press(LIMIT)

    limited = unlimited.get(LIST, token)
    assert limited.status == 429
    assert limited.headers["Retry-After"] == "60"
    assert unlimited.get("/users/@me", token).status == 200
    assert 0 < unlimited.state()["mood"]["for_seconds"] <= 60


def test_discord_is_down_or_slow_until_it_is_healthy(unlimited, press):
    token = unlimited.token("ada")

    press("Discord is down")
    assert unlimited.get(LIST, token).status == 503
    press("Discord is slow")
    assert unlimited.state()["mood"]["latency_ms"] == 1500
    press("Back to healthy")

    assert unlimited.get(LIST, token).status == 200
    assert unlimited.state()["mood"]["latency_ms"] == 0


def test_the_bot_is_added_and_removed(unlimited, press):
    def bots():
        return [guild["name"] for guild in unlimited.get(LIST, "Bot sandbox-bot").json()]

    press("Add the bot to Django Study Group")
    assert "Django Study Group" in bots()
    press("Remove the bot from Analytical Engine Club")

    assert "Analytical Engine Club" not in bots()


def test_a_person_is_removed_from_a_server_and_put_back(unlimited, press, presets):
    token = unlimited.token("ada")
    before = unlimited.get(LIST, token).json()

    press("Remove ada from Django Study Group")
    assert "Django Study Group" not in names(unlimited, token)
    press("Remove ada from no")
    press("Put ada back in no")
    press("Put ada back in Django Study Group")

    assert unlimited.get(LIST, token).json() == before
    assert not [label for label in presets() if label.startswith("Put")]


def test_they_are_about_the_person_who_used_the_site_last(unlimited, presets):
    assert any(label.startswith("Remove ada from") for label in presets())

    unlimited.get(LIST, unlimited.token("linus"))

    assert "Remove linus from Analytical Engine Club" in presets()


def test_a_reset_forgets_who_left(unlimited, press, presets):
    press("Remove ada from Django Study Group")

    unlimited.control("POST", "reset")

    assert not [label for label in presets() if label.startswith("Put")]


def test_nothing_is_put_back_without_a_removal(unlimited):
    before = unlimited.control("GET", "people/ada").json()

    assert unlimited.ask("POST", "/_sandbox/rejoin", form={}).status == 303

    assert unlimited.control("GET", "people/ada").json() == before


def test_the_page_creates_a_person(unlimited):
    reply = unlimited.ask("POST", "/_sandbox/person", form={"name": "eve", "count": "3"})

    assert (reply.status, reply.headers["Location"]) == (303, "/_sandbox/")
    assert len(names(unlimited, unlimited.token("eve"))) == 3
    assert unlimited.ask("POST", "/_sandbox/person", form={"name": "Eve!", "count": "3"}).status == 400
    assert unlimited.ask("POST", "/_sandbox/person", form={"name": "mallory"}).status == 400
