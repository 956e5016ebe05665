"""The data the site stores about a person, as shown on the account page and as exported."""

import html
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.apps import apps
from django.db.models import Model
from django.test import Client
from pytest_django import Settings
from social_django.models import UserSocialAuth

from accounts.clock import database_now
from accounts.models import DiscordAccount, DiscordAllowance, Session, User
from guilds import personal_data
from guilds.apps import GuildsConfig
from guilds.models import BotGuild, GuildMember, GuildPreference, UserGuildMembership
from guilds.whole_site import checks
from tests.fixtures import Sandbox, let_pass

WithList = Callable[..., User]
ClientOf = Callable[[User], Client]

# social-auth brings it along; its accounts are `DiscordAccount`s here, and this table stays empty.
NEVER_WRITTEN = {UserSocialAuth}


def words_of(response: Any) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", response.content.decode())).split())


def about_a_person() -> set[type[Model]]:
    """Every model whose rows name a person, by a relation or by an id."""
    return {
        model
        for model in apps.get_models(include_auto_created=True)
        if not model._meta.proxy
        for field in model._meta.concrete_fields
        if field.related_model is User or field.attname == "user_id" or model is User
    } | {DiscordAllowance}


def test_every_kind_of_row_about_a_person_is_exported() -> None:
    assert set(personal_data.KINDS) == about_a_person() - NEVER_WRITTEN


def test_the_export_holds_everything_and_no_secret(with_list: WithList, client_of: ClientOf, sandbox: Sandbox) -> None:
    with_list("linus")
    ada = with_list("ada")
    GuildMember.objects.create(user=ada, guild_id=2**60, is_member=True, roles=[2**61], nick="Countess")
    client = client_of(ada)
    stored = DiscordAccount.objects.get(user=ada).extra_data
    sandbox.forget_requests()

    response = client.get("/servers/my-data.json")
    body = json.loads(response.content)

    assert response["Content-Disposition"] == 'attachment; filename="guildhall.json"'
    assert "no-store" in response["Cache-Control"]
    assert {name: len(rows) for name, rows in body.items()} == {
        "user": 1,
        "discord_account": 1,
        "discord_allowances": 0,
        "guild_list_verification": 1,
        "guild_memberships": 12,
        "guild_members": 1,
        "guild_preferences": 0,
        "personal_access_tokens": 0,
        "sessions": 1,
        "administration": 0,
        "groups": 0,
        "user_permissions": 0,
    }
    assert body["user"][0]["discord_id"] == str(ada.discord_id)
    assert body["discord_account"][0]["scopes"] == stored["scopes"]
    assert body["discord_account"][0]["expires_at"] == stored["expires_at"]
    assert body["guild_list_verification"][0]["version"] == "1"
    member = body["guild_members"][0]
    assert (member["guild_id"], member["nick"], member["roles"]) == (str(2**60), "Countess", [str(2**61)])
    ids = set(UserGuildMembership.objects.filter(user=ada).values_list("guild_id", flat=True))
    assert {int(row["guild_id"]) for row in body["guild_memberships"]} == ids
    assert all(isinstance(row["guild_id"], str) for row in body["guild_memberships"])
    text = response.content.decode()
    session = Session.objects.get(user_id=ada.pk)
    secrets = (stored["access_token"], stored["refresh_token"], "gAAAA", ada.password, session.session_key)
    assert [secret for secret in secrets if secret in text] == []
    assert "linus" not in text
    assert sandbox.requests("") == []


def test_a_visitor_gets_no_export(client: Client) -> None:
    assert client.get("/servers/my-data.json").status_code == 302


