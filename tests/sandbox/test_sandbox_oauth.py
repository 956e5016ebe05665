"""Signing in: the consent page, codes, PKCE, tokens, and every refusal."""

import pytest

from sandbox.oauth import CODE_LIFETIME, TOKEN_LIFETIME, Authorizations, OAuthError, challenge_of

CALLBACK = "http://localhost:8000/complete/discord/"
VERIFIER = "v" * 43
PKCE = {"code_challenge": challenge_of(VERIFIER), "code_challenge_method": "S256"}
BASIC = {"Authorization": "Basic Z3VpbGRoYWxsOnNhbmRib3g="}


def test_the_page_lets_a_visitor_choose_who_to_be(sandbox):
    reply = sandbox.authorize()

    assert reply.status == 200
    for words in (
        'name="as" value="ada"',
        'name="as" value="nobody"',
        'name="deny"',
        'name="withhold"',
        "in 200 servers",
    ):
        assert words in reply.text


def test_the_page_says_who_asks_and_where_it_leads(sandbox):
    page = sandbox.authorize(scope="identify guilds").text

    assert "Guildhall wants to access your account" in page
    assert "see which servers you are in" in page
    assert "<b>http://localhost:8000</b>" in page


def test_the_page_suggests_the_person_who_signed_in_last(sandbox):
    cookie = sandbox.authorize(**{"as": "linus"}).headers["Set-Cookie"].partition(";")[0]
    path = "/oauth2/authorize?client_id=guildhall&response_type=code&scope=identify&redirect_uri=" + CALLBACK

    first = sandbox.ask("GET", path).text
    again = sandbox.ask("GET", path, headers={"Cookie": cookie}).text
    gone = sandbox.ask("GET", path, headers={"Cookie": "sandbox_person=mallory"}).text

    assert 'value="ada" required checked' in first
    assert 'value="linus" required checked' in again
    assert 'value="ada" required checked' in gone
    assert first.count(" checked") == again.count(" checked") == gone.count(" checked") == 1


def test_the_page_is_right_about_hostile_parameters(sandbox):
    reply = sandbox.authorize(state='"><script>alert(1)</script>')

    assert "<script" not in reply.text


def test_a_sign_in_ends_with_tokens_and_the_state(sandbox):
    reply = sandbox.authorize(**{"as": "ada"}, state="a b&c", **PKCE)
    tokens = sandbox.exchange_code(reply.redirect["code"], code_verifier=VERIFIER)

    assert reply.status == 302
    assert reply.redirect["state"] == "a b&c"
    assert tokens.json().keys() == {"token_type", "access_token", "expires_in", "refresh_token", "scope"}
    assert tokens.json()["scope"] == "identify guilds"
    assert tokens.json()["expires_in"] == TOKEN_LIFETIME
    assert sandbox.get("/users/@me", tokens.json()["access_token"]).json()["username"] == "ada"


def test_the_client_may_show_its_secret_by_basic_authentication(sandbox):
    form = {
        "grant_type": "authorization_code",
        "code": sandbox.code(),
        "redirect_uri": "http://localhost:8000/complete/discord/",
    }

    assert sandbox.ask("POST", "/api/oauth2/token", form=form, headers=BASIC).status == 200


@pytest.mark.parametrize("path", ["/oauth2/authorize", "/api/oauth2/authorize", "/api/v10/oauth2/authorize"])
def test_the_page_is_at_every_address_that_discord_has_it_at(sandbox, path):
    query = f"client_id=guildhall&response_type=code&scope=identify&redirect_uri={CALLBACK}&as=ada"

    assert sandbox.ask("GET", f"{path}?{query}").status == 302


def test_denial_is_an_error_for_the_site(sandbox):
    reply = sandbox.authorize(deny="1")

    assert reply.redirect["error"] == "access_denied"
    assert reply.redirect["error_description"]
    assert reply.redirect["state"] == "s"


def test_a_withheld_scope_is_missing_from_the_tokens(sandbox):
    tokens = sandbox.exchange_code(sandbox.code("ada", withhold="guilds")).json()

    assert tokens["scope"] == "identify"
    assert sandbox.get("/users/@me/guilds", tokens["access_token"]).json()["code"] == 50026


def test_prompt_none_asks_nobody_who_agreed_before(sandbox):
    first = sandbox.authorize(**{"as": "linus"})
    cookie = first.headers["Set-Cookie"].partition(";")[0]
    query = "client_id=guildhall&response_type=code&scope={}&redirect_uri=" + CALLBACK + "&prompt=none"

    known = sandbox.ask("GET", "/oauth2/authorize?" + query.format("identify"), headers={"Cookie": cookie})
    more = sandbox.ask("GET", "/oauth2/authorize?" + query.format("identify+email"), headers={"Cookie": cookie})
    stranger = sandbox.ask("GET", "/oauth2/authorize?" + query.format("identify"))
    anew = sandbox.ask(
        "GET", "/oauth2/authorize?" + query.format("identify").replace("none", "consent"), headers={"Cookie": cookie}
    )

    assert "code" in known.redirect
    assert more.redirect["error"] == "consent_required"
    assert stranger.redirect["error"] == "login_required"
    assert anew.status == 200


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"client_id": "another"}, "another"),
        ({"redirect_uri": "https://evil.example/"}, "evil.example"),
        ({"redirect_uri": CALLBACK.removesuffix("/")}, "not registered"),
        ({"redirect_uri": CALLBACK + "?next=1"}, "not registered"),
        ({"redirect_uri": CALLBACK.replace("localhost", "127.0.0.1")}, "not registered"),
        ({"redirect_uri": ""}, "missing"),
        ({"as": "mallory"}, "mallory"),
    ],
)
def test_what_must_not_redirect_is_a_page(sandbox, params, words):
    reply = sandbox.authorize(**{"as": "ada"} | params)

    assert reply.status == 400
    assert words in reply.text


