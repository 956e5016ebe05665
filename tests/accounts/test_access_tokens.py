"""Personal access tokens: creating and revoking them on the account page, and what they give access to."""

import html
import re
import shlex
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from accounts import access_tokens, bearer_tokens
from accounts.access_tokens import NameTaken, TooManyTokens
from accounts.clock import database_now
from accounts.models import PersonalAccessToken, User
from accounts.token_scopes import Scope
from guilds import personal_data
from tests.fixtures import Sandbox, let_pass

WithList = Callable[..., User]
ClientOf = Callable[[User], Client]
PAGE = "/account/tokens/"
MONTH = timedelta(days=30)
READ = [Scope.GUILDS_READ]


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def made_on_the_page(client: Client, **form: Any) -> str:
    """Submit the form and return the token that the page shows."""
    response = client.post(PAGE, {"name": "backup", "scopes": ["guilds:read"], "days": "30", **form})
    found = re.search(r'id="new-token">(\w+)<', response.content.decode())
    assert found
    return found[1]


# creating tokens


def test_a_token_made_on_the_page_opens_the_api(with_list: WithList, client_of: ClientOf, client: Client) -> None:
    token = made_on_the_page(client_of(with_list("ada", minutes=10)))

    response = client.get("/api/v1/guilds/", headers=bearer(token))

    assert response.status_code == 200
    assert len(response.json()["guilds"]) == 12


@pytest.mark.parametrize("scope", [Scope.GUILDS_READ, Scope.ME_READ])
def test_the_command_beside_a_new_token_works(
    with_list: WithList, client_of: ClientOf, client: Client, scope: Scope
) -> None:
    form = {"name": "backup", "scopes": [scope], "days": 30}
    page = client_of(with_list("ada")).post("/account/tokens/", form).content.decode()

    command = re.search(r">(curl [^<]+)<", page)
    assert command
    _, _, method, _, header, url = shlex.split(html.unescape(command[1]))
    name, value = header.split(": ")
    response = client.generic(method, url.removeprefix(settings.SITE_URL), headers={name: value})

    assert response.status_code == 200


def test_reading_servers_is_ticked_at_first(ada: User, client_of: ClientOf) -> None:
    page = client_of(ada).get("/account/tokens/").content.decode()

    assert re.findall(r'value="([\w:]+)"\s+checked', page) == [Scope.GUILDS_READ]


def test_a_person_who_was_signed_out_hears_that_nothing_was_saved(client: Client) -> None:
    page = client.post("/account/tokens/", {"name": "backup"}, follow=True)

    assert page.redirect_chain == [("/sign-in/?next=/account/tokens/", 302)]
    assert "nothing was saved" in page.content.decode()
    assert "nothing was saved" not in client.get("/account/tokens/", follow=True).content.decode()


def test_a_token_is_shown_once_and_kept_nowhere(ada: User, client_of: ClientOf) -> None:
    browser = client_of(ada)

    token = made_on_the_page(browser)

    assert re.fullmatch(r"gdh_[0-9a-f]{40}", token)
    assert token not in browser.get(PAGE).content.decode()
    row = PersonalAccessToken.objects.get()
    assert token not in str(vars(row))
    assert row.digest == bearer_tokens.digest(token)
    assert not any(token in str(value) for value in browser.session.values())


def test_the_page_lists_what_a_token_may_and_until_when(ada: User, client_of: ClientOf) -> None:
    browser = client_of(ada)
    made_on_the_page(browser, name="<nightly> backup", scopes=["guilds:read", "me:read"], days="7")

    page = browser.get(PAGE)

    row = PersonalAccessToken.objects.get()
    assert row.expires_at - row.created_at == timedelta(days=7)
    assert row.scopes == ["guilds:read", "me:read"]
    assert "&lt;nightly&gt; backup" in page.content.decode()
    assert f'<time datetime="{row.expires_at:%Y-%m-%dT%H:%M:%S}' in page.content.decode()
    assert page.content.count(b"<time ") == page.content.count(b'data-clock="date"') == 1
    assert "Never used." in page.content.decode()
    assert "no-store" in page["Cache-Control"]


@pytest.mark.parametrize(
    ("form", "says"),
    [
        ({"name": ""}, "required"),
        ({"name": "x" * 65}, "at most 64"),
        ({"scopes": []}, "Choose the token's permissions."),
        ({"scopes": ["guilds:read", "everything"]}, "Choose the token's permissions."),
        ({"scopes": ["bot:read"]}, "Choose the token's permissions."),
        ({"days": "36500"}, "Choose when the token expires."),
        ({"days": ""}, "Choose when the token expires."),
    ],
)
def test_a_wrong_form_makes_none_and_says_why(ada: User, client_of: ClientOf, form: dict[str, Any], says: str) -> None:
    response = client_of(ada).post(PAGE, {"name": "backup", "scopes": ["guilds:read"], "days": "30", **form})

    assert response.status_code == 422
    assert says in response.content.decode()
    assert not PersonalAccessToken.objects.exists()


