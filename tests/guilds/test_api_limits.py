"""The API's throttles and CORS."""

from collections.abc import Callable

import pytest
from django.test import Client
from pytest_django import Settings

from accounts import access_tokens
from accounts.models import User
from accounts.throttles import Meter
from accounts.token_scopes import Scope
from tests.fixtures import Sandbox

WithList = Callable[..., User]
ClientOf = Callable[[User], Client]
ME = "/api/v1/me/"
APP = "https://app.example.org"


# the meter


def test_so_many_may_pass_at_once_and_then_as_they_trickle_back() -> None:
    now = 1000.0
    meter = Meter(lambda: now)

    at_once = [meter.wait("ada", (60, 60)) for _ in range(61)]
    now += 0.75
    a_little_later = meter.wait("ada", (60, 60))
    now += 0.25
    then = [meter.wait("ada", (60, 60)) for _ in range(2)]
    now += 3600
    rested = [meter.wait("ada", (60, 60)) for _ in range(61)]

    assert (at_once[:60], at_once[60]) == ([0.0] * 60, pytest.approx(1.0))
    assert a_little_later == pytest.approx(0.25)
    assert (then[0], then[1]) == (0.0, pytest.approx(1.0))
    assert (rested[:60], rested[60]) == ([0.0] * 60, pytest.approx(1.0))


def test_asking_in_vain_costs_nothing() -> None:
    now = 0.0
    meter = Meter(lambda: now)
    for _ in range(10):
        meter.wait("ada", (1, 60))

    now = 60.0

    assert meter.wait("ada", (1, 60)) == 0.0


def test_nobody_uses_up_somebody_elses() -> None:
    meter = Meter(lambda: 0.0)
    meter.wait("ada", (1, 60))

    assert meter.wait("linus", (1, 60)) == 0.0


def test_off_is_off() -> None:
    meter = Meter(lambda: 0.0)

    assert [meter.wait("ada", None) for _ in range(1000)] == [0.0] * 1000


def test_the_meter_forgets_who_has_rested() -> None:
    now = 0.0
    meter = Meter(lambda: now)
    meter.MAX_KEYS = 3  # type: ignore[misc]  # fewer, for this test
    for name in ("ada", "linus", "grace"):
        meter.wait(name, (1, 60))

    now = 61.0
    meter.wait("nobody", (1, 60))

    assert set(meter._full_again) == {"nobody"}


# throttles


def test_a_person_who_asks_too_fast_is_told_by_us(ada: User, client_of: ClientOf, settings: Settings) -> None:
    settings.API_THROTTLE_USER = (2, 60)
    browser = client_of(ada)

    statuses = [browser.get(ME).status_code for _ in range(2)]
    response = browser.get(ME)

    assert statuses == [200, 200]
    assert (response.status_code, response.json()["type"]) == (429, "/problems/too-many-requests")
    assert response.json()["retry_after"] == int(response["Retry-After"]) == 30
    assert response["Content-Type"] == "application/problem+json"


def test_a_persons_tokens_and_sessions_count_together(
    ada: User, client_of: ClientOf, client: Client, settings: Settings
) -> None:
    settings.API_THROTTLE_USER = (1, 60)
    _row, token = access_tokens.create(ada, "backup", [Scope.ME_READ], access_tokens.MAX_LIFETIME)
    client_of(ada).get(ME)

    assert client.get(ME, headers={"Authorization": f"Bearer {token}"}).status_code == 429


def test_another_person_is_not_held_up(ada: User, sign_up: WithList, client_of: ClientOf, settings: Settings) -> None:
    settings.API_THROTTLE_USER = (1, 60)
    for _ in range(3):
        client_of(ada).get(ME)

    assert client_of(sign_up("linus")).get(ME).status_code == 200


@pytest.mark.django_db
def test_an_address_that_guesses_tokens_is_stopped_before_the_database(
    client: Client, settings: Settings, django_assert_num_queries: Callable[[int], object]
) -> None:
    settings.API_THROTTLE_ADDRESS = (2, 60)
    guess = {"Authorization": f"Bearer gdh_{'0' * 40}"}

    statuses = [client.get(ME, headers=guess).status_code for _ in range(2)]
    with django_assert_num_queries(0):  # type: ignore[attr-defined]  # a context manager
        response = client.get(ME, headers=guess)

    assert statuses == [401, 401]
    assert (response.status_code, response.json()["type"]) == (429, "/problems/too-many-requests")
    assert client.get(ME, REMOTE_ADDR="192.0.2.7").status_code == 401
    assert client.get("/sign-in/").status_code == 200


