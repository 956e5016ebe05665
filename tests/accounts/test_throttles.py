"""The site's own rate limits: the meter, the visitor's address, and the limit on sign-ins."""

import re

import pytest
from django.test import Client, RequestFactory
from pytest_django import Settings

from accounts.gate import GateHooks
from accounts.limits import Priority
from accounts.throttles import Limit, Meter, address_of, wait_for
from tests.accounts.test_sign_in import ask, come_back, consent, sign_in, words_of
from tests.fixtures import Sandbox


def test_a_request_given_back_does_not_count() -> None:
    meter = Meter(lambda: 0.0)

    for _ in range(5):
        assert meter.wait("ada", (1, 60)) == 0.0
        meter.refund("ada", (1, 60))
    meter.refund("linus", (1, 60))
    meter.refund("ada", None)

    assert (meter.wait("ada", (1, 60)), meter.wait("ada", (1, 60))) == (0.0, 60.0)


def test_a_full_meter_forgets_those_who_rest_soonest_and_stays_bounded() -> None:
    now = 0.0
    meter = Meter(lambda: now)
    meter.MAX_KEYS = 4  # type: ignore[misc]  # fewer, for this test
    for name in "abcdefghij":
        meter.wait(name, (1, 60))
        now += 1

    assert len(meter._full_again) <= 4
    assert meter.wait("j", (1, 60)) > 0


@pytest.mark.parametrize(
    ("remote", "forwarded", "behind_proxy", "address"),
    [
        ("192.0.2.7", None, False, "192.0.2.7"),
        ("192.0.2.7", "203.0.113.9", False, "192.0.2.7"),
        ("10.0.0.1", "198.51.100.66, 203.0.113.9", True, "203.0.113.9"),
        ("10.0.0.1", None, True, "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", None, False, "2001:db8:1:2::/64"),
        ("10.0.0.1", "2001:db8:1:2:ffff::1", True, "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", None, False, "192.0.2.7"),
        ("fe80::1%eth0", None, False, "fe80::/64"),
        ("", None, False, ""),
    ],
)
def test_an_address_is_a_network_for_ipv6_and_what_a_proxy_of_ours_saw(
    rf: RequestFactory, settings: Settings, remote: str, forwarded: str | None, behind_proxy: bool, address: str
) -> None:
    settings.BEHIND_TLS_PROXY = behind_proxy
    request = rf.get("/", REMOTE_ADDR=remote, headers={"X-Forwarded-For": forwarded} if forwarded else {})

    assert address_of(request) == address


@pytest.mark.parametrize("limit", Limit)
def test_each_limit_has_its_rate_in_the_settings(settings: Settings, limit: Limit) -> None:
    setattr(settings, limit, (1, 60))

    assert (wait_for(limit, "ada"), wait_for(limit, "linus")) == (0.0, 0.0)
    assert wait_for(limit, "ada") == pytest.approx(60, abs=1)


# sign-ins


def test_an_address_that_starts_too_many_sign_ins_gets_a_countdown_and_no_session(
    transactional_db: None, settings: Settings
) -> None:
    settings.SIGN_IN_THROTTLE_ADDRESS = (2, 60)
    visitors = [Client(SERVER_NAME="localhost") for _ in range(3)]
    for visitor in visitors[:2]:
        ask(visitor)

    response = visitors[2].post("/login/discord/")
    elsewhere = visitors[2].post("/login/discord/", REMOTE_ADDR="192.0.2.7")

    assert (response.status_code, response["Retry-After"]) == (429, "30")
    assert "Too many sign-ins" in words_of(response)
    assert 'data-countdown="30"' in words_of(response)
    assert 'data-submit="resume"' in words_of(response)
    assert "guildhall_session" not in response.cookies
    assert elsewhere.status_code == 302


def test_an_address_that_sends_too_many_callbacks_is_stopped_before_discord_and_the_session(
    transactional_db: None, sandbox: Sandbox, settings: Settings
) -> None:
    settings.SIGN_IN_THROTTLE_ADDRESS = (2, 60)
    visitor = Client(SERVER_NAME="localhost")
    back = consent(ask(visitor))
    junk = [visitor.get("/complete/discord/?state=invented&code=junk").status_code for _ in range(2)]

    response = come_back(visitor, back)

    assert junk == [400, 400]
    assert (response.status_code, response["Retry-After"]) == (429, "30")
    assert sandbox.requests("/oauth2/token") == []


def test_a_made_up_code_goes_after_people_whom_the_site_knows(
    transactional_db: None, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[tuple[Priority, str]] = []
    before_send = GateHooks.before_send

    def record(hooks: GateHooks, route: str) -> None:
        sent.append((hooks.priority, route))
        before_send(hooks, route)

    monkeypatch.setattr(GateHooks, "before_send", record)

    junk = re.sub(r"code=[^&]+", "code=junk", consent(ask(Client(SERVER_NAME="localhost"))))
    come_back(Client(SERVER_NAME="localhost"), junk)
    assert sent == []
    sign_in(Client(SERVER_NAME="localhost"))

    assert sent[:2] == [(Priority.SIGN_IN, "POST /oauth2/token"), (Priority.COLD, "GET /users/@me")]


def test_a_network_of_ipv6_is_one_address(transactional_db: None, settings: Settings) -> None:
    settings.SIGN_IN_THROTTLE_ADDRESS = (1, 60)
    addresses = ("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1")

    statuses = [
        Client(SERVER_NAME="localhost", REMOTE_ADDR=address).post("/login/discord/").status_code
        for address in addresses
    ]

    assert statuses == [302, 429, 302]
