"""Limits that several requests of one owner share: the row, and the client that takes from it."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from django.db import connection
from pytest_django import DjangoAssertNumQueries, Settings

from accounts import allowance
from accounts.allowance import BOT_MEMBER, MEMBER
from accounts.discord import DiscordClient, Exchange
from accounts.limits import Allowance, GateShut, Kind, Priority, Reason
from accounts.models import DiscordAllowance, User
from tests.fixtures import let_pass

pytestmark = pytest.mark.django_db

SECOND = timedelta(seconds=1)
ROUTE = "GET /users/@me/guilds/{guild.id}/member"
TOKENS = "POST /oauth2/token"


def answer(status: int, scope: str | None = None, retry_after: float | None = None, route: str = ROUTE) -> Exchange:
    return Exchange(route, "GET", status, scope, retry_after, status == 429, 1, 0.1, None)


class Gated:
    """A gated client; `did` lists what passes it, and `refusal` is raised before a request."""

    def __init__(self) -> None:
        self.did: list[str] = []
        self.refusal: Exception | None = None
        self.client = DiscordClient(before_send=self.before_send, on_response=self.on_response)

    def before_send(self, route: str) -> None:
        self.did.append(f"before {route}")
        if self.refusal:
            raise self.refusal

    def on_response(self, exchange: Exchange) -> None:
        self.did.append(f"after {exchange.route}")


@pytest.fixture
def gated() -> Gated:
    return Gated()


@pytest.fixture(autouse=True)
def margin(settings: Settings) -> None:
    """The window for members is longer than Discord's by what an attempt may take."""
    settings.DISCORD_FETCH_BUDGET_MS = 5000


@pytest.fixture(autouse=True)
def people() -> None:
    User.objects.bulk_create(User(pk=owner, username=str(owner)) for owner in (1, 2))


def limited(gated: Gated, owner: int = 1, name: str = MEMBER) -> DiscordClient:
    return allowance.limited(gated.client, name, owner, ROUTE)


def sent(owner: int = 1) -> int:
    return allowance.read(MEMBER, owner)[0].sent


def about(moment: datetime | None, expected: datetime) -> bool:
    return moment is not None and abs(moment - expected) < SECOND


def test_the_members_limit_is_that_of_the_settings(settings: Settings) -> None:
    settings.DISCORD_MEMBER_REQUESTS, settings.DISCORD_MEMBER_WINDOW = 7, 60

    assert allowance.kind_of(MEMBER) == Kind(MEMBER, 7, 65 * SECOND, 5 * SECOND)
    assert allowance.kind_of(BOT_MEMBER) == Kind(BOT_MEMBER)


def test_looking_creates_no_row() -> None:
    assert allowance.read(MEMBER, 1)[0] == Allowance()
    assert allowance.closed_until(MEMBER, 1, Priority.DUE) is None
    assert not DiscordAllowance.objects.exists()


def test_five_requests_of_a_person_use_the_window_up(gated: Gated) -> None:
    client = limited(gated)
    for _ in range(5):
        client.before_send(ROUTE)
    with pytest.raises(GateShut) as refusal:
        client.before_send(ROUTE)

    now = allowance.read(MEMBER, 1)[1]
    assert (refusal.value.reason, refusal.value.sent) == (Reason.RATE_LIMITED, True)
    assert about(refusal.value.until, now + timedelta(seconds=305))
    assert gated.did == [f"before {ROUTE}"] * 5
    assert allowance.closed_until(MEMBER, 1, Priority.COLD) == refusal.value.until
    let_pass(seconds=305)
    client.before_send(ROUTE)
    assert sent() == 1


def test_another_person_and_another_route_have_their_own(gated: Gated) -> None:
    for _ in range(5):
        limited(gated).before_send(ROUTE)

    limited(gated, owner=2).before_send(ROUTE)
    limited(gated).before_send(TOKENS)

    assert (sent(1), sent(2)) == (5, 1)


def test_an_attempt_that_sent_nothing_says_so(gated: Gated) -> None:
    for _ in range(5):
        limited(gated).before_send(ROUTE)

    with pytest.raises(GateShut) as refusal:
        limited(gated).before_send(ROUTE)

    assert refusal.value.sent is False


def test_the_allowance_is_asked_before_the_gate(gated: Gated) -> None:
    gated.refusal = GateShut(Reason.BUSY, datetime.max, datetime.max)
    with pytest.raises(GateShut, match="busy"):
        limited(gated).before_send(ROUTE)
    assert sent() == 1

    for _ in range(4):
        with pytest.raises(GateShut, match="busy"):
            limited(gated).before_send(ROUTE)
    with pytest.raises(GateShut, match="rate_limited"):
        limited(gated).before_send(ROUTE)
    assert gated.did == [f"before {ROUTE}"] * 5