# rows of apps


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that an app registers: rows about the person with that number, deleted by no key of the database."""
    monkeypatch.setattr(GuildsConfig, "personal_data", {"BotGuild": "id"}, raising=False)
    monkeypatch.setattr(GuildsConfig, "personal_secrets", {"BotGuild": {"name"}}, raising=False)


def test_rows_that_an_app_registers_are_counted_exported_and_deleted(
    registered: None, with_list: WithList, client_of: ClientOf
) -> None:
    ada = with_list("ada")
    client = client_of(ada)
    now = database_now()
    for number in (ada.pk, ada.pk + 1000):
        BotGuild.objects.create(id=number, name="A secret", first_seen_at=now, verified_at=now)

    (row,) = json.loads(client.get("/servers/my-data.json").content)["guilds.botguild"]
    account = words_of(client.get("/account/"))
    client.post("/servers/delete-my-data/")

    assert row["id"] == str(ada.pk)
    assert "name" not in row
    assert f"{str(BotGuild._meta.verbose_name_plural).capitalize()}: 1" in account
    assert [guild.pk for guild in BotGuild.objects.all()] == [ada.pk + 1000]


def test_a_model_with_a_key_to_the_user_must_be_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(personal_data.KINDS, GuildPreference)

    (unregistered,) = checks.models_about_people_are_registered(None)
    monkeypatch.setattr(GuildsConfig, "personal_data", {"GuildPreference": "user"}, raising=False)
    registered = checks.models_about_people_are_registered(None)
    monkeypatch.setattr(GuildsConfig, "personal_data", {"GuildPreference": None}, raising=False)
    excluded = checks.models_about_people_are_registered(None)

    assert (unregistered.id, registered, excluded) == ("guilds.W003", [], [])
    assert "guilds.GuildPreference has a key to the user" in unregistered.msg
    assert 'personal_data = {"GuildPreference": "user"}' in str(unregistered.hint)


@pytest.mark.parametrize("listed", [{"Nothing": "user"}, {"GuildPreference": "person"}])
def test_a_registration_that_finds_no_rows_is_an_error(monkeypatch: pytest.MonkeyPatch, listed: dict[str, str]) -> None:
    monkeypatch.setattr(GuildsConfig, "personal_data", listed, raising=False)

    assert [message.id for message in checks.models_about_people_are_registered(None)] == ["guilds.E004"]


# the account page


def test_the_account_page_counts_what_is_stored(with_list: WithList, client_of: ClientOf, sandbox: Sandbox) -> None:
    ada = with_list("ada")
    here, _ = client_of(ada), client_of(ada)
    let_pass(hours=30)
    sandbox.mood("outage")
    sandbox.forget_requests()

    page = words_of(here.get("/account/"))

    assert "12 servers you're in" in page
    assert "Your active sessions: 2 browsers." in page
    assert "Encrypted access tokens" in page
    assert sandbox.requests("") == []


def test_the_account_page_says_what_is_not_there(client: Client, transactional_db: None) -> None:
    client.force_login(User.objects.create_user("staff"), "guilds.backends.PasswordBackend")

    page = words_of(client.get("/account/"))

    assert "Signed in with a password" in page
    assert "No server list yet" in page
    assert "No access tokens from Discord." in page


def test_the_account_page_says_what_is_stored_of_roles(with_list: WithList, client_of: ClientOf) -> None:
    ada = with_list("ada")
    client = client_of(ada)
    assert "your roles and nickname" not in words_of(client.get("/account/"))

    GuildMember.objects.create(user=ada, guild_id=11, is_member=True, roles=[501], nick="Countess")

    assert "For 1 server: whether you're a member, your roles and nickname" in words_of(client.get("/account/"))


def test_the_account_page_says_that_the_list_is_not_shared(
    sign_up: Callable[..., User], client_of: ClientOf, settings: Settings
) -> None:
    settings.DISCORD_SCOPES = ["identify"]

    page = words_of(client_of(sign_up("ada", scopes=("identify",))).get("/account/"))

    assert "No server list: you haven't shared it." in page
    assert "couldn't fetch" not in page


def test_the_account_page_says_that_discord_took_its_keys_back(
    with_list: WithList, client_of: ClientOf, sandbox: Sandbox
) -> None:
    client = client_of(with_list("ada", hours=5))
    sandbox.mood("unauthorized")
    client.get("/servers/")

    assert "Access tokens that Discord no longer accepts" in words_of(client.get("/account/"))


# signing out everywhere


def test_signing_out_everywhere_ends_all_sessions_of_one_person(
    with_list: WithList, client_of: ClientOf, sandbox: Sandbox
) -> None:
    ada, linus = with_list("ada"), with_list("linus")
    here, elsewhere, of_linus = client_of(ada), client_of(ada), client_of(linus)
    sandbox.forget_requests()

    response = here.post("/sign-out-everywhere/", follow=True)

    assert response.redirect_chain == [("/", 302)]
    assert "You've been signed out everywhere." in words_of(response)
    assert [client.get("/servers/").status_code for client in (here, elsewhere, of_linus)] == [302, 302, 200]
    assert set(Session.objects.exclude(user_id=None).values_list("user_id", flat=True)) == {linus.pk}
    assert DiscordAccount.objects.count() == 2
    assert sandbox.requests("") == []


def test_signing_out_everywhere_leaves_access_tokens_and_the_page_says_so(
    ada: User, client_of: ClientOf, token_of: Callable[..., str]
) -> None:
    browser, bearer = client_of(ada), {"Authorization": f"Bearer {token_of(ada, 'me:read')}"}

    said = words_of(browser.get("/account/"))
    browser.post("/sign-out-everywhere/")

    assert "Access tokens keep working until you revoke them." in said
    assert Client().get("/api/v1/me/", headers=bearer).status_code == 200


@pytest.mark.parametrize("signed_in", [True, False])
def test_signing_out_everywhere_is_a_form_and_no_link(ada: User, client_of: ClientOf, signed_in: bool) -> None:
    client = client_of(ada) if signed_in else Client()

    assert client.get("/sign-out-everywhere/").status_code == 405
    assert Session.objects.filter(user_id=ada.pk).count() == int(signed_in)


@pytest.mark.parametrize(
    ("form", "page"), [("/sign-out-everywhere/", "/account/"), ("/account/tokens/1/revoke/", "/account/tokens/")]
)
def test_whoever_was_signed_out_meanwhile_comes_back_to_the_forms_page(
    client: Client, db: None, form: str, page: str
) -> None:
    assert client.post(form)["Location"] == f"/sign-in/?next={page}"
