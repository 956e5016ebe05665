import copy
import pickle

import pytest

from accounts.discord import (
    BotMissingAccess,
    DiscordAPIError,
    DiscordUnavailable,
    Forbidden,
    InvalidGrant,
    MissingAccess,
    MissingScope,
    RateLimited,
    RequestRejected,
    SiteRefused,
    Unauthorized,
    UnknownGuild,
    UnknownMember,
    UnusableResponse,
)

EVERY_ERROR = [
    RateLimited,
    DiscordUnavailable,
    Unauthorized,
    Forbidden,
    MissingScope,
    MissingAccess,
    BotMissingAccess,
    RequestRejected,
    InvalidGrant,
    SiteRefused,
    UnknownGuild,
    UnknownMember,
    UnusableResponse,
]


@pytest.mark.parametrize("error_class", EVERY_ERROR)
def test_every_error_can_be_raised_without_having_asked(error_class: type[DiscordAPIError]) -> None:
    error = error_class()

    assert isinstance(error, DiscordAPIError)
    assert (error.status, error.code, error.scope, error.retry_after) == (None, None, None, None)
    assert (error.message, error.attempts, error.route) == ("", 0, "")
    assert str(error) == error_class.summary


@pytest.mark.parametrize("copied", [lambda error: pickle.loads(pickle.dumps(error)), copy.copy, copy.deepcopy])
def test_an_error_survives_pickling_and_copying(copied) -> None:  # type: ignore[no-untyped-def]
    error = RateLimited(
        message="slow down", status=429, code=20028, scope="user", retry_after=0.881, attempts=4, route="GET /x"
    )

    twin = copied(error)

    assert type(twin) is RateLimited
    assert vars(twin) == vars(error)
    assert str(twin) == str(error)


def test_an_error_reads_as_a_sentence() -> None:
    error = RateLimited(
        message="You are being rate limited.",
        status=429,
        scope="user",
        retry_after=64.57,
        attempts=4,
        route="GET /users/@me/guilds",
    )

    assert str(error) == (
        "GET /users/@me/guilds: Discord is rate-limiting us "
        "(status 429, scope user, retry after 64.57 s, 4 attempts): You are being rate limited."
    )


def test_a_message_has_no_markup_and_no_control_characters() -> None:
    error = DiscordUnavailable(message="<h1 class=x>Error\r\n\x1b[31m1015</h1>\ud800 <script")

    assert error.message == "Error [31m1015"


def test_a_message_is_never_longer_than_a_line() -> None:
    error = DiscordUnavailable(message="a" * 100_000)

    assert len(error.message) == 200
    assert len(str(error)) < 300


def test_the_tree_lets_callers_catch_by_what_they_can_do_about_it() -> None:
    assert issubclass(MissingScope, Forbidden)
    assert issubclass(RequestRejected, UnusableResponse)
    assert not issubclass(UnusableResponse, DiscordUnavailable)
    assert not issubclass(InvalidGrant, UnusableResponse)
