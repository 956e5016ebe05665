"""The examples in a browser: each decorator admits the right people, and the hook counts."""

import html
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from accounts.models import User
from examples.models import WelcomeMessage
from tests.fixtures import Sandbox, let_pass
from tests.guilds.rows import bot_joins

CHESS, GARDEN, ELSEWHERE = 1, 2, 3
GERMAN = {"Accept-Language": "de"}
WithList = Callable[..., User]
ClientOf = Callable[[User], Client]


@pytest.fixture
def ada(with_list: WithList, sandbox: Sandbox) -> User:
    """Ada manages the chess club and is a member of the garden; her list was verified ten minutes ago."""
    chess = {"id": str(CHESS), "name": "Chess club", "permissions": "32"}
    garden = {"id": str(GARDEN), "name": "Garden", "permissions": "0"}
    sandbox.person("ada", guilds=[chess, garden])
    return with_list("ada", minutes=10)


def words_of(response: Any) -> str:
    assert response.status_code == 200
    return html.unescape(response.content.decode())


def test_the_index_leads_to_the_servers_one_manages(ada: User, client_of: ClientOf) -> None:
    page = words_of(client_of(ada).get("/examples/"))

    assert f'href="/examples/{CHESS}/"' in page
    assert f'href="/examples/{GARDEN}/"' not in page


def test_who_manages_none_is_told_so(client_of: ClientOf, with_list: WithList, sandbox: Sandbox) -> None:
    sandbox.person("ada", guilds=[{"id": str(GARDEN), "permissions": "0"}])

    assert "You don't manage your only server." in words_of(client_of(with_list("ada")).get("/examples/"))


def test_the_examples_speak_the_visitors_language(ada: User, client_of: ClientOf) -> None:
    browser = client_of(ada)
    pages = ["", f"{CHESS}/", f"{CHESS}/edit/"]

    index, server, form = (words_of(browser.get(f"/examples/{page}", headers=GERMAN)) for page in pages)

    assert "<h1>Server, die du verwaltest</h1>" in index
    assert "Noch keine Willkommensnachricht." in server
    assert "Willkommensnachricht von Chess club" in form
    assert "Rolle für neue Mitglieder" in form
    assert "Beitritte und Austritte" in words_of(browser.get(f"/servers/{CHESS}/", headers=GERMAN))


def test_a_servers_page_leads_to_the_examples(ada: User, client_of: ClientOf) -> None:
    assert f'href="/examples/{GARDEN}/"' in words_of(client_of(ada).get(f"/servers/{GARDEN}/"))


def test_who_manages_a_server_writes_its_message_and_members_read_it(ada: User, client_of: ClientOf) -> None:
    browser = client_of(ada)

    saved = browser.post(f"/examples/{CHESS}/edit/", {"text": "Mind the <clock>."}, follow=True)

    assert "Chess club has a new welcome message." in words_of(saved)
    assert "Mind the &lt;clock&gt;." in saved.content.decode()
    assert "Mind the <clock>." in words_of(browser.get(f"/examples/{CHESS}/edit/"))


def test_a_message_that_is_too_long_is_shown_again(ada: User, client_of: ClientOf) -> None:
    response = client_of(ada).post(f"/examples/{CHESS}/edit/", {"text": "x" * 201})

    assert response.status_code == 400
    assert "at most 200" in response.content.decode()


@pytest.mark.parametrize(
    ("path", "statuses"),
    [
        ("examples/{}/", [200, 200, 404]),
        ("examples/{}/edit/", [200, 403, 404]),
        ("api/examples/{}/message/", [200, 200, 404]),
    ],
)
def test_each_door_lets_in_whom_it_should(ada: User, client_of: ClientOf, path: str, statuses: list[int]) -> None:
    browser = client_of(ada)

    got = [browser.get("/" + path.format(guild_id)).status_code for guild_id in (CHESS, GARDEN, ELSEWHERE)]

    assert got == statuses


def test_the_page_offers_a_change_to_those_who_may(ada: User, client_of: ClientOf) -> None:
    browser = client_of(ada)

    assert ">Edit</a>" in words_of(browser.get(f"/examples/{CHESS}/"))
    assert ">Edit</a>" not in words_of(browser.get(f"/examples/{GARDEN}/"))


def test_saving_fails_closed_while_discord_limits_us(ada: User, client_of: ClientOf, sandbox: Sandbox) -> None:
    browser = client_of(ada)
    sandbox.mood("rate_limited", retry_after=60)

    assert browser.get(f"/examples/{CHESS}/edit/").status_code == 200
    assert browser.post(f"/examples/{CHESS}/edit/", {"text": "Too late."}).status_code == 429


def test_whoever_corrects_a_form_while_discord_limits_us_finds_back_to_it(
    ada: User, client_of: ClientOf, sandbox: Sandbox
) -> None:
    browser, form = client_of(ada), f"/examples/{CHESS}/edit/"
    refused = browser.post(form, {"text": "x" * 201})
    let_pass(minutes=10)
    sandbox.mood("rate_limited", retry_after=60)

    later = browser.post(form, {"text": "Mind it."}, headers={"Referer": f"http://testserver{form}"})

    assert (refused.status_code, later.status_code) == (400, 429)
    assert f'href="http://testserver{form}">Back to the form' in later.content.decode()
    assert browser.get(form).status_code == 200


