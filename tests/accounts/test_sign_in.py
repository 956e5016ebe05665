"""Signing in at the sandbox, without a browser: the way there, the way back, and each way it can go wrong."""

import html
import http.client
import re
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from django.apps import apps
from django.db import connection
from django.test import Client
from pytest_django import Settings

from accounts.clock import database_now
from accounts.models import DiscordAccount, DiscordGate, Session, User
from accounts.tokens import discord_client
from guilds.models import GuildListVerification, UserGuildMembership
from tests.fixtures import Sandbox

pytestmark = pytest.mark.usefixtures("sandbox", "transactional_db")


@pytest.fixture
def visitor() -> Client:
    """A browser that nobody signed in with yet. The sandbox lets people go back to this machine only."""
    return Client(SERVER_NAME="localhost")


def ask(visitor: Client, **data: str) -> str:
    """Where "Sign in with Discord" leads."""
    response = visitor.post("/login/discord/", data)
    assert response.status_code == 302, response.content.decode()
    return str(response["Location"])


def consent(url: str, **choices: str) -> str:
    """What a person does at Discord; the address they come back to."""
    parts = urlsplit(f"{url}&{urlencode(choices or {'as': 'ada'})}")
    connection = http.client.HTTPConnection(parts.netloc, timeout=10)
    try:
        connection.request("GET", f"{parts.path}?{parts.query}")
        back = connection.getresponse().getheader("Location")
    finally:
        connection.close()
    assert back
    return back


def come_back(visitor: Client, back: str) -> Any:
    parts = urlsplit(back)
    return visitor.get(f"{parts.path}?{parts.query}")


def sign_in(visitor: Client, person: str = "ada", **data: str) -> Any:
    return come_back(visitor, consent(ask(visitor, **data), **{"as": person}))


def is_signed_in(visitor: Client) -> bool:
    return visitor.get("/api/v1/me/").status_code == 200


def words_of(response: Any) -> str:
    return html.unescape(response.content.decode())


# the way there


def test_the_way_to_discord_asks_for_the_name_and_the_servers_only(visitor: Client, sandbox: Sandbox) -> None:
    url = ask(visitor)

    asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    assert url.startswith(f"{sandbox.url}/oauth2/authorize?")
    assert (asked["scope"], asked["response_type"], asked["client_id"]) == ("identify guilds", "code", "guildhall")
    assert asked["redirect_uri"] == "http://localhost/complete/discord/"
    assert asked["code_challenge_method"] == "S256"
    assert len(asked["code_challenge"]) == 43
    assert len(asked["state"]) >= 32


def test_no_two_sign_ins_share_a_state_or_a_challenge(visitor: Client) -> None:
    first, second = (parse_qs(urlsplit(ask(visitor)).query) for _ in range(2))

    assert first["state"] != second["state"]
    assert first["code_challenge"] != second["code_challenge"]


def test_the_way_to_discord_is_a_form_and_no_link(visitor: Client) -> None:
    assert visitor.get("/login/discord/").status_code == 405


@pytest.mark.parametrize("page", ["/login/github/", "/complete/github/"])
def test_there_is_no_other_way_in(visitor: Client, page: str) -> None:
    method = visitor.post if page.startswith("/login") else visitor.get

    assert method(page).status_code == 404


# the way back


def test_a_sign_in_ends_on_a_warm_list(visitor: Client, sandbox: Sandbox) -> None:
    response = sign_in(visitor)

    assert (response.status_code, response["Location"]) == (302, "/servers/")
    assert is_signed_in(visitor)
    assert len(sandbox.requests()) == 1
    assert words_of(visitor.get("/servers/")).count("<bdi>") == 12
    assert len(sandbox.requests()) == 1


def test_a_sign_in_keeps_the_profile(visitor: Client) -> None:
    sign_in(visitor)

    ada = User.objects.get()
    assert (ada.discord_username, ada.global_name, ada.username) == ("ada", "Ada Lovelace", str(ada.discord_id))
    assert len(ada.avatar) == 32
    assert not ada.has_usable_password()


def test_a_sign_in_stores_its_tokens_sealed(visitor: Client) -> None:
    sign_in(visitor)

    stored = DiscordAccount.objects.get().extra_data
    with connection.cursor() as cursor:
        cursor.execute("SELECT extra_data FROM accounts_discordaccount")
        (ciphertext,) = cursor.fetchone()
    assert discord_client().get_current_user(stored["access_token"]).username == "ada"
    assert stored["scopes"] == ["guilds", "identify"]
    assert ciphertext.startswith("gAAAA")
    assert not any(stored[name] in ciphertext for name in ("access_token", "refresh_token"))


