"""Signing in at the sandbox without a browser: the redirect, the callback, and each failure."""

import html
import http.client
import re
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import time_machine
from cryptography.fernet import Fernet
from django.apps import apps
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.test import Client, RequestFactory
from django.urls import reverse
from pytest_django import Settings

from accounts.clock import database_now
from accounts.hooks import SignIn
from accounts.models import DiscordAccount, DiscordGate, Session, User
from accounts.sessions import digest
from accounts.sign_in import MAX_ATTEMPTS, USED_ATTEMPTS
from accounts.tokens import discord_client, revoker
from guilds import personal_data
from guilds.backends import DiscordBackend
from guilds.models import GuildListVerification, UserGuildMembership
from guilds.problems.of_errors import problem_of
from guilds.problems.responses import problem_response
from guilds.services import NoAnswer, Reason
from tests.fixtures import Sandbox, let_pass

pytestmark = pytest.mark.usefixtures("sandbox", "transactional_db")


@pytest.fixture
def visitor() -> Client:
    """A client that is not signed in. It uses a loopback host, because the sandbox redirects only there."""
    return Client(SERVER_NAME="localhost")


def ask(visitor: Client, **data: str) -> str:
    """Return the URL that "Sign in with Discord" redirects to."""
    response = visitor.post("/login/discord/", data)
    assert response.status_code == 302, response.content.decode()
    return str(response["Location"])


def consent(url: str, **choices: str) -> str:
    """Consent as a person at Discord and return the callback's URL. With `cookie`, only that cookie decides."""
    cookie = choices.pop("cookie", None)
    chosen = {"as": "ada"} if cookie is None and not choices else choices
    parts = urlsplit(f"{url}&{urlencode(chosen)}")
    connection = http.client.HTTPConnection(parts.netloc, timeout=10)
    try:
        connection.request("GET", f"{parts.path}?{parts.query}", headers={"Cookie": cookie or ""})
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


# the redirect to Discord


def test_the_way_to_discord_asks_for_the_name_and_the_servers_only(visitor: Client, sandbox: Sandbox) -> None:
    url = ask(visitor)

    asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    assert url.startswith(f"{sandbox.url}/oauth2/authorize?")
    assert (asked["scope"], asked["response_type"], asked["client_id"]) == ("identify guilds", "code", "guildhall")
    assert asked["redirect_uri"] == "http://localhost:8000/complete/discord/"
    assert asked["code_challenge_method"] == "S256"
    assert len(asked["code_challenge"]) == 43
    assert len(asked["state"]) >= 32


def test_no_two_sign_ins_share_a_state_or_a_challenge(visitor: Client) -> None:
    first, second = (parse_qs(urlsplit(ask(visitor)).query) for _ in range(2))

    assert first["state"] != second["state"]
    assert first["code_challenge"] != second["code_challenge"]


def test_the_way_to_discord_is_a_form_and_no_link(visitor: Client) -> None:
    assert visitor.get("/login/discord/").status_code == 405


@pytest.mark.parametrize("method", ["post", "put", "delete", "head"])
def test_the_way_back_takes_get_alone(visitor: Client, method: str) -> None:
    response = getattr(visitor, method)("/complete/discord/?state=x&code=y")

    assert response.status_code == 405
    assert response["Allow"] == "GET"


@pytest.mark.parametrize("page", ["/login/github/", "/complete/github/"])
def test_there_is_no_other_way_in(visitor: Client, page: str) -> None:
    method = visitor.post if page.startswith("/login") else visitor.get

    assert method(page).status_code == 404


# scopes

signed_in: list[SignIn] = []


def remember(sign_in: SignIn) -> None:
    signed_in.append(sign_in)


def fail(sign_in: SignIn) -> None:
    raise RuntimeError


def test_the_setting_decides_what_a_sign_in_asks_for(visitor: Client, settings: Settings) -> None:
    settings.DISCORD_SCOPES = ["email", "identify"]

    assert parse_qs(urlsplit(ask(visitor)).query)["scope"] == ["identify email"]
    page = words_of(visitor.get("/sign-in/"))
    assert "your email address" in page
    assert "your servers" not in page
    assert "your email address" in words_of(visitor.get("/"))


def test_the_sign_in_page_promises_only_what_the_scopes_allow(visitor: Client, settings: Settings) -> None:
    assert "can't act on your behalf" in words_of(visitor.get("/sign-in/"))

    settings.DISCORD_SCOPES = ["identify", "role_connections.write"]

    assert "can't act on your behalf" not in words_of(visitor.get("/sign-in/"))