def test_a_program_reads_the_message_with_a_token(ada: User, token_of: Callable[..., str]) -> None:
    right, wrong = ({"Authorization": f"Bearer {token_of(ada, scope)}"} for scope in ("guilds:read", "me:read"))

    answer = Client().get(f"/api/examples/{CHESS}/message/", headers=right)

    assert answer.json() == {"server": "Chess club", "text": ""}
    assert Client().get(f"/api/examples/{CHESS}/message/", headers=wrong).status_code == 403


def test_who_comes_and_leaves_is_counted(
    ada: User, with_list: WithList, client_of: ClientOf, sandbox: Sandbox, let_pass: Callable[..., None]
) -> None:
    sandbox.person("grace", guilds=[{"id": str(CHESS)}])
    grace, browser = with_list("grace"), client_of(ada)
    sandbox.person("grace", guilds=[])
    let_pass(hours=25)

    client_of(grace).get("/servers/")

    assert "2 joined, 1 left" in words_of(browser.get(f"/examples/{CHESS}/"))
    assert "1 joined, 0 left" in words_of(browser.get(f"/examples/{GARDEN}/"))


def test_the_sites_own_description_knows_nothing_of_them(client: Client) -> None:
    assert not [path for path in client.get("/api/schema/").json()["paths"] if "examples" in path]


# a channel and a role


@pytest.fixture
def with_bot(ada: User, sandbox: Sandbox) -> None:
    """The bot is in the chess club and may write there."""
    sandbox.bot(CHESS, 1 << 10 | 1 << 11)


def test_a_manager_chooses_a_channel_and_a_role_by_name(ada: User, client_of: ClientOf, with_bot: None) -> None:
    browser, form = client_of(ada), f"/examples/{CHESS}/edit/"
    page = words_of(browser.get(form))
    assert "#general" in page
    assert "#staff" not in page  # which is hidden from the bot
    assert "Supporters" in page
    assert "Administrators" not in page  # which are above the bot

    general, supporters = CHESS + 105, CHESS + 3
    browser.post(form, {"text": "Mind the clock.", "channel_id": general, "role_id": supporters})

    again = words_of(browser.get(form))
    assert f'<option value="{general}" selected>' in again
    assert f'<option value="{supporters}" selected>' in again


def test_the_names_outlive_discord_and_a_deleted_channel_stays_chosen(
    ada: User, client_of: ClientOf, with_bot: None, sandbox: Sandbox
) -> None:
    browser, form = client_of(ada), f"/examples/{CHESS}/edit/"
    chosen = {"text": "Mind the clock.", "channel_id": CHESS + 105}
    browser.post(form, chosen)
    sandbox.channels(CHESS)
    let_pass(minutes=90)
    browser.get(form)
    let_pass(hours=5)
    sandbox.mood("outage", routes=("/guilds/{guild.id}/roles", "/guilds/{guild.id}/channels"))

    page = words_of(browser.get(form))

    assert "Deleted channel" in page
    assert "Discord isn't responding at the moment." in page
    assert browser.post(form, chosen).status_code == 302


def test_refreshing_the_names_keeps_what_was_typed(ada: User, client_of: ClientOf, with_bot: None) -> None:
    browser, form = client_of(ada), f"/examples/{CHESS}/edit/"
    browser.get(form)

    response = browser.post(form, {"text": "Half a sentence", "refresh_directory": "1"})

    assert response.status_code == 400
    page = html.unescape(response.content.decode())
    assert "Half a sentence" in page
    assert "Nothing has been saved yet." in page
    assert "Half a sentence" not in words_of(browser.get(form))


# what the bot needs


@pytest.mark.parametrize(
    ("permissions", "status", "words"),
    [
        (1 << 11, 200, "Mind the clock."),
        (1 << 10, 409, "The bot lacks permissions that this page needs: Send Messages."),
        (None, 409, "The bot isn't in this server"),
    ],
)
@pytest.mark.usefixtures("bot_synced")
def test_the_preview_needs_a_bot_that_can_send_messages(
    ada: User, client_of: ClientOf, permissions: int | None, status: int, words: str
) -> None:
    WelcomeMessage.objects.create(guild_id=CHESS, text="Mind the clock.")
    if permissions is not None:
        bot_joins(CHESS, permissions=permissions)

    response = client_of(ada).get(f"/examples/{CHESS}/preview/")

    assert response.status_code == status
    assert words in html.unescape(response.content.decode())


@pytest.mark.parametrize(("permissions", "missing"), [(1 << 11, False), (1 << 10, True)])
@pytest.mark.usefixtures("bot_synced")
def test_the_picker_says_where_the_bot_lacks_what_the_examples_declare(
    ada: User, client_of: ClientOf, permissions: int, missing: bool
) -> None:
    bot_joins(CHESS, permissions=permissions)

    assert ("The bot is missing: Send Messages" in words_of(client_of(ada).get("/servers/"))) is missing