def test_no_token_is_kept_elsewhere(visitor: Client) -> None:
    sign_in(visitor)

    stored = DiscordAccount.objects.get().extra_data
    rows = str([list(model._default_manager.values()) for model in apps.get_models() if model is not DiscordAccount])
    sessions = str([session.get_decoded() for session in Session.objects.all()])
    assert "Ada Lovelace" in rows
    assert not any(stored[name] in rows + sessions for name in ("access_token", "refresh_token"))


def test_a_sign_in_leads_back_to_the_page_one_wanted(visitor: Client) -> None:
    response = sign_in(visitor, next="/account/")

    assert response["Location"] == "/account/"


@pytest.mark.parametrize(
    "elsewhere",
    ["https://evil.example/", "//evil.example", r"\\evil.example", "javascript:alert(1)", "/\\evil.example"],
)
def test_a_sign_in_leads_nowhere_else(visitor: Client, elsewhere: str) -> None:
    response = sign_in(visitor, next=elsewhere)

    assert response["Location"] == "/servers/"
    assert is_signed_in(visitor)


def test_a_second_sign_in_takes_over_names_and_picture(visitor: Client, sandbox: Sandbox) -> None:
    sign_in(visitor)
    before = User.objects.get()
    sandbox.person("ada", global_name="Countess", avatar="a_" + "0" * 32)

    sign_in(Client(SERVER_NAME="localhost"))

    after = User.objects.get()
    assert (after.pk, after.global_name, after.avatar) == (before.pk, "Countess", "a_" + "0" * 32)


def test_a_person_without_display_name_and_picture_may_sign_in(visitor: Client) -> None:
    sign_in(visitor, "nobody")

    nobody = User.objects.get()
    assert (nobody.global_name, nobody.avatar, nobody.display_name) == ("", "", "nobody")
    assert visitor.get("/account/").status_code == 200


def test_a_second_sign_in_asks_for_the_list_again_and_replaces_the_tokens(visitor: Client, sandbox: Sandbox) -> None:
    sign_in(visitor)
    before = DiscordAccount.objects.get()
    sandbox.forget_requests()

    sign_in(visitor)

    after = DiscordAccount.objects.get()
    assert after.token_version == before.token_version + 1
    assert after.extra_data["access_token"] != before.extra_data["access_token"]
    assert len(sandbox.requests()) == 1


def test_the_session_changes_its_name_at_sign_in(visitor: Client) -> None:
    back = consent(ask(visitor))
    before = visitor.cookies["guildhall_session"].value

    come_back(visitor, back)

    assert visitor.cookies["guildhall_session"].value != before
    assert not Session.objects.filter(session_key=before).exists()


def test_the_session_cookie_is_out_of_reach_of_scripts_and_other_sites(visitor: Client) -> None:
    sign_in(visitor)

    cookie = visitor.cookies["guildhall_session"]
    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"


def test_somebody_signed_in_does_not_see_the_sign_in_page(visitor: Client) -> None:
    sign_in(visitor)

    response = visitor.get("/sign-in/", {"next": "/account/"})

    assert (response.status_code, response["Location"]) == (302, "/account/")


# what the person does


def test_a_refused_consent_stores_nothing(visitor: Client, sandbox: Sandbox) -> None:
    response = come_back(visitor, consent(ask(visitor), deny="1"))

    assert response.status_code == 403
    assert "You didn't allow it" in words_of(response)
    assert not User.objects.exists()
    assert sandbox.requests("/oauth2/token") == []


def test_an_answer_works_once(visitor: Client, sandbox: Sandbox) -> None:
    back = consent(ask(visitor))
    come_back(visitor, back)

    response = come_back(visitor, back)

    assert response.status_code == 400
    assert "Start again" in words_of(response)
    assert len(sandbox.requests("/oauth2/token")) == 1
    assert is_signed_in(visitor)


def test_a_code_that_is_used_up_says_so(visitor: Client, sandbox: Sandbox) -> None:
    back = re.sub(r"code=[^&]+", "code=used-up", consent(ask(visitor)))

    response = come_back(visitor, back)

    assert response.status_code == 400
    assert "This sign-in was used already" in words_of(response)
    assert not is_signed_in(visitor)


@pytest.mark.parametrize("tampered", ["state=another", "state=", "state=" + "x" * 1000, "nothing=here"])
def test_a_state_that_is_not_ours_is_refused_before_discord_is_asked(
    visitor: Client, sandbox: Sandbox, tampered: str
) -> None:
    back = re.sub(r"state=[^&]+", tampered, consent(ask(visitor)))

    response = come_back(visitor, back)

    assert response.status_code == 400
    assert "This sign-in took too long" in words_of(response)
    assert sandbox.requests("/oauth2/token") == []
    assert not is_signed_in(visitor)


