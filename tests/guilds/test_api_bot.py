"""What the site's bot asks about people, and the events that it reports."""

from collections.abc import Callable
from datetime import datetime, timedelta
from random import Random
from typing import Any

import pytest
from django.test import Client

from accounts.clock import database_now
from accounts.models import User
from guilds.models import BotGuild, GuildMember, UserGuildMembership
from guilds.news import EVENTS
from tests.fixtures import Sandbox, let_pass
from tests.guilds.rows import bot_joins, list_of, member_of
from tests.guilds.test_api import assert_problem

CLUB, OWN, ELSEWHERE = 11, 12, 99
STAFF, OTHER = 501, 502
STRANGER = 78
Ask = Callable[..., Any]
Report = Callable[..., Any]


@pytest.fixture
def eve(sandbox: Sandbox, sign_up: Callable[..., User]) -> User:
    """A member of two servers, of which she owns one and may manage both; the bot is in the first."""
    guilds = [
        {"id": str(CLUB), "name": "Club", "permissions": str(1 << 5)},
        {"id": str(OWN), "name": "Own", "owner": True, "permissions": "0"},
    ]
    sandbox.person("eve", guilds=guilds)
    sandbox.roles(CLUB, {"id": str(STAFF), "name": "Staff"}, {"id": str(OTHER), "name": "Others"})
    sandbox.member("eve", CLUB, roles=[str(STAFF)])
    sandbox.bot(CLUB, 8)
    bot_joins(CLUB)
    user = sign_up("eve")
    list_of(user, guilds)
    sandbox.forget_requests()
    return user


@pytest.fixture
def headers(service_token: Callable[..., str]) -> dict[str, str]:
    return {"Authorization": f"Bearer {service_token('bot:members', 'bot:verify', 'bot:events')}"}


def address_of(eve: User, guild_id: int = CLUB) -> str:
    return f"/api/v1/bot/guilds/{guild_id}/members/{eve.discord_id}/"


@pytest.fixture
def ask(client: Client, eve: User, headers: dict[str, str]) -> Ask:
    def ask(guild_id: int = CLUB, **query: Any) -> Any:
        return client.get(address_of(eve, guild_id), query, headers=headers)

    return ask


@pytest.fixture
def report(client: Client, headers: dict[str, str]) -> Report:
    def report(*events: Any, **body: Any) -> Any:
        return client.post(
            "/api/v1/bot/events/", {"events": events, **body}, content_type="application/json", headers=headers
        )

    return report


def event(kind: str, at: datetime | None = None, guild_id: int = CLUB, **fields: Any) -> dict[str, Any]:
    """An event about Eve, who must exist, unless the fields name another person."""
    moment = (at or database_now()).isoformat()
    eve = User.objects.values_list("discord_id", flat=True).get(discord_username="eve")
    return {"type": kind, "at": moment, "guild_id": str(guild_id), "user_id": str(eve), **fields}


def member(*roles: int) -> dict[str, Any]:
    return {"roles": [str(role) for role in roles], "nick": None, "pending": False}


# Questions


@pytest.mark.parametrize(
    ("guild_id", "query", "is_member", "allowed"),
    [
        (CLUB, {}, True, True),
        (CLUB, {"permission": "manage_guild"}, True, True),
        (CLUB, {"permission": "MANAGE_GUILD"}, True, True),
        (CLUB, {"permission": "ban_members"}, True, False),
        (OWN, {"permission": "ban_members"}, True, True),
        (ELSEWHERE, {}, False, False),
        (ELSEWHERE, {"permission": "manage_guild", "role": STAFF}, False, False),
        # Only the list is stored yet.
        (CLUB, {"role": STAFF}, True, None),
        (OWN, {"role": STAFF}, True, True),
    ],
)
def test_a_question_is_answered_from_the_stored_list(
    eve: User, ask: Ask, sandbox: Sandbox, guild_id: int, query: dict[str, Any], is_member: bool, allowed: bool | None
) -> None:
    body = ask(guild_id, **query).json()

    assert (body["has_signed_in"], body["is_member"], body["allowed"]) == (True, is_member, allowed)
    assert body["list"]["freshness"] == "fresh"
    assert (body["list"]["guild"] or {}).get("id") == (None if guild_id == ELSEWHERE else str(guild_id))
    assert body["member"] is None
    assert sandbox.requests("") == []