def test_the_account_page_names_what_this_person_granted(visitor: Client, settings: Settings) -> None:
    settings.DISCORD_SCOPES = ["identify", "guilds", "email"]
    come_back(visitor, consent(ask(visitor), **{"as": "ada", "withhold": "email"}))
    assert "access to: your name and picture, your servers and your permissions in them." in words_of(
        visitor.get("/account/")
    )
    assert "We don't store messages, your email address or other members." in words_of(visitor.get("/account/"))

    sign_in(visitor)

    assert ", your email address, your servers" in words_of(visitor.get("/account/"))
    assert "We don't store messages or other members." in words_of(visitor.get("/account/"))


@pytest.mark.parametrize(("scopes", "email"), [(["identify", "email"], "ada@sandbox.invalid"), (["identify"], None)])
def test_a_hook_receives_what_the_scopes_share(
    visitor: Client, settings: Settings, scopes: list[str], email: str | None
) -> None:
    signed_in.clear()
    settings.DISCORD_SCOPES = scopes
    settings.GUILDHALL_SIGN_IN_HOOKS = [f"{__name__}.fail", f"{__name__}.remember"]

    sign_in(visitor)
    sign_in(visitor)

    assert [(one.user, one.profile.email, one.scopes, one.is_new) for one in signed_in] == [
        (User.objects.get(), email, frozenset(scopes), True),
        (User.objects.get(), email, frozenset(scopes), False),
    ]
    assert signed_in[0].profile.email_verified is bool(email)
    assert "ada@sandbox.invalid" not in repr(signed_in)


def test_a_hook_that_does_not_exist_stops_the_start(settings: Settings) -> None:
    settings.GUILDHALL_SIGN_IN_HOOKS = [f"{__name__}.missing"]

    with pytest.raises(ImproperlyConfigured, match="GUILDHALL_SIGN_IN_HOOKS is wrong"):
        apps.get_app_config("accounts").ready()


# one more scope

ROLES = "guilds.members.read"


def requested(url: str) -> str:
    return parse_qs(urlsplit(url).query)["scope"][0]


def test_one_more_scope_is_explained_requested_and_leads_back(visitor: Client) -> None:
    sign_in(visitor)

    page = visitor.get("/sign-in/", {"scope": ROLES, "next": "/account/"})
    url = ask(visitor, scope=ROLES, next="/account/")
    response = come_back(visitor, consent(url, **{"as": "ada"}))

    assert "your nickname and roles in your servers" in words_of(page)
    assert 'name="scope" value="guilds.members.read"' in words_of(page)
    assert requested(url) == "identify guilds guilds.members.read"
    assert response["Location"] == "/account/"
    assert DiscordAccount.objects.get().scopes == {"identify", "guilds", ROLES}


def test_a_scope_that_was_granted_needs_no_page(visitor: Client) -> None:
    sign_in(visitor, scope=ROLES)

    response = visitor.get("/sign-in/", {"scope": ROLES, "next": "/account/"})

    assert (response.status_code, response["Location"]) == (302, "/account/")


def test_after_the_tokens_were_refused_a_granted_scope_is_requested_again(visitor: Client) -> None:
    sign_in(visitor, scope=ROLES)
    DiscordAccount.objects.update(disconnected_at=database_now())

    assert visitor.get("/sign-in/", {"scope": ROLES}).status_code == 200


def test_only_scopes_of_the_list_can_be_requested(visitor: Client) -> None:
    sign_in(visitor)

    for scope in ("bot", "email", "webhook.incoming", "identify", "", "x" * 5000, "guilds\x00"):
        assert visitor.get("/sign-in/", {"scope": scope}).status_code == 302, scope
        assert requested(ask(visitor, scope=scope)) == "identify guilds", scope


@pytest.mark.parametrize(
    ("setting", "usual", "with_roles"),
    [
        ("when_needed", "identify guilds", f"identify guilds {ROLES}"),
        ("at_sign_in", f"identify guilds {ROLES}", f"identify guilds {ROLES}"),
        ("never", "identify guilds", "identify guilds"),
    ],
)
def test_a_setting_decides_when_roles_are_requested(
    visitor: Client, settings: Settings, setting: str, usual: str, with_roles: str
) -> None:
    settings.DISCORD_MEMBER_SCOPE = setting

    assert requested(ask(visitor)) == usual
    assert requested(ask(visitor, scope=ROLES)) == with_roles