@pytest.mark.parametrize(("retry_after", "seconds"), [(40.0, 40), (None, 305)])
def test_a_429_of_the_person_closes_it_for_the_wait(gated: Gated, retry_after: float | None, seconds: int) -> None:
    limited(gated).on_response(answer(429, "user", retry_after))

    until, now = allowance.closed_until(MEMBER, 1, Priority.COLD), allowance.read(MEMBER, 1)[1]
    assert about(until, now + seconds * SECOND)
    assert gated.did == [f"after {ROUTE}"]
    assert allowance.closed_until(MEMBER, 2, Priority.COLD) is None
    let_pass(seconds=seconds)
    assert allowance.closed_until(MEMBER, 1, Priority.COLD) is None


@pytest.mark.parametrize(
    "exchange",
    [answer(200), answer(429, "global", 40), answer(429, "shared", 40), answer(429, "user", 40, route=TOKENS)],
    ids=["answer", "global", "shared", "another route"],
)
def test_no_other_answer_closes_it(gated: Gated, exchange: Exchange) -> None:
    limited(gated).on_response(exchange)

    assert not DiscordAllowance.objects.exists()
    assert len(gated.did) == 1


def test_a_guild_has_no_window_and_waits_as_long_as_discord_says(gated: Gated) -> None:
    client = limited(gated, name=BOT_MEMBER)
    for _ in range(50):
        client.before_send(ROUTE)
    assert not DiscordAllowance.objects.exists()

    client.on_response(answer(429, "user", 40))
    with pytest.raises(GateShut, match="rate_limited"):
        client.before_send(ROUTE)


def test_a_change_that_another_one_overtook_starts_again_from_there() -> None:
    seen: list[int] = []

    def rule(before: Allowance, _now: datetime) -> Allowance:
        seen.append(before.sent)
        if len(seen) == 1:
            allowance.change(MEMBER, 1, lambda other, now: replace(other, sent=7, window_ends_at=now))
        return replace(before, sent=before.sent + 1)

    allowance.change(MEMBER, 1, rule)

    assert seen == [0, 7]
    assert allowance.read(MEMBER, 1)[0].sent == 8


def test_a_change_is_that_of_one_row_and_of_its_version() -> None:
    for name, owner in ((MEMBER, 1), (MEMBER, 2), (BOT_MEMBER, 1)):
        DiscordAllowance.objects.create(kind=name, owner=owner, sent=1)

    for _ in range(2):
        allowance.change(MEMBER, 1, lambda before, now: replace(before, sent=before.sent + 3))

    rows = DiscordAllowance.objects.values_list("kind", "owner", "sent", "version")
    assert set(rows) == {(MEMBER, 1, 7, 2), (MEMBER, 2, 1, 0), (BOT_MEMBER, 1, 1, 0)}


def test_refreshes_that_can_wait_leave_two_requests_to_the_others(gated: Gated) -> None:
    for _ in range(3):
        limited(gated).before_send(ROUTE)

    assert about(allowance.closed_until(MEMBER, 1, Priority.DUE), allowance.read(MEMBER, 1)[1] + timedelta(seconds=305))
    assert allowance.closed_until(MEMBER, 1, Priority.COLD) is None


@pytest.mark.parametrize("ask", [allowance.read, lambda name, owner: allowance.closed_until(name, owner, Priority.DUE)])
def test_looking_costs_one_query(
    gated: Gated, ask: Callable[[str, int], object], django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    limited(gated).before_send(ROUTE)

    with django_assert_num_queries(1):
        ask(MEMBER, 1)


def test_no_connection_is_kept_while_discord_is_asked(gated: Gated, monkeypatch: pytest.MonkeyPatch) -> None:
    released: list[str] = []
    monkeypatch.setattr(allowance, "release_connection", lambda: released.append("released"))

    limited(gated).before_send(ROUTE)

    assert released == ["released"]
    assert connection.connection


@pytest.mark.parametrize("name", [MEMBER, BOT_MEMBER])
def test_only_people_who_were_deleted_have_none(gated: Gated, name: str) -> None:
    client = limited(gated, owner=3, name=name)

    client.before_send(ROUTE)
    client.on_response(answer(429, "user", 40))

    assert DiscordAllowance.objects.exists() is (name == BOT_MEMBER)
    assert gated.did == [f"before {ROUTE}", f"after {ROUTE}"]


def test_forgetting_deletes_the_persons_and_no_guilds(gated: Gated) -> None:
    limited(gated).before_send(ROUTE)
    limited(gated, owner=2).before_send(ROUTE)
    limited(gated, name=BOT_MEMBER).on_response(answer(429, "user", 40))

    allowance.forget(1)

    assert set(DiscordAllowance.objects.values_list("kind", "owner")) == {(MEMBER, 2), (BOT_MEMBER, 1)}


def test_a_purge_deletes_what_restricts_nothing(gated: Gated) -> None:
    limited(gated).before_send(ROUTE)
    limited(gated, owner=2).on_response(answer(429, "user", 400))
    allowance.purge()
    assert DiscordAllowance.objects.count() == 2

    let_pass(seconds=305)
    allowance.purge()

    assert list(DiscordAllowance.objects.values_list("owner", flat=True)) == [2]