@pytest.mark.parametrize(
    ("query", "allowed"),
    [
        ({"role": STAFF}, True),
        ({"role": [OTHER, STAFF]}, True),
        ({"role": OTHER}, False),
        ({"role": STAFF, "permission": "manage_guild"}, True),
        ({"role": STAFF, "permission": "ban_members"}, False),
        ({"role": CLUB}, True),
    ],
)
def test_a_question_about_roles_is_answered_from_the_stored_member(
    eve: User, ask: Ask, query: dict[str, Any], allowed: bool
) -> None:
    member_of(eve, CLUB, STAFF)

    body = ask(**query).json()

    assert (body["is_member"], body["allowed"]) == (True, allowed)
    assert body["member"]["member"]["roles"] == [str(STAFF)]


def test_what_is_too_old_to_serve_is_shown_and_decides_nothing(eve: User, ask: Ask, sandbox: Sandbox) -> None:
    let_pass(hours=25)

    body = ask(permission="manage_guild").json()

    assert (body["has_signed_in"], body["is_member"], body["allowed"]) == (True, None, None)
    assert (body["list"]["freshness"], body["list"]["guild"]["name"]) == ("expired", "Club")
    assert sandbox.requests("") == []


def test_the_newer_answer_says_whether_a_person_is_a_member(eve: User, ask: Ask, report: Report) -> None:
    member_of(eve, CLUB, STAFF)
    GuildMember.objects.update(is_member=False, roles=[])

    assert (ask().json()["is_member"], ask(permission="manage_guild").json()["allowed"]) == (False, False)
    GuildMember.objects.update(verified_at=database_now() - timedelta(hours=1))
    assert ask().json()["is_member"] is True


def test_a_stranger_is_told_apart(eve: User, ask: Ask) -> None:
    nothing = {"has_signed_in": False, "is_member": None, "allowed": None, "list": None, "member": None}

    User.objects.update(is_active=False)
    assert ask().json() == nothing
    User.objects.update(is_active=True, discord_id=STRANGER)
    assert ask().json() == nothing


@pytest.mark.parametrize(
    ("query", "parameter"),
    [({"permission": "manage_server"}, "permission"), ({"role": "staff"}, "role"), ({"roles": "1"}, "roles")],
)
def test_a_wrong_question_is_named(eve: User, ask: Ask, query: dict[str, Any], parameter: str) -> None:
    response = ask(**query)

    assert_problem(response, 400, "invalid-parameter")
    assert response.json()["parameter"] == parameter


# Verifying


@pytest.mark.parametrize(
    ("query", "about_member"), [("?permission=manage_guild", False), (f"?role={STAFF}", True), ("", True)]
)
def test_verifying_asks_discord_for_what_the_question_needs(
    eve: User, client: Client, headers: dict[str, str], sandbox: Sandbox, query: str, about_member: bool
) -> None:
    let_pass(minutes=10)

    response = client.post(f"{address_of(eve)}verify/{query}", headers=headers)

    assert (response.status_code, response.json()["allowed"]) == (200, True)
    assert ["/members/" in request["path"] for request in sandbox.requests("")] == [about_member]


def test_verifying_has_the_cool_down_of_a_refresh(eve: User, client: Client, headers: dict[str, str]) -> None:
    client.post(f"{address_of(eve)}verify/", headers=headers)

    assert_problem(client.post(f"{address_of(eve)}verify/", headers=headers), 429, "refresh-too-soon")