def test_a_reload_of_the_answer_makes_no_second_token(ada: User, client_of: ClientOf) -> None:
    browser = client_of(ada)
    made_on_the_page(browser)

    response = browser.post(PAGE, {"name": "backup", "scopes": ["guilds:read"], "days": "30"})

    assert response.status_code == 422
    assert PersonalAccessToken.objects.count() == 1


def test_a_person_has_so_many_tokens_and_no_more(ada: User) -> None:
    for number in range(access_tokens.MAX_PER_PERSON):
        access_tokens.create(ada, str(number), READ, MONTH)

    with pytest.raises(TooManyTokens):
        access_tokens.create(ada, "one more", READ, MONTH)

    let_pass(days=30)
    access_tokens.create(ada, "0", READ, MONTH)
    assert PersonalAccessToken.objects.count() == 1


def test_two_people_may_choose_the_same_name(ada: User, sign_up: WithList) -> None:
    access_tokens.create(ada, "backup", READ, MONTH)

    access_tokens.create(sign_up("linus"), "backup", READ, MONTH)

    with pytest.raises(NameTaken):
        access_tokens.create(ada, "backup", READ, MONTH)


def test_no_token_lives_longer_than_a_year(ada: User) -> None:
    row, _token = access_tokens.create(ada, "backup", READ, timedelta(days=3650))

    assert row.expires_at - row.created_at == access_tokens.MAX_LIFETIME


# access


@pytest.mark.parametrize(
    "token",
    ["", "x", "gdh_", "gdh_" + "0" * 40, "gdh_" + "0" * 41, "ghp_" + "0" * 40, "gdh_" + "é" * 40, "0" * 40],
)
def test_a_token_that_does_not_exist_is_refused(with_list: WithList, client_of: ClientOf, token: str) -> None:
    browser = client_of(with_list("ada", minutes=10))  # the session is ignored

    response = browser.get("/api/v1/guilds/", headers={"Authorization": f"Bearer {token}".encode().decode("latin-1")})

    assert (response.status_code, response.json()["type"]) == (401, "/problems/invalid-token")
    assert response["WWW-Authenticate"] == 'Bearer realm="guildhall", error="invalid_token"'


@pytest.mark.django_db
def test_nonsense_costs_no_query(client: Client, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    with django_assert_num_queries(0):
        client.get("/api/v1/guilds/", headers=bearer("gdh_nonsense"))


def test_an_expired_token_opens_nothing(ada: User, client: Client) -> None:
    _row, token = access_tokens.create(ada, "backup", [Scope.ME_READ], MONTH)

    let_pass(days=30, seconds=-5)
    before = client.get("/api/v1/me/", headers=bearer(token))
    let_pass(seconds=5)
    after = client.get("/api/v1/me/", headers=bearer(token))

    assert (before.status_code, after.status_code) == (200, 401)


def test_a_revoked_token_opens_nothing(ada: User, client_of: ClientOf, client: Client) -> None:
    row, token = access_tokens.create(ada, "backup", [Scope.ME_READ], MONTH)

    response = client_of(ada).post(f"{PAGE}{row.pk}/revoke/")

    assert (response.status_code, response["Location"]) == (302, PAGE)
    assert client.get("/api/v1/me/", headers=bearer(token)).status_code == 401


def test_revoking_asks_first_and_names_the_token(ada: User, client_of: ClientOf) -> None:
    row, _token = access_tokens.create(ada, "<nightly> backup", READ, MONTH)
    browser = client_of(ada)
    confirmation = f"{PAGE}{row.pk}/revoke/"

    assert f'href="{confirmation}"' in browser.get(PAGE).content.decode()
    page = browser.get(confirmation)

    assert "&lt;nightly&gt; backup" in page.content.decode()
    assert f'<form method="post" action="{confirmation}">' in page.content.decode()
    assert "no-store" in page["Cache-Control"]
    assert PersonalAccessToken.objects.filter(pk=row.pk).exists()


def test_a_token_that_is_gone_has_no_page_to_revoke_it(ada: User, client_of: ClientOf) -> None:
    response = client_of(ada).get(f"{PAGE}1/revoke/")

    assert (response.status_code, response["Location"]) == (302, PAGE)


def test_nobody_revokes_somebody_elses_token(ada: User, sign_up: WithList, client_of: ClientOf) -> None:
    row, _token = access_tokens.create(ada, "backup", READ, MONTH)
    linus = client_of(sign_up("linus"))

    assert linus.get(f"{PAGE}{row.pk}/revoke/")["Location"] == PAGE
    linus.post(f"{PAGE}{row.pk}/revoke/")

    assert PersonalAccessToken.objects.filter(pk=row.pk).exists()


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("get", "guilds/", Scope.GUILDS_READ),
        ("get", "guilds/1/", Scope.GUILDS_READ),
        ("get", "memberships/export/", Scope.GUILDS_READ),
        ("post", "guilds/refresh/", Scope.GUILDS_REFRESH),
        ("get", "me/", Scope.ME_READ),
        ("get", "bot/guilds/", Scope.BOT_READ),
    ],
)
def test_a_token_opens_what_it_was_made_for(
    ada: User, client: Client, sandbox: Sandbox, method: str, path: str, scope: Scope
) -> None:
    User.objects.update(is_staff=True)
    ask = getattr(client, method)
    _row, right = access_tokens.create(ada, "right", [scope], MONTH)
    _row, wrong = access_tokens.create(ada, "wrong", set(Scope) - {scope}, MONTH)

    refused = ask(f"/api/v1/{path}", headers=bearer(wrong))
    asked = sandbox.requests()
    let_in = ask(f"/api/v1/{path}", headers=bearer(right))

    assert (refused.status_code, refused.json()["type"]) == (403, "/problems/insufficient-scope")
    assert refused.json()["scope"] == str(scope)
    assert refused["WWW-Authenticate"].endswith(f'error="insufficient_scope", scope="{scope}"')
    assert asked == []
    assert let_in.status_code in (200, 404)