@pytest.mark.parametrize("uri", ["http://localhost/", "https://servers.example.org/x?y=1", "http://[::1]:8000/"])
def test_a_registered_address_may_be_redirected_to(sandbox, uri):
    sandbox.control("PUT", "application", {"redirect_uris": [uri]})
    reply = sandbox.authorize(**{"as": "ada"}, redirect_uri=uri)

    assert reply.headers["Location"].startswith(uri)
    assert reply.redirect["code"]


@pytest.mark.parametrize(
    ("params", "error", "description"),
    [
        ({"response_type": "token"}, "unsupported_response_type", None),
        ({"scope": "identify everything"}, "invalid_scope", None),
        (
            {"code_challenge": "c" * 43, "code_challenge_method": "plain"},
            "invalid_request",
            'Unsupported "code_challenge_method"',
        ),
        ({"code_challenge": "c" * 43}, "invalid_request", 'Unsupported "code_challenge_method"'),
        ({"code_challenge": "short", "code_challenge_method": "S256"}, "invalid_request", 'Invalid "code_challenge"'),
    ],
)
def test_a_wrong_question_is_an_error_for_the_site(sandbox, params, error, description):
    reply = sandbox.authorize(**{"as": "ada"} | params)

    assert reply.redirect["error"] == error
    assert description in (None, reply.redirect["error_description"])


@pytest.mark.parametrize(
    ("form", "error", "description"),
    [
        ({}, "invalid_request", 'Missing "code_verifier"'),
        ({"code_verifier": "v" * 42}, "invalid_request", 'Invalid "code_verifier"'),
        ({"code_verifier": "v" * 129}, "invalid_request", 'Invalid "code_verifier"'),
        ({"code_verifier": "w" * 43}, "invalid_grant", 'Invalid "code_verifier"'),
    ],
)
def test_a_code_with_a_challenge_needs_its_verifier(sandbox, form, error, description):
    reply = sandbox.exchange_code(sandbox.code(**PKCE), **form)

    assert reply.status == 400
    assert reply.json() == {"error": error, "error_description": description}


def test_a_code_works_once(sandbox):
    code = sandbox.code()

    first, second = sandbox.exchange_code(code), sandbox.exchange_code(code)

    assert first.status == 200
    assert second.status == 400
    assert second.json() == {"error": "invalid_grant", "error_description": 'Invalid "code" in request.'}


def test_a_code_belongs_to_its_redirect_uri(sandbox):
    reply = sandbox.exchange_code(sandbox.code(), redirect_uri="http://localhost:9999/")

    assert (reply.status, reply.json()["error"]) == (400, "invalid_grant")


@pytest.mark.parametrize("secret", ["", "wrong"])
def test_a_wrong_secret_is_refused_and_leaves_the_code_alone(sandbox, secret):
    code = sandbox.code()

    refused = sandbox.exchange_code(code, client_secret=secret)

    assert (refused.status, refused.json()["error"]) == (401, "invalid_client")
    assert sandbox.exchange_code(code).status == 200


def test_tokens_are_asked_for_with_a_form_and_not_with_json(sandbox):
    data = {
        "client_id": "guildhall",
        "client_secret": "sandbox",
        "grant_type": "authorization_code",
        "code": sandbox.code(),
    }

    reply = sandbox.ask("POST", "/api/v10/oauth2/token", data=data)

    assert (reply.status, reply.json()["error"]) == (400, "invalid_request")


@pytest.mark.parametrize("form", [{"grant_type": "password"}, {}])
def test_other_grants_are_not_supported(sandbox, form):
    assert sandbox.exchange(**form).json()["error"] == "unsupported_grant_type"


def test_a_refresh_gives_new_tokens_and_ends_the_old_ones(sandbox):
    old = sandbox.tokens()

    new = sandbox.exchange(grant_type="refresh_token", refresh_token=old["refresh_token"])
    again = sandbox.exchange(grant_type="refresh_token", refresh_token=old["refresh_token"])

    assert new.json()["scope"] == old["scope"]
    assert sandbox.get("/users/@me", old["access_token"]).status == 401
    assert sandbox.get("/users/@me", new.json()["access_token"]).status == 200
    assert again.status == 400
    assert again.json() == {"error": "invalid_grant", "error_description": 'Invalid "refresh_token" in request'}