def test_verifying_waits_for_a_slow_discord_as_a_refresh_does(
    eve: User, client: Client, headers: dict[str, str], sandbox: Sandbox
) -> None:
    let_pass(minutes=10)
    sandbox.mood(latency_ms=1500)

    response = client.post(f"{address_of(eve)}verify/", headers=headers)

    assert (response.status_code, response.json()["freshness"]) == (202, "none")
    assert response["Location"] == address_of(eve)


def test_only_people_who_have_signed_in_can_be_verified(
    eve: User, client: Client, headers: dict[str, str], sandbox: Sandbox
) -> None:
    response = client.post(f"/api/v1/bot/guilds/{CLUB}/members/{STRANGER}/verify/", headers=headers)

    assert_problem(response, 404, "not-found")
    assert sandbox.requests("") == []


@pytest.mark.parametrize("verify", ["", "verify/"])
def test_a_number_that_is_too_large_for_an_id_is_not_found(
    eve: User, client: Client, headers: dict[str, str], verify: str
) -> None:
    address = f"{address_of(eve, 2**63)}{verify}"

    response = client.generic("POST" if verify else "GET", address, headers=headers)

    assert_problem(response, 404, "not-found")


# Events


def test_a_person_who_leaves_loses_access_at_once(
    eve: User, report: Report, ask: Ask, client_of: Callable[[User], Client]
) -> None:
    visitor = client_of(eve)
    assert visitor.get(f"/servers/{CLUB}/").status_code == 200

    response = report(event("GUILD_MEMBER_REMOVE"))

    assert (response.status_code, response.content) == (204, b"")
    assert ask().json()["is_member"] is False
    # The list is due, so this asks Discord too, where she is still in the server.
    assert visitor.get(f"/servers/{CLUB}/").status_code == 404


def test_events_are_stored_in_the_order_in_which_they_arrived_at_the_bot(eve: User, report: Report) -> None:
    member_of(eve, CLUB, STAFF)
    now = database_now()
    moments = [now + timedelta(milliseconds=number) for number in range(3)]
    events = [event("GUILD_MEMBER_UPDATE", at, member=member(number + 1)) for number, at in enumerate(moments)]

    report(events[2], events[0], events[1])
    report(events[0])
    report(*events)

    assert GuildMember.objects.get(user=eve, guild_id=CLUB).roles == [3]


def test_batches_in_any_order_leave_the_last_state(eve: User, report: Report) -> None:
    """Rows as the last event says, whatever was repeated or came late."""
    random = Random(1)
    guild_ids = [CLUB, *range(100, 120)]
    for guild_id in guild_ids:
        bot_joins(guild_id)
    began = database_now()
    GuildMember.objects.bulk_create(
        GuildMember(user=eve, guild_id=guild_id, is_member=True, roles=[1], verified_at=began - timedelta(hours=1))
        for guild_id in guild_ids
    )
    last: dict[int, list[int]] = {}
    events = []
    for number in range(400):
        guild_id, at = random.choice(guild_ids), began - timedelta(minutes=30) + timedelta(seconds=number)
        roles = sorted(random.sample(range(1, 9), random.randrange(4)))
        is_gone = random.random() < 0.2
        last[guild_id] = [] if is_gone else roles
        named = {} if is_gone else {"member": member(*roles)}
        events.append(event("GUILD_MEMBER_REMOVE" if is_gone else "GUILD_MEMBER_UPDATE", at, guild_id, **named))
    sent = [*events, *random.sample(events, 100)]
    random.shuffle(sent)

    statuses = {report(*sent[start : start + 50]).status_code for start in range(0, len(sent), 50)}

    assert statuses == {204}
    rows = GuildMember.objects.filter(guild_id__in=last)
    assert {row.guild_id: row.roles for row in rows} == last


def test_events_about_strangers_cost_one_query(eve: User, report: Report, django_assert_max_num_queries: Any) -> None:
    strangers = [event("GUILD_MEMBER_UPDATE", user_id=str(1000 + number), member=member(1)) for number in range(50)]
    report(strangers[0])

    # The token, its last use, the time, and which of them have signed in.
    with django_assert_max_num_queries(4):
        assert report(*strangers).status_code == 204


