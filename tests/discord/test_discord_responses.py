import json
import math
from email.utils import formatdate

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from accounts.discord import (
    BotMissingAccess,
    Broken,
    DiscordAPIError,
    DiscordResponse,
    DiscordUnavailable,
    Forbidden,
    InvalidGrant,
    Limited,
    MissingAccess,
    MissingScope,
    RateLimited,
    Refused,
    RequestRejected,
    SiteRefused,
    Success,
    Unauthorized,
    UnknownGuild,
    UnknownMember,
    UnusableResponse,
    classify,
)
from accounts.limits import Reason
from accounts.reasons import reason_of

NOW = 1_780_000_000.0
WEEK = 7 * 24 * 3600

USER_LIMIT = {
    "Via": "1.1 google",
    "Retry-After": "65",
    "X-RateLimit-Limit": "10",
    "X-RateLimit-Remaining": "0",
    "X-RateLimit-Reset": "1470173023.123",
    "X-RateLimit-Reset-After": "64.57",
    "X-RateLimit-Bucket": "abcd1234",
    "X-RateLimit-Scope": "user",
}
SHARED_LIMIT = USER_LIMIT | {
    "Retry-After": "1337",
    "X-RateLimit-Remaining": "9",
    "X-RateLimit-Scope": "shared",
}
GLOBAL_LIMIT = {
    "Via": "1.1 google",
    "Retry-After": "65",
    "X-RateLimit-Global": "true",
    "X-RateLimit-Scope": "global",
}
LIMIT_BODY = {"message": "You are being rate limited.", "retry_after": 64.57, "global": False}
BLOCKED_HTML = b"<!DOCTYPE html><title>Access denied | discord.com used Cloudflare to restrict access</title>"
BLOCKED_JSON = {"code": 0, "message": "You are being blocked from accessing our API temporarily"}


def classified(status: int, body: object, headers: dict[str, str] | None = None) -> DiscordResponse:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return classify(status, {"Via": "1.1 google"} if headers is None else headers, raw, now=NOW)


@pytest.mark.parametrize(
    ("headers", "body", "scope", "retry_after"),
    [
        (USER_LIMIT, LIMIT_BODY, "user", 65.0),
        (SHARED_LIMIT, LIMIT_BODY | {"retry_after": 1336.57}, "shared", 1337.0),
        (GLOBAL_LIMIT, LIMIT_BODY | {"global": True}, "global", 65.0),
        # Observed at Discord: less than a second, which int() would truncate to 0.
        ({"Via": "1.1 google"}, LIMIT_BODY | {"retry_after": 0.881}, "user", 0.881),
        ({"Via": "1.1 google", "Retry-After": "1"}, LIMIT_BODY | {"retry_after": 0.881}, "user", 1.0),
        # The global limit, named in only one of the three places each.
        ({"X-RateLimit-Global": "true"}, b"", "global", None),
        ({"X-RateLimit-Scope": "global"}, b"", "global", None),
        ({}, {"retry_after": 3, "global": True}, "global", 3.0),
        # Cloudflare: an HTML page, a line of text or JSON; the wait is in the header, if anywhere.
        ({"Server": "cloudflare"}, BLOCKED_HTML, "cloudflare", None),
        ({"Retry-After": "3600"}, b"error code: 1015", "cloudflare", 3600.0),
        ({"Server": "cloudflare"}, BLOCKED_JSON, "cloudflare", None),
        # Discord itself, without a wait.
        ({"Via": "1.1 google"}, {"message": "You are being rate limited."}, "user", None),
        ({"Via": "1.1 google"}, b"", "user", None),
        # Discord behind a proxy that drops Via.
        ({}, LIMIT_BODY, "user", 64.57),
        ({"X-RateLimit-Scope": "shared"}, b"", "shared", None),
    ],
)
def test_a_429_is_read_as_discord_means_it(
    headers: dict[str, str], body: object, scope: str, retry_after: float | None
) -> None:
    response = classified(429, body, headers)

    assert isinstance(response, Limited)
    assert (response.scope, response.retry_after) == (scope, retry_after)
    assert response.counts_as_invalid is (scope != "shared")
    assert type(response.to_error("GET /x", 2)) is RateLimited