def test_an_answer_for_one_browser_signs_no_other_one_in(visitor: Client, sandbox: Sandbox) -> None:
    back = consent(ask(visitor))

    response = come_back(Client(SERVER_NAME="localhost"), back)

    assert response.status_code == 400
    assert "another browser" in words_of(response)
    assert sandbox.requests("/oauth2/token") == []


def test_a_consent_that_took_half_an_hour_is_too_old(visitor: Client, sandbox: Sandbox) -> None:
    back = consent(ask(visitor))
    session = visitor.session
    for name, value in session.items():
        if isinstance(value, dict) and "timestamp" in value:
            session[name] = {**value, "timestamp": value["timestamp"] - 1801}
    session.save()

    response = come_back(visitor, back)

    assert response.status_code == 400
    assert "This sign-in took too long" in words_of(response)
    assert sandbox.requests("/oauth2/token") == []


def test_withheld_servers_are_a_page_of_their_own(visitor: Client, sandbox: Sandbox) -> None:
    come_back(visitor, consent(ask(visitor), **{"as": "ada", "withhold": "guilds"}))

    response = visitor.get("/servers/")

    assert response.status_code == 403
    assert "Discord wasn't allowed to share your servers" in words_of(response)
    assert "Reconnect with Discord" in words_of(response)
    assert sandbox.requests() == []


def test_consenting_after_all_brings_the_servers(visitor: Client) -> None:
    come_back(visitor, consent(ask(visitor), **{"as": "ada", "withhold": "guilds"}))
    visitor.get("/servers/")

    sign_in(visitor, next="/servers/")

    assert visitor.get("/servers/").status_code == 200


def test_reconnecting_as_somebody_else_changes_nobody(visitor: Client) -> None:
    sign_in(visitor, "linus")
    sign_in(Client(SERVER_NAME="localhost"), "ada")

    response = sign_in(visitor, "ada")

    assert response.status_code == 409
    assert "That is another Discord account" in words_of(response)
    assert visitor.get("/api/v1/me/").json()["username"] == "linus"
    assert set(DiscordAccount.objects.values_list("user__discord_username", flat=True)) == {"ada", "linus"}


def test_somebody_who_was_shut_out_stays_out(visitor: Client) -> None:
    sign_in(visitor)
    User.objects.update(is_active=False)
    again = Client(SERVER_NAME="localhost")

    sign_in(again)

    assert not is_signed_in(again)
    assert not is_signed_in(visitor)


# how Discord feels


@pytest.mark.parametrize(
    ("mode", "status", "words"),
    [
        ("rate_limited", 429, "Discord is limiting how often it may be asked about you."),
        ("outage", 503, "Discord isn't answering at the moment."),
    ],
)
def test_a_sign_in_needs_no_list(visitor: Client, sandbox: Sandbox, mode: str, status: int, words: str) -> None:
    sandbox.mood(mode, routes=["/users/@me/guilds"])

    arrived = sign_in(visitor)
    page = visitor.get("/servers/")

    assert (arrived.status_code, is_signed_in(visitor)) == (302, True)
    assert page.status_code == status
    assert words in words_of(page)
    assert len(sandbox.requests()) == 1


def test_a_sign_in_while_limited_still_shows_the_list_from_before(visitor: Client, sandbox: Sandbox) -> None:
    sign_in(visitor)
    sandbox.mood("rate_limited", routes=["/users/@me/guilds"])

    sign_in(visitor)

    assert visitor.get("/servers/").status_code == 200
    assert UserGuildMembership.objects.count() == 12


def test_a_sign_in_does_not_wait_longer_than_the_soft_wait(visitor: Client, sandbox: Sandbox) -> None:
    back = consent(ask(visitor))
    sandbox.mood("healthy", routes=["/users/@me/guilds"], latency_ms=700)

    come_back(visitor, back)

    assert GuildListVerification.objects.get().verified_at is None
    assert is_signed_in(visitor)


def test_behind_a_shut_gate_a_sign_in_shows_a_countdown(visitor: Client, sandbox: Sandbox) -> None:
    back = consent(ask(visitor))
    until = database_now() + timedelta(seconds=40)
    DiscordGate.objects.update_or_create(pk=1, defaults={"streak": 1, "until": until, "reason": "global_limit"})

    response = come_back(visitor, back)

    wait = int(response["Retry-After"])
    assert (response.status_code, 38 <= wait <= 40) == (429, True)
    assert f'data-countdown="{wait}"' in words_of(response)
    assert "Discord is limiting this whole site at the moment." in words_of(response)
    assert sandbox.requests("/oauth2/token") == []


