"""The application: what its owner can set in the developer portal, and what follows from each setting."""

import pytest

from sandbox.calls import APPLICATION_ID

CALLBACK = "http://localhost:8000/complete/discord/"
BOT_ADDED = "http://localhost:8000/servers/bot-added/"
CREDENTIALS = {"grant_type": "client_credentials", "scope": "identify"}
INSTALL = {"scope": "bot", "as": "ada", "permissions": "8", "redirect_uri": BOT_ADDED}


def bots_servers(sandbox):
    return {guild["id"] for guild in sandbox.get("/users/@me/guilds", "Bot sandbox-bot").json()}


def a_server_without_the_bot(sandbox):
    guilds = sandbox.get("/users/@me/guilds", sandbox.token("ada")).json()
    there = bots_servers(sandbox)
    return next(guild["id"] for guild in guilds if guild["owner"] and guild["id"] not in there)


def test_the_bot_token_shows_the_whole_application(sandbox):
    found = sandbox.get("/applications/@me", "Bot sandbox-bot").json()

    assert (found["id"], found["redirect_uris"]) == (APPLICATION_ID, [CALLBACK, BOT_ADDED])
    assert (found["bot_public"], found["bot_require_code_grant"]) == (True, False)
    assert (found["event_webhooks_url"], found["event_webhooks_status"]) == (None, 1)
    assert found["integration_types_config"]["0"]["oauth2_install_params"] == found["install_params"]


def test_a_site_registers_its_own_addresses(start_sandbox):
    sandbox = start_sandbox("--site-url", "http://localhost:9000/")

    assert sandbox.authorize(**{"as": "ada"}).status == 400
    assert sandbox.authorize(**{"as": "ada"}, redirect_uri=CALLBACK.replace("8000", "9000")).redirect["code"]


def test_a_site_without_an_address_does_not_start_the_sandbox(start_process):
    _, errors, code = start_process("--site-url", "localhost")

    assert code == 1
    assert "The address of the site is invalid" in errors


def test_an_address_removed_after_the_code_was_issued_gets_no_tokens(sandbox):
    code = sandbox.code()
    sandbox.control("PUT", "application", {"redirect_uris": [BOT_ADDED]})

    assert sandbox.exchange_code(code).json()["error_description"] == 'Invalid "redirect_uri" in request.'


def test_client_credentials_are_exchanged_for_the_owners_token(sandbox):
    found = sandbox.exchange(**CREDENTIALS).json()

    assert "refresh_token" not in found
    assert sandbox.get("/users/@me", found["access_token"]).json()["username"] == "ada"
    assert sandbox.get("/oauth2/@me", found["access_token"]).json()["application"]["id"] == APPLICATION_ID
    assert sandbox.exchange(**CREDENTIALS, client_secret="wrong").status == 401
    assert sandbox.exchange(**CREDENTIALS, client_id=APPLICATION_ID).status == 200
    assert sandbox.exchange(grant_type="client_credentials").json()["error"] == "invalid_scope"


def test_with_a_required_code_grant_the_bot_joins_at_the_exchange(unlimited):
    unlimited.control("PUT", "application", {"bot_require_code_grant": True})
    guild_id = a_server_without_the_bot(unlimited)
    back = unlimited.authorize(**INSTALL, guild_id=guild_id).redirect

    before = bots_servers(unlimited)
    tokens = unlimited.exchange_code(back["code"], redirect_uri=BOT_ADDED).json()

    assert guild_id not in before
    assert tokens["guild"]["id"] == guild_id
    assert guild_id in bots_servers(unlimited)


def test_a_bot_that_is_not_public_is_added_by_its_owner_only(unlimited):
    unlimited.control("PUT", "application", {"bot_public": False})
    guild = {"name": "Chess", "owner": True}
    unlimited.control("PUT", "people/eve", {"guilds": [guild]})
    hers = unlimited.control("GET", "people/eve").json()["guilds"][0]["id"]

    assert unlimited.authorize(**INSTALL | {"as": "eve"}, guild_id=hers).status == 403
    assert unlimited.authorize(**INSTALL, guild_id=a_server_without_the_bot(unlimited)).redirect["code"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"redirect_uris": ["localhost"]}, "'redirect_uris' must be absolute URLs"),
        ({"redirect_uris": ["http://localhost/\r\nSet-Cookie: x=y"]}, "'redirect_uris' must be absolute URLs"),
        ({"redirect_uris": ["http://[localhost/"]}, "'redirect_uris' must be absolute URLs"),
        ({"redirect_uris": ["http://evil.example\\@localhost/"]}, "'redirect_uris' must be absolute URLs"),
        ({"redirect_uris": "http://localhost/"}, "'redirect_uris' must be a list"),
        ({"bot_application_id": "guildhall"}, "'bot_application_id' must be an id"),
        ({"bot_public": 1}, "'bot_public' must be true or false"),
        ({"flags": -1}, "'flags' must be between"),
        ({"event_webhooks_status": 4}, "'event_webhooks_status' must be between 1 and 3"),
        ({"integration_types_config": {"2": {}}}, "has no field '2'"),
        ({"integration_types_config": {"0": {"oauth2_install_params": {"scopes": ["email"]}}}}, "'scopes' can only"),
        ({"integration_types_config": {"0": {"oauth2_install_params": {"permissions": 8}}}}, "permissions"),
        ({"bot": {}}, "the body has no field 'bot'"),
    ],
)
def test_invalid_settings_change_nothing(sandbox, changes, words):
    before = sandbox.state()["application"]
    reply = sandbox.control("PUT", "application", changes)

    assert reply.status == 400
    assert words in reply.json()["error"]
    assert sandbox.state()["application"] == before


def test_the_form_changes_what_it_shows(sandbox):
    form = {
        "redirect_uris": f"{CALLBACK} https://servers.example.org/complete/discord/",
        "bot_application_id": "42",
        "permissions": "",
        "flags": "16384",
        "event_webhooks_status": "3",
        "bot_require_code_grant": "on",
    }
    reply = sandbox.ask("POST", "/_sandbox/application", form=form)
    found = sandbox.state()["application"]
    page = sandbox.ask("GET", "/_sandbox/").text

    assert reply.status == 303
    assert (found["redirect_uris"], found["bot_application_id"]) == (form["redirect_uris"].split(), "42")
    assert (found["bot_public"], found["bot_require_code_grant"]) == (False, True)
    assert (found["flags"], found["event_webhooks_status"], found["integration_types_config"]) == (16384, 3, {})
    assert f'value="{form["redirect_uris"]}"' in page
    assert '<option value="3" selected>switched off by Discord' in page

    sandbox.control("POST", "reset")
    assert sandbox.state()["application"]["redirect_uris"] == [CALLBACK, BOT_ADDED]