@pytest.mark.parametrize("name", ["retry-after", "Retry-After", "RETRY-AFTER"])
def test_the_case_of_a_header_means_nothing(name: str) -> None:
    assert classified(429, b"", {name: "12.5", "via": "1.1 google"}) == Limited("user", 12.5)


@pytest.mark.parametrize(
    ("value", "wait"),
    [
        ("0.881", 0.881),
        (".5", 0.5),
        (" 7 ", 7.0),
        ("82800", 82800.0),  # 23 hours: obeyed
        (str(WEEK), WEEK),
        (str(WEEK + 1), None),
        ("9" * 5000, None),
        ("0", None),
        ("0.0", None),
        ("-3", None),
        ("nan", None),
        ("inf", None),
        ("1e3", None),
        ("soon", None),
        ("", None),
        ("٣", None),
        ("30, 60", 60.0),
        (formatdate(NOW + 90, usegmt=True), 90.0),
        (formatdate(NOW - 90, usegmt=True), None),
        ("Fri, 99 Foo 99999 99:99:99 GMT", None),
        ("Mon, 01 Jan 0001 00:00:00 +2359", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_or_ignored(value: str, wait: float | None) -> None:
    response = classified(429, {"message": "", "global": False}, {"Via": "1.1 google", "Retry-After": value})

    assert response == Limited("user", wait)


def test_a_date_is_measured_by_the_clock_that_wrote_it() -> None:
    skewed = NOW + 300
    headers = {
        "Via": "1.1 google",
        "Date": formatdate(skewed, usegmt=True),
        "Retry-After": formatdate(skewed + 40, usegmt=True),
    }

    assert classified(429, b"", headers) == Limited("user", 40.0)


@pytest.mark.parametrize("value", [True, None, [], {}, -1, 0, 10**400, "later", float(WEEK + 1)])
def test_nonsense_in_the_body_leaves_the_headers_wait(value: object) -> None:
    response = classified(429, {"retry_after": value}, {"Via": "1.1 google", "Retry-After": "5"})

    assert response == Limited("user", 5.0)


@given(
    header=st.floats(0.001, WEEK),
    in_body=st.floats(0.001, WEEK),
    scope=st.sampled_from(["user", "shared", "global"]),
    reset_after=st.floats(0, WEEK),
)
def test_no_wait_is_ever_shortened(header: float, in_body: float, scope: str, reset_after: float) -> None:
    headers = {
        "Via": "1.1 google",
        "Retry-After": f"{header:.3f}",
        "X-RateLimit-Scope": scope,
        "X-RateLimit-Reset-After": str(reset_after),
    }

    response = classified(429, {"retry_after": in_body}, headers)

    assert isinstance(response, Limited)
    assert response.retry_after == max(float(f"{header:.3f}"), in_body)


@pytest.mark.parametrize(
    ("status", "body", "headers", "error_class", "scope"),
    [
        (401, {"message": "401: Unauthorized", "code": 0}, None, Unauthorized, None),
        (401, {"message": "Invalid OAuth2 access token", "code": 50025}, None, Unauthorized, None),
        (401, {"error": "invalid_client"}, None, SiteRefused, None),
        (400, {"error": "invalid_grant", "error_description": 'Invalid "redirect_uri"'}, None, SiteRefused, None),
        (403, {"message": "Missing required OAuth2 scope", "code": 50026}, None, MissingScope, None),
        (403, {"message": "Missing Access", "code": 50001}, {}, MissingAccess, None),
        (403, {"message": "Bots cannot use this endpoint", "code": 20001}, {}, Forbidden, None),
        (403, {"message": "Cloudflare is blocking", "code": 40333}, None, RateLimited, "cloudflare"),
        (403, BLOCKED_HTML, {}, RateLimited, "cloudflare"),
        (403, BLOCKED_HTML, None, Forbidden, None),
        (404, {"message": "Unknown Guild", "code": 10004}, None, UnknownGuild, None),
        (404, {"message": "Unknown Member", "code": 10007}, None, UnknownMember, None),
        (404, {"message": "Unknown User", "code": 10013}, None, UnknownMember, None),
        (400, {"message": "Invalid Form Body", "code": 50035}, None, RequestRejected, None),
        (302, b"", {"Location": "https://example.com/"}, RequestRejected, None),
        (
            400,
            {"error": "invalid_request", "error_description": 'Invalid "code_verifier"'},
            None,
            RequestRejected,
            None,
        ),
        (400, {"error": "invalid_request", "error_description": None}, None, RequestRejected, None),
        (400, {"error": "invalid_scope"}, None, RequestRejected, None),
    ],
)
def test_other_refusals_have_their_types(
    status: int, body: object, headers: dict[str, str] | None, error_class: type, scope: str | None
) -> None:
    response = classified(status, body, headers)

    assert isinstance(response, Refused)
    error = response.to_error("GET /x", 1)
    assert type(error) is error_class
    assert (error.status, error.scope, error.route, error.attempts) == (status, scope, "GET /x", 1)
    assert response.counts_as_invalid is (status in (401, 403))


@pytest.mark.parametrize(
    ("credentials", "route", "error_class"),
    [
        ("person", "GET /x", MissingAccess),
        ("client", "GET /x", SiteRefused),
        ("bot", "GET /guilds/{guild.id}/roles", BotMissingAccess),
        ("bot", "GET /channels/{id}", BotMissingAccess),
        ("bot", "GET /users/@me/guilds", SiteRefused),
    ],
)
def test_missing_access_to_a_guild_says_nothing_of_the_bots_token(
    credentials: str, route: str, error_class: type
) -> None:
    response = classified(403, {"message": "Missing Access", "code": 50001})

    assert isinstance(response, Refused)
    assert type(response.to_error(route, 1, credentials)) is error_class


@pytest.mark.parametrize("route", ["GET /users/@me/guilds", "GET /guilds/{guild.id}/roles"])
@pytest.mark.parametrize("status", [302, 400, 401, 403, 404, 429, 500])
def test_no_answer_to_the_bot_refuses_a_person(status: int, route: str) -> None:
    codes = [None, 0, 10004, 10007, 10013, 20001, 40001, 50001, 50013, 50014, 50025, 50026]
    bodies = [*({"code": code} for code in codes), {"error": "invalid_grant"}, {"error": "invalid_client"}]

    for body in bodies:
        response = classified(status, body)
        assert not isinstance(response, Success)
        assert reason_of(response.to_error(route, 1, "bot")) not in (Reason.RECONNECT_REQUIRED, Reason.MISSING_SCOPE)


@pytest.mark.parametrize(
    ("error", "description"),
    [
        ("invalid_grant", 'Invalid "refresh_token" in request'),
        ("invalid_grant", 'Invalid "code" in request.'),
        ("invalid_grant", None),
        ("invalid_request", 'Invalid "refresh_token" in request.'),
        ("invalid_request", 'Invalid "code" in request.'),
    ],
)
def test_a_used_up_grant_is_final_in_both_of_discords_wordings(error: str, description: str | None) -> None:
    response = classified(400, {"error": error, "error_description": description})

    assert isinstance(response, Refused)
    assert type(response.to_error("POST /oauth2/token", 1)) is InvalidGrant


@pytest.mark.parametrize("status", [-1, 0, 100, 199, 500, 502, 503, 520, 599, 600, 999])
def test_impossible_and_5xx_statuses_are_no_response(status: int) -> None:
    response = classified(status, b"<html>502 Bad Gateway</html>", {"Retry-After": "30"})

    assert response == Broken(status, 30.0)
    assert type(response.to_error("GET /x", 1)) is (DiscordUnavailable if 500 <= status < 600 else UnusableResponse)
    assert not response.counts_as_invalid


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, b'[{"id": "1"}]', Success([{"id": "1"}])),
        (200, b"null", Success(None)),
        (200, b"", Success(None, empty=True)),
        (204, b"", Success(None, 204, empty=True)),
    ],
)
def test_2xx_with_json_is_a_success(status: int, body: bytes, expected: Success) -> None:
    assert classified(status, body) == expected