def test_what_no_database_can_store_is_left_out_of_a_name(eve: User, report: Report) -> None:
    new = {"id": "900", "name": "Chess\0Club", "icon": None, "owner": False, "permissions": "8", "features": []}

    assert report(event("GUILD_CREATE", guild=new)).status_code == 204

    assert BotGuild.objects.get(pk=900).name == "ChessClub"


def test_the_bots_guilds_follow_its_events(eve: User, report: Report) -> None:
    new = {"id": "900", "name": "New", "icon": None, "owner": False, "permissions": "8", "features": []}

    report(event("GUILD_CREATE", guild=new), event("GUILD_DELETE", guild_id=CLUB))

    assert BotGuild.objects.get(pk=900).deleted_at is None
    assert BotGuild.objects.get(pk=CLUB).deleted_at


def test_a_moment_in_the_future_counts_as_now(eve: User, report: Report) -> None:
    member_of(eve, CLUB, STAFF)
    report(event("GUILD_MEMBER_UPDATE", database_now() + timedelta(days=1), member=member(STAFF, OTHER)))
    report(event("READY", database_now() + timedelta(days=1)))

    row = GuildMember.objects.get(user=eve)
    assert row.verified_at
    assert row.refresh_after
    assert row.roles == [STAFF, OTHER]
    assert row.verified_at <= row.refresh_after <= database_now()


@pytest.mark.parametrize("behind", [3, 3600])
def test_a_kick_from_a_clock_that_is_behind_ends_the_membership(eve: User, report: Report, behind: int) -> None:
    member_of(eve, CLUB, STAFF)
    theirs = database_now() - timedelta(seconds=behind)

    report(event("GUILD_MEMBER_REMOVE", theirs), sent_at=theirs.isoformat())

    assert not GuildMember.objects.get(user=eve).is_member
    assert not UserGuildMembership.objects.filter(user=eve, guild_id=CLUB).exists()


@pytest.mark.parametrize("says_when_sent", [True, False])
def test_a_repeated_batch_from_a_clock_that_is_ahead_is_not_taken_for_the_latest(
    eve: User, report: Report, says_when_sent: bool
) -> None:
    member_of(eve, CLUB, STAFF)
    GuildMember.objects.update(verified_at=database_now() - timedelta(minutes=1))
    started, ahead = database_now(), timedelta(seconds=20)
    old = event("GUILD_MEMBER_ADD", started - timedelta(seconds=9) + ahead, member=member(OTHER))
    new = event("GUILD_MEMBER_UPDATE", started - timedelta(seconds=1) + ahead, member=member(STAFF))

    for each in (old, new, old):
        report(each, **{"sent_at": (database_now() + ahead).isoformat()} if says_when_sent else {})

    row = GuildMember.objects.get(user=eve)
    if says_when_sent:
        assert row.roles == [STAFF]
    else:
        # The moment of the last batch is unknown, so that Discord must be asked.
        assert row.refresh_after
        assert row.refresh_after <= database_now()