def test_a_site_can_allow_more_scopes(visitor: Client, settings: Settings) -> None:
    settings.DISCORD_OPTIONAL_SCOPES = ["email"]

    assert requested(ask(visitor)) == "identify guilds"
    assert requested(ask(visitor, scope=f"email bot {ROLES}")) == f"identify email guilds {ROLES}"


@pytest.mark.parametrize("leaves", ["/sign-out/", "/sign-out-everywhere/", ""])
def test_a_later_sign_in_of_this_browser_keeps_the_scope(visitor: Client, leaves: str) -> None:
    sign_in(visitor, scope=ROLES)
    if leaves:
        visitor.post(leaves)

    assert requested(ask(visitor)) == f"identify guilds {ROLES}"
    assert "your nickname and roles" in words_of(visitor.get("/sign-in/", {"again": "1"}))
    assert requested(ask(Client(SERVER_NAME="localhost"))) == "identify guilds"
    cookie = visitor.cookies["guildhall_scopes"]
    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"


def test_the_browser_asks_only_for_what_its_last_session_had(visitor: Client) -> None:
    sign_in(visitor, scope=ROLES)
    come_back(visitor, consent(ask(visitor), **{"as": "ada", "withhold": ROLES}))
    visitor.post("/sign-out/")

    assert requested(ask(visitor)) == "identify guilds"


def test_a_cookie_can_request_nothing_that_a_page_could_not(visitor: Client) -> None:
    visitor.cookies["guildhall_scopes"] = "bot email guilds.members.read"

    assert requested(ask(visitor)) == f"identify guilds {ROLES}"


def test_deleting_ones_data_also_forgets_the_scopes(visitor: Client) -> None:
    sign_in(visitor, scope=ROLES)

    visitor.post(reverse("guilds:delete-my-data"))

    assert requested(ask(visitor)) == "identify guilds"


def test_a_cancelled_consent_keeps_its_scope_and_target(visitor: Client) -> None:
    sign_in(visitor)

    response = come_back(visitor, consent(ask(visitor, scope=ROLES, next="/account/"), deny="1"))

    assert f'name="scope" value="{ROLES}"' in words_of(response)
    assert 'name="next" value="/account/"' in words_of(response)
    assert is_signed_in(visitor)


def test_the_list_can_be_shared_later(visitor: Client, settings: Settings) -> None:
    settings.DISCORD_SCOPES = ["identify"]
    sign_in(visitor)

    unshared = visitor.get("/servers/?q=chess")
    come_back(visitor, consent(ask(visitor, scope="guilds", next="/servers/"), **{"as": "ada"}))

    assert "This site doesn't know which servers you're in" in words_of(unshared)
    assert "Allow this site to see your servers" in words_of(unshared)
    assert 'href="/sign-in/?scope=guilds&next=/servers/"' in words_of(unshared)
    assert "This site doesn't know" not in words_of(visitor.get("/servers/"))


@pytest.mark.parametrize(("setting", "offers"), [("when_needed", True), ("never", False)])
def test_a_page_that_needs_roles_offers_to_share_them(settings: Settings, setting: str, offers: bool) -> None:
    settings.DISCORD_MEMBER_SCOPE = setting
    request = RequestFactory().get("/welcome/7/")
    request.user = AnonymousUser()

    problem = problem_of(NoAnswer("member", Reason.MISSING_SCOPE))
    assert problem
    response = problem_response(request, problem)

    assert response.status_code == 403
    assert "You didn't share your roles" in words_of(response)
    link = 'href="/sign-in/?scope=guilds.members.read&next=%2Fwelcome%2F7%2F">Allow this site to read your roles<'
    assert (link in words_of(response)) is offers
    assert problem.as_dict()["scope"] == ROLES


# one click for returning people