@pytest.mark.parametrize("which", ["access_token", "refresh_token"])
def test_revoking_one_token_ends_all_of_the_persons(sandbox, which):
    one, two, other = sandbox.tokens("ada"), sandbox.tokens("ada"), sandbox.token("grace")
    code = sandbox.code("ada")

    reply = sandbox.ask("POST", "/api/v10/oauth2/token/revoke", form={"token": one[which]}, headers=BASIC)

    assert (reply.status, reply.json()) == (200, {})
    assert sandbox.get("/users/@me", two["access_token"]).status == 401
    assert sandbox.exchange(grant_type="refresh_token", refresh_token=two["refresh_token"]).status == 400
    assert sandbox.exchange_code(code).status == 400
    assert sandbox.get("/users/@me", other).status == 200


def test_revoking_takes_the_secret_but_no_living_token(sandbox):
    path = "/api/oauth2/token/revoke"

    assert sandbox.ask("POST", path, form={"token": "unknown"}, headers=BASIC).status == 200
    assert sandbox.ask("POST", path, form={"token": "unknown"}).status == 401
    assert sandbox.ask("POST", path, form={}, headers=BASIC).status == 400


def test_codes_and_tokens_end_when_discords_do():
    now = 1_000_000.0
    oauth = Authorizations(lambda: now)
    in_time = oauth.new_code("ada", ("identify",), "http://localhost/", None)
    late = oauth.new_code("ada", ("identify",), "http://localhost/", None)
    form = {"grant_type": "authorization_code", "redirect_uri": "http://localhost/"}
    site = {"redirect_uris": ["http://localhost/"], "owner": "ada"}

    now += CODE_LIFETIME - 0.001
    grant = oauth.exchange({**form, "code": in_time}, **site)
    now += 0.001
    with pytest.raises(OAuthError, match='Invalid "code"'):
        oauth.exchange({**form, "code": late}, **site)

    now = grant.expires_at - 0.001
    assert oauth.grant(grant.access_token) == grant
    now = grant.expires_at
    assert oauth.grant(grant.access_token) is None
    assert oauth.exchange({"grant_type": "refresh_token", "refresh_token": grant.refresh_token}, **site)


def test_the_bot_is_added_by_whoever_manages_the_server(unlimited):
    guilds = unlimited.get("/users/@me/guilds", unlimited.token("ada")).json()
    install = {"scope": "bot applications.commands", "response_type": "", "permissions": "8", "as": "ada"}

    done = unlimited.authorize(**install, guild_id=guilds[2]["id"], redirect_uri="")
    back = unlimited.authorize(**install, guild_id=guilds[11]["id"])
    with_code = unlimited.authorize(**install | {"response_type": "code"}, guild_id=guilds[2]["id"])
    plain = unlimited.authorize(**install, guild_id=guilds[4]["id"])

    assert done.status == 200
    assert back.redirect == {"guild_id": guilds[11]["id"], "permissions": "8", "state": "s"}
    assert with_code.redirect["code"]
    assert plain.status == 403
    joined = {
        guild["id"]: guild["permissions"] for guild in unlimited.get("/users/@me/guilds", "Bot sandbox-bot").json()
    }
    assert joined[guilds[2]["id"]] == joined[guilds[11]["id"]] == "8"
    assert guilds[4]["id"] not in joined


def test_the_page_for_the_bot_adds_it_to_the_chosen_persons_server(unlimited):
    adas = unlimited.get("/users/@me/guilds", unlimited.token("ada")).json()[2]["id"]
    install = {"scope": "bot", "response_type": "", "guild_id.ada": adas, "guild_id.grace": "1", "permissions": "8"}

    added = unlimited.authorize(**install, **{"as": "ada"})
    not_hers = unlimited.authorize(**install, **{"as": "grace"})

    assert added.redirect["guild_id"] == adas
    assert not_hers.status == 400


def test_a_server_that_cannot_be_managed_has_no_page_for_the_bot(sandbox):
    reply = sandbox.authorize(scope="bot", response_type="", guild_id="1", disable_guild_select="true")

    assert reply.status == 403
    assert "None of the sandbox&#x27;s people can manage this server." in reply.text


def test_the_page_for_the_bot_offers_only_servers_that_one_manages(sandbox):
    guild_id = sandbox.get("/users/@me/guilds", sandbox.token("ada")).json()[2]["id"]

    anywhere = sandbox.authorize(scope="bot", response_type="", redirect_uri="")
    there = sandbox.authorize(scope="bot", response_type="", guild_id=guild_id, disable_guild_select="true")

    assert anywhere.text.count("<option") > there.text.count("<option") == 1
    assert f'value="{guild_id}" selected' in there.text
    assert 'value="nobody"' not in anywhere.text


def test_the_page_names_the_requested_scopes_in_words(sandbox):
    page = sandbox.authorize(scope="identify email guilds guilds.members.read role_connections.write").text

    assert "see your nickname and roles in them" in page
    assert "update your linked roles" in page
    assert "role_connections.write" not in page.partition("<form")[0]