@pytest.mark.parametrize(
    ("behind_proxy", "status"), [(True, 401), (False, 429)], ids=["behind our proxy", "in the open"]
)
def test_an_address_is_what_a_proxy_of_ours_saw(
    client: Client, settings: Settings, db: None, behind_proxy: bool, status: int
) -> None:
    settings.API_THROTTLE_ADDRESS = (1, 60)
    settings.BEHIND_TLS_PROXY = behind_proxy

    client.get(ME, headers={"X-Forwarded-For": "203.0.113.1, 192.0.2.1"})
    response = client.get(ME, headers={"X-Forwarded-For": "203.0.113.1, 192.0.2.2"})

    assert response.status_code == status


def test_our_limit_is_not_discords(with_list: WithList, client_of: ClientOf, sandbox: Sandbox) -> None:
    browser = client_of(with_list("ada", hours=25))
    sandbox.mood("rate_limited")

    assert browser.get("/api/v1/guilds/").json()["type"] == "/problems/rate-limited"


# CORS


def test_an_origin_that_is_let_in_may_read_with_a_token(
    with_list: WithList, client: Client, settings: Settings
) -> None:
    settings.CORS_ORIGINS = frozenset({APP})
    _row, token = access_tokens.create(
        with_list("ada", minutes=10), "app", [Scope.GUILDS_READ], access_tokens.MAX_LIFETIME
    )

    response = client.get("/api/v1/guilds/", headers={"Origin": APP, "Authorization": f"Bearer {token}"})

    assert response.status_code == 200
    assert response["Access-Control-Allow-Origin"] == APP
    assert "Access-Control-Allow-Credentials" not in response
    assert {"Age", "Cache-Status", "ETag", "Retry-After"} <= set(response["Access-Control-Expose-Headers"].split(", "))
    assert {"Origin", "Authorization"} <= set(response["Vary"].split(", "))


def test_errors_can_be_read_too(client: Client, settings: Settings, db: None) -> None:
    settings.CORS_ORIGINS = frozenset({APP})
    settings.API_THROTTLE_ADDRESS = (1, 60)

    responses = [client.get(ME, headers={"Origin": APP}) for _ in range(2)]

    assert [response.status_code for response in responses] == [401, 429]
    assert [response["Access-Control-Allow-Origin"] for response in responses] == [APP, APP]


def test_a_browser_asks_first_and_is_told_what_it_may_send(client: Client, settings: Settings) -> None:
    settings.CORS_ORIGINS = frozenset({APP})

    response = client.options(
        "/api/v1/guilds/refresh/", headers={"Origin": APP, "Access-Control-Request-Method": "POST"}
    )

    assert response.status_code == 204
    assert response["Access-Control-Allow-Origin"] == APP
    assert "POST" in response["Access-Control-Allow-Methods"]
    assert "Authorization" in response["Access-Control-Allow-Headers"]


@pytest.mark.parametrize(
    "origin", ["https://evil.example", f"{APP}.evil.example", "http://app.example.org", f"{APP}:8443", "null", ""]
)
def test_no_other_origin_is_let_in(client: Client, settings: Settings, db: None, origin: str) -> None:
    settings.CORS_ORIGINS = frozenset({APP})

    for response in (client.get(ME, headers={"Origin": origin}), client.options(ME, headers={"Origin": origin})):
        assert "Access-Control-Allow-Origin" not in response
        assert "Origin" in response["Vary"]


@pytest.mark.parametrize("path", ["/", "/account/tokens/", "/metrics"])
def test_pages_open_to_no_other_site(client: Client, settings: Settings, db: None, path: str) -> None:
    settings.CORS_ORIGINS = frozenset({APP})

    assert "Access-Control-Allow-Origin" not in client.get(path, headers={"Origin": APP})