@pytest.mark.parametrize("gap", [timedelta(0), timedelta(seconds=1)], ids=["one moment", "moments apart"])
@pytest.mark.parametrize("ahead", [timedelta(minutes=-30), timedelta(hours=1)], ids=["past", "clock ahead"])
def test_of_events_that_the_clock_does_not_tell_apart_the_last_one_counts(
    eve: User, report: Report, ahead: timedelta, gap: timedelta
) -> None:
    """A clock of whole milliseconds gives several events one moment, and one that is ahead gives all of them now."""
    bot_joins(ELSEWHERE)
    at = database_now() + ahead
    GuildMember.objects.bulk_create(
        GuildMember(user=eve, guild_id=guild_id, is_member=True, roles=[1], verified_at=at - timedelta(hours=3))
        for guild_id in (CLUB, ELSEWHERE)
    )

    report(
        event("GUILD_MEMBER_UPDATE", at, member=member(STAFF)),
        event("GUILD_MEMBER_UPDATE", at, ELSEWHERE, member=member(STAFF)),
        event("GUILD_MEMBER_REMOVE", at + gap),
        event("GUILD_MEMBER_UPDATE", at + gap, ELSEWHERE, member=member(OTHER)),
    )

    gone, stays = GuildMember.objects.order_by("guild_id")
    assert (gone.is_member, stays.roles) == (False, [OTHER])
    assert stays.verified_at
    assert stays.verified_at <= database_now()


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"type": "MESSAGE_CREATE"}, "events.1.type"),
        ({"at": "yesterday"}, "events.1.at"),
        ({"at": None}, "events.1.at"),
        ({"guild_id": CLUB}, "events.1.guild_id"),
        ({"guild_id": "99999999999999999999"}, "events.1.guild_id"),
        ({"guild_id": "9999999999999999999"}, "events.1.guild_id"),
        ({"guild_id": "１２"}, "events.1.guild_id"),
        ({"user_id": ""}, "events.1.user_id"),
        ({"member": {"roles": ["staff"]}}, "events.1.member"),
        ({"member": None}, "events.1.member"),
        ({"member": "staff"}, "events.1.member"),
    ],
)
def test_a_wrong_event_is_named_and_nothing_is_stored(
    eve: User, report: Report, change: dict[str, Any], path: str
) -> None:
    wrong = {**event("GUILD_MEMBER_UPDATE", member=member(STAFF)), **change}

    response = report(event("GUILD_MEMBER_REMOVE"), wrong)

    assert_problem(response, 400, "validation-failed")
    assert list(response.json()["errors"]) == [path]
    assert UserGuildMembership.objects.filter(user=eve, guild_id=CLUB).exists()


@pytest.mark.parametrize("kind", EVENTS)
def test_each_type_names_the_fields_it_needs(eve: User, report: Report, kind: str) -> None:
    response = report({"type": kind, "at": database_now().isoformat()})

    needs = EVENTS[kind].needs
    assert response.status_code == (400 if needs else 204)
    assert sorted(response.json()["errors"] if needs else []) == sorted(f"events.0.{name}" for name in needs)


@pytest.mark.parametrize("body", [[], {"events": {}}, {"events": [1]}, {}, "x"])
def test_a_body_of_another_shape_is_refused(client: Client, headers: dict[str, str], body: Any) -> None:
    response = client.post("/api/v1/bot/events/", body, content_type="application/json", headers=headers)

    assert response.status_code == 400


@pytest.mark.parametrize("depth", [900, 5000, 20_000])
@pytest.mark.parametrize("body", ['{"events": %s}', '{"events": [{"type": "GUILD_MEMBER_UPDATE", "member": %s}]}'])
def test_a_body_that_is_nested_too_deeply_is_refused(
    client: Client, headers: dict[str, str], body: str, depth: int
) -> None:
    nested = body % ("[" * depth + "]" * depth)

    response = client.post("/api/v1/bot/events/", nested, content_type="application/json", headers=headers)

    assert response.status_code == 400


# Access


@pytest.mark.parametrize(
    ("scope", "statuses"),
    [("bot:members", [200, 403, 403]), ("bot:verify", [403, 404, 403]), ("bot:events", [403, 403, 204])],
)
def test_each_scope_opens_one_door(
    client: Client, service_token: Callable[..., str], scope: str, statuses: list[int]
) -> None:
    headers = {"Authorization": f"Bearer {service_token(scope)}"}
    address = f"/api/v1/bot/guilds/{CLUB}/members/{STRANGER}/"

    responses = [
        client.get(address, headers=headers),
        client.post(f"{address}verify/", headers=headers),
        client.post("/api/v1/bot/events/", {"events": []}, content_type="application/json", headers=headers),
    ]

    assert [response.status_code for response in responses] == statuses


def test_people_are_not_answered(eve: User, client_of: Callable[[User], Client]) -> None:
    eve.is_staff = True
    eve.save()

    assert client_of(eve).get(address_of(eve)).status_code == 401