def test_no_staff_no_bot(ada: User, client: Client) -> None:
    _row, token = access_tokens.create(ada, "backup", Scope, MONTH)

    response = client.get("/api/v1/bot/guilds/", headers=bearer(token))

    assert (response.status_code, response.json()["type"]) == (403, "/problems/forbidden")


@pytest.mark.parametrize("path", ["/account/", PAGE, "/servers/", "/servers/delete-my-data/", "/admin/"])
def test_a_token_opens_no_page(ada: User, client: Client, path: str) -> None:
    User.objects.update(is_staff=True, is_superuser=True)
    _row, token = access_tokens.create(ada, "backup", Scope, MONTH)

    for method in (client.get, client.post):
        assert method(path, headers=bearer(token)).status_code in (302, 403, 405)

    assert User.objects.exists()
    assert PersonalAccessToken.objects.count() == 1


def test_a_token_of_somebody_switched_off_opens_nothing(ada: User, client: Client) -> None:
    _row, token = access_tokens.create(ada, "backup", [Scope.ME_READ], MONTH)
    User.objects.update(is_active=False)

    assert client.get("/api/v1/me/", headers=bearer(token)).status_code == 401


def test_a_token_needs_no_csrf_token(with_list: WithList) -> None:
    _row, token = access_tokens.create(with_list("ada", hours=2), "backup", [Scope.GUILDS_REFRESH], MONTH)

    response = Client(enforce_csrf_checks=True).post("/api/v1/guilds/refresh/", headers=bearer(token))

    assert response.status_code == 200


def test_a_token_costs_one_query_more_than_a_session(
    with_list: WithList, client_of: ClientOf, client: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    ada = with_list("ada", minutes=10)
    _row, token = access_tokens.create(ada, "backup", READ, MONTH)
    browser = client_of(ada)
    browser.get("/api/v1/guilds/")
    client.get("/api/v1/guilds/", headers=bearer(token))  # the first use in an hour is recorded

    with django_assert_num_queries(1):
        browser.get("/api/v1/guilds/")
    with django_assert_num_queries(2):
        client.get("/api/v1/guilds/", headers=bearer(token))


def test_the_last_use_is_known_to_the_hour(ada: User, client: Client) -> None:
    _row, token = access_tokens.create(ada, "backup", [Scope.ME_READ], MONTH)

    client.get("/api/v1/me/", headers=bearer(token))
    first = PersonalAccessToken.objects.get().last_used_at
    client.get("/api/v1/me/", headers=bearer(token))
    again = PersonalAccessToken.objects.get().last_used_at
    let_pass(hours=1)
    client.get("/api/v1/me/", headers=bearer(token))
    later = PersonalAccessToken.objects.get().last_used_at

    assert first
    assert again == first
    assert later
    assert database_now() - later < timedelta(minutes=1)


def test_whoever_is_forgotten_leaves_no_token(ada: User, client: Client) -> None:
    _row, token = access_tokens.create(ada, "backup", [Scope.ME_READ], MONTH)

    personal_data.forget_user(ada)

    assert not PersonalAccessToken.objects.exists()
    assert client.get("/api/v1/me/", headers=bearer(token)).status_code == 401
