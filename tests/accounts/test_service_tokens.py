"""Service tokens: creating, rotating and revoking them with the commands, and what they give access to."""

import logging
import re
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from pytest_django import DjangoAssertNumQueries, Settings

from accounts import bearer_tokens
from accounts.models import ServiceToken, User
from accounts.token_scopes import for_services
from tests.fixtures import let_pass

pytestmark = pytest.mark.django_db(transaction=True)

BOT = "/api/v1/bot/guilds/"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def status(token: str, path: str = BOT) -> int:
    return Client().get(path, headers=bearer(token)).status_code


def run(*arguments: str) -> tuple[str, str]:
    """Run the command and return what it wrote to standard output and to standard error."""
    out, err = StringIO(), StringIO()
    call_command(*arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def created(*arguments: str) -> str:
    return run("create_token", *arguments)[0].strip()


# creating


def test_a_token_of_the_command_opens_what_its_scope_names() -> None:
    out, err = run("create_token", "bot", "--scope", "bot:read")

    assert re.fullmatch(r"gdhs_[0-9a-f]{40}\n", out)
    assert "bot:read" in err
    assert status(out.strip()) == 200


def test_only_its_digest_is_stored_and_nothing_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    token = created("bot", "--scope", "bot:read", "--expires-days", "90")

    row = ServiceToken.objects.get()
    assert row.digest == bearer_tokens.digest(token)
    assert token not in str(vars(row))
    assert token not in caplog.text
    assert "service_token_created" in caplog.text
    assert row.expires_at
    assert row.expires_at - row.created_at == timedelta(days=90)


def test_several_scopes_are_named_once_or_one_by_one() -> None:
    created("bot", "--scope", "bot:read", "bot:members", "--scope", "bot:events")

    assert ServiceToken.objects.get().scopes == ["bot:events", "bot:members", "bot:read"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["bot", "--scope", "bot:writ"], "Unknown scope: bot:writ. Known scopes: bot:events, bot:members"),
        (["bot", "--scope", "bot:read", "me:read", "guilds:read"], "Only for people's tokens: guilds:read, me:read."),
        (["bot"], "Scopes for services: bot:events, bot:members"),
        (["The bot", "--scope", "bot:read"], "NAME may have"),
        (["bot\n", "--scope", "bot:read"], "NAME may have"),
        (["bot", "--scope", "bot:read", "--expires-days", "0"], "it must be a number from 1 to"),
        (["bot", "--scope", "bot:read", "--expires-days", "99999999"], "it must be a number from 1 to"),
        (["bot", "--scope", "bot:read", "--overlap-hours", "999999999999"], "it must be a number from 0 to"),
        (["bot", "--scope", "bot:read", "--overlap-hours", "-1"], "overlap-hours"),
    ],
)
def test_a_wrong_command_creates_none_and_says_why(arguments: list[str], says: str) -> None:
    with pytest.raises(CommandError, match=re.escape(says)):
        created(*arguments)

    assert not ServiceToken.objects.exists()


# rotating


def test_a_new_token_leaves_the_earlier_one_valid_until_it_is_revoked() -> None:
    first = created("bot", "--scope", "bot:read")
    earlier = ServiceToken.objects.get().pk
    second = created("bot")

    both = status(first), status(second)
    run("service_tokens", "--revoke", str(earlier))

    assert both == (200, 200)
    assert (status(first), status(second)) == (401, 200)


def test_the_earlier_token_ends_with_the_overlap() -> None:
    first = created("bot", "--scope", "bot:read")
    second = created("bot", "--overlap-hours", "24")

    let_pass(hours=24, seconds=-5)
    before = status(first), status(second)
    let_pass(seconds=5)

    assert before == (200, 200)
    assert (status(first), status(second)) == (401, 200)


def test_an_overlap_extends_no_token() -> None:
    created("bot", "--scope", "bot:read", "--expires-days", "1")
    end = ServiceToken.objects.get().expires_at

    created("bot", "--overlap-hours", "72")

    assert ServiceToken.objects.last().expires_at == end  # type: ignore[union-attr]  # there are two


def test_no_more_than_two_are_valid_at_once() -> None:
    first, second = created("bot", "--scope", "bot:read"), created("bot")

    with pytest.raises(CommandError, match="Two tokens of bot are valid"):
        created("bot", "--overlap-hours", "1")
    after_refusal = status(first), status(second), ServiceToken.objects.filter(expires_at=None).count()
    third = created("bot", "--overlap-hours", "0")

    assert after_refusal == (200, 200, 2)
    assert (status(first), status(second), status(third)) == (401, 401, 200)