def test_after_a_failed_sign_in_the_way_to_try_again_leads_somewhere(visitor: Client, sandbox: Sandbox) -> None:
    back = consent(ask(visitor, next="/account/"))
    sandbox.mood("outage", routes=["/oauth2/token"])
    response = come_back(visitor, back)
    sandbox.mood("healthy")

    found = re.search(r'data-reload="([^"]+)"', response.content.decode())
    assert found
    again = visitor.get(html.unescape(found[1]))

    assert again.status_code == 200, words_of(again)
    assert "Sign in with Discord" in words_of(again)
    assert 'name="next" value="/account/"' in again.content.decode()


@pytest.mark.parametrize("route", ["/oauth2/token", "/users/@me"])
@pytest.mark.parametrize("mode", ["outage", "bad_gateway", "timeout", "drip", "reset", "garbage", "wrong_type"])
def test_a_silent_discord_is_a_page_that_says_when_to_come_back(
    visitor: Client, sandbox: Sandbox, mode: str, route: str
) -> None:
    back = consent(ask(visitor))
    sandbox.mood(mode, routes=[route])

    response = come_back(visitor, back)

    assert response.status_code == 503
    assert "Discord is out of reach" in words_of(response)
    assert int(response["Retry-After"]) >= 1
    assert not User.objects.exists()


@pytest.mark.parametrize("route", ["/oauth2/token", "/users/@me"])
def test_a_limited_sign_in_is_a_limit(visitor: Client, sandbox: Sandbox, route: str) -> None:
    back = consent(ask(visitor))
    sandbox.mood("rate_limited", routes=[route], retry_after=25)

    response = come_back(visitor, back)

    assert (response.status_code, int(response["Retry-After"]) >= 25) == (429, True)
    assert not User.objects.exists()


def test_a_wrong_client_secret_is_the_operators_to_mend(visitor: Client, settings: Settings) -> None:
    back = consent(ask(visitor))
    settings.DISCORD_CLIENT_SECRET = "wrong"

    response = come_back(visitor, back)

    assert response.status_code == 503
    assert "Sign-in isn't set up right" in words_of(response)
    assert not User.objects.exists()


@pytest.mark.parametrize("mode", ["unauthorized", "forbidden"])
def test_a_token_that_is_refused_at_once_is_not_blamed_on_the_operator(
    visitor: Client, sandbox: Sandbox, mode: str
) -> None:
    back = consent(ask(visitor))
    sandbox.mood(mode, routes=["/users/@me"])

    response = come_back(visitor, back)

    assert response.status_code == 400
    assert "Sign-in didn't work" in words_of(response)
    assert not User.objects.exists()


def test_sign_ins_in_two_tabs_both_end_well(visitor: Client) -> None:
    first, second = consent(ask(visitor)), consent(ask(visitor))

    statuses = [come_back(visitor, back).status_code for back in (first, second)]

    assert statuses == [302, 302]
    assert DiscordAccount.objects.count() == 1


@pytest.mark.parametrize(("query", "words"), [("error=server_error", "Sign-in didn't work"), ("", "Start again")])
def test_an_answer_that_makes_no_sense_is_a_page(visitor: Client, sandbox: Sandbox, query: str, words: str) -> None:
    response = visitor.get(f"/complete/discord/?{query}")

    assert response.status_code == 400
    assert words in words_of(response)
    assert sandbox.requests("/oauth2/token") == []


# the way out


def test_signing_out_is_a_form_and_no_link(visitor: Client) -> None:
    sign_in(visitor)

    response = visitor.get("/sign-out/")

    assert response.status_code == 405
    assert is_signed_in(visitor)


def test_signing_out_ends_this_session_and_revokes_nothing(visitor: Client) -> None:
    other = Client(SERVER_NAME="localhost")
    sign_in(visitor)
    sign_in(other)

    response = visitor.post("/sign-out/")

    stored = DiscordAccount.objects.get().extra_data
    assert (response.status_code, response["Location"]) == (302, "/")
    assert (is_signed_in(visitor), is_signed_in(other)) == (False, True)
    assert discord_client().get_current_user(stored["access_token"]).username == "ada"


# who it is


def test_a_deactivated_person_is_told_so(visitor: Client, sandbox: Sandbox) -> None:
    sign_in(visitor)
    User.objects.update(is_active=False)

    response = sign_in(Client(SERVER_NAME="localhost"))

    assert response.status_code == 403
    assert "This account is switched off" in words_of(response)


@pytest.mark.parametrize("known", [True, False], ids=["known here", "new here"])
def test_somebody_signed_in_does_not_take_over_another_discord_account(visitor: Client, known: bool) -> None:
    if known:
        sign_in(Client(SERVER_NAME="localhost"), "linus")
    sign_in(visitor, "ada")
    ada = User.objects.get(discord_username="ada")

    response = sign_in(visitor, "linus")

    assert response.status_code == 409
    assert "That is another Discord account" in words_of(response)
    assert User.objects.get(pk=ada.pk).discord_username == "ada"
    assert DiscordAccount.objects.filter(user=ada).count() == 1