def asked_at(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


def refuse(url: str, error: str) -> str:
    """Return the callback's URL with this error of Discord."""
    asked = asked_at(url)
    return f"{asked['redirect_uri']}?{urlencode({'error': error, 'state': asked['state']})}"


def test_a_returning_person_sees_no_page_of_discord(visitor: Client) -> None:
    sign_in(visitor)
    visitor.post("/sign-out/")

    back = consent(ask(visitor, next="/account/"), cookie="sandbox_person=ada")
    come_back(visitor, back)

    assert "code=" in back
    assert "You're signed in as" in words_of(visitor.get("/account/"))
    assert "Ada Lovelace" in words_of(visitor.get("/account/"))


@pytest.mark.parametrize("error", ["consent_required", "interaction_required", "login_required"])
def test_if_discord_needs_a_page_it_is_asked_for_it_once(visitor: Client, error: str) -> None:
    first = ask(visitor, next="/account/", scope=ROLES)

    response = come_back(visitor, refuse(first, error))
    second = response["Location"]
    again = come_back(visitor, refuse(second, error))

    assert response.status_code == 302
    assert (asked_at(first)["prompt"], asked_at(second)["prompt"]) == ("none", "consent")
    assert asked_at(second)["scope"] == f"identify guilds {ROLES}"
    assert asked_at(second)["state"] != asked_at(first)["state"]
    assert again.status_code == 400
    assert "Sign-in failed" in words_of(again)
    assert 'value="/account/"' in words_of(again)


def test_the_page_that_discord_needed_ends_where_the_sign_in_should(visitor: Client) -> None:
    back = consent(ask(visitor, next="/account/"), cookie="")

    response = come_back(visitor, consent(come_back(visitor, back)["Location"], **{"as": "ada"}))

    assert "error=login_required" in back
    assert response["Location"] == "/account/"
    assert is_signed_in(visitor)


def test_only_an_attempt_of_this_browser_falls_back(visitor: Client) -> None:
    url = refuse(ask(visitor), "consent_required")

    assert come_back(Client(SERVER_NAME="localhost"), url).status_code == 400
    assert come_back(visitor, url).status_code == 302
    assert come_back(visitor, url).status_code == 400


def test_another_account_is_chosen_on_discords_page(visitor: Client) -> None:
    sign_in(visitor, scope=ROLES)
    assert "Use another account" in words_of(visitor.get("/account/"))

    url = ask(visitor, another="1", next="/account/")
    assert not is_signed_in(visitor)
    come_back(visitor, consent(url, **{"as": "grace"}))

    assert (asked_at(url)["prompt"], asked_at(url)["scope"]) == ("consent", "identify guilds")
    assert User.objects.count() == 2
    assert "signed in as" in words_of(visitor.get("/account/"))
    assert "grace" in words_of(visitor.get("/account/"))


def test_the_sign_in_page_offers_another_account(visitor: Client) -> None:
    assert 'name="another"' in words_of(visitor.get("/sign-in/"))


class OtherBackend(DiscordBackend):
    name = "github"


def test_another_provider_signs_nobody_in(
    visitor: Client,
    sandbox: Sandbox,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its ids would be taken for Discord's."""
    sandbox.application(redirect_uris=["http://localhost:8000/complete/github/"])
    monkeypatch.setattr("social_core.backends.utils.BACKENDSCACHE", {})
    settings.AUTHENTICATION_BACKENDS = [f"{__name__}.OtherBackend"]
    settings.SOCIAL_AUTH_GITHUB_KEY = settings.SOCIAL_AUTH_DISCORD_KEY

    response = come_back(visitor, consent(visitor.post("/login/github/")["Location"]))

    assert response.status_code == 403
    assert "This site accepts only Discord accounts." in words_of(response)
    assert "github" in caplog.text
    assert not User.objects.exists()


# the callback


def test_a_sign_in_ends_on_a_warm_list(visitor: Client, sandbox: Sandbox) -> None:
    response = sign_in(visitor)

    assert (response.status_code, response["Location"]) == (302, "/servers/")
    assert is_signed_in(visitor)
    assert len(sandbox.requests()) == 1
    # One more is empty: the search that found nothing, which is hidden.
    assert len(re.findall(r"<bdi>(?!</bdi>)", words_of(visitor.get("/servers/")))) == 12
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
    [
        "https://evil.example/",
        "//evil.example",
        r"\\evil.example",
        "javascript:alert(1)",
        "/\\evil.example",
        "/\t/evil.example",
        "http://localhost//evil.example",
        "http://localhost:8000@evil.example/",
        # The name of a view.
        "home",
    ],
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
    assert not Session.objects.filter(session_key=digest(before)).exists()


def test_the_session_cookie_is_out_of_reach_of_scripts_and_other_sites(visitor: Client) -> None:
    sign_in(visitor)

    cookie = visitor.cookies["guildhall_session"]
    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"


def test_somebody_signed_in_does_not_see_the_sign_in_page(visitor: Client) -> None:
    sign_in(visitor)

    response = visitor.get("/sign-in/", {"next": "/account/"})

    assert (response.status_code, response["Location"]) == (302, "/account/")


# the person's choices


def test_a_refused_consent_stores_nothing(visitor: Client, sandbox: Sandbox) -> None:
    response = come_back(visitor, consent(ask(visitor), deny="1"))

    assert response.status_code == 403
    assert "You cancelled the sign-in" in words_of(response)
    assert not User.objects.exists()
    assert sandbox.requests("/oauth2/token") == []


def test_a_used_callback_leads_a_signed_in_person_on(visitor: Client, sandbox: Sandbox) -> None:
    back = consent(ask(visitor, next="/account/"))
    come_back(visitor, back)

    response = come_back(visitor, back)

    assert (response.status_code, response["Location"]) == (302, "/account/")
    assert len(sandbox.requests("/oauth2/token")) == 1
    assert is_signed_in(visitor)


def test_a_code_that_is_used_up_says_so(visitor: Client, sandbox: Sandbox) -> None:
    back = re.sub(r"code=[^&]+", "code=used-up", consent(ask(visitor)))

    response = come_back(visitor, back)

    assert response.status_code == 400
    assert "This sign-in link was already used" in words_of(response)
    assert not is_signed_in(visitor)


@pytest.mark.parametrize(
    "tampered", ["state=another", "state=", "state=" + "x" * 1000, f"state={'f' * 400}-x", "nothing=here"]
)
def test_a_state_that_is_not_ours_is_refused_before_discord_is_asked(
    visitor: Client, sandbox: Sandbox, tampered: str
) -> None:
    back = re.sub(r"state=[^&]+", tampered, consent(ask(visitor)))

    response = come_back(visitor, back)

    assert response.status_code == 400
    assert "This sign-in link doesn't work here" in words_of(response)
    assert sandbox.requests("/oauth2/token") == []
    assert not is_signed_in(visitor)


def test_an_answer_for_one_browser_signs_no_other_one_in(visitor: Client, sandbox: Sandbox) -> None:
    back = consent(ask(visitor))

    response = come_back(Client(SERVER_NAME="localhost"), back)

    assert response.status_code == 400
    assert "Sign-in needs cookies" in words_of(response)
    assert sandbox.requests("/oauth2/token") == []


@pytest.mark.parametrize("begins_another", [False, True])
def test_a_consent_that_took_half_an_hour_is_too_old(visitor: Client, sandbox: Sandbox, begins_another: bool) -> None:
    back = consent(ask(visitor))

    with time_machine.travel(timedelta(seconds=1802)):
        if begins_another:
            ask(visitor)
        response = come_back(visitor, back)

    assert response.status_code == 400
    assert "This sign-in link has expired" in words_of(response)
    assert sandbox.requests("/oauth2/token") == []


def test_withheld_servers_are_a_page_of_their_own(visitor: Client, sandbox: Sandbox) -> None:
    come_back(visitor, consent(ask(visitor), **{"as": "ada", "withhold": "guilds"}))

    response = visitor.get("/servers/")

    assert response.status_code == 403
    assert "You didn't share your servers" in words_of(response)
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
    assert "That's a different Discord account" in words_of(response)
    assert visitor.get("/api/v1/me/").json()["username"] == "linus"
    assert set(DiscordAccount.objects.values_list("user__discord_username", flat=True)) == {"ada", "linus"}


def test_somebody_who_was_shut_out_stays_out(visitor: Client) -> None:
    sign_in(visitor)
    User.objects.update(is_active=False)
    again = Client(SERVER_NAME="localhost")

    sign_in(again)

    assert not is_signed_in(again)
    assert not is_signed_in(visitor)


# Discord's failures


@pytest.mark.parametrize(
    ("mode", "status", "words"),
    [
        ("rate_limited", 429, "Discord is rate-limiting requests for your account."),
        ("outage", 503, "Discord isn't responding at the moment."),
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
    assert "Discord is rate-limiting this whole site." in words_of(response)
    assert sandbox.requests("/oauth2/token") == []


def test_after_a_failed_sign_in_the_way_to_try_again_leads_somewhere(visitor: Client, sandbox: Sandbox) -> None:
    back = consent(ask(visitor, next="/account/"))
    sandbox.mood("outage", routes=["/oauth2/token"])
    response = come_back(visitor, back)
    sandbox.mood("healthy")

    found = re.search(r'content="\d+; url=([^"]+)"', response.content.decode())
    assert found
    again = visitor.get(html.unescape(found[1]))

    assert again.status_code == 200, words_of(again)
    assert "Sign in with Discord" in words_of(again)
    assert 'name="next" value="/account/"' in again.content.decode()


@pytest.mark.parametrize("at", ["the callback", "the form"])
def test_a_sign_in_that_had_to_wait_begins_again_with_its_target_and_scope(
    visitor: Client, sandbox: Sandbox, settings: Settings, at: str
) -> None:
    if at == "the form":
        settings.SIGN_IN_THROTTLE_ADDRESS = (1, 60)
        ask(visitor)
        response = visitor.post("/login/discord/", {"next": "/account/", "scope": ROLES})
    else:
        back = consent(ask(visitor, next="/account/", scope=ROLES))
        sandbox.mood("rate_limited", routes=["/oauth2/token"], retry_after=25)
        response = come_back(visitor, back)

    page = words_of(response)
    form = page[page.index('id="resume"') :].partition("</form>")[0]
    assert response.status_code == 429
    assert 'data-submit="resume"' in page
    assert 'name="next" value="/account/"' in form
    assert f'name="scope" value="{ROLES}"' in form
    assert "csrfmiddlewaretoken" in form


@pytest.mark.parametrize("route", ["/oauth2/token", "/users/@me"])
@pytest.mark.parametrize("mode", ["outage", "bad_gateway", "timeout", "drip", "reset"])
def test_a_silent_discord_is_a_page_that_says_when_to_come_back(
    visitor: Client, sandbox: Sandbox, mode: str, route: str
) -> None:
    back = consent(ask(visitor))
    sandbox.mood(mode, routes=[route])

    response = come_back(visitor, back)

    assert response.status_code == 503
    assert "We can't reach Discord" in words_of(response)
    assert int(response["Retry-After"]) >= 1
    assert not User.objects.exists()


@pytest.mark.parametrize("route", ["/oauth2/token", "/users/@me"])
@pytest.mark.parametrize("mode", ["garbage", "wrong_type"])
def test_an_unexpected_reply_is_not_called_silence(visitor: Client, sandbox: Sandbox, mode: str, route: str) -> None:
    back = consent(ask(visitor))
    sandbox.mood(mode, routes=[route])

    response = come_back(visitor, back)

    assert response.status_code == 503
    assert "Discord sent an unexpected reply" in words_of(response)
    assert "Reconnect with Discord" in words_of(response)


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
    assert "This site's access to Discord is misconfigured" in words_of(response)
    assert not User.objects.exists()


@pytest.mark.parametrize("mode", ["unauthorized", "forbidden"])
def test_a_token_that_is_refused_at_once_is_not_blamed_on_the_operator(
    visitor: Client, sandbox: Sandbox, mode: str
) -> None:
    back = consent(ask(visitor))
    sandbox.mood(mode, routes=["/users/@me"])

    response = come_back(visitor, back)

    assert response.status_code == 403
    assert "Sign in with Discord again" in words_of(response)
    assert not User.objects.exists()


def test_each_tab_ends_at_its_own_page(visitor: Client) -> None:
    pages = ["/account/", "/account/tokens/", "/servers/"]
    backs = [consent(ask(visitor, next=page)) for page in pages]

    arrived = [come_back(visitor, back)["Location"] for back in reversed(backs)]

    assert arrived == pages[::-1]
    assert DiscordAccount.objects.count() == 1


def test_a_used_answer_after_signing_out_is_not_blamed_on_cookies(visitor: Client) -> None:
    visitor.get("/sign-in/")
    back = consent(ask(visitor))
    come_back(visitor, back)
    visitor.post("/sign-out/")
    # A browser drops the cookie that expired; the test client sends it, empty.
    del visitor.cookies["guildhall_session"]

    response = come_back(visitor, back)

    assert "This sign-in link doesn't work here" in words_of(response)


def test_a_session_holds_a_bounded_number_of_attempts(visitor: Client) -> None:
    oldest, second = consent(ask(visitor)), consent(ask(visitor))
    for _ in range(MAX_ATTEMPTS - 1):
        ask(visitor, next="/" + "x" * 5000)

    assert "This sign-in link doesn't work here" in words_of(come_back(visitor, oldest))
    assert come_back(visitor, second).status_code == 302
    assert len(str(visitor.session.items())) < 1000 * MAX_ATTEMPTS


def test_used_attempts_do_not_pile_up(visitor: Client) -> None:
    for _ in range(MAX_ATTEMPTS + 2):
        come_back(visitor, consent(ask(visitor)))

    assert len(visitor.session[USED_ATTEMPTS]) == MAX_ATTEMPTS


def test_a_used_callback_of_a_visitor_says_so_and_keeps_the_destination(visitor: Client, sandbox: Sandbox) -> None:
    back = consent(ask(visitor, next="/account/"))
    sandbox.mood("outage", routes=["/oauth2/token"])
    come_back(visitor, back)

    response = come_back(visitor, back)

    assert response.status_code == 400
    assert "This sign-in link was already used" in words_of(response)
    assert 'name="next" value="/account/"' in words_of(response)


def test_two_callbacks_at_once_are_one_sign_in(visitor: Client, sandbox: Sandbox) -> None:
    back = consent(ask(visitor))
    stored = Session.objects.get()
    cookie = visitor.cookies["guildhall_session"].value
    come_back(visitor, back)
    # The second request read the session before the first one changed it.
    late = Client(SERVER_NAME="localhost")
    stored.save(force_insert=True)
    late.cookies["guildhall_session"] = cookie

    response = come_back(late, back)

    assert "This sign-in link was already used" in words_of(response)
    assert len(sandbox.requests("/oauth2/token")) == 1


def test_a_cancelled_sign_in_keeps_its_destination(visitor: Client) -> None:
    response = come_back(visitor, consent(ask(visitor, next="/account/"), deny="1"))

    assert 'name="next" value="/account/"' in words_of(response)


@pytest.mark.parametrize(("signs_in", "status"), [(True, 302), (False, 403)])
def test_an_old_sign_in_page_knows_what_happened(signs_in: bool, status: int) -> None:
    visitor = Client(SERVER_NAME="localhost", enforce_csrf_checks=True)
    page = words_of(visitor.get("/sign-in/", {"next": "/account/"}))
    found = re.search(r'csrfmiddlewaretoken" value="([^"]+)', page)
    assert found
    form = {"csrfmiddlewaretoken": found[1], "next": "/account/"}
    if signs_in:
        come_back(visitor, consent(ask(visitor, **form)))
    else:
        visitor.cookies["guildhall_csrf"] = "y" * 32

    response = visitor.post("/login/discord/", form)

    assert response.status_code == status
    if signs_in:
        assert response["Location"] == "/account/"
    else:
        assert "This page was out of date" in words_of(response)
        assert 'name="next" value="/account/"' in words_of(response)


def test_the_callback_takes_get_alone(visitor: Client) -> None:
    assert visitor.post("/complete/discord/", {"state": "x", "code": "y"}).status_code == 405


def test_at_another_name_of_the_site_a_sign_in_begins_at_site_url(settings: Settings) -> None:
    settings.ALLOWED_HOSTS = ["localhost", "other.example"]

    response = Client(SERVER_NAME="other.example").post("/login/discord/", {"next": "/account/"})

    assert response["Location"] == "http://localhost:8000/sign-in/?next=%2Faccount%2F"


@pytest.mark.parametrize(("query", "words"), [("error=server_error", "Sign-in failed"), ("", "Start again")])
def test_an_answer_that_makes_no_sense_is_a_page(visitor: Client, sandbox: Sandbox, query: str, words: str) -> None:
    response = visitor.get(f"/complete/discord/?{query}")

    assert response.status_code == 400
    assert words in words_of(response)
    assert sandbox.requests("/oauth2/token") == []


# a username that is already taken


def test_a_local_username_does_not_stand_in_the_way(visitor: Client, sandbox: Sandbox) -> None:
    sign_in(visitor)
    ada = User.objects.get()
    discord_id = ada.discord_id
    personal_data.forget_user(ada)
    revoker.finish(60)  # else the revocation may meet the authorization of the next sign-in
    local = User.objects.create_user(username=str(discord_id), password="a long one")

    sign_in(visitor)

    assert is_signed_in(visitor)
    again = User.objects.get(discord_id=discord_id)
    assert (again.pk != local.pk, again.display_name) == (True, "Ada Lovelace")
    again.full_clean()


# an account that is deleted meanwhile

STEPS = ["social_user", "find_or_create_user", "associate_user", "save_profile", "save_tokens", "ask_at_sign_in"]


@pytest.mark.parametrize("is_reconnect", [False, True])
@pytest.mark.parametrize("step", STEPS)
def test_a_person_who_is_deleted_meanwhile_signs_in_again(
    visitor: Client, settings: Settings, step: str, is_reconnect: bool
) -> None:
    sign_in(visitor)
    browser = visitor if is_reconnect else Client(SERVER_NAME="localhost")
    back = consent(ask(browser))
    pipeline = list(settings.SOCIAL_AUTH_PIPELINE)
    position = next(i for i, name in enumerate(pipeline) if name.endswith(f".{step}"))
    settings.SOCIAL_AUTH_PIPELINE = [*pipeline[:position], f"{__name__}.forget_everyone", *pipeline[position:]]

    response = come_back(browser, back)

    # Before the first step that reads the account, the visitor counts as new.
    is_new = step == "social_user" and not is_reconnect
    assert response.status_code == (302 if is_new else 409)
    assert is_new or "Please sign in again" in words_of(response)
    assert is_signed_in(browser) == is_new


def forget_everyone(*args: Any, **kwargs: Any) -> None:
    for user in User.objects.all():
        personal_data.forget_user(user)


# a local account


@pytest.fixture
def root(visitor: Client) -> User:
    root = User.objects.create_superuser(username="root", password="a long one")
    visitor.force_login(root, "guilds.backends.PasswordBackend")
    return root


def test_a_local_account_is_linked_once_its_person_confirms(visitor: Client, root: User, sandbox: Sandbox) -> None:
    asked = visitor.post("/login/discord/", {"next": "/account/"})
    response = sign_in(visitor, next="/account/", link="1")

    assert asked.status_code == 200
    assert "Link your Discord account?" in words_of(asked)
    assert 'name="next" value="/account/"' in words_of(asked)
    assert response["Location"] == "/account/"
    root.refresh_from_db()
    assert (root.username, root.global_name) == ("root", "Ada Lovelace")
    assert "Your account is now linked to the Discord account “Ada Lovelace”." in words_of(visitor.get("/account/"))


def test_an_attempt_from_before_the_password_links_nothing(visitor: Client, sandbox: Sandbox) -> None:
    back = consent(ask(visitor))
    root = User.objects.create_superuser(username="root", password="a long one")
    visitor.post("/admin/login/", {"username": "root", "password": "a long one"})

    response = come_back(visitor, back)

    assert "Link your Discord account?" in words_of(response)
    assert sandbox.requests("/oauth2/token") == []
    root.refresh_from_db()
    assert root.discord_id is None


def test_a_local_account_takes_over_no_person(visitor: Client, root: User) -> None:
    sign_in(Client(SERVER_NAME="localhost"))
    DiscordAccount.objects.all().delete()

    response = sign_in(visitor, link="1")

    assert response.status_code == 409
    assert "That's a different Discord account" in words_of(response)


# sign-out


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


def test_signing_out_is_confirmed(visitor: Client) -> None:
    sign_in(visitor)

    assert "You've been signed out." in words_of(visitor.post("/sign-out/", follow=True))
    assert "You've been signed out." not in words_of(visitor.post("/sign-out/", follow=True))


# identity


def test_a_deactivated_person_is_told_so(visitor: Client, sandbox: Sandbox) -> None:
    sign_in(visitor)
    User.objects.update(is_active=False)

    response = sign_in(Client(SERVER_NAME="localhost"))

    assert response.status_code == 403
    assert "This account is deactivated" in words_of(response)


@pytest.mark.parametrize("known", [True, False], ids=["known here", "new here"])
def test_somebody_signed_in_does_not_take_over_another_discord_account(visitor: Client, known: bool) -> None:
    if known:
        sign_in(Client(SERVER_NAME="localhost"), "linus")
    sign_in(visitor, "ada")
    ada = User.objects.get(discord_username="ada")

    response = sign_in(visitor, "linus")

    assert response.status_code == 409
    assert "That's a different Discord account" in words_of(response)
    assert User.objects.get(pk=ada.pk).discord_username == "ada"
    assert DiscordAccount.objects.filter(user=ada).count() == 1


def test_a_new_sign_in_replaces_tokens_that_no_key_opens(visitor: Client, settings: Settings) -> None:
    sign_in(visitor)
    let_pass(hours=25)
    settings.TOKEN_KEYS = [Fernet.generate_key().decode()]

    refused = visitor.get("/servers/")

    assert (refused.status_code, refused["Retry-After"]) == (503, "30")
    assert "This site's access to Discord is misconfigured" in words_of(refused)
    assert "Reconnect with Discord" in words_of(refused)
    sign_in(visitor)
    assert GuildListVerification.objects.get().not_before is None
    assert visitor.get("/servers/").status_code == 200


def test_a_sign_in_is_not_offered_where_it_would_reach_another_discord(visitor: Client, settings: Settings) -> None:
    sign_in(visitor)
    let_pass(hours=25)
    settings.DISCORD_ISSUER = "application 1 at discord.com"

    refused = visitor.get("/servers/")

    assert refused.status_code == 503
    assert "Reconnect with Discord" not in words_of(refused)