def test_a_rotation_ends_no_token_of_another_service() -> None:
    shop = created("shop", "--scope", "bot:read")
    created("bot", "--scope", "bot:read")

    created("bot", "--overlap-hours", "0")

    assert status(shop) == 200


def test_an_expired_token_opens_nothing_and_counts_no_longer() -> None:
    first = created("bot", "--scope", "bot:read", "--expires-days", "1")
    created("bot")
    let_pass(days=1)

    third = created("bot")

    assert (status(first), status(third)) == (401, 200)
    assert ServiceToken.objects.count() == 2


# revoking and listing


def test_a_revoked_token_is_refused_at_the_next_request(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    token = created("bot", "--scope", "bot:read")
    pk = ServiceToken.objects.get().pk
    client = Client()
    before = client.get(BOT, headers=bearer(token)).status_code

    out, _err = run("service_tokens", "--revoke", str(pk))
    response = client.get(BOT, headers=bearer(token))

    assert before == 200
    assert out == f"Revoked token {pk}.\n"
    assert "service_token_revoked" in caplog.text
    assert (response.status_code, response.json()["type"]) == (401, "/problems/invalid-token")
    assert response["WWW-Authenticate"] == 'Bearer realm="guildhall", error="invalid_token"'
    with pytest.raises(CommandError, match=f"no service token {pk}"):
        run("service_tokens", "--revoke", str(pk))


def test_the_list_says_what_each_may_and_when_it_was_used() -> None:
    token = created("bot", "--scope", "bot:read", "--expires-days", "30")
    unused = run("service_tokens")[0]
    status(token)

    used = run("service_tokens")[0]

    row = ServiceToken.objects.get()
    assert unused.startswith(
        f"{row.pk}: bot, bot:read; created {row.created_at:%Y-%m-%d %H:%M} UTC, never used, expires "
    )
    assert f"last used {row.last_used_at:%Y-%m-%d %H:%M} UTC" in used
    assert token not in used


# access


def test_a_service_is_no_person(service_token: Callable[..., str]) -> None:
    token = service_token(*for_services())

    responses = {
        path: Client().get(f"/api/v1/{path}", headers=bearer(token))
        for path in ("me/", "guilds/", "guilds/1/", "guilds/1/member/", "guilds/1/channels/", "memberships/export/")
    }
    refreshed = Client().post("/api/v1/guilds/refresh/", headers=bearer(token))

    for response in (*responses.values(), refreshed):
        assert (response.status_code, response.json()["type"]) == (403, "/problems/person-required")
    assert not User.objects.exists()


@pytest.mark.parametrize("path", ["/account/", "/account/tokens/", "/servers/", "/admin/"])
def test_a_service_opens_no_page(service_token: Callable[..., str], path: str) -> None:
    response = Client().get(path, headers=bearer(service_token(*for_services())))

    assert response.status_code == 302


def test_without_the_scope_it_is_refused_with_the_scope(service_token: Callable[..., str]) -> None:
    response = Client().get(BOT, headers=bearer(service_token("bot:events")))

    assert (response.status_code, response.json()["type"]) == (403, "/problems/insufficient-scope")
    assert response["WWW-Authenticate"] == ('Bearer realm="guildhall", error="insufficient_scope", scope="bot:read"')


@pytest.mark.parametrize("token", ["gdhs_", "gdhs_" + "0" * 39, "gdhs_" + "g" * 40, "gdhs_" + "0" * 41])
def test_nonsense_costs_no_query(token: str, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    with django_assert_num_queries(0):
        assert status(token) == 401


def test_each_service_has_a_limit_of_its_own(service_token: Callable[..., str], settings: Settings) -> None:
    settings.API_THROTTLE_SERVICE = (1, 60)
    bot, shop = service_token("bot:read"), service_token("bot:read", name="shop")
    also_bot = service_token("bot:read")

    statuses = [status(bot), status(also_bot), status(shop)]

    assert statuses == [200, 429, 200]


def test_a_service_is_not_limited_like_a_visitor(service_token: Callable[..., str], settings: Settings) -> None:
    settings.API_THROTTLE_USER = settings.API_THROTTLE_ADDRESS = (1, 60)
    bot = service_token("bot:read")

    assert [status(bot) for _ in range(3)] == [200, 200, 200]
    # What its address is left with is for others there.
    assert [status("gdhs_" + "0" * 40) for _ in range(2)] == [401, 429]


def test_the_last_use_is_known_to_the_hour(service_token: Callable[..., str]) -> None:
    token = service_token("bot:read")

    def last_used() -> Any:
        status(token)
        return ServiceToken.objects.get().last_used_at

    first, again = last_used(), last_used()
    let_pass(hours=1)
    later = last_used()

    assert first == again
    assert later - first < timedelta(minutes=1)
    assert later > first