@pytest.mark.parametrize(
    "body",
    [b"<html>", b'[{"id": "1"}', b"[1, 2", b"NaN", b"[Infinity]", b"\xff\xfe", b"[" * 100_000, b"\x00", b" "],
)
def test_a_200_that_is_not_json_is_no_response(body: bytes) -> None:
    response = classified(200, body)

    assert isinstance(response, Broken)
    assert response.status == 200


def test_bodies_that_are_not_json_are_never_quoted() -> None:
    response = classified(429, b"error code: 1015 for token abcdefgh", {})

    assert isinstance(response, Limited)
    assert response.message == ""


def test_a_secret_that_discord_repeats_is_cut_out() -> None:
    body = json.dumps({"message": "the token s3cr3t-t0k3n is bad"}).encode()

    response = classify(401, {}, body, secrets=("s3cr3t-t0k3n",))

    assert isinstance(response, Refused)
    assert response.message == "the token [hidden] is bad"


header_names = st.sampled_from(
    ["Retry-After", "retry-after", "Via", "Date", "X-RateLimit-Global", "X-RateLimit-Scope", "X-RateLimit-Reset-After"]
)
header_values = st.one_of(
    st.text(max_size=40),
    st.floats().map(str),
    st.integers().map(str),
    st.sampled_from(["true", "false", "user", "shared", "global", "nan", "-inf", "1e400", "Thu, 01 Jan 1970 00:00:00"]),
)
numbers = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10)
bodies = st.one_of(
    st.binary(max_size=200),
    st.fixed_dictionaries(
        {},
        optional={
            "message": numbers,
            "retry_after": numbers,
            "global": numbers,
            "code": numbers,
            "error": numbers | st.just("invalid_request"),
            "error_description": numbers,
        },
    ).map(lambda fields: json.dumps(fields).encode()),
)
statuses = st.one_of(st.sampled_from([0, -1, 200, 204, 302, 400, 401, 403, 404, 429, 500, 503, 999]), st.integers())


@given(status=statuses, headers=st.dictionaries(header_names | st.text(), header_values, max_size=5), body=bodies)
@example(status=429, headers={"Retry-After": "Mon, 01 Jan 0001 00:00:00 +2359"}, body=b"")
@example(status=429, headers={"Retry-After": "Fri, 31 Dec 9999 23:59:59 -2359"}, body=b"")
@example(status=429, headers={}, body=b'{"retry_after": ' + b"9" * 5000 + b"}")
def test_every_response_has_exactly_one_meaning(status: int, headers: dict[str, str], body: bytes) -> None:
    response = classify(status, headers, body)

    assert isinstance(response, Success) == (200 <= status < 300 and not isinstance(response, Broken))
    assert isinstance(response, Limited) == (status == 429)
    assert response.counts_as_invalid == (status in (401, 403, 429) and response.scope != "shared")
    assert response.retry_after is None or (math.isfinite(response.retry_after) and 0 < response.retry_after <= WEEK)
    if not isinstance(response, Success):
        error = response.to_error("GET /x", 1)
        assert isinstance(error, DiscordAPIError)
        assert error.status == status
        assert error.retry_after == response.retry_after
        assert "\n" not in str(error)
        assert len(str(error)) < 400
